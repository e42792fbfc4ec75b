from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest
from attrs import evolve

from ocpi_gireve import Context, Link, PageQuery, PartyId, Patch, Role, gireve, v221
from ocpi_gireve._codec import decode
from ocpi_gireve._model import replaced
from ocpi_gireve.errors import (
    BadAnswer,
    Forbidden,
    HubError,
    HubTimeout,
    InvalidParameters,
    MethodNotAllowed,
    NoAnswer,
    NotEnoughInformation,
    NotRegistered,
    NotSent,
    OcpiError,
    ReceiverNotConnected,
    ServerError,
    StatusError,
    Unauthorized,
    UnknownLocation,
    UnknownReceiver,
    UnknownToken,
    UrlRefused,
)
from ocpi_gireve.receivers import KeptSessions
from ocpi_gireve.simulator.handlers import passed_on, require_token_format
from ocpi_gireve.store import MemoryStore
from ocpi_gireve.v221 import Status
from tests.simulator.scene import (
    CARD,
    CONNECTOR,
    CPO,
    EMP,
    EVSE,
    HERE,
    LOCATION,
    OTHER_CARD,
    Scene,
    a_scene,
    register,
    status_at,
    until,
)
from tests.support import NOW, a_cdr, a_connector, a_location, a_platform, an_evse

LATER = NOW + timedelta(minutes=1)
Receiver, Sender = v221.LocationsReceiver, v221.LocationsSender


def a_session(**changes: object) -> v221.Session:
    """A session of FR*CPO with the card of FR*EMP; `changes` replace its fields."""
    session = v221.Session(
        country_code="FR",
        party_id="CPO",
        id="S1",
        start_date_time=NOW,
        kwh=Decimal(0),
        cdr_token=cdr_token(CARD),
        auth_method=v221.AuthMethod.AUTH_REQUEST,
        location_id="LOC1",
        evse_uid="E1",
        connector_id="1",
        currency="EUR",
        status=v221.SessionStatus.ACTIVE,
        last_updated=NOW,
    )
    return replaced(session, changes)


def cdr_token(card: v221.Token) -> v221.CdrToken:
    """A card, as sessions and CDRs name it."""
    return v221.CdrToken(
        country_code=card.country_code,
        party_id=card.party_id,
        uid=card.uid,
        type=card.type,
        contract_id=card.contract_id,
    )


async def put(scene: Scene, session: v221.Session) -> None:
    """Send a session to IOP."""
    ref = v221.SessionRef("FR", "CPO", session.id)
    await scene.from_cpo.call(v221.SessionsReceiver.put_session, ref, session)


