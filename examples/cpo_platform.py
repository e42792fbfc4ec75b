"""A charge point operator (CPO) that roams through GIREVE's hub, in one file.

It serves its locations, starts and stops sessions at the hub's command, and sends EVSE statuses, sessions and
CDRs. The chargers are pretended: put yours where `begin` and `end` say so.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from aiohttp import web
from attrs import evolve

from ocpi_gireve import Connection, Context, Party, Patch, Platform, Role, gireve, v221
from ocpi_gireve.errors import InvalidObject, OcpiError
from ocpi_gireve.pagination import Link, Page, PageQuery, page_of
from ocpi_gireve.receivers import LocationBook
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.store import MemoryStore, SqliteStore, Store
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.types import ci_key, utc_now

US = ("FR", "CPO")
PARTNER = gireve.SIMULATOR  # on this machine, without TLS; the hub itself is gireve.PREPRODUCTION

DELAY = 0.05  # seconds that a charger takes to obey
TIMEOUT = 30  # seconds that a partner waits for the result of a command
POWER = Decimal(22)  # kW
START_PRICE, KWH_PRICE, VAT = Decimal("1.00"), Decimal("0.39"), Decimal("0.20")  # EUR, without VAT


class ExampleCpo(v221.LocationsSender, v221.CommandsReceiver):
    """What partners may ask of us, and what we send to them."""

    def __init__(self, public_url: str, store: Store, locations: int) -> None:
        self.book = LocationBook(a_location(number) for number in range(1, locations + 1))
        self.sessions: dict[str, v221.Session] = {}  # those that run, by `ci_key` of their id
        party = Party(*US, Role.CPO, name="Example CPO")
        self.platform = Platform(
            public_url=public_url, parties=[party], handlers=[self], store=store, profiles=[PARTNER]
        )

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.Location]:
        """Return one page of the locations."""
        return page_of([one for one in self.book.all() if query.covers(one.last_updated)], query)

    async def get_location(self, ctx: Context, ref: v221.OwnLocationRef) -> v221.Location:
        """Return one location."""
        return self.book.get(v221.LocationRef(*US, ref.location_id))

    async def get_evse(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.EVSE:
        """Return one EVSE."""
        return self.book.evse(v221.EvseRef(*US, ref.location_id, ref.evse_uid))

    async def get_connector(self, ctx: Context, ref: v221.OwnConnectorRef) -> v221.Connector:
        """Return one connector."""
        return self.book.connector(v221.ConnectorRef(*US, ref.location_id, ref.evse_uid, ref.connector_id))

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        """Pass a remote start on to a charger, and answer at once. The token is authorized already."""
        location = self.book.get(v221.LocationRef(*US, command.location_id))  # or UnknownLocation: OCPI 2003
        free = [evse for evse in location.evses if evse.status is v221.Status.AVAILABLE]
        at = v221.EvseRef(*US, location.id, command.evse_uid or (free or location.evses)[0].uid)
        # An eMSP that speaks 2.1.1 cannot name a connector.
        plug = command.connector_id or self.book.evse(at).connectors[0].id
        self.book.connector(v221.ConnectorRef(*US, location.id, at.evse_uid, plug))
        self.platform.spawn(self.begin(ctx, command, at, plug))
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=TIMEOUT)

    async def stop_session(self, ctx: Context, command: v221.StopSession) -> v221.CommandResponse:
        """Pass a remote stop on to a charger, and answer at once."""
        session = self.sessions.pop(ci_key(command.session_id), None)
        if session is None:
            return v221.CommandResponse(result=v221.CommandResponseType.UNKNOWN_SESSION, timeout=0)
        self.platform.spawn(self.end(ctx, command, session))
        return v221.CommandResponse(result=v221.CommandResponseType.ACCEPTED, timeout=TIMEOUT)

    async def begin(self, ctx: Context, command: v221.StartSession, at: v221.EvseRef, plug: str) -> None:
        """Start charging; post the result, then send the EVSE's status and the session."""
        await asyncio.sleep(DELAY)  # your charger starts here
        if self.book.evse(at).status is not v221.Status.AVAILABLE:
            await self.report(ctx, command.response_url, v221.CommandResultType.EVSE_OCCUPIED)
            return
        try:
            session = a_session(command, at, plug)
        except InvalidObject:
            # What partners send is read leniently, and what we send is not: such as a too long contract id.
            await self.report(ctx, command.response_url, v221.CommandResultType.REJECTED)
            return
        status = self.set_status(at, v221.Status.CHARGING)
        self.sessions[ci_key(session.id)] = session
        await self.report(ctx, command.response_url, v221.CommandResultType.ACCEPTED)
        # What is uploaded is in the store, and leaves in order however long the partner is down.
        partner, ref = self.partner(ctx), v221.SessionRef(*US, session.id)
        await partner.upload(v221.LocationsReceiver.patch_evse, at, status)
        await partner.upload(v221.SessionsReceiver.put_session, ref, session)

    async def end(self, ctx: Context, command: v221.StopSession, session: v221.Session) -> None:
        """Stop charging; post the result, then send the session, its CDR and the EVSE's status."""
        await asyncio.sleep(DELAY)  # your charger stops here, and tells how much it gave
        plug = v221.ConnectorRef(*US, session.location_id, session.evse_uid, session.connector_id)
        at = v221.EvseRef(*US, session.location_id, session.evse_uid)
        cdr = a_cdr(session, self.book.get(at), self.book.evse(at), self.book.connector(plug))
        completed = evolve(
            session,
            status=v221.SessionStatus.COMPLETED,
            end_date_time=cdr.end_date_time,
            kwh=cdr.total_energy,
            charging_periods=cdr.charging_periods,
            total_cost=cdr.total_cost,
            last_updated=cdr.last_updated,
        )
        status = self.set_status(at, v221.Status.AVAILABLE)
        await self.report(ctx, command.response_url, v221.CommandResultType.ACCEPTED)
        partner, ref = self.partner(ctx), v221.SessionRef(*US, session.id)
        await partner.upload(v221.SessionsReceiver.put_session, ref, completed)
        await partner.upload(v221.CdrsReceiver.post_cdr, cdr)
        await partner.upload(v221.LocationsReceiver.patch_evse, at, status)

    def partner(self, ctx: Context) -> Connection:
        """Return the connection to who asked; what goes over it shares the request's correlation id."""
        return self.platform.connection(ctx.partner).routed(following=ctx)

    async def report(self, ctx: Context, response_url: str, result: v221.CommandResultType) -> None:
        """Post the result of a command."""
        outcome = v221.CommandResult(result=result)
        try:
            await self.partner(ctx).call(v221.CommandsSender.post_result, Link(response_url), outcome)
        except OcpiError as error:
            # The charger has acted, whether or not anybody heard of it, so the rest has to be sent.
            print(f"result of a command not delivered: {error}", file=sys.stderr)

    def set_status(self, at: v221.EvseRef, status: v221.Status) -> Patch[v221.EVSE]:
        """Change the status of an EVSE and return what changed."""
        old = self.book.evse(at)
        new = evolve(old, status=status, last_updated=utc_now())
        self.book.put_evse(at, new)
        return Patch.between(old, new)


