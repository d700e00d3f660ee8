//! What users do to their own key without showing it: replace it, revoke it,
//! and make another one after that. The dashboard asks for it, in the same
//! transactions and by the same decision as the gateways do (S11, S12, I5).

use rekey_protocol::{Client, Digest, ResolvedState, RotateRequest, RotationId, UserId};
use rusqlite::{Connection, OptionalExtension};

use crate::api::{AuditEvent, OldKeyUse};
use crate::clock::{Moment, UnixMillis};
use crate::engine::sqlite::audit::{self, Event};
use crate::engine::sqlite::{
    LastUse, columns, imports, keys, last_uses, next_revision, old_keys, rotate, users,
};
use crate::rotation::{Asked, Facts, OldKey, Refusal, RotationInterval, Verdict, decide};

/// How many keys a user may make within a day without waiting for the hour,
/// each after a revocation: an emergency is not a way around the hour.
pub const AT_ONCE_PER_DAY: u32 = 5;
/// Old keys in an overview: there is one, as a rule.
const OLD_KEYS: u32 = 3;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A key that is to be a user's, and who asked for it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose.
    pub user: UserId,
    /// Of the form that was sent: it works once, as a rotation id does.
    pub ticket: RotationId,
    /// The new key.
    pub new_digest: Digest,
    /// The new key's last characters.
    pub hint: String,
    /// From where.
    pub client: Client,
}

/// A key that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// When.
    pub at: UnixMillis,
    /// The revision of this change.
    pub revision: u64,
}

/// Why nothing was changed. The user's to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnRefusal {
    /// The form has been used.
    TicketUsed,
    /// There is no active key.
    NoKey,
    /// Something has happened to the key since the form was made.
    OtherKey,
    /// The new key was revoked before it could be shown.
    DeadAlready,
    /// Too early.
    RateLimited {
        /// Whole seconds to wait.
        seconds: u64,
        /// How long a user waits between two rotations.
        interval: RotationInterval,
    },
    /// Too early, and the day's keys that need not wait are used up; whole
    /// seconds to wait.
    AtOnceUsedUp(u64),
    /// There is an active key, which would have to be revoked first (I3).
    HasKey,
    /// It was not the user who revoked the last key.
    NotByUser,
    /// The operator imports a key for the user just now.
    BeingImported,
    /// The session that asked was ended before.
    LoggedOut,
}

/// A user's active key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnKey {
    /// Names it in a form: the revision at which it was made.
    pub revision: u64,
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// When it was made or imported.
    pub created: UnixMillis,
    digest: Digest,
}

/// What the user is shown, all from one snapshot.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The active key.
    pub key: Option<OwnKey>,
    /// When that key was last used.
    pub last_use: Option<LastUse>,
    /// How that key was made.
    pub made: Option<AuditEvent>,
    /// The last rotation.
    pub rotated: Option<AuditEvent>,
    /// Whole seconds until the next rotation; `None`: at once.
    pub rotation_wait: Option<u64>,
    /// The revision of the last change of the keys.
    pub last_change: u64,
    /// Without an active key: whether the user may make one.
    pub issue: Result<(), OwnRefusal>,
    /// The last events but for refused tries, newest first.
    pub events: Vec<AuditEvent>,
    /// The last refused tries, newest first.
    pub refused: Vec<AuditEvent>,
    /// Old keys that were used since they were replaced or revoked, the last used
    /// first.
    pub old_keys: Vec<OldKeyUse>,
}

