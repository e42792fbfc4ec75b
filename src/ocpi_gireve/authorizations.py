"""Authorizations of drivers: asked for, remembered until the session starts, repeated in Session and CDR.

It decides nothing about a driver, and keeps nothing across a restart.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar, cast

from attrs import define, evolve, field, frozen

from . import v211, v221
from ._model import Model, replaced
from .connection import Connection
from .errors import NotRegistered, UnknownObject, UnknownToken
from .types import PartyId, ci_equal, utc_now

KEPT = timedelta(minutes=2)
"""How long an authorization waits for its session to start."""
NOT_ASKED_AGAIN = timedelta(minutes=15)
"""How long after a START_SESSION the same token is not asked about at the same place.

2.2.1, StartSession: "the CPO SHALL NOT do a realtime authorization at the eMSP for this Token at the given
EVSE/Charge Point within 15 minutes after having received this StartSession".
"""

ALLOWED = "ALLOWED"
UNKNOWN_TOKEN = "UNKNOWN_TOKEN"  # noqa: S105 - a decision, in words
"""The decision where the eMSP does not know the token."""
NO_REFERENCE = "NO_REFERENCE"
"""The decision where a hub allowed the driver but gave no reference, so that nobody would pay."""
OTHER_EVSE = "OTHER_EVSE"
"""The decision where the driver is allowed to charge at other EVSEs only."""

MAX_KEPT = 10_000
"""How many authorizations are remembered; the oldest give way."""


@frozen(kw_only=True)
class Authorization:
    """Whether a driver may charge at one place, and the reference under which that will be known.

    Attributes:
        allowed: Whether the driver may charge.
        decision: ``ALLOWED``, or why not: the eMSP's word (``BLOCKED``, ``EXPIRED``, ``NO_CREDIT``,
            ``NOT_ALLOWED``), `UNKNOWN_TOKEN`, `NO_REFERENCE` or `OTHER_EVSE`.
        reference: What Session and CDR repeat: `authorization_id` in 2.1.1, `authorization_reference` in
            2.2.1; None where none was given.
        token_uid: The token that was presented.
        token: The token itself, where the partner sent it: in a START_SESSION, and in 2.2.1's answer to an
            authorization request.
        partner: The id of the connection that it came over.
        cpo: The party of ours that it was given to; None: our only one.
        location_id: The location.
        evse_uid: The EVSE; None where a START_SESSION leaves the choice to the charge point.
        commanded: Whether it came with a START_SESSION rather than as an answer.
        message: The eMSP's text for the driver; empty where there is none.
        since: When it was given, UTC.
        expires: After this moment no session starts by it, UTC.
    """

    allowed: bool
    decision: str
    reference: str | None = field(default=None, repr=False)
    token_uid: str = field(repr=False)
    token: v211.Token | v221.Token | None = field(default=None, repr=False)
    partner: str
    cpo: PartyId | None = None
    location_id: str
    evse_uid: str | None
    commanded: bool = False
    message: str = ""
    since: datetime
    expires: datetime

    def is_for(self, token_uid: str) -> bool:
        """Whether it allows a token: the one that was shown, or the one that the eMSP named in its answer."""
        named = None if self.token is None else self.token.uid
        return ci_equal(self.token_uid, token_uid) or (named is not None and ci_equal(named, token_uid))

    @property
    def contract_id(self) -> str | None:
        """The driver's contract: `Token.contract_id`, in 2.1.1 `Token.auth_id`; None without the token."""
        match self.token:
            case v221.Token(contract_id=contract_id):
                return contract_id
            case v211.Token(auth_id=auth_id):
                return auth_id
            case None:
                return None


