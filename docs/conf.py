"""Configures Sphinx, and makes tables of the reference from the declarations. Any warning fails the build."""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Callable, Iterator
from importlib import import_module

import attrs
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

from ocpi_gireve import __version__
from ocpi_gireve import errors as errors_module
from ocpi_gireve._model import FieldSpec, Model, field_specs, gireve_values_of
from ocpi_gireve.errors import OcpiError, StatusError
from ocpi_gireve.gireve.use_cases import NOT_IMPLEMENTED, Direction, use_cases_of
from ocpi_gireve.interface import Interface, Operation, operations
from ocpi_gireve.platform import DIALECTS
from ocpi_gireve.types import OcpiEnum, Role

project = "ocpi-gireve"
author = "The ocpi-gireve contributors"
project_copyright = f"2026, {author}"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Docstrings are written in Markdown's `code`, which reStructuredText reads as a role.
default_role = "code"

html_theme = "furo"
html_title = f"ocpi-gireve {__version__}"


# --- tables: each replaces a comment of a page, such as `<!-- operations -->` -----------------------------


def row(*cells: str) -> str:
    """A row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") or " " for cell in cells) + " |"


def table(*titles: str) -> list[str]:
    """The head of a Markdown table."""
    return [row(*titles), row(*("---" for _ in titles))]


def code(text: str) -> str:
    """Text as code; empty stays empty."""
    return f"`{text}`" if text else ""


def operation_tables(version: str) -> Iterator[str]:
    """Every operation of a version, by interface."""
    (dialect,) = (one for one in DIALECTS if one.version == version)
    for interface in (dialect.versions, dialect.credentials, *dialect.interfaces):
        yield f"### {interface.__name__}"
        yield inspect.getdoc(interface) or ""
        role = f", role `{interface.role}`" if interface.role else ""
        callers = "anybody" if len(interface.callers) == len(Role) else ", ".join(sorted(interface.callers))
        headers = "" if interface.routed or not interface.functional else "; its messages name no parties"
        yield f"Module `{interface.module}`{role}. Called by: {callers}{headers}."
        lines = table("Method", "HTTP", "Path", "Body", "Answer", "What it does", "GIREVE")
        lines += [operation_row(operation) for operation in operations(interface)]
        yield "\n".join(lines)


def operation_row(operation: Operation) -> str:
    """One operation."""
    path = "handed out by the partner" if operation.at_link else code(operation.path)
    if operation.query_fields:
        required = operation.required_query
        query = "&".join(f"{name}=" if name in required else f"[{name}=]" for name in operation.query_fields)
        path += f" {code('?' + query)}"
    body = " or ".join(map(model_link, operation.bodies))
    if operation.is_patch:
        body = f"some fields of {body}"
    elif operation.body_optional:
        body += ", optional"
    answer = model_link(operation.answer)
    if operation.paginated:
        answer = f"page of {answer}"
    elif operation.lists:
        answer = f"list of {answer}"
    return row(
        code(operation.name),
        operation.http_method,
        path,
        body,
        answer,
        operation.summary,
        at_gireve(operation),
    )


def at_gireve(operation: Operation) -> str:
    """The use cases of an operation, by direction, and whether a guide says that IOP does not have it."""
    found: list[str] = []
    for direction in Direction:
        names = dict.fromkeys(case.name for case in use_cases_of(operation, direction))
        found += [f"{direction}: {', '.join(names)}"] if names else []
    missing = operation in NOT_IMPLEMENTED
    return "; ".join([*found, *(["**not implemented**"] if missing else [])])


def public_name(cls: type[object]) -> str:
    """Where a class is imported from: the package of its version; `Role` is one for both."""
    package = cls.__module__.rpartition(".")[0]
    return f"{'ocpi_gireve.v221' if package == 'ocpi_gireve' else package}.{cls.__name__}"


def model_link(cls: type[object] | None) -> str:
    """The class's name, as a link to its table."""
    if cls is None:
        return ""
    if not issubclass(cls, Model | OcpiEnum):
        return code(cls.__name__)
    return f"{{py:class}}`{cls.__name__} <{public_name(cls)}>`"


