"""`ocpi-gireve validate`: says where a file departs from the specification; the rules are elsewhere."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import IO, Final

import click
from attrs import define, field
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from .. import v211, v221
from .._codec import decode, parse_json
from .._documents import CHUNK, Piece, pieces
from .._model import Model
from ..errors import DecodeError, Problem
from ..validation import validate
from ._mended import mended

_PACKAGES: Final[Mapping[str, ModuleType]] = {"2.1.1": v211, "2.2.1": v221}
_WIDTH = 150
"""Columns of a table that no terminal shows."""


class _Unusable(Exception):
    """The command cannot be carried out; the text is one line for the user."""


@define
class _Findings:
    """What came of a file. Of the problems, the first ones are kept; all are counted."""

    most: int
    objects: int = 0
    valid: int = 0
    problems: list[tuple[int, Problem]] = field(factory=list[tuple[int, Problem]])
    codes: Counter[str] = field(factory=Counter[str])

    def add(self, problems: list[Problem]) -> None:
        """Count an object with its problems."""
        number = self.objects
        self.objects += 1
        self.valid += not problems
        self.codes.update(problem.code for problem in problems)
        room = self.most - len(self.problems)
        self.problems += [(number, problem) for problem in problems[: max(0, room)]]

    def to_json(self) -> str:
        """Return the findings as one line of JSON."""
        return json.dumps(
            {
                "objects": self.objects,
                "valid": self.valid,
                "problems": [
                    {
                        "item": item,
                        "pointer": problem.pointer,
                        "code": problem.code,
                        "message": problem.message,
                        "reference": problem.reference,
                    }
                    for item, problem in self.problems
                ],
                "codes": dict(self.codes.most_common()),
            }
        )


@click.command()
@click.argument("file")
@click.option(
    "--as", "class_name", required=True, metavar="CLASS", help="What the file holds, such as Location."
)
@click.option(
    "--version",
    type=click.Choice(tuple(_PACKAGES)),
    default="2.2.1",
    show_default=True,
    help="The version of OCPI.",
)
@click.option(
    "--most",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="Tell this many problems; the others are only counted.",
)
@click.option("--plain", is_flag=True, help="No progress display and no colours.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object last; the rest goes to standard error."
)
def command(file: str, class_name: str, version: str, most: int, plain: bool, as_json: bool) -> None:  # noqa: PLR0917 - click passes options by name
    """Say where the objects of FILE depart from the specification.

    FILE holds objects of one class: one, a list, an OCPI answer, a list of answers, or one of these per line.
    `-` is standard input. The file is read piece by piece, so it may be of any size.

    Exits with 0 where there is no problem, 1 where there is one, an object that cannot be read included, and
    2 where FILE cannot be read or is not JSON.
    """
    console = Console(stderr=as_json, no_color=plain or None, highlight=False)
    if not console.is_terminal:
        console.width = _WIDTH
    findings = _Findings(most)
    try:
        cls = _class(class_name, version)
        _check_file(file, cls, findings, console, plain=plain)
    except _Unusable as unusable:
        if findings.objects and not as_json:
            _show(findings, console)
        click.echo(f"ocpi-gireve validate: {unusable}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    console.print(_sentence(file, cls, version, findings), soft_wrap=True)
    _show(findings, console)
    if as_json:
        click.echo(findings.to_json())
    sys.exit(1 if findings.codes else 0)


def _class(name: str, version: str) -> type[Model]:
    package = _PACKAGES[version]
    names: list[str] = package.__all__
    exported: list[object] = [getattr(package, one) for one in names]
    classes = {one.__name__: one for one in exported if isinstance(one, type) and issubclass(one, Model)}
    for known, cls in classes.items():
        if known.lower() == name.lower():
            return cls
    raise _Unusable(f"OCPI {version} has no class {name!r}; it has {', '.join(sorted(classes))}")


def _check_file(file: str, cls: type[Model], findings: _Findings, console: Console, *, plain: bool) -> None:
    """Add the problems of each object of a file.

    Raises:
        _Unusable: the file cannot be read, or is not JSON.
    """
    name = "standard input" if file == "-" else file
    try:
        with click.open_file(file, "rb") as stream, _progress(console, disable=plain) as progress:
            task = progress.add_task(name, total=_size(stream))
            # The one class whose objects are answers themselves.
            is_answer = cls.__name__ == "ResponseFormat"
            for piece in pieces(_chunks(stream, progress, task), open_answers=not is_answer):
                findings.add(_problems(piece, cls))
    except OSError as error:
        raise _Unusable(f"{name}: {error.strerror or error}") from None
    except DecodeError as wrong:
        raise _Unusable(f"{name}: not JSON: {wrong.problems[0].message}") from None


def _size(stream: IO[bytes]) -> int | None:
    """Return how many bytes there are to read, where that can be known."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _chunks(stream: IO[bytes], progress: Progress, task: TaskID) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        yield chunk
        progress.update(task, advance=len(chunk))


def _problems(piece: Piece, cls: type[Model]) -> list[Problem]:
    if piece.problem is not None:
        return [piece.problem]
    try:
        one = decode(piece.raw, cls)
        return [*validate(one), *mended(parse_json(piece.raw), cls)]
    except DecodeError as wrong:
        return list(wrong.problems)


def _progress(console: Console, *, disable: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    off = disable or not console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=off, refresh_per_second=4)


def _sentence(file: str, cls: type[Model], version: str, findings: _Findings) -> str:
    objects = f"{findings.objects} object{'' if findings.objects == 1 else 's'}"
    name = "standard input" if file == "-" else file
    return escape(
        f"{name}: {objects} read as OCPI {version} {cls.__name__}, {findings.valid} without problems"
    )


def _show(findings: _Findings, console: Console) -> None:
    if not findings.codes:
        return
    total = findings.codes.total()
    shown = len(findings.problems)
    if shown:
        more = "" if shown == total else f" (the first {shown} of {total})"
        table = Table(
            "Item", "Pointer", "Code", "Problem", "Reference", title=f"Problems{more}", title_justify="left"
        )
        for item, problem in findings.problems:
            cells = (
                str(item),
                problem.pointer or "(object)",
                problem.code,
                problem.message,
                problem.reference,
            )
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
    counts = Table("Code", "Problems", title="Problems by code", title_justify="left")
    counts.columns[1].justify = "right"
    for code, count in findings.codes.most_common():
        counts.add_row(Text(code), str(count))
    console.print(counts)
