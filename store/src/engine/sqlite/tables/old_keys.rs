//! How often keys are used after they were replaced or revoked: gateways count
//! it and tell it with their polls, users see it on their profile, and once a
//! day it goes into the audit log, which cannot be pruned.
//!
//! No poll waits for it. What polls tell is added up in memory and written down
//! some moments later, all of it in one change, so a store that crashes in
//! between forgets a second's worth. It is an estimate for people: a poll whose
//! answer gets lost tells twice.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekey_protocol::{Digest, RefusedUse, UserId};
use rusqlite::{Connection, OptionalExtension};
use tokio::sync::Notify;

use crate::api::OldKeyUse;
use crate::clock::{Moment, UnixMillis};
use crate::engine::WriteError;
use crate::engine::rows::Source;
use crate::engine::sqlite::writer::Writer;
use crate::engine::sqlite::{columns, history};
use crate::metrics::Metrics;
use crate::operations::Kind;

/// What the audit log calls it.
pub const USED: &str = "old_key_used";
/// Keys that counts are held of in memory (I8): more than are used within the
/// moments that they stay there, unless gateways make them up.
const MOST_KEYS: usize = 8192;
/// Between two times of writing down.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// Between two rows of a user in the audit log that are not about the first use
/// of a key.
const TOLD_EVERY_MS: i64 = 24 * 3600 * 1000;

/// Counts on their way from the polls to the database. Cheap to clone.
#[derive(Clone)]
pub struct OldKeys(Arc<Shared>);

struct Shared {
    counts: Mutex<BTreeMap<Digest, u64>>,
    some: Notify,
    writer: Writer,
    metrics: Arc<Metrics>,
}

impl OldKeys {
    /// Writes down in the background what [`Self::used`] takes, for as long as the
    /// writer takes changes. To be called within a runtime.
    pub fn start(writer: Writer, metrics: Arc<Metrics>) -> Self {
        let old_keys = Self(Arc::new(Shared {
            counts: Mutex::default(),
            some: Notify::new(),
            writer,
            metrics,
        }));
        tokio::spawn(write_down(old_keys.clone()));
        old_keys
    }

    /// Takes what a poll tells. Waits for nothing.
    pub fn used(&self, refused: &[RefusedUse]) {
        if refused.is_empty() {
            return;
        }
        let mut dropped = 0;
        {
            let mut counts = self.0.lock();
            for used in refused {
                let has_room = counts.len() < MOST_KEYS;
                match counts.get_mut(&used.digest) {
                    Some(count) => *count += u64::from(used.count),
                    None if has_room => {
                        counts.insert(used.digest, used.count.into());
                    }
                    None => dropped += u64::from(used.count),
                }
            }
        }
        self.0.metrics.old_keys_used("dropped", dropped);
        self.0.some.notify_one();
    }

