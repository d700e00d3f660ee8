//! What several of the words that look have in common.

use std::ops::Deref;

use rekey_protocol::{Digest, UserId};

use super::MemoryTx;
use crate::api::AuditEvent;
use crate::clock::UnixMillis;
use crate::engine::memory::tables::{AuditRow, KeyRow, Tables};

/// An active key that counts.
pub(super) struct ActiveRow<'a> {
    pub digest: Digest,
    pub row: &'a KeyRow,
}

impl<T: Deref<Target = Tables>> MemoryTx<'_, T> {
    /// The user's active key, if it counts.
    pub(super) fn active(&self, user: &UserId) -> Option<ActiveRow<'_>> {
        let digest = *self.tables.active.get(user)?;
        let row = self.tables.live_key(&digest)?;
        Some(ActiveRow { digest, row })
    }

    pub(super) fn of_user(
        &self,
        user: &UserId,
    ) -> impl DoubleEndedIterator<Item = (i64, &AuditRow)> {
        let rows = self.tables.audit.iter().map(|(id, entry)| (*id, entry));
        rows.filter(move |(_, entry)| entry.user == *user)
    }

    /// At most `limit` rows of a user that are wanted, the newest first.
    pub(super) fn newest(
        &self,
        user: &UserId,
        limit: u32,
        is_wanted: impl Fn(&AuditRow) -> bool,
    ) -> Vec<AuditEvent> {
        let wanted = self
            .of_user(user)
            .rev()
            .filter(|(_, entry)| is_wanted(entry));
        let newest = wanted.take(limit as usize);
        newest.map(|(id, entry)| entry.shown(id)).collect()
    }

    pub(super) fn count(
        &self,
        user: &UserId,
        after: UnixMillis,
        is_one: impl Fn(&AuditRow) -> bool,
    ) -> u32 {
        let later = self
            .of_user(user)
            .filter(|(_, entry)| entry.at.limit > after);
        let count = later.filter(|(_, entry)| is_one(entry)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}
