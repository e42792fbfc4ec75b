"""`ocpi-gireve demo`: shows a charge roaming through a simulated IOP; the story itself is told elsewhere."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import signal
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import click
from attrs import define, field
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..journal import Exchanged
from ..simulator.samples import locations as sample_locations
from ..simulator.story import Step, Story
from ..simulator.use_cases import direction_of, use_case_of
from ..v221 import Location
from ._feed import FeedError, read_locations

SAMPLE_LOCATIONS = 120
"""More than one page of IOP's."""

SHOWN_LEFT_OUT = 5
"""So many items of a feed that were left out are shown one by one."""


@define
class Result:
    """What came of the story.

    Attributes:
        planned: How many steps it has.
        steps: Those that have ended.
        uploads_lost: Uploads that were accepted and never arrived; None where it did not come to that.
    """

    planned: int
    steps: list[Step] = field(factory=list[Step])
    uploads_lost: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every step was carried out and verified, and no upload was lost."""
        told = len(self.steps) == self.planned and all(step.ok for step in self.steps)
        return told and self.uploads_lost == 0

    @property
    def exchanges(self) -> list[Exchanged]:
        """Every exchange of the story, each counted once."""
        return [exchanged for step in self.steps for exchanged in step.exchanges]

    def by_use_case(self) -> dict[str, list[Exchanged]]:
        """Return the exchanges of each use case, in the order of the story."""
        found: dict[str, list[Exchanged]] = {}
        for exchanged in self.exchanges:
            found.setdefault(use_case_of(exchanged.operation), []).append(exchanged)
        return found

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        return json.dumps(
            {
                "ok": self.ok,
                "steps": [
                    {
                        "name": step.name,
                        "ok": step.ok,
                        "milliseconds": round(step.milliseconds, 1),
                        "detail": step.detail,
                    }
                    for step in self.steps
                ],
                "exchanges": len(self.exchanges),
                "exchanges_by_use_case": {name: len(found) for name, found in self.by_use_case().items()},
                "slowest_milliseconds": _slowest(self.exchanges),
                "uploads_lost": self.uploads_lost,
            }
        )


@click.command()
@click.option(
    "--locations",
    "path",
    type=click.Path(path_type=Path),
    help="A real feed: a JSON list of Locations, an OCPI answer, or pages of it.",
)
@click.option("--plain", is_flag=True, help="No progress display and no colours, as for a log.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object last; all else goes to standard error."
)
def command(path: Path | None, plain: bool, as_json: bool) -> None:
    """Show a charge roaming through a simulated IOP.

    Starts IOP, a CPO and an eMSP as three HTTP servers on this machine and tells the whole story: handshakes,
    locations, an authorization, sessions, CDRs, remote start and stop, and an outage that loses nothing.
    Exits with 0 only if every step was verified.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an id of a feed must not end the story
    console = Console(
        stderr=as_json,
        color_system=None if plain else "auto",
        force_terminal=False if plain else None,
        highlight=False,
        soft_wrap=True,
    )
    locations = sample_locations(SAMPLE_LOCATIONS) if path is None else _feed(path, console)
    with _Interruption() as interruption, _log_lines(console):
        with tempfile.TemporaryDirectory(prefix="ocpi-gireve-demo-") as folder:
            try:
                story = Story(locations, Path(folder))
            except ValueError as unusable:
                _refuse(path, str(unusable))
            result = asyncio.run(_tell(story, interruption, console))
        _summarize(console, result, plain=plain)
        if interruption.number is not None:
            console.print("Interrupted; everything is stopped.")
        if as_json:
            click.echo(result.to_json())
    if interruption.number is not None:
        sys.exit(128 + interruption.number)
    sys.exit(0 if result.ok else 1)


def _refuse(path: Path | None, reason: str) -> NoReturn:
    file = "" if path is None else f"{_printable(click.format_filename(path))}: "
    click.echo(f"ocpi-gireve demo: {file}{_printable(reason)}", err=True)
    sys.exit(2)


