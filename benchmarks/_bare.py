"""Serves a constant answer with aiohttp alone: `python benchmarks/_bare.py server`, or `application`."""

from __future__ import annotations

import asyncio

from _serving import chosen, serve_aiohttp, used
from aiohttp import web

ANSWER = b'{"status_code":1000,"status_message":"Success","timestamp":"2026-11-01T12:00:00Z"}'


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Read what came, and say that all is well."""
    used.requests += 1
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


def main() -> None:
    if chosen("server", "application") == "server":
        asyncio.run(_with_server())
    else:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", answer)
        asyncio.run(serve_aiohttp(application))


async def _with_server() -> None:
    # Its loop is the one that it is made in.
    await serve_aiohttp(web.Server(answer, access_log=None))


if __name__ == "__main__":
    main()
