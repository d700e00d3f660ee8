//! Who is logged in to the dashboard. The store keeps the digest of a session's
//! token; the token itself is in the browser alone.

use std::time::Duration;

use rekey_protocol::{Client, Digest, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::clock::{Moment, UnixMillis};
use crate::engine::rows::By;
use crate::engine::sqlite::{audit, columns, passwords, users};

/// The longest that a session may be set to last.
pub const SESSION_LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Sessions that one user may have; a further one ends the oldest.
const PER_USER: u32 = 20;
/// Browsers that are remembered of one user.
const DEVICES_PER_USER: u32 = 20;

/// When a session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// After so long without a request.
    pub idle: Duration,
    /// So long after the log-in, whatever happens.
    pub max: Duration,
}

/// A session that began so much later than now is of a clock that was wrong:
/// less is the time between two looks at a clock that is right.
const SLACK_MS: i64 = 60_000;

impl SessionLimits {
    /// The last moments of creation and of use that are too long ago.
    fn over_at(self, now: Moment) -> (i64, i64) {
        let before = |age: Duration| {
            let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
            now.limit.0.saturating_sub(age)
        };
        (before(self.max), before(self.idle))
    }
}

/// A session to be.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Of the token.
    pub digest: Digest,
    /// Whose.
    pub user: UserId,
    /// From where.
    pub client: Client,
}

/// A log-in that has been found right.
#[derive(Debug, Clone)]
pub struct LogIn {
    /// Its session.
    pub session: NewSession,
    /// The hash of the password that was shown.
    pub phc: String,
    /// What it is to become: the hash of the password's normal form, where that on
    /// record is of what was typed.
    pub renewed: Option<String>,
    /// The sessions that the browser had: one, unless somebody has planted others.
    pub former: Vec<Digest>,
    /// What the browser is to be known by from now on.
    pub device: Digest,
    /// What it was known by.
    pub former_device: Option<Digest>,
}

/// A session that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSession {
    /// Whose.
    pub user: UserId,
    /// The user's address.
    pub email: String,
    /// When it was last noted that it is in use, by the limit's clock.
    pub seen: UnixMillis,
}

/// Finds a session that is not over. One of the future is: the clock was wrong
/// when it began, and nobody knows how old it is.
pub fn find(
    connection: &Connection,
    now: Moment,
    limits: SessionLimits,
    digest: &Digest,
) -> rusqlite::Result<Option<OpenSession>> {
    let (created, seen) = limits.over_at(now);
    connection
        .prepare_cached(
            "SELECT s.user_id, coalesce(u.email, ''), s.seen_ms
             FROM sessions s JOIN users u USING (user_id)
             WHERE s.digest = ?1 AND s.created_ms > ?2 AND s.seen_ms > ?3
               AND s.created_ms <= ?4 AND s.seen_ms <= ?4",
        )?
        .query_row(
            (digest.as_bytes(), created, seen, now.limit.0 + SLACK_MS),
            |row| {
                Ok(OpenSession {
                    user: columns::user(row, 0)?,
                    email: row.get(1)?,
                    seen: UnixMillis(row.get(2)?),
                })
            },
        )
        .optional()
}

/// Whether a session is there, over or not: it is until it is ended, and for
/// some time after it is over.
pub fn exists(connection: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT 1 FROM sessions WHERE digest = ?1")?
        .exists([digest.as_bytes()])
}

/// Begins a session, and ends those that the browser had. `false`: the
/// password was changed since it was shown.
pub fn open(transaction: &Connection, now: Moment, log_in: &LogIn) -> rusqlite::Result<bool> {
    let session = &log_in.session;
    let user = &session.user;
    let phc = passwords::of_user(transaction, user)?.map(|hash| hash.stored.phc);
    if phc.as_ref() != Some(&log_in.phc) {
        return Ok(false);
    }
    if let Some(renewed) = &log_in.renewed {
        passwords::renew(transaction, user, renewed)?;
    }
    for former in &log_in.former {
        delete(transaction, former)?;
    }
    insert(transaction, now, session)?;
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE user_id = ?1 ORDER BY created_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((user.as_str(), PER_USER))?;
    if let Some(former) = &log_in.former_device {
        transaction
            .prepare_cached("DELETE FROM devices WHERE digest = ?1 AND user_id = ?2")?
            .execute((former.as_bytes(), user.as_str()))?;
    }
    remember(transaction, now, user, &log_in.device)?;
    let by = By::dashboard(&session.client);
    audit::append_aside(transaction, now, user, "login", by)?;
    Ok(true)
}

