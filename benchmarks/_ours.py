"""Serves a platform with every interface of both versions to one registered hub, by handlers that do nothing.

`python benchmarks/_ours.py server` puts it on aiohttp's low-level server; else say `application` or `asgi`.
"""

from __future__ import annotations

import asyncio
from typing import cast

from _serving import TOKEN, chosen, serve_aiohttp, used
from aiohttp import web

from ocpi_gireve import MemoryStore, Party, PartyId, Platform, Role
from ocpi_gireve.gireve import PREPRODUCTION
from ocpi_gireve.interface import Interface, operations
from ocpi_gireve.platform import DIALECTS
from ocpi_gireve.store.records import ConnectionRecord, ConnectionState, InboundToken, TokenKind
from ocpi_gireve.tokens import token_digest
from ocpi_gireve.types import PartnerRole, Secret


async def _nothing(*_: object) -> None:
    used.requests += 1


def handlers() -> list[Interface]:
    """An object for each interface of both versions, whose methods do nothing."""
    made: list[Interface] = []
    for interface in (one for dialect in DIALECTS for one in dialect.interfaces):
        methods = {operation.name: _nothing for operation in operations(interface)}
        made.append(cast("Interface", type(f"No{interface.__name__}", (interface,), methods)()))
    return made


async def started() -> Platform:
    """A platform as after a registration."""
    store = MemoryStore()
    await store.open()
    record = ConnectionRecord(
        id="iop",
        profile=PREPRODUCTION.name,
        origins=("https://ocpi.example.com",),
        state=ConnectionState.REGISTERED,
        version="2.2.1",
        roles=(PartnerRole(Role.HUB, PartyId("FR", "107"), "GIREVE"),),
        outbound_token=Secret(TOKEN),
    )
    token = InboundToken(
        digest=token_digest(Secret(TOKEN)), connection="iop", kind=TokenKind.CURRENT, used=True
    )
    await store.save_connection(record, [token])
    platform = Platform(
        public_url="https://emsp.example.com/ocpi",
        parties=[
            Party("FR", "EMP", Role.EMSP, name="Example eMSP"),
            Party("FR", "OWN", Role.CPO, name="Example CPO"),
        ],
        handlers=handlers(),
        store=store,
        profiles=[PREPRODUCTION],
    )
    await platform.start()
    return platform


async def run(kind: str) -> None:
    """Serve until the process ends."""
    platform = await started()
    if kind == "application":
        await serve_aiohttp(platform.aiohttp_app())
    elif kind == "server":
        await serve_aiohttp(web.Server(platform.aiohttp_handler(), access_log=None))
    else:
        # Imported here, so that it takes no memory where it does not serve.
        from _serving_asgi import serve_asgi  # noqa: PLC0415

        await serve_asgi(platform.asgi_app())


if __name__ == "__main__":
    asyncio.run(run(chosen("server", "application", "asgi")))