/// Replaces the active key, if it is still the one of revision `shown`.
pub fn rotate(
    transaction: &Connection,
    now: Moment,
    interval: RotationInterval,
    (wish, shown): (&Wish, u64),
) -> rusqlite::Result<Result<Made, OwnRefusal>> {
    let active = active(transaction, &wish.user)?;
    let last_rotated = users::last_rotated(transaction, &wish.user)?;
    let old = active.as_ref().map(|key| OldKey {
        state: ResolvedState::Active,
        user: wish.user.clone(),
        revision: key.revision,
        last_rotated,
    });
    let asked = Asked {
        attempt: 1,
        old_digest: active.as_ref().map_or(wish.new_digest, |key| key.digest),
        new_digest: wish.new_digest,
    };
    let facts = Facts {
        recorded: rotate::recorded(transaction, wish.ticket)?,
        old,
        new_exists: keys::exists(transaction, &wish.new_digest)?,
    };
    match decide(&asked, facts, now.limit, interval) {
        Verdict::Repeat(_) | Verdict::Conflict => Ok(Err(OwnRefusal::TicketUsed)),
        Verdict::Refuse { refusal, .. } => match refusal {
            Refusal::UnknownKey | Refusal::Revoked(_) => Ok(Err(OwnRefusal::NoKey)),
            Refusal::RateLimited(seconds) => Ok(Err(OwnRefusal::RateLimited { seconds, interval })),
            // A key of 154 random bits that was drawn before: no user's fault.
            Refusal::NewKeyExists => Err(rusqlite::Error::InvalidQuery),
        },
        Verdict::Commit(old) if old.revision != shown => Ok(Err(OwnRefusal::OtherKey)),
        Verdict::Commit(old) => {
            let request = request(wish, asked.old_digest);
            let by = (audit::DASHBOARD, &old.user);
            let revision = rotate::commit(transaction, now, &request, by)?;
            Ok(Ok(Made {
                at: now.told,
                revision,
            }))
        }
    }
}

/// Ends the active key, if it is still the one of revision `shown`. To do it
/// again changes nothing. Returns the revision to wait for, and whether it was
/// this call that ended the key.
pub fn revoke(
    transaction: &Connection,
    now: Moment,
    (user, shown): (&UserId, u64),
    client: &Client,
) -> rusqlite::Result<Result<(u64, bool), OwnRefusal>> {
    match active(transaction, user)? {
        Some(key) if key.revision == shown => {
            let by = (audit::DASHBOARD, Some(client));
            let revision = keys::end(transaction, now, user, &key.digest, by)?;
            Ok(Ok((revision, true)))
        }
        Some(_) => Ok(Err(OwnRefusal::OtherKey)),
        None => Ok(Ok((keys::last_change(transaction, user)?, false))),
    }
}

/// Makes a new key for a user who has revoked the last one, at revision `shown`,
/// and begins the hour anew.
pub fn issue(
    transaction: &Connection,
    now: Moment,
    interval: RotationInterval,
    (wish, shown): (&Wish, u64),
) -> rusqlite::Result<Result<Made, OwnRefusal>> {
    if rotate::recorded(transaction, wish.ticket)?.is_some() {
        return Ok(Err(OwnRefusal::TicketUsed));
    }
    let last = audit::latest_of_keys(transaction, &wish.user)?;
    let has_key = active(transaction, &wish.user)?.is_some();
    let last_of = (&wish.user, last.as_ref());
    if let Err(refusal) = may_issue(transaction, now, interval, has_key, last_of)? {
        return Ok(Err(refusal));
    }
    if last.as_ref().is_none_or(|last| last.revision != shown) {
        return Ok(Err(OwnRefusal::OtherKey));
    }
    if imports::reserves(transaction, wish.user.as_str(), None)? {
        return Ok(Err(OwnRefusal::BeingImported));
    }
    let revision = next_revision(transaction, now)?;
    let (new, hint) = (&wish.new_digest, Some(wish.hint.as_str()));
    keys::insert(transaction, now, new, &wish.user, hint, revision)?;
    users::begin_hour(transaction, now, &wish.user)?;
    let event = Event {
        user: &wish.user,
        action: ISSUED,
        revision,
        old_digest: None,
        new_digest: Some(new),
        hint,
        source: audit::DASHBOARD,
        rotation_id: Some(wish.ticket),
        client: Some(&wish.client),
    };
    audit::append(transaction, now, &event)?;
    // The ticket is used up like a rotation's id.
    let old_digest = last.and_then(|event| event.old_digest).unwrap_or(*new);
    let request = request(wish, old_digest);
    let (user, at) = (Some(&wish.user), Some(revision));
    rotate::record(transaction, now, &request, "rotated", user, at)?;
    Ok(Ok(Made {
        at: now.told,
        revision,
    }))
}

