//! Draws operations: of few users and many keys, so that most of them meet something
//! that is there, and some of them nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use rekey_protocol::{
    Client, Digest, Replay, ReplayProof, RotateRequest, RotationId, SealedKey, UserId,
};

use super::Peer;
use super::step::{DrawnStep, KEY, SESSION, digest, one_of};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::conformance::subject::{OnMemory, Subject};
use crate::engine::rows::ImportId;
use crate::operations::feed::RecordLease;
use crate::operations::keys::own_key::{BySession, IssueOwn, RevokeOwn, RotateOwn, Wish};
use crate::operations::keys::replays::NoteFirstUse;
use crate::operations::keys::revoke::Revoke;
use crate::operations::keys::rotate::Rotate;
use crate::operations::keys::{ActiveKeyOf, LastChangeOf, ShowKey};
use crate::operations::users::passwords::{ChangePassword, SetPassword};
use crate::operations::users::removal::RemoveUser;
use crate::operations::users::sessions::{
    IsLoggedIn, LogIn, LogOut, LogOutScope, NewSession, TouchSession,
};
use crate::operations::users::{AddUser, Issue, NewUser};
use crate::operations::uses::last_uses::{RecordLastUses, hour_of};
use crate::operations::uses::old_keys::RecordOldKeyUses;

/// Users whose ids are drawn.
const USERS: u16 = 6;

/// What has been drawn so far.
pub(super) struct Drawing {
    pub(super) rng: Rng,
    /// By kind of thing, how many were drawn.
    keys: u16,
    sessions: u16,
    /// Those that came to be.
    known_keys: Vec<Digest>,
    known_sessions: Vec<Digest>,
    /// Those of the last operation.
    fresh: Vec<Digest>,
    pseudonyms: u16,
    pub(super) imports: Vec<ImportId>,
    /// Those that count, and of whose keys the audit log was told.
    pub(super) told: Vec<ImportId>,
}

