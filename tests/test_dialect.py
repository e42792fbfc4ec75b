"""Dialects: versions as values, and an operation that a private one adds."""

from __future__ import annotations

from abc import abstractmethod

import pytest
from attrs import evolve

from ocpi_gireve import Context, Role, platform, v211, v221
from ocpi_gireve.interface import Interface, get, operation_of
from ocpi_gireve.types import PartnerEndpoint
from ocpi_gireve.v211.dialect import DIALECT as V211
from tests.support import EmspLocations, a_pair


class BerthsSender(Interface):
    """A module that two partners agreed on."""

    module, role = "fr007-berths", v221.InterfaceRole.SENDER

    @get("{location_id}/{evse_uid}/berth")
    @abstractmethod
    async def get_berth(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.DisplayText:
        """Return the name of the berth in front of an EVSE."""


class Berths(BerthsSender):
    async def get_berth(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.DisplayText:
        return v221.DisplayText(language="fr", text=f"{ref.location_id} {ref.evse_uid}")


async def test_new_operation_takes_four_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decorator, `abstractmethod`, signature, docstring: client, server and version details need no more."""
    private = evolve(v221.DIALECT, interfaces=(*v221.DIALECT.interfaces, BerthsSender))
    monkeypatch.setattr(platform, "DIALECTS", (private,))
    async with a_pair(emsp=[Berths()]) as pair:
        url = "https://emsp.example.com/ocpi/2.2.1/sender/fr007-berths"
        assert PartnerEndpoint("fr007-berths", "SENDER", url) in pair.to_emsp.record.endpoints
        berth = await pair.to_emsp.call(BerthsSender.get_berth, v221.OwnEvseRef("GARE", "E/1"))
        assert berth == v221.DisplayText(language="fr", text="GARE E/1")


async def test_operation_of_no_version() -> None:
    """An operation that the connection's version does not have is refused before anything is sent."""
    async with a_pair(emsp=[EmspLocations()]) as pair:
        with pytest.raises(
            TypeError, match=r"get_berth is not an operation of OCPI 2\.2\.1, which emsp speaks"
        ):
            await pair.to_emsp.call(BerthsSender.get_berth, v221.OwnEvseRef("GARE", "E1"))
        assert pair.network.requests == []


def test_operations_by_id() -> None:
    """A dialect finds its operations by their ids, and tells which are its own."""
    put_location = operation_of(v221.LocationsReceiver.put_location)
    assert v221.DIALECT.operation("LocationsReceiver.put_location") is put_location
    assert v221.DIALECT.operation("LocationsReceiver.burn_location") is None
    assert v221.DIALECT.offers(put_location)
    assert not v221.DIALECT.offers(operation_of(BerthsSender.get_berth))
    ids = [operation.id for operation in v221.DIALECT.all_operations()]
    assert len(set(ids)) == len(ids) >= 29


def test_two_operations_of_one_id() -> None:
    """Two interfaces of one name would make their operations one in the store: refused."""

    class Twin(Interface):
        module, role = "fr007-berths", v221.InterfaceRole.RECEIVER

        @get("{location_id}/{evse_uid}")
        @abstractmethod
        async def get_berth(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.DisplayText:
            """Return another name."""

    Twin.__name__ = "BerthsSender"
    with pytest.raises(ValueError, match=r"OCPI 2\.2\.1 has two operations BerthsSender\.get_berth"):
        evolve(v221.DIALECT, interfaces=(BerthsSender, Twin))


def test_role_without_a_root() -> None:
    """An interface whose role has no place below the public URL could not be served: refused."""
    with pytest.raises(ValueError, match=r"LocationsSender: OCPI 2\.2\.1 has no root for SENDER"):
        evolve(v221.DIALECT, roots={"RECEIVER": "2.2.1/receiver"})


def test_endpoints() -> None:
    """Each interface has a place of its own, and credentials lie beside the version details."""
    paths = [v221.DIALECT.endpoint_path(one) for one in v221.DIALECT.interfaces]
    assert "2.2.1/sender/locations" in paths
    assert len(set(paths)) == len(paths)
    assert not v221.DIALECT.per_role
    for role in (None, Role.CPO):
        assert v221.DIALECT.endpoint_path(v221.CredentialsInterface, role) == "2.2.1/credentials"
        assert v221.DIALECT.details_path(role) == "2.2.1"
        assert v221.DIALECT.versions_path(role) == "versions"


def test_endpoints_of_each_role() -> None:
    """In 2.1.1 each role has its details, its credentials and its list of versions."""
    assert V211.per_role
    for role, root in ((Role.CPO, "cpo"), (Role.EMSP, "emsp")):
        assert V211.details_path(role) == f"{root}/2.1.1"
        assert V211.endpoint_path(V211.credentials, role) == f"{root}/2.1.1/credentials"
        assert V211.versions_path(role) == f"{root}/versions"
    assert V211.endpoint_path(v211.LocationsCpo) == "cpo/2.1.1/locations"
    assert V211.endpoint_path(v211.GireveTokens) == V211.endpoint_path(v211.TokensEmsp) == "emsp/2.1.1/tokens"
