"""Examples as their readers run them: as processes of their own."""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from attrs import frozen

import ocpi_gireve

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LIBRARY = str(Path(ocpi_gireve.__file__).parents[1])
TOKEN_A = "the-token-a-of-these-tests-0123456789"
SOON = 30.0
"""Seconds within which everything here has to happen."""


@frozen
class Program:
    """An example that runs.

    Attributes:
        versions_url: What its first line says.
        second_line: What it says next.
    """

    process: Process
    versions_url: str
    second_line: str

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return urlsplit(self.versions_url).port or 0

    @property
    def token_a(self) -> str:
        """The token A that it prints."""
        start, _, token = self.second_line.partition(": ")
        assert start == "token A"
        return token

    async def line(self) -> str:
        """Return the next line that it prints."""
        assert self.process.stdout is not None
        return (await asyncio.wait_for(self.process.stdout.readline(), SOON)).decode().rstrip("\n")

    async def complaint(self) -> str:
        """Return the next line that it prints on standard error."""
        assert self.process.stderr is not None
        return (await asyncio.wait_for(self.process.stderr.readline(), SOON)).decode().rstrip("\n")

    def say(self, line: str) -> None:
        """Give it a line of standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def do(self, line: str) -> None:
        """Give it a line of standard input, and wait until it has done what it says."""
        self.say(line)
        while (printed := await self.line()) != f"done: {line}":
            assert printed, f"it ended before it had done: {line}"

    async def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """End it, and see that it ends as it should: exit status 0, no complaint, its port free again."""
        self.process.send_signal(by)
        _, complaints = await asyncio.wait_for(self.process.communicate(), SOON)
        assert complaints.decode() == ""
        assert self.process.returncode == 0
        socket.create_server(("127.0.0.1", self.port)).close()


async def launch(name: str, *arguments: str) -> Process:
    """Run an example; a warning ends it."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / name),
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env={**os.environ, "PYTHONPATH": LIBRARY},
    )


@asynccontextmanager
async def running(name: str, *arguments: str) -> AsyncGenerator[Program, None]:
    """Run an example on a free port, and end it where the test has not."""
    process = await launch(name, "--port", "0", *arguments)
    try:
        start, _, url = (await Program(process, "", "").line()).partition(": ")
        assert start == "versions URL", (await process.communicate())[1].decode()
        yield Program(process, url, await Program(process, "", "").line())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def refused(
    name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run an example, here, with arguments that it must refuse, and return the last line that it prints."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"{name}: error:")
    return line