async def authorize(
    connection: Connection,
    token_uid: str,
    type: str,
    location_id: str,
    evse_uid: str,
    *,
    require_reference: bool | None = None,
    kept: timedelta = KEPT,
    now: Callable[[], datetime] = utc_now,
) -> Authorization:
    """Ask a partner in real time whether a driver may charge, in whichever version it speaks.

    The question names exactly one EVSE, as IOP requires in 2.1.1. (TOK-008)

    Args:
        connection: Whom to ask; a view ``routed(sender=...)`` where we speak for several parties.
        token_uid: The token as the charger read it.
        type: Its type, a word of `v221.TokenType`; 2.1.1 knows ``RFID``, and calls every other ``OTHER``.
        location_id: The location.
        evse_uid: The EVSE.
        require_reference: Whether an ALLOWED without a reference is a refusal; None: if the partner is a hub.
        kept: How long the answer holds.
        now: Tells the time.

    Raises:
        NotRegistered: there are no credentials.
        InvalidObject: an id is longer than the version allows.
        ValueError: the token's uid cannot stand in a URL.
        OcpiError: as for `Connection.call`, but for an unknown token, which is a decision like any other.
    """
    ask = _ASK.get(connection.record.version or "")
    if ask is None:
        raise NotRegistered(f"{connection.id}: never registered, so nobody can be asked; register first")
    try:
        answer = await ask(connection, token_uid, type, location_id, evse_uid)
    except (UnknownToken, UnknownObject):
        # 2.2.1: "When the eMSP does not know the Token, [it] SHALL respond with an HTTP status code: 404".
        answer = _Answer(UNKNOWN_TOKEN)
    decision = answer.decision
    needed = connection.profile.is_hub if require_reference is None else require_reference
    if decision == ALLOWED and not answer.names(evse_uid):
        decision = OTHER_EVSE
    elif decision == ALLOWED and needed and not answer.reference:
        decision = NO_REFERENCE
    moment = now()
    return Authorization(
        allowed=decision == ALLOWED,
        decision=decision,
        reference=answer.reference or None,
        token_uid=token_uid,
        token=answer.token,
        partner=connection.id,
        location_id=location_id,
        evse_uid=evse_uid,
        message=answer.message,
        since=moment,
        expires=moment + kept if decision == ALLOWED else moment,
    )


@frozen
class _Answer:
    """An answer to an authorization request, whatever its version."""

    decision: str
    reference: str | None = None
    evse_uids: list[str] = field(factory=list[str])
    message: str = ""
    token: v221.Token | None = None

    def names(self, evse_uid: str) -> bool:
        """Whether the driver may charge there; an eMSP that names no EVSE leaves it at the location."""
        return not self.evse_uids or any(ci_equal(one, evse_uid) for one in self.evse_uids)


async def _ask_211(
    connection: Connection, token_uid: str, type: str, location_id: str, evse_uid: str
) -> _Answer:
    kind = v211.TokenType.RFID if type == v221.TokenType.RFID else v211.TokenType.OTHER
    info = await connection.call(
        v211.TokensEmsp.authorize,
        v211.OwnTokenRef(token_uid, kind),
        v211.LocationReferences(location_id=location_id, evse_uids=[evse_uid]),
    )
    return _Answer(
        info.allowed.value,
        info.authorization_id,
        list(info.location.evse_uids) if info.location else [],
        info.info.text if info.info else "",
    )


async def _ask_221(
    connection: Connection, token_uid: str, type: str, location_id: str, evse_uid: str
) -> _Answer:
    info = await connection.call(
        v221.TokensSender.authorize,
        v221.OwnTokenRef(token_uid, v221.TokenType(type)),
        v221.LocationReferences(location_id=location_id, evse_uids=[evse_uid]),
    )
    return _Answer(
        info.allowed.value,
        info.authorization_reference,
        list(info.location.evse_uids) if info.location else [],
        info.info.text if info.info else "",
        info.token,
    )


_ASK: Mapping[str, Callable[[Connection, str, str, str, str], Awaitable[_Answer]]] = {
    "2.1.1": _ask_211,
    "2.2.1": _ask_221,
}


