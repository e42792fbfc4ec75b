"""An e-mobility service provider (eMSP) that roams through GIREVE's hub in OCPI 2.2.1 and 2.1.1, in one file.

It serves its tokens, authorizes drivers in real time, keeps what the hub sends in the file that `--database`
names, and starts and stops sessions from afar. Put your drivers where `Emsp` keeps its tokens. What differs
between the versions is in the classes that have 2.1.1 twins.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import socket
import sys
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from aiohttp import web
from attrs import evolve

from ocpi_gireve import Connection, Context, Party, Platform, Role, convert, gireve, v211, v221
from ocpi_gireve.commands import AnyCommanded, EmspCommands
from ocpi_gireve.commands import v211 as commands_211
from ocpi_gireve.errors import NotEnoughInformation, NotRegistered, OcpiError, UnknownToken
from ocpi_gireve.profile import Profile
from ocpi_gireve.receivers import Absorbed, KeptCdrs, KeptLocations, KeptSessions, KeptTariffs, OwnTokens
from ocpi_gireve.receivers import v211 as receivers_211
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.store import MemoryStore, SqliteStore, Store
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.types import PartyId, ci_key, utc_now

US = ("FR", "EMP")
PARTNER = gireve.SIMULATOR  # on this machine, without TLS; the hub itself is gireve.PREPRODUCTION

CONSOLE = """lines on standard input:
  start UID CPO LOCATION EVSE  start a session, such as: start 04A1B201 FR*CPO LOC0001 0001-1
  stop CPO SESSION             stop a session
  block UID                    let a token charge no more, and send it
  allow UID                    let it charge again
  push                         send every token
  pull MODULE [full]           fetch what is new: locations, tariffs; in 2.1.1 sessions and cdrs, too
  update                       exchange new credentials with the hub
  unregister                   end the registration
"""

T = TypeVar("T", v211.Token, v221.Token)


class Emsp:
    """Our drivers' tokens, in 2.2.1 and beside it in 2.1.1, and what we ask of the hub."""

    def __init__(self, public_url: str, store: Store, partner: Profile) -> None:
        # By `ci_key` of the uid; no two of ours have the same.
        self.tokens, self.tokens_211 = dict[str, v221.Token](), dict[str, v211.Token]()
        for number in range(1, TOKENS + 1):
            self.keep(a_token(number))
        self.in_221, self.in_211 = In221(self, store), In211(self, store)
        self.platform = Platform(
            public_url=public_url,
            parties=[Party(*US, Role.EMSP, name="Example eMSP")],
            handlers=[
                Tokens(self.tokens),
                self.in_221.kept,
                self.in_221.commands,
                Tokens211(self.tokens_211),
                self.in_211.kept,
                self.in_211.commands,
            ],
            store=store,
            profiles=[partner],
        )

    def keep(self, token: v221.Token) -> None:
        """Keep a token in both versions. 2.1.1 has no APP_USER: it becomes OTHER."""
        self.tokens[ci_key(token.uid)] = token
        self.tokens_211[ci_key(token.uid)] = convert.token_to_211(token).value

    def words(self, hub: Connection) -> In221 | In211:
        """Return what speaks the version of a connection."""
        return self.in_211 if hub.record.version == "2.1.1" else self.in_221

    def hubs(self) -> list[Connection]:
        """Return the connections to the hub: several, where it registered in both versions at once."""
        found = [one for one in self.platform.connections() if one.record.version]
        if not found:
            raise NotRegistered("no hub has registered")
        return found

    async def obey(self, line: str) -> None:
        """Do what a line of the console says."""
        try:
            match line.split():
                case ["start", uid, cpo, location, evse] if token := self.tokens.get(ci_key(uid)):
                    if not token.valid:
                        raise ValueError("the token is blocked")  # a CPO takes it for authorized
                    hub, owner = self.hubs()[0], PartyId.parse(cpo)
                    print(await self.words(hub).start(hub, ci_key(uid), owner, location, evse), flush=True)
                case ["stop", cpo, session]:
                    hub = self.hubs()[0]
                    print(await self.words(hub).stop(hub, PartyId.parse(cpo), session), flush=True)
                case ["block" | "allow" as what, uid] if token := self.tokens.get(ci_key(uid)):
                    self.keep(evolve(token, valid=what == "allow", last_updated=utc_now()))
                    for hub in self.hubs():
                        await self.words(hub).send(hub, ci_key(uid))
                case ["push"]:
                    for hub in self.hubs():
                        for uid in self.tokens:
                            await self.words(hub).send(hub, uid)
                case ["pull", module, *how] if how in ([], ["full"]):
                    for hub in self.hubs():
                        news = await self.words(hub).pull(hub, module, full=bool(how))
                        print(
                            f"{module}: {news.received}, of them new {news.changed}, gone {news.removed}",
                            flush=True,
                        )
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