class TestLocationsFromCpo:
    async def test_every_write(self) -> None:
        """What a CPO writes is kept, and reaches eMSPs under the CPO's ids, with a gireve_id everywhere."""
        async with a_scene() as scene:
            hub = scene.from_cpo
            two = a_location(evses=[an_evse(), an_evse(uid="E2")], last_updated=LATER)
            await hub.call(Receiver.put_location, LOCATION, two)
            await hub.call(Receiver.put_evse, EVSE, an_evse(physical_reference="7", last_updated=LATER))
            new = a_connector(max_voltage=400, last_updated=LATER)
            await hub.call(Receiver.put_connector, CONNECTOR, new)
            renamed = Patch(v221.Location, {"name": "Gare", "evses": two.evses[:1], "last_updated": LATER})
            await hub.call(Receiver.patch_location, LOCATION, renamed)
            tariff = Patch(v221.Connector, {"tariff_ids": ["T2"], "last_updated": LATER})
            await hub.call(Receiver.patch_connector, CONNECTOR, tariff)
            both = [a_connector(last_updated=LATER), a_connector(id="2")]
            changed = Patch(v221.EVSE, {"connectors": both, "last_updated": LATER})
            await hub.call(Receiver.patch_evse, EVSE, changed)
            await scene.settled()
            methods = [one.method for one in scene.sent("emsp", "/locations/FR/CPO/LOC1")]
            assert methods == ["PUT", "PUT", "PUT", "PATCH", "PATCH", "PATCH"]
            shown = scene.emsp.locations.get(LOCATION)
            evse = shown.evses[0]
            assert evse.physical_reference is None  # PATCH of the location replaced its EVSEs
            assert [one.id for one in evse.connectors] == ["1", "2"]
            ids = [shown.gireve_id, evse.gireve_id, *(one.gireve_id for one in evse.connectors)]
            assert ids == ["FRCPO/LOC1", "FRCPO/LOC1/E1", "FRCPO/LOC1/E1/1", "FRCPO/LOC1/E1/2"]
            assert scene.iop.locations()[0].evses[0].gireve_id is None

    async def test_contracts(self) -> None:
        """Every eMSP under contract gets it and nobody else, from the CPO and for the eMSP."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            await scene.status(Status.CHARGING, 1)
            await scene.settled()
            assert scene.emsp.pushed.statuses == [Status.CHARGING]
            assert scene.sent("other") == []
            headers = scene.sent("emsp")[0].headers
            assert headers["OCPI-from-country-code"] + headers["OCPI-from-party-id"] == "FRCPO"
            assert headers["OCPI-to-country-code"] + headers["OCPI-to-party-id"] == "FREMP"

    async def test_emsp_without_the_module(self) -> None:
        """An eMSP that takes no locations gets none, and its sessions do not wait for them."""
        async with a_scene() as scene:
            store = MemoryStore()
            sessions = KeptSessions(store)
            plain = a_platform(
                scene.network,
                "plain",
                Role.EMSP,
                "PLN",
                [sessions],
                store=store,
                profiles=[gireve.SIMULATOR],
            )
            async with plain:
                await register(scene.iop, plain, "plain")
                await scene.status(Status.CHARGING, 1)
                token = evolve(cdr_token(CARD), party_id="PLN")
                await put(scene, a_session(cdr_token=token))
                await scene.settled()
                assert await sessions.sessions.count("iop") == 1
                assert scene.sent("plain", "/locations") == []

    async def test_ids(self) -> None:
        """What IOP passes on has the correlation id of its cause, and request ids of its own."""
        async with a_scene() as scene:
            cause = Context(partner="x", version="2.2.1", request_id="r", correlation_id="the-cause")
            view = scene.from_cpo.routed(following=cause)
            await view.call(Receiver.patch_evse, EVSE, status_at(Status.CHARGING, 1))
            await scene.settled()
            assert len(scene.network.requests) == 3
            assert {one.headers["X-Correlation-ID"] for one in scene.network.requests} == {"the-cause"}
            assert len({one.headers["X-Request-ID"] for one in scene.network.requests}) == 3

    async def test_repetition(self) -> None:
        """Of identical successive statuses only the first is forwarded, by PATCH or by PUT."""
        async with a_scene() as scene:
            reported = (Status.CHARGING, Status.CHARGING, Status.BLOCKED, Status.CHARGING)
            for seconds, status in enumerate(reported, 1):
                await scene.status(status, seconds)
            again = an_evse(status=Status.CHARGING, last_updated=NOW + timedelta(seconds=9))
            await scene.from_cpo.call(Receiver.put_evse, EVSE, again)
            await scene.settled()
            assert scene.emsp.pushed.statuses == [Status.CHARGING, Status.BLOCKED, Status.CHARGING]
            assert len(scene.sent("emsp")) == 3

    async def test_more_than_a_repetition(self) -> None:
        """The same status with something new beside it is forwarded."""
        async with a_scene() as scene:
            changes = {"status": Status.AVAILABLE, "physical_reference": "7", "last_updated": LATER}
            await scene.from_cpo.call(Receiver.patch_evse, EVSE, Patch(v221.EVSE, changes))
            await scene.settled()
            assert scene.emsp.locations.evse(EVSE).physical_reference == "7"

    async def test_late(self) -> None:
        """What is older than what IOP has is accepted, and not forwarded."""
        async with a_scene() as scene:
            await scene.status(Status.CHARGING, 10)
            await scene.status(Status.BLOCKED, 5)
            await scene.from_cpo.call(Receiver.put_location, LOCATION, a_location())
            await scene.settled()
            assert scene.emsp.pushed.statuses == [Status.CHARGING]

    async def test_order(self) -> None:
        """Changes of one EVSE that come at the same time leave in the order in which IOP took them."""
        async with a_scene() as scene:
            statuses = [Status.CHARGING, Status.BLOCKED, Status.AVAILABLE, Status.OUTOFORDER] * 8
            await asyncio.gather(*(scene.status(status, n) for n, status in enumerate(statuses, 1)))
            await scene.settled()
            assert scene.emsp.pushed.statuses == statuses
            assert scene.other.pushed.statuses == statuses

    async def test_unknown(self) -> None:
        """A change of what IOP does not know is refused."""
        async with a_scene() as scene:
            nowhere = evolve(EVSE, evse_uid="E9")
            with pytest.raises(UnknownLocation):
                await scene.from_cpo.call(Receiver.patch_evse, nowhere, status_at(Status.CHARGING, 1))
            new = an_evse(uid="E9", evse_id="FR*CPO*E9")
            await scene.from_cpo.call(Receiver.put_evse, nowhere, new)
            assert len(scene.iop.locations()[0].evses) == 2

    async def test_check(self) -> None:
        """A CPO can look at what IOP has of it."""
        async with a_scene() as scene:
            assert await scene.from_cpo.call(Receiver.get_evse, EVSE) == an_evse()


class TestRoles:
    async def test_forbidden(self) -> None:
        """An eMSP pushes nothing of what CPOs own, and a CPO pulls nothing: IOP rejects it."""
        async with a_scene() as scene:
            emsp = scene.from_emsp
            theirs = evolve(LOCATION, party_id="EMP")
            with pytest.raises(Forbidden):
                await emsp.call(Receiver.put_location, theirs, a_location(party_id="EMP"))
            session = a_session(party_id="EMP")
            with pytest.raises(Forbidden):
                await emsp.call(
                    v221.SessionsReceiver.put_session, v221.SessionRef("FR", "EMP", "S1"), session
                )
            with pytest.raises(Forbidden):
                await emsp.call(v221.CdrsReceiver.post_cdr, a_cdr(party_id="EMP"))
            with pytest.raises(Forbidden):
                await emsp.call(v221.TokensSender.authorize, v221.OwnTokenRef(CARD.uid), HERE)
            with pytest.raises(Forbidden):
                await anext(aiter(scene.from_cpo.crawl(Sender.list_locations)))

    async def test_addressed_to_another(self) -> None:
        """A CPO addresses IOP, not an eMSP behind it."""
        async with a_scene() as scene:
            view = scene.from_cpo.routed(receiver=EMP)
            with pytest.raises(InvalidParameters, match=r"OCPI-to-\*: expected FR\*107"):
                await view.call(Receiver.put_location, LOCATION, a_location())


class TestSessions:
    async def test_ids(self) -> None:
        """The eMSP gets the session under IOP's id, always the same, and everything else as it came."""
        async with a_scene() as scene:
            await put(scene, a_session())
            await put(scene, a_session(status=v221.SessionStatus.COMPLETED, last_updated=LATER))
            await scene.settled()
            (shown,) = scene.emsp.sessions.known()
            assert shown.id != "S1"
            assert replaced(shown, {"id": "S1"}) == scene.iop.sessions()[0]
            assert shown.status is v221.SessionStatus.COMPLETED
            assert scene.other.sessions.known() == []

    async def test_reference(self) -> None:
        """IOP gives the CPO a reference of its own, and the eMSP gets back the one it gave."""
        async with a_scene() as scene:
            answer = await scene.from_cpo.call(v221.TokensSender.authorize, v221.OwnTokenRef(CARD.uid), HERE)
            (given,) = scene.emsp.tokens.references
            assert answer.authorization_reference != given
            await put(scene, a_session(authorization_reference=answer.authorization_reference))
            await put(scene, a_session(id="S2", authorization_reference="a reference of the CPO"))
            await scene.settled()
            shown = [one.authorization_reference for one in scene.emsp.sessions.known()]
            assert shown == [given, "a reference of the CPO"]

    async def test_reference_of_another(self) -> None:
        """No eMSP learns the reference of another one."""
        async with a_scene() as scene:
            answer = await scene.from_cpo.call(v221.TokensSender.authorize, v221.OwnTokenRef(CARD.uid), HERE)
            reference = answer.authorization_reference
            await put(scene, a_session(cdr_token=cdr_token(OTHER_CARD), authorization_reference=reference))
            await scene.settled()
            (shown,) = scene.other.sessions.known()
            assert shown.authorization_reference == reference

    async def test_patch(self) -> None:
        """PATCH Sessions is not implemented, as the guide says."""
        async with a_scene() as scene:
            await put(scene, a_session())
            changes = Patch(v221.Session, {"kwh": Decimal(1), "last_updated": LATER})
            with pytest.raises(MethodNotAllowed):
                await scene.from_cpo.call(
                    v221.SessionsReceiver.patch_session, v221.SessionRef("FR", "CPO", "S1"), changes
                )

    async def test_no_contract(self) -> None:
        """A session of an eMSP without contract, or of nobody IOP knows, is kept and goes nowhere."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            await put(scene, a_session(cdr_token=cdr_token(OTHER_CARD)))
            advenir = v221.CdrToken(
                country_code="$$",
                party_id="ADV",
                uid="12345671234567",
                type=v221.TokenType.RFID,
                contract_id="Gireve2Advenir",
            )
            await put(scene, a_session(id="S2", cdr_token=advenir))
            await scene.settled()
            assert len(scene.iop.sessions()) == 2
            assert scene.sent("emsp") + scene.sent("other") == []


class TestCdrs:
    async def test_passed_on(self) -> None:
        """The eMSP gets the CDR once, under the CPO's id, naming the session as IOP does."""
        async with a_scene() as scene:
            await put(scene, a_session())
            cdr = a_cdr(cdr_token=cdr_token(CARD), home_charging_compensation=True)
            place = await scene.from_cpo.call(v221.CdrsReceiver.post_cdr, cdr)
            await scene.from_cpo.call(v221.CdrsReceiver.post_cdr, cdr)
            assert await scene.from_cpo.call(v221.CdrsReceiver.get_cdr, place) == cdr
            await scene.settled()
            (shown,) = scene.emsp.cdrs.known()
            (session,) = scene.emsp.sessions.known()
            assert (shown.id, shown.session_id) == (cdr.id, session.id)
            assert shown.home_charging_compensation is None
            assert len(scene.sent("emsp", "/cdrs")) == 1

    async def test_kept_back(self) -> None:
        """A credit CDR, and one of an eMSP without contract, are kept and go nowhere."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            credit = a_cdr(id="CDR2", cdr_token=cdr_token(CARD), credit=True, credit_reference_id="CDR1")
            foreign = a_cdr(id="CDR3", cdr_token=cdr_token(OTHER_CARD), session_id=None)
            for cdr in (credit, foreign):
                await scene.from_cpo.call(v221.CdrsReceiver.post_cdr, cdr)
            await scene.settled()
            assert scene.iop.cdrs() == [credit, foreign]
            assert scene.sent("emsp") + scene.sent("other") == []


async def authorize(
    scene: Scene, uid: str, location: v221.LocationReferences | None = HERE
) -> v221.AuthorizationInfo:
    """Ask IOP whether a card may charge."""
    return await scene.from_cpo.call(v221.TokensSender.authorize, v221.OwnTokenRef(uid), location)


def asked_at(scene: Scene, host: str) -> v221.LocationReferences:
    """The location that an eMSP was asked about last."""
    return decode(scene.sent(host, "/authorize")[-1].body, v221.LocationReferences)


class TestAuthorize:
    async def test_the_emsp_that_knows(self) -> None:
        """The eMSP that knows the card decides, wherever it stands in the list."""
        async with a_scene() as scene:
            answer = await authorize(scene, OTHER_CARD.uid)
            assert (answer.allowed, answer.token) == (v221.AllowedType.ALLOWED, OTHER_CARD)
            assert len(scene.sent("emsp", "/authorize")) == 1
            assert scene.sent("other")[0].headers["OCPI-to-party-id"] == "OTH"

    async def test_one_evse(self) -> None:
        """IOP selects one and only one EVSE: the first that is named, or one of the location's."""
        evses = [an_evse(uid="E0", status=Status.REMOVED), an_evse(), an_evse(uid="E2")]
        async with a_scene(locations=[a_location(evses=evses), a_location(id="LOC2", evses=[])]) as scene:
            await authorize(scene, CARD.uid, evolve(HERE, evse_uids=["E2", "E1"]))
            assert asked_at(scene, "emsp").evse_uids == ["E2"]
            await authorize(scene, CARD.uid, evolve(HERE, evse_uids=[]))
            assert asked_at(scene, "emsp").evse_uids == ["E1"]
            await authorize(scene, CARD.uid, v221.LocationReferences(location_id="LOC2"))
            assert asked_at(scene, "emsp").evse_uids == []

    async def test_no_location(self) -> None:
        """The location is mandatory."""
        async with a_scene() as scene:
            with pytest.raises(NotEnoughInformation):
                await authorize(scene, CARD.uid, None)

    @pytest.mark.parametrize("location", [evolve(HERE, location_id="LOC9"), evolve(HERE, evse_uids=["E9"])])
    async def test_unknown_location(self, location: v221.LocationReferences) -> None:
        """A location or EVSE that IOP does not know of this CPO is refused, and no eMSP asked."""
        async with a_scene() as scene:
            with pytest.raises(UnknownLocation):
                await authorize(scene, CARD.uid, location)
            assert scene.sent("emsp") == []

    @pytest.mark.parametrize("uid", ["123", "0123456G", "0123456789ABCDEF", "0123456 ", "０１２３４５６７"])
    async def test_bad_rfid(self, uid: str) -> None:
        """IOP rejects requests done with a bad RFID UID format."""
        async with a_scene() as scene:
            with pytest.raises(InvalidParameters, match="8 or 14 hexadecimal"):
                await authorize(scene, uid)

    async def test_blocked(self) -> None:
        """A card that its eMSP blocks is blocked, and no other eMSP is asked."""
        async with a_scene() as scene:
            answer = await authorize(scene, "04FFEE00")
            assert (answer.allowed, answer.authorization_reference) == (v221.AllowedType.BLOCKED, None)
            assert scene.sent("other") == []

    async def test_unknown_token(self) -> None:
        """A card that no eMSP under contract knows is unknown."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            with pytest.raises(UnknownToken):
                await authorize(scene, OTHER_CARD.uid)
            assert scene.sent("other") == []

    async def test_emsp_down(self) -> None:
        """An eMSP that is down does not hide the others; where nobody else knows the card, it is said."""
        async with a_scene() as scene:
            scene.network.down.add("emsp")
            assert (await authorize(scene, OTHER_CARD.uid)).allowed is v221.AllowedType.ALLOWED
            with pytest.raises(ReceiverNotConnected):
                await authorize(scene, CARD.uid)

    async def test_no_download(self) -> None:
        """IOP offers no download of tokens."""
        async with a_scene() as scene:
            assert [token async for token in scene.from_cpo.crawl(v221.TokensSender.list_tokens)] == []


class TestLocationsForEmsps:
    async def test_full_and_delta(self) -> None:
        """A full pull has nothing that is REMOVED, a delta has all of it."""
        gone = an_evse(uid="E2", status=Status.REMOVED)
        there = [
            a_location(evses=[an_evse(), gone]),
            a_location(id="LOC2", evses=[gone]),
            a_location(id="LOC3", evses=[]),
        ]
        async with a_scene(locations=there) as scene:
            full = [one async for one in scene.from_emsp.crawl(Sender.list_locations)]
            assert [(one.id, len(one.evses)) for one in full] == [("LOC1", 1), ("LOC3", 0)]
            query = PageQuery(date_from=NOW)
            delta = [one async for one in scene.from_emsp.crawl(Sender.list_locations, query)]
            assert [(one.id, len(one.evses)) for one in delta] == [("LOC1", 2), ("LOC2", 1), ("LOC3", 0)]
            assert delta[0].gireve_id == "FRCPO/LOC1"

    async def test_limit(self) -> None:
        """A page has a hundred locations at most, whatever is asked."""
        there = [a_location(id=f"LOC{number}") for number in range(101)]
        async with a_scene(locations=there) as scene:
            pages = scene.from_emsp.pages(Sender.list_locations, PageQuery(limit=500))
            assert [len(page.items) async for page in pages] == [100, 1]

    async def test_contracts(self) -> None:
        """An eMSP sees the CPOs under contract, and one of them where it names it."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            for emsp, receiver, expected in (
                (scene.emsp, None, 1),
                (scene.emsp, CPO, 1),
                (scene.emsp, PartyId("FR", "XXX"), 0),
                (scene.other, None, 0),
            ):
                view = emsp.platform.connection("iop").routed(receiver=receiver)
                assert len([one async for one in view.crawl(Sender.list_locations)]) == expected
            other = scene.other.platform.connection("iop")
            with pytest.raises(UnknownLocation):
                await other.call(Sender.get_location, v221.OwnLocationRef("LOC1"))


