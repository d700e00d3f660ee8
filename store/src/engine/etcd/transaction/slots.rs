//! Slots: what makes the outcome of a transaction certain that was given up (R6).
//!
//! A transaction that was sent may take effect later than anybody who asked for it has
//! patience: its bytes may lie in the socket of a frozen member. Only a comparison in
//! the transaction itself can prevent that. So each transaction goes through a slot, a
//! key that belongs to this process and to one transaction at a time. It compares the
//! revision that last wrote the slot, and writes its number there.
//!
//! After a lost answer the slot is burned: it is written once more, by the same
//! comparison. If that succeeds, the lost transaction will never take effect. If it
//! fails, the slot holds the lost transaction's number, and its revision is the one of
//! the lost transaction.
//!
//! All slots are made together with the process's line and are deleted with it. A late
//! copy compares the line, too, so it fails as soon as the line is gone.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::replicas::LineId;

/// The first letter of the names of slots.
const TABLE: u8 = b'c';
/// Transactions under way at a time. Above some sixty, etcd's rate does not grow.
pub(in crate::engine::etcd) const SLOTS: u16 = 64;

/// One slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::etcd) struct Slot {
    line: LineId,
    nth: u16,
    /// The revision that last wrote it.
    pub changed: u64,
    /// The last number that was used.
    pub number: u64,
}

impl Slot {
    /// Its key.
    pub(in crate::engine::etcd) fn key(&self) -> Vec<u8> {
        key(self.line, self.nth)
    }
}

fn key(line: LineId, nth: u16) -> Vec<u8> {
    [&[TABLE], &line.0[..], &nth.to_be_bytes()].concat()
}

/// What the keys of all slots of a line begin with.
pub(in crate::engine::etcd) fn prefix(line: LineId) -> Vec<u8> {
    [&[TABLE], &line.0[..]].concat()
}

/// The keys of all slots of a line.
pub(in crate::engine::etcd) fn keys(line: LineId) -> impl Iterator<Item = Vec<u8>> {
    (0..SLOTS).map(move |nth| key(line, nth))
}

/// What a slot holds.
pub(in crate::engine::etcd) fn value(number: u64) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// The number that a slot holds.
pub(in crate::engine::etcd) fn number(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

/// The slots that are free. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::engine::etcd) struct Slots {
    free: Arc<Mutex<Vec<Slot>>>,
    permits: Arc<Semaphore>,
}

/// The right to use a slot.
#[derive(Debug)]
pub(in crate::engine::etcd) struct Taken {
    pub slot: Slot,
    slots: Slots,
    /// Given back with the slot. A slot whose state is not known is never given back.
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// The slots of a line, as they are after it was made at this revision.
    pub(in crate::engine::etcd) fn new(line: LineId, made: u64) -> Self {
        let slots = (0..SLOTS).map(|nth| Slot {
            line,
            nth,
            changed: made,
            number: 0,
        });
        Self {
            free: Arc::new(Mutex::new(slots.collect())),
            permits: Arc::new(Semaphore::new(SLOTS.into())),
        }
    }

    /// The next free slot, in the order of those who wait. None: no more are given.
    pub(in crate::engine::etcd) async fn take(&self) -> Option<Taken> {
        let permit = self.permits.clone().acquire_owned().await.ok()?;
        let slot = self.lock().pop()?;
        Some(Taken {
            slot,
            slots: self.clone(),
            _permit: permit,
        })
    }

    /// No more slots are given.
    pub(in crate::engine::etcd) fn close(&self) {
        self.permits.close();
    }

    /// Waits until no transaction is under way.
    pub(in crate::engine::etcd) async fn all_free(&self) {
        while self.lock().len() < usize::from(SLOTS) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Gives the slot back, whose state is known.
    pub(in crate::engine::etcd) fn give_back(self) {
        self.slots.lock().push(self.slot);
    }
}
