"""Serves a constant answer with aiohttp alone: `python benchmarks/_bare.py server`.

`application` puts it into an application; so does `headers`, whose answers have the headers of OCPI's, too.
"""

from __future__ import annotations

import asyncio

from _serving import chosen, serve_aiohttp, used
from aiohttp import web
from multidict import CIMultiDict, istr

_IDS = ("X-Request-ID", "X-Correlation-ID")
_ROUTING = [
    (f"OCPI-{one}-{part}", f"OCPI-{other}-{part}")
    for one, other in (("from", "to"), ("to", "from"))
    for part in ("country-code", "party-id")
]
_ECHOED = {istr(name): istr(source) for name, source in [*zip(_IDS, _IDS, strict=True), *_ROUTING]}

ANSWER = b'{"status_code":1000,"status_message":"Success","timestamp":"2026-11-01T12:00:00Z"}'


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Read what came, and say that all is well."""
    used.requests += 1
    await request.read()
    return web.Response(body=ANSWER, content_type="application/json")


async def answer_with_headers(request: web.BaseRequest) -> web.StreamResponse:
    """The same, with the ids of the request, and its routing the other way round."""
    used.requests += 1
    await request.read()
    asked = request.headers
    headers = CIMultiDict({name: asked[source] for name, source in _ECHOED.items()})
    return web.Response(body=ANSWER, content_type="application/json", headers=headers)


def main() -> None:
    kind = chosen("server", "application", "headers")
    if kind == "server":
        asyncio.run(_with_server())
    else:
        application = web.Application()
        handler = answer if kind == "application" else answer_with_headers
        application.router.add_route("*", "/{path:.*}", handler)
        asyncio.run(serve_aiohttp(application))


async def _with_server() -> None:
    # Its loop is the one that it is made in.
    await serve_aiohttp(web.Server(answer, access_log=None))


if __name__ == "__main__":
    main()
