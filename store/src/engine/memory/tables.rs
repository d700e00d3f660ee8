//! What is kept: the rows, as they would be in a database.

use rekey_protocol::{Digest, Incarnation, ResolvedState, RotationId, UserId};

use super::table::{Single, Table, Undo};
use crate::api::AuditEvent;
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::{IncarnationEnd, PasswordHash, Source, UserStatus};
use crate::operations::audit::action::Action;
use crate::rules::rotation::Recorded;

/// Everything that a backup holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Tables {
    pub counters: Single<CounterRow>,
    /// The incarnations of the store, by their first revisions.
    pub incarnations: Table<u64, IncarnationRow>,
    pub users: Table<UserId, User>,
    pub passwords: Table<UserId, PasswordHash>,
    pub keys: Table<Digest, KeyRow>,
    /// The one active key of a user, also of an import that does not count (I3).
    pub active: Table<UserId, Digest>,
    /// Revoked keys by their revisions.
    pub revoked: Table<u64, Digest>,
    pub old_key_uses: Table<Digest, OldKeyUses>,
    pub rotations: Table<RotationId, Answer>,
    /// Rotations that were made, by the key that they ended and their revisions.
    pub made: Table<(Digest, u64), RotationId>,
    pub audit: Table<i64, AuditRow>,
    pub sessions: Table<Digest, SessionRow>,
    /// Browsers in which users have logged in.
    pub devices: Table<Digest, Device>,
    pub imports: Table<i64, ImportState>,
}

impl Tables {
    fn all(&mut self) -> [&mut dyn Undo; 14] {
        [
            &mut self.counters,
            &mut self.incarnations,
            &mut self.users,
            &mut self.passwords,
            &mut self.keys,
            &mut self.active,
            &mut self.revoked,
            &mut self.old_key_uses,
            &mut self.rotations,
            &mut self.made,
            &mut self.audit,
            &mut self.sessions,
            &mut self.devices,
            &mut self.imports,
        ]
    }

    /// Whether an import that brought a row counts; a row that none brought does.
    pub(super) fn counts(&self, import: Option<i64>) -> bool {
        import.is_none_or(|import| self.counting(import).is_some())
    }

    fn counting(&self, import: i64) -> Option<Cut> {
        self.imports.get(&import)?.counts
    }

    /// The revision of the last import that counts; 0: there is none.
    pub(super) fn last_import(&self) -> u64 {
        let counting = self.imports.iter().filter_map(|(_, import)| import.counts);
        counting.map(|cut| cut.revision).max().unwrap_or(0)
    }

    /// A key that counts.
    pub(super) fn live_key(&self, digest: &Digest) -> Option<&KeyRow> {
        let key = self.keys.get(digest)?;
        self.counts(key.import).then_some(key)
    }

    /// A user who counts, and was not removed.
    pub(super) fn live_user(&self, user: &UserId) -> Option<&User> {
        let found = self.users.get(user)?;
        self.is_live(found).then_some(found)
    }

    pub(super) fn is_live(&self, user: &User) -> bool {
        user.user_status == UserStatus::Here && self.counts(user.import)
    }

    /// The revision that last changed a key: an imported one has its import's until
    /// it is changed.
    pub(super) fn revision_of(&self, key: &KeyRow) -> u64 {
        let import = key.import.and_then(|import| self.counting(import));
        key.revision.max(import.map_or(0, |cut| cut.revision))
    }

    /// Adds a row to the audit log.
    pub(super) fn log(&mut self, entry: AuditRow) {
        let id = self.audit.last().map_or(1, |(last, _)| last + 1);
        self.audit.put(id, entry);
    }
}

impl Undo for Tables {
    fn keep(&mut self) -> bool {
        let mut is_changed = false;
        for table in self.all() {
            is_changed |= table.keep();
        }
        is_changed
    }

    fn undo(&mut self) {
        for table in self.all() {
            table.undo();
        }
    }
}

/// What there is one of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct CounterRow {
    pub revision: u64,
    /// The latest time that was acted upon (S12).
    pub time: UnixMillis,
    /// The wall clock at that time.
    pub wall: UnixMillis,
    pub longest_lease_ms: u32,
    pub accepted_before: u64,
    /// The transactions that ever changed something.
    pub commits: u64,
    /// The anchor of the file.
    pub anchor: u64,
    /// The anchor as of the last change.
    pub anchor_of_change: u64,
}