# --- what a CPO has in its database ---

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = (
    ("Gare de Lyon-Part-Dieu", "5 Place Charles Béraudier", "69003", "Lyon", 45.760560, 4.859437),
    ("Parking du Vieux-Port", "23 Quai de Rive Neuve", "13007", "Marseille", 43.293510, 5.369780),
    ("Place Gutenberg", "12 Rue des Serruriers", "67000", "Strasbourg", 48.580950, 7.748350),
    ("Parc des Chantiers", "2 Boulevard Léon Bureau", "44200", "Nantes", 47.206140, -1.563790),
)


def a_location(number: int) -> v221.Location:
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
        evses=[an_evse(number, place, changed) for place in range(1, 3 + number % 3)],
        operator=v221.BusinessDetails(name="Example CPO", website="https://cpo.example.com"),
        owner=v221.BusinessDetails(name=f"Ville de {city}"),
        time_zone="Europe/Paris",
        opening_times=v221.Hours(twentyfourseven=True),
        last_updated=changed,
    )


def an_evse(number: int, place: int, changed: datetime) -> v221.EVSE:
    """Make an EVSE; the first one of a location has a household socket besides its Type 2."""
    plugs = [(v221.ConnectorType.IEC_62196_T2, v221.PowerType.AC_3_PHASE, 32)]
    if place == 1:
        plugs.append((v221.ConnectorType.DOMESTIC_E, v221.PowerType.AC_1_PHASE, 16))
    return v221.EVSE(
        uid=f"{number:04}-{place}",
        evse_id=f"FR*CPO*E{number:04}*{place}",
        status=v221.Status.AVAILABLE,
        capabilities=[v221.Capability.RFID_READER, v221.Capability.REMOTE_START_STOP_CAPABLE],
        connectors=[
            v221.Connector(
                id=str(index),
                standard=standard,
                format=v221.ConnectorFormat.SOCKET,
                power_type=power_type,
                max_voltage=230,
                max_amperage=amperage,
                tariff_ids=["FR-CPO-AC"],
                last_updated=changed,
            )
            for index, (standard, power_type, amperage) in enumerate(plugs, start=1)
        ],
        physical_reference=str(place),
        last_updated=changed,
    )


