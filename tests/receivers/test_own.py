from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from ocpi_gireve import BILATERAL, Connection, Context, PageQuery, PartyId, Role, gireve, v211, v221
from ocpi_gireve.errors import UnknownLocation, UnknownObject
from ocpi_gireve.interface import Interface
from ocpi_gireve.profile import Profile
from ocpi_gireve.receivers import LocationBook, OwnCdrs, OwnLocations, OwnSessions, OwnTariffs, OwnTokens
from ocpi_gireve.receivers import v211 as old
from tests.receivers.objects import (
    CTX,
    LATER,
    a_tariff,
    at,
    ids,
    listed,
    old_cdr,
    old_location,
    old_session,
    old_tariff,
    old_token,
)
from tests.support import (
    CPO,
    EMSP,
    NOW,
    Network,
    a_cdr,
    a_connector,
    a_location,
    a_platform,
    a_session,
    a_token,
    an_evse,
)

ABC = PartyId("FR", "ABC")
HUB = PartyId("FR", "107")


@asynccontextmanager
async def registered(
    handlers: Sequence[Interface], role: Role, party: str, profile: Profile
) -> AsyncGenerator[Connection]:
    """A partner that has registered with a CPO which knows it by a profile: its connection to the CPO."""
    network = Network()
    cpo = a_platform(network, "cpo.example.com", Role.CPO, "CPO", handlers)
    partner = a_platform(network, "partner.example.com", role, party, [])
    async with cpo, partner:
        token = await cpo.invite(profile, origins="https://partner.example.com")
        direct = evolve(BILATERAL, versions=profile.versions)
        yield await partner.register(direct, cpo.versions_url, token)


def asked(receiver: PartyId | None = CPO, sender: PartyId | None = EMSP) -> Context:
    """A party asks another."""
    return evolve(CTX, receiver=receiver, sender=sender)


class Cards(OwnTokens):
    """Serves tokens, and allows nobody."""

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        raise UnknownObject


class OldCards(old.OwnTokens):
    """Serves tokens, and allows nobody."""

    async def authorize(
        self, ctx: Context, ref: v211.OwnTokenRef, location: v211.LocationReferences | None = None
    ) -> v211.AuthorizationInfo:
        raise UnknownObject


class TestLocations:
    async def test_pages(self) -> None:
        """Locations are listed in the order of their creation, with date filters and totals."""
        book = LocationBook(a_location(id=f"L{number}", last_updated=at(number)) for number in range(5))
        own = OwnLocations(book)
        page = await own.list_locations(asked(), PageQuery(offset=1, limit=2))
        assert (ids(page.items), page.total) == (["L1", "L2"], 5)
        page = await own.list_locations(asked(), PageQuery(date_from=at(1), date_to=at(3)))
        assert (ids(page.items), page.total) == (["L1", "L2"], 2)
        book.put(a_location(id="l0", last_updated=at(9)))
        assert ids((await own.list_locations(asked(), PageQuery())).items)[:2] == ["l0", "L1"]

    async def test_of_who_is_asked(self) -> None:
        """Of several parties the one that is asked is served; where none is named, all are."""
        own = OwnLocations(LocationBook([a_location(), a_location(party_id="ABC", id="LOC2")]))
        assert ids((await own.list_locations(asked(ABC), PageQuery())).items) == ["LOC2"]
        assert ids((await own.list_locations(asked(None), PageQuery())).items) == ["LOC1", "LOC2"]
        with pytest.raises(UnknownLocation):
            await own.get_location(asked(ABC), v221.OwnLocationRef("LOC1"))

    async def test_parts(self) -> None:
        """A location, an EVSE and a connector are found under any spelling; others are unknown."""
        own = OwnLocations(LocationBook([a_location()]))
        assert await own.get_location(asked(), v221.OwnLocationRef("loc1")) == a_location()
        assert await own.get_evse(asked(), v221.OwnEvseRef("loc1", "e1")) == an_evse()
        assert await own.get_connector(asked(), v221.OwnConnectorRef("loc1", "e1", "1")) == a_connector()
        with pytest.raises(UnknownLocation):
            await own.get_evse(asked(), v221.OwnEvseRef("LOC1", "E9"))
        with pytest.raises(UnknownLocation):
            await own.get_connector(asked(), v221.OwnConnectorRef("LOC1", "E1", "9"))

    async def test_hidden(self) -> None:
        """What a subclass hides is neither listed nor found."""

        class Published(OwnLocations):
            def visible(self, ctx: Context, location: v221.Location) -> bool:
                return location.publish

        own = Published(LocationBook([a_location(publish=False), a_location(id="LOC2")]))
        page = await own.list_locations(asked(), PageQuery())
        assert (ids(page.items), page.total) == (["LOC2"], 1)
        with pytest.raises(UnknownLocation):
            await own.get_location(asked(), v221.OwnLocationRef("LOC1"))

    async def test_of_2_1_1(self) -> None:
        """In 2.1.1 it is the same, each party with its own locations."""
        book = old.LocationBook(CPO, [old_location()])
        book.put(old_location(id="LOC2"), owner=ABC)
        own = old.OwnLocations(book)
        assert ids((await own.list_locations(asked(), PageQuery())).items) == ["LOC1"]
        assert (await own.get_evse(asked(ABC), v211.OwnEvseRef("LOC2", "E1"))).uid == "E1"


