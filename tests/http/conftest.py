"""What the tests of HTTP share: transports that are closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest

from ocpi_gireve.http import AiohttpTransport


@pytest.fixture
async def opened() -> AsyncIterator[Callable[[AiohttpTransport], AiohttpTransport]]:
    """Takes a transport, closes it when the test is over, and gives it back."""
    transports: list[AiohttpTransport] = []

    def keep(transport: AiohttpTransport) -> AiohttpTransport:
        transports.append(transport)
        return transport

    yield keep
    for transport in transports:
        await transport.close()