def a_session(command: v221.StartSession, at: v221.EvseRef, plug: str) -> v221.Session:
    """Make the session that a command starts."""
    now, token = utc_now(), command.token
    return v221.Session(
        country_code=US[0],
        party_id=US[1],
        id=str(uuid.uuid4()),
        start_date_time=now,
        kwh=Decimal(0),
        cdr_token=v221.CdrToken(
            country_code=token.country_code,
            party_id=token.party_id,
            uid=token.uid,
            type=token.type,
            contract_id=token.contract_id,
        ),
        auth_method=v221.AuthMethod.COMMAND,
        authorization_reference=command.authorization_reference,  # the eMSP knows its driver by it
        location_id=at.location_id,
        evse_uid=at.evse_uid,
        connector_id=plug,
        currency="EUR",
        status=v221.SessionStatus.ACTIVE,
        last_updated=now,
    )


def a_cdr(session: v221.Session, at: v221.Location, evse: v221.EVSE, plug: v221.Connector) -> v221.CDR:
    """Make the CDR of a session that ends now."""
    now = utc_now()
    hours = Decimal((now - session.start_date_time) // timedelta(milliseconds=1)) / 3_600_000
    hours, kwh = round(hours, 4), round(hours * POWER, 4)
    volumes = ((v221.CdrDimensionType.ENERGY, kwh), (v221.CdrDimensionType.TIME, hours))
    return v221.CDR(
        country_code=US[0],
        party_id=US[1],
        id=str(uuid.uuid4()),
        start_date_time=session.start_date_time,
        end_date_time=now,
        session_id=session.id,
        cdr_token=session.cdr_token,
        auth_method=session.auth_method,
        authorization_reference=session.authorization_reference,
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
        charging_periods=[
            v221.ChargingPeriod(
                start_date_time=session.start_date_time,
                dimensions=[v221.CdrDimension(type=what, volume=volume) for what, volume in volumes],
                tariff_id=plug.tariff_ids[0],
            )
        ],
        total_cost=a_price(START_PRICE + kwh * KWH_PRICE),
        total_fixed_cost=a_price(START_PRICE),
        total_energy=kwh,
        total_energy_cost=a_price(kwh * KWH_PRICE),
        total_time=hours,
        last_updated=now,
    )


def a_price(amount: Decimal) -> v221.Price:
    """Round an amount to cents and add VAT."""
    return v221.Price(excl_vat=round(amount, 2), incl_vat=round(amount * (1 + VAT), 2))


# --- the program ---


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(description="An example CPO that speaks OCPI 2.2.1.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8001, help="port to listen on; 0: a free one")
    parser.add_argument("--version", choices=["2.2.1"], default="2.2.1", help="version of OCPI")
    parser.add_argument("--locations", type=int, default=25, metavar="N", help="how many locations to have")
    parser.add_argument("--database", metavar="PATH", help="SQLite file to keep connections and uploads in")
    parser.add_argument("--token-a", metavar="TOKEN", help="what a partner registers with; default: new")
    parser.add_argument("--register", metavar="URL", help="register with the partner at this versions URL")
    parser.add_argument("--register-token", metavar="TOKEN", help="the token A that this partner gave us")
    options = parser.parse_args()
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
    platform = ExampleCpo(public_url, store, options.locations).platform

    async def connect(_: web.Application) -> None:
        print(f"versions URL: {platform.versions_url}", flush=True)
        if any(one.record.state is ConnectionState.REGISTERED for one in platform.connections()):
            print("registered already", flush=True)
        elif options.register:
            # Not awaited: the partner looks at our versions meanwhile, and we do not serve them yet.
            platform.spawn(register())
        else:
            token = await platform.invite(PARTNER, origins=PIN_FIRST, token_a=options.token_a)
            print("token A: " + (token.reveal() if options.token_a is None else "as given"), flush=True)

    async def register() -> None:
        try:
            partner = await platform.register(PARTNER, options.register, options.register_token)
            print(f"registered with {partner.id}", flush=True)
        except OcpiError as error:
            print(f"cannot register: {error}", file=sys.stderr)

    app = platform.aiohttp_app()
    app.on_startup.append(connect)
    try:
        web.run_app(app, sock=listener, access_log=None, print=None, shutdown_timeout=2)
    except OcpiError as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main()