class TestCollections:
    async def test_live(self) -> None:
        """A collection is served as it stands now, such as the values of a dict."""
        tariffs = {"T1": a_tariff()}
        own = OwnTariffs(tariffs.values())
        tariffs["T2"] = a_tariff(id="T2", last_updated=LATER)
        page = await own.list_tariffs(asked(), PageQuery(limit=1))
        assert ([one.id for one in page.items], page.total) == (["T1"], 2)
        page = await own.list_tariffs(asked(), PageQuery(date_from=LATER))
        assert [one.id for one in page.items] == ["T2"]
        assert (await own.list_tariffs(asked(ABC), PageQuery())).total == 0

    async def test_tokens(self) -> None:
        """Tokens are listed to whoever may ask."""
        page = await Cards([a_token()]).list_tokens(asked(EMSP, CPO), PageQuery())
        assert list(page.items) == [a_token()]

    async def test_of_who_asks(self) -> None:
        """Sessions and CDRs are shown to the party of the token, and to nobody else."""
        sessions, cdrs = OwnSessions([a_session()]), OwnCdrs([a_cdr()])
        query = PageQuery(date_from=NOW)
        seen = {
            sender: (
                (await sessions.list_sessions(asked(sender=sender), query)).total,
                (await cdrs.list_cdrs(asked(sender=sender), query)).total,
            )
            for sender in (EMSP, HUB, ABC, None)
        }
        assert seen == {EMSP: (1, 1), HUB: (0, 0), ABC: (0, 0), None: (0, 0)}

    async def test_no_preferences(self) -> None:
        """Charging preferences are refused as the text says: HTTP 404, OCPI 2001."""
        preferences = v221.ChargingPreferences(profile_type=v221.ProfileType.CHEAP)
        with pytest.raises(UnknownObject) as refused:
            await OwnSessions([]).put_charging_preferences(asked(), v221.OwnSessionRef("S1"), preferences)
        assert (refused.value.http_status, refused.value.status_code) == (404, 2001)

    async def test_of_2_1_1(self) -> None:
        """In 2.1.1 each party has its own collection, and a contract id names the eMSP."""
        ours = old_session(auth_id="FR-EMP-C00000001")
        bill = old_cdr(auth_id="FR-EMP-C00000001")
        sessions = old.OwnSessions({CPO: [ours, old_session(auth_id="other")]})
        cdrs = old.OwnCdrs({CPO: [bill], ABC: [old_cdr(auth_id="other")]})
        query = PageQuery(date_from=NOW)
        assert list((await sessions.list_sessions(asked(), query)).items) == [ours]
        assert (await sessions.list_sessions(asked(sender=None), query)).total == 0
        assert list((await cdrs.list_cdrs(asked(), query)).items) == [bill]
        assert (await cdrs.list_cdrs(asked(ABC), query)).total == 0
        tariffs = old.OwnTariffs({CPO: [old_tariff()], ABC: [old_tariff(id="T2")]})
        assert [one.id for one in (await tariffs.list_tariffs(asked(ABC), query)).items] == ["T2"]
        assert (await tariffs.list_tariffs(asked(None), query)).total == 2
        cards = OldCards({EMSP: [old_token()]})
        assert list((await cards.list_tokens(asked(EMSP, CPO), query)).items) == [old_token()]


class TestHubs:
    @pytest.mark.parametrize(
        ("role", "party"), [(Role.HUB, "107"), (Role.HUB, "XYZ"), (Role.OTHER, "XYZ")], ids=str
    )
    async def test_for_itself(self, role: Role, party: str) -> None:
        """A hub that asks for itself sees all, whatever its party; for an eMSP, it sees what is theirs."""
        handlers: list[Interface] = [OwnSessions([a_session()]), OwnCdrs([a_cdr()])]
        async with registered(handlers, role, party, gireve.SIMULATOR) as cpo:
            query = PageQuery(date_from=NOW)
            assert len(await listed(cpo.crawl(v221.SessionsSender.list_sessions, query))) == 1
            assert len(await listed(cpo.crawl(v221.CdrsSender.list_cdrs, query))) == 1
            if role is Role.HUB:
                for sender, seen in ((EMSP, 1), (ABC, 0)):
                    view = cpo.routed(sender=sender)
                    assert len(await listed(view.crawl(v221.SessionsSender.list_sessions, query))) == seen
                    assert len(await listed(view.crawl(v221.CdrsSender.list_cdrs, query))) == seen

    async def test_direct_partner(self) -> None:
        """Whoever is connected directly sees its own, even one that calls itself a hub."""
        handlers: list[Interface] = [OwnSessions([a_session()]), OwnCdrs([a_cdr()])]
        async with registered(handlers, Role.HUB, "107", BILATERAL) as cpo:
            query = PageQuery(date_from=NOW)
            assert len(await listed(cpo.crawl(v221.SessionsSender.list_sessions, query))) == 0
            assert len(await listed(cpo.crawl(v221.CdrsSender.list_cdrs, query))) == 0

    @pytest.mark.parametrize(("profile", "seen"), [(gireve.SIMULATOR, 1), (BILATERAL, 0)])
    async def test_of_2_1_1(self, profile: Profile, seen: int) -> None:
        """In 2.1.1, too, where no text says under which party the hub registers."""
        handlers: list[Interface] = [
            old.OwnSessions({CPO: [old_session(auth_id="whoever")]}),
            old.OwnCdrs({CPO: [old_cdr(auth_id="whoever")]}),
        ]
        profile = evolve(profile, versions=frozenset(["2.1.1"]))
        async with registered(handlers, Role.EMSP, "XYZ", profile) as cpo:
            query = PageQuery(date_from=NOW)
            assert len(await listed(cpo.crawl(v211.SessionsCpo.list_sessions, query))) == seen
            assert len(await listed(cpo.crawl(v211.CdrsCpo.list_cdrs, query))) == seen