def chapter(place: str, page: str) -> Iterator[str]:
    """The classes of a chapter, such as ``v221.tokens``, for a page such as ``reference/models/tokens``."""
    module = import_module(f"ocpi_gireve.{place}")
    described = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()

    def description(cls: type[object], attribute: str) -> str:
        return " ".join(described.get((cls.__name__, attribute), ())).strip()

    classes = [
        cls for _, cls in inspect.getmembers(module, inspect.isclass) if cls.__module__ == module.__name__
    ]
    classes.sort(key=lambda cls: inspect.getsourcelines(cls)[1])
    kinds: tuple[tuple[str, type[object], Callable[[type[object]], list[str]]], ...] = (
        ("Objects", Model, lambda cls: field_rows(cls, description)),
        ("Enums", OcpiEnum, lambda cls: value_rows(cls, description)),
    )
    for title, base, rows in kinds:
        found = [cls for cls in classes if issubclass(cls, base) and not cls.__name__.startswith("_")]
        if found:
            yield f"## {title}"
        yield from (described_class(cls, rows(cls)) for cls in found)
    references = [cls for cls in classes if attrs.has(cls) and not issubclass(cls, Model)]
    if references:
        yield "## References"
        yield "They name the object that an operation is about."
        yield from (described_class(cls, reference_rows(cls)) for cls in references)
    offered = [cls.__name__ for cls in classes if issubclass(cls, Interface)]
    if offered:
        there = posixpath.relpath("reference/operations.md", posixpath.dirname(page))
        yield f"Interfaces: {', '.join(map(code, offered))}; see [operations]({there})."


def described_class(cls: type[object], rows: list[str]) -> str:
    """One class: what it is for, and its table."""
    lines = [f"::::{{py:class}} {public_name(cls)}", "", inspect.getdoc(cls) or "", ""]
    return "\n".join([*lines, *rows, "", "::::"])


def field_rows(cls: type[object], description: Callable[[type[object], str], str]) -> list[str]:
    """The fields of an object, as the specification's tables show them."""
    if not issubclass(cls, Model):
        return []
    lines = table("Field", "Type", "Card.", "Meaning")
    for spec in field_specs(cls):
        lines.append(row(code(spec.name), field_type(spec), spec.cardinality, description(cls, spec.name)))
    return lines


def field_type(spec: FieldSpec) -> str:
    """A field's type in the words of the specification."""
    if spec.cls is not None:
        return model_link(spec.cls)
    length = spec.text.max_length if spec.text is not None else spec.max_digits
    return f"{spec.type_name}({length})" if length else spec.type_name


def value_rows(cls: type[object], description: Callable[[type[object], str], str]) -> list[str]:
    """The values of an enum."""
    if not issubclass(cls, OcpiEnum):
        return []
    added = gireve_values_of(cls)
    meanings = {
        member.value: description(cls, member.name) or ("GIREVE's" if member in added else "")
        for member in cls
    }
    if not any(meanings.values()):
        return [", ".join(map(code, meanings))]
    return [*table("Value", "Meaning"), *(row(code(value), meaning) for value, meaning in meanings.items())]


def reference_rows(cls: type[object]) -> list[str]:
    """The parts of a reference."""
    return [", ".join(map(code, inspect.signature(cls).parameters))]


def error_table() -> Iterator[str]:
    """Every error, as a tree."""
    lines = table("Error", "OCPI", "HTTP", "When")

    def visit(cls: type[OcpiError], depth: int) -> None:
        status, http = "", ""
        if issubclass(cls, StatusError) and cls is not StatusError:
            status, http = str(cls.code), str(cls.http)
        name = f"{'&emsp;' * depth}{{py:exc}}`{cls.__name__} <ocpi_gireve.errors.{cls.__name__}>`"
        first = (inspect.getdoc(cls) or "").partition("\n")[0]
        lines.append(row(name, status, http, STATUS.sub("", first)))
        for child in cls.__subclasses__():
            if child.__module__ == errors_module.__name__:
                visit(child, depth + 1)

    visit(OcpiError, 0)
    yield "\n".join(lines)


STATUS = re.compile(r"(HTTP )?\d\w{2,3}: ")
MARK = re.compile(r"^<!-- (operations|errors|chapter) ?([\w.]*) -->$", re.MULTILINE)


def fill_in(_app: Sphinx, page: str, source: list[str]) -> None:
    """Replace the comments of a page by what they name."""

    def filled(mark: re.Match[str]) -> str:
        parts: dict[str, Callable[[], Iterator[str]]] = {
            "operations": lambda: operation_tables(mark[2]),
            "errors": error_table,
            "chapter": lambda: chapter(mark[2], page),
        }
        return "\n\n".join(parts[mark[1]]())

    source[0] = MARK.sub(filled, source[0])


def leave_out(
    _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Leave out docstrings of modules: they are written for those who read the source."""
    if what == "module":
        lines.clear()


def setup(app: Sphinx) -> None:
    """Let the tables be filled in as pages are read."""
    app.connect("source-read", fill_in)
    app.connect("autodoc-process-docstring", leave_out)
