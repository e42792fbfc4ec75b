"""A charge point operator (CPO) that roams through GIREVE's hub, in OCPI 2.2.1 and 2.1.1, in one file.

It serves its locations, tariffs, sessions and CDRs, asks the hub about drivers' cards, starts and stops
sessions at the hub's command, and sends what happens. The chargers are pretended: put yours where something
sleeps, and your database where `Cpo` keeps its objects. What differs between the versions is in `In221` and
`In211`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_UP, Decimal
from functools import partial
from typing import TypeAlias

from aiohttp import web
from attrs import evolve, frozen

from ocpi_gireve import Connection, Context, Party, Patch, Platform, Role, convert, gireve, v211, v221
from ocpi_gireve.authorizations import Authorization, Authorizations, with_reference
from ocpi_gireve.commands import CpoCommands, Outcome, Result
from ocpi_gireve.commands import v211 as commands_211
from ocpi_gireve.errors import NotRegistered, OcpiError, StatusError
from ocpi_gireve.profile import Profile
from ocpi_gireve.receivers import KeptTokens, LocationBook, OwnCdrs, OwnLocations, OwnSessions, OwnTariffs
from ocpi_gireve.receivers import v211 as receivers_211
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.store import MemoryStore, SqliteStore, Store
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.types import PartyId, ci_key, utc_now

US = ("FR", "CPO")
PARTNER = gireve.SIMULATOR  # on this machine, without TLS; the hub itself is gireve.PREPRODUCTION

DELAY = 0.05  # seconds that a charger takes to obey
POWER = Decimal(22)  # kW
VAT = Decimal(20)  # per cent

CONSOLE = """lines on standard input:
  card UID LOCATION EVSE       a driver shows a card: ask the hub, and charge if it allows
  stop SESSION                 the driver of a session unplugs
  status LOCATION EVSE STATUS  an EVSE changes, such as to OUTOFORDER
  push                         send every tariff and every location
  pull                         fetch the tokens that are new
  update                       exchange new credentials with the hub
  unregister                   end the registration
