"""OCPI beside the routes of a Starlette application: ``uvicorn starlette_host:app``.

The platform starts and closes with the application, and shares its event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from ocpi_gireve import MemoryStore, Party, Platform, Role
from ocpi_gireve.receivers import KeptLocations

store = MemoryStore()  # forgets at the end; SqliteStore("ocpi.db") does not
platform = Platform(
    public_url="https://emsp.example.com/ocpi",  # as partners see it, with the path of the mount
    parties=[Party("FR", "EMP", Role.EMSP, name="Example eMSP")],
    handlers=[KeptLocations(store)],
    store=store,
)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncGenerator[None]:
    """Start and close the platform: Starlette does not tell what it mounts."""
    async with platform:
        yield


async def health(_: Request) -> JSONResponse:
    """Answer an ordinary question of the host's own."""
    return JSONResponse({"connections": len(platform.connections())})


app = Starlette(
    routes=[Route("/health", health), Mount("/ocpi", platform.asgi_app())],
    lifespan=lifespan,
)
