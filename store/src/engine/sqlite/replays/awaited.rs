//! New keys whose first use is still to come (X4).

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rekey_protocol::{Digest, REPLAY_WINDOW_MS};

use crate::clock::UnixMillis;

/// Whose first use is noted; beyond that a record lives out its ten minutes (I8).
pub(super) const MOST_AWAITED: usize = 65_536;

/// The new keys whose first use is still to come, for those who resolve keys.
#[derive(Debug, Default)]
pub(crate) struct Awaited(Mutex<BTreeMap<Digest, UnixMillis>>);

impl Awaited {
    /// A rotation with a record was committed, at this time.
    pub(crate) fn expect(&self, new_digest: Digest, now: UnixMillis) {
        let mut awaited = self.lock();
        if awaited.len() >= MOST_AWAITED {
            let window = Duration::from_millis(REPLAY_WINDOW_MS.into());
            awaited.retain(|_, made| now.since(*made) < window);
        }
        if awaited.len() < MOST_AWAITED {
            awaited.insert(new_digest, now);
        }
    }

    /// A client uses this key: whether it is the first time.
    pub(crate) fn comes(&self, digest: &Digest) -> bool {
        self.lock().remove(digest).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, UnixMillis>> {
        let lock = self.0.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}