    /// Writes down what there is.
    ///
    /// # Errors
    /// It could not be, and waits for the next time.
    pub async fn flush(&self) -> Result<(), WriteError> {
        let counts = std::mem::take(&mut *self.0.lock());
        if counts.is_empty() {
            return Ok(());
        }
        let batch = counts.clone();
        let change = self.0.writer.change(Kind::Admin, move |transaction, now| {
            record(transaction, now, &batch)
        });
        match change.await {
            Ok(recorded) => {
                let all: u64 = counts.values().sum();
                self.0.metrics.old_keys_used("recorded", recorded);
                self.0.metrics.old_keys_used("unknown", all - recorded);
                Ok(())
            }
            // Whether they are on disk is not known: twice is worse than a gap.
            Err(WriteError::Unknown) => Err(WriteError::Unknown),
            Err(error) => {
                let mut held = self.0.lock();
                let mut dropped = 0;
                for (digest, count) in counts {
                    let has_room = held.len() < MOST_KEYS;
                    match held.get_mut(&digest) {
                        Some(held) => *held += count,
                        None if has_room => drop(held.insert(digest, count)),
                        None => dropped += count,
                    }
                }
                drop(held);
                self.0.metrics.old_keys_used("dropped", dropped);
                Err(error)
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At once when something comes, and then what has come meanwhile.
async fn write_down(old_keys: OldKeys) {
    loop {
        old_keys.0.some.notified().await;
        match old_keys.flush().await {
            Ok(()) => {}
            Err(WriteError::Stopping) => return,
            Err(error) => {
                tracing::warn!(%error, "uses of revoked keys were not written down");
                old_keys.0.some.notify_one();
            }
        }
        tokio::time::sleep(WRITE_EVERY).await;
    }
}

/// Adds uses up. Those of keys that are unknown here, or active, are ignored.
/// Returns how many were not.
fn record(
    transaction: &Connection,
    now: Moment,
    counts: &BTreeMap<Digest, u64>,
) -> rusqlite::Result<u64> {
    let mut recorded = 0;
    for (digest, count) in counts {
        let added = transaction
            .prepare_cached(
                "INSERT INTO old_key_uses (digest, user_id, replaced, uses, first_ms, last_ms)
                 SELECT digest, user_id, EXISTS (
                        SELECT 1 FROM audit a WHERE a.user_id = k.user_id
                        AND a.old_digest = k.digest AND a.action = 'rotated'), ?2, ?3, ?3
                 FROM keys k WHERE digest = ?1 AND state = 'revoked'
                 ON CONFLICT (digest) DO UPDATE
                 SET uses = uses + excluded.uses, last_ms = excluded.last_ms
                 RETURNING user_id, uses, told_ms IS NULL",
            )?
            .query_row((digest.as_bytes(), *count, now.told.0), |row| {
                let is_first: bool = row.get(2)?;
                Ok((columns::user(row, 0)?, row.get(1)?, is_first))
            })
            .optional()?;
        if let Some((user, uses, is_first)) = added {
            recorded += count;
            if is_first || is_time(transaction, now, &user)? {
                tell(transaction, now, &user, (digest, uses))?;
            }
        }
    }
    Ok(recorded)
}

/// Whether the audit log has had no row about the user's old keys for a day.
fn is_time(transaction: &Connection, now: Moment, user: &UserId) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached(
            "SELECT ifnull(max(told_ms) <= ?2, 1) FROM old_key_uses WHERE user_id = ?1",
        )?
        .query_row(
            (user.as_str(), now.limit.0.saturating_sub(TOLD_EVERY_MS)),
            |row| row.get(0),
        )
}

fn tell(
    transaction: &Connection,
    now: Moment,
    user: &UserId,
    (digest, uses): (&Digest, u64),
) -> rusqlite::Result<()> {
    transaction
        .prepare_cached("UPDATE old_key_uses SET told_ms = ?2 WHERE digest = ?1")?
        .execute((digest.as_bytes(), now.limit.0))?;
    // The key itself is not named: it did not change.
    transaction
        .prepare_cached(
            "INSERT INTO audit (at_ms, user_id, action, revision, hint, source, uses)
             SELECT ?2, ?3, ?4, ?5, hint, ?6, ?7 FROM keys WHERE digest = ?1",
        )?
        .execute((
            digest.as_bytes(),
            now.told.0,
            user.as_str(),
            USED,
            history::head(transaction)?.revision,
            Source::Gateway.as_str(),
            uses,
        ))
        .map(drop)
}

/// At most `limit` old keys of a user that were used, the last used first.
pub fn of_user(
    connection: &Connection,
    user: &UserId,
    limit: u32,
) -> rusqlite::Result<Vec<OldKeyUse>> {
    connection
        .prepare_cached(
            "SELECT k.hint, o.replaced, o.uses, o.first_ms, o.last_ms
             FROM old_key_uses o JOIN keys k USING (digest)
             WHERE o.user_id = ?1 ORDER BY o.last_ms DESC, o.digest LIMIT ?2",
        )?
        .query_map((user.as_str(), limit), |row| {
            let time = |index| row.get(index).map(|at| UnixMillis(at).rfc3339());
            Ok(OldKeyUse {
                hint: row.get(0)?,
                replaced: row.get(1)?,
                uses: row.get(2)?,
                first_at: time(3)?,
                last_at: time(4)?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use rekey_protocol::Client;

    use super::*;
    use crate::engine::rows::{By, Event, NewKey};
    use crate::engine::sqlite::transaction::testing::run;
    use crate::engine::sqlite::{audit, keys, life, schema};
    use crate::operations::audit::Selection;
    use crate::operations::revoke::Revoke;
    use crate::operations::users::{AddUser, Issue, NewUser};

    const DAY: i64 = TOLD_EVERY_MS;

    fn digest(number: u8) -> Digest {
        Digest::from_bytes([number; 32])
    }

    fn user(name: &str) -> UserId {
        name.to_owned().try_into().unwrap()
    }

    /// A database in which "ann" has had the keys 1 and 2, replaced and revoked,
    /// and has 3; "bob" has had 11.
    fn database() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        schema::migrate(&mut connection).unwrap();
        let now = Moment::both(UnixMillis(0));
        life::begin_incarnation(&mut connection, &life::Begin::first(now.told)).unwrap();
        for (name, first) in [("ann", 1), ("bob", 11)] {
            let new = NewUser {
                id: user(name),
                email: format!("{name}@example.com").parse().unwrap(),
                digest: digest(first),
                hint: format!("{first:04}"),
                phc: None,
            };
            run(&connection, now, &AddUser(new)).unwrap();
        }
        let revision = history::next_revision(&connection, now).unwrap();
        keys::set_revoked(&connection, &digest(1), now.told, revision).unwrap();
        let replaced_by = NewKey {
            digest: &digest(2),
            user: &user("ann"),
            hint: Some("0002"),
            created: now.told,
            revision,
        };
        keys::insert(&connection, &replaced_by).unwrap();
        let client = Client::default();
        let rotated = Event {
            user: &user("ann"),
            action: "rotated",
            revision,
            old_digest: Some(&digest(1)),
            new_digest: Some(&digest(2)),
            hint: Some("0002"),
            rotation_id: None,
            by: By::gateway(&client),
        };
        audit::append(&connection, now, &rotated).unwrap();
        for revoked in [2, 11] {
            let revoked = run(&connection, now, &Revoke::Key(digest(revoked)));
            assert!(revoked.unwrap().revoked);
        }
        let issue = Issue {
            user: user("ann"),
            digest: digest(3),
            hint: "0003".into(),
        };
        run(&connection, now, &issue).unwrap();
        connection
    }

    fn used(connection: &Connection, at: i64, counts: &[(u8, u64)]) -> u64 {
        let counts = counts.iter().map(|(key, count)| (digest(*key), *count));
        record(connection, Moment::both(UnixMillis(at)), &counts.collect()).unwrap()
    }

    /// The uses that the rows of the audit log tell, in their order.
    fn told(connection: &Connection, name: &str) -> Vec<u64> {
        let wanted = Selection {
            user: Some(user(name)),
            limit: 1000,
            ..Selection::default()
        };
        let events = audit::list(connection, &wanted).unwrap();
        events.iter().filter_map(|event| event.uses).collect()
    }

    #[test]
    fn uses_add_up_by_key_and_the_last_used_comes_first() {
        let database = database();
        assert_eq!(used(&database, 10_000, &[(1, 3), (2, 1)]), 4);
        assert_eq!(used(&database, 20_000, &[(1, 34)]), 34);
        let uses = of_user(&database, &user("ann"), 9).unwrap();
        let seen: Vec<_> = uses
            .iter()
            .map(|one| (one.hint.as_deref().unwrap(), one.replaced, one.uses))
            .collect();
        assert_eq!(seen, [("0001", true, 37), ("0002", false, 1)]);
        assert_eq!(uses[0].first_at, "1970-01-01T00:00:10Z");
        assert_eq!(uses[0].last_at, "1970-01-01T00:00:20Z");
        assert_eq!(of_user(&database, &user("ann"), 1).unwrap().len(), 1);
        assert_eq!(of_user(&database, &user("bob"), 9).unwrap(), []);
    }

    #[test]
    fn i8_unknown_and_active_keys_leave_nothing_behind() {
        let database = database();
        assert_eq!(used(&database, 1, &[(3, 5), (99, 7), (11, 1)]), 1);
        let count = "SELECT count(*) FROM old_key_uses";
        let rows: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
        assert!(told(&database, "ann").is_empty());
    }

    #[test]
    fn the_audit_log_is_told_of_the_first_use_and_then_once_a_day() {
        let database = database();
        for minute in 0..3 * 24 * 60 {
            used(&database, minute * 60_000, &[(1, 2)]);
        }
        let a_day = 2 * 24 * 60;
        assert_eq!(told(&database, "ann"), [2, a_day + 2, 2 * a_day + 2]);
        // The first use of another key is told at once, and counts for the day.
        let now = 3 * DAY - 1;
        used(&database, now, &[(2, 1)]);
        assert_eq!(told(&database, "ann").last(), Some(&1));
        used(&database, now + 1, &[(1, 1), (2, 1)]);
        assert_eq!(told(&database, "ann").len(), 4);
        used(&database, now + DAY, &[(1, 1), (2, 1)]);
        assert_eq!(told(&database, "ann").len(), 5);
        // Nobody else's day is affected.
        used(&database, now + 2, &[(11, 1)]);
        assert_eq!(told(&database, "bob"), [1]);
    }

    #[test]
    fn a_use_does_not_change_what_last_happened_to_the_key() {
        let database = database();
        let before = audit::latest_of_keys(&database, &user("ann")).unwrap();
        used(&database, 1, &[(1, 1)]);
        assert_eq!(
            audit::latest_of_keys(&database, &user("ann")).unwrap(),
            before
        );
    }
}
