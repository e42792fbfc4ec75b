"""A small CPO to roam with: serves its locations, charges cars, reports; knows nothing of the hub."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal

from attrs import evolve, frozen

from .._model import replaced
from ..connection import Connection
from ..context import Context
from ..errors import UnknownLocation
from ..journal import OnExchange, ignore
from ..pagination import Link, Page, PageQuery, page_of
from ..patch import Patch
from ..platform import Platform
from ..profile import Profile
from ..receivers import LocationBook
from ..store import Store
from ..transport import Transport
from ..types import Party, PartyId, ci_key, utc_now
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
    CommandsReceiver,
    CommandsSender,
    Connector,
    EvseRef,
    Location,
    LocationsReceiver,
    LocationsSender,
    OwnConnectorRef,
    OwnEvseRef,
    OwnLocationRef,
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

PRICE_PER_KWH = Decimal("0.40")
"""Without VAT, in EUR."""
KWH = Decimal("12.500")
"""What every car of this CPO charges."""


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


class CpoLocations(LocationsSender):
    """Serves the locations of a book."""

    def __init__(self, book: LocationBook) -> None:
        self._book = book

    def _location(self, location_id: str) -> Location:
        for location in self._book.all():
            if ci_key(location.id) == ci_key(location_id):
                return location
        raise UnknownLocation

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        return page_of([one for one in self._book.all() if query.covers(one.last_updated)], query)

    async def get_location(self, ctx: Context, ref: OwnLocationRef) -> Location:
        return self._location(ref.location_id)

    async def get_evse(self, ctx: Context, ref: OwnEvseRef) -> EVSE:
        for evse in self._location(ref.location_id).evses:
            if ci_key(evse.uid) == ci_key(ref.evse_uid):
                return evse
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: OwnConnectorRef) -> Connector:
        for connector in (await self.get_evse(ctx, OwnEvseRef(ref.location_id, ref.evse_uid))).connectors:
            if ci_key(connector.id) == ci_key(ref.connector_id):
                return connector
        raise UnknownLocation


class CpoCommands(CommandsReceiver):
    """Starts and stops sessions; the result of each command is posted after the answer has left."""

    def __init__(self, cpo: Cpo) -> None:
        self._cpo = cpo

    async def start_session(self, ctx: Context, command: StartSession) -> CommandResponse:
        spot = self._cpo.spot(command.location_id, command.evse_uid or "", command.connector_id)
        self._cpo.platform.spawn(self._start(ctx, command, spot))
        return CommandResponse(result=CommandResponseType.ACCEPTED, timeout=30)

    async def stop_session(self, ctx: Context, command: StopSession) -> CommandResponse:
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
        if ctx.receiver is not None:
            connection = connection.routed(sender=ctx.receiver, receiver=ctx.sender, following=ctx)
        result = CommandResult(result=CommandResultType.ACCEPTED)
        await connection.call(CommandsSender.post_result, Link(response_url), result)


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
        self.platform = Platform(
            public_url=public_url,
            parties=parties,
            handlers=[CpoLocations(locations), CpoCommands(self)],
            store=store,
            profiles=[hub],
            on_exchange=on_exchange,
            transport=transport,
        )

    def spot(self, location_id: str, evse_uid: str, connector_id: str | None) -> Spot:
        """Return the place that a command names.

        Raises:
            UnknownLocation: there is none.
        """
        for spot in spots(self.locations.all()):
            if (ci_key(spot.location.id), ci_key(spot.evse.uid)) != (ci_key(location_id), ci_key(evse_uid)):
                continue
            if connector_id is None or ci_key(spot.connector.id) == ci_key(connector_id):
                return spot
        raise UnknownLocation

    def towards_hub(self, cpo: PartyId, following: Context | None = None) -> Connection:
        """Return the connection to the hub, speaking for one of the CPOs."""
        return self.platform.connection(self.hub.name).routed(sender=cpo, following=following)

    async def set_status(self, spot: Spot, status: Status, following: Context | None = None) -> None:
        """Change the status of an EVSE and upload the change."""
        before = self.locations.evse(spot.ref)
        # A feed may be dated ahead of our clock, and an older date would be taken for stale.
        moment = max(utc_now(), before.last_updated + timedelta(milliseconds=1))
        changed = replaced(before, {"status": status, "last_updated": moment})
        changes = Patch.between(before, changed)
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
            start_date_time=now,
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
        await self.set_status(spot, Status.CHARGING, following)
        await self._upload_session(spot, session, following)
        return session

    async def finish(self, session_id: str, following: Context | None = None) -> CDR:
        """Unplug the car: the session is completed, the CDR uploaded, and the EVSE available again."""
        spot, session = self.active.pop(session_id)
        end = session.start_date_time + timedelta(minutes=45)
        cost = (KWH * PRICE_PER_KWH).quantize(Decimal("0.0001"))
        period = ChargingPeriod(
            start_date_time=session.start_date_time,
            dimensions=[
                CdrDimension(type=CdrDimensionType.ENERGY, volume=KWH),
                CdrDimension(type=CdrDimensionType.TIME, volume=Decimal("0.75")),
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
    """Describe a place as a CDR does.

    Raises:
        InvalidObject: what the feed says of it does not fit a CDR.
    """
    location, evse, connector = spot.location, spot.evse, spot.connector
    return CdrLocation(
        id=location.id,
        name=location.name,
        # CdrLocation kept the shorter limits of OCPI 2.2.1's first release.
        address=location.address[:45],
        city=location.city[:45],
        postal_code=location.postal_code,
        country=location.country,
        coordinates=location.coordinates,
        evse_uid=evse.uid,
        evse_id=evse.evse_id or "#NA",
        connector_id=connector.id,
        connector_standard=connector.standard,
        connector_format=connector.format,
        connector_power_type=connector.power_type,
    )


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
        total_time=Decimal("0.75"),
        last_updated=session.last_updated,
    )
