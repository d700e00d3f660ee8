//! What must never happen: the invariants of docs/protocol.md, checked at the
//! edge, where a client would see them broken.

use std::collections::{BTreeMap, BTreeSet};

use rekey_protocol::{Digest, ResolvedState, UserId};
use rekey_store::clock::UnixMillis;

use super::people::clients::{Ending, Request};
use super::people::errands::Errand;
use super::plan::Settings;
use super::world::World;

/// Entries with the fingerprints of keys that were seen before, for a small table.
const SEEN_ENTRIES: u32 = 1024;

/// What is known to be dead, and what was broken.
#[derive(Debug, Default)]
pub struct Oracle {
    /// The first rule that was broken.
    pub violation: Option<String>,
    /// Keys that no gateway may accept any more (I2).
    pub dead: BTreeSet<Digest>,
    /// Keys that a gateway has refused as revoked (I1): a process under one
    /// configuration, over all its lives.
    pub refused: BTreeSet<(usize, Settings, Digest)>,
    /// Keys whose state is not the same in the history before a restore and
    /// after it.
    pub torn: BTreeSet<Digest>,
    /// The keys of all users, ever.
    pub owners: BTreeMap<Digest, UserId>,
    /// For which keys a record of their rotation was kept, and the key it made.
    pub kept: BTreeMap<Digest, Digest>,
    /// Of these a thief has used up tries.
    pub guessed: BTreeSet<Digest>,
    /// Keys of imports, and when the command returned. Who asked before that may have
    /// met a gateway that has not heard of them.
    pub unsettled: BTreeMap<Digest, u64>,
    last_rotation: BTreeMap<UserId, UnixMillis>,
}

/// The states of keys; none where a key is not known.
pub type States = BTreeMap<Digest, Option<ResolvedState>>;

impl World {
    /// A request's headers were read: what is dead by now has to be refused.
    pub fn request_arrives(&mut self, id: u32, at: super::gateway::WorkerRef) {
        let settings = self.process(at.process).workers[at.worker].settings;
        let Some(request) = self.requests.get_mut(&id) else {
            return;
        };
        request.dead = self.oracle.dead.contains(&request.key.digest);
        let refused = (at.process, settings, request.key.digest);
        request.refused = self.oracle.refused.contains(&refused);
    }

    /// A request went to the upstream.
    pub fn check_passed(&mut self, request: &Request, user: &str) {
        let key = request.key.digest;
        if request.errand.is_some() {
            return self.violate(format!("the endpoint reached the upstream: {request:?}"));
        }
        if request.dead && self.oracle.dead.contains(&key) {
            return self.violate(format!("I2: accepted after its 200: {request:?}"));
        }
        if request.refused && !self.oracle.torn.contains(&key) {
            return self.violate(format!(
                "I1: accepted after this gateway refused it: {request:?}"
            ));
        }
        if self.oracle.owners.get(&key).map(UserId::as_str) != Some(user) {
            self.violate(format!("accepted in the name of {user}: {request:?}"));
        }
    }

    /// A request was refused with a 401.
    pub fn check_refused(&mut self, request: &Request, code: &str) {
        let key = request.key.digest;
        let time = UnixMillis(0);
        let found = match self.store.data.resolve(&key, time) {
            Ok(found) => found,
            Err(error) => return self.violate(format!("the store's database: {error}")),
        };
        let mut state = found.ok().map(|found| found.key.state);
        // Until somebody accepts the older history, the lost one is what counts.
        if let Some(lost) = &self.lost {
            state = lost.get(&key).copied().flatten();
        }
        let is_exempt = self.oracle.torn.contains(&key)
            || self
                .oracle
                .unsettled
                .get(&key)
                .is_some_and(|heard| request.sent <= *heard);
        if state == Some(ResolvedState::Active) && !is_exempt {
            return self.violate(format!("I7: an active key got {code}: {request:?}"));
        }
        // I1 is meant of what was refused as revoked.
        if code == "api_key_revoked" && !self.oracle.torn.contains(&key) {
            let process = request.to.process;
            let settings = self.process(process).workers[request.to.worker].settings;
            self.oracle.refused.insert((process, settings, key));
        }
    }

