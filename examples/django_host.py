"""OCPI beside the views of a Django project, in one ASGI server: ``uvicorn django_host:app``.

Django mounts no ASGI applications, so requests are told apart before it. In a project of yours only `app` is
new; it stands in ``asgi.py``.
"""

from __future__ import annotations

from typing import cast

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from ocpi_gireve import MemoryStore, Party, Platform, Role
from ocpi_gireve.http import AsgiApplication, AsgiMessage, AsgiReceive, AsgiSend
from ocpi_gireve.receivers import KeptLocations

store = MemoryStore()  # forgets at the end; SqliteStore("ocpi.db") does not
platform = Platform(
    public_url="https://emsp.example.com/ocpi",  # as partners see it
    parties=[Party("FR", "EMP", Role.EMSP, name="Example eMSP")],
    handlers=[KeptLocations(store)],
    store=store,
)


def health(_: HttpRequest) -> JsonResponse:
    """Answer an ordinary question of the host's own."""
    return JsonResponse({"connections": len(platform.connections())})


urlpatterns = [path("health", health)]

settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="of an example")
django.setup()

django_app = cast("AsgiApplication", get_asgi_application())
ocpi_app = platform.asgi_app()


async def app(scope: AsgiMessage, receive: AsgiReceive, send: AsgiSend) -> None:
    """Pass OCPI and the server's start and stop to the platform, and everything else to Django."""
    ocpi = scope["type"] == "lifespan" or str(scope.get("path", "")).startswith("/ocpi/")
    await (ocpi_app if ocpi else django_app)(scope, receive, send)