"""


@frozen
class Charge:
    """A session that runs, and the connection that hears of it; None: every one."""

    session: v221.Session
    partner: str | None = None


@frozen
class EvseChange:
    """What changed at an EVSE."""

    at: v221.EvseRef
    changes: Patch[v221.EVSE]


Ours: TypeAlias = v221.Location | v221.Tariff | v221.Session | v221.CDR


class Cpo:
    """What we operate, what happens there, and who hears of it; objects in 2.2.1, and beside it in 2.1.1."""

    def __init__(self, public_url: str, store: Store, partner: Profile, locations: int) -> None:
        us = PartyId(*US)
        self.locations, self.locations_211 = LocationBook(), receivers_211.LocationBook(us)
        self.tariffs, self.tariffs_211 = dict[str, v221.Tariff](), dict[str, v211.Tariff]()
        self.sessions, self.sessions_211 = dict[str, v221.Session](), dict[str, v211.Session]()
        self.cdrs, self.cdrs_211 = dict[str, v221.CDR](), dict[str, v211.CDR]()
        self.tokens, self.tokens_211 = KeptTokens(store), receivers_211.KeptTokens(store)
        self.charges: dict[str, Charge] = {}  # by `ci_key` of the session's id
        self.authorizations = Authorizations()
        self.in_221, self.in_211 = In221(self), In211(self)
        self.platform = Platform(
            public_url=public_url,
            parties=[Party(*US, Role.CPO, name="Example CPO")],
            handlers=[
                OwnLocations(self.locations),
                OwnTariffs(self.tariffs.values()),
                OwnSessions(self.sessions.values()),
                OwnCdrs(self.cdrs.values()),
                self.in_221,
                self.tokens,
                receivers_211.OwnLocations(self.locations_211),
                receivers_211.OwnTariffs({us: self.tariffs_211.values()}),
                receivers_211.OwnSessions({us: self.sessions_211.values()}),
                receivers_211.OwnCdrs({us: self.cdrs_211.values()}),
                self.in_211,
                self.tokens_211,
            ],
            store=store,
            profiles=[partner],
        )
        for one in some_objects(locations):
            self.keep(one)
            if isinstance(one, v221.Session) and one.status is v221.SessionStatus.ACTIVE:
                self.charges[ci_key(one.id)] = Charge(one)

    def keep(self, one: Ours) -> None:
        """Keep an object in both versions. The `losses` of a conversion are what 2.1.1 has no words for."""
        match one:
            case v221.Location():
                self.locations.put(one)
                self.locations_211.put(convert.location_to_211(one).value)
            case v221.Tariff(id=id):
                self.tariffs[id], self.tariffs_211[id] = one, convert.tariff_to_211(one).value
            case v221.Session(id=id):
                at = self.locations.get(v221.LocationRef(*US, one.location_id))
                self.sessions[id], self.sessions_211[id] = one, convert.session_to_211(one, at).value
            case v221.CDR(id=id):
                at = self.locations.get(v221.LocationRef(*US, one.cdr_location.id))
                self.cdrs[id], self.cdrs_211[id] = one, convert.cdr_to_211(one, location=at).value

    def hubs(self, cause: str | None = None, partner: str | None = None) -> list[Connection]:
        """Return the hub's connections, or one of them; what goes over them has one X-Correlation-ID."""
        known = [one for one in self.platform.connections() if one.record.version]
        return [one.routed(correlation_id=cause) for one in known if partner in (None, one.id)]

    def words(self, hub: Connection) -> In221 | In211:
        """Return what speaks the version of a connection."""
        return self.in_211 if hub.record.version == "2.1.1" else self.in_221

    async def send(self, one: Ours | EvseChange, hubs: list[Connection]) -> None:
        """Upload what is new. It is in the store then, and leaves in order however long a hub is down."""
        for hub in hubs:
            await self.words(hub).send(hub, one)

    def plug(self, location_id: str, evse_uid: str | None, connector_id: str | None) -> v221.ConnectorRef:
        """Return which connector is meant: one that is free, where no EVSE is named.

        Raises:
            UnknownLocation: there is no such place; a partner is answered OCPI 2003.
        """
        at = self.locations.get(v221.LocationRef(*US, location_id))
        free = [evse for evse in at.evses if evse.status is v221.Status.AVAILABLE]
        evse = self.locations.evse(v221.EvseRef(*US, at.id, evse_uid or (free or at.evses)[0].uid))
        # An eMSP that speaks 2.1.1 cannot name a connector.
        plug = v221.ConnectorRef(*US, at.id, evse.uid, connector_id or evse.connectors[0].id)
        self.locations.connector(plug)
        return plug

    def is_free(self, plug: v221.ConnectorRef) -> bool:
        """Tell whether a session could begin there."""
        return self.locations.evse(plug).status is v221.Status.AVAILABLE

    def set_status(self, at: v221.EvseRef | v221.ConnectorRef, status: v221.Status) -> EvseChange:
        """Change the status of an EVSE, and return what there is to tell."""
        changes = Patch(v221.EVSE, {"status": status, "last_updated": utc_now()})
        self.locations.patch_evse(at, changes)
        self.keep(self.locations.get(at))
        return EvseChange(v221.EvseRef(*US, at.location_id, at.evse_uid), changes)

    def running(self, ctx: Context, session_id: str) -> v221.Session | None:
        """Return a session that runs and that the partner hears of: nobody stops what came over another."""
        charge = self.charges.get(ci_key(session_id))
        return charge.session if charge and charge.partner in (None, ctx.partner) else None

    async def start(self, ctx: Context, command: v221.StartSession) -> Outcome[v221.CommandResultType]:
        """Start a session at the hub's command. Its token is authorized already, known here or not."""
        plug = self.plug(command.location_id, command.evse_uid, command.connector_id)
        await asyncio.sleep(DELAY)  # your charger starts here
        if not self.is_free(plug):
            return Outcome(v221.CommandResultType.EVSE_OCCUPIED)
        session = a_session(convert.cdr_token(command.token), plug, v221.AuthMethod.COMMAND, utc_now())
        change = self.set_status(plug, v221.Status.CHARGING)
        # Not yet: the hub hears of the result first.
        then = partial(self.begin, ctx.correlation_id, session, change, ctx.partner)
        return Outcome(v221.CommandResultType.ACCEPTED, then)

    async def stop(self, ctx: Context, session_id: str) -> Outcome[v221.CommandResultType]:
        """Stop a session at the hub's command, whether a command or a card has started it."""
        charge = self.charges.pop(ci_key(session_id), None)
        if charge is None:
            return Outcome(v221.CommandResultType.REJECTED)
        await asyncio.sleep(DELAY)  # your charger stops here, and tells how much it gave
        return Outcome(v221.CommandResultType.ACCEPTED, then=partial(self.end, ctx.correlation_id, charge))

    async def card(self, cause: str, uid: str, location_id: str, evse_uid: str) -> None:
        """Ask the hub whether the driver of a card may charge, and begin where the answer is yes."""
        plug = self.plug(location_id, evse_uid, None)
        if not self.is_free(plug):
            raise ValueError("the EVSE is not available")
        hub = self.hubs(cause)[0]
        answer = await self.authorizations.authorize(hub, uid, "RFID", plug.location_id, plug.evse_uid)
        print(f"card: {answer.decision}", flush=True)
        if answer.allowed:
            driver = await self.words(hub).driver(hub, answer)
            if not self.is_free(plug):
                raise ValueError("the EVSE was taken meanwhile")
            session = a_session(driver, plug, v221.AuthMethod.AUTH_REQUEST, utc_now())
            await self.begin(cause, session, self.set_status(plug, v221.Status.CHARGING), hub.id)

    async def begin(self, cause: str, session: v221.Session, change: EvseChange, partner: str) -> None:
        """Send the EVSE's status, and the session with the reference of its authorization."""
        uid = session.cdr_token.uid
        authorization = self.authorizations.use(uid, session.location_id, session.evse_uid)
        if authorization is not None:
            session = with_reference(session, authorization)  # the eMSP knows its driver by it
        self.charges[ci_key(session.id)] = Charge(session, partner)
        self.keep(session)
        print(f"session {session.id}: {session.status}", flush=True)
        await self.send(change, self.hubs(cause))
        await self.send(session, self.hubs(cause, partner))

    async def end(self, cause: str, charge: Charge) -> None:
        """Send the session, its CDR and the EVSE's status."""
        at = self.plug(charge.session.location_id, charge.session.evse_uid, charge.session.connector_id)
        tariff = self.tariffs[self.locations.connector(at).tariff_ids[0]]
        session, cdr = completed(charge.session, self.locations.get(at), tariff, utc_now())
        print(f"session {session.id}: {session.status}", flush=True)
        for one in (session, cdr):
            self.keep(one)
            await self.send(one, self.hubs(cause, charge.partner))
        await self.send(self.set_status(at, v221.Status.AVAILABLE), self.hubs(cause))

    async def obey(self, line: str) -> None:
        """Do what a line of the console says."""
        cause = str(uuid.uuid4())  # the X-Correlation-ID of all that follows from what happens here
        try:
            match line.split():
                case ["card" | "push" | "pull" | "update" | "unregister", *_] if not self.hubs():
                    raise NotRegistered("no hub has registered")
                case ["card", uid, location, evse]:
                    await self.card(cause, uid, location, evse)
                case ["stop", session] if charge := self.charges.pop(ci_key(session), None):
                    await self.end(cause, charge)
                case ["status", location, evse, status] if v221.Status(status).is_known:
                    change = self.set_status(v221.EvseRef(*US, location, evse), v221.Status(status))
                    await self.send(change, self.hubs(cause))
                case ["push"]:
                    everything: list[Ours] = [*self.tariffs.values(), *self.locations.all()]
                    for one in everything:
                        await self.send(one, self.hubs())
                case ["pull"]:
                    for hub in self.hubs():
                        await self.words(hub).pull(hub)
                case ["update"]:
                    for hub in self.hubs():
                        await self.platform.update(hub.id)
                case ["unregister"]:
                    for hub in self.hubs():
                        await self.platform.unregister(hub.id)
                case _:
                    raise ValueError("not understood")
            print(f"done: {line.strip()}", flush=True)
        except (OcpiError, RuntimeError, ValueError) as error:
            print(f"{line.strip()}: {error}", file=sys.stderr, flush=True)


