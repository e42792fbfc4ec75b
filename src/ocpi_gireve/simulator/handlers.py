"""What IOP does with each message: check it, store it, replace ids, pass it on; knows no HTTP."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from string import hexdigits
from typing import Any, TypeVar, cast

from .._model import Model, replaced
from ..connection import Connection
from ..context import Context
from ..errors import (
    HubError,
    HubTimeout,
    InvalidParameters,
    MethodNotAllowed,
    NoAnswer,
    NotEnoughInformation,
    NotRegistered,
    NotSent,
    OcpiError,
    Problem,
    ReceiverNotConnected,
    StatusError,
    UnknownObject,
    UnknownReceiver,
    UnknownToken,
    UrlRefused,
    status_error,
)
from ..http import UrlPolicy
from ..pagination import Link, Page, PageQuery
from ..patch import Patch
from ..receivers import LocationBook
from ..store import Store
from ..types import PartyId, Role, ci_equal
from ..v221 import (
    CDR,
    EVSE,
    AllowedType,
    AuthorizationInfo,
    CdrsReceiver,
    CommandResponse,
    CommandResponseType,
    CommandResult,
    CommandsReceiver,
    CommandsSender,
    Connector,
    ConnectorRef,
    EvseRef,
    Location,
    LocationRef,
    LocationReferences,
    LocationsReceiver,
    OwnTokenRef,
    Session,
    SessionRef,
    SessionsReceiver,
    StartSession,
    Status,
    StopSession,
    Token,
    TokensSender,
    TokenType,
)
from .commands import StartAndStopOnly
from .locations import ServedLocations, page_within
from .memory import BookedLocations, KnownCdrs, KnownSessions
from .roaming import Aliases, Command, Commands, Roaming

log = logging.getLogger("ocpi_gireve.simulator")

M = TypeVar("M", bound=Model)

RFID_LENGTHS = (8, 14)
"""Characters of an RFID uid: the hexadecimal form of 4 or 7 bytes. (2.2.1 guide, RFID Tokens)"""


# --- from CPOs: locations, sessions, CDRs --------------------------------------------------------------


class IopLocations(BookedLocations):
    """Takes what CPOs push and passes what is new on to every eMSP under contract, in the same order."""

    def __init__(self, book: LocationBook, roaming: Roaming) -> None:
        super().__init__(book)
        self._roaming = roaming
        self._one_at_a_time = asyncio.Lock()

    async def put_location(self, ctx: Context, ref: LocationRef, location: Location) -> None:
        """Store the location and pass it on."""
        shown = shown_location(location)
        await self._take(
            ctx,
            ref,
            lambda: self.book.put(location),
            lambda emsp: emsp.upload(LocationsReceiver.put_location, ref, shown),
        )

    async def put_evse(self, ctx: Context, ref: EvseRef, evse: EVSE) -> None:
        """Store the EVSE and pass it on."""
        shown = shown_evse(_owner(ref), ref.location_id, evse)
        await self._take(
            ctx,
            ref,
            lambda: self._changes_evse(ref, lambda: self.book.put_evse(ref, evse)),
            lambda emsp: emsp.upload(LocationsReceiver.put_evse, ref, shown),
        )

    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        """Store the connector and pass it on."""
        shown = shown_connector(_owner(ref), ref.location_id, ref.evse_uid, connector)
        await self._take(
            ctx,
            ref,
            lambda: self.book.put_connector(ref, connector),
            lambda emsp: emsp.upload(LocationsReceiver.put_connector, ref, shown),
        )

    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        """Change the location and pass the change on."""
        shown = _shown_in(changes, "evses", lambda evse: shown_evse(_owner(ref), ref.location_id, evse))
        await self._take(
            ctx,
            ref,
            lambda: self.book.patch_location(ref, changes),
            lambda emsp: emsp.upload(LocationsReceiver.patch_location, ref, shown),
        )

    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        """Change the EVSE, its status above all, and pass the change on."""
        cpo = _owner(ref)
        shown = _shown_in(
            changes,
            "connectors",
            lambda connector: shown_connector(cpo, ref.location_id, ref.evse_uid, connector),
        )
        await self._take(
            ctx,
            ref,
            lambda: self._changes_evse(ref, lambda: self.book.patch_evse(ref, changes)),
            lambda emsp: emsp.upload(LocationsReceiver.patch_evse, ref, shown),
        )

    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        """Change the connector and pass the change on."""
        await self._take(
            ctx,
            ref,
            lambda: self.book.patch_connector(ref, changes),
            lambda emsp: emsp.upload(LocationsReceiver.patch_connector, ref, changes),
        )

    def _changes_evse(self, ref: EvseRef, change: Callable[[], bool]) -> bool:
        """Change an EVSE; tell whether more than its date is new.

        "If a CPO sends several times in a row the same EVSE status for an EVSE, IOP takes into account and
        forwards the first, but ignores the following ones." (2.2.1 guide, IOP is a "HUB")
        """
        there = self.book.get(ref).evses
        before = next((evse for evse in there if ci_equal(evse.uid, ref.evse_uid)), None)
        if not change():
            return False
        after = self.book.evse(ref)
        return before is None or replaced(after, {"last_updated": before.last_updated}) != before

    async def _take(
        self,
        ctx: Context,
        ref: LocationRef | EvseRef | ConnectorRef,
        change: Callable[[], bool],
        pass_on: Callable[[Connection], Awaitable[int]],
    ) -> None:
        self._roaming.require_hub(ctx)
        cpo = self._roaming.asking(ctx, Role.CPO)
        async with self._one_at_a_time:
            if not change():
                return
            for emsp, connection in self._roaming.emsps_of(cpo, LocationsReceiver):
                await pass_on(connection.routed(sender=_owner(ref), receiver=emsp, following=ctx))


class IopSessions(KnownSessions):
    """Takes a CPO's sessions and passes them on to the eMSP of the token, under IOP's ids."""

    def __init__(self, store: Store, roaming: Roaming, aliases: Aliases, references: Aliases) -> None:
        super().__init__(store)
        self._roaming, self._aliases, self._references = roaming, aliases, references
        self._one_at_a_time = asyncio.Lock()

    async def put_session(self, ctx: Context, ref: SessionRef, session: Session) -> None:
        """Store the session and pass it on."""
        self._roaming.require_hub(ctx)
        self._roaming.asking(ctx, Role.CPO)
        async with self._one_at_a_time:
            await super().put_session(ctx, ref, session)

    async def patch_session(self, ctx: Context, ref: SessionRef, changes: Patch[Session]) -> None:
        """Refuse: PATCH is not implemented by IOP. (2.2.1 guide, PATCH Sessions)"""
        raise MethodNotAllowed("PATCH Sessions is not implemented; PUT the whole session")

    async def session_changed(self, ctx: Context, session: Session) -> None:
        """Pass the session on, as a whole."""
        await super().session_changed(ctx, session)
        cpo, emsp = _owner(session), PartyId(session.cdr_token.country_code, session.cdr_token.party_id)
        shown = replaced(
            session,
            {
                "id": self._aliases.shown(cpo, session.id),
                "authorization_reference": _original(self._references, emsp, session.authorization_reference),
            },
        )
        ref = SessionRef(session.country_code, session.party_id, shown.id)
        for party, connection in self._roaming.emsps_of(cpo, SessionsReceiver):
            if party == emsp:
                view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
                await view.upload(SessionsReceiver.put_session, ref, shown)
                return
        log.info("a session of %s is kept, not passed on: %s takes none from it", cpo, emsp)

    def original(self, emsp: PartyId, cpo: PartyId, shown: str) -> str | None:
        """Return the CPO's id of a session that was shown to an eMSP; None where it was shown none such."""
        owner, theirs = self._aliases.original(shown) or (None, "")
        if owner != cpo:
            return None
        try:
            token = self.recall(SessionRef(cpo.country_code, cpo.party_id, theirs)).cdr_token
        except UnknownObject:
            return None
        return theirs if PartyId(token.country_code, token.party_id) == emsp else None


