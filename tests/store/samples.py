"""Records for the tests of stores; knows no store."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from ocpi_gireve.store.records import (
    Approval,
    ConnectionRecord,
    ConnectionState,
    InboundToken,
    NewUpload,
    Receipt,
    Scope,
    StoredObject,
    TokenKind,
    Watermark,
)
from ocpi_gireve.types import PartnerEndpoint, PartnerRole, PartyId, Role, Secret

MORNING = datetime(2026, 3, 1, 8, 0, 0, 250_000, tzinfo=UTC)
OUTBOUND = "outbound-token-0123456789"


class Clock:
    """A clock that moves one second each time it is read."""

    def __init__(self) -> None:
        self.moment = MORNING

    def __call__(self) -> datetime:
        read, self.moment = self.moment, self.moment + timedelta(seconds=1)
        return read


def digest(text: str) -> bytes:
    """What is kept of an inbound token."""
    return hashlib.sha256(text.encode()).digest()


def token(
    text: str,
    *,
    connection: str = "gireve",
    kind: TokenKind = TokenKind.CURRENT,
    used: bool = False,
    expires: datetime | None = None,
) -> InboundToken:
    """An inbound token, by its text."""
    return InboundToken(digest=digest(text), connection=connection, kind=kind, used=used, expires=expires)


def new_connection(id: str = "gireve") -> ConnectionRecord:
    """A connection as the operator creates it."""
    return ConnectionRecord(id=id, profile="gireve-preproduction")


def registered(id: str = "gireve", *, outbound_token: str = OUTBOUND) -> ConnectionRecord:
    """A connection with everything that a registration brings."""
    return ConnectionRecord(
        id=id,
        profile="gireve-preproduction",
        party=PartyId("fr", "Cpo"),
        role=Role.CPO,
        origins=("https://ocpi.example.com:443", "https://ocpi2.example.com:8443"),
        approved=(
            Approval(PartyId("FR", "107"), Role.HUB),
            Approval(PartyId("fr", "Abc"), None),
            Approval(None, Role("NEW_ROLE")),
        ),
        requires=("2.2.1/locations/RECEIVER",),
        state=ConnectionState.REGISTERED,
        versions_url="https://ocpi.example.com/versions",
        version="2.2.1",
        roles=(
            PartnerRole(Role.HUB, PartyId("FR", "107"), "Hub"),
            PartnerRole(Role("NEW_ROLE"), PartyId("fr", "Abc"), "Électricité"),
        ),
        endpoints=(
            PartnerEndpoint("locations", "RECEIVER", "https://ocpi.example.com/2.2.1/locations"),
            PartnerEndpoint("cdrs", "RECEIVER", "https://ocpi.example.com/2.2.1/cdrs"),
        ),
        outbound_token=Secret(outbound_token),
    )


def new_upload(
    subject: str = "FR*CPO/LOC1",
    *,
    connection: str = "gireve",
    lane: str = "FR*CPO/locations",
    receiver: PartyId | None = None,
    body: bytes = b'{"id": "LOC1"}',
) -> NewUpload:
    """An upload of a location."""
    return NewUpload(
        connection=connection,
        lane=lane,
        operation="2.2.1/LocationsReceiver.put_location",
        path="fr/Cpo/LOC%2F1?x=1",
        sender=PartyId("fr", "Cpo"),
        receiver=receiver,
        correlation_id=f"correlation of {subject}",
        subject=subject,
        body=body,
    )


ABC = PartyId("FR", "ABC")
XYZ = PartyId("DE", "XYZ")


def stored(
    id: str = "LOC1",
    *,
    connection: str = "gireve",
    owner: PartyId = ABC,
    kind: str = "location",
    version: str = "2.2.1",
    last_updated: datetime | None = MORNING,
    body: bytes = b'{"id": "LOC1"}',
) -> StoredObject:
    """An object as a partner sent it."""
    return StoredObject(
        scope=Scope(connection, owner),
        kind=kind,
        id=id,
        version=version,
        last_updated=last_updated,
        body=body,
        digest=hashlib.sha256(body).digest(),
    )


def receipt(text: str = "accepted", *, at: datetime = MORNING, until: datetime | None = None) -> Receipt:
    """An answer that was given."""
    return Receipt(digest=digest(text), answer=text.encode(), at=at, until=until)


def watermark(
    *, since: datetime | None = MORNING, full: datetime | None = None, unfinished: bytes | None = None
) -> Watermark:
    """How far pulls have come."""
    return Watermark(since=since, full=full, unfinished=unfinished)
