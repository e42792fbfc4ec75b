"""HTTP in both directions, with aiohttp or behind an ASGI server, and which URLs may be called; no OCPI."""

from __future__ import annotations

from .aiohttp_client import AiohttpTransport
from .aiohttp_server import (
    Application,
    Handler,
    HttpServer,
    aiohttp_app,
    aiohttp_handler,
    hide_bad_requests,
)
from .asgi import AsgiApplication, AsgiMessage, AsgiReceive, AsgiSend, asgi_app
from .certificates import KeyFromProxy, key_pin
from .urls import Origin, UrlPolicy, origin_of, same_place

__all__ = [
    "AiohttpTransport",
    "Application",
    "AsgiApplication",
    "AsgiMessage",
    "AsgiReceive",
    "AsgiSend",
    "Handler",
    "HttpServer",
    "KeyFromProxy",
    "Origin",
    "UrlPolicy",
    "aiohttp_app",
    "aiohttp_handler",
    "asgi_app",
    "hide_bad_requests",
    "key_pin",
    "origin_of",
    "same_place",
]
