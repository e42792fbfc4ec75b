"""`ocpi-gireve demo`: shows a charge roaming through a simulated IOP; the story itself is told elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path

import click
from attrs import define, field
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from ..journal import Exchanged
from ..simulator.samples import locations as sample_locations
from ..simulator.story import Step, Story
from ..v221 import Location
from ._feed import FeedError, read_locations

SAMPLE_LOCATIONS = 120
"""More than one page of IOP's."""


@define
class Result:
    """What came of the story."""

    planned: int
    steps: list[Step] = field(factory=list[Step])
    uploads_lost: int | None = None

    @property
    def ok(self) -> bool:
        """Whether every step was carried out and verified, and no upload was lost."""
        return len(self.steps) == self.planned and all(step.ok for step in self.steps) and self.uploads_lost == 0

    @property
    def exchanges(self) -> list[Exchanged]:
        """Every exchange of the story, each counted once."""
        return [exchanged for step in self.steps for exchanged in step.exchanges]

    def to_json(self) -> str:
        """Return the result as one line of JSON."""
        answered = [one.seconds for one in self.exchanges if one.http_status is not None]
        return json.dumps(
            {
                "ok": self.ok,
                "steps": [
                    {"name": step.name, "ok": step.ok, "milliseconds": round(step.milliseconds, 1), "detail": step.detail}
                    for step in self.steps
                ],
                "exchanges": len(self.exchanges),
                "exchanges_by_use_case": dict(Counter(one.operation for one in self.exchanges)),
                "slowest_milliseconds": round(max(answered, default=0) * 1000, 1),
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
@click.option("--plain", is_flag=True, help="No progress display and no colours.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object last; the rest goes to standard error.")
def command(path: Path | None, plain: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes flags
    """Show a charge roaming through a simulated IOP.

    Starts IOP, a CPO and an eMSP as three HTTP servers on this machine and tells the whole story: handshakes,
    locations, an authorization, sessions, CDRs, remote start and stop, and an outage that loses nothing.
    Exits with 0 only if every step was verified.
    """
    console = Console(stderr=as_json, no_color=plain or None, highlight=False, soft_wrap=True)
    story_locations = _locations(path, console)
    try:
        result = asyncio.run(_tell(story_locations, console, plain=plain or not console.is_terminal))
    except ValueError as error:
        click.echo(f"ocpi-gireve demo: {path}: {error}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Interrupted; everything is stopped.")
        sys.exit(130)
    _summarize(console, result)
    if as_json:
        click.echo(result.to_json())
    sys.exit(0 if result.ok else 1)


def _locations(path: Path | None, console: Console) -> list[Location]:
    if path is None:
        return sample_locations(SAMPLE_LOCATIONS)
    try:
        feed = read_locations(path)
    except FeedError as error:
        click.echo(f"ocpi-gireve demo: {error}", err=True)
        sys.exit(2)
    console.print(f"{len(feed.locations)} locations from {escape(str(path))}")
    for line in feed.unreadable[:5]:
        console.print(f"  left out: {escape(line)}")
    if len(feed.unreadable) > 5:
        console.print(f"  left out: {len(feed.unreadable) - 5} more")
    return feed.locations


async def _tell(locations: list[Location], console: Console, *, plain: bool) -> Result:
    """Run the story and print each step as it ends. SIGTERM ends it as Ctrl-C does."""
    task = asyncio.current_task()
    if task is not None:
        with suppress(NotImplementedError):  # Windows has no signal handlers in the loop
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="ocpi-gireve-demo-") as folder:
        story = Story(locations, Path(folder))
        names = [name for name, _ in story.steps()]
        result = Result(planned=len(names))
        async with story.open():
            with _progress(console, disable=plain) as progress:
                bar = progress.add_task(names[0], total=len(names))
                async for step in story.run():
                    result.steps.append(step)
                    progress.console.print(_line(step))
                    done = len(result.steps)
                    progress.update(bar, advance=1, description=names[min(done, len(names) - 1)])
        result.uploads_lost = story.uploads_lost
        return result


def _progress(console: Console, *, disable: bool) -> Progress:
    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}"), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=disable)


def _line(step: Step) -> str:
    mark = "[green]ok  [/]" if step.ok else "[red]FAIL[/]"
    return f"{mark} {step.name} [dim]({step.milliseconds:.0f} ms)[/]\n       {escape(step.detail)}"


def _summarize(console: Console, result: Result) -> None:
    table = Table(title="Exchanges by use case", title_justify="left")
    table.add_column("Use case")
    table.add_column("Exchanges", justify="right")
    table.add_column("Slowest answer", justify="right")
    by_use_case: dict[str, list[Exchanged]] = {}
    for exchanged in result.exchanges:
        by_use_case.setdefault(exchanged.operation, []).append(exchanged)
    for operation, exchanges in sorted(by_use_case.items()):
        answered = [one.seconds * 1000 for one in exchanges if one.http_status is not None]
        slowest = f"{max(answered):.1f} ms" if answered else "no answer"
        table.add_row(operation, str(len(exchanges)), slowest)
    console.print(table)
    verified = sum(step.ok for step in result.steps)
    lost = "unknown" if result.uploads_lost is None else str(result.uploads_lost)
    console.print(f"Steps verified: {verified} of {result.planned}. Uploads lost: {lost}.")