async def start(scene: Scene, **changes: object) -> v221.CommandResponse:
    """Command FR*CPO to start a session; `changes` replace fields of the command."""
    connection = scene.from_emsp.routed(receiver=CPO)
    command = v221.StartSession(
        response_url=connection.callback(v221.CommandsSender.post_result, "START_SESSION/1"),
        token=CARD,
        location_id="LOC1",
        evse_uid="E1",
        connector_id="1",
        authorization_reference="ref-1",
    )
    command = replaced(command, changes)
    return await connection.call(v221.CommandsReceiver.start_session, command)


async def result_at(emsp_results: dict[str, v221.CommandResult], place: str) -> v221.CommandResultType:
    """Wait for a command's result."""
    await until(lambda: place in emsp_results)
    return emsp_results[place].result


class TestCommands:
    async def test_start_and_stop(self) -> None:
        """Commands reach the CPO, results the eMSP; ids are replaced both ways, and one cause is kept."""
        async with a_scene() as scene:
            assert (await start(scene)).result is v221.CommandResponseType.ACCEPTED
            results = scene.emsp.commands.results
            assert await result_at(results, "START_SESSION/1") is v221.CommandResultType.ACCEPTED
            await until(lambda: bool(scene.emsp.sessions.known()))
            (sent,) = scene.sent("cpo", "/START_SESSION")
            command = decode(sent.body, v221.StartSession)
            assert command.response_url.startswith("https://iop/")
            assert command.authorization_reference != "ref-1"
            (session,) = scene.emsp.sessions.known()
            assert session.authorization_reference == "ref-1"
            causes = {one.headers["X-Correlation-ID"] for one in scene.network.requests}
            assert len(causes) == 1
            assert len({one.headers["X-Request-ID"] for one in scene.network.requests}) == len(
                scene.network.requests
            )
            commanded = await scene.emsp.stop_session(CPO, session.id)
            assert commanded.answer is v221.CommandResponseType.ACCEPTED
            assert await result_at(results, commanded.place) is v221.CommandResultType.ACCEPTED
            await until(lambda: bool(scene.emsp.cdrs.known()))
            (session,) = scene.emsp.sessions.known()
            assert session.status is v221.SessionStatus.COMPLETED

    async def test_second_start(self) -> None:
        """The CPO rejects a second start at the same EVSE, and the eMSP is told so."""
        async with a_scene() as scene:
            other = scene.from_emsp.callback(v221.CommandsSender.post_result, "START_SESSION/2")
            answers = [(await start(scene)).result, (await start(scene, response_url=other)).result]
            assert answers == [v221.CommandResponseType.ACCEPTED, v221.CommandResponseType.REJECTED]

    @pytest.mark.parametrize(
        ("changes", "refusal"),
        [
            ({"evse_uid": None}, InvalidParameters),
            ({"evse_uid": "E9"}, UnknownLocation),
            ({"location_id": "LOC9"}, UnknownLocation),
            ({"token": OTHER_CARD}, InvalidParameters),
            ({"token": evolve(CARD, uid="123")}, InvalidParameters),
            ({"response_url": "https://elsewhere/x"}, InvalidParameters),
            ({"response_url": "http://emsp/x"}, InvalidParameters),
        ],
    )
    async def test_refused(self, changes: dict[str, object], refusal: type[OcpiError]) -> None:
        """A command that IOP cannot pass on is refused, and the CPO hears nothing of it."""
        async with a_scene() as scene:
            with pytest.raises(refusal):
                await start(scene, **changes)
            assert scene.sent("cpo") == []

    @pytest.mark.parametrize(
        ("receiver", "refusal"),
        [
            (PartyId("FR", "107"), InvalidParameters),
            (PartyId("FR", "XXX"), UnknownReceiver),
            (EMP, UnknownReceiver),
        ],
    )
    async def test_receiver(self, receiver: PartyId, refusal: type[OcpiError]) -> None:
        """A command names the CPO in OCPI-to-*."""
        async with a_scene() as scene:
            with pytest.raises(refusal):
                await scene.emsp.start_session(receiver, CARD, "LOC1", "E1", "1")

    async def test_no_contract(self) -> None:
        """A CPO without contract is not commanded."""
        async with a_scene(contracts=[(CPO, EMP)]) as scene:
            with pytest.raises(UnknownReceiver):
                await scene.other.start_session(CPO, OTHER_CARD, "LOC1", "E1", "1")

    async def test_not_your_session(self) -> None:
        """Nobody stops the session of another eMSP's driver, or one that IOP did not show."""
        async with a_scene() as scene:
            await put(scene, a_session())
            await scene.settled()
            (session,) = scene.emsp.sessions.known()
            for emsp, session_id in ((scene.other, session.id), (scene.emsp, "S1")):
                commanded = await emsp.stop_session(CPO, session_id)
                assert commanded.answer is v221.CommandResponseType.UNKNOWN_SESSION
            assert scene.sent("cpo") == []

    async def test_cpo_down(self) -> None:
        """A CPO that is down is a hub error, not IOP's own."""
        async with a_scene() as scene:
            scene.network.down.add("cpo")
            with pytest.raises(ReceiverNotConnected):
                await start(scene)

    async def test_result_from_another(self) -> None:
        """Only the CPO that was commanded posts the result: no eMSP does."""
        async with a_scene() as scene:
            await start(scene)
            (sent,) = scene.sent("cpo", "/START_SESSION")
            place = Link(decode(sent.body, v221.StartSession).response_url)
            done = v221.CommandResult(result=v221.CommandResultType.FAILED)
            with pytest.raises(Forbidden):
                await scene.other.platform.connection("iop").call(
                    v221.CommandsSender.post_result, place, done
                )

    async def test_result_again(self) -> None:
        """A result whose answer was lost is posted again, and the eMSP does not get it twice."""
        async with a_scene() as scene:
            await start(scene)
            await result_at(scene.emsp.commands.results, "START_SESSION/1")
            await scene.settled()
            (sent,) = scene.sent("cpo", "/START_SESSION")
            place = Link(decode(sent.body, v221.StartSession).response_url)
            done = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
            await scene.from_cpo.call(v221.CommandsSender.post_result, place, done)
            assert len(scene.sent("emsp", "/START_SESSION/1")) == 1

    async def test_emsp_down(self) -> None:
        """While the eMSP is down, the CPO learns that the result did not arrive, and can post it again."""
        async with a_scene() as scene:
            scene.network.down.add("emsp")
            await start(scene)
            (sent,) = scene.sent("cpo", "/START_SESSION")
            place = Link(decode(sent.body, v221.StartSession).response_url)
            done = v221.CommandResult(result=v221.CommandResultType.ACCEPTED)
            with pytest.raises(ReceiverNotConnected):
                await scene.from_cpo.call(v221.CommandsSender.post_result, place, done)
            scene.network.down.clear()
            await scene.from_cpo.call(v221.CommandsSender.post_result, place, done)
            assert scene.emsp.commands.results["START_SESSION/1"] == done


