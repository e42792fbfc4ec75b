"""The journal: what is told of an exchange, and what happens if nobody can listen."""

from __future__ import annotations

import logging

import pytest

from ocpi_gireve.journal import Exchanged, ignore, tell

EXCHANGED = Exchanged(
    direction="out",
    partner="gireve",
    operation="LocationsReceiver.put_location",
    http_status=200,
    seconds=0.1,
    request_id="r1",
    correlation_id="c1",
)


def test_listener_is_told() -> None:
    """A listener gets every exchange as it ended."""
    heard: list[Exchanged] = []
    tell(heard.append, EXCHANGED)
    tell(ignore, EXCHANGED)
    assert heard == [EXCHANGED]


def test_mistake_of_a_listener(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails is logged by the name of its error, and changes nothing else."""

    def fail(_: Exchanged) -> None:
        raise OSError("what was said to the driver")

    with caplog.at_level(logging.DEBUG):
        tell(fail, EXCHANGED)
    assert caplog.messages == ["on_exchange failed with OSError"]
    assert "driver" not in caplog.text