/// Notes that a user has logged in in this browser.
pub fn remember(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    device: &Digest,
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("DELETE FROM devices WHERE user_id = ?1 AND seen_ms > ?2")?
        .execute((user.as_str(), now.limit.0 + SLACK_MS))?;
    transaction
        .prepare_cached("INSERT INTO devices (digest, user_id, seen_ms) VALUES (?1, ?2, ?3)")?
        .execute((device.as_bytes(), user.as_str(), now.limit.0))?;
    transaction
        .prepare_cached(
            "DELETE FROM devices WHERE digest IN (SELECT digest FROM devices
             WHERE user_id = ?1 ORDER BY seen_ms DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute((user.as_str(), DEVICES_PER_USER))
        .map(drop)
}

/// Adds a session.
pub fn insert(transaction: &Connection, now: Moment, session: &NewSession) -> rusqlite::Result<()> {
    // They would count as the newest, and this one as too many.
    transaction
        .prepare_cached("DELETE FROM sessions WHERE user_id = ?1 AND created_ms > ?2")?
        .execute((session.user.as_str(), now.limit.0 + SLACK_MS))?;
    transaction
        .prepare_cached(
            "INSERT INTO sessions (digest, user_id, created_ms, seen_ms) VALUES (?1, ?2, ?3, ?3)",
        )?
        .execute((
            session.digest.as_bytes(),
            session.user.as_str(),
            now.limit.0,
        ))
        .map(drop)
}

/// Notes that a session is in use.
pub fn touch(transaction: &Connection, now: Moment, digest: &Digest) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE sessions SET seen_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), now.limit.0))
        .map(drop)
}

/// Ends one session, or with `everywhere` all of the user's.
pub fn close(
    transaction: &Connection,
    now: Moment,
    session: &NewSession,
    everywhere: bool,
) -> rusqlite::Result<()> {
    let action = match everywhere {
        true => {
            close_all(transaction, &session.user)?;
            "logout_everywhere"
        }
        false => {
            delete(transaction, &session.digest)?;
            "logout"
        }
    };
    // Who was removed meanwhile must not come back into the log.
    if !users::exists(transaction, &session.user)? {
        return Ok(());
    }
    let by = By::dashboard(&session.client);
    audit::append_aside(transaction, now, &session.user, action, by)
}

/// Ends all sessions of a user, and forgets in which browsers there were any.
pub fn close_all(transaction: &Connection, user: &UserId) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM sessions WHERE user_id = ?1",
        "DELETE FROM devices WHERE user_id = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute([user.as_str()])?;
    }
    Ok(())
}

/// Ends a session; whether there was one.
pub fn delete(transaction: &Connection, digest: &Digest) -> rusqlite::Result<bool> {
    let deleted = transaction
        .prepare_cached("DELETE FROM sessions WHERE digest = ?1")?
        .execute([digest.as_bytes()])?;
    Ok(deleted > 0)
}

