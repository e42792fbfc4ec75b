"""Platforms in one process, joined without sockets, and objects to send between them; opens no socket."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from attrs import evolve, frozen
from multidict import CIMultiDict

from ocpi_gireve import (
    BILATERAL,
    Connection,
    Context,
    Link,
    Page,
    PageQuery,
    Party,
    PartyId,
    Patch,
    Platform,
    Role,
    v221,
)
from ocpi_gireve._model import Model
from ocpi_gireve.errors import NoAnswer, NotSent, UnknownLocation, UnknownObject, UnknownToken
from ocpi_gireve.interface import Interface
from ocpi_gireve.journal import OnExchange, ignore
from ocpi_gireve.pagination import page_of
from ocpi_gireve.profile import Profile
from ocpi_gireve.store import Store
from ocpi_gireve.transport import HttpRequest, HttpResponse, Loopback, Transport

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
TOKEN_A = "token-a-of-the-tests-0123456789"
CPO = PartyId("FR", "CPO")
EMSP = PartyId("FR", "EMP")

M = TypeVar("M", bound=Model)


def changed(one: M, changes: Mapping[str, object]) -> M:
    """Replace fields of an object, as strictly as its constructor."""
    return cast("M", evolve(cast("Any", one), **changes))


def basic(token: str) -> str:
    """The value of the Authorization header that presents a token in 2.2.1."""
    return f"Token {base64.b64encode(token.encode()).decode()}"


def envelope(response: HttpResponse) -> dict[str, Any]:
    """The JSON of an answer."""
    found: dict[str, Any] = json.loads(response.body)
    return found


class Network:
    """Hosts by name, joined by `Loopback` instead of sockets.

    Attributes:
        tried: The URL of everything that was to be sent, to whomever.
        requests: Everything that was sent, in order.
        responses: Everything that was answered, in order.
        down: Hosts that cannot be reached.
        lost: Requests whose answer is lost, once each: method and end of the URL.
        replaced: Answers to give instead of those of the platform: method and end of the URL.
    """

    def __init__(self) -> None:
        self._platforms: dict[str, Platform] = {}
        self.tried: list[str] = []
        self.requests: list[HttpRequest] = []
        self.responses: list[HttpResponse] = []
        self.down: set[str] = set()
        self.lost: list[tuple[str, str]] = []
        self.replaced: dict[tuple[str, str], Callable[[HttpRequest], HttpResponse]] = {}

    def join(self, platform: Platform) -> None:
        """Let a platform be reached under the host of its public URL."""
        self._platforms[urlsplit(platform.public_url).netloc] = platform

    def transport(self, profile: Profile) -> Transport:
        """Make the transport of one connection."""
        return _Cable(self)

    async def carry(self, request: HttpRequest, timeout: float) -> HttpResponse:
        """Bring a request to the host it names."""
        host = urlsplit(request.url).netloc
        self.tried.append(request.url)
        if host in self.down or host not in self._platforms:
            raise NotSent("could not connect")
        self.requests.append(request)
        for (method, end), answer in self.replaced.items():
            if request.method == method and request.url.endswith(end):
                return answer(request)
        response = await Loopback(self._platforms[host].handle).send(request, timeout=timeout)
        for method, end in self.lost:
            if request.method == method and request.url.endswith(end):
                self.lost.remove((method, end))
                raise NoAnswer("its answer was cut off")
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
    handlers: Sequence[Interface],
    *,
    store: Store | None = None,
    profiles: Sequence[Profile] = (),
    on_exchange: OnExchange = ignore,
) -> Platform:
    """Make a platform ``https://{host}/ocpi`` of the party FR*{party} that is on the network."""
    platform = Platform(
        public_url=f"https://{host}/ocpi",
        parties=[Party("FR", party, role, name=f"Example {party}")],
        handlers=handlers,
        store=store,
        profiles=profiles,
        transport=network.transport,
        on_exchange=on_exchange,
    )
    network.join(platform)
    return platform


async def ask(
    platform: Platform,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    """Send one request to a platform, as a partner's HTTP client would.

    Args:
        platform: Who is asked.
        method: The HTTP method.
        path: What follows the public URL's path, such as ``/versions``.
        token: The credentials token to present.
        body: JSON, or the bytes themselves.
        headers: Further headers.
    """
    sent = CIMultiDict[str](headers or {})
    if token is not None:
        sent["Authorization"] = basic(token)
    data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    base = urlsplit(platform.public_url).path
    return await platform.handle(HttpRequest(method=method, url=base + path, headers=sent, body=data))


@frozen(kw_only=True)
class Pair:
    """A CPO and an eMSP that are registered with each other.

    Attributes:
        to_emsp: The CPO's connection to the eMSP.
        to_cpo: The eMSP's connection to the CPO.
    """

    network: Network
    cpo: Platform
    emsp: Platform
    to_emsp: Connection
    to_cpo: Connection


@asynccontextmanager
async def a_pair(
    cpo: Sequence[Interface] = (),
    emsp: Sequence[Interface] = (),
    *,
    profile: Profile = BILATERAL,
    on_exchange: OnExchange = ignore,
) -> AsyncGenerator[Pair]:
    """Join a CPO and an eMSP; the CPO has registered."""
    network = Network()
    one = a_platform(network, "cpo.example.com", Role.CPO, "CPO", cpo, on_exchange=on_exchange)
    other = a_platform(network, "emsp.example.com", Role.EMSP, "EMP", emsp)
    async with one, other:
        token = await other.invite(profile, origins="https://cpo.example.com", id="cpo")
        to_emsp = await one.register(profile, other.versions_url, token, id="emsp")
        network.requests.clear()
        network.responses.clear()
        pair = Pair(network=network, cpo=one, emsp=other, to_emsp=to_emsp, to_cpo=other.connection("cpo"))
        yield pair


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
    return changed(connector, changes)


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
    return changed(evse, changes)


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
    return changed(location, changes)


def a_token(**changes: object) -> v221.Token:
    """A Token of FR*EMP; `changes` replace its fields."""
    token = v221.Token(
        country_code="FR",
        party_id="EMP",
        uid="01020304050607",
        type=v221.TokenType.RFID,
        contract_id="FR-EMP-C00000001",
        issuer="Example EMP",
        valid=True,
        whitelist=v221.WhitelistType.NEVER,
        last_updated=NOW,
    )
    return changed(token, changes)


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
    return changed(cdr, changes)


def a_session(**changes: object) -> v221.Session:
    """An active Session of FR*CPO with a token of FR*EMP; `changes` replace its fields."""
    session = v221.Session(
        country_code="FR",
        party_id="CPO",
        id="S1",
        start_date_time=NOW,
        kwh=Decimal("1.5"),
        cdr_token=a_cdr().cdr_token,
        auth_method=v221.AuthMethod.AUTH_REQUEST,
        location_id="LOC1",
        evse_uid="E1",
        connector_id="1",
        currency="EUR",
        status=v221.SessionStatus.ACTIVE,
        last_updated=NOW,
    )
    return changed(session, changes)


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