class TestPassedOn:
    @pytest.mark.parametrize(
        ("error", "expected", "code", "http"),
        [
            (UnknownLocation("there is no such EVSE"), UnknownLocation, 2003, 200),
            (UnknownToken(), UnknownToken, 2004, 404),
            (ServerError(), ServerError, 3000, 200),
            (Unauthorized(), HubError, 4000, 200),
            (Forbidden(), HubError, 4000, 200),
            (ServerError(http_status=500), HubError, 4000, 200),
            (NotSent("no connection"), ReceiverNotConnected, 4003, 200),
            (NotRegistered("emsp"), ReceiverNotConnected, 4003, 200),
            (UrlRefused("Link", "elsewhere"), ReceiverNotConnected, 4003, 200),
            (NoAnswer("too late"), HubTimeout, 4002, 200),
            (BadAnswer("no JSON", http_status=200), HubError, 4000, 200),
        ],
    )
    def test_error(self, error: OcpiError, expected: type[StatusError], code: int, http: int) -> None:
        """What the other party says of the message is repeated; what concerns IOP alone is a hub error."""
        found = passed_on(error)
        assert type(found) is expected
        assert (found.status_code, found.http_status, found.exchange) == (code, http, None)


@pytest.mark.parametrize("uid", ["1A2B3C4D", "1a2b3c4d5e6f70"])
def test_token_format(uid: str) -> None:
    """An RFID uid has 8 or 14 hexadecimal digits of any case; other kinds of token are free."""
    require_token_format(v221.TokenType.RFID, uid)
    require_token_format(v221.TokenType.APP_USER, "anything at all")
