"""OCPI beside the routes of a FastAPI application: ``uvicorn fastapi_host:app``.

The platform starts and closes with the application, and shares its event loop.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

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
async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
    """Start and close the platform: FastAPI does not tell what it mounts."""
    async with platform:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/ocpi", platform.asgi_app())


@app.get("/health")
async def health() -> dict[str, int]:
    """Answer an ordinary question of the host's own."""
    return {"connections": len(platform.connections())}
