"""A small CPO to roam with: serves its locations, charges cars, reports; knows nothing of the hub."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal

from attrs import evolve, frozen

from ..connection import Connection
from ..context import Context
from ..errors import OcpiError, UnknownLocation
from ..journal import OnExchange, ignore
from ..pagination import Link
from ..patch import Patch
from ..platform import Platform
from ..profile import Profile
from ..receivers import LocationBook
from ..store import Store
from ..transport import Transport
from ..types import Party, PartyId, ci_equal, utc_now
from ..v221 import (
    CDR,
    EVSE,
    AuthMethod,
    CdrDimension,
    CdrDimensionType,
    CdrLocation,
    CdrsReceiver,
    CdrToken,
    ChargingPeriod,
    CommandResponse,
    CommandResponseType,
    CommandResult,
    CommandResultType,
    CommandsSender,
    Connector,
    EvseRef,
    Location,
    LocationsReceiver,
    Price,
    Session,
    SessionRef,
    SessionsReceiver,
    SessionStatus,
    StartSession,
    Status,
    StopSession,
    Token,
)
from .commands import StartAndStopOnly
from .locations import ServedLocations

log = logging.getLogger("ocpi_gireve.simulator")

PRICE_PER_KWH = Decimal("0.40")
"""Without VAT, in EUR."""
KWH = Decimal("12.500")
"""What every car of this CPO charges."""
HOURS = Decimal("0.75")
"""How long it takes."""
DURATION = timedelta(hours=float(HOURS))


@frozen
class Spot:
    """A place where a car can charge."""

    location: Location
    evse: EVSE
    connector: Connector

    @property
    def ref(self) -> EvseRef:
        """The EVSE's name in a URL."""
        return EvseRef(self.location.country_code, self.location.party_id, self.location.id, self.evse.uid)

    @property
    def cpo(self) -> PartyId:
        """The CPO that owns it."""
        return PartyId(self.location.country_code, self.location.party_id)


class CpoLocations(ServedLocations):
    """Serves the locations of a book: those of one CPO where one is addressed."""

    def __init__(self, book: LocationBook) -> None:
        self._book = book

    def visible(self, ctx: Context) -> Sequence[Location]:
        """Return the locations of the CPO that is asked."""
        return self._book.all() if ctx.receiver is None else self._book.of(ctx.receiver)


class CpoCommands(StartAndStopOnly):
    """Starts and stops sessions; the result of each command is posted after the answer has left."""

    def __init__(self, cpo: Cpo) -> None:
        self._cpo = cpo

    async def start_session(self, ctx: Context, command: StartSession) -> CommandResponse:
        """Accept the command where the EVSE is there and free."""
        spot = self._cpo.spot(ctx.receiver, command.location_id, command.evse_uid, command.connector_id)
        if not self._cpo.reserve(spot):
            return CommandResponse(result=CommandResponseType.REJECTED, timeout=0)
        self._cpo.platform.spawn(self._start(ctx, command, spot))
        return CommandResponse(result=CommandResponseType.ACCEPTED, timeout=30)

    async def stop_session(self, ctx: Context, command: StopSession) -> CommandResponse:
        """Accept the command where the session is active."""
        if command.session_id not in self._cpo.active:
            return CommandResponse(result=CommandResponseType.UNKNOWN_SESSION, timeout=0)
        self._cpo.platform.spawn(self._stop(ctx, command))
        return CommandResponse(result=CommandResponseType.ACCEPTED, timeout=30)

    async def _start(self, ctx: Context, command: StartSession, spot: Spot) -> None:
        await self._report(ctx, command.response_url)
        await self._cpo.begin(
            spot, command.token, AuthMethod.COMMAND, command.authorization_reference, following=ctx
        )

    async def _stop(self, ctx: Context, command: StopSession) -> None:
        await self._report(ctx, command.response_url)
        await self._cpo.finish(command.session_id, following=ctx)

    async def _report(self, ctx: Context, response_url: str) -> None:
        connection = self._cpo.platform.connection(ctx.partner)
        view = connection.routed(sender=ctx.receiver, receiver=ctx.sender, following=ctx)
        result = CommandResult(result=CommandResultType.ACCEPTED)
        try:
            await view.call(CommandsSender.post_result, Link(response_url), result)
        except OcpiError as error:
            # The car charges, or stops, all the same, and the session tells.
            log.warning("the result of a command could not be posted: %s", error)