def asked(token: T | None, location: object) -> T:
    """Return the token that a CPO asks about.

    Raises:
        UnknownToken: HTTP 404, in 2.2.1 with OCPI 2004.
        NotEnoughInformation: OCPI 2002.
    """
    if token is None:
        raise UnknownToken
    if location is None:
        raise NotEnoughInformation("name the location")
    return token


def outcome(done: AnyCommanded) -> str:
    """Say what became of a command."""
    if done.timed_out:
        return "no result came in time: the car may charge, or not"
    said = done.result or done.response
    return f"{type(done.command).__name__}: {said.result if said else 'lost'}"


def show_location(location: v221.Location | v211.Location) -> None:
    """Say how a location's EVSEs stand."""
    statuses = ", ".join(f"{evse.uid} {evse.status}" for evse in location.evses)
    print(f"location {location.id}: {statuses or 'no EVSE'}", flush=True)


def show_session(session: v221.Session | v211.Session) -> None:
    """Say how a session stands; never its token, which is personal."""
    print(f"session {session.id}: {session.status}, {session.kwh} kWh", flush=True)


# --- 2.2.1 ---


class Tokens(OwnTokens):
    """Serves our tokens, and decides who may charge."""

    def __init__(self, tokens: dict[str, v221.Token]) -> None:
        super().__init__(tokens.values())
        self.tokens = tokens

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        """Decide whether a driver may charge. The CPO waits for it, and the driver at the charger too."""
        found = self.tokens.get(ci_key(ref.token_uid))
        token = asked(found if found and found.type is ref.type else None, location)
        if not token.valid:
            return v221.AuthorizationInfo(allowed=v221.AllowedType.BLOCKED, token=token)
        # Session and CDR come back with this reference: it tells which authorization they belong to.
        return v221.AuthorizationInfo(
            allowed=v221.AllowedType.ALLOWED,
            token=token,
            location=location,
            authorization_reference=str(uuid.uuid4()),
        )


class Kept(KeptLocations, KeptTariffs, KeptSessions, KeptCdrs):
    """Keeps what the hub sends, and says what it is; a CDR comes here once, however often it is posted."""

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        """Show a location."""
        show_location(location)

    async def session_changed(self, ctx: Context, session: v221.Session) -> None:
        """Show a session."""
        show_session(session)

    async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
        """Show what is to be billed."""
        cost = f"{cdr.total_cost.excl_vat} {cdr.currency} without VAT"
        print(f"CDR {cdr.id}: {cdr.total_energy} kWh, {cost}", flush=True)


class In221:
    """What we ask of a hub that speaks 2.2.1."""

    def __init__(self, emsp: Emsp, store: Store) -> None:
        self.emsp, self.kept, self.commands = emsp, Kept(store), EmspCommands()

    async def start(self, hub: Connection, uid: str, cpo: PartyId, location: str, evse: str) -> str:
        """Start a session, and say what became of it."""
        return outcome(await self.commands.send_start(hub, self.emsp.tokens[uid], location, evse, cpo=cpo))

    async def stop(self, hub: Connection, cpo: PartyId, session: str) -> str:
        """Stop a session, and say what became of it."""
        return outcome(await self.commands.send_stop(hub, session, cpo=cpo))

    async def send(self, hub: Connection, uid: str) -> None:
        """Send a token. It is in the store then, and leaves in order however long the hub is down."""
        token = self.emsp.tokens[uid]
        await hub.upload(v221.TokensReceiver.put_token, v221.TokenRef(*US, token.uid, token.type), token)

    async def pull(self, hub: Connection, module: str, *, full: bool) -> Absorbed:
        """Keep what is new."""
        match module:
            case "locations":
                listed = hub.pull(v221.LocationsSender.list_locations, full=full)
                return await self.kept.locations.absorb(hub.id, listed)
            case "tariffs":
                return await self.kept.tariffs.absorb(
                    hub.id, hub.pull(v221.TariffsSender.list_tariffs, full=full)
                )
            case _:
                raise ValueError("not understood: through GIREVE 2.2.1 has locations and tariffs")


# --- 2.1.1 ---


class Tokens211(receivers_211.OwnTokens):
    """The same in 2.1.1."""

    def __init__(self, tokens: dict[str, v211.Token]) -> None:
        super().__init__({PartyId(*US): tokens.values()})
        self.tokens = tokens

    async def authorize(
        self, ctx: Context, ref: v211.OwnTokenRef, location: v211.LocationReferences | None = None
    ) -> v211.AuthorizationInfo:
        """Decide whether a driver may charge."""
        found = self.tokens.get(ci_key(ref.token_uid))
        token = asked(found if found and found.type is ref.type else None, location)
        if not token.valid:
            return v211.AuthorizationInfo(allowed=v211.Allowed.BLOCKED)
        return v211.AuthorizationInfo(
            allowed=v211.Allowed.ALLOWED, location=location, authorization_id=str(uuid.uuid4())
        )