class In221(CpoCommands):
    """What the hub commands and what we tell it, in 2.2.1. Other commands are answered NOT_SUPPORTED."""

    def __init__(self, cpo: Cpo) -> None:
        super().__init__(authorizations=cpo.authorizations)
        self.cpo = cpo

    async def check_start(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponseType:
        """Refuse a place that is not there."""
        self.cpo.plug(command.location_id, command.evse_uid, command.connector_id)
        return v221.CommandResponseType.ACCEPTED

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> Result:
        """Start a session."""
        return await self.cpo.start(ctx, command)

    async def running_session(self, ctx: Context, session_id: str) -> v221.Session | None:
        """Return what may be stopped; that it is the sender's own is seen to."""
        return self.cpo.running(ctx, session_id)

    async def execute_stop(self, ctx: Context, command: v221.StopSession) -> Result:
        """Stop a session."""
        return await self.cpo.stop(ctx, command.session_id)

    async def send(self, hub: Connection, one: Ours | EvseChange) -> None:
        """Upload what is new."""
        match one:
            case EvseChange(at, changes):
                await hub.upload(v221.LocationsReceiver.patch_evse, at, changes)
            case v221.Location(id=id):
                await hub.upload(v221.LocationsReceiver.put_location, v221.LocationRef(*US, id), one)
            case v221.Tariff(id=id):
                await hub.upload(v221.TariffsReceiver.put_tariff, v221.TariffRef(*US, id), one)
            case v221.Session(id=id):
                await hub.upload(v221.SessionsReceiver.put_session, v221.SessionRef(*US, id), one)
            case v221.CDR():
                await hub.upload(v221.CdrsReceiver.post_cdr, one)

    async def pull(self, hub: Connection) -> None:
        """Keep the tokens that are new."""
        await self.cpo.tokens.tokens.absorb(hub.id, hub.pull(v221.TokensSender.list_tokens))

    async def driver(self, hub: Connection, answer: Authorization) -> v221.CdrToken:
        """Return whom the hub allowed to charge: the answer says it."""
        assert isinstance(answer.token, v221.Token)
        return convert.cdr_token(answer.token)


class In211(commands_211.CpoCommands):
    """The same in 2.1.1."""

    def __init__(self, cpo: Cpo) -> None:
        super().__init__(authorizations=cpo.authorizations)
        self.cpo = cpo

    async def check_start(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponseType:
        """Refuse a place that is not there."""
        self.cpo.plug(command.location_id, command.evse_uid, None)
        return v211.CommandResponseType.ACCEPTED

    async def execute_start(self, ctx: Context, command: v211.StartSession) -> commands_211.Result:
        """Start a session."""
        owner = convert.emsp_of(command.token) or ctx.sender
        return in_211(await self.cpo.start(ctx, convert.start_session_to_221(command, owner).value))

    async def running_session(self, ctx: Context, session_id: str) -> v211.Session | None:
        """Return what may be stopped: whose it is, in 2.1.1 the connection says."""
        session = self.cpo.running(ctx, session_id)
        return None if session is None else self.cpo.sessions_211[session.id]

    async def execute_stop(self, ctx: Context, command: v211.StopSession) -> commands_211.Result:
        """Stop a session."""
        return in_211(await self.cpo.stop(ctx, command.session_id))

    async def send(self, hub: Connection, one: Ours | EvseChange) -> None:
        """Upload what is new."""
        cpo = self.cpo
        match one:
            case EvseChange(at, changes):
                ref = v211.EvseRef(*US, at.location_id, at.evse_uid)
                await hub.upload(v211.LocationsEmsp.patch_evse, ref, convert.evse_patch_to_211(changes).value)
            case v221.Location(id=id):
                place = v211.LocationRef(*US, id)
                await hub.upload(v211.LocationsEmsp.put_location, place, cpo.locations_211.get(place))
            case v221.Tariff(id=id):
                await hub.upload(v211.TariffsEmsp.put_tariff, v211.TariffRef(*US, id), cpo.tariffs_211[id])
            case v221.Session(id=id):
                await hub.upload(
                    v211.SessionsEmsp.put_session, v211.SessionRef(*US, id), cpo.sessions_211[id]
                )
            case v221.CDR(id=id):
                await hub.upload(v211.CdrsEmsp.post_cdr, cpo.cdrs_211[id])

    async def pull(self, hub: Connection) -> None:
        """Keep the tokens that are new."""
        await self.cpo.tokens_211.tokens.absorb(hub.id, hub.pull(v211.TokensEmsp.list_tokens))

    async def driver(self, hub: Connection, answer: Authorization) -> v221.CdrToken:
        """Return whom the hub allowed to charge, with the contract that its answer lacks. (GIREVE TOK-016)"""
        uid, iop = answer.token_uid, hub.profile.hub or PartyId(*US)
        for owner, token in await self.cpo.tokens_211.tokens_with(hub.id, uid):
            return convert.cdr_token(convert.token_to_221(token, owner).value)
        try:
            token = await hub.call(v211.GireveTokens.get_token, v211.OwnTokenRef(uid))
        except StatusError:
            # Charge all the same: the reference of the authorization tells the hub who it is.
            rfid = v221.TokenType.RFID
            return v221.CdrToken(
                country_code=iop.country_code, party_id=iop.party_id, uid=uid, type=rfid, contract_id=uid
            )
        return convert.cdr_token(convert.token_to_221(token, convert.emsp_of(token) or iop).value)


def in_211(outcome: Outcome[v221.CommandResultType]) -> commands_211.Result:
    """Say in 2.1.1 what became of a command."""
    said = convert.command_result_to_211(v221.CommandResult(result=outcome.result)).value
    return Outcome(said, outcome.then)


# --- what a CPO has in its database ---

SINCE = datetime(2025, 1, 1, tzinfo=UTC)
TARIFFS, CHARGES = 105, 25  # more than a page of each
PLACES = (
    ("Gare de Part-Dieu", "5 Place Charles Hernu", "69003", "Lyon", 45.760560, 4.859437),
    ("Parking du Vieux-Port", "23 Quai de Rive Neuve", "13007", "Marseille", 43.293510, 5.369780),
    ("Place Gutenberg", "12 Rue des Serruriers", "67000", "Strasbourg", 48.580950, 7.748350),
)


def some_objects(count: int) -> Iterator[Ours]:
    """Make tariffs, so many locations, and charges there: sessions, one of them running, and CDRs."""
    tariffs = [a_tariff(number) for number in range(1, TARIFFS + 1)]
    locations = [a_location(number, tariffs[number % TARIFFS].id) for number in range(1, count + 1)]
    yield from tariffs
    yield from locations
    for number in (*range(1, CHARGES + 1), 0) if locations else ():  # 0 is the one that runs
        place = number % count
        driver = v221.CdrToken(
            country_code="FR",
            party_id="EMP",
            uid=f"{0x04A1B2C3D4E500 + 4 * number + 2:014X}",
            type=v221.TokenType.RFID,
            contract_id=f"FR-EMP-C{4 * number + 2:08}",
        )
        plug = v221.ConnectorRef(*US, locations[place].id, locations[place].evses[1].uid, "1")
        begin = SINCE + timedelta(days=number) if number else utc_now() - timedelta(minutes=30)
        session = a_session(driver, plug, v221.AuthMethod.AUTH_REQUEST, begin)
        session = evolve(session, id=f"SESSION{number:04}", authorization_reference=f"AUTH-{number:04}")
        if number:
            end = begin + timedelta(minutes=20 + number)
            session, cdr = completed(session, locations[place], tariffs[(place + 1) % TARIFFS], end)
            yield cdr
        yield session


def a_tariff(number: int) -> v221.Tariff:
    """Make a tariff: a price for each session and one for each kWh, in EUR."""
    prices = (
        (v221.TariffDimensionType.FLAT, Decimal(1)),
        (v221.TariffDimensionType.ENERGY, Decimal(300 + number) / 1000),
    )
    return v221.Tariff(
        country_code=US[0],
        party_id=US[1],
        id=f"TARIFF{number:04}",
        currency="EUR",
        elements=[
            v221.TariffElement(
                price_components=[
                    v221.PriceComponent(type=what, price=price, vat=VAT, step_size=1)
                    for what, price in prices
                ]
            )
        ],
        start_date_time=SINCE,  # GIREVE asks for it
        last_updated=SINCE,
    )


def a_location(number: int, tariff: str) -> v221.Location:
    """Make a location with what GIREVE requires besides OCPI: operator, owner, capabilities, tariff_ids."""
    name, address, postal_code, city, latitude, longitude = PLACES[number % len(PLACES)]
    north, east = f"{latitude + number * 0.000731:.6f}", f"{longitude + number * 0.000417:.6f}"
    changed = SINCE + timedelta(hours=number)
    return v221.Location(
        country_code=US[0],
        party_id=US[1],
        id=f"LOC{number:04}",
        publish=True,
        name=f"{name} {number}",
        address=address,
        city=city,
        postal_code=postal_code,
        country="FRA",
        coordinates=v221.GeoLocation(latitude=north, longitude=east),
        parking_type=v221.ParkingType.PARKING_LOT,
        evses=[an_evse(number, place, tariff, changed) for place in range(1, 3 + number % 3)],
        operator=v221.BusinessDetails(name="Example CPO", website="https://cpo.example.com"),
        owner=v221.BusinessDetails(name=f"Ville de {city}"),
        time_zone="Europe/Paris",
        opening_times=v221.Hours(twentyfourseven=True),
        last_updated=changed,
    )


def an_evse(number: int, place: int, tariff: str, changed: datetime) -> v221.EVSE:
    """Make an EVSE; the first one of a location has a household socket besides its Type 2."""
    plugs = [(v221.ConnectorType.IEC_62196_T2, v221.PowerType.AC_3_PHASE, 32)]
    if place == 1:
        plugs.append((v221.ConnectorType.DOMESTIC_E, v221.PowerType.AC_1_PHASE, 16))
    return v221.EVSE(
        uid=f"{number:04}-{place}",
        evse_id=f"FR*CPO*E{number:04}*{place}",
        status=v221.Status.CHARGING if (number, place) == (1, 2) else v221.Status.AVAILABLE,
        capabilities=[v221.Capability.RFID_READER, v221.Capability.REMOTE_START_STOP_CAPABLE],
        connectors=[
            v221.Connector(
                id=str(index),
                standard=standard,
                format=v221.ConnectorFormat.SOCKET,
                power_type=power_type,
                max_voltage=230,
                max_amperage=amperage,
                tariff_ids=[tariff],
                last_updated=changed,
            )
            for index, (standard, power_type, amperage) in enumerate(plugs, start=1)
        ],
        physical_reference=str(place),
        last_updated=changed,
    )


def a_session(
    driver: v221.CdrToken, plug: v221.ConnectorRef, auth_method: v221.AuthMethod, begin: datetime
) -> v221.Session:
    """Make a session that has just begun."""
    return v221.Session(
        country_code=US[0],
        party_id=US[1],
        id=uuid.uuid4().hex,
        start_date_time=begin,
        kwh=Decimal(0),
        cdr_token=driver,
        auth_method=auth_method,
        location_id=plug.location_id,
        evse_uid=plug.evse_uid,
        connector_id=plug.connector_id,
        currency="EUR",
        status=v221.SessionStatus.ACTIVE,
        last_updated=begin,
    )


def completed(
    session: v221.Session, at: v221.Location, tariff: v221.Tariff, end: datetime
) -> tuple[v221.Session, v221.CDR]:
    """Return a session as it ends, and its CDR: both with the reference of the authorization."""
    evse = next(one for one in at.evses if one.uid == session.evse_uid)
    plug = next(one for one in evse.connectors if one.id == session.connector_id)
    hours = Decimal((end - session.start_date_time) // timedelta(milliseconds=1)) / 3_600_000
    hours = hours.quantize(Decimal("0.0001"), ROUND_UP)  # what has begun counts
    kwh = round(hours * POWER, 4)
    volumes = ((v221.CdrDimensionType.ENERGY, kwh), (v221.CdrDimensionType.TIME, hours))
    dimensions = [v221.CdrDimension(type=what, volume=volume) for what, volume in volumes]
    period = v221.ChargingPeriod(
        start_date_time=session.start_date_time, dimensions=dimensions, tariff_id=tariff.id
    )
    flat, per_kwh = (component.price for component in tariff.elements[0].price_components)
    cdr = v221.CDR(
        country_code=US[0],
        party_id=US[1],
        id=f"CDR-{session.id}",
        start_date_time=session.start_date_time,
        end_date_time=end,
        session_id=session.id,
        cdr_token=session.cdr_token,
        auth_method=session.auth_method,
        cdr_location=v221.CdrLocation(
            id=at.id,
            name=at.name,
            address=at.address,
            city=at.city,
            postal_code=at.postal_code,
            country=at.country,
            coordinates=at.coordinates,
            evse_uid=evse.uid,
            evse_id=evse.evse_id or "#NA",
            connector_id=plug.id,
            connector_standard=plug.standard,
            connector_format=plug.format,
            connector_power_type=plug.power_type,
        ),
        currency="EUR",
        tariffs=[tariff],
        charging_periods=[period],
        total_cost=a_price(flat + kwh * per_kwh),
        total_fixed_cost=a_price(flat),
        total_energy=kwh,
        total_energy_cost=a_price(kwh * per_kwh),
        total_time=hours,
        last_updated=end,
    )
    over = evolve(
        session,
        authorization_reference=None,  # repeated as it was given, which may be longer than we may write
        status=v221.SessionStatus.COMPLETED,
        end_date_time=end,
        kwh=kwh,
        charging_periods=[period],
        total_cost=cdr.total_cost,
        last_updated=end,
    )
    return with_reference(over, session), with_reference(cdr, session)


def a_price(amount: Decimal) -> v221.Price:
    """Round an amount to cents and add VAT."""
    amount = round(amount, 2)
    return v221.Price(excl_vat=amount, incl_vat=round(amount * (1 + VAT / 100), 2))


# --- the program ---


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        description="An example CPO that speaks OCPI 2.2.1 and 2.1.1.",
        epilog=CONSOLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on; 0: a free one")
    parser.add_argument("--version", choices=["2.1.1", "2.2.1"], help="version of OCPI; default: both")
    parser.add_argument("--locations", type=int, default=120, metavar="N", help="how many locations to have")
    parser.add_argument("--database", metavar="PATH", help="SQLite file to keep connections and uploads in")
    parser.add_argument(
        "--token-a",
        action="append",
        metavar="TOKEN",
        help="what a partner registers with, each its own; default: new",
    )
    parser.add_argument("--register", metavar="URL", help="register with the partner at this versions URL")
    parser.add_argument("--register-token", metavar="TOKEN", help="the token A that this partner gave us")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    if options.locations < 0:
        parser.error("--locations: expected 0 or more")
    if not 0 <= options.port <= 65535:
        parser.error("--port: expected 0 to 65535")
    if (options.register is None) != (options.register_token is None):
        parser.error("--register and --register-token belong together")
    try:
        # Bound before anything else, because every URL that we hand out names the port.
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        parser.error(f"cannot listen on {options.host}, port {options.port}: {error}")
    public_url = f"http://{options.host}:{listener.getsockname()[1]}/ocpi"
    store = SqliteStore(options.database) if options.database else MemoryStore()
    partner = evolve(PARTNER, versions=frozenset([options.version])) if options.version else PARTNER
    cpo = Cpo(public_url, store, partner, options.locations)
    platform = cpo.platform

    async def connect(_: web.Application) -> None:
        print(f"versions URL: {platform.versions_url}", flush=True)
        if any(one.record.state is ConnectionState.REGISTERED for one in platform.connections()):
            print("registered already", flush=True)
        elif options.register:
            # Not awaited: the partner looks at our versions meanwhile, and we do not serve them yet.
            platform.spawn(register())
        else:
            await invite()
        if sys.stdin is not None:
            # A thread, for not everything that can be standard input can be awaited.
            threading.Thread(target=listen, args=[asyncio.get_running_loop()], daemon=True).start()

    async def invite() -> None:
        # A hub that registers in both versions at once is two partners, with a token A each.
        for number, given in enumerate(options.token_a or [None]):
            name = f"{partner.name}-{number + 1}" if number else partner.name
            token = await platform.invite(partner, id=name, origins=PIN_FIRST, token_a=given)
            print("token A: " + (token.reveal() if given is None else "as given"), flush=True)

    async def register() -> None:
        try:
            hub = await platform.register(partner, options.register, options.register_token)
            print(f"registered with {hub.id}", flush=True)
        except (OcpiError, ValueError) as error:
            print(f"cannot register: {error}", file=sys.stderr)

    def listen(loop: asyncio.AbstractEventLoop) -> None:
        with open(0, errors="replace", closefd=False) as lines:  # not `sys.stdin`, which is closed at the end
            for line in lines:
                loop.call_soon_threadsafe(obey, line)

    def obey(line: str) -> None:
        platform.spawn(cpo.obey(line))

    app = platform.aiohttp_app()
    app.on_startup.append(connect)
    try:
        with listener:
            web.run_app(app, sock=listener, access_log=None, print=None, shutdown_timeout=2)
    except (OcpiError, ValueError) as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main()