def _feed(path: Path, console: Console) -> list[Location]:
    try:
        feed = read_locations(path)
    except FeedError as error:
        _refuse(path, str(error))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    file = _printable(click.format_filename(path))
    console.print(f"{len(feed.locations)} locations from {escape(file)}")
    for line in feed.left_out[:SHOWN_LEFT_OUT]:
        console.print(f"  left out: {escape(_printable(line))}")
    if len(feed.left_out) > SHOWN_LEFT_OUT:
        console.print(f"  left out: {len(feed.left_out) - SHOWN_LEFT_OUT} more")
    return feed.locations


async def _tell(story: Story, interruption: _Interruption, console: Console) -> Result:
    """Carry out the steps, and print each when it has ended; the first that fails is the last."""
    steps = story.steps()
    result = Result(planned=len(steps))
    async with story:
        with interruption.cancels(), _progress(console) as progress:
            bar = progress.add_task("", total=len(steps))
            for name, do in steps:
                if interruption.number is not None:
                    break
                progress.update(bar, description=name)
                step = await story.carry_out(name, do)
                result.steps.append(step)
                console.print(_line(step))
                progress.advance(bar)
                if not step.ok:
                    break
    result.uploads_lost = story.uploads_lost
    return result


class _Interruption:
    """Takes note of SIGINT and SIGTERM: the first ends the story, and none disturbs the cleaning up.

    Attributes:
        number: The signal that came; None where none did.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._end: Callable[[], object] | None = None
        self._before: dict[int, Callable[[int, FrameType | None], Any] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            if self.number is not None:
                # The process ends now, and need not be told again.
                signal.signal(number, signal.SIG_IGN)
            else:
                signal.signal(number, signal.SIG_DFL if before is None else before)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number
            if self._end is not None:
                self._end()

    @contextmanager
    def cancels(self) -> Generator[None]:
        """Within this context a signal cancels what is awaited, and the context ends, without an error."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        within = True

        def cancel() -> None:
            if within and task is not None:
                task.cancel()

        self._end = lambda: loop.call_soon_threadsafe(cancel)
        try:
            yield
        except asyncio.CancelledError:
            if self.number is None:
                raise
            if task is not None:
                task.uncancel()
        finally:
            within = False
            self._end = None


@contextmanager
def _log_lines(console: Console) -> Generator[None]:
    """Print warnings and errors of all loggers as lines of the story, without tracebacks."""
    handler = _LogLines(console)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _LogLines(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(f"[yellow]note[/] {escape(_printable(record.getMessage()))}")


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        BarColumn(bar_width=24),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _line(step: Step) -> str:
    mark = "[green]ok  [/]" if step.ok else "[red]FAIL[/]"
    return f"{mark} {step.name} [dim]({step.milliseconds:.0f} ms)[/]\n     {escape(_printable(step.detail))}"


def _printable(text: str) -> str:
    """Return a text without what could move the terminal's cursor."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _slowest(exchanges: Sequence[Exchanged]) -> float | None:
    """Return the milliseconds of the slowest answer; None where no answer came."""
    answered = [one.seconds for one in exchanges if one.http_status is not None]
    return round(max(answered) * 1000, 1) if answered else None


def _summarize(console: Console, result: Result, *, plain: bool) -> None:
    borders = box.ASCII if plain else box.ROUNDED
    table = Table(title="Exchanges by use case", title_justify="left", box=borders)
    table.add_column("Use case")
    for header in ("ToIOP", "FromIOP", "Slowest answer"):
        table.add_column(header, justify="right")
    for name, exchanges in result.by_use_case().items():
        directions = Counter(map(direction_of, exchanges))
        slowest = _slowest(exchanges)
        table.add_row(
            escape(name),
            str(directions["ToIOP"]),
            str(directions["FromIOP"]),
            "none" if slowest is None else f"{slowest:.1f} ms",
        )
    console.print(table)
    verified = sum(step.ok for step in result.steps)
    lost = "unknown" if result.uploads_lost is None else str(result.uploads_lost)
    console.print(f"Steps verified: {verified} of {result.planned}. Uploads lost: {lost}.")