class Cpo:
    """A CPO platform.

    Args:
        public_url: Where partners reach it.
        parties: The CPOs that own the locations.
        locations: What it operates.
        store: Where registration and uploads are kept.
        hub: The profile of the hub it roams through.
        on_exchange: Called with every exchange that has ended.
        transport: Makes the transport for a partner; HTTP by default.

    Attributes:
        platform: What serves its requests, and its outbox.
        locations: What it operates, as it stands now.
        active: The sessions under way, by id, each with its place.
    """

    def __init__(
        self,
        *,
        public_url: str,
        parties: Sequence[Party],
        locations: LocationBook,
        store: Store,
        hub: Profile,
        on_exchange: OnExchange = ignore,
        transport: Callable[[Profile], Transport] | None = None,
    ) -> None:
        self.hub = hub
        self.locations = locations
        self.active: dict[str, tuple[Spot, Session]] = {}
        self._reserved: set[EvseRef] = set()
        self.platform = Platform(
            public_url=public_url,
            parties=parties,
            handlers=[CpoLocations(locations), CpoCommands(self)],
            store=store,
            profiles=[hub],
            on_exchange=on_exchange,
            transport=transport,
        )

    def spot(
        self, cpo: PartyId | None, location_id: str, evse_uid: str | None, connector_id: str | None
    ) -> Spot:
        """Return the place that a command names; the first EVSE or connector where it names none.

        Raises:
            UnknownLocation: there is none.
        """
        for spot in spots(self.locations.all() if cpo is None else self.locations.of(cpo)):
            wanted = (
                (spot.location.id, location_id),
                (spot.evse.uid, evse_uid),
                (spot.connector.id, connector_id),
            )
            if all(name is None or ci_equal(there, name) for there, name in wanted):
                return spot
        raise UnknownLocation

    def reserve(self, spot: Spot) -> bool:
        """Keep an EVSE for a session that is about to begin; false where it is taken."""
        if spot.ref in self._reserved or any(taken.ref == spot.ref for taken, _ in self.active.values()):
            return False
        self._reserved.add(spot.ref)
        return True

    def towards_hub(self, cpo: PartyId, following: Context | None = None) -> Connection:
        """Return the connection to the hub, speaking for one of the CPOs."""
        return self.platform.connection(self.hub.name).routed(sender=cpo, following=following)

    async def set_status(self, spot: Spot, status: Status, following: Context | None = None) -> None:
        """Change the status of an EVSE and upload the change, also where it is the one before."""
        before = self.locations.evse(spot.ref)
        # A feed may be dated ahead of our clock, and an older date would be taken for stale.
        moment = max(utc_now(), before.last_updated + timedelta(milliseconds=1))
        changes = Patch(EVSE, {"status": status, "last_updated": moment})
        self.locations.patch_evse(spot.ref, changes)
        await self.towards_hub(spot.cpo, following).upload(LocationsReceiver.patch_evse, spot.ref, changes)

    async def begin(
        self,
        spot: Spot,
        token: Token,
        auth_method: AuthMethod,
        authorization_reference: str | None,
        following: Context | None = None,
    ) -> Session:
        """Plug a car in: the EVSE charges, and the session is uploaded."""
        now = utc_now()
        session = Session(
            country_code=spot.location.country_code,
            party_id=spot.location.party_id,
            id=str(uuid.uuid4()),
            # Nobody waits until the car is full, and no session may end in the future.
            start_date_time=now - DURATION,
            kwh=Decimal(0),
            cdr_token=CdrToken(
                country_code=token.country_code,
                party_id=token.party_id,
                uid=token.uid,
                type=token.type,
                contract_id=token.contract_id,
            ),
            auth_method=auth_method,
            authorization_reference=authorization_reference,
            location_id=spot.location.id,
            evse_uid=spot.evse.uid,
            connector_id=spot.connector.id,
            currency="EUR",
            status=SessionStatus.ACTIVE,
            last_updated=now,
        )
        self.active[session.id] = (spot, session)
        self._reserved.discard(spot.ref)
        await self.set_status(spot, Status.CHARGING, following)
        await self._upload_session(spot, session, following)
        return session

    async def finish(self, session_id: str, following: Context | None = None) -> CDR:
        """Unplug the car: the session is completed, the CDR uploaded, and the EVSE available again.

        Raises:
            KeyError: no such session is under way.
        """
        spot, session = self.active.pop(session_id)
        end = session.start_date_time + DURATION
        cost = (KWH * PRICE_PER_KWH).quantize(Decimal("0.0001"))
        period = ChargingPeriod(
            start_date_time=session.start_date_time,
            dimensions=[
                CdrDimension(type=CdrDimensionType.ENERGY, volume=KWH),
                CdrDimension(type=CdrDimensionType.TIME, volume=HOURS),
            ],
        )
        session = evolve(
            session,
            status=SessionStatus.COMPLETED,
            end_date_time=end,
            kwh=KWH,
            charging_periods=[period],
            total_cost=Price(excl_vat=cost),
            last_updated=utc_now(),
        )
        await self._upload_session(spot, session, following)
        cdr = _cdr(spot, session, period, cost)
        await self.towards_hub(spot.cpo, following).upload(CdrsReceiver.post_cdr, cdr)
        await self.set_status(spot, Status.AVAILABLE, following)
        return cdr

    async def _upload_session(self, spot: Spot, session: Session, following: Context | None) -> None:
        ref = SessionRef(session.country_code, session.party_id, session.id)
        await self.towards_hub(spot.cpo, following).upload(SessionsReceiver.put_session, ref, session)


