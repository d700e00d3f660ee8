-- A database as the first released schema left it, with one user and one key.

-- The one row of counters. time_ms is the latest time that was acted upon:
-- the clock of the rate limit never shows less (S12).
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    revision INTEGER NOT NULL,
    time_ms INTEGER NOT NULL,
    -- The longest lease that was ever granted (S9).
    longest_lease_ms INTEGER NOT NULL DEFAULT 0,
    -- Cursors below it that nobody knows are of a history whose loss the
    -- operator has accepted (S8).
    accepted_before INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO meta (one, revision, time_ms) VALUES (1, 0, 0);

-- One row per start of the store (S8).
CREATE TABLE incarnations (
    first_revision INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    started_ms INTEGER NOT NULL,
    -- NULL while it is the present one.
    last_revision INTEGER
) STRICT;

CREATE TABLE users (
    user_id TEXT PRIMARY KEY,
    email TEXT UNIQUE COLLATE NOCASE,
    created_ms INTEGER NOT NULL,
    last_rotated_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    user_id TEXT NOT NULL REFERENCES users (user_id),
    state TEXT NOT NULL CHECK (state IN ('active', 'revoked')),
    hint TEXT,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER,
    revision INTEGER NOT NULL,
    CHECK ((state = 'revoked') = (revoked_ms IS NOT NULL))
) STRICT, WITHOUT ROWID;
-- I3: at most one active key per user, whatever the code above does.
CREATE UNIQUE INDEX keys_one_active ON keys (user_id) WHERE state = 'active';
-- The changes since a revision, for the change feed.
CREATE INDEX keys_by_revision ON keys (revision);

-- The answers by rotation id (S11): of what was committed, and of refused
-- ids that are burned. Kept for a day.
CREATE TABLE rotations (
    rotation_id BLOB PRIMARY KEY CHECK (length(rotation_id) = 16),
    old_digest BLOB NOT NULL CHECK (length(old_digest) = 32),
    new_digest BLOB NOT NULL CHECK (length(new_digest) = 32),
    outcome TEXT NOT NULL CHECK (outcome IN
        ('rotated', 'revoked', 'rate_limited', 'unknown_key', 'new_key_exists')),
    user_id TEXT,
    revision INTEGER,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX rotations_by_time ON rotations (at_ms);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at_ms INTEGER NOT NULL,
    user_id TEXT NOT NULL,
    action TEXT NOT NULL,
    revision INTEGER NOT NULL,
    old_digest BLOB,
    new_digest BLOB,
    hint TEXT,
    source TEXT NOT NULL,
    rotation_id BLOB,
    client_address TEXT,
    client_request_id TEXT
) STRICT;
CREATE INDEX audit_by_user ON audit (user_id, id);
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_never_deleted BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

PRAGMA application_id = 1380272985;
PRAGMA user_version = 1;
INSERT INTO incarnations VALUES (1, x'01010101010101010101010101010101', 1700000000000, NULL);
UPDATE meta SET revision = 2, time_ms = 1700000000000;
INSERT INTO users VALUES ('u', 'u@example.com', 1700000000000, NULL);
INSERT INTO keys VALUES (x'0101010101010101010101010101010101010101010101010101010101010101', 'u',
    'active', 'wxyz', 1700000000000, NULL, 2);
