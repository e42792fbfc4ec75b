"""What the server costs beside other ways of serving the same requests: `python benchmarks/server.py`.

Each server has a process of its own, on one core, and is asked by wrk from others: 50 connections that stay
open, each with one request under way. Where there is no wrk, `_load.py` asks; the report says who did. That
one is slower, and with it requests per second say little; the CPU for each of them says as much as ever.

- *web.Server*: aiohttp's low-level server that reads the body and gives a constant answer. The yardstick.
- *web.Application*: the same in an application with one route for everything.
- *..., headers*: the same with the headers that OCPI asks of an answer: what no server on aiohttp goes below.
- *ours, ...*: `Platform.aiohttp_app()`, its handler on aiohttp's low-level server, and `Platform.asgi_app()`
  on uvicorn. Every operation of both versions is served, by handlers that do nothing, to one registered hub.
- *Starlette*, *FastAPI*: the same routes on uvicorn, as `_frameworks.py` describes them.

A round asks each server in turn. A figure is the server's CPU time for each request in the best fifth of a
second, for neighbours on the machine only ever add. It also tells how many times as many requests as FastAPI
a server answers on a core of its own; those of a second are what was seen, in the best fifth. It prints a
table, and then the same figures as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPResponse
from itertools import pairwise
from pathlib import Path

from _load import Driver, Workload, workloads
from _serving import Used
from attrs import frozen
from codec import installed

HERE = Path(__file__).parent
YARDSTICK = "web.Server"
SERVERS: Mapping[str, Sequence[str]] = {
    YARDSTICK: ("_bare.py", "server"),
    "web.Application": ("_bare.py", "application"),
    "web.Application, headers": ("_bare.py", "headers"),
    "ours, web.Server": ("_ours.py", "server"),
    "ours, web.Application": ("_ours.py", "application"),
    "ours, uvicorn": ("_ours.py", "asgi"),
    "Starlette": ("_frameworks.py", "starlette"),
    "FastAPI": ("_frameworks.py", "fastapi"),
}
HELD = ("web.Application", "ours, web.Application", "ours, uvicorn")
"""Whose memory is told: the others have loaded what they do not serve with."""


@frozen
class Cost:
    """What a server needs for one workload.

    Attributes:
        microseconds: CPU for a request.
        per_second: Requests that were answered in a second.
    """

    microseconds: float
    per_second: float


class Server:
    """One of the servers, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._questions, self._answers = process.stdin, process.stdout
        self.port = self._line()

    def _line(self) -> str:
        line = self._answers.readline()
        if not line:
            raise RuntimeError("a server ended; what it said stands above")
        return line.strip()

    def used(self) -> Used:
        """What it has used so far."""
        print(file=self._questions, flush=True)
        return Used(**json.loads(self._line()))