@define(eq=False)
class _Hold:
    """What a START_SESSION keeps from the next one.

    Attributes:
        working: Whether the charger is still being addressed.
        authorization: By which the session is to start, once the charger has accepted.
    """

    working: bool = True
    authorization: Authorization | None = None


class Authorizations:
    """What partners allowed and no session has used yet.

    It is given to `CpoCommands`, which remembers the authorization of each START_SESSION, and asked when a
    charger reports a driver or a session: `authorize` when a card is shown, `use` when the session starts.

    It is kept in memory. What is forgotten in a restart is asked for again at the next card; a session that
    was started from an app during a restart has no reference.

    Args:
        kept: How long an authorization waits for its session.
        now: Tells the time, in UTC.
    """

    def __init__(self, *, kept: timedelta = KEPT, now: Callable[[], datetime] = utc_now) -> None:
        self._kept = kept
        self._now = now
        # By identity, for two may be equal; the newest last.
        self._known: dict[int, Authorization] = {}
        self._sweep = now()  # when to look for expired ones
        self._holds: dict[Hashable, _Hold] = {}

    async def authorize(
        self,
        connection: Connection,
        token_uid: str,
        type: str,
        location_id: str,
        evse_uid: str,
        *,
        cpo: PartyId | None = None,
        require_reference: bool | None = None,
    ) -> Authorization:
        """Tell whether a driver may charge: by an authorization at hand, or by asking the partner.

        The partner is not asked about a token that came with a START_SESSION for this place within
        `NOT_ASKED_AGAIN` and has not been used. What is allowed is remembered for `use`.

        Args:
            connection: Whom to ask.
            token_uid: The token as the charger read it.
            type: Its type, as for the function `authorize`.
            location_id: The location.
            evse_uid: The EVSE.
            cpo: The party of ours whose EVSE it is; None: our only one.
            require_reference: As for the function `authorize`.

        Raises:
            OcpiError: as for the function `authorize`.
            ValueError: `cpo` is no party of ours, or the token's uid cannot stand in a URL.
        """
        moment = self._now()
        for known in reversed(list(self._known.values())):
            asked = known.commanded and known.partner == connection.id
            if (
                asked
                and moment < known.since + NOT_ASKED_AGAIN
                and _fits(known, token_uid, location_id, evse_uid, cpo)
            ):
                return self._renew(known, moment + self._kept)
        view = connection if cpo is None else connection.routed(sender=cpo)
        answer = await authorize(
            view,
            token_uid,
            type,
            location_id,
            evse_uid,
            require_reference=require_reference,
            kept=self._kept,
            now=self._now,
        )
        answer = evolve(answer, cpo=cpo)
        return self.remember(answer) if answer.allowed else answer

    def commanded(
        self, partner: str, cpo: PartyId | None, command: v211.StartSession | v221.StartSession
    ) -> Authorization:
        """Remember the authorization that a START_SESSION carries; its token need not be known.

        2.2.1: "The CPO should assume that the eMSP only sends valid Tokens in the START_SESSION object."

        Args:
            partner: The id of the connection that it came over.
            cpo: The party of ours that is commanded.
            command: The command.
        """
        moment = self._now()
        return self.remember(
            Authorization(
                allowed=True,
                decision=ALLOWED,
                reference=_reference(command),
                token_uid=command.token.uid,
                token=command.token,
                partner=partner,
                cpo=cpo,
                location_id=command.location_id,
                evse_uid=command.evse_uid,
                commanded=True,
                since=moment,
                expires=moment + self._kept,
            )
        )

    def remember(self, authorization: Authorization) -> Authorization:
        """Remember an authorization until it is used or expires, and return it."""
        moment = self._now()
        if moment >= self._sweep or len(self._known) >= MAX_KEPT:
            left = [one for one in self._known.values() if moment < _until(one)][1 - MAX_KEPT :]
            self._known = {id(one): one for one in left}
            self._sweep = moment + self._kept
        self._known[id(authorization)] = authorization
        return authorization

    def use(
        self, token_uid: str, location_id: str, evse_uid: str, *, cpo: PartyId | None = None
    ) -> Authorization | None:
        """Return the authorization by which a session starts, the newest of several, and forget it.

        Each is used once; older ones of the same token and place end with it. None where there is none: it
        was never given, has expired, or is used.
        """
        moment = self._now()
        known = self._known.values()
        there = [one for one in known if _fits(one, token_uid, location_id, evse_uid, cpo)]
        good = [one for one in there if moment < one.expires]
        if not good:
            return None
        for one in there:
            self.forget(one)
        return good[-1]

    def _renew(self, known: Authorization, expires: datetime) -> Authorization:
        """Let a session start until a later moment, and keep the place for it as long."""
        renewed = evolve(known, expires=max(known.expires, expires))
        for hold in self._holds.values():
            if hold.authorization is known:
                hold.authorization = renewed
        self.forget(known)
        return self.remember(renewed)

    def forget(self, authorization: Authorization) -> None:
        """Forget an authorization: the command it came with was not carried out."""
        self._known.pop(id(authorization), None)

    def waits(self, authorization: Authorization) -> bool:
        """Whether a session may still start by an authorization: it is neither used nor expired."""
        return self._now() < authorization.expires and id(authorization) in self._known

    # --- one START_SESSION at a time -----------------------------------------------------------------

    def hold(self, place: Hashable) -> bool:
        """Keep a place for a START_SESSION under way; false where another one has it."""
        for other in list(self._holds):
            if not self._is_held(other):
                del self._holds[other]
        if place in self._holds:
            return False
        self._holds[place] = _Hold()
        return True

    def release(self, place: Hashable, started: Authorization | None = None) -> None:
        """Let a place go: at once, or when a session has started by an authorization, or can no more."""
        if place in self._holds:
            self._holds[place] = _Hold(working=False, authorization=started)

    def _is_held(self, place: Hashable) -> bool:
        hold = self._holds[place]
        return hold.working or (hold.authorization is not None and self.waits(hold.authorization))


