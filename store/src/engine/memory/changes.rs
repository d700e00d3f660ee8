//! The longer changes, over rows of one table or a few. What they are for is said at
//! the words of [`crate::engine::Tx`].

use std::collections::BTreeMap;

use rekey_protocol::{Digest, RotationId, UserId};

use super::tables::{Answer, Cut, IncarnationRow, OldKeyUses, Tables};
use crate::accounts::password::{Spelling, StoredHash};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::Impossible;
use crate::engine::record::Mark;
use crate::engine::rows::{ImportId, IncarnationEnd, NewIncarnation, OldKeyUsed};
use crate::operations::audit::action::Action;
use crate::operations::uses::last_uses::hour_of;
use crate::rules::rotation::{Recorded, RecordedOutcome, Refusal};

impl Tables {
    pub(super) fn revoke_key(
        &mut self,
        digest: &Digest,
        at: UnixMillis,
        revision: u64,
    ) -> Result<(), Impossible> {
        let key = self.keys.get(digest);
        let Some(user) = key
            .filter(|key| key.revoked.is_none())
            .map(|key| key.user.clone())
        else {
            return Err(Impossible("a key that is to end is not active"));
        };
        self.keys.change(digest, |key| {
            key.revoked = Some(at);
            key.revision = revision;
        });
        self.active.remove(&user);
        self.revoked.put(revision, *digest);
        Ok(())
    }

    pub(super) fn record_last_uses(
        &mut self,
        uses: &BTreeMap<Digest, UnixMillis>,
        present_hour: UnixMillis,
    ) -> Result<u64, Impossible> {
        let mut written = 0;
        for (digest, hour) in uses {
            let Some(key) = self.keys.get(digest) else {
                continue;
            };
            let hour = key.revoked.map_or(*hour, |end| hour_of(end).min(*hour));
            let is_news = |last: UnixMillis| last > present_hour || last < hour;
            if key.last_used.is_none_or(is_news) {
                let keys = &mut self.keys;
                keys.change(digest, |key| key.last_used = Some(hour));
                written += 1;
            }
        }
        Ok(written)
    }

    pub(super) fn add_old_key_uses(
        &mut self,
        digest: &Digest,
        uses: u64,
        at: UnixMillis,
    ) -> Result<Option<OldKeyUsed>, Impossible> {
        let key = self.keys.get(digest);
        let Some(key) = key.filter(|key| key.revoked.is_some()).cloned() else {
            return Ok(None);
        };
        let known = self.old_key_uses.change(digest, |known| {
            known.uses += uses;
            known.last = at;
        });
        if !known {
            let mut log = self.audit.iter();
            let is_replaced = log.any(|(_, entry)| {
                entry.old_digest == Some(*digest)
                    && entry.action == Action::Rotated
                    && entry.user == key.user
            });
            let first = OldKeyUses {
                user: key.user.clone(),
                is_replaced,
                uses,
                first: at,
                last: at,
                told: None,
            };
            self.old_key_uses.put(*digest, first);
        }
        let known = self.old_key_uses.get(digest);
        Ok(known.map(|known| OldKeyUsed {
            user: known.user.clone(),
            hint: key.hint,
            uses: known.uses,
            told: known.told,
        }))
    }

    pub(super) fn begin_incarnation(
        &mut self,
        incarnation: &NewIncarnation,
    ) -> Result<Mark, Impossible> {
        let counters = self.counters.get();
        let end = Some(IncarnationEnd {
            revision: counters.revision,
            commits: Some(counters.commits),
        });
        let incarnations = &mut self.incarnations;
        incarnations.change_where(|_, row| row.end.is_none(), |row| row.end = end);
        let begun = IncarnationRow {
            id: incarnation.id,
            end: None,
        };
        if !incarnations.add(incarnation.first, begun) {
            return Err(Impossible("an incarnation begins where another one did"));
        }
        self.counters.change(|counters| {
            counters.revision = incarnation.first;
            counters.commits += u64::from(incarnation.is_counted);
            counters.anchor_of_change = counters.anchor;
        });
        let counters = self.counters.get();
        Ok(Mark {
            commits: counters.commits,
            revision: counters.revision,
        })
    }

    pub(super) fn remove_imported_keys(
        &mut self,
        import: ImportId,
        keys: &[Digest],
    ) -> Result<usize, Impossible> {
        for digest in keys {
            let key = self.keys.get(digest);
            let is_its = key.is_some_and(|key| key.import == Some(import.0));
            if is_its && !self.counts(Some(import.0)) {
                self.remove_key(digest);
            }
        }
        Ok(keys.len())
    }

    pub(super) fn remove_imported_users(
        &mut self,
        import: ImportId,
        users: &[UserId],
    ) -> Result<usize, Impossible> {
        for id in users {
            let user = self.users.get(id);
            let is_its = user.is_some_and(|user| user.import == Some(import.0));
            if is_its && !self.counts(Some(import.0)) {
                self.users.remove(id);
            }
        }
        Ok(users.len())
    }

    pub(super) fn count_import(
        &mut self,
        import: ImportId,
        revision: u64,
        at: UnixMillis,
    ) -> Result<(), Impossible> {
        let found = self.imports.get(&import.0);
        if found.is_none_or(|import| import.counts.is_some()) {
            return Err(Impossible(
                "an import that is to count does, or is not there",
            ));
        }
        let imports = &mut self.imports;
        imports.change(&import.0, |import| {
            import.counts = Some(Cut { revision, at });
        });
        Ok(())
    }

    pub(super) fn record_answer(
        &mut self,
        id: RotationId,
        answer: &Recorded,
        now: StoreTime,
    ) -> Result<(), Impossible> {
        let mut recorded = answer.clone();
        match &mut recorded.outcome {
            RecordedOutcome::Rotated { at, revision, .. } => {
                *at = now.told;
                let made = (answer.old_digest, *revision);
                self.made.put(made, id);
            }
            // How long is reckoned again.
            RecordedOutcome::Burned(Refusal::RateLimited(seconds)) => *seconds = 1,
            RecordedOutcome::Burned(_) => {}
        }
        let answer = Answer { recorded, at: now };
        match self.rotations.add(id, answer) {
            true => Ok(()),
            false => Err(Impossible("a rotation id is on record already")),
        }
    }
}

pub(super) fn normal_hash(phc: &str) -> StoredHash {
    StoredHash {
        phc: phc.to_owned(),
        spelling: Spelling::Normal,
    }
}

/// Of things with their ages: all but so many of the newest.
pub(super) fn all_but_newest(mut by_age: Vec<(UnixMillis, Digest)>, most: u32) -> Vec<Digest> {
    by_age.sort();
    let newest = usize::try_from(most).unwrap_or(usize::MAX);
    by_age.truncate(by_age.len().saturating_sub(newest));
    by_age.into_iter().map(|(_, digest)| digest).collect()
}
