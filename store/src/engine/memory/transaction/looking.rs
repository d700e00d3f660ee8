//! The words that look.

use std::cmp::Reverse;
use std::ops::Bound::{Excluded, Unbounded};
use std::ops::Deref;

use rekey_protocol::{Digest, Head, ResolvedState, Revocation, RotationId, UserId};

use super::MemoryTx;
use crate::accounts::email::Email;
use crate::accounts::typed;
use crate::api::{AuditEvent, KeyEntry, KeyShown, OldKeyUse, UserEntry};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::memory::tables::{AuditRow, Tables};
use crate::engine::record::Mark;
use crate::engine::rows::{
    CurrentKey, ImportId, Key, KnownIncarnation, KnownPast, KnownSession, LastUse, MadeRotation,
    PasswordHash, Reached, Source, Stage, UserClaim, UserStatus,
};
use crate::engine::{Impossible, OwnerReadTx, ReadTx};
use crate::operations::audit::Selection;
use crate::operations::audit::action::Action;
use crate::rules::rotation::Recorded;

impl<T: Deref<Target = Tables>> ReadTx for MemoryTx<'_, T> {
    type Error = Impossible;

    fn head(&self) -> Result<Head, Impossible> {
        let (_, present) = self
            .tables
            .incarnations
            .last()
            .ok_or(Impossible("no incarnation has begun"))?;
        Ok(Head {
            revision: self.tables.counters.get().revision,
            incarnation: present.id,
        })
    }

    fn revoked_after(&self, revision: u64, limit: usize) -> Result<Vec<Revocation>, Impossible> {
        let now = self.tables.counters.get().time;
        let revoked = self.tables.revoked.range((Excluded(revision), Unbounded));
        let change = |(revision, digest): (&u64, &Digest)| {
            let key = self.tables.keys.get(digest);
            let until = key.and_then(|key| key.replay_until);
            Revocation {
                digest: *digest,
                revision: *revision,
                replayable: until.is_some_and(|until| until > now),
            }
        };
        Ok(revoked.take(limit).map(change).collect())
    }

    fn key(&self, digest: &Digest) -> Result<Option<Key>, Impossible> {
        let Some(key) = self.tables.live_key(digest) else {
            return Ok(None);
        };
        let user = self.tables.users.get(&key.user);
        Ok(Some(Key {
            state: key.state(),
            user: key.user.clone(),
            revision: self.tables.revision_of(key),
            last_rotated: user.and_then(|user| user.last_rotated),
            replay_until: key.replay_until,
        }))
    }

    fn key_exists(&self, digest: &Digest) -> Result<bool, Impossible> {
        Ok(self.tables.keys.has(digest))
    }

    fn active_key(&self, user: &UserId) -> Result<Option<CurrentKey>, Impossible> {
        Ok(self.active(user).map(|active| CurrentKey {
            digest: active.digest,
            revision: self.tables.revision_of(active.row),
            hint: active.row.hint.clone(),
            created: active.row.created,
        }))
    }

    fn key_shown(&self, digest: &Digest) -> Result<Option<KeyShown>, Impossible> {
        let Some(key) = self.tables.keys.get(digest) else {
            return Ok(None);
        };
        let user = self.tables.users.get(&key.user);
        let email = user.and_then(|user| user.email.as_ref());
        Ok(Some(KeyShown {
            user_id: key.user.clone(),
            email: email.map(|email| email.typed.clone()),
            digest: *digest,
            state: key.state(),
            hint: key.hint.clone(),
            created_at: key.created.rfc3339(),
            revoked_at: key.revoked.map(UnixMillis::rfc3339),
        }))
    }

    fn last_use(&self, digest: &Digest) -> Result<Option<LastUse>, Impossible> {
        let key = self.tables.keys.get(digest);
        Ok(key.map(|key| LastUse::on_record(key.last_used, key.created)))
    }

    fn old_key_uses(&self, user: &UserId, limit: u32) -> Result<Vec<OldKeyUse>, Impossible> {
        let uses = self.tables.old_key_uses.iter();
        let mut uses: Vec<_> = uses.filter(|(_, uses)| uses.user == *user).collect();
        uses.sort_by_key(|(digest, uses)| (Reverse(uses.last), **digest));
        let shown = uses.into_iter().take(limit as usize).map(|(digest, uses)| {
            let key = self.tables.keys.get(digest);
            OldKeyUse {
                hint: key.and_then(|key| key.hint.clone()),
                replaced: uses.is_replaced,
                uses: uses.uses,
                first_at: uses.first.rfc3339(),
                last_at: uses.last.rfc3339(),
            }
        });
        Ok(shown.collect())
    }

    fn last_told_of_old_keys(&self, user: &UserId) -> Result<Option<UnixMillis>, Impossible> {
        let uses = self.tables.old_key_uses.iter();
        let of_user = uses.filter(|(_, uses)| uses.user == *user);
        Ok(of_user.filter_map(|(_, uses)| uses.told).max())
    }

    fn user_status(&self, user: &UserId) -> Result<Option<UserStatus>, Impossible> {
        let found = self.tables.users.get(user);
        let counting = found.filter(|user| self.tables.counts(user.import));
        Ok(counting.map(|user| user.user_status))
    }

    fn last_rotated(&self, user: &UserId) -> Result<Option<UnixMillis>, Impossible> {
        let found = self.tables.users.get(user);
        Ok(found.ok_or(Impossible("no such user"))?.last_rotated)
    }

    fn owner_of_email(&self, typed: &str) -> Result<Option<UserId>, Impossible> {
        let normal = typed::address(typed);
        let owners = self.tables.users.iter().filter_map(|(id, user)| {
            let email = user.email.as_ref()?;
            let is_owner = email.is(typed, &normal) && self.tables.is_live(user);
            is_owner.then_some((id, email.typed.as_str()))
        });
        // Two that are one address by now may not have been when they were added.
        let owner = owners.max_by_key(|(id, spelled)| {
            let is_nearly = spelled.eq_ignore_ascii_case(typed);
            (*spelled == typed, is_nearly, Reverse(*id))
        });
        Ok(owner.map(|(id, _)| id.clone()))
    }

    fn is_anothers_email(&self, email: &Email, user: &UserId) -> Result<bool, Impossible> {
        let normal = email.normal();
        let mut others = self.tables.users.iter().filter(|(id, _)| *id != user);
        Ok(others.any(|(_, other)| {
            let address = other.email.as_ref();
            address.is_some_and(|address| address.is(email.as_str(), &normal))
        }))
    }

    fn has_email(&self, user: &UserId) -> Result<bool, Impossible> {
        let found = self.tables.live_user(user);
        Ok(found.is_some_and(|user| user.email.is_some()))
    }

    fn password(&self, user: &UserId) -> Result<Option<PasswordHash>, Impossible> {
        Ok(self.tables.passwords.get(user).cloned())
    }

    fn is_reserved(&self, claim: &UserClaim<'_>) -> Result<bool, Impossible> {
        let tables = self.tables();
        let is_dead_user = |id| {
            let found = tables.users.get(id);
            found.is_some_and(|user| !tables.is_live(user))
        };
        let is_held = |email: &Email| {
            let normal = email.normal();
            tables.users.iter().any(|(_, user)| {
                let address = user.email.as_ref();
                let is_it = address.is_some_and(|held| held.is(email.as_str(), &normal));
                is_it && !tables.is_live(user)
            })
        };
        let key = tables.active.get(claim.user);
        Ok(is_dead_user(claim.user)
            || claim.email.is_some_and(is_held)
            || key.is_some_and(|key| tables.live_key(key).is_none()))
    }

    fn users_after(&self, after: &str, limit: u32) -> Result<Vec<UserEntry>, Impossible> {
        let users = self.tables.users.iter();
        let live = users.filter(|(id, user)| id.as_str() > after && self.tables.is_live(user));
        let entries = live.take(limit as usize).map(|(id, user)| UserEntry {
            user_id: id.clone(),
            email: user.email.as_ref().map(|email| email.typed.clone()),
            created_at: user.created.rfc3339(),
            last_rotated_at: user
                .rotated_told
                .or(user.last_rotated)
                .map(UnixMillis::rfc3339),
            key: self.active(id).map(|active| {
                let last_use = LastUse::on_record(active.row.last_used, active.row.created);
                KeyEntry {
                    hint: active.row.hint.clone(),
                    created_at: active.row.created.rfc3339(),
                    last_used_at: last_use.rfc3339(),
                    never_used: last_use == LastUse::Never,
                }
            }),
        });
        Ok(entries.collect())
    }

    fn recorded(&self, id: RotationId) -> Result<Option<Recorded>, Impossible> {
        let answer = self.tables.rotations.get(&id);
        Ok(answer.map(|answer| answer.recorded.clone()))
    }

    fn rotation_that_revoked(
        &self,
        old: &Digest,
        revision: u64,
    ) -> Result<Option<MadeRotation>, Impossible> {
        let Some(id) = self.tables.made.get(&(*old, revision)) else {
            return Ok(None);
        };
        let answer = self.tables.rotations.get(id);
        Ok(answer.and_then(|answer| {
            let new_digest = answer.recorded.new_digest;
            let key = self.tables.keys.get(&new_digest)?;
            Some(MadeRotation {
                id: *id,
                new_digest,
                new_is_active: key.state() == ResolvedState::Active,
                at: answer.at,
                user: key.user.clone(),
            })
        }))
    }

    fn last_key_event(&self, user: &UserId) -> Result<Option<AuditEvent>, Impossible> {
        Ok(self.newest(user, 1, AuditRow::is_of_key).pop())
    }

    fn last_rotation(&self, user: &UserId) -> Result<Option<AuditEvent>, Impossible> {
        let is_rotation =
            |entry: &AuditRow| entry.old_digest.is_some() && entry.action == Action::Rotated;
        Ok(self.newest(user, 1, is_rotation).pop())
    }

    fn last_events(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, Impossible> {
        Ok(self.newest(user, limit, |entry| !entry.is_refused()))
    }

    fn last_refused(&self, user: &UserId, limit: u32) -> Result<Vec<AuditEvent>, Impossible> {
        let refused = self.of_user(user).filter(|(_, entry)| entry.is_refused());
        let mut refused: Vec<_> = refused.collect();
        refused.sort_by_key(|(id, entry)| Reverse((entry.at.limit, *id)));
        let newest = refused.into_iter().take(limit as usize);
        Ok(newest.map(|(id, entry)| entry.shown(id)).collect())
    }

    fn count_issued_by_user(&self, user: &UserId, after: UnixMillis) -> Result<u32, Impossible> {
        Ok(self.count(user, after, |entry| {
            entry.action == Action::Issued && entry.source == Source::Dashboard
        }))
    }

    fn count_refused(&self, user: &UserId, after: UnixMillis) -> Result<u32, Impossible> {
        Ok(self.count(user, after, AuditRow::is_refused))
    }

    fn events(&self, wanted: &Selection) -> Result<Vec<AuditEvent>, Impossible> {
        let rows = self.tables.audit.range((Excluded(wanted.after), Unbounded));
        let chosen = rows.filter(|(_, entry)| {
            wanted.user.as_ref().is_none_or(|user| entry.user == *user)
                && wanted.since.is_none_or(|since| entry.at.told >= since)
        });
        let events = chosen.take(wanted.limit as usize);
        Ok(events.map(|(id, entry)| entry.shown(*id)).collect())
    }

    fn session_exists(&self, digest: &Digest) -> Result<bool, Impossible> {
        Ok(self.tables.sessions.has(digest))
    }

    fn session(&self, digest: &Digest) -> Result<Option<KnownSession>, Impossible> {
        let Some(session) = self.tables.sessions.get(digest) else {
            return Ok(None);
        };
        let user = self.tables.users.get(&session.user);
        let email = user.and_then(|user| user.email.as_ref());
        Ok(Some(KnownSession {
            user: session.user.clone(),
            email: email.map(|email| email.typed.clone()).unwrap_or_default(),
            created: session.created,
            seen: session.seen,
        }))
    }

    fn is_known_device(&self, digest: &Digest, user: &UserId) -> Result<bool, Impossible> {
        let device = self.tables.devices.get(digest);
        Ok(device.is_some_and(|device| device.user == *user))
    }

    fn import_stage(&self, import: ImportId) -> Result<Stage, Impossible> {
        let found = self.tables.imports.get(&import.0);
        Ok(match found.filter(|import| !import.is_told) {
            None => Stage::Over,
            Some(import) => match import.counts {
                None => Stage::Staged,
                Some(cut) => Stage::Counts(cut.revision),
            },
        })
    }

    fn unfinished_imports(&self) -> Result<Vec<ImportId>, Impossible> {
        let imports = self.tables.imports.iter();
        let unfinished = imports.filter(|(_, import)| !import.is_told);
        Ok(unfinished.map(|(id, _)| ImportId(*id)).collect())
    }

    fn imported_keys(
        &self,
        import: ImportId,
        after: Option<&Digest>,
        limit: usize,
    ) -> Result<Vec<Digest>, Impossible> {
        let after = after.map_or(Unbounded, |after| Excluded(*after));
        let keys = self.tables.keys.range((after, Unbounded));
        let its = keys.filter(|(_, key)| key.import == Some(import.0));
        Ok(its.take(limit).map(|(digest, _)| *digest).collect())
    }

    fn imported_users(
        &self,
        import: ImportId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Result<Vec<UserId>, Impossible> {
        let after = after.map_or(Unbounded, |after| Excluded(after.clone()));
        let users = self.tables.users.range((after, Unbounded));
        let its = users.filter(|(_, user)| user.import == Some(import.0));
        Ok(its.take(limit).map(|(id, _)| id.clone()).collect())
    }
}

impl<T: Deref<Target = Tables>> OwnerReadTx for MemoryTx<'_, T> {
    fn known_past(&self) -> Result<KnownPast, Impossible> {
        let counters = self.tables.counters.get();
        let incarnations = self.tables.incarnations.iter();
        let incarnations = incarnations.map(|(first, row)| KnownIncarnation {
            id: row.id,
            first: *first,
            end: row.end,
        });
        Ok(KnownPast {
            reached: Reached {
                incarnations: incarnations.collect(),
                mark: Mark {
                    commits: counters.commits,
                    revision: counters.revision,
                },
            },
            time: (counters.time.0 > 0).then_some(StoreTime {
                told: counters.wall,
                limit: counters.time,
            }),
            longest_lease_ms: counters.longest_lease_ms,
            accepted_before: counters.accepted_before,
        })
    }
}