def _until(authorization: Authorization) -> datetime:
    """Return until when an authorization is of any use."""
    if not authorization.commanded:
        return authorization.expires
    return max(authorization.expires, authorization.since + NOT_ASKED_AGAIN)


def _fits(known: Authorization, token_uid: str, location_id: str, evse_uid: str, cpo: PartyId | None) -> bool:
    return (
        known.is_for(token_uid)
        and ci_equal(known.location_id, location_id)
        and (known.evse_uid is None or ci_equal(known.evse_uid, evse_uid))
        and (known.cpo is None or cpo is None or known.cpo == cpo)
    )


# --- Session and CDR -----------------------------------------------------------------------------------

S = TypeVar("S", v211.Session, v211.CDR, v221.Session, v221.CDR)

_REFERENCES: Mapping[type[Model], str] = {
    v211.StartSession: "authorization_id",
    v211.Session: "authorization_id",
    v211.CDR: "authorization_id",
    v221.StartSession: "authorization_reference",
    v221.Session: "authorization_reference",
    v221.CDR: "authorization_reference",
}


def _reference(one: Model) -> str | None:
    return cast("str | None", getattr(one, _REFERENCES[type(one)])) or None


def with_reference(one: S, source: Authorization | v211.Session | v221.Session) -> S:
    """Copy a Session or CDR with the reference of its authorization, or of its Session.

    ``with_reference(session, authorization)``, later ``with_reference(cdr, session)``. It is repeated exactly
    as it was given, even where it is longer than the specification allows; where there is none, nothing
    changes. (GIREVE AUT-001 to AUT-003)
    """
    reference = source.reference if isinstance(source, Authorization) else _reference(source)
    return one if reference is None else replaced(one, {_REFERENCES[type(one)]: reference})