class IopCdrs(KnownCdrs):
    """Takes a CPO's CDRs and passes them on to the eMSP of the token."""

    def __init__(self, store: Store, roaming: Roaming, aliases: Aliases, references: Aliases) -> None:
        super().__init__(store)
        self._roaming, self._aliases, self._references = roaming, aliases, references

    async def post_cdr(self, ctx: Context, cdr: CDR) -> Link:
        """Store the CDR and pass it on."""
        self._roaming.require_hub(ctx)
        self._roaming.asking(ctx, Role.CPO)
        return await super().post_cdr(ctx, cdr)

    async def cdr_received(self, ctx: Context, cdr: CDR) -> None:
        """Pass the CDR on, unless it is a credit CDR, which IOP ignores. (2.2.1 guide, CreditCDR)"""
        await super().cdr_received(ctx, cdr)
        cpo, emsp = _owner(cdr), PartyId(cdr.cdr_token.country_code, cdr.cdr_token.party_id)
        if cdr.credit:
            log.info("a credit CDR of %s is kept, not passed on", cpo)
            return
        shown = replaced(
            cdr,
            {
                "session_id": None if cdr.session_id is None else self._aliases.shown(cpo, cdr.session_id),
                "authorization_reference": _original(self._references, emsp, cdr.authorization_reference),
                # What IOP never sends to an eMSP. (2.2.1 guide, eMSP)
                "credit": None,
                "credit_reference_id": None,
                "home_charging_compensation": None,
            },
        )
        for party, connection in self._roaming.emsps_of(cpo, CdrsReceiver):
            if party == emsp:
                view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
                await view.upload(CdrsReceiver.post_cdr, shown)
                return
        log.info("a CDR of %s is kept, not passed on: %s takes none from it", cpo, emsp)


