"""What IOP does with each message: store, check, replace ids, pass on; knows no HTTP."""

from __future__ import annotations

import uuid

from attrs import frozen

from .._model import replaced
from ..connection import Connection
from ..context import Context
from ..errors import InvalidParameters, NotEnoughInformation, OcpiError, Problem, UnknownLocation, UnknownToken
from ..pagination import Link, Page, PageQuery, page_of
from ..patch import Patch
from ..receivers import KeptCdrs, KeptLocations, KeptSessions, LocationBook
from ..types import PartyId, ci_key
from ..v221 import (
    CDR,
    EVSE,
    AllowedType,
    AuthorizationInfo,
    CdrsReceiver,
    CommandResponse,
    CommandResponseType,
    CommandResult,
    CommandResultType,
    CommandsReceiver,
    CommandsSender,
    Connector,
    ConnectorRef,
    EvseRef,
    Location,
    LocationReferences,
    LocationRef,
    LocationsReceiver,
    LocationsSender,
    OwnConnectorRef,
    OwnEvseRef,
    OwnLocationRef,
    OwnTokenRef,
    Session,
    SessionRef,
    SessionsReceiver,
    StartSession,
    StopSession,
    Token,
    TokensSender,
    TokenType,
)
from .roaming import Aliases, Roaming

RFID_LENGTHS = (8, 14)
"""Characters of an RFID uid: the hexadecimal form of 4 or 7 bytes. (2.2.1 guide, RFID Tokens)"""


@frozen
class Pending:
    """A command that was passed on and waits for its result."""

    emsp: PartyId
    response_url: str
    correlation: Context


class IopLocations(KeptLocations):
    """Takes what CPOs push and passes it on to every eMSP under contract."""

    def __init__(self, book: LocationBook, roaming: Roaming) -> None:
        super().__init__(book)
        self._roaming = roaming

    async def put_location(self, ctx: Context, ref: LocationRef, location: Location) -> None:
        await super().put_location(ctx, ref, location)
        for emsp, connection in self._roaming.emsps_of(PartyId(ref.country_code, ref.party_id)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.put_location, ref, shown_location(location))

    async def put_evse(self, ctx: Context, ref: EvseRef, evse: EVSE) -> None:
        await super().put_evse(ctx, ref, evse)
        for emsp, connection in self._roaming.emsps_of(_owner(ref)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.put_evse, ref, evse)

    async def put_connector(self, ctx: Context, ref: ConnectorRef, connector: Connector) -> None:
        await super().put_connector(ctx, ref, connector)
        for emsp, connection in self._roaming.emsps_of(_owner(ref)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.put_connector, ref, connector)

    async def patch_location(self, ctx: Context, ref: LocationRef, changes: Patch[Location]) -> None:
        await super().patch_location(ctx, ref, changes)
        for emsp, connection in self._roaming.emsps_of(_owner(ref)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.patch_location, ref, changes)

    async def patch_evse(self, ctx: Context, ref: EvseRef, changes: Patch[EVSE]) -> None:
        before = self.book.evse(ref).status
        await super().patch_evse(ctx, ref, changes)
        if set(changes.changes) <= {"status", "last_updated"} and self.book.evse(ref).status == before:
            return  # "IOP takes into account and forwards the first, but ignores the following ones."
        for emsp, connection in self._roaming.emsps_of(_owner(ref)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.patch_evse, ref, changes)

    async def patch_connector(self, ctx: Context, ref: ConnectorRef, changes: Patch[Connector]) -> None:
        await super().patch_connector(ctx, ref, changes)
        for emsp, connection in self._roaming.emsps_of(_owner(ref)):
            view = connection.routed(sender=_owner(ref), receiver=emsp, following=ctx)
            await view.upload(LocationsReceiver.patch_connector, ref, changes)


