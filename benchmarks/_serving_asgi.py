"""Serves an ASGI application with uvicorn, as `_serving` does with aiohttp."""

from __future__ import annotations

from typing import Any, cast

import uvicorn
from _serving import listen


async def serve_asgi(application: object) -> None:
    """Serve until the process ends, on asyncio's own event loop, and without an access log."""
    config = uvicorn.Config(
        cast("Any", application),
        loop="asyncio",
        # The fast one of its two parsers. Without it, what is compared is not what people run.
        http="httptools",
        log_level="warning",
        access_log=False,
    )
    await uvicorn.Server(config).serve(sockets=[listen()])