# --- from CPOs: authorizations -------------------------------------------------------------------------


class IopTokens(TokensSender):
    """Routes a CPO's real-time authorization to the eMSP that knows the token."""

    def __init__(self, book: LocationBook, roaming: Roaming, references: Aliases) -> None:
        self._book, self._roaming, self._references = book, roaming, references

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        """Return none: "Gireve doesn't include the download of Tokens by CPOs"."""
        return Page(items=[], total=0)

    async def authorize(
        self, ctx: Context, ref: OwnTokenRef, location: LocationReferences | None = None
    ) -> AuthorizationInfo:
        """Ask the eMSPs under contract one after the other, until one knows the token."""
        self._roaming.require_hub(ctx)
        cpo = self._roaming.asking(ctx, Role.CPO)
        if location is None:
            raise NotEnoughInformation("expected LocationReferences: IOP needs one location")
        require_token_format(ref.type, ref.token_uid)
        asked = self._picked(cpo, location)
        failed: StatusError | None = None
        for emsp, connection in self._roaming.emsps_of(cpo, TokensSender):
            view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
            try:
                answer = await view.call(TokensSender.authorize, ref, asked)
            except UnknownToken:
                continue
            except OcpiError as error:
                failed = failed or passed_on(error)
                continue
            return self._shown(emsp, answer)
        raise failed or UnknownToken()

    def _picked(self, cpo: PartyId, location: LocationReferences) -> LocationReferences:
        """Return the location with one EVSE. "Gireve will select 1 and only 1." (2.2.1 guide, Tokens)"""
        known = self._book.get(LocationRef(cpo.country_code, cpo.party_id, location.location_id)).evses
        uid = next(iter(location.evse_uids), None)
        if uid is None:
            there = (evse.uid for evse in known if evse.status is not Status.REMOVED)
            uid = next(there, None)
        else:
            self._book.evse(EvseRef(cpo.country_code, cpo.party_id, location.location_id, uid))
        return replaced(location, {"evse_uids": [] if uid is None else [uid]})

    def _shown(self, emsp: PartyId, answer: AuthorizationInfo) -> AuthorizationInfo:
        reference = answer.authorization_reference
        if answer.allowed is not AllowedType.ALLOWED or reference is None:
            return answer
        return replaced(answer, {"authorization_reference": self._references.shown(emsp, reference)})


# --- from eMSPs: locations and commands ----------------------------------------------------------------


class IopLocationsForEmsps(ServedLocations):
    """Serves an eMSP the locations of every CPO under contract; ``OCPI-to-*`` narrows them to one CPO."""

    def __init__(self, book: LocationBook, roaming: Roaming) -> None:
        self._book, self._roaming = book, roaming

    def visible(self, ctx: Context) -> Iterator[Location]:
        """Yield the locations of the CPOs that the eMSP has an agreement with."""
        emsp = self._roaming.asking(ctx, Role.EMSP)
        everybody = ctx.receiver in (None, self._roaming.hub)
        agreed: dict[tuple[str, str], bool] = {}
        for location in self._book.all():
            key = location.country_code, location.party_id
            if key not in agreed:
                cpo = _owner(location)
                agreed[key] = (everybody or cpo == ctx.receiver) and self._roaming.agreed(cpo, emsp)
            if agreed[key]:
                yield location

    def shown(self, location: Location) -> Location:
        """Return a location as IOP passes it to a receiver."""
        return shown_location(location)

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        """Return one page: in a full pull without what is REMOVED, in a delta with it. (2.2.1 guide, eMSP)"""
        if query.date_from is not None or query.date_to is not None:
            return await super().list_locations(ctx, query)
        there = [location for location in self.visible(ctx) if not is_removed(location)]
        return page_within(there, query, lambda location: self.shown(without_removed(location)))