class IopLocationsForEmsps(LocationsSender):
    """Serves an eMSP the locations of every CPO under contract; ``OCPI-to-*`` narrows them to one CPO."""

    def __init__(self, book: LocationBook, roaming: Roaming, hub: PartyId) -> None:
        self._book, self._roaming, self._hub = book, roaming, hub

    def _visible(self, ctx: Context) -> list[Location]:
        return [
            shown_location(location)
            for location in self._book.all()
            if (ctx.receiver in (None, self._hub) or ctx.receiver == _owner(location))
            and (ctx.sender is None or self._roaming.agreed(_owner(location), ctx.sender))
        ]

    def _location(self, ctx: Context, location_id: str) -> Location:
        for location in self._visible(ctx):
            if ci_key(location.id) == ci_key(location_id):
                return location
        raise UnknownLocation

    async def list_locations(self, ctx: Context, query: PageQuery) -> Page[Location]:
        return page_of([one for one in self._visible(ctx) if query.covers(one.last_updated)], query)

    async def get_location(self, ctx: Context, ref: OwnLocationRef) -> Location:
        return self._location(ctx, ref.location_id)

    async def get_evse(self, ctx: Context, ref: OwnEvseRef) -> EVSE:
        for evse in self._location(ctx, ref.location_id).evses:
            if ci_key(evse.uid) == ci_key(ref.evse_uid):
                return evse
        raise UnknownLocation

    async def get_connector(self, ctx: Context, ref: OwnConnectorRef) -> Connector:
        for connector in (await self.get_evse(ctx, OwnEvseRef(ref.location_id, ref.evse_uid))).connectors:
            if ci_key(connector.id) == ci_key(ref.connector_id):
                return connector
        raise UnknownLocation


class IopTokens(TokensSender):
    """Routes a CPO's real-time authorization to the eMSP that knows the token."""

    def __init__(self, book: LocationBook, roaming: Roaming, references: Aliases) -> None:
        self._book, self._roaming, self._references = book, roaming, references

    async def list_tokens(self, ctx: Context, query: PageQuery) -> Page[Token]:
        # "Gireve doesn't include the download of Tokens by CPOs": the list is empty, not refused.
        return Page(items=[], total=0)

    async def authorize(
        self, ctx: Context, ref: OwnTokenRef, location: LocationReferences | None = None
    ) -> AuthorizationInfo:
        if location is None:
            raise NotEnoughInformation("expected LocationReferences: IOP needs one location")
        if ref.type is TokenType.RFID and not _is_rfid(ref.token_uid):
            raise InvalidParameters("expected an RFID uid of 8 or 14 hexadecimal digits")
        cpo = ctx.sender
        if cpo is None or not self._knows(cpo, location):
            raise UnknownLocation
        picked = replaced(location, {"evse_uids": location.evse_uids[:1]})
        for emsp, connection in self._roaming.emsps_of(cpo):
            view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
            try:
                answer = await view.call(TokensSender.authorize, ref, picked)
            except UnknownToken:
                continue
            return self._shown(emsp, answer)
        raise UnknownToken

    def _knows(self, cpo: PartyId, location: LocationReferences) -> bool:
        try:
            self._book.get(LocationRef(cpo.country_code, cpo.party_id, location.location_id))
        except UnknownLocation:
            return False
        return True

    def _shown(self, emsp: PartyId, answer: AuthorizationInfo) -> AuthorizationInfo:
        reference = answer.authorization_reference
        if answer.allowed is not AllowedType.ALLOWED or reference is None:
            return answer
        return replaced(answer, {"authorization_reference": self._references.shown(emsp, reference)})


class IopSessions(KeptSessions):
    """Takes a CPO's sessions and passes them on to the eMSP of the token, under IOP's ids."""

    def __init__(self, roaming: Roaming, sessions: Aliases, references: Aliases) -> None:
        super().__init__()
        self._roaming, self._sessions, self._references = roaming, sessions, references

    async def session_changed(self, ctx: Context, session: Session) -> None:
        """Pass the session on, as a whole."""
        cpo = _owner(session)
        token = session.cdr_token
        emsp = PartyId(token.country_code, token.party_id)
        connection = self._roaming.emsp(emsp)
        if connection is None or not self._roaming.agreed(cpo, emsp):
            return
        shown = replaced(
            session,
            {
                "id": self._sessions.shown(cpo, session.id),
                "authorization_reference": original_reference(
                    self._references, session.authorization_reference
                ),
            },
        )
        ref = SessionRef(session.country_code, session.party_id, shown.id)
        view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
        await view.upload(SessionsReceiver.put_session, ref, shown)


class IopCdrs(KeptCdrs):
    """Takes a CPO's CDRs and passes them on to the eMSP of the token."""

    def __init__(self, roaming: Roaming, sessions: Aliases, references: Aliases) -> None:
        super().__init__()
        self._roaming, self._sessions, self._references = roaming, sessions, references

    async def cdr_received(self, ctx: Context, cdr: CDR) -> None:
        """Pass the CDR on."""
        cpo = _owner(cdr)
        emsp = PartyId(cdr.cdr_token.country_code, cdr.cdr_token.party_id)
        connection = self._roaming.emsp(emsp)
        if connection is None or not self._roaming.agreed(cpo, emsp):
            return
        session_id = None if cdr.session_id is None else self._sessions.shown(cpo, cdr.session_id)
        reference = original_reference(self._references, cdr.authorization_reference)
        shown = replaced(cdr, {"session_id": session_id, "authorization_reference": reference})
        view = connection.routed(sender=cpo, receiver=emsp, following=ctx)
        await view.upload(CdrsReceiver.post_cdr, shown)


