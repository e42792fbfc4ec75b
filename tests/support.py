"""Platforms in one process, joined without sockets, and objects to send between them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

from attrs import evolve

from ocpi_gireve import Context, Link, Page, PageQuery, Party, Patch, Platform, Role, gireve, v221
from ocpi_gireve.errors import NotSent, UnknownLocation, UnknownObject, UnknownToken
from ocpi_gireve.interface import Interface
from ocpi_gireve.pagination import page_of
from ocpi_gireve.profile import Profile
from ocpi_gireve.store import Store
from ocpi_gireve.transport import HttpRequest, HttpResponse, Loopback, Transport

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TOKEN_A = "token-a-of-the-tests-0123456789"


class Network:
    """Hosts by name, joined by `Loopback` instead of sockets.

    Attributes:
        requests: Everything that was sent, in order.
        down: Hosts that cannot be reached.
    """

    def __init__(self) -> None:
        self._platforms: dict[str, Platform] = {}
        self.requests: list[HttpRequest] = []
        self.responses: list[HttpResponse] = []
        self.down: set[str] = set()

    def join(self, platform: Platform) -> None:
        """Let a platform be reached under the host of its public URL."""
        self._platforms[urlsplit(platform.public_url).netloc] = platform

    def transport(self, profile: Profile) -> Transport:
        """Make the transport of one connection."""
        return _Cable(self)

    async def carry(self, request: HttpRequest, timeout: float) -> HttpResponse:
        """Bring a request to the host it names."""
        host = urlsplit(request.url).netloc
        if host in self.down or host not in self._platforms:
            raise NotSent("could not connect")
        self.requests.append(request)
        response = await Loopback(self._platforms[host].handle).send(request, timeout=timeout)
        self.responses.append(response)
        return response


class _Cable:
    def __init__(self, network: Network) -> None:
        self._network = network

    async def send(self, request: HttpRequest, *, timeout: float) -> HttpResponse:
        return await self._network.carry(request, timeout)

    async def close(self) -> None:
        """Nothing is open."""


def a_platform(
    network: Network,
    host: str,
    role: Role,
    party: str,
    handlers: list[Interface],
    store: Store | None = None,
    profiles: tuple[Profile, ...] = (),
) -> Platform:
    """Make a platform ``https://{host}/ocpi`` of the party FR*{party} that is on the network."""
    platform = Platform(
        public_url=f"https://{host}/ocpi",
        parties=[Party("FR", party, role, name=f"Example {party}")],
        handlers=handlers,
        store=store,
        profiles=profiles,
        transport=network.transport,
    )
    network.join(platform)
    return platform


def a_connector(**changes: object) -> v221.Connector:
    """A Connector; `changes` replace its fields."""
    connector = v221.Connector(
        id="1",
        standard=v221.ConnectorType.IEC_62196_T2,
        format=v221.ConnectorFormat.SOCKET,
        power_type=v221.PowerType.AC_3_PHASE,
        max_voltage=230,
        max_amperage=32,
        tariff_ids=["T1"],
        last_updated=NOW,
    )
    return evolve(connector, **changes)


def an_evse(**changes: object) -> v221.EVSE:
    """An EVSE; `changes` replace its fields."""
    evse = v221.EVSE(
        uid="E1",
        evse_id="FR*CPO*E1",
        status=v221.Status.AVAILABLE,
        capabilities=[v221.Capability.RFID_READER],
        connectors=[a_connector()],
        last_updated=NOW,
    )
    return evolve(evse, **changes)


def a_location(**changes: object) -> v221.Location:
    """A Location of FR*CPO; `changes` replace its fields."""
    location = v221.Location(
        country_code="FR",
        party_id="CPO",
        id="LOC1",
        publish=True,
        name="Gare",
        address="1 place de la Gare",
        city="Lyon",
        postal_code="69003",
        country="FRA",
        coordinates=v221.GeoLocation(latitude="45.760560", longitude="4.859437"),
        evses=[an_evse()],
        time_zone="Europe/Paris",
        last_updated=NOW,
    )
    return evolve(location, **changes)


def a_token(**changes: object) -> v221.Token:
    """A Token of FR*EMP; `changes` replace its fields."""
    token = v221.Token(
        country_code="FR",
        party_id="EMP",
        uid="0102030405060708"[:14],
        type=v221.TokenType.RFID,
        contract_id="FR-EMP-C00000001",
        issuer="Example EMP",
        valid=True,
        whitelist=v221.WhitelistType.NEVER,
        last_updated=NOW,
    )
    return evolve(token, **changes)


