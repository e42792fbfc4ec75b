"""Tests of ocpi_gireve.transport."""

from __future__ import annotations

import asyncio

import pytest
from multidict import CIMultiDict

from ocpi_gireve.errors import NoAnswer
from ocpi_gireve.transport import HttpRequest, HttpResponse, Loopback


def test_repr_of_a_request() -> None:
    """A request's repr tells where it goes, and none of its query, headers, body and token uids."""
    request = HttpRequest(
        method="POST",
        url="https://iop.example.com/ocpi/2.2.1/sender/tokens/04A1B2C3/authorize?type=RFID",
        headers=CIMultiDict({"Authorization": "Token c2VjcmV0"}),
        body=b"driver",
    )
    assert repr(request) == (
        "HttpRequest(method='POST', url='https://iop.example.com/ocpi/2.2.1/sender/tokens/***')"
    )


async def test_loopback_hands_on_what_an_http_server_would() -> None:
    """Over `Loopback` a server sees path and query as in a request line, and its own copy of the headers."""
    seen: list[HttpRequest] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        seen.append(request)
        return HttpResponse(status=200)

    sent = HttpRequest(method="GET", url="https://cpo.example.com/ocpi/versions?a=b")
    await Loopback(serve).send(sent, timeout=1)
    assert seen[0].url == "/ocpi/versions?a=b"
    assert seen[0].headers is not sent.headers


async def test_loopback_keeps_the_time_limit() -> None:
    """A server that takes longer than the timeout gives no answer, as over HTTP."""

    async def sleep(_: HttpRequest) -> HttpResponse:
        await asyncio.sleep(60)
        return HttpResponse(status=200)

    with pytest.raises(NoAnswer, match="in time"):
        await Loopback(sleep).send(HttpRequest(method="GET", url="https://cpo.example.com/"), timeout=0.01)