class IopCommands(CommandsReceiver):
    """Passes an eMSP's commands on to the CPO that owns the location."""

    def __init__(
        self, book: LocationBook, roaming: Roaming, sessions: Aliases, references: Aliases, pending: dict[str, Pending]
    ) -> None:
        self._book, self._roaming = book, roaming
        self._sessions, self._references, self._pending = sessions, references, pending

    async def start_session(self, ctx: Context, command: StartSession) -> CommandResponse:
        if command.evse_uid is None:
            problem = Problem("/evse_uid", "missing", "expected an EVSE: IOP needs one")
            raise InvalidParameters(problems=[problem])
        cpo = ctx.receiver
        connection = None if cpo is None else self._roaming.cpo(cpo)
        if cpo is None or connection is None:
            raise UnknownLocation("OCPI-to-* must name the CPO that owns the location")
        self._book.evse(EvseRef(cpo.country_code, cpo.party_id, command.location_id, command.evse_uid))
        emsp = _sender(ctx)
        reference = command.authorization_reference
        forwarded = replaced(
            command,
            {
                "response_url": self._callback(ctx, connection, "START_SESSION", command.response_url),
                "authorization_reference": None if reference is None else self._references.shown(emsp, reference),
            },
        )
        view = connection.routed(sender=emsp, receiver=cpo, following=ctx)
        return await view.call(CommandsReceiver.start_session, forwarded)

    async def stop_session(self, ctx: Context, command: StopSession) -> CommandResponse:
        found = self._sessions.original(command.session_id)
        connection = None if found is None else self._roaming.cpo(found[0])
        if found is None or connection is None:
            return CommandResponse(result=CommandResponseType.UNKNOWN_SESSION, timeout=0)
        cpo, session_id = found
        forwarded = replaced(
            command,
            {
                "response_url": self._callback(ctx, connection, "STOP_SESSION", command.response_url),
                "session_id": session_id,
            },
        )
        view = connection.routed(sender=_sender(ctx), receiver=cpo, following=ctx)
        return await view.call(CommandsReceiver.stop_session, forwarded)

    def _callback(self, ctx: Context, cpo: Connection, command: str, response_url: str) -> str:
        """Remember where the result belongs, and return where the CPO has to post it."""
        place = f"{command}/{uuid.uuid4()}"
        self._pending[place] = Pending(_sender(ctx), response_url, ctx)
        return cpo.callback(CommandsSender.post_result, place)


class IopCommandResults(CommandsSender):
    """Takes the CPO's result of a command and passes it on to the eMSP that commanded."""

    def __init__(self, roaming: Roaming, pending: dict[str, Pending]) -> None:
        self._roaming, self._pending = roaming, pending

    async def post_result(self, ctx: Context, link: Link, result: CommandResult) -> None:
        pending = self._pending.pop(link.url, None)
        connection = None if pending is None else self._roaming.emsp(pending.emsp)
        if pending is None or connection is None:
            raise InvalidParameters("no command waits for a result at this URL")
        view = connection.routed(receiver=pending.emsp, sender=ctx.sender, following=pending.correlation)
        try:
            await view.call(CommandsSender.post_result, Link(pending.response_url), result)
        except OcpiError:
            if result.result is not CommandResultType.TIMEOUT:
                self._pending[link.url] = pending  # the CPO may post again
            raise


def shown_location(location: Location) -> Location:
    """Return a location as IOP passes it to a receiver: with its `gireve_id`, and nothing left out."""
    owner = _owner(location)
    gireve_id = f"GIREVE-{owner.country_code}{owner.party_id}-{location.id}".upper()
    return replaced(location, {"gireve_id": gireve_id})


def original_reference(references: Aliases, shown: str | None) -> str | None:
    """Return the eMSP's own authorization reference behind IOP's."""
    found = None if shown is None else references.original(shown)
    return shown if found is None else found[1]


def _is_rfid(uid: str) -> bool:
    return len(uid) in RFID_LENGTHS and all(letter in "0123456789abcdefABCDEF" for letter in uid)


def _owner(one: Location | Session | CDR | LocationRef | EvseRef | ConnectorRef) -> PartyId:
    return PartyId(one.country_code, one.party_id)


def _sender(ctx: Context) -> PartyId:
    if ctx.sender is None:
        raise InvalidParameters("expected OCPI-from-*: the party that commands")
    return ctx.sender

