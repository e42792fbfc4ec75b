"""The tables of the store in one SQLite file; runs no statement.

Moments are text in UTC with six decimals, so that they sort as moments do.
"""

from __future__ import annotations

from ._writer import Schema

# Written for SQLite 3.24 and later, so without STRICT tables and RETURNING.
# A migration, once released, is never edited.
_MIGRATIONS = (
    (
        """
        CREATE TABLE connection (
            number INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            profile TEXT NOT NULL,
            party_country TEXT,
            party_id TEXT,
            role TEXT,
            origins TEXT NOT NULL,
            approved TEXT,
            requires TEXT NOT NULL,
            state TEXT NOT NULL,
            versions_url TEXT,
            version TEXT,
            roles TEXT NOT NULL,
            endpoints TEXT NOT NULL,
            outbound_token BLOB,
            outbound_token_encrypted INTEGER NOT NULL
        )
        """,
        """
        CREATE TABLE token (
            number INTEGER PRIMARY KEY,
            digest BLOB NOT NULL UNIQUE CHECK (typeof(digest) = 'blob' AND length(digest) = 32),
            connection TEXT NOT NULL REFERENCES connection (id),
            kind TEXT NOT NULL,
            used INTEGER NOT NULL,
            expires TEXT
        )
        """,
        "CREATE INDEX token_by_connection ON token (connection)",
        # The counts are kept by triggers: counting a million uploads for a status would take too long.
        """
        CREATE TABLE lane (
            id INTEGER PRIMARY KEY,
            connection TEXT NOT NULL,
            name TEXT NOT NULL,
            queued INTEGER NOT NULL DEFAULT 0,
            parked INTEGER NOT NULL DEFAULT 0,
            UNIQUE (connection, name)
        )
        """,
        # AUTOINCREMENT: the number of a deleted upload is not given to another one.
        """
        CREATE TABLE upload (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            lane INTEGER NOT NULL REFERENCES lane (id),
            state TEXT NOT NULL CHECK (state IN ('QUEUED', 'PARKED')),
            created TEXT NOT NULL,
            attempts INTEGER NOT NULL DEFAULT 0,
            reason TEXT NOT NULL DEFAULT '',
            operation TEXT NOT NULL,
            path TEXT NOT NULL,
            sender_country TEXT NOT NULL,
            sender_party TEXT NOT NULL,
            receiver_country TEXT,
            receiver_party TEXT,
            correlation_id TEXT NOT NULL,
            subject TEXT NOT NULL,
            body BLOB NOT NULL
        )
        """,
        # Both end in seq, which is the rowid.
        "CREATE INDEX upload_queued ON upload (lane) WHERE state = 'QUEUED'",
        "CREATE INDEX upload_parked ON upload (lane) WHERE state = 'PARKED'",
        """
        CREATE TRIGGER upload_added AFTER INSERT ON upload BEGIN
            UPDATE lane SET queued = queued + (new.state = 'QUEUED'), parked = parked + (new.state = 'PARKED')
            WHERE id = new.lane;
        END
        """,
        """
        CREATE TRIGGER upload_moved AFTER UPDATE OF state ON upload BEGIN
            UPDATE lane SET queued = queued + (new.state = 'QUEUED') - (old.state = 'QUEUED'),
                            parked = parked + (new.state = 'PARKED') - (old.state = 'PARKED')
            WHERE id = new.lane;
        END
        """,
        """
        CREATE TRIGGER upload_deleted AFTER DELETE ON upload BEGIN
            UPDATE lane SET queued = queued - (old.state = 'QUEUED'), parked = parked - (old.state = 'PARKED')
            WHERE id = old.lane;
        END
        """,
        # owner and key are the lower-case forms by which objects are found; the others keep their spelling.
        # The number is the order of creation: an update keeps it.
        """
        CREATE TABLE object (
            number INTEGER PRIMARY KEY,
            connection TEXT NOT NULL,
            kind TEXT NOT NULL,
            owner TEXT NOT NULL,
            key TEXT NOT NULL,
            country_code TEXT NOT NULL,
            party_id TEXT NOT NULL,
            id TEXT NOT NULL,
            version TEXT NOT NULL,
            last_updated TEXT,
            digest BLOB NOT NULL,
            body BLOB NOT NULL
        )
        """,
        # The owner last: a card that a driver shows has an id, and not yet an owner.
        "CREATE UNIQUE INDEX object_by_id ON object (connection, kind, key, owner)",
        # These end in number, which is the rowid, and hold all that a page is chosen by: the rows that it
        # skips are not read.
        "CREATE INDEX object_by_number ON object (connection, kind)",
        "CREATE INDEX object_by_owner ON object (connection, kind, owner)",
        "CREATE INDEX object_by_change ON object (connection, kind, last_updated, owner)",
        """
        CREATE TABLE watermark (
            connection TEXT NOT NULL,
            stream TEXT NOT NULL,
            since TEXT,
            whole TEXT,
            unfinished BLOB,
            PRIMARY KEY (connection, stream)
        )
        """,
        """
        CREATE TABLE receipt (
            connection TEXT NOT NULL,
            key TEXT NOT NULL,
            digest BLOB NOT NULL,
            answer BLOB NOT NULL,
            at TEXT NOT NULL,
            until TEXT,
            PRIMARY KEY (connection, key)
        )
        """,
        "CREATE INDEX receipt_by_end ON receipt (until) WHERE until IS NOT NULL",
    ),
)

# Versions 1 and 2 were of no release: their files are refused, not migrated.
SCHEMA = Schema(application_id=int.from_bytes(b"OCPI", "big"), first=3, migrations=_MIGRATIONS)
