"""The examples that mount OCPI in other frameworks, each behind a real ASGI server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.examples.programs import EXAMPLES, LIBRARY, SOON


@asynccontextmanager
async def served(name: str) -> AsyncGenerator[str]:
    """Serve an example on a free port by uvicorn, and see that it ends as it should."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        port = listener.getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            "-m",
            "uvicorn",
            "--app-dir",
            str(EXAMPLES),
            "--fd",
            str(listener.fileno()),
            "--log-level",
            "warning",
            f"{name}:app",
            pass_fds=(listener.fileno(),),
            stderr=PIPE,
            env={**os.environ, "PYTHONPATH": LIBRARY},
        )
    # The listener is bound, so that requests wait for the program instead of being refused.
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        _, complaints = await asyncio.wait_for(process.communicate(), SOON)
    assert complaints.decode() == ""


@pytest.mark.parametrize("name", ["fastapi_host", "starlette_host", "django_host"])
async def test_host_serves_both(name: str) -> None:
    """The host's own routes answer, and OCPI beside them, in one process."""
    async with served(name) as url, aiohttp.ClientSession() as client:
        async with client.get(f"{url}/health") as response:
            assert (response.status, await response.json()) == (200, {"connections": 0})
        headers = {"X-Request-ID": "r-1", "Authorization": "Token bm9ib2R5cw=="}
        async with client.get(f"{url}/ocpi/versions", headers=headers) as response:
            answer = await response.json()
            assert (response.status, answer["status_code"]) == (401, 2000)
            assert response.headers["X-Request-ID"] == "r-1"
        async with client.get(f"{url}/ocpi/nothing") as response:
            assert response.status == 401
            assert "status_code" in await response.json()
