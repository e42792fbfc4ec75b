from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from ocpi_gireve.logs import (
    ExchangeFilter,
    Ids,
    JsonFormatter,
    current_exchange,
    enter_exchange,
    leave_exchange,
)

IDS = Ids("r-1", "c-1", "gireve", "LocationsSender.list_locations")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a logger of a host writes with our filter and formatter."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(ExchangeFilter())
    handler.setFormatter(JsonFormatter())
    logger = logging.getLogger("host")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)


def test_record_carries_the_ids(lines: io.StringIO) -> None:
    """What a host logs while an exchange lasts names the exchange, and afterwards no more."""
    entered = enter_exchange(IDS)
    logging.getLogger("host").info("charger %s started", "E1")
    leave_exchange(entered)
    logging.getLogger("host").info("idle")
    first, second = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert first["message"] == "charger E1 started"
    assert first["request_id"] == "r-1"
    assert first["correlation_id"] == "c-1"
    assert first["partner"] == "gireve"
    assert first["operation"] == "LocationsSender.list_locations"
    assert first["time"].endswith("Z")
    assert "request_id" not in second


def test_exchanges_nest() -> None:
    """A request made while another is served has ids of its own, and gives back those before."""
    outer = enter_exchange(IDS)
    inner = enter_exchange(Ids("r-2", "c-1"))
    assert current_exchange().request_id == "r-2"
    leave_exchange(inner)
    assert current_exchange().request_id == "r-1"
    leave_exchange(outer)
    assert current_exchange().request_id == ""


def test_own_fields_win(lines: io.StringIO) -> None:
    """A host that names another exchange in `extra` is believed."""
    entered = enter_exchange(IDS)
    logging.getLogger("host").info("x", extra={"request_id": "mine"})
    leave_exchange(entered)
    assert json.loads(lines.getvalue())["request_id"] == "mine"


def test_traceback_without_the_text(lines: io.StringIO) -> None:
    """An exception is named and placed; its text, which may quote a partner, is left out."""
    secret = "c2VjcmV0"
    try:
        raise ValueError(secret)
    except ValueError:
        logging.getLogger("host").exception("failed")
    line = json.loads(lines.getvalue())
    assert line["error"] == "ValueError"
    assert "test_logs.py" in line["traceback"]
    assert "c2VjcmV0" not in lines.getvalue()


def test_text_that_no_file_takes(lines: io.StringIO) -> None:
    """Half of a surrogate pair is escaped: the line stays JSON, and can be written in UTF-8."""
    logging.getLogger("host").info("a card of %s, \u00e9", "\udcff")
    lines.getvalue().encode()
    assert json.loads(lines.getvalue())["message"] == "a card of \udcff, \u00e9"