impl Drawing {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            keys: 0,
            sessions: 0,
            known_keys: Vec::new(),
            known_sessions: Vec::new(),
            fresh: Vec::new(),
            pseudonyms: 0,
            imports: Vec::new(),
            told: Vec::new(),
        }
    }

    pub(super) fn users(&self) -> impl Iterator<Item = UserId> + use<> {
        let users = (0..USERS).map(|number| format!("u_{number}"));
        let gone = (0..self.pseudonyms).map(|number| format!("gone_{number}"));
        users.chain(gone).map(|id| id.parse().unwrap())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Digest> + use<> {
        (0..=self.keys).map(|number| digest(KEY, number))
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = Digest> + use<> {
        (0..=self.sessions).map(|number| digest(SESSION, number))
    }

    pub(super) fn emails(&self) -> impl Iterator<Item = String> + use<> {
        (0..USERS).map(|number| format!("U_{number}@EXAMPLE.com"))
    }

    /// Some time later; the wall clock goes its own way.
    pub(super) fn later(&mut self, now: StoreTime) -> StoreTime {
        let passed = match self.rng.u8(0..10) {
            0 | 1 => self.rng.u64(0..4_000_000),
            2 | 3 => self.rng.u64(0..60_000),
            _ => self.rng.u64(1..1_000),
        };
        let limit = now.limit.plus(Duration::from_millis(passed + 1));
        let told = UnixMillis(limit.0 + self.rng.i64(-5_000..5_000));
        StoreTime { told, limit }
    }

    pub(super) fn user(&mut self) -> UserId {
        let number = self.rng.u16(0..USERS + 1);
        format!("u_{number}").parse().unwrap()
    }

    /// One of the last keys, or any.
    fn key(&mut self) -> Digest {
        let known = one_of(&mut self.rng, &self.known_keys);
        known.unwrap_or(digest(KEY, self.keys))
    }

    /// A new key, nearly always.
    pub(super) fn new_key(&mut self) -> Digest {
        if self.rng.u8(0..20) == 0 {
            return self.key();
        }
        self.keys += 1;
        self.fresh.push(digest(KEY, self.keys));
        digest(KEY, self.keys)
    }

    fn session(&mut self) -> Digest {
        let known = one_of(&mut self.rng, &self.known_sessions);
        known.unwrap_or(digest(SESSION, self.sessions))
    }

    fn new_session(&mut self) -> Digest {
        self.sessions += 1;
        self.fresh.push(digest(SESSION, self.sessions));
        digest(SESSION, self.sessions)
    }

    /// What became of the last operation's keys and sessions.
    fn look_at_fresh(&mut self, memory: &OnMemory, now: StoreTime) {
        for fresh in std::mem::take(&mut self.fresh) {
            if memory.read(ShowKey(fresh), now).is_some() {
                self.known_keys.push(fresh);
            } else if memory.read(IsLoggedIn(fresh), now) {
                self.known_sessions.push(fresh);
            }
        }
    }

    fn session_of(&mut self, digest: Digest) -> NewSession {
        NewSession {
            digest,
            user: self.user(),
            client: self.client(),
        }
    }

    fn client(&mut self) -> Client {
        Client {
            address: self.rng.bool().then(|| "192.0.2.1".to_owned()),
            request_id: self.rng.bool().then(|| "request".to_owned()),
        }
    }

    fn id(&mut self) -> RotationId {
        RotationId([self.rng.u8(..); 16])
    }

    pub(super) fn hint(&mut self) -> String {
        format!("{:04}", self.rng.u16(0..10_000))
    }

    fn phc(&mut self) -> String {
        format!("hash {}", self.rng.u8(0..3))
    }

    /// The next operation.
    pub(super) fn step<P: Peer>(
        &mut self,
        memory: &OnMemory,
        now: StoreTime,
    ) -> Box<dyn DrawnStep<P>> {
        self.look_at_fresh(memory, now);
        match self.rng.u8(0..100) {
            0..8 => Box::new(self.add_user()),
            8..14 => Box::new(Issue {
                user: self.user(),
                digest: self.new_key(),
                hint: self.hint(),
            }),
            14..17 => Box::new(Revoke::OfUser(self.user())),
            17..20 => Box::new(Revoke::Key(self.key())),
            20..40 => Box::new(self.rotate(memory, now)),
            40..44 => Box::new(NoteFirstUse(self.key())),
            44..59 => self.own_key(memory, now),
            59..75 => self.dashboard(),
            75..78 => Box::new(self.remove()),
            78..83 => self.uses(now),
            83..85 => Box::new(RecordLease {
                lease_ms: self.rng.u32(0..60_000),
            }),
            _ => self.step_of_import(memory, now),
        }
    }

    fn add_user(&mut self) -> AddUser {
        let id = self.user();
        // Mostly the user's own address, in whatever spelling.
        let name = match self.rng.u8(0..8) {
            0 => self.user(),
            _ => id.clone(),
        };
        let email = match self.rng.bool() {
            true => format!("{}@Example.com", name.as_str()),
            false => format!("{}@example.COM", name.as_str()),
        };
        AddUser(NewUser {
            id,
            email: email.parse().unwrap(),
            digest: self.new_key(),
            hint: self.hint(),
            phc: self.rng.bool().then(|| "hash 0".to_owned()),
        })
    }

    /// Of an active key, as a rule.
    fn rotate(&mut self, memory: &OnMemory, now: StoreTime) -> Rotate {
        let active = memory.read(ActiveKeyOf(self.user()), now);
        let old_digest = match (active, self.rng.u8(0..3)) {
            (Some(key), 1..) => key.digest,
            _ => self.key(),
        };
        let replay = self.rng.u8(0..4) > 0;
        Rotate(RotateRequest {
            rotation_id: self.id(),
            attempt: self.rng.u32(1..4),
            old_digest,
            new_digest: self.new_key(),
            hint: self.hint(),
            replay: replay.then(|| {
                Box::new(Replay {
                    proof: ReplayProof([self.rng.u8(0..2); 32]),
                    sealed: SealedKey([self.rng.u8(..); 88]),
                })
            }),
            client: self.client(),
            patience_ms: None,
        })
    }

    fn own_key<P: Peer>(&mut self, memory: &OnMemory, now: StoreTime) -> Box<dyn DrawnStep<P>> {
        let user = self.user();
        let active = memory.read(ActiveKeyOf(user.clone()), now);
        let shown = active.map_or(0, |key| key.revision);
        let wish = Wish {
            user: user.clone(),
            ticket: self.id(),
            new_digest: self.new_key(),
            hint: self.hint(),
            client: self.client(),
        };
        let revoke = RevokeOwn {
            user: user.clone(),
            shown,
            client: self.client(),
        };
        match self.rng.u8(0..8) {
            0 => {
                let session = self.session();
                let operation = RotateOwn { wish, shown };
                Box::new(BySession { session, operation })
            }
            1 | 2 => Box::new(RotateOwn { wish, shown }),
            3 => Box::new(RotateOwn { wish, shown: 7 }),
            4 => Box::new(revoke),
            _ => {
                let shown = memory.read(LastChangeOf(user), now);
                Box::new(IssueOwn { wish, shown })
            }
        }
    }

    fn dashboard<P: Peer>(&mut self) -> Box<dyn DrawnStep<P>> {
        let new = self.new_session();
        match self.rng.u8(0..12) {
            0..6 => Box::new(LogIn {
                session: self.session_of(new),
                phc: self.phc(),
                renewed: (self.rng.u8(0..4) == 0).then(|| self.phc()),
                former: vec![self.session()],
                device: new,
                former_device: self.rng.bool().then(|| self.session()),
            }),
            6 => {
                let session = self.session();
                let scope = match self.rng.bool() {
                    true => LogOutScope::Here,
                    false => LogOutScope::Everywhere,
                };
                Box::new(LogOut {
                    session: self.session_of(session),
                    scope,
                })
            }
            7 | 8 => Box::new(TouchSession(self.session())),
            9 | 10 => Box::new(SetPassword {
                user: self.user(),
                phc: self.phc(),
            }),
            _ => Box::new(ChangePassword {
                old: self.phc(),
                new: self.phc(),
                former: self.session(),
                session: self.session_of(new),
                device: new,
            }),
        }
    }

    fn remove(&mut self) -> RemoveUser {
        self.pseudonyms += 1;
        let pseudonym = format!("gone_{}", self.pseudonyms - 1);
        RemoveUser {
            user: self.user(),
            pseudonym: pseudonym.parse().unwrap(),
        }
    }

    fn uses<P: Peer>(&mut self, now: StoreTime) -> Box<dyn DrawnStep<P>> {
        let keys: Vec<_> = (0..4).map(|_| self.key()).collect();
        if self.rng.bool() {
            let counts = keys.into_iter().map(|key| (key, self.rng.u64(1..9)));
            return Box::new(RecordOldKeyUses(counts.collect()));
        }
        // Far enough in the past to be shown as it is.
        let now = UnixMillis(now.told.0 - 1_000 * 3_600_000);
        let hour = |rng: &mut Rng| hour_of(UnixMillis(now.0 - rng.i64(-3..9) * 3_600_000));
        let uses = keys.into_iter().map(|key| (key, hour(&mut self.rng)));
        let uses = uses.collect::<BTreeMap<_, _>>();
        Box::new(RecordLastUses { uses, now })
    }
}
