"""What is sent to the servers, and who sends it: wrk or, where there is none, a process of this file.

Every message says something new, as a partner's do: its moment is later than that of the one before about the
same object. One that came before would not reach a handler of ours.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from _serving import TOKEN
from attrs import frozen
from codec import Data

CONNECTIONS = 50
SLICE = 0.2
"""How often, in seconds, somebody looks at what has been used."""
FIRST = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
"""The moment of the first message."""
STEP = 100_000
"""How many seconds later a run begins than the one before: more than the times that it sends all messages."""

_MOMENT = "2026-11-01T00:00:00Z"
"""What stands in a message where its moment will; nothing else in it is as late."""


@frozen
class Workload:
    """Messages about different objects, sent again and again.

    Attributes:
        name: What they are.
        size: Of the first one's body, in bytes.
        messages: What stands before and after the moment of each.
    """

    name: str
    size: int
    messages: Sequence[tuple[bytes, bytes]]


def _workload(name: str, method: str, objects: Sequence[tuple[str, object]]) -> Workload:
    messages: list[tuple[bytes, bytes]] = []
    size = 0
    for number, (path, value) in enumerate(objects):
        body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
        size = size or len(body)
        head = (
            f"{method} /ocpi/2.2.1/receiver/locations/FR/ABC/{path} HTTP/1.1",
            "Host: emsp.example.com",
            f"Authorization: Token {base64.b64encode(TOKEN.encode()).decode()}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            f"X-Request-ID: 6f1fbe4e-0c46-4d0b-9b5f-{number:012}",
            f"X-Correlation-ID: 0b7f3d3a-52b4-4e57-8e8f-{number:012}",
            "OCPI-from-country-code: FR",
            "OCPI-from-party-id: ABC",
            "OCPI-to-country-code: FR",
            "OCPI-to-party-id: EMP",
        )
        before, _, after = body.partition(_MOMENT.encode())
        messages.append(("\r\n".join((*head, "", "")).encode() + before, after))
    return Workload(name, size, messages)


def workloads() -> list[Workload]:
    """A PATCH of the status of an EVSE, and a PUT of a Location with four of them."""
    status = {"status": "BLOCKED", "last_updated": _MOMENT}
    data = Data()
    return [
        _workload("PATCH EVSE", "PATCH", [(f"LOC{one:05}/EVSE-{one}-1", status) for one in range(1000)]),
        _workload(
            "PUT Location",
            "PUT",
            [(f"LOC{one:05}", {**data.location(one), "last_updated": _MOMENT}) for one in range(200)],
        ),
    ]


# --- the drivers ---------------------------------------------------------------------------------------


class Driver:
    """Sends workloads to servers, from a process of its own each time.

    Args:
        directory: Where it may leave what it sends, to be read by that process.

    Attributes:
        name: Which driver it is.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._wrk = shutil.which("wrk")
        self.name = "asyncio" if self._wrk is None else "wrk"
        self._runs = 0

    def run(self, workload: Workload, port: str, seconds: int, look: Callable[[], None]) -> int:
        """Keep all connections busy for so many seconds, and return how many requests were answered.

        Args:
            workload: What to send.
            port: Where.
            seconds: For how long.
            look: Called every so often meanwhile.

        Raises:
            RuntimeError: an answer was no success, or did not come.
        """
        self._runs += 1
        begin = str(FIRST + STEP * self._runs)
        if self._wrk is None:
            script = self._file(workload, "json", _as_json)
            command = [sys.executable, __file__, str(script), port, str(seconds), begin]
        else:
            script = self._file(workload, "lua", _as_lua)
            load = ["--threads", "1", "--connections", str(CONNECTIONS), "--duration", f"{seconds}s"]
            command = [self._wrk, *load, "--script", str(script), f"http://127.0.0.1:{port}/", begin]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - made here
            while process.poll() is None:
                time.sleep(SLICE)
                look()
            output, _ = process.communicate()
        last = output.strip().rpartition("\n")[2]
        if not last.startswith("{"):
            raise RuntimeError(f"{self.name} ended with {process.returncode}; what it said stands above")
        seen = json.loads(last)
        if seen["failed"]:
            raise RuntimeError(f"{workload.name}: {seen['failed']} of {seen['requests']} requests failed")
        return int(seen["requests"])

    def _file(self, workload: Workload, suffix: str, text: Callable[[Workload], bytes]) -> Path:
        path = self._directory / f"{workload.name.replace(' ', '-')}.{suffix}"
        if not path.exists():
            path.write_bytes(text(workload))
        return path


