"""What names an object, whatever the version of OCPI; keeps nothing."""

from __future__ import annotations

from typing import Protocol

from ..types import PartyId


class OfParty(Protocol):
    """Something that belongs to a party."""

    @property
    def country_code(self) -> str:
        """Country of the owner."""
        ...

    @property
    def party_id(self) -> str:
        """Id of the owner."""
        ...


class OwnLocationNamed(Protocol):
    """Names a Location."""

    @property
    def location_id(self) -> str:
        """The location."""
        ...


class OwnEvseNamed(OwnLocationNamed, Protocol):
    """Names an EVSE of a Location."""

    @property
    def evse_uid(self) -> str:
        """The EVSE."""
        ...


class OwnConnectorNamed(OwnEvseNamed, Protocol):
    """Names a Connector of an EVSE."""

    @property
    def connector_id(self) -> str:
        """The connector."""
        ...


class LocationNamed(OfParty, OwnLocationNamed, Protocol):
    """Names a Location of a party."""


class EvseNamed(LocationNamed, OwnEvseNamed, Protocol):
    """Names an EVSE of a party's Location."""


class ConnectorNamed(EvseNamed, OwnConnectorNamed, Protocol):
    """Names a Connector of a party's EVSE."""


class TariffNamed(OfParty, Protocol):
    """Names a Tariff of a party."""

    @property
    def tariff_id(self) -> str:
        """The tariff."""
        ...


class SessionNamed(OfParty, Protocol):
    """Names a Session of a party."""

    @property
    def session_id(self) -> str:
        """The session."""
        ...


def party_of(one: OfParty) -> PartyId:
    """Return whose it is."""
    return PartyId(one.country_code, one.party_id)