@contextmanager
def running() -> Generator[dict[str, Server]]:
    """Start the servers."""
    with ExitStack() as stack:
        servers: dict[str, Server] = {}
        for name, (file, kind) in SERVERS.items():
            command = (sys.executable, str(HERE / file), kind)
            process = subprocess.Popen(  # noqa: S603 - a file beside this one
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            # At the end its input is closed, and so it ends.
            stack.enter_context(process)
            servers[name] = Server(process)
        yield servers


def asked_once(server: Server, workload: Workload) -> None:
    """Make sure that a server answers a workload's first message as a partner expects."""
    with closing(socket.create_connection(("127.0.0.1", int(server.port)), timeout=10)) as connection:
        connection.sendall(b"2026-10-31T00:00:00Z".join(workload.messages[0]))
        answer = HTTPResponse(connection)
        answer.begin()
        envelope = json.loads(answer.read())
    if (answer.status, envelope["status_code"]) != (200, 1000):
        raise RuntimeError(f"{workload.name}: HTTP {answer.status}, {envelope}")


def slices(server: Server, driver: Driver, workload: Workload, seconds: int) -> list[Cost]:
    """Ask a server for some seconds; return its cost in each slice of that time."""
    seen = [server.used()]
    answered = driver.run(workload, server.port, seconds, lambda: seen.append(server.used()))
    # Those that were under way at the end were worked on, and nobody waited for them.
    worked_on = server.used().requests - seen[0].requests
    if worked_on < answered * 0.999:
        raise RuntimeError(f"{workload.name}: {worked_on} of {answered} requests came to a handler")
    return [
        Cost(
            microseconds=(after.cpu - before.cpu) / (after.requests - before.requests) * 1e6,
            per_second=(after.requests - before.requests) / (after.clock - before.clock),
        )
        # In the first and the last, connections are made and ended.
        for before, after in pairwise(seen[1:-1])
        if after.requests > before.requests
    ]


def measure(driver: Driver, rounds: int, seconds: int) -> tuple[dict[str, float], dict[str, dict[str, Cost]]]:
    """Let the servers take turns; return their memory in MB while idle, and their costs by workload."""
    with keeping_apart() as turn_to_driver, running() as servers:
        idle = {name: servers[name].used().resident / 1024 for name in HELD}
        turn_to_driver()
        costs: dict[str, dict[str, Cost]] = {}
        for workload in workloads():
            for server in servers.values():
                asked_once(server, workload)
            seen: dict[str, list[Cost]] = {name: [] for name in servers}
            for _ in range(rounds):
                for name, server in servers.items():
                    seen[name] += slices(server, driver, workload, seconds)
            costs[workload.name] = {
                name: Cost(
                    microseconds=min(one.microseconds for one in found),
                    per_second=max(one.per_second for one in found),
                )
                for name, found in seen.items()
            }
        return idle, costs


@contextmanager
def keeping_apart() -> Generator[Callable[[], None]]:
    """Give what is started here the first core, and what is started after the call that it yields the others.

    Where the system does not let us, nothing is done.
    """
    if sys.platform != "linux":
        yield lambda: None
        return
    cores = os.sched_getaffinity(0)
    first = {min(cores)}
    os.sched_setaffinity(0, first)
    try:
        yield lambda: os.sched_setaffinity(0, cores - first or cores)
    finally:
        os.sched_setaffinity(0, cores)


# --- the report ----------------------------------------------------------------------------------------


def show(costs: Mapping[str, Mapping[str, Cost]], idle: Mapping[str, float]) -> None:
    """Print the table."""
    print(f"{'':28}" + "".join(f"{name:^49}" for name in costs))
    titles = f"{'CPU us':>10}{'x yardstick':>13}{'x FastAPI':>11}{'requests/s':>12}   "
    print(f"{'':28}{titles * len(costs)}{'MB idle':>8}")
    for name in SERVERS:
        cells = ""
        for row in costs.values():
            ratio = row[name].microseconds / row[YARDSTICK].microseconds
            times = row["FastAPI"].microseconds / row[name].microseconds
            cells += (
                f"{row[name].microseconds:10.1f}{ratio:13.2f}{times:11.2f}{row[name].per_second:12.0f}   "
            )
        print(f"{name:28}{cells}{f'{idle[name]:8.1f}' if name in idle else ''}")


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the server.")
    parser.add_argument("--rounds", type=positive, default=7, help="how often each server is asked")
    parser.add_argument("--seconds", type=positive, default=2, help="for how long")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        driver = Driver(Path(directory))
        if driver.name != "wrk":
            print(
                "wrk is not installed (apt install wrk; https://github.com/wg/wrk): a slower driver asks",
                file=sys.stderr,
            )
        idle, costs = measure(driver, arguments.rounds, arguments.seconds)
    show(costs, idle)
    packages = ("ocpi-gireve", "aiohttp", "msgspec", "attrs", "uvicorn", "httptools", "starlette", "fastapi")
    report = {
        "python": platform.python_version(),
        "versions": {name: installed(name) for name in (*packages, "pydantic")},
        "driver": driver.name,
        "rounds": arguments.rounds,
        "microseconds": table(costs, lambda one, _: round(one.microseconds, 2)),
        "ratios": table(costs, lambda one, row: round(one.microseconds / row[YARDSTICK].microseconds, 3)),
        "requests_per_second": table(costs, lambda one, _: round(one.per_second)),
        "times_fastapi": table(
            costs, lambda one, row: round(row["FastAPI"].microseconds / one.microseconds, 2)
        ),
        "mb_idle": {name: round(megabytes, 1) for name, megabytes in idle.items()},
    }
    print(json.dumps(report))


def table(
    costs: Mapping[str, Mapping[str, Cost]], figure: Callable[[Cost, Mapping[str, Cost]], float]
) -> dict[str, dict[str, float]]:
    """Return a figure of each server, by workload."""
    return {name: {server: figure(one, row) for server, one in row.items()} for name, row in costs.items()}


if __name__ == "__main__":
    main()
