"""What a certification looks at, over real sockets, as its examiner sees it: both versions, both sides.

Section A are the checks of GIREVE's 2.1.1 tester, section B the cases of 2.2.1. What one version asks for is
checked in both, where both have it.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import evolve, frozen

from ocpi_gireve import (
    Connection,
    Context,
    MemoryStore,
    Page,
    PageQuery,
    Party,
    PartyId,
    Patch,
    Platform,
    Role,
    gireve,
    v211,
    v221,
)
from ocpi_gireve import commands as commands_221
from ocpi_gireve import receivers as receivers_221
from ocpi_gireve._model import Model
from ocpi_gireve._wire import encode_body
from ocpi_gireve.commands import v211 as commands_211
from ocpi_gireve.errors import UnknownToken
from ocpi_gireve.http import HttpServer, aiohttp_app
from ocpi_gireve.interface import Interface
from ocpi_gireve.pagination import page_of
from ocpi_gireve.receivers import v211 as receivers_211
from ocpi_gireve.testing import sample, samples
from ocpi_gireve.transport import HttpRequest, HttpResponse
from tests.examiner import MOMENT, Examiner, Json, Said, an_examiner, envelope

CPO, EMP = Party("FR", "CPO", Role.CPO, name="Example CPO"), Party("FR", "EMP", Role.EMSP, name="Example EMP")
SIDES = [("2.1.1", Role.CPO), ("2.1.1", Role.EMSP), ("2.2.1", Role.CPO), ("2.2.1", Role.EMSP)]
every_side = pytest.mark.parametrize(("version", "side"), SIDES)
both_cpos = pytest.mark.parametrize("version", ["2.1.1", "2.2.1"])
both_emsps = both_cpos

# --- a platform such as a host makes --------------------------------------------------------------------

LOCATIONS, CDRS, TARIFFS, TOKENS, SESSIONS = 120, 45, 205, 1001, 120
"""More than a page of each."""


class Listed211(v211.CdrsCpo, v211.SessionsCpo, v211.TariffsCpo):
    """Lists many of each."""

    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[v211.CDR]:
        return dated(many(v211.CDR, CDRS), query)

    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[v211.Session]:
        return dated(many(v211.Session, SESSIONS), query)

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v211.Tariff]:
        return dated(many(v211.Tariff, TARIFFS), query)


class Listed221(v221.CdrsSender, v221.SessionsSender, v221.TariffsSender):
    """Lists many of each."""

    async def list_cdrs(self, ctx: Context, query: PageQuery) -> Page[v221.CDR]:
        return dated(many(v221.CDR, CDRS), query)

    async def list_sessions(self, ctx: Context, query: PageQuery) -> Page[v221.Session]:
        return dated(many(v221.Session, SESSIONS), query)

    async def put_charging_preferences(
        self, ctx: Context, ref: v221.OwnSessionRef, preferences: v221.ChargingPreferences
    ) -> v221.ChargingPreferencesResponse:
        return v221.ChargingPreferencesResponse.ACCEPTED

    async def list_tariffs(self, ctx: Context, query: PageQuery) -> Page[v221.Tariff]:
        return dated(many(v221.Tariff, TARIFFS), query)


M = TypeVar("M", bound=Model)


@cache
def many(cls: type[M], count: int) -> Sequence[M]:
    """Objects of a class."""
    return samples(cls, count)


def dated(objects: Sequence[Any], query: PageQuery) -> Page[Any]:
    """The page of what is asked for by dates."""
    return page_of([one for one in objects if query.covers(one.last_updated)], query)


class Tokens211(v211.TokensEmsp):
    """Many tokens, of which a driver's may charge."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v211.Token]:
        return dated(many(v211.Token, TOKENS), query)

    async def authorize(
        self, ctx: Context, ref: v211.OwnTokenRef, location: v211.LocationReferences | None = None
    ) -> v211.AuthorizationInfo:
        allowed = allowed_for(ref.token_uid)
        known = v211.AuthorizationInfo(allowed=v211.Allowed(allowed), location=location)
        return evolve(known, authorization_id="AUTH-1") if allowed == "ALLOWED" else known


class Tokens221(v221.TokensSender):
    """The same."""

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        return dated(many(v221.Token, TOKENS), query)

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        allowed = allowed_for(ref.token_uid)
        token = evolve(sample(v221.Token), uid=ref.token_uid, type=ref.type)
        known = v221.AuthorizationInfo(allowed=v221.AllowedType(allowed), token=token, location=location)
        return evolve(known, authorization_reference="AUTH-1") if allowed == "ALLOWED" else known


def allowed_for(uid: str) -> str:
    """Whether a driver may charge."""
    if uid not in ("KNOWN", "BLOCKED"):
        raise UnknownToken
    return "ALLOWED" if uid == "KNOWN" else "BLOCKED"


