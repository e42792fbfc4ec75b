"""An e-mobility service provider (eMSP) that roams through GIREVE's hub, in one file.

It serves its tokens, authorizes drivers in real time, and keeps the locations, sessions and CDRs that the hub
sends. What is kept is kept in memory: put your database where `authorize` and the `Kept...` classes stand.
"""

from __future__ import annotations

import argparse
import socket
import sys
import uuid
from datetime import UTC, datetime, timedelta

from aiohttp import web

from ocpi_gireve import Context, Party, Platform, Role, gireve, v221
from ocpi_gireve.errors import NotEnoughInformation, OcpiError, UnknownToken
from ocpi_gireve.pagination import Link, Page, PageQuery, page_of
from ocpi_gireve.receivers import KeptCdrs, KeptLocations, KeptSessions
from ocpi_gireve.registration import PIN_FIRST
from ocpi_gireve.store import MemoryStore, SqliteStore, Store
from ocpi_gireve.store.records import ConnectionState
from ocpi_gireve.types import ci_key

US = ("FR", "EMP")
PARTNER = gireve.SIMULATOR  # on this machine, without TLS; the hub itself is gireve.PREPRODUCTION


class Tokens(v221.TokensSender):
    """Our drivers' cards and apps. Partners list them, and ask before a driver charges."""

    def __init__(self) -> None:
        self.tokens = {(token.type, ci_key(token.uid)): token for token in some_tokens()}

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[v221.Token]:
        """Return one page of the tokens."""
        return page_of([one for one in self.tokens.values() if query.covers(one.last_updated)], query)

    async def authorize(
        self, ctx: Context, ref: v221.OwnTokenRef, location: v221.LocationReferences | None = None
    ) -> v221.AuthorizationInfo:
        """Decide whether a driver may charge. The CPO waits for it, and the driver at the charger too."""
        token = self.tokens.get((ref.type, ci_key(ref.token_uid)))
        if token is None:
            raise UnknownToken  # HTTP 404, OCPI 2004
        if location is None:
            raise NotEnoughInformation("name the location")  # OCPI 2002
        if not token.valid:
            return v221.AuthorizationInfo(allowed=v221.AllowedType.BLOCKED, token=token)
        # Session and CDR come back with this reference: it tells which authorization they belong to.
        return v221.AuthorizationInfo(
            allowed=v221.AllowedType.ALLOWED,
            token=token,
            location=location,
            authorization_reference=str(uuid.uuid4()),
        )


class Commands(v221.CommandsSender):
    """Takes the results of the commands that we sent."""

    async def post_result(self, ctx: Context, link: Link, result: v221.CommandResult) -> None:
        """Take the outcome of one command; the link is the path that `Connection.callback` was given."""
        print(f"command {link.url}: {result.result}", flush=True)


class Locations(KeptLocations):
    """Keeps locations, and says what changed."""

    async def location_changed(self, ctx: Context, location: v221.Location) -> None:
        """Show the statuses of the location's EVSEs."""
        statuses = ", ".join(f"{evse.uid} {evse.status}" for evse in location.evses)
        print(f"location {location.id}: {statuses or 'no EVSE'}", flush=True)


class Sessions(KeptSessions):
    """Keeps sessions, and says how they stand."""

    async def session_changed(self, ctx: Context, session: v221.Session) -> None:
        """Show the session; never its token, which is personal."""
        print(f"session {session.id}: {session.status}, {session.kwh} kWh", flush=True)


class Cdrs(KeptCdrs):
    """Keeps CDRs; each comes here once, though a hub that missed our answer posts it again."""

    async def cdr_received(self, ctx: Context, cdr: v221.CDR) -> None:
        """Show what is to be billed."""
        cost = f"{cdr.total_cost.excl_vat} {cdr.currency} without VAT"
        print(f"CDR {cdr.id}: {cdr.total_energy} kWh, {cost}", flush=True)


# --- what an eMSP has in its database ---

SINCE = datetime(2026, 1, 1, tzinfo=UTC)


def some_tokens() -> list[v221.Token]:
    """Make 40 tokens: cards with 4 and with 7 byte uids, app users; every tenth one is blocked."""
    return [a_token(number) for number in range(1, 41)]


def a_token(number: int) -> v221.Token:
    """Make a token. The uid of a card is its hexadecimal UID, 8 or 14 characters with leading zeros."""
    kinds = {0: f"app-user-{number:05}", 1: f"{0x04A1B200 + number:08X}"}
    in_app = number % 4 == 0
    return v221.Token(
        country_code=US[0],
        party_id=US[1],
        uid=kinds.get(number % 4, f"{0x04A1B2C3D4E500 + number:014X}"),
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
    parser = argparse.ArgumentParser(description="An example eMSP that speaks OCPI 2.2.1.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=8002, help="port to listen on; 0: a free one")
    parser.add_argument("--version", choices=["2.2.1"], default="2.2.1", help="version of OCPI")
    parser.add_argument("--database", metavar="PATH", help="SQLite file to keep connections and uploads in")
    parser.add_argument("--token-a", metavar="TOKEN", help="what a partner registers with; default: new")
    parser.add_argument("--register", metavar="URL", help="register with the partner at this versions URL")
    parser.add_argument("--register-token", metavar="TOKEN", help="the token A that this partner gave us")
    options = parser.parse_args()
    if not 0 <= options.port <= 65535:
        parser.error("--port: expected 0 to 65535")
    if (options.register is None) != (options.register_token is None):
        parser.error("--register and --register-token belong together")
    try:
        # Bound before anything else, because every URL that we hand out names the port.
        listener = socket.create_server((options.host, options.port))
    except OSError as error:
        parser.error(f"cannot listen on {options.host}, port {options.port}: {error}")
    store: Store = SqliteStore(options.database) if options.database else MemoryStore()
    platform = Platform(
        public_url=f"http://{options.host}:{listener.getsockname()[1]}/ocpi",
        parties=[Party(*US, Role.EMSP, name="Example eMSP")],
        handlers=[Tokens(), Commands(), Locations(), Sessions(), Cdrs()],
        store=store,
        profiles=[PARTNER],
    )

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
