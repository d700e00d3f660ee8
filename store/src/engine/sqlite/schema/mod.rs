//! The tables of the key store, as steps that lead from any older schema to
//! this one. `PRAGMA user_version` counts the steps taken.

use rusqlite::Connection;

use super::{OpenError, people};

/// `PRAGMA application_id` of a database of ours: "REKY".
const APPLICATION_ID: i32 = 0x5245_4b59;

/// A step is never changed once released; a change of the schema is a new one.
const STEPS: &[Migration] = &[
    Migration::Sql(V1),
    Migration::Sql(V2),
    Migration::Sql(V3),
    Migration::Sql(V4),
    Migration::Sql(V5),
    Migration::Sql(V6),
    Migration::Sql(V7),
    Migration::Sql(V8),
    Migration::SqlThen(V9, people::fill),
];

/// What leads from one schema to the next.
enum Migration {
    /// Statements.
    Sql(&'static str),
    /// Statements, and then what only a program can do with the rows, in the same
    /// transaction.
    SqlThen(&'static str, fn(&Connection) -> rusqlite::Result<()>),
}

const V1: &str = "
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
";

const V2: &str = "
-- Who may log in to the dashboard: a PHC string of argon2id each.
CREATE TABLE passwords (
    user_id TEXT PRIMARY KEY REFERENCES users (user_id),
    phc TEXT NOT NULL,
    changed_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who is logged in. The token itself is in the browser alone.
CREATE TABLE sessions (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    user_id TEXT NOT NULL REFERENCES users (user_id),
    created_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id, created_ms);
CREATE INDEX sessions_by_age ON sessions (created_ms);

-- The browsers in which a user has logged in before.
CREATE TABLE devices (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    user_id TEXT NOT NULL REFERENCES users (user_id),
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_by_user ON devices (user_id, seen_ms);

-- What happened to a user's keys, among all the log-ins.
CREATE INDEX audit_of_keys ON audit (user_id, id)
    WHERE old_digest IS NOT NULL OR new_digest IS NOT NULL;
-- The keys that a user made after Revoke now, to count them.
CREATE INDEX audit_self_issued ON audit (user_id, at_ms)
    WHERE action = 'issued' AND source = 'dashboard';
-- Refused tries with a password, to count them and to show them apart.
CREATE INDEX audit_refused ON audit (user_id, at_ms)
    WHERE action IN ('login_refused', 'password_refused');
";

const V3: &str = "
-- Until when the rotation that revoked the key may be answered again to its
-- client (X5). What is needed for that is in another file.
ALTER TABLE keys ADD COLUMN replay_until_ms INTEGER;
-- Which rotation replaced a key.
CREATE INDEX rotations_by_old ON rotations (old_digest) WHERE outcome = 'rotated';
";

const V4: &str = "
-- How often keys were used after they were replaced or revoked: a row for each
-- such key at most.
CREATE TABLE old_key_uses (
    digest BLOB PRIMARY KEY REFERENCES keys (digest),
    user_id TEXT NOT NULL,
    -- Whether another key took its place at once; it was revoked otherwise.
    replaced INTEGER NOT NULL,
    uses INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms INTEGER NOT NULL,
    -- When the audit log was told last; NULL: never.
    told_ms INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX old_key_uses_by_user ON old_key_uses (user_id, last_ms);
-- How often by then, in a row about the uses of an old key.
ALTER TABLE audit ADD COLUMN uses INTEGER;
";

const V5: &str = "
-- How many transactions ever changed the database: the lock file has it, too,
-- so that an older copy is noticed (S8).
ALTER TABLE meta ADD COLUMN commits INTEGER NOT NULL DEFAULT 0;
-- The anchor as of the last change; see below.
ALTER TABLE meta ADD COLUMN anchor INTEGER NOT NULL DEFAULT 0;
-- As it was when the life ended; NULL: it has not, or nobody counted yet.
ALTER TABLE incarnations ADD COLUMN last_commits INTEGER;
-- Changed before each checkpoint, on a page of its own: it says which file the
-- write-ahead log continues.
CREATE TABLE anchor (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    value INTEGER NOT NULL
) STRICT;
INSERT INTO anchor (one, value) VALUES (1, 0);
";

const V6: &str = "
-- Imports go in by many small changes. Their rows count from one change on, the
-- cut-over, which gives the import its revision.
CREATE TABLE imports (
    id INTEGER PRIMARY KEY,
    begun_ms INTEGER NOT NULL,
    -- NULL: its rows do not count. It is under way, or its rows are being removed.
    revision INTEGER UNIQUE,
    counts_since_ms INTEGER,
    -- Whether the audit log has all of its rows.
    is_told INTEGER NOT NULL DEFAULT 0,
    CHECK ((revision IS NULL) = (counts_since_ms IS NULL))
) STRICT;
-- The import that brought the row; NULL: none did, or one of an earlier version.
ALTER TABLE users ADD COLUMN import INTEGER;
ALTER TABLE keys ADD COLUMN import INTEGER;
-- What counts. All that is read or refused by users and keys goes by these two.
CREATE VIEW live_users AS
    SELECT u.* FROM users u WHERE u.import IS NULL OR EXISTS (
        SELECT 1 FROM imports i WHERE i.id = u.import AND i.revision IS NOT NULL);
CREATE VIEW live_keys AS
    SELECT k.digest, k.user_id, k.state, k.hint, k.created_ms, k.revoked_ms,
        k.replay_until_ms, k.import,
        -- An imported key has that of its import until it is changed.
        max(k.revision, ifnull(
            (SELECT i.revision FROM imports i WHERE i.id = k.import), 0)) AS revision
    FROM keys k WHERE k.import IS NULL OR EXISTS (
        SELECT 1 FROM imports i WHERE i.id = k.import AND i.revision IS NOT NULL);
-- The feed asks for revocations only, and must not pass over imported keys.
DROP INDEX keys_by_revision;
CREATE INDEX keys_revoked ON keys (revision) WHERE state = 'revoked';
";

const V7: &str = "
-- The hour in which a key was last used.
ALTER TABLE keys ADD COLUMN last_used_ms INTEGER;
-- Of keys that were made later, no use on record means none. Of others it means
-- that nobody knows: uses were not noted before. time_ms is not before any time
-- that is in this database.
ALTER TABLE meta ADD COLUMN last_uses_since_ms INTEGER NOT NULL DEFAULT 0;
UPDATE meta SET last_uses_since_ms = time_ms;
DROP VIEW live_keys;
CREATE VIEW live_keys AS
    SELECT k.digest, k.user_id, k.state, k.hint, k.created_ms, k.revoked_ms,
        k.replay_until_ms, k.import, k.last_used_ms,
        -- An imported key has that of its import until it is changed.
        max(k.revision, ifnull(
            (SELECT i.revision FROM imports i WHERE i.id = k.import), 0)) AS revision
    FROM keys k WHERE k.import IS NULL OR EXISTS (
        SELECT 1 FROM imports i WHERE i.id = k.import AND i.revision IS NOT NULL);
";

const V8: &str = "
-- The limit's clock and the wall clock part where the latter is set (S12). What is
-- told is the wall clock's, what is counted from is the limit's, as meta.time_ms is.
-- The wall clock at meta.time_ms; NULL: it was the same.
ALTER TABLE meta ADD COLUMN wall_ms INTEGER;
-- When the user last rotated, as it is told; last_rotated_ms is the limit's.
ALTER TABLE users ADD COLUMN rotated_told_ms INTEGER;
-- As clients are told; at_ms is the limit's. NULL: the same.
ALTER TABLE rotations ADD COLUMN told_ms INTEGER;
-- By the limit's clock; at_ms is what is told. NULL: the same.
ALTER TABLE audit ADD COLUMN limit_ms INTEGER;
DROP INDEX audit_self_issued;
CREATE INDEX audit_self_issued ON audit (user_id, coalesce(limit_ms, at_ms))
    WHERE action = 'issued' AND source = 'dashboard';
DROP INDEX audit_refused;
CREATE INDEX audit_refused ON audit (user_id, coalesce(limit_ms, at_ms))
    WHERE action IN ('login_refused', 'password_refused');
-- What is written to know whether a change could be: about as much as a rotation.
CREATE TABLE probe (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    bytes BLOB NOT NULL
) STRICT;
";

const V9: &str = "
-- The address in the form in which it is compared (crate::accounts::typed).
ALTER TABLE users ADD COLUMN email_normal TEXT;
-- 0 for all who were added since there is that form. Users of before it may have
-- addresses that are the same by it: each of those has another number.
ALTER TABLE users ADD COLUMN email_nth INTEGER NOT NULL DEFAULT 0;
-- 0: a user. 1: the id of one who was removed, so that nobody else gets it; nothing
-- else is known of it. 2: the pseudonym that the audit log and the dead keys of a
-- removed user have. Nothing here says which 2 was which 1.
ALTER TABLE users ADD COLUMN removed INTEGER NOT NULL DEFAULT 0
    CHECK (removed IN (0, 1, 2));
-- 1: the hash is of the password's normal form; 0: of what was typed.
ALTER TABLE passwords ADD COLUMN normal INTEGER NOT NULL DEFAULT 0;
-- The audit log since some moment.
CREATE INDEX audit_by_time ON audit (at_ms);
-- The one change of the audit log that there is: a removed user's name in it.
DROP TRIGGER audit_is_never_changed;
CREATE TRIGGER audit_is_never_changed BEFORE UPDATE OF
    id, at_ms, action, revision, old_digest, new_digest, hint, source, rotation_id,
    client_address, client_request_id, uses, limit_ms ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_only_forgets_names BEFORE UPDATE OF user_id ON audit
WHEN NOT EXISTS (
    SELECT 1 FROM users WHERE user_id = NEW.user_id AND removed = 2)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- Who was removed is no user.
DROP VIEW live_users;
CREATE VIEW live_users AS
    SELECT u.* FROM users u WHERE u.removed = 0 AND (u.import IS NULL OR EXISTS (
        SELECT 1 FROM imports i WHERE i.id = u.import AND i.revision IS NOT NULL));
";

/// Refuses what is no database of ours, or of a newer version; reads only.
pub(super) fn check(connection: &Connection) -> Result<(), OpenError> {
    let number = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i32>(0));
    let found = number("user_version")?;
    let known = i32::try_from(STEPS.len()).unwrap_or(i32::MAX);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables > 0 && number("application_id")? != APPLICATION_ID {
        return Err(OpenError::Foreign);
    }
    if found > known {
        return Err(OpenError::NewerSchema { found, known });
    }
    Ok(())
}

/// Refuses a file in which no store has begun yet: there is nothing in it.
pub(super) fn check_begun(connection: &Connection) -> Result<(), OpenError> {
    let version: i32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match version {
        0 => Err(OpenError::Empty),
        _ => Ok(()),
    }
}

/// Takes the steps that are missing, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), OpenError> {
    take(connection, STEPS)
}

/// As it was after so many steps, for tests with rows of that time.
#[cfg(test)]
pub(super) fn migrate_to(connection: &mut Connection, steps: usize) {
    take(connection, &STEPS[..steps]).unwrap();
}

fn take(connection: &mut Connection, steps: &[Migration]) -> Result<(), OpenError> {
    let done: usize =
        connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0))? as usize;
    for (index, step) in steps.iter().enumerate().skip(done) {
        let transaction = connection.transaction()?;
        match step {
            Migration::Sql(sql) => transaction.execute_batch(sql)?,
            Migration::SqlThen(sql, then) => {
                transaction.execute_batch(sql)?;
                then(&transaction)?;
            }
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", index as i64 + 1)?;
        transaction.commit()?;
        tracing::info!(schema = index + 1, "database schema updated");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