/// Deletes at most `limit` sessions that are over by any limits; how many.
pub fn prune(transaction: &Connection, now: Moment, limit: usize) -> rusqlite::Result<usize> {
    let any = SessionLimits {
        idle: SESSION_LONGEST,
        max: SESSION_LONGEST,
    };
    transaction
        .prepare_cached(
            "DELETE FROM sessions WHERE digest IN (SELECT digest FROM sessions
             WHERE created_ms <= ?1 LIMIT ?2)",
        )?
        .execute((any.over_at(now).0, limit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sqlite::{PasswordChange, PasswordRefusal, schema};

    const NOW: Moment = Moment::both(UnixMillis(1_800_000_000_000));
    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(60),
        max: Duration::from_secs(3600),
    };

    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users (user_id, email, email_normal, created_ms)
                     VALUES ('u', 'u@example.com', 'u@example.com', 1);
                 INSERT INTO incarnations (first_revision, id, started_ms)
                    VALUES (1, x'01010101010101010101010101010101', 1);",
            )
            .unwrap();
        passwords::put(&connection, NOW.told, &user(), "old").unwrap();
        connection
    }

    fn user() -> UserId {
        "u".parse().unwrap()
    }

    fn session(name: u8) -> NewSession {
        NewSession {
            digest: Digest::from_bytes([name; 32]),
            user: user(),
            client: Client::default(),
        }
    }

    fn is_open(database: &Connection, name: u8, now: Moment) -> bool {
        let digest = Digest::from_bytes([name; 32]);
        find(database, now, LIMITS, &digest).unwrap().is_some()
    }

    #[test]
    fn a_session_of_a_clock_that_was_ahead_is_over() {
        let database = database();
        let later = |seconds| NOW.plus(Duration::from_secs(seconds));
        insert(&database, later(86_400), &session(1)).unwrap();
        assert!(is_open(&database, 1, later(86_400)));
        assert!(!is_open(&database, 1, NOW));
        // Not by a moment: somebody else may just have used it.
        assert!(is_open(&database, 1, later(86_399)));
        // As is one that was only seen then.
        insert(&database, NOW, &session(2)).unwrap();
        assert!(is_open(&database, 2, NOW));
        touch(&database, later(86_400), &session(2).digest).unwrap();
        assert!(!is_open(&database, 2, later(60)));
    }

    #[test]
    fn sessions_of_a_clock_that_was_ahead_keep_nobody_out() {
        let database = database();
        for name in 1..=20 {
            let ahead = NOW.plus(Duration::from_secs(86_400 + u64::from(name)));
            insert(&database, ahead, &session(name)).unwrap();
            remember(&database, ahead, &user(), &session(name).digest).unwrap();
        }
        let log_in = LogIn {
            session: session(99),
            phc: "old".into(),
            renewed: None,
            former: Vec::new(),
            device: session(99).digest,
            former_device: None,
        };
        assert!(open(&database, NOW, &log_in).unwrap());
        assert!(is_open(&database, 99, NOW));
        let email = "u@example.com";
        let found = passwords::account(&database, email, &[log_in.device]);
        assert_eq!(found.unwrap().unwrap().known_device, Some(log_in.device));
    }

    #[test]
    fn a_change_of_the_password_does_not_outlive_a_log_out() {
        let database = database();
        let change = PasswordChange {
            old: "old".into(),
            new: "new".into(),
            former: session(1).digest,
            session: session(2),
            device: Digest::from_bytes([9; 32]),
        };
        let make = || passwords::change(&database, NOW, &change).unwrap();
        insert(&database, NOW, &session(1)).unwrap();
        close(&database, NOW, &session(3), true).unwrap();
        assert_eq!(make(), Err(PasswordRefusal::Changed));
        assert!(!is_open(&database, 2, NOW));
        insert(&database, NOW, &session(1)).unwrap();
        assert_eq!(make(), Ok(()));
        assert!(is_open(&database, 2, NOW) && !is_open(&database, 1, NOW));
    }

    #[test]
    fn i8_a_user_has_so_many_browsers() {
        let database = database();
        for number in 0..2 * DEVICES_PER_USER {
            let device = Digest::of(&number.to_be_bytes());
            let at = NOW.plus(Duration::from_secs(number.into()));
            remember(&database, at, &user(), &device).unwrap();
        }
        let count: u32 = database
            .query_row("SELECT count(*) FROM devices", [], |row| row.get(0))
            .unwrap();
        assert_eq!(count, DEVICES_PER_USER);
    }
}
