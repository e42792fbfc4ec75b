"""The journal: what is told of an exchange, what is kept of it, and what happens if nobody can listen."""

from __future__ import annotations

import json
import logging

import pytest
from attrs import evolve
from multidict import CIMultiDict

from ocpi_gireve.journal import Entry, Exchanged, Journal, ignore, tell
from ocpi_gireve.transport import HttpRequest, HttpResponse

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


def exchanged(correlation_id: str, *, uid: str = "04A2B3C4") -> Exchanged:
    """An exchange that carries a token and a card number."""
    headers = CIMultiDict({"Authorization": "Token c2VjcmV0LXRva2Vu"})
    return evolve(
        EXCHANGED,
        correlation_id=correlation_id,
        operation="TokensReceiver.put_token",
        module="tokens",
        request=HttpRequest(
            method="PUT",
            url=f"https://a.example/tokens/FR/EMP/{uid}",
            headers=headers,
            body=f'{{"uid":"{uid}","valid":true}}'.encode(),
        ),
        response=HttpResponse(status=200, body=b'{"status_code":1000}'),
    )


def test_journal_keeps_what_happened() -> None:
    """A journal shows what was sent and answered, without what is secret."""
    journal = Journal()
    journal(exchanged("c1"))
    (entry,) = journal.entries()
    assert entry.method == "PUT"
    assert '"valid":true' in entry.request_body
    assert entry.response_body == '{"status_code":1000}'
    for text in (journal.export().decode(), repr(entry)):
        assert "04A2B3C4" not in text
        assert "c2VjcmV0" not in text


def test_journal_exports_by_correlation_id() -> None:
    """Everything that has one cause is exported together, as JSON lines in order."""
    journal = Journal()
    for number, cause in enumerate(["c1", "c2", "c1"]):
        journal(evolve(exchanged(cause), request_id=f"r{number}"))
    lines = [json.loads(line) for line in journal.export("c1").splitlines()]
    assert [line["request_id"] for line in lines] == ["r0", "r2"]
    assert all(line["operation"] == "TokensReceiver.put_token" for line in lines)


def test_journal_is_bounded() -> None:
    """The oldest exchanges go first, and a long body is kept by its length alone."""
    journal = Journal(2, max_body=5)
    for number in range(3):
        journal(exchanged(f"c{number}"))
    assert [entry.exchanged.correlation_id for entry in journal.entries()] == ["c1", "c2"]
    assert journal.entries()[0].request_body.endswith("bytes>")


def test_journal_hands_entries_on() -> None:
    """Whoever keeps entries for longer gets each one redacted, without request and answer."""
    kept: list[Entry] = []
    journal = Journal(on_entry=kept.append)
    journal(exchanged("c1"))
    assert kept == journal.entries()
    assert kept[0].exchanged.request is None
    assert kept[0].exchanged.response is None


def test_exchange_without_content() -> None:
    """An exchange that never got a request or an answer is kept all the same."""
    journal = Journal()
    journal(EXCHANGED)
    (entry,) = journal.entries()
    assert (entry.method, entry.url, entry.response_body) == ("", "", "")
    assert entry.to_json()["request_id"] == "r1"


def test_bytes_that_are_no_text() -> None:
    """A header and a URL of bytes that are no UTF-8 do not keep the journal from being exported."""
    journal = Journal()
    odd = HttpRequest(method="GET", url="/\udcff?type=\udcff", headers=CIMultiDict({"X-A": "\udcff"}))
    journal(evolve(EXCHANGED, request=odd, response=HttpResponse(status=404, headers=odd.headers)))
    journal(exchanged("c1"))
    assert [json.loads(line)["correlation_id"] for line in journal.export().splitlines()] == ["c1", "c1"]


def test_tokens_at_any_url() -> None:
    """The uid in a URL is hidden where the partner's endpoint of tokens has another name."""
    journal, one = Journal(), exchanged("c1")
    assert one.request is not None
    journal(evolve(one, request=evolve(one.request, url="https://a.example/cards/FR/EMP/04A2B3C4")))
    assert "cards/FR/EMP/" in journal.entries()[0].url
    assert b"04A2B3C4" not in journal.export()


def test_repr_shows_no_content() -> None:
    """The repr of an exchange holds nothing of its request."""
    assert "04A2B3C4" not in repr(exchanged("c1"))
