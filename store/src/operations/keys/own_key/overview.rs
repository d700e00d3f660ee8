//! What users are shown about their own key, all from one snapshot.

use rekey_protocol::UserId;

use super::{KeyHistory, OwnRefusal};
use crate::api::{AuditEvent, OldKeyUse};
use crate::engine::ReadTx;
use crate::engine::look::Look;
use crate::engine::rows::{CurrentKey, LastUse};
use crate::operations::{Context, Read, ReadQueue};

/// Old keys in an overview: there is one, as a rule.
const OLD_KEYS: u32 = 3;

/// Shows a user the own key.
#[derive(Debug, Clone)]
pub struct ShowOverview {
    /// To whom.
    pub user: UserId,
    /// With at most so many of the last events.
    pub limit: u32,
}

/// What the user is shown.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The active key.
    pub key: Option<CurrentKey>,
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
    /// The last events except refused tries, newest first.
    pub events: Vec<AuditEvent>,
    /// The last refused tries, newest first.
    pub refused: Vec<AuditEvent>,
    /// Old keys that were used since they were replaced or revoked, the last used
    /// first.
    pub old_keys: Vec<OldKeyUse>,
}

impl Read for ShowOverview {
    type Out = Overview;

    const QUEUE: ReadQueue = ReadQueue::Dashboard;

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::User(self.user.clone())]
    }

    fn read<T: ReadTx>(&self, tx: &T, cx: &Context) -> Result<Overview, T::Error> {
        let Self { user, limit } = self;
        let key = tx.active_key(user)?;
        let last = tx.last_key_event(user)?;
        let past = KeyHistory {
            user,
            has_key: key.is_some(),
            last: last.as_ref(),
        };
        let issue = past.allows_issue(tx, cx)?;
        let last_change = last.as_ref().map_or(0, |event| event.revision);
        let made = last.filter(|event| {
            let digest = key.as_ref().map(|key| key.digest);
            event.new_digest.is_some() && event.new_digest == digest
        });
        let last_use = match &key {
            Some(key) => tx.last_use(&key.digest)?,
            None => None,
        };
        let last_rotated = tx.last_rotated(user)?;
        Ok(Overview {
            last_use,
            made,
            rotated: tx.last_rotation(user)?,
            rotation_wait: cx.interval.retry_after(last_rotated, cx.now.limit),
            last_change,
            issue,
            events: tx.last_events(user, *limit)?,
            refused: tx.last_refused(user, limit / 4)?,
            old_keys: tx.old_key_uses(user, OLD_KEYS)?,
            key,
        })
    }
}