class Kept211(
    receivers_211.KeptLocations,
    receivers_211.KeptTariffs,
    receivers_211.KeptSessions,
    receivers_211.KeptCdrs,
):
    """The same in 2.1.1, where an object does not say whose it is."""

    async def location_changed(self, ctx: Context, owner: PartyId, location: v211.Location) -> None:
        """Show a location."""
        show_location(location)

    async def session_changed(self, ctx: Context, owner: PartyId, session: v211.Session) -> None:
        """Show a session."""
        show_session(session)

    async def cdr_received(self, ctx: Context, owner: PartyId, cdr: v211.CDR) -> None:
        """Show what is to be billed."""
        cost = f"{cdr.total_cost} {cdr.currency} without VAT"
        print(f"CDR {cdr.id}: {cdr.total_energy} kWh, {cost}", flush=True)


class In211:
    """What we ask of a hub that speaks 2.1.1."""

    def __init__(self, emsp: Emsp, store: Store) -> None:
        self.emsp, self.kept, self.commands = emsp, Kept211(store), commands_211.EmspCommands()

    async def start(self, hub: Connection, uid: str, cpo: PartyId, location: str, evse: str) -> str:
        """Start a session, and say what became of it. The hub knows whose location it is."""
        return outcome(await self.commands.send_start(hub, self.emsp.tokens_211[uid], location, evse))

    async def stop(self, hub: Connection, cpo: PartyId, session: str) -> str:
        """Stop a session, and say what became of it."""
        return outcome(await self.commands.send_stop(hub, session))

    async def send(self, hub: Connection, uid: str) -> None:
        """Send a token."""
        token = self.emsp.tokens_211[uid]
        await hub.upload(v211.TokensCpo.put_token, v211.TokenRef(*US, token.uid), token)

    async def pull(self, hub: Connection, module: str, *, full: bool) -> Absorbed:
        """Keep what is new."""
        match module:
            case "locations":
                listed = hub.pull(v211.LocationsCpo.list_locations, full=full)
                return await self.kept.locations.absorb(hub.id, listed)
            case "tariffs":
                return await self.kept.tariffs.absorb(
                    hub.id, hub.pull(v211.TariffsCpo.list_tariffs, full=full)
                )
            case "cdrs":
                return await self.kept.cdrs.absorb(hub.id, hub.pull(v211.CdrsCpo.list_cdrs, full=full))
            case "sessions":
                week = utc_now() - timedelta(days=7)  # they are given by dates only
                sessions = hub.pull(v211.SessionsCpo.list_sessions, since=week)
                return await self.kept.sessions.absorb(hub.id, sessions)
            case _:
                raise ValueError("not understood")


# --- what an eMSP has in its database ---

SINCE = datetime(2025, 1, 1, tzinfo=UTC)
TOKENS = 1050  # more than a page


def a_token(number: int) -> v221.Token:
    """Make a token: a card with a 4 or a 7 byte uid, or the user of an app; every tenth one is blocked."""
    kinds = {0: f"app-user-{number:05}", 1: f"{0x04A1B200 + number:08X}"}
    in_app = number % 4 == 0
    return v221.Token(
        country_code=US[0],
        party_id=US[1],
        uid=kinds.get(number % 4, f"{0x04A1B2C3D4E500 + number:014X}"),  # 8 or 14 hexadecimal digits
        type=v221.TokenType.APP_USER if in_app else v221.TokenType.RFID,
        contract_id=f"FR-EMP-C{number:08}",
        visual_number=None if in_app else f"EMP {number:06}",
        issuer="Example eMSP",
        valid=number % 10 != 0,
        whitelist=v221.WhitelistType.NEVER,  # always ask us
        language="fr",
        last_updated=SINCE + timedelta(hours=number),
    )


# --- the program ---


def main() -> None:
    """Serve until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(
        description="An example eMSP that speaks OCPI 2.2.1 and 2.1.1.",
        epilog=CONSOLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8002, help="port to listen on; 0: a free one")
    parser.add_argument("--version", choices=["2.1.1", "2.2.1"], help="version of OCPI; default: both")
    parser.add_argument("--database", metavar="PATH", help="SQLite file to keep everything in")
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
    emsp = Emsp(public_url, store, partner)
    platform = emsp.platform

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
        platform.spawn(emsp.obey(line))

    app = platform.aiohttp_app()
    app.on_startup.append(connect)
    try:
        with listener:
            web.run_app(app, sock=listener, access_log=None, print=None, shutdown_timeout=2)
    except (OcpiError, ValueError) as error:
        sys.exit(f"cannot start: {error}")


if __name__ == "__main__":
    main()
