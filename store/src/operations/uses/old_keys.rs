//! How often keys are used after they were replaced or revoked. Users see it on
//! their profile, and once a day it goes into the audit log, which cannot be pruned.

use std::collections::BTreeMap;
use std::time::Duration;

use rekey_protocol::Digest;

use crate::engine::Tx;
use crate::engine::rows::{By, Event, OldKeyUsed, Source};
use crate::operations::audit::action::Action;
use crate::operations::{Context, Operation};

/// Between two rows of a user in the audit log that are not about the first use
/// of a key.
const TOLD_EVERY: Duration = Duration::from_secs(24 * 3600);

/// Adds uses up, by key. Those of keys that are unknown here, or active, are
/// ignored. Returns how many were not.
#[derive(Debug, Clone)]
pub struct RecordOldKeyUses(pub BTreeMap<Digest, u64>);

impl Operation for RecordOldKeyUses {
    type Out = u64;

    fn apply<T: Tx>(&self, tx: &mut T, cx: &Context) -> Result<u64, T::Error> {
        let mut recorded = 0;
        for (digest, count) in &self.0 {
            let Some(used) = tx.add_old_key_uses(digest, *count, cx.now.told)? else {
                continue;
            };
            recorded += count;
            if used.told.is_none() || is_time(tx, cx, &used)? {
                tell(tx, cx, digest, &used)?;
            }
        }
        Ok(recorded)
    }
}

/// Whether the audit log has had no row about the user's old keys for a day.
fn is_time<T: Tx>(tx: &T, cx: &Context, used: &OldKeyUsed) -> Result<bool, T::Error> {
    let last = tx.last_told_of_old_keys(&used.user)?;
    Ok(last.is_none_or(|last| last <= cx.now.limit.minus(TOLD_EVERY)))
}

fn tell<T: Tx>(
    tx: &mut T,
    cx: &Context,
    digest: &Digest,
    used: &OldKeyUsed,
) -> Result<(), T::Error> {
    tx.note_old_key_told(digest, cx.now.limit)?;
    let by = By {
        source: Source::Gateway,
        client: None,
    };
    // The key itself is not named: it did not change.
    let event = Event {
        hint: used.hint.as_deref(),
        uses: Some(used.uses),
        ..Event::aside(&used.user, Action::OldKeyUsed, tx.head()?.revision, by)
    };
    tx.append_event(&event, cx.now)
}
