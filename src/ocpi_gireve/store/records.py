"""What is kept across a restart, as values; knows nothing of databases."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from attrs import field, frozen

from ..types import PartnerEndpoint, PartnerRole, PartyId, Role, Secret


class ConnectionState(StrEnum):
    """Where a connection stands in the credentials handshake."""

    NEW = "NEW"
    """Created by the operator; no credentials exchanged."""
    REGISTERED = "REGISTERED"
    """Both sides hold the other's token."""
    UNREGISTERED = "UNREGISTERED"
    """Credentials were deleted by either side; uploads are kept for the next registration."""


@frozen
class Approval:
    """A party, in a role, that a partner may present and speak for; None stands for any."""

    party: PartyId | None
    role: Role | None


@frozen(kw_only=True)
class ConnectionRecord:
    """One partner platform, as it has to survive a restart.

    Attributes:
        id: Our name for it, chosen when it is created; it never changes.
        profile: The name of the partner's profile.
        party: Our party that the connection is for; None: all of ours.
        role: The role of ours that it is for; None: all of ours. In 2.1.1 each party of ours registers for
            each of its roles.
        origins: The origins (``https://host:port``) that this partner's URLs may have.
        approved: The parties that it may present; None: those that it presents first.
        requires: The interfaces that it must serve, as ``2.2.1/cdrs/RECEIVER``.
        versions_url: The partner's versions endpoint; None until it is known.
        version: The OCPI version agreed on; None before a registration.
        roles: The roles the partner presented.
        endpoints: What the partner serves in that version.
        outbound_token: The token that we present to the partner.
        previous_token: The one before, while the partner may know no other; only beside a present one.
    """

    id: str
    profile: str
    party: PartyId | None = None
    role: Role | None = None
    origins: tuple[str, ...] = ()
    approved: tuple[Approval, ...] | None = None
    requires: tuple[str, ...] = ()
    state: ConnectionState = ConnectionState.NEW
    versions_url: str | None = None
    version: str | None = None
    roles: tuple[PartnerRole, ...] = ()
    endpoints: tuple[PartnerEndpoint, ...] = ()
    outbound_token: Secret | None = None
    previous_token: Secret | None = None


class TokenKind(StrEnum):
    """What an inbound token opens. (credentials chapter; see the registration explanation)"""

    A = "A"
    """For the handshake only: versions, version details and credentials."""
    PENDING = "PENDING"
    """Sent in our POST and not confirmed yet; opens everything: the partner calls back meanwhile."""
    CURRENT = "CURRENT"
    """Opens everything."""
    PREVIOUS = "PREVIOUS"
    """Replaced by CURRENT, and valid until that was first used or this one expires."""


@frozen(kw_only=True)
class InboundToken:
    """A token that a partner presents to us; only its digest is kept.

    Attributes:
        digest: SHA-256 of the token's bytes, 32 bytes.
        used: Whether a request has come with it.
        expires: After this moment it opens nothing; None: never.
    """

    digest: bytes = field(repr=False)
    connection: str
    kind: TokenKind
    used: bool = False
    expires: datetime | None = None


@frozen(kw_only=True)
class NewUpload:
    """One upload, ready to be kept: where it goes and what it says, without any URL, token or request id.

    Attributes:
        connection: The id of the connection.
        lane: Uploads of one lane leave strictly first in, first out.
        operation: The operation's id, such as ``2.2.1/LocationsReceiver.put_location``.
        path: Path and query below the module's endpoint, percent-encoded; a token's holds its uid.
        sender: Our party that speaks.
        receiver: The party addressed; None where the version has no routing.
        correlation_id: The same for every attempt.
        subject: The object that it is about, such as ``FR*CPO/LOC1``: for the operator's eyes.
        body: The encoded body.
    """

    connection: str
    lane: str
    operation: str
    path: str = field(repr=False)
    sender: PartyId
    receiver: PartyId | None
    correlation_id: str
    subject: str
    body: bytes = field(repr=False)


class UploadState(StrEnum):
    """Where an upload stands."""

    QUEUED = "QUEUED"
    PARKED = "PARKED"
    """Refused in a way that the same bytes cannot pass; kept for the operator."""


@frozen(kw_only=True)
class Upload(NewUpload):
    """One upload as the store holds it.

    Attributes:
        seq: Its number: grows within the store, never used twice, and the order within a lane.
        created: When it was accepted.
        attempts: How often it was sent.
        reason: What the last attempt brought, or why it is parked; empty before the first.
    """

    seq: int
    created: datetime
    state: UploadState = UploadState.QUEUED
    attempts: int = 0
    reason: str = ""


@frozen(kw_only=True)
class LaneDepth:
    """How much waits in one lane."""

    connection: str
    lane: str
    queued: int
    parked: int
    oldest: datetime | None
    """When the oldest queued upload was accepted."""


@frozen
class Scope:
    """Whose objects, received over which connection. No object is read or written without one.

    Attributes:
        connection: The id of the connection.
        owner: The party that the objects belong to; its ASCII case says nothing.
    """

    connection: str
    owner: PartyId


@frozen(kw_only=True)
class StoredObject:
    """One object that a partner sent, as it is kept. Its body, and a token's id, are personal data.

    Attributes:
        scope: Whose it is.
        kind: ``location``, ``tariff``, ``token``, ...: the caller's word, compared as it is written.
        id: What names it among the owner's objects of its kind; its ASCII case says nothing. Where OCPI needs
            several values, as for tokens, the caller joins them.
        version: The OCPI version in which the body is written.
        last_updated: The object's own; None where it has none.
        body: The encoded object.
        digest: The caller's digest of the content, by which it knows a repetition.
    """

    scope: Scope
    kind: str
    id: str = field(repr=False)
    version: str
    last_updated: datetime | None
    body: bytes = field(repr=False)
    digest: bytes = field(repr=False)


@frozen(kw_only=True)
class Watermark:
    """How far pulls of one listing have come.

    Attributes:
        since: From when on the next pull has to ask for changes (``date_from``); by the partner's clock or
            ours, whichever is behind. None: no pull was complete yet, so it asks for everything.
        full: When the last pull of everything began, which alone tells what has disappeared; our clock.
        unfinished: What it takes to go on with a pull that was left half-way; None where there is none.
    """

    since: datetime | None = None
    full: datetime | None = None
    unfinished: bytes | None = field(default=None, repr=False)


@frozen(kw_only=True)
class Receipt:
    """What we answered to a message, to answer its repetition alike.

    Attributes:
        digest: The caller's digest of the message.
        answer: The answer, as the caller encodes it.
        at: When it was answered.
        until: After this moment the message counts as a new one, and the receipt is forgotten; None: never.
    """

    digest: bytes = field(repr=False)
    answer: bytes = field(repr=False)
    at: datetime
    until: datetime | None = None