/// All that a user is shown about the own key, and the last `limit` events.
pub fn overview(
    connection: &mut Connection,
    now: Moment,
    interval: RotationInterval,
    (user, limit): (&UserId, u32),
) -> rusqlite::Result<Overview> {
    let snapshot = connection.transaction()?;
    let key = active(&snapshot, user)?;
    let last = audit::latest_of_keys(&snapshot, user)?;
    let last_of = (user, last.as_ref());
    let issue = may_issue(&snapshot, now, interval, key.is_some(), last_of)?;
    let last_change = last.as_ref().map_or(0, |event| event.revision);
    let made = last.filter(|event| {
        let digest = key.as_ref().map(|key| key.digest);
        event.new_digest.is_some() && event.new_digest == digest
    });
    let last_use = match &key {
        Some(key) => last_uses::of_key(&snapshot, &key.digest)?,
        None => None,
    };
    Ok(Overview {
        last_use,
        made,
        rotated: audit::latest_rotation(&snapshot, user)?,
        rotation_wait: interval.retry_after(users::last_rotated(&snapshot, user)?, now.limit),
        last_change,
        issue,
        events: audit::latest(&snapshot, user, limit)?,
        refused: audit::latest_refused(&snapshot, user, limit / 4)?,
        old_keys: old_keys::of_user(&snapshot, user, OLD_KEYS)?,
        key,
    })
}

/// The active key, as a form names it.
pub fn named(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<(Digest, u64)>> {
    let key = active(connection, user)?;
    Ok(key.map(|key| (key.digest, key.revision)))
}

const ISSUED: &str = "issued";

fn request(wish: &Wish, old_digest: Digest) -> RotateRequest {
    RotateRequest {
        rotation_id: wish.ticket,
        attempt: 1,
        old_digest,
        new_digest: wish.new_digest,
        hint: wish.hint.clone(),
        replay: None,
        client: wish.client.clone(),
        patience_ms: None,
    }
}

fn active(connection: &Connection, user: &UserId) -> rusqlite::Result<Option<OwnKey>> {
    connection
        .prepare_cached(
            "SELECT digest, revision, hint, created_ms FROM live_keys
             WHERE user_id = ?1 AND state = 'active'",
        )?
        .query_row([user.as_str()], |row| {
            Ok(OwnKey {
                digest: columns::digest(row, 0)?,
                revision: row.get(1)?,
                hint: row.get(2)?,
                created: UnixMillis(row.get(3)?),
            })
        })
        .optional()
}

/// Whether the user may make a key; `last` is what happened to the last one.
fn may_issue(
    connection: &Connection,
    now: Moment,
    interval: RotationInterval,
    has_key: bool,
    (user, last): (&UserId, Option<&AuditEvent>),
) -> rusqlite::Result<Result<(), OwnRefusal>> {
    if has_key {
        return Ok(Err(OwnRefusal::HasKey));
    }
    // Whom the operator has locked out does not come back by this door.
    let by_user =
        |event: &AuditEvent| event.action == keys::REVOKED && event.source == audit::DASHBOARD;
    if !last.is_some_and(by_user) {
        return Ok(Err(OwnRefusal::NotByUser));
    }
    let Some(seconds) = interval.retry_after(users::last_rotated(connection, user)?, now.limit)
    else {
        return Ok(Ok(()));
    };
    let today: u32 = connection
        .prepare_cached(
            "SELECT count(*) FROM audit WHERE user_id = ?1 AND coalesce(limit_ms, at_ms) > ?2
             AND action = 'issued' AND source = 'dashboard'",
        )?
        .query_row((user.as_str(), now.limit.0.saturating_sub(DAY_MS)), |row| {
            row.get(0)
        })?;
    Ok(match today < AT_ONCE_PER_DAY {
        true => Ok(()),
        false => Err(OwnRefusal::AtOnceUsedUp(seconds)),
    })
}

#[cfg(test)]
mod tests;
