//! When keys were last used, to the hour.

use std::collections::BTreeMap;

use rekey_protocol::Digest;

use crate::clock::UnixMillis;
use crate::engine::Tx;
use crate::operations::{Context, Operation};

/// How exact it is, in milliseconds.
pub const HOUR_MS: i64 = 3600 * 1000;

/// The beginning of the hour.
pub fn hour_of(at: UnixMillis) -> UnixMillis {
    UnixMillis(at.0 - at.0.rem_euclid(HOUR_MS))
}

/// By key, the beginning of the hour of its last use.
pub type HoursOfUse = BTreeMap<Digest, UnixMillis>;

/// Moves last uses forwards. Returns how many keys' that changed.
///
/// It is no change of a key: it has no revision, and no poll wakes for it.
#[derive(Debug, Clone)]
pub struct RecordLastUses {
    /// What was heard.
    pub uses: HoursOfUse,
    /// What the wall clock says.
    pub now: UnixMillis,
}

impl Operation for RecordLastUses {
    type Out = u64;

    fn apply<T: Tx>(&self, tx: &mut T, _: &Context) -> Result<u64, T::Error> {
        tx.record_last_uses(&self.uses, hour_of(self.now))
    }
}