class Chargers211(commands_211.CpoCommands):
    """Chargers that do what they are told."""

    async def execute_start(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponseType:
        return v211.CommandResponseType.ACCEPTED


class Chargers221(commands_221.CpoCommands):
    """The same."""

    async def execute_start(self, ctx: Context, command: v221.StartSession) -> v221.CommandResultType:
        return v221.CommandResultType.ACCEPTED


def handlers_of(version: str, side: Role, store: MemoryStore) -> list[Interface]:
    """What a host passes."""
    if version == "2.1.1":
        if side is Role.CPO:
            places = receivers_211.LocationBook(CPO.id, samples(v211.Location, LOCATIONS))
            return [
                receivers_211.OwnLocations(places),
                Listed211(),
                receivers_211.KeptTokens(store),
                Chargers211(),
            ]
        return [
            receivers_211.KeptLocations(store),
            receivers_211.KeptTariffs(store),
            receivers_211.KeptSessions(store),
            receivers_211.KeptCdrs(store),
            Tokens211(),
            commands_211.EmspCommands(),
        ]
    if side is Role.CPO:
        book = receivers_221.LocationBook(samples(v221.Location, LOCATIONS))
        return [receivers_221.OwnLocations(book), Listed221(), receivers_221.KeptTokens(store), Chargers221()]
    return [
        receivers_221.KeptLocations(store),
        receivers_221.KeptTariffs(store),
        receivers_221.KeptSessions(store),
        receivers_221.KeptCdrs(store),
        Tokens221(),
        commands_221.EmspCommands(),
    ]


@frozen
class Scene:
    """A platform on one side and the examiner on the other, registered with each other."""

    version: str
    platform: Platform
    examiner: Examiner
    handlers: Mapping[str, Any]

    @property
    def iop(self) -> Connection:
        """The platform's connection to the examiner."""
        return self.platform.connection("iop")

    def place(self, module: str, role: str) -> str:
        """An endpoint of the platform; `role` is that of the interface in 2.2.1."""
        return self.examiner.place(module, role)

    def one(self, kind: str, seed: int = 0) -> Any:  # noqa: ANN401 - which class, the version decides
        """An object of this version."""
        return sample(getattr(v211 if self.version == "2.1.1" else v221, kind), seed)


MODULES = {
    Role.CPO: [
        ("locations", "RECEIVER"),
        ("tariffs", "RECEIVER"),
        ("sessions", "RECEIVER"),
        ("cdrs", "RECEIVER"),
        ("tokens", "SENDER"),
        ("commands", "SENDER"),
    ],
    Role.EMSP: [
        ("locations", "SENDER"),
        ("tariffs", "SENDER"),
        ("tokens", "RECEIVER"),
        ("commands", "RECEIVER"),
    ],
}
"""What the examiner offers to a CPO, and to an eMSP."""


@asynccontextmanager
async def a_scene(
    version: str,
    side: Role,
    *,
    register: bool = True,
    handlers: Sequence[Interface] = (),
    command_ack: float = 5.0,
) -> AsyncGenerator[Scene]:
    """A platform and the examiner, which registers FromIOP."""
    store = MemoryStore()
    found = list(handlers) or handlers_of(version, side, store)
    served: list[Platform] = []

    async def serve(request: HttpRequest) -> HttpResponse:
        return await served[0].handle(request)

    async with an_examiner(version) as examiner, HttpServer(aiohttp_app(serve)) as server:
        platform = Platform(
            public_url=f"{server.url}/ocpi",
            parties=[CPO if side is Role.CPO else EMP],
            handlers=found,
            store=store,
            command_ack=command_ack,
        )
        served.append(platform)
        profile = evolve(gireve.SIMULATOR, versions=frozenset({version}))
        async with platform:
            token_a = await platform.invite(profile, origins=examiner.url)
            if register:
                party = "107"
                await examiner.register(
                    platform.versions_url, token_a.reveal(), examiner.offer(MODULES[side], party)
                )
            else:
                examiner.token = token_a.reveal()
            yield Scene(version, platform, examiner, {type(one).__name__: one for one in found})


def plain(one: object) -> Json:
    """The JSON of an object."""
    return json.loads(encode_body(one))


def moments_of(value: object, name: str = "") -> list[str]:
    """Every date within an answer's data."""
    if isinstance(value, dict):
        named = cast("dict[str, object]", value)
        return [found for key, inner in named.items() for found in moments_of(inner, key)]
    if isinstance(value, list):
        listed = cast("list[object]", value)
        return [found for inner in listed for found in moments_of(inner, name)]
    is_date = name in ("last_updated", "timestamp") or name.endswith(("date_time", "datetime", "_date"))
    return [value] if is_date and isinstance(value, str) else []


# --- registration (A 6, 7, 14, 15; B Register FromIOP) --------------------------------------------------


@every_side
async def test_register_from_iop(version: str, side: Role) -> None:
    """Versions, details and credentials are answered as the examiner expects, and our questions are right."""
    async with a_scene(version, side, register=False) as scene:
        examiner, token_a = scene.examiner, scene.examiner.token
        theirs = await examiner.register(
            scene.platform.versions_url, token_a, examiner.offer(MODULES[side], "107")
        )
        modules = {module for module, _ in examiner.endpoints}
        assert modules <= {"credentials", "locations", "tariffs", "sessions", "cdrs", "tokens", "commands"}
        assert ("credentials", "" if version == "2.1.1" else "SENDER") in examiner.endpoints
        assert 1 <= len(theirs["token"]) <= 64
        assert len(theirs["url"]) <= 255
        said = theirs if version == "2.1.1" else theirs["roles"][0]
        assert said["country_code"] == "FR"
        assert said["party_id"] == ("CPO" if side is Role.CPO else "EMP")
        assert said["business_details"]["name"]
        # What we asked the examiner meanwhile.
        asked = [(one.method, one.path) for one in examiner.arrived]
        assert asked == [("GET", "/versions"), ("GET", f"/{version}")]
        for one in examiner.arrived:
            assert one.headers["Authorization"] == examiner.authorization(f"token-b-{version}")
            assert "Content-Type" not in one.headers
            assert one.headers.get("X-Request-ID")


@every_side
async def test_wrong_tokens(version: str, side: Role) -> None:
    """A wrong token is 401 everywhere, and a token A opens nothing but the handshake."""
    async with a_scene(version, side, register=False) as scene:
        examiner, token_a = scene.examiner, scene.examiner.token
        wrong = await examiner.ask("GET", scene.platform.versions_url, token="wrong")
        assert (wrong.status, wrong.json["status_code"]) == (401, 2000)
        await examiner.register(scene.platform.versions_url, token_a, examiner.offer(MODULES[side], "107"))
        for (module, _), url in examiner.endpoints.items():
            refused = await examiner.ask("GET", url, token="wrong")
            if refused.status != 405:
                assert (refused.status, refused.json["status_code"]) in ((401, 2000), (404, 2000)), module


@every_side
async def test_second_registration(version: str, side: Role) -> None:
    """A registered partner that registers again is answered 405, and its tokens stay valid."""
    async with a_scene(version, side) as scene:
        examiner = scene.examiner
        url = scene.place("credentials", "SENDER")
        again = await examiner.ask("POST", url, examiner.offer(MODULES[side], "107"))
        assert (again.status, again.json["status_code"]) == (405, 2000)
        assert "PUT" in again.headers["Allow"]
        assert (await examiner.ask("GET", url)).data["token"] == examiner.token


@every_side
async def test_unregister_from_iop(version: str, side: Role) -> None:
    """DELETE of the credentials is answered once; afterwards their token opens nothing."""
    async with a_scene(version, side) as scene:
        url = scene.place("credentials", "SENDER")
        assert (await scene.examiner.ask("DELETE", url)).data in (None, {})
        for method in ("DELETE", "GET"):
            assert (await scene.examiner.ask(method, url)).status == 401


@every_side
async def test_what_is_not_there(version: str, side: Role) -> None:
    """An unknown URL is 404, a wrong method 405 with those that are right; both in an envelope."""
    async with a_scene(version, side) as scene:
        url = scene.place("locations", "SENDER" if side is Role.CPO else "RECEIVER")
        for there in (f"{url}/a/b/c/d/e/f", url.replace("locations", "nothing")):
            missing = await scene.examiner.ask("GET", there)
            assert (missing.status, missing.json["status_code"]) == (404, 2000)
        wrong = await scene.examiner.ask("DELETE", url if side is Role.CPO else f"{url}/FR/CPO/LOC1")
        assert (wrong.status, wrong.json["status_code"]) == (405, 2000)
        assert "GET" in wrong.headers["Allow"]


@every_side
@pytest.mark.parametrize("body", [b"{", b"", b"[1", b"\xff", b'{"a":1,"a":2}', b"NaN"])
async def test_body_that_is_not_json(version: str, side: Role, body: bytes) -> None:
    """A body that is no JSON is HTTP 400, with an envelope."""
    async with a_scene(version, side) as scene:
        module = "tokens" if side is Role.CPO else "locations"
        url = f"{scene.place(module, 'RECEIVER')}/FR/{'EMP' if side is Role.CPO else 'CPO'}/X"
        refused = await scene.examiner.ask("PUT", url, body)
        assert (refused.status, refused.json["status_code"]) == (400, 2001)


# --- pages (A 3, 4, 5, 10, 11, 12, 17) ------------------------------------------------------------------

LINK = re.compile(r'<(https?://[^<>\s]+)>; rel="next"')
PAGED: dict[str, tuple[Role, int, str]] = {
    "locations": (Role.CPO, LOCATIONS, ""),
    "cdrs": (Role.CPO, CDRS, ""),
    "tariffs": (Role.CPO, TARIFFS, ""),
    "sessions": (Role.CPO, SESSIONS, "?date_from=2000-01-01T00:00:00Z"),
    "tokens": (Role.EMSP, TOKENS, ""),
}
REQUIRED = {
    "locations": "id address city country coordinates evses last_updated",
    "cdrs": "id start_date_time auth_method currency total_cost total_energy total_time last_updated",
    "tariffs": "id currency elements last_updated",
    "sessions": "id kwh auth_method currency status last_updated",
    "tokens": "uid type issuer valid whitelist last_updated",
}


def check_page(page: Said, asked: int, limit: int | None) -> str | None:
    """Check a page as the examiner does, and return where the next one is."""
    total, largest = int(page.headers["X-Total-Count"]), int(page.headers["X-Limit"])
    link = page.headers.get("Link")
    more = asked + min(limit or largest, largest) < total
    assert (link is not None) is more, (asked, limit, total, largest, link)
    assert len(page.data) <= min(limit or largest, largest)
    assert all(MOMENT.fullmatch(one) for one in moments_of(page.data))
    found = LINK.fullmatch(link or "")
    assert (found is not None) is more
    return found[1] if found else None


@both_cpos
@pytest.mark.parametrize("module", PAGED)
@pytest.mark.parametrize("limit", [None, 7, 100_000])
async def test_pages(version: str, module: str, limit: int | None) -> None:
    """Following the links from the first page to the last gives each object once, with honest headers."""
    side, count, query = PAGED[module]
    async with a_scene(version, side) as scene:
        url: str | None = scene.place(module, "SENDER") + query
        if limit is not None:
            if count > 300:
                limit = max(limit, 300)
            url = f"{url}{'&' if query else '?'}limit={limit}"
        seen: list[str] = []
        pages = 0
        while url is not None:
            page = await scene.examiner.ask("GET", url)
            pages += 1
            for one in page.data:
                for name in REQUIRED[module].split():
                    assert one.get(name) not in (None, ""), (module, name)
            seen += [one.get("id") or one["uid"] for one in page.data]
            assert int(page.headers["X-Total-Count"]) == count
            offset = int(parse_qs(urlsplit(url).query).get("offset", ["0"])[0])
            url = check_page(page, offset, limit)
        assert len(seen) == len(set(seen)) == count
        assert pages > 1


@both_cpos
async def test_page_queries(version: str) -> None:
    """Dates, offsets and limits are taken in both spellings, and refused with 2001 where they are none."""
    async with a_scene(version, Role.CPO) as scene:
        url = scene.place("locations", "SENDER")
        for query in (
            "date_from=2000-01-01T00:00:00Z",
            "date_from=2000-01-01T00:00:00.000Z&date_to=2100-01-01T00:00:00.000Z",
            "offset=0&limit=1",
        ):
            assert (await scene.examiner.ask("GET", f"{url}?{query}")).data
        empty = await scene.examiner.ask("GET", f"{url}?date_from=2100-01-01T00:00:00Z")
        assert (empty.data, empty.headers["X-Total-Count"]) == ([], "0")
        for query in ("offset=-1", "limit=0", "limit=x", "date_from=yesterday", "offset=1.5"):
            refused = await scene.examiner.ask("GET", f"{url}?{query}")
            assert (refused.status, refused.json["status_code"]) == (200, 2001), query


@both_cpos
async def test_sessions_without_a_date(version: str) -> None:
    """A list of sessions needs a `date_from`: 2001 without it."""
    async with a_scene(version, Role.CPO) as scene:
        refused = await scene.examiner.ask("GET", scene.place("sessions", "SENDER"))
        assert (refused.status, refused.json["status_code"]) == (200, 2001)


# --- what is pushed to an eMSP (A 8, 9, 16; B Push EVSE status, sessions, CDR) --------------------------


@both_emsps
async def test_push_of_an_evse_status(version: str) -> None:
    """A status is taken for a known EVSE; for an unknown one the answer is no success."""
    async with a_scene(version, Role.EMSP) as scene:
        location = plain(scene.one("Location"))
        url = f"{scene.place('locations', 'RECEIVER')}/FR/CPO/{location['id']}"
        evse = location["evses"][0]
        changes = {"status": "CHARGING", "last_updated": "2030-01-01T00:00:00Z"}
        unknown = await scene.examiner.ask("PATCH", f"{url}/{evse['uid']}", changes)
        assert unknown.status != 200 or unknown.json["status_code"] != 1000
        assert (await scene.examiner.ask("PUT", url, location)).data in (None, {})
        for uid in ("NOBODY", "versions"):
            unknown = await scene.examiner.ask("PATCH", f"{url}/{uid}", changes)
            assert (unknown.status, unknown.json["status_code"]) == (404, 2003)
        for _ in range(2):
            assert (await scene.examiner.ask("PATCH", f"{url}/{evse['uid']}", changes)).data in (None, {})
        kept = (await scene.examiner.ask("GET", f"{url}/{evse['uid']}")).data
        assert (kept["status"], kept["uid"]) == ("CHARGING", evse["uid"])


@both_emsps
async def test_unknown_properties(version: str) -> None:
    """Properties that nobody knows are taken, at every level, and come back."""
    async with a_scene(version, Role.EMSP) as scene:
        location = plain(scene.one("Location"))
        location |= {"x_new": {"a": [1, 2.50, None]}}
        location["evses"][0] |= {"x_evse": True}
        url = f"{scene.place('locations', 'RECEIVER')}/FR/CPO/{location['id']}"
        assert (await scene.examiner.ask("PUT", url, location)).data in (None, {})
        kept = (await scene.examiner.ask("GET", url)).data
        assert kept["x_new"] == {"a": [1, 2.5, None]}
        assert kept["evses"][0]["x_evse"] is True


@both_emsps
async def test_ids_that_differ(version: str) -> None:
    """The id in the body is the one in the URL, or 2001; a PATCH may leave it out."""
    async with a_scene(version, Role.EMSP) as scene:
        location = plain(scene.one("Location"))
        url = scene.place("locations", "RECEIVER")
        refused = await scene.examiner.ask("PUT", f"{url}/FR/CPO/OTHER", location)
        assert (refused.status, refused.json["status_code"]) == (200, 2001)
        foreign = await scene.examiner.ask("PUT", f"{url}/FR/EMP/{location['id']}", location)
        assert foreign.status == 404


@both_emsps
async def test_push_of_sessions(version: str) -> None:
    """PENDING, ACTIVE and COMPLETED are taken one after the other, by PUT and PATCH."""
    async with a_scene(version, Role.EMSP) as scene:
        session = plain(scene.one("Session"))
        for name in ("end_date_time", "end_datetime", "charging_periods"):
            session.pop(name, None)
        url = f"{scene.place('sessions', 'RECEIVER')}/FR/CPO/{session['id']}"
        ended = "end_datetime" if version == "2.1.1" else "end_date_time"
        for minute, status in enumerate(("PENDING", "ACTIVE", "COMPLETED")):
            when = f"2031-01-01T00:0{minute}:00Z"
            said = {**session, "status": status, "last_updated": when, "kwh": minute}
            if status == "COMPLETED":
                said[ended] = when
            assert (await scene.examiner.ask("PUT", url, said)).data in (None, {})
            kept = (await scene.examiner.ask("GET", url)).data
            assert (kept["status"], kept["kwh"]) == (status, minute)
        late = {"status": "ACTIVE", "last_updated": "2031-01-01T00:01:30Z"}
        assert (await scene.examiner.ask("PATCH", url, late)).data in (None, {})
        assert (await scene.examiner.ask("GET", url)).data["status"] == "COMPLETED"


@both_emsps
async def test_push_of_a_cdr(version: str) -> None:
    """The answer to a CDR says where it is, absolutely, and there it can be read; it never changes."""
    async with a_scene(version, Role.EMSP) as scene:
        cdr = plain(scene.one("CDR"))
        url = scene.place("cdrs", "RECEIVER")
        places: set[str] = set()
        for _ in range(3):
            posted = await scene.examiner.ask("POST", url, cdr)
            assert posted.data in (None, {})
            places.add(posted.headers["Location"])
        (place,) = places
        assert place.startswith(f"{url}/")
        kept = (await scene.examiner.ask("GET", place)).data
        assert (kept["id"], kept["total_energy"]) == (cdr["id"], cdr["total_energy"])
        missing = await scene.examiner.ask("GET", f"{place}0")
        assert (missing.status, missing.json["status_code"]) == (404, 2000)
        dearer = await scene.examiner.ask("POST", url, {**cdr, "total_energy": 999})
        assert (dearer.status, dearer.json["status_code"]) == (200, 2001)
        assert (await scene.examiner.ask("GET", place)).data["total_energy"] == cdr["total_energy"]


@both_emsps
async def test_push_of_a_tariff(version: str) -> None:
    """A tariff is taken, given back and deleted."""
    async with a_scene(version, Role.EMSP) as scene:
        tariff = plain(scene.one("Tariff"))
        url = f"{scene.place('tariffs', 'RECEIVER')}/FR/CPO/{tariff['id']}"
        assert (await scene.examiner.ask("PUT", url, tariff)).data in (None, {})
        assert (await scene.examiner.ask("GET", url)).data["id"] == tariff["id"]
        assert (await scene.examiner.ask("DELETE", url)).data in (None, {})
        assert (await scene.examiner.ask("GET", url)).status == 404
        assert (await scene.examiner.ask("PUT", url, tariff)).data in (None, {})
        assert (await scene.examiner.ask("GET", url)).data["id"] == tariff["id"]


# --- real-time authorization FromIOP (B) ----------------------------------------------------------------


@both_emsps
async def test_authorization_from_iop(version: str) -> None:
    """A valid token is ALLOWED with its reference; one that is not valid is not; an unknown one is 404."""
    async with a_scene(version, Role.EMSP) as scene:
        url = scene.place("tokens", "SENDER")
        where = {"location_id": "LOC1", "evse_uids": ["E1"]}
        allowed = (await scene.examiner.ask("POST", f"{url}/KNOWN/authorize?type=RFID", where)).data
        assert allowed["allowed"] == "ALLOWED"
        reference = "authorization_id" if version == "2.1.1" else "authorization_reference"
        assert allowed[reference] == "AUTH-1"
        if version == "2.2.1":
            assert (allowed["token"]["uid"], allowed["token"]["type"]) == ("KNOWN", "RFID")
        blocked = (await scene.examiner.ask("POST", f"{url}/BLOCKED/authorize", where)).data
        assert blocked["allowed"] == "BLOCKED"
        assert reference not in blocked
        unknown = await scene.examiner.ask("POST", f"{url}/NOBODY/authorize", where)
        assert (unknown.status, unknown.json["status_code"]) == (404, 2000 if version == "2.1.1" else 2004)
        # Without a body, too.
        assert (await scene.examiner.ask("POST", f"{url}/KNOWN/authorize")).data["allowed"] == "ALLOWED"


# --- tokens and commands at a CPO (A 12, 13; B Push Token) ----------------------------------------------


@both_cpos
async def test_push_of_a_token(version: str) -> None:
    """A token is created, updated and invalidated."""
    async with a_scene(version, Role.CPO) as scene:
        token = plain(scene.one("Token"))
        query = "" if version == "2.1.1" else f"?type={token['type']}"
        url = f"{scene.place('tokens', 'RECEIVER')}/FR/EMP/{token['uid']}{query}"
        assert (await scene.examiner.ask("GET", url)).status == 404
        assert (await scene.examiner.ask("PUT", url, token)).data in (None, {})
        assert (await scene.examiner.ask("GET", url)).data["issuer"] == token["issuer"]
        changed = {**token, "issuer": "Other", "last_updated": "2031-01-01T00:00:00Z"}
        assert (await scene.examiner.ask("PUT", url, changed)).data in (None, {})
        invalid = {"valid": False, "last_updated": "2031-01-01T00:00:01Z"}
        assert (await scene.examiner.ask("PATCH", url, invalid)).data in (None, {})
        kept = (await scene.examiner.ask("GET", url)).data
        assert (kept["issuer"], kept["valid"]) == ("Other", False)


@both_cpos
async def test_command_from_iop(version: str) -> None:
    """START_SESSION is acknowledged with one of the words of its version; its result is posted as it is."""
    async with a_scene(version, Role.CPO) as scene:
        place = f"/{version}/sender/commands/START_SESSION/111-222"
        token = plain(scene.one("Token"))
        command = {
            "response_url": f"{scene.examiner.url}{place}",
            "token": token,
            "location_id": "LOC1",
            "evse_uid": "E1",
        }
        if version == "2.1.1":
            command["authorization_id"] = "aaa-vvv"
        url = scene.place("commands", "RECEIVER")
        answers = [(await scene.examiner.ask("POST", f"{url}/START_SESSION", command)).data for _ in range(2)]
        assert answers[0] == answers[1]
        assert answers[0]["result"] == "ACCEPTED"
        assert ("timeout" in answers[0]) is (version == "2.2.1")
        result = await scene.examiner.was_sent("POST", place)
        assert result.json == {"result": "ACCEPTED"}
        assert result.headers["Authorization"] == scene.examiner.authorization(f"token-b-{version}")
        assert result.headers["Content-Type"] == "application/json"
        refused = await scene.examiner.ask("POST", f"{url}/STOP_SESSION", {"response_url": "no url"})
        assert (refused.status, refused.json["status_code"]) == (200, 2001)


class Slow221(Chargers221):
    """Answers when it is let, and then refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.addressed = 0

    async def start_session(self, ctx: Context, command: v221.StartSession) -> v221.CommandResponse:
        self.addressed += 1
        await self.let.wait()
        return v221.CommandResponse(result=v221.CommandResponseType.REJECTED, timeout=0)


class Slow211(Chargers211):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()
        self.addressed = 0

    async def start_session(self, ctx: Context, command: v211.StartSession) -> v211.CommandResponse:
        self.addressed += 1
        await self.let.wait()
        return v211.CommandResponse(result=v211.CommandResponseType.REJECTED)


@both_cpos
async def test_command_of_a_slow_host(version: str) -> None:
    """A host that is late does not make its command late: it is answered, once, and its outcome is posted."""
    slow = Slow211() if version == "2.1.1" else Slow221()
    async with a_scene(version, Role.CPO, handlers=[slow], command_ack=0.01) as scene:
        place = f"/{version}/sender/commands/START_SESSION/333"
        command = {"response_url": f"{scene.examiner.url}{place}", "token": plain(scene.one("Token"))}
        command |= {"location_id": "LOC1", "evse_uid": "E1"}
        url = f"{scene.place('commands', 'RECEIVER')}/START_SESSION"
        for attempt in range(3):
            answer = (await scene.examiner.ask("POST", url, command)).data
            assert answer["result"] == ("TIMEOUT" if version == "2.1.1" else "ACCEPTED")
            if attempt == 1:
                slow.let.set()
        if version == "2.2.1":
            assert (await scene.examiner.was_sent("POST", place)).json == {"result": "REJECTED"}
        assert slow.addressed == 1


# --- what we send ToIOP (A 1, 2, 4, 9; B Pull Locations, Push Token, Remote start) ----------------------


def check_ours(scene: Scene, request: Said, receiver: str = "107") -> None:
    """Check what the examiner checks of each request that we make."""
    assert request.headers.getall("Authorization") == [
        scene.examiner.authorization(f"token-b-{scene.version}")
    ]
    if request.method in ("GET", "DELETE"):
        assert "Content-Type" not in request.headers
        assert request.body == b""
    else:
        assert request.headers["Content-Type"].partition(";")[0] == "application/json"
    routing = [name for name in request.headers if name.upper().startswith("OCPI-")]
    if scene.version == "2.1.1":
        assert routing == []
    else:
        assert len(routing) == 4
        assert request.headers["OCPI-to-party-id"] == receiver
    assert request.headers["X-Request-ID"]
    assert request.headers["X-Correlation-ID"]
    for name, value in parse_qs(urlsplit(request.path).query).items():
        if name.startswith("date_"):
            assert MOMENT.fullmatch(value[0])
        elif name in ("offset", "limit"):
            assert value[0].isdecimal()


@both_emsps
async def test_pull_to_iop(version: str) -> None:
    """A full pull has no dates and follows the link; a delta has UTC dates in order, at most a month."""
    async with a_scene(version, Role.EMSP) as scene:
        examiner = scene.examiner
        examiner.arrived.clear()
        path = f"/{version}/sender/locations"
        first, second = (plain(one) for one in (scene.one("Location"), scene.one("Location", 1)))
        link = f'<{examiner.url}{path}?offset=1&limit=1>;rel="next"'
        examiner.answer("GET", path, [first], Link=link, X_Total_Count="2", X_Limit="1")
        examiner.answer("GET", path, [second], X_Total_Count="2", X_Limit="1")
        if version == "2.1.1":
            pulled: list[Model] = [one async for one in scene.iop.pull(v211.LocationsCpo.list_locations)]
        else:
            pulled = [one async for one in scene.iop.pull(v221.LocationsSender.list_locations)]
        assert [getattr(one, "id", None) for one in pulled] == [first["id"], second["id"]]
        full = list(examiner.arrived)
        for request in full:
            check_ours(scene, request)
            assert "date_" not in request.path
        assert parse_qs(urlsplit(full[0].path).query).get("offset", ["0"]) == ["0"]
        assert full[1].path == f"{path}?offset=1&limit=1"
        examiner.arrived.clear()
        examiner.answers["GET", path] = [(envelope([]), {"X-Total-Count": "0", "X-Limit": "1"})]
        if version == "2.1.1":
            assert [one async for one in scene.iop.pull(v211.LocationsCpo.list_locations)] == []
        else:
            assert [one async for one in scene.iop.pull(v221.LocationsSender.list_locations)] == []
        assert examiner.arrived
        for request in examiner.arrived:
            check_ours(scene, request)
            asked = parse_qs(urlsplit(request.path).query)
            begin, end = (datetime.fromisoformat(asked[f"date_{one}"][0]) for one in ("from", "to"))
            assert begin < end
            assert (end - begin).days <= 31
            assert begin.tzinfo == end.tzinfo == UTC


@both_emsps
async def test_pull_of_what_is_gone(version: str) -> None:
    """A connector that is left out is gone; EVSEs that are REMOVED, one or all of a place, stay so."""
    async with a_scene(version, Role.EMSP) as scene:
        examiner, kept = scene.examiner, scene.handlers["KeptLocations"].locations
        location = plain(scene.one("Location"))
        (evse,) = location["evses"]
        (connector,) = evse["connectors"]
        path, minute = f"/{version}/sender/locations", 0

        async def pull(*evses: Json, full: bool = False) -> list[tuple[str, str, list[str]]]:
            nonlocal minute
            minute += 1
            now = f"2026-11-01T12:{minute:02}:00Z"
            told = [one | {"last_updated": now} for one in evses]
            examiner.answers.pop(("GET", path), None)
            examiner.answer("GET", path, [location | {"evses": told, "last_updated": now}], X_Total_Count="1")
            pulled: Any = (
                scene.iop.pull(v211.LocationsCpo.list_locations, full=full)
                if version == "2.1.1"
                else scene.iop.pull(v221.LocationsSender.list_locations, full=full)
            )
            await kept.absorb("iop", pulled, owner=PartyId("FR", "CPO") if version == "2.1.1" else None)
            (one,) = [found async for found in kept.all("iop")]
            return [
                (each.uid, str(each.status), [socket.id for socket in each.connectors]) for each in one.evses
            ]

        two = [connector | {"id": "1"}, connector | {"id": "2"}]
        first = evse | {"uid": "E1", "status": "AVAILABLE", "connectors": two}
        second = first | {"uid": "E2"}
        assert await pull(first, second) == [
            ("E1", "AVAILABLE", ["1", "2"]),
            ("E2", "AVAILABLE", ["1", "2"]),
        ]
        first["connectors"] = two[:1]
        assert await pull(first, second, full=True) == [
            ("E1", "AVAILABLE", ["1"]),
            ("E2", "AVAILABLE", ["1", "2"]),
        ]
        second["status"] = "REMOVED"
        assert [status for _, status, _ in await pull(first, second)] == ["AVAILABLE", "REMOVED"]
        first["status"] = "REMOVED"
        assert [status for _, status, _ in await pull(first, second)] == ["REMOVED", "REMOVED"]


@both_emsps
async def test_push_token_to_iop(version: str) -> None:
    """A token goes to the URL of its own owner and uid, with a body that says the same."""
    async with a_scene(version, Role.EMSP) as scene:
        scene.examiner.arrived.clear()
        token = scene.one("Token")
        if version == "2.1.1":
            ref211 = v211.TokenRef("FR", "EMP", token.uid)
            await scene.iop.call(v211.TokensCpo.put_token, ref211, token)
            await scene.iop.call(v211.TokensCpo.patch_token, ref211, Patch(v211.Token, {"valid": False}))
        else:
            ref221 = v221.TokenRef("FR", "EMP", token.uid, token.type)
            invalid = Patch(v221.Token, {"valid": False, "last_updated": token.last_updated})
            await scene.iop.call(v221.TokensReceiver.put_token, ref221, token)
            await scene.iop.call(v221.TokensReceiver.patch_token, ref221, invalid)
        for request in scene.examiner.arrived:
            check_ours(scene, request)
            place = urlsplit(request.path)
            assert place.path == f"/{version}/receiver/tokens/FR/EMP/{token.uid}"
            if version == "2.2.1":
                assert parse_qs(place.query) == {"type": [token.type]}
        put, patch = scene.examiner.arrived
        assert (put.json["uid"], put.json["type"], patch.json["valid"]) == (token.uid, token.type, False)


@both_cpos
async def test_push_to_iop(version: str) -> None:
    """A CPO's location, EVSE status, session and CDR go where their owner and ids say."""
    async with a_scene(version, Role.CPO) as scene:
        scene.examiner.arrived.clear()
        location, session, cdr = (scene.one(kind) for kind in ("Location", "Session", "CDR"))
        evse = location.evses[0]
        call = scene.iop.call
        if version == "2.1.1":
            place211 = v211.LocationRef("FR", "CPO", location.id)
            await call(v211.LocationsEmsp.put_location, place211, location)
            spot211 = v211.EvseRef("FR", "CPO", location.id, evse.uid)
            status211 = Patch(v211.EVSE, {"status": v211.Status.CHARGING})
            await call(v211.LocationsEmsp.patch_evse, spot211, status211)
            await call(v211.SessionsEmsp.put_session, v211.SessionRef("FR", "CPO", session.id), session)
            await call(v211.CdrsEmsp.post_cdr, cdr)
        else:
            place221 = v221.LocationRef("FR", "CPO", location.id)
            await call(v221.LocationsReceiver.put_location, place221, location)
            spot221 = v221.EvseRef("FR", "CPO", location.id, evse.uid)
            said = {"status": v221.Status.CHARGING, "last_updated": evse.last_updated}
            await call(v221.LocationsReceiver.patch_evse, spot221, Patch(v221.EVSE, said))
            await call(v221.SessionsReceiver.put_session, v221.SessionRef("FR", "CPO", session.id), session)
            await call(v221.CdrsReceiver.post_cdr, cdr)
        base = f"/{version}/receiver"
        assert [(one.method, one.path) for one in scene.examiner.arrived] == [
            ("PUT", f"{base}/locations/FR/CPO/{location.id}"),
            ("PATCH", f"{base}/locations/FR/CPO/{location.id}/{evse.uid}"),
            ("PUT", f"{base}/sessions/FR/CPO/{session.id}"),
            ("POST", f"{base}/cdrs"),
        ]
        for request in scene.examiner.arrived:
            check_ours(scene, request)
            assert all(MOMENT.fullmatch(one) for one in moments_of(request.json))


@both_emsps
async def test_remote_start_to_iop(version: str) -> None:
    """A START_SESSION of ours has what IOP needs, and its result is taken where it says."""
    async with a_scene(version, Role.EMSP) as scene:
        examiner = scene.examiner
        examiner.arrived.clear()
        accepted = {"result": "ACCEPTED"} | ({"timeout": 30} if version == "2.2.1" else {})
        path = f"/{version}/receiver/commands/START_SESSION"
        examiner.answer("POST", path, accepted)
        answered: list[Said] = []

        async def answer() -> None:
            sent = (await examiner.was_sent("POST", path)).json
            answered.append(await examiner.ask("POST", sent["response_url"], {"result": "ACCEPTED"}))

        posting = asyncio.create_task(answer())
        commands, token = scene.handlers["EmspCommands"], scene.one("Token")
        # A command of 2.2.1 names the CPO; in 2.1.1 IOP knows it.
        whose = {} if version == "2.1.1" else {"cpo": CPO.id}
        done = await commands.send_start(scene.iop, token, "LOC1", "E1", reference="AUTH-1", **whose)
        await posting
        assert done.succeeded
        assert answered[0].data in (None, {})
        sent = await examiner.was_sent("POST", path)
        check_ours(scene, sent, receiver="CPO")
        command = sent.json
        assert (command["location_id"], command["evse_uid"]) == ("LOC1", "E1")
        assert command["token"]["uid"] == token.uid
        assert command["response_url"].startswith(f"{scene.platform.public_url}/")
        assert len(command["response_url"]) <= 255
