"""What each measured server does besides serving: it says where it listens and, when asked, what it has used.

The program that measures talks to it by lines: the server's first is its port, and each line that it is sent
is answered with its `Used` as JSON. It ends with the program that started it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import socket
import sys
import time
from pathlib import Path
from threading import Thread

import attrs
from aiohttp import web
from attrs import define

TOKEN = "the-token-of-a-benchmark"
"""What a message has to show."""


@define
class Used:
    """What a server has used since it started.

    Attributes:
        requests: How many it has done the work of, as its handlers count them.
        cpu: Seconds, those of the system's work for it included.
        clock: What time it is, in seconds.
        resident: Memory, in kB.
    """

    requests: int = 0
    cpu: float = 0.0
    clock: float = 0.0
    resident: int = 0


used = Used()
"""What this process has used. Handlers count here."""


def _resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
    # The most that it ever was, in bytes where there is no /proc.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _answer() -> None:
    for _ in sys.stdin:
        used.cpu, used.clock, used.resident = time.process_time(), time.perf_counter(), _resident()
        print(json.dumps(attrs.asdict(used)), flush=True)
    # Nothing here is worth an orderly end.
    os._exit(0)


def chosen(*kinds: str) -> str:
    """Which kind of server the command line asks for."""
    parser = argparse.ArgumentParser(description="Serve for benchmarks/server.py.")
    parser.add_argument("kind", choices=kinds)
    return str(parser.parse_args().kind)


def listen() -> socket.socket:
    """Listen on a free port and say which; who connects from now on waits until something serves."""
    # The protocol is named, or asyncio would not send at once: for the second part of an answer that goes out
    # in two, as uvicorn's do, a client would wait 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(256)
    gc.collect()
    # A full collection of what was there before the first request would hit requests at random.
    gc.freeze()
    print(listening.getsockname()[1], flush=True)
    Thread(target=_answer, daemon=True).start()
    return listening


async def serve_aiohttp(served: web.Application | web.Server) -> None:
    """Serve with aiohttp, without its access log, until the process ends."""
    if isinstance(served, web.Application):
        application = web.AppRunner(served, access_log=None)
        await application.setup()
        await web.SockSite(application, listen()).start()
    else:
        server = web.ServerRunner(served)
        await server.setup()
        await web.SockSite(server, listen()).start()
    await asyncio.Event().wait()