class IopCommands(StartAndStopOnly):
    """Passes an eMSP's commands on to the CPO that owns the location."""

    def __init__(
        self,
        book: LocationBook,
        roaming: Roaming,
        sessions: IopSessions,
        references: Aliases,
        commands: Commands,
    ) -> None:
        self._book, self._roaming, self._sessions = book, roaming, sessions
        self._references, self._commands = references, commands

    async def start_session(self, ctx: Context, command: StartSession) -> CommandResponse:
        """Pass the command on, with the result's way back and the reference replaced."""
        emsp, cpo, connection = self._parties(ctx)
        if command.evse_uid is None:
            problem = Problem("/evse_uid", "missing", "expected an EVSE: IOP needs one")
            raise InvalidParameters(problems=[problem])
        require_token_format(command.token.type, command.token.uid)
        if PartyId(command.token.country_code, command.token.party_id) != emsp:
            problem = Problem("/token/party_id", "owner", "expected a token of the eMSP that commands")
            raise InvalidParameters(problems=[problem])
        self._book.evse(EvseRef(cpo.country_code, cpo.party_id, command.location_id, command.evse_uid))
        reference = command.authorization_reference
        reference = None if reference is None else self._references.shown(emsp, reference)
        return await self._pass_on(
            "START_SESSION",
            self._command(ctx, emsp, cpo, connection, command.response_url),
            connection,
            lambda view, url: view.call(
                CommandsReceiver.start_session,
                replaced(command, {"response_url": url, "authorization_reference": reference}),
            ),
        )

    async def stop_session(self, ctx: Context, command: StopSession) -> CommandResponse:
        """Pass the command on, with the result's way back replaced and under the CPO's session id."""
        emsp, cpo, connection = self._parties(ctx)
        session_id = self._sessions.original(emsp, cpo, command.session_id)
        if session_id is None:
            return CommandResponse(result=CommandResponseType.UNKNOWN_SESSION, timeout=0)
        return await self._pass_on(
            "STOP_SESSION",
            self._command(ctx, emsp, cpo, connection, command.response_url),
            connection,
            lambda view, url: view.call(
                CommandsReceiver.stop_session,
                replaced(command, {"response_url": url, "session_id": session_id}),
            ),
        )

    def _parties(self, ctx: Context) -> tuple[PartyId, PartyId, Connection]:
        """Return who commands, who is commanded, and the connection to the latter."""
        emsp, cpo = self._roaming.asking(ctx, Role.EMSP), ctx.receiver
        if cpo is None or cpo == self._roaming.hub:
            raise InvalidParameters("expected OCPI-to-*: the CPO that owns the location")
        connection = self._roaming.cpo(cpo)
        if connection is None or not self._roaming.agreed(cpo, emsp):
            raise UnknownReceiver("no CPO under contract is named by OCPI-to-*")
        return emsp, cpo, connection

    def _command(
        self, ctx: Context, emsp: PartyId, cpo: PartyId, connection: Connection, response_url: str
    ) -> Command:
        commanding = self._roaming.connection(ctx.partner)
        try:
            if commanding is not None:
                _policy(commanding).check(response_url, "response_url")
        except UrlRefused as refused:
            raise InvalidParameters(problems=[Problem("/response_url", "refused", refused.reason)]) from None
        return Command(
            cpo=cpo,
            cpo_connection=connection.id,
            emsp=emsp,
            emsp_connection=ctx.partner,
            response_url=response_url,
            cause=ctx,
        )

    async def _pass_on(
        self,
        name: str,
        command: Command,
        connection: Connection,
        call: Callable[[Connection, str], Awaitable[CommandResponse]],
    ) -> CommandResponse:
        # Remembered first: a quick CPO posts the result before we have its answer.
        place = self._commands.add(name, command)
        view = connection.routed(sender=command.emsp, receiver=command.cpo, following=command.cause)
        try:
            response = await call(view, connection.callback(CommandsSender.post_result, place))
        except OcpiError as error:
            if not isinstance(error, NoAnswer) or isinstance(error, NotSent):
                self._commands.forget(place)  # otherwise the CPO may carry it out
            raise passed_on(error) from None
        if response.result is not CommandResponseType.ACCEPTED:
            self._commands.forget(place)
        return response


# --- from CPOs: results of commands --------------------------------------------------------------------