    /// A request got a 503.
    pub fn check_unavailable(&mut self, request: &Request, code: &str) {
        if self.plan.calm && self.now > 1_000_000 {
            return self.violate(format!("I7: {code} though nothing is amiss: {request:?}"));
        }
        let user = &self.users[request.user];
        // X1: nobody else can have changed anything about this key.
        let alone = user.certain
            && user.key.digest == request.key.digest
            && user.regenerating == 1
            && user.group == 1
            && !user.operating
            && self.lost.is_none()
            && request.restores == self.restores;
        let is_new = request.errand.as_ref().is_some_and(Errand::is_new);
        if is_new && code == "key_store_unavailable" && alone {
            let time = UnixMillis(0);
            let found = self.store.data.resolve(&request.key.digest, time);
            let state = found.ok().and_then(Result::ok).map(|found| found.key.state);
            if state != Some(ResolvedState::Active) {
                self.violate(format!("I4: nothing happened, but {state:?}: {request:?}"));
            }
        }
    }

    /// A client learned what became of its request.
    pub fn oracle_hears(&mut self, id: u32, request: &Request, ending: &Ending) {
        if let Some(probe) = self.probes.get_mut(&id) {
            *probe = Some(ending.clone());
        }
        let user = &self.users[request.user];
        let own = u32::from(request.errand.is_some());
        let is_other = request
            .errand
            .as_ref()
            .is_some_and(|errand| !errand.is_new());
        let undisturbed = user.certain
            && !is_other
            && !user.operating
            && user.key.digest == request.key.digest
            && (user.regenerating, user.group) == (own, own)
            && !user.unclear
            && request.restores == self.restores;
        if undisturbed && let Ending::Refused(401, code) = ending {
            self.violate(format!("I4: the right key got {code}: {request:?}"));
        }
    }

    /// A rotation was committed at this time of the store.
    pub fn rotation_committed(&mut self, user: UserId, at: UnixMillis) {
        let last = self.oracle.last_rotation.insert(user.clone(), at);
        if last.is_some_and(|last| at.since(last).as_millis() < 1_000) {
            self.violate(format!("I5: {user} rotated twice within the interval"));
        }
    }

    /// A key was made at this time that begins the hour as a rotation does.
    pub fn hour_began(&mut self, user: UserId, at: UnixMillis) {
        self.oracle.last_rotation.insert(user, at);
    }

    /// The keys that anybody knows and their states.
    pub fn known_states(&mut self) -> States {
        let keys: Vec<_> = self.oracle.owners.keys().copied().collect();
        let mut states = BTreeMap::new();
        for key in keys {
            match self.store.data.resolve(&key, UnixMillis(0)) {
                Ok(found) => {
                    states.insert(key, found.ok().map(|found| found.key.state));
                }
                Err(error) => self.violate(format!("the store's database: {error}")),
            }
        }
        states
    }

    /// I1 and I2 hold within one history of the store: what another one says
    /// of a key is forgotten, and its user needs a new one.
    pub fn after_restore(&mut self, before: &States) {
        let after = self.known_states();
        for (key, state) in &after {
            if before.get(key) != Some(state) {
                self.oracle.torn.insert(*key);
                self.oracle.dead.remove(key);
            }
        }
        self.oracle.last_rotation.clear();
        self.oracle.kept.clear();
        for index in 0..self.users.len() {
            let torn = self.oracle.torn.contains(&self.users[index].key.digest);
            if torn || self.users[index].regenerating > 0 {
                self.users[index].torn = true;
                // What was won in the lost history is not there any more.
                self.users[index].won = None;
                self.users[index].unclear = true;
                self.user_is_uncertain(index);
            }
        }
    }

    /// I8: what a gateway keeps is bounded.
    pub fn check_bounds(&mut self) {
        for index in 0..self.gateways() {
            let process = self.process(index);
            // Of each configuration: its slots, the entries of keys that it has seen,
            // the buckets of revoked ones, and a handful of single ones.
            let names_of = |cache_slots: u32| cache_slots + SEEN_ENTRIES + 64 + 12;
            let settings = self.plan.settings.iter();
            let most: u32 = settings.map(|set| names_of(set.cache_slots)).sum();
            let workers = process.workers.len();
            let names = process.memory.names();
            if names > most as usize + workers {
                self.violate(format!(
                    "I8: {names} names in the memory of gateway {index}"
                ));
            }
        }
        match self.store.data.users_with_two_keys() {
            0 => {}
            users => self.violate(format!("I3: {users} users have two active keys")),
        }
    }
}
