//! The audit log: one row for each change, in that change's transaction (I3). It is
//! only added to.

use rekey_protocol::UserId;

use super::{Context, Read};
use crate::api::AuditPage;
use crate::clock::UnixMillis;
use crate::engine::ReadTx;
use crate::engine::rows::Standing;

/// What the log calls a change of a key by its user or a gateway.
pub const ROTATED: &str = "rotated";
/// What the log calls the end of a key that got no successor by it.
pub const REVOKED: &str = "revoked";
/// What the log calls a key that came without ending another one.
pub const ISSUED: &str = "issued";

/// Old keys that the operator is shown.
const OLD_KEYS_SHOWN: u32 = 10;

/// Which events are wanted.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Of this user only.
    pub user: Option<UserId>,
    /// After this one; 0: from the first.
    pub after: i64,
    /// Not of before.
    pub since: Option<UnixMillis>,
    /// At most so many.
    pub limit: u32,
}

/// Shows the events that are wanted. If these are all of a user, also what is done
/// with the user's old keys. `None`: no such user.
#[derive(Debug, Clone)]
pub struct ShowEvents(pub Selection);

impl Read for ShowEvents {
    type Out = Option<AuditPage>;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let Self(wanted) = self;
        let user = wanted.user.as_ref();
        if let Some(user) = user
            && matches!(tx.standing(user)?, None | Some(Standing::Removed))
        {
            return Ok(None);
        }
        let events = tx.events(wanted)?;
        let is_full = events.len() == wanted.limit as usize;
        let next = events.last().filter(|_| is_full).map(|last| last.id);
        let old_keys = match (user, next) {
            (Some(user), None) => tx.old_key_uses(user, OLD_KEYS_SHOWN)?,
            _ => Vec::new(),
        };
        Ok(Some(AuditPage {
            events,
            next,
            old_keys,
        }))
    }
}