def spots(locations: Sequence[Location]) -> list[Spot]:
    """Return every place where a car can charge."""
    return [
        Spot(location, evse, connector)
        for location in locations
        for evse in location.evses
        if evse.status is not Status.REMOVED
        for connector in evse.connectors
    ]


def cdr_location(spot: Spot) -> CdrLocation:
    """Describe a place as a CDR does; texts that are too long for a CDR are cut.

    Raises:
        InvalidObject: an id does not fit a CDR.
    """
    location, evse, connector = spot.location, spot.evse, spot.connector
    return CdrLocation(
        id=location.id,
        name=None if location.name is None else _cut(location.name, 255),
        address=_cut(location.address, 45),
        city=_cut(location.city, 45),
        postal_code=None if location.postal_code is None else _cut(location.postal_code, 10),
        country=_cut(location.country, 3),
        coordinates=location.coordinates,
        evse_uid=evse.uid,
        evse_id=evse.evse_id or "#NA",
        connector_id=connector.id,
        connector_standard=connector.standard,
        connector_format=connector.format,
        connector_power_type=connector.power_type,
    )


def _cut(text: str, length: int) -> str:
    """Return a text as our own objects have to be: printable, and no longer than that."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:length]


def _cdr(spot: Spot, session: Session, period: ChargingPeriod, cost: Decimal) -> CDR:
    return CDR(
        country_code=session.country_code,
        party_id=session.party_id,
        id=str(uuid.uuid4()),
        start_date_time=session.start_date_time,
        end_date_time=session.end_date_time or session.start_date_time,
        session_id=session.id,
        cdr_token=session.cdr_token,
        auth_method=session.auth_method,
        authorization_reference=session.authorization_reference,
        cdr_location=cdr_location(spot),
        currency="EUR",
        charging_periods=[period],
        total_cost=Price(excl_vat=cost),
        total_energy=KWH,
        total_energy_cost=Price(excl_vat=cost),
        total_time=HOURS,
        last_updated=session.last_updated,
    )
