"""Operations in the words of the fact tables: the rows of the tables, and those of our declarations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast, get_type_hints

import attrs

from ocpi_gireve import Link
from ocpi_gireve._model import Url
from ocpi_gireve.interface import Interface, Operation

Tables = dict[str, Any]


def tables_of(shared: Path, version: str) -> list[Tables]:
    """The table of the operations of a version."""
    found: list[Tables] = json.loads((shared / "spec" / f"endpoints-{version}.json").read_bytes())[
        "operations"
    ]
    return found


def side_of(interface: type[Interface]) -> str:
    """The side that serves an interface, in the words of the tables."""
    return interface.role.lower() if interface.role else "both"


def parameter(operation: Operation, name: str) -> Tables:
    """A part of a query, in the words of the tables."""
    target = cast("Any", operation.target)
    hint = get_type_hints(target, include_extras=True)[name]
    plain = str(get_type_hints(target)[name])
    if any(isinstance(rule, Url) for rule in getattr(hint, "__metadata__", ())):
        kind = "URL"
    elif "datetime" in plain:
        kind = "DateTime"
    else:
        kind = "int" if "int" in plain else hint.__name__
    default = attrs.fields_dict(target)[name].default
    return {
        "name": name,
        "type": kind,
        "required": name in operation.required_query,
        "default": None if default is attrs.NOTHING else default,
    }


def declared(operation: Operation) -> Tables:
    """A declaration, in the words of the tables."""
    bodies = [f"patch<{body.__name__}>" if operation.is_patch else body.__name__ for body in operation.bodies]
    answer = None if operation.answer is None or operation.answer is Link else operation.answer.__name__
    # Where versions are, nobody's endpoints say: the first URL is exchanged, the second in the answer of it.
    elsewhere = operation.at_link and operation.module != "versions"
    return {
        "module": operation.module,
        "interface": side_of(operation.interface),
        "method": operation.http_method,
        "path": None
        if elsewhere
        else ""
        if operation.at_link or not operation.path
        else f"/{operation.path}",
        "query": {name: parameter(operation, name) for name in operation.query_fields},
        "bodies": sorted(bodies),
        "body_required": not operation.body_optional,
        "answer": f"list<{answer}>" if operation.lists or operation.paginated else answer,
        "paginated": operation.paginated,
        "location": operation.answer is Link,
    }


def tabled(row: Tables) -> Tables:
    """A row of the tables."""
    body = row["request_body"]
    return {
        "module": row["module"],
        "interface": row["interface"],
        "method": row["method"],
        "path": row["path"],
        "query": {one["name"]: {"default": None} | one for one in row["query"]},
        "bodies": sorted([body] if isinstance(body, str) else body or []),
        "body_required": row.get("body_required", True),
        "answer": row["response_data"],
        "paginated": row["paginated"],
        "location": any(header["name"] == "Location" for header in row.get("response_headers", ())),
    }


def row_text(row: Tables) -> str:
    """A row as a text, to be compared and read."""
    return json.dumps(row, sort_keys=True)