/// One incarnation of the store.
#[derive(Debug, Clone, Copy)]
pub(super) struct IncarnationRow {
    pub id: Incarnation,
    pub end: Option<IncarnationEnd>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub email: Option<Address>,
    pub created: UnixMillis,
    /// By the limit's clock.
    pub last_rotated: Option<UnixMillis>,
    /// As it is told.
    pub rotated_told: Option<UnixMillis>,
    pub import: Option<i64>,
    pub user_status: UserStatus,
}

/// An address to log in with.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub typed: String,
    pub normal: String,
}

impl Address {
    /// Whether it is this one, however it is spelled. By the spelling as well: a later
    /// version of Unicode may give a letter another normal form.
    pub(super) fn is(&self, typed: &str, normal: &str) -> bool {
        self.normal == normal || self.typed.eq_ignore_ascii_case(typed)
    }
}

#[derive(Debug, Clone)]
pub(super) struct KeyRow {
    pub user: UserId,
    pub hint: Option<String>,
    pub created: UnixMillis,
    pub revoked: Option<UnixMillis>,
    /// Of its last change; see [`Tables::revision_of`].
    pub revision: u64,
    pub replay_until: Option<UnixMillis>,
    pub import: Option<i64>,
    /// The beginning of the hour.
    pub last_used: Option<UnixMillis>,
}

impl KeyRow {
    pub(super) fn state(&self) -> ResolvedState {
        match self.revoked {
            Some(_) => ResolvedState::Revoked,
            None => ResolvedState::Active,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct OldKeyUses {
    pub user: UserId,
    /// Whether another key took its place at once.
    pub is_replaced: bool,
    pub uses: u64,
    pub first: UnixMillis,
    pub last: UnixMillis,
    /// When the audit log was told last.
    pub told: Option<UnixMillis>,
}

/// What was answered under a rotation id.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub recorded: Recorded,
    pub at: StoreTime,
}

#[derive(Debug, Clone)]
pub(super) struct SessionRow {
    pub user: UserId,
    pub created: UnixMillis,
    pub seen: UnixMillis,
}

#[derive(Debug, Clone)]
pub(super) struct Device {
    pub user: UserId,
    pub seen: UnixMillis,
}

#[derive(Debug, Clone)]
pub(super) struct ImportState {
    /// Since when its rows count; none: they do not.
    pub counts: Option<Cut>,
    /// Whether the audit log has all of its rows.
    pub is_told: bool,
}

/// The change that made the rows of an import count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub revision: u64,
    pub at: UnixMillis,
}

/// A row of the audit log.
#[derive(Debug, Clone)]
pub(super) struct AuditRow {
    pub at: StoreTime,
    pub user: UserId,
    pub action: Action,
    pub revision: u64,
    pub old_digest: Option<Digest>,
    pub new_digest: Option<Digest>,
    pub hint: Option<String>,
    pub source: Source,
    pub rotation_id: Option<RotationId>,
    pub client_address: Option<String>,
    pub client_request_id: Option<String>,
    pub uses: Option<u64>,
}

impl AuditRow {
    /// As it is shown.
    pub(super) fn shown(&self, id: i64) -> AuditEvent {
        AuditEvent {
            id,
            at: self.at.told.rfc3339(),
            user_id: self.user.clone(),
            action: self.action.name().to_owned(),
            revision: self.revision,
            old_digest: self.old_digest,
            new_digest: self.new_digest,
            hint: self.hint.clone(),
            source: self.source.as_str().to_owned(),
            rotation_id: self.rotation_id,
            client_address: self.client_address.clone(),
            client_request_id: self.client_request_id.clone(),
            uses: self.uses,
        }
    }

    /// Whether it is about a change of a key.
    pub(super) fn is_of_key(&self) -> bool {
        self.old_digest.is_some() || self.new_digest.is_some()
    }

    /// Whether it is a refused try with a password.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.action, Action::LoginRefused | Action::PasswordRefused)
    }
}