def a_cdr(**changes: object) -> v221.CDR:
    """A CDR of FR*CPO for a token of FR*EMP; `changes` replace its fields."""
    cdr = v221.CDR(
        country_code="FR",
        party_id="CPO",
        id="CDR1",
        start_date_time=NOW,
        end_date_time=NOW,
        session_id="S1",
        cdr_token=v221.CdrToken(
            country_code="FR",
            party_id="EMP",
            uid="01020304050607",
            type=v221.TokenType.RFID,
            contract_id="FR-EMP-C00000001",
        ),
        auth_method=v221.AuthMethod.AUTH_REQUEST,
        cdr_location=v221.CdrLocation(
            id="LOC1",
            address="1 place de la Gare",
            city="Lyon",
            country="FRA",
            coordinates=v221.GeoLocation(latitude="45.760560", longitude="4.859437"),
            evse_uid="E1",
            evse_id="FR*CPO*E1",
            connector_id="1",
            connector_standard=v221.ConnectorType.IEC_62196_T2,
            connector_format=v221.ConnectorFormat.SOCKET,
            connector_power_type=v221.PowerType.AC_3_PHASE,
        ),
        currency="EUR",
        charging_periods=[
            v221.ChargingPeriod(
                start_date_time=NOW,
                dimensions=[v221.CdrDimension(type=v221.CdrDimensionType.ENERGY, volume=Decimal("12.5"))],
            )
        ],
        total_cost=v221.Price(excl_vat=Decimal("4.00"), incl_vat=Decimal("4.80")),
        total_energy=Decimal("12.5"),
        total_time=Decimal("0.5"),
        last_updated=NOW,
    )
    return evolve(cdr, **changes)


class CpoLocations(v221.LocationsSender):
    """Serves the locations it was given."""

    def __init__(self, locations: list[v221.Location]) -> None:
        self.locations = locations
        self.seen: list[Context] = []

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[v221.Location]:
        self.seen.append(ctx)
        return page_of([one for one in self.locations if query.covers(one.last_updated)], query)

    async def get_location(self, ctx: Context, ref: v221.OwnLocationRef) -> v221.Location:
        for location in self.locations:
            if location.id == ref.location_id:
                return location
        raise UnknownLocation

    async def get_evse(self, ctx: Context, ref: v221.OwnEvseRef) -> v221.EVSE:
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: v221.OwnConnectorRef) -> v221.Connector:
        raise OSError("the database is on fire")


class EmspLocations(v221.LocationsReceiver):
    """Keeps the last of everything it is sent."""

    def __init__(self) -> None:
        self.locations: dict[str, v221.Location] = {}
        self.patches: list[tuple[v221.EvseRef, Patch[v221.EVSE]]] = []
        self.seen: list[Context] = []

    async def get_location(self, ctx: Context, ref: v221.LocationRef) -> v221.Location:
        if ref.location_id not in self.locations:
            raise UnknownLocation
        return self.locations[ref.location_id]

    async def get_evse(self, ctx: Context, ref: v221.EvseRef) -> v221.EVSE:
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: v221.ConnectorRef) -> v221.Connector:
        raise UnknownLocation

    async def put_location(self, ctx: Context, ref: v221.LocationRef, location: v221.Location) -> None:
        self.seen.append(ctx)
        self.locations[ref.location_id] = location

    async def put_evse(self, ctx: Context, ref: v221.EvseRef, evse: v221.EVSE) -> None:
        raise UnknownLocation

    async def put_connector(self, ctx: Context, ref: v221.ConnectorRef, connector: v221.Connector) -> None:
        raise UnknownLocation

    async def patch_location(
        self, ctx: Context, ref: v221.LocationRef, changes: Patch[v221.Location]
    ) -> None:
        self.locations[ref.location_id] = changes.apply_to(self.locations[ref.location_id])

    async def patch_evse(self, ctx: Context, ref: v221.EvseRef, changes: Patch[v221.EVSE]) -> None:
        self.patches.append((ref, changes))

    async def patch_connector(
        self, ctx: Context, ref: v221.ConnectorRef, changes: Patch[v221.Connector]
    ) -> None:
        raise UnknownLocation


class EmspCdrs(v221.CdrsReceiver):
    """Keeps CDRs by the place it hands out."""

    def __init__(self) -> None:
        self.cdrs: dict[str, v221.CDR] = {}

    async def post_cdr(self, ctx: Context, cdr: v221.CDR) -> Link:
        self.cdrs[cdr.id] = cdr
        return Link(cdr.id)

    async def get_cdr(self, ctx: Context, link: Link) -> v221.CDR:
        if link.url not in self.cdrs:
            raise UnknownObject
        return self.cdrs[link.url]


class EmspTokens(v221.TokensSender):
    """Knows one token."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        return page_of([a_token()], query)

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        if ref.token_uid != a_token().uid:
            raise UnknownToken
        return v221.AuthorizationInfo(
            allowed=v221.AllowedType.ALLOWED, token=a_token(), authorization_reference="AUTH1"
        )


HUB = gireve.PREPRODUCTION