class IopCommandResults(CommandsSender):
    """Takes the CPO's result of a command and passes it on to the eMSP that commanded."""

    def __init__(self, roaming: Roaming, commands: Commands) -> None:
        self._roaming, self._commands = roaming, commands

    async def post_result(self, ctx: Context, link: Link, result: CommandResult) -> None:
        """Pass the result on; where that fails the CPO is told, and can post it again."""
        command = self._commands.at(link.url, ctx.partner)
        if self._commands.is_passed_on(link.url, result):
            return
        connection = self._roaming.connection(command.emsp_connection)
        if connection is None:
            raise ReceiverNotConnected
        view = connection.routed(sender=command.cpo, receiver=command.emsp, following=command.cause)
        try:
            await view.call(CommandsSender.post_result, Link(command.response_url), result)
        except OcpiError as error:
            raise passed_on(error) from None
        self._commands.passed_on(link.url, result)


# --- what they share -----------------------------------------------------------------------------------


def passed_on(error: OcpiError) -> StatusError:
    """Say to the party that asked what came of passing its message on. (status codes, 4xxx hub errors)

    What the other party answered of the message itself is repeated. What it answered of IOP's own
    credentials, or did not answer, is IOP's trouble.
    """
    if isinstance(error, StatusError) and error.http_status in (200, 400, 404):
        return status_error(error.status_code, error.http_status, error.message)
    if isinstance(error, NotSent | NotRegistered | UrlRefused):
        return ReceiverNotConnected()
    if isinstance(error, NoAnswer):
        return HubTimeout()
    return HubError("the receiver could not take the message")


def require_token_format(type: TokenType, uid: str) -> None:
    """Make sure that an RFID uid is one. "IOP rejects requests done with a bad RFID UID format."

    Raises:
        InvalidParameters: it is not.
    """
    fits = len(uid) in RFID_LENGTHS and all(digit in hexdigits for digit in uid)
    if type is TokenType.RFID and not fits:
        raise InvalidParameters("expected an RFID uid of 8 or 14 hexadecimal digits")


def is_removed(location: Location) -> bool:
    """Tell whether a location is gone: all its EVSEs are REMOVED."""
    return bool(location.evses) and all(evse.status is Status.REMOVED for evse in location.evses)


def without_removed(location: Location) -> Location:
    """Return a location without the EVSEs that are gone."""
    left = [evse for evse in location.evses if evse.status is not Status.REMOVED]
    return location if len(left) == len(location.evses) else replaced(location, {"evses": left})


def shown_location(location: Location) -> Location:
    """Return a location as IOP passes it to a receiver: with `gireve_id` at every level, else as it came."""
    cpo = _owner(location)
    evses = [shown_evse(cpo, location.id, evse) for evse in location.evses]
    return replaced(location, {"evses": evses, "gireve_id": _gireve_id(cpo, location.id)})


def shown_evse(cpo: PartyId, location_id: str, evse: EVSE) -> EVSE:
    """Return an EVSE as IOP passes it to a receiver."""
    connectors = [shown_connector(cpo, location_id, evse.uid, connector) for connector in evse.connectors]
    return replaced(evse, {"connectors": connectors, "gireve_id": _gireve_id(cpo, location_id, evse.uid)})


def shown_connector(cpo: PartyId, location_id: str, evse_uid: str, connector: Connector) -> Connector:
    """Return a connector as IOP passes it to a receiver."""
    return replaced(connector, {"gireve_id": _gireve_id(cpo, location_id, evse_uid, connector.id)})


def _shown_in(changes: Patch[M], name: str, shown: Callable[[Any], Model]) -> Patch[M]:
    """Return a change in which the items of a list are as IOP passes them to a receiver."""
    items = changes.changes.get(name)
    if not items:
        return changes
    listed = [shown(item) for item in cast("list[Any]", items)]
    return Patch[M].received(changes.model, {**changes.changes, name: listed}, changes.extra)


def _gireve_id(cpo: PartyId, *ids: str) -> str:
    """Make the id that an object has inside IOP: always the same one for the same object."""
    return "/".join((f"{cpo.country_code}{cpo.party_id}", *ids)).upper()


def _original(references: Aliases, emsp: PartyId, shown: str | None) -> str | None:
    """Return the eMSP's own authorization reference behind IOP's."""
    owner, theirs = (None if shown is None else references.original(shown)) or (None, None)
    return theirs if owner == emsp else shown


def _owner(one: Location | Session | CDR | LocationRef | EvseRef | ConnectorRef) -> PartyId:
    return PartyId(one.country_code, one.party_id)


def _policy(connection: Connection) -> UrlPolicy:
    """Return which URLs a partner may make us call."""
    return UrlPolicy(
        connection.record.origins,
        allow_http_loopback=connection.profile.allow_http_loopback,
        allow_networks=connection.profile.allow_networks,
    )
