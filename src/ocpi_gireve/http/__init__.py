"""HTTP with aiohttp, in both directions, and which URLs may be called; knows nothing of OCPI."""

from __future__ import annotations

from .aiohttp_client import AiohttpTransport
from .aiohttp_server import Application, HttpServer, aiohttp_app, hide_bad_requests
from .urls import Origin, UrlPolicy, origin_of, same_place

__all__ = [
    "AiohttpTransport",
    "Application",
    "HttpServer",
    "Origin",
    "UrlPolicy",
    "aiohttp_app",
    "hide_bad_requests",
    "origin_of",
    "same_place",
]
