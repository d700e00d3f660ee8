//! What is kept for replays (X4, X6). Beside the tables: no backup carries it, and
//! no undone operation takes it back. It is not wrapped, because it is on no disk.

use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::{Digest, Replay, RotationId};

use crate::clock::UnixMillis;
use crate::engine::rows::ReplayRecord;

/// The records.
#[derive(Debug, Default)]
pub(super) struct KeptReplays {
    records: BTreeMap<RotationId, KeptReplay>,
    by_new_key: BTreeMap<Digest, RotationId>,
    /// New keys whose first use is still to come.
    awaited: BTreeSet<Digest>,
    /// Whether nothing is to be kept.
    is_off: bool,
}

#[derive(Debug)]
struct KeptReplay {
    new_digest: Digest,
    replay: Replay,
    used: Option<UnixMillis>,
    failures: u32,
    handed_out: u32,
}

impl KeptReplays {
    /// From now on nothing is kept.
    pub(super) fn turn_off(&mut self) {
        self.is_off = true;
    }

    /// Whether this is the first use of a new key.
    pub(super) fn takes_first_use(&mut self, digest: &Digest) -> bool {
        self.awaited.remove(digest)
    }

    /// The use of this key could not be noted.
    pub(super) fn await_first_use(&mut self, digest: &Digest) {
        self.awaited.insert(*digest);
    }

    /// Keeps a record. It takes the place of another one of this rotation or key.
    pub(super) fn keep(&mut self, id: RotationId, new_digest: &Digest, replay: &Replay) {
        if self.is_off {
            return;
        }
        self.destroy(id);
        self.revoked(new_digest);
        self.awaited.insert(*new_digest);
        self.by_new_key.insert(*new_digest, id);
        let record = KeptReplay {
            new_digest: *new_digest,
            replay: replay.clone(),
            used: None,
            failures: 0,
            handed_out: 0,
        };
        self.records.insert(id, record);
    }

    pub(super) fn find(&self, id: RotationId) -> Option<ReplayRecord> {
        let record = self.records.get(&id)?;
        Some(ReplayRecord {
            used: record.used,
            failures: record.failures,
            handed_out: record.handed_out,
            proof: record.replay.proof,
            sealed: record.replay.sealed,
        })
    }

    /// An opening failed.
    pub(super) fn failed(&mut self, id: RotationId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.failures += 1;
        }
    }

    pub(super) fn handed_out(&mut self, id: RotationId) {
        if let Some(record) = self.records.get_mut(&id) {
            record.handed_out += 1;
        }
    }

    pub(super) fn destroy(&mut self, id: RotationId) {
        if let Some(record) = self.records.remove(&id) {
            self.by_new_key.remove(&record.new_digest);
            self.awaited.remove(&record.new_digest);
        }
    }

    /// A client uses this new key.
    pub(super) fn used(&mut self, new_digest: &Digest, now: UnixMillis) {
        let id = self.by_new_key.get(new_digest);
        if let Some(record) = id.and_then(|id| self.records.get_mut(id)) {
            record.used.get_or_insert(now);
        }
    }

    /// This key was revoked: what is kept of its making is of no use.
    pub(super) fn revoked(&mut self, digest: &Digest) {
        self.awaited.remove(digest);
        if let Some(id) = self.by_new_key.remove(digest) {
            self.records.remove(&id);
        }
    }
}
