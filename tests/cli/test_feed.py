from __future__ import annotations

import json
from pathlib import Path

import pytest

from ocpi_gireve import v221
from ocpi_gireve.cli._feed import FeedError, read_locations
from tests.support import a_location

ONE = json.loads(v221.encode(a_location()))
TWO = {**ONE, "id": "LOC2"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a feed can be written."""
    return tmp_path / "feed.json"


def answer(*items: object) -> dict[str, object]:
    """An OCPI answer with that list."""
    return {"data": list(items), "status_code": 1000, "timestamp": "2026-01-01T00:00:00Z"}


class TestForms:
    @pytest.mark.parametrize(
        "document",
        [
            [ONE, TWO],
            answer(ONE, TWO),
            [answer(ONE), answer(TWO)],
            [[ONE], [TWO]],
            {"data": answer(ONE, TWO)},
        ],
    )
    def test_json(self, document: object, file: Path) -> None:
        """A feed is a list, an OCPI answer, or pages of either."""
        file.write_text(json.dumps(document))
        assert [location.id for location in read_locations(file).locations] == ["LOC1", "LOC2"]

    def test_one(self, file: Path) -> None:
        """A single Location is a feed, and so is the answer to a GET of one."""
        file.write_text(json.dumps(ONE))
        assert read_locations(file).locations == [a_location()]
        file.write_text(json.dumps({"data": ONE, "status_code": 1000}))
        assert read_locations(file).locations == [a_location()]

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
    def test_lines(self, end: str, file: Path) -> None:
        """There may be one document on each line."""
        file.write_text(json.dumps(ONE) + end + json.dumps(answer(TWO)) + end)
        assert len(read_locations(file).locations) == 2

    def test_byte_order_mark(self, file: Path) -> None:
        """A byte order mark at the beginning is no part of the document."""
        file.write_bytes(b"\xef\xbb\xbf" + json.dumps([ONE]).encode())
        assert len(read_locations(file).locations) == 1

    def test_kept(self, file: Path) -> None:
        """Unknown properties, upper-case languages and over-long texts stay as they are."""
        odd = {
            **ONE,
            "help_phone": "112",
            "name": "n" * 999,
            "directions": [{"language": "DE", "text": "links"}],
        }
        file.write_text(json.dumps([odd]))
        (location,) = read_locations(file).locations
        assert json.loads(v221.encode(location)) == odd


class TestLeftOut:
    def test_among_good_ones(self, file: Path) -> None:
        """What cannot be read is left out, with its place and the first problem; the others are taken."""
        wrong = {**ONE, "id": "LOC3", "coordinates": None}
        file.write_text(json.dumps([ONE, wrong, 5, TWO, None]))
        feed = read_locations(file)
        assert [location.id for location in feed.locations] == ["LOC1", "LOC2"]
        assert [line.partition(":")[0] for line in feed.left_out] == ["item 1", "item 2", "item 4"]
        assert "/coordinates" in feed.left_out[0]

    def test_owner(self, file: Path) -> None:
        """A location of what is no party, or of the hub itself, is left out."""
        owners = [("FR", "107"), ("fr", "107"), ("F", "CPO"), ("FR", "ÄÖÜ"), ("FR", "CPOO"), ("FR", "\n\t ")]
        items = [{**ONE, "country_code": country, "party_id": party} for country, party in owners]
        file.write_text(json.dumps([TWO, *items]))
        feed = read_locations(file)
        assert [location.id for location in feed.locations] == ["LOC2"]
        assert len(feed.left_out) == len(owners)
        assert feed.left_out[0] == "item 1: /party_id: FR*107 is the hub itself"
        assert all(line.isprintable() for line in feed.left_out)

    def test_twice(self, file: Path) -> None:
        """Of items with one id the newest counts, whatever their order."""
        newer = {**ONE, "id": "loc1", "name": "new", "last_updated": "2027-01-01T00:00:00Z"}
        for items in ([ONE, newer, ONE], [newer, ONE, ONE]):
            file.write_text(json.dumps(items))
            feed = read_locations(file)
            assert [location.name for location in feed.locations] == ["new"]
            assert len(feed.left_out) == 2


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "the file is empty"),
            (" \n", "the file is empty"),
            ("\ufeff", "the file is empty"),
            ("<html>", "not JSON"),
            ("[1, 2", "not JSON"),
            ('{"a": 1}\n{"a": ', "not JSON"),
            ("[]", "no OCPI 2.2.1 Location in it"),
            ("null", "no OCPI 2.2.1 Location in it"),
            ('"LOC1"', "no OCPI 2.2.1 Location in it"),
            ('{"data": []}', "no OCPI 2.2.1 Location in it"),
            ('{"id": "LOC1", "type": "ON_STREET"}', "no OCPI 2.2.1 Location in it (item 0: /country_code"),
            ("[" * 5000, "not JSON"),
        ],
    )
    def test_content(self, text: str, reason: str, file: Path) -> None:
        """What is no feed is refused in one line."""
        file.write_text(text, encoding="utf-8")
        with pytest.raises(FeedError) as refused:
            read_locations(file)
        assert str(refused.value).startswith(reason)
        assert "\n" not in str(refused.value)

    def test_binary(self, file: Path) -> None:
        """What is no text is refused."""
        file.write_bytes(bytes(range(256)))
        with pytest.raises(FeedError, match="not JSON"):
            read_locations(file)

    def test_unreadable(self, tmp_path: Path) -> None:
        """A file that is not there, and a folder, are refused with the system's reason."""
        with pytest.raises(FeedError, match="No such file"):
            read_locations(tmp_path / "absent.json")
        with pytest.raises(FeedError, match="directory"):
            read_locations(tmp_path)


def test_real_feed(shared: Path) -> None:
    """A published feed is read whole."""
    feed = read_locations(shared / "data" / "ludwigsburg-locations-2.2.1.json")
    assert (len(feed.locations), feed.left_out) == (130, [])
