"""Values that both versions of OCPI word alike; knows neither JSON nor HTTP."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import NoReturn, Self, TypeAlias

from attrs import Factory, field, frozen

Json: TypeAlias = "bool | int | Decimal | str | list[Json] | dict[str, Json] | None"
"""A JSON value as this library holds it: numbers with a fraction are `Decimal`, exactly as sent."""

JsonObject: TypeAlias = Mapping[str, Json]

_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def ci_key(text: str) -> str:
    """Return the form of a `CiString` under which two spellings of the same identifier are equal.

    OCPI's `CiString` ignores the case of ASCII letters and of nothing else. (types, CiString)
    """
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def ci_equal(one: str, other: str) -> bool:
    """Tell whether two `CiString` values name the same thing."""
    return one == other or ci_key(one) == ci_key(other)


def _party_key(party: PartyId) -> str:
    return ci_key(f"{party.country_code}*{party.party_id}")


@frozen(eq=False)
class PartyId:
    """One party: its country code (ISO 3166-1 alpha-2) and its party id (ISO 15118), as in ``FR*CPO``.

    Two spellings that differ only in ASCII case are the same party.
    """

    country_code: str
    party_id: str
    # Made once: every question whose something is compares it.
    key: str = field(init=False, repr=False, default=Factory(_party_key, takes_self=True))
    """The spelling under which parties are compared and stored."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``FR*CPO``, ``FR-CPO`` or ``FRCPO``.

        Raises:
            ValueError: the text does not have two and three letters or digits.
        """
        compact = text.replace("*", "").replace("-", "")
        if len(compact) != 5 or not (compact.isascii() and compact.isalnum()):
            raise ValueError(f"expected a party such as FR*CPO, not {text!r}")
        return cls(compact[:2], compact[2:])

    def __str__(self) -> str:
        return f"{self.country_code}*{self.party_id}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartyId):
            return NotImplemented
        return self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class OcpiEnum(StrEnum):
    """An enum that keeps a value it does not know as text.

    A partner's newer value must not make an object unreadable: it becomes a member-like value that
    compares, encodes and pickles as its text and whose `is_known` is false. An empty text is no value.
    """

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str) or not value:
            return None
        member = str.__new__(cls, value)
        member._name_ = value
        member._value_ = value
        return member

    @property
    def is_known(self) -> bool:
        """Whether the specification, or GIREVE's guide, lists this value."""
        return self._value_ in type(self)._value2member_map_

    def __reduce_ex__(self, protocol: object) -> tuple[type[Self], tuple[str]]:
        return type(self), (self._value_,)


class ExtensibleEnum(OcpiEnum):
    """An enum that partners may extend: an unknown value is correct."""


class Role(OcpiEnum):
    """The market role of a party. (2.2.1, types, Role)"""

    CPO = "CPO"
    EMSP = "EMSP"
    HUB = "HUB"
    NAP = "NAP"
    NSP = "NSP"
    OTHER = "OTHER"
    SCSP = "SCSP"


@frozen
class Party:
    """One operator that our platform speaks for, as we present it in the credentials exchange."""

    country_code: str
    party_id: str
    role: Role
    name: str = field(kw_only=True)
    website: str | None = field(default=None, kw_only=True)

    @property
    def id(self) -> PartyId:
        """The party without its role: several roles may share one id."""
        return PartyId(self.country_code, self.party_id)


@frozen
class PartnerRole:
    """One role that a partner presented in its credentials: a claim, not a permission."""

    role: Role
    party: PartyId
    name: str


@frozen
class PartnerEndpoint:
    """Where a partner serves one module. `role` is the interface's role as its version words it."""

    module: str
    role: str
    url: str


class Secret:
    """A text that must never be printed: `reveal()` is the only way to it.

    Its repr and str are masked, comparison takes the same time for equal and different values, and
    pickling is refused.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself, to put it on the wire."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled; reveal() it where it has to leave the process")


def utc_now() -> datetime:
    """Return the present moment in UTC, to the millisecond that OCPI's DateTime can carry."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def format_datetime(moment: datetime) -> str:
    """Write a moment as OCPI's DateTime: UTC, with ``Z``, milliseconds where there are any.

    Raises:
        ValueError: the moment has no time zone, so it names no instant.
        OverflowError: in UTC it lies outside the years 1 to 9999.
    """
    if moment.utcoffset() is None:
        raise ValueError("expected a datetime with a time zone")
    moment = moment.astimezone(UTC)
    written = moment.isoformat(timespec="milliseconds" if moment.microsecond >= 1000 else "seconds")
    return written.replace("+00:00", "Z")