def _as_json(workload: Workload) -> bytes:
    return json.dumps([[part.decode() for part in message] for message in workload.messages]).encode()


def _as_lua(workload: Workload) -> bytes:
    """A script for wrk; its argument is the first moment."""
    lines = [b"  {%s, %s}," % (_lua_text(before), _lua_text(after)) for before, after in workload.messages]
    return _LUA % b"\n".join(lines)


def _lua_text(text: bytes) -> bytes:
    for one, other in ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\r", b"\\r"), (b"\n", b"\\n")):
        text = text.replace(one, other)
    return b'"' + text + b'"'


_LUA = b"""local messages = {
%s
}
local number, seconds, moment = 0, 0, nil

local function later()
  number, seconds = 1, seconds + 1
  moment = os.date("!%%Y-%%m-%%dT%%H:%%M:%%SZ", seconds)
end

function init(arguments)
  seconds = tonumber(arguments[1])
  later()
end

function request()
  local message = messages[number]
  local text = message[1] .. moment .. message[2]
  number = number + 1
  if number > #messages then later() end
  return text
end

function done(summary)
  local errors = summary.errors
  io.write(string.format('{"requests": %%d, "failed": %%d}\\n', summary.requests,
    errors.connect + errors.read + errors.write + errors.timeout + errors.status))
end
"""


# --- the driver where wrk is missing -------------------------------------------------------------------


class _Messages:
    """The messages of a workload, one after the other, for ever."""

    def __init__(self, messages: Sequence[tuple[bytes, bytes]], begin: int) -> None:
        self._messages = messages
        self._number = 0
        self._seconds = begin
        self._moment = b""

    def next(self) -> bytes:
        if self._number % len(self._messages) == 0:
            self._seconds += 1
            self._moment = datetime.fromtimestamp(self._seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            self._number = 0
        before, after = self._messages[self._number]
        self._number += 1
        return before + self._moment + after


class _Asking(asyncio.Protocol):
    """One connection: sends the next message as soon as the last one is answered."""

    def __init__(self, messages: _Messages, ended: Callable[[bool], None]) -> None:
        self._messages = messages
        self._ended = ended
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._messages.next())

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            return
        self._received = b""
        self._ended(head.startswith(b"HTTP/1.1 200 "))
        self._transport.write(self._messages.next())


_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


async def drive(messages: _Messages, port: int, seconds: float) -> dict[str, int]:
    """Keep all connections busy for so many seconds, and say how many messages were answered."""
    counts = [0, 0]

    def ended(succeeded: bool) -> None:
        counts[succeeded] += 1

    loop = asyncio.get_running_loop()
    opened = [
        await loop.create_connection(lambda: _Asking(messages, ended), "127.0.0.1", port)
        for _ in range(CONNECTIONS)
    ]
    await asyncio.sleep(seconds)
    failed, succeeded = counts
    lost = sum(transport.is_closing() for transport, _ in opened)
    return {"requests": failed + succeeded, "failed": failed + lost}


def main() -> None:
    path, port, seconds, begin = sys.argv[1:]
    messages = [(before.encode(), after.encode()) for before, after in json.loads(Path(path).read_bytes())]
    print(json.dumps(asyncio.run(drive(_Messages(messages, int(begin)), int(port), float(seconds)))))


if __name__ == "__main__":
    main()
