from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocpi_gireve.types import (
    OcpiEnum,
    Party,
    PartyId,
    Role,
    Secret,
    ci_equal,
    ci_key,
    format_datetime,
    utc_now,
)
from ocpi_gireve.v221 import Status, VersionNumber
from tests.documents import ENUMS

NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


class NoOffset(tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        return None

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None


@given(st.text())
def test_ci_key_folds_ascii_letters_alone(text: str) -> None:
    """Two spellings are equal when they differ in the case of ASCII letters, and in nothing else."""
    folded = "".join(c.lower() if c.isascii() else c for c in text)
    assert ci_key(text) == folded
    assert ci_equal(text, folded)


def test_ci_equal_leaves_other_letters_apart() -> None:
    """`É` and `é`, or `K` and the Kelvin sign, are different characters of an identifier."""
    assert not ci_equal("É", "é")
    assert not ci_equal("k", "\u212a")


@pytest.mark.parametrize("text", ["FR*CPO", "FR-CPO", "FRCPO"])
def test_party_id_spellings(text: str) -> None:
    """A party is read with a star, with a hyphen, and with neither."""
    assert PartyId.parse(text) == PartyId("FR", "CPO")
    assert str(PartyId.parse(text)) == "FR*CPO"


@pytest.mark.parametrize("text", ["", "FR", "FR*CPOX", "FR*C O", "FR*CÉO"])
def test_party_id_refuses_other_texts(text: str) -> None:
    """What is not two and three letters or digits is no party."""
    with pytest.raises(ValueError, match="expected a party such as FR"):
        PartyId.parse(text)


def test_party_id_ignores_case() -> None:
    """A party written in lower case is the same party, also as a key of a dict."""
    assert {PartyId("fr", "cpo"): 1}[PartyId("FR", "CPO")] == 1
    assert PartyId("FR", "CPO") != PartyId("FR", "CPX")
    assert PartyId("FR", "CPO") != "FR*CPO"


def test_party_has_an_id() -> None:
    """Two roles of one operator share its id."""
    cpo = Party("FR", "ABC", Role.CPO, name="ABC")
    assert cpo.id == Party("FR", "ABC", Role.EMSP, name="ABC").id


@pytest.mark.parametrize("member", [Status.AVAILABLE, Status("NEW"), VersionNumber.V2_2_1])
def test_enum_value_is_its_text(member: OcpiEnum) -> None:
    """A value, known or not, equals its text, hashes like it, and survives copying and pickling."""
    text = str(member)
    assert member == text
    assert {text: 1}[member] == 1
    assert f"{member}" == member.value == text
    for same in (copy.copy(member), copy.deepcopy(member), pickle.loads(pickle.dumps(member))):
        assert same == member
        assert type(same) is type(member)
        assert same.is_known is member.is_known


def test_unknown_enum_value() -> None:
    """An unknown value is kept as text, knows that it is unknown, and does not become a member."""
    unknown = Status("NEW")
    assert unknown == Status("NEW")
    assert unknown != Status.AVAILABLE
    assert not unknown.is_known
    assert Status.AVAILABLE.is_known
    assert unknown not in list(Status)
    assert "NEW" not in Status.__members__


@pytest.mark.parametrize("cls", ENUMS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("value", ["", 5, None, b"X"])
def test_enum_value_is_a_text(cls: Callable[[object], OcpiEnum], value: object) -> None:
    """Nothing but a text that is not empty becomes a value of an enum."""
    with pytest.raises(ValueError, match="is not a valid"):
        cls(value)


def test_secret_is_not_shown() -> None:
    """A secret shows in no repr, text or pickle; only `reveal` gives it."""
    secret = Secret("canary")
    assert "canary" not in f"{secret!r} {secret} {[secret]}"
    assert secret.reveal() == "canary"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(secret)


def test_secrets_are_compared() -> None:
    """Secrets with the same text are equal, whatever characters it has; a secret does not equal a text."""
    assert Secret("é") == Secret("é")
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2
    assert Secret("a") != "a"


def test_now_fits_the_wire() -> None:
    """The present moment is in UTC and has whole milliseconds."""
    now = utc_now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC), "2024-02-29T10:20:30Z"),
        (datetime(2024, 2, 29, 10, 20, 30, 123999, tzinfo=UTC), "2024-02-29T10:20:30.123Z"),
        (datetime(2024, 2, 29, 10, 20, 30, 999, tzinfo=UTC), "2024-02-29T10:20:30Z"),
        (datetime(2024, 2, 29, 1, tzinfo=timezone(timedelta(hours=2))), "2024-02-28T23:00:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "9999-12-31T23:59:59.999Z"),
    ],
)
def test_datetime_is_written_in_utc(moment: datetime, text: str) -> None:
    """A moment is written in UTC, with Z, with milliseconds where there are any, in at most 25 characters."""
    assert format_datetime(moment) == text
    assert len(text) <= 25


@pytest.mark.parametrize("moment", [NOON.replace(tzinfo=None), NOON.replace(tzinfo=NoOffset())])
def test_datetime_needs_an_offset(moment: datetime) -> None:
    """A datetime that names no instant is not written."""
    with pytest.raises(ValueError, match="with a time zone"):
        format_datetime(moment)
