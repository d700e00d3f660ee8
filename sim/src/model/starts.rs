//! Crashes, starts and restores of the store.

use rekey_store::feed::leases::Leases;

use super::state::{Disk, Key, MOST, Rotation, Stage, State, Step};
use super::store::{lease_ms, millis};
use super::world::World;

impl World {
    /// Crash and start of the store, on its own file or on the backup.
    pub fn restart_store(&self, state: &mut State, restored: bool, accepts: bool) {
        let rules = &self.rules;
        if restored {
            state.store.disk = Disk::first(self.backup_lease);
        }
        let mut gone = Vec::new();
        for (place, poll) in state.polls.iter().enumerate() {
            if poll.stage != Stage::Travelling {
                gone.push(place);
            }
        }
        for place in gone.into_iter().rev() {
            self.lose_poll(state, place);
        }
        let store = &mut state.store;
        if !rules.s10_one_owner {
            store.ghost = Some(store.head);
        }
        store.early = None;
        let last = store.disk.revision;
        if restored && self.lock_is_lost {
            (store.mark, store.lease_beside) = (0, 0);
        }
        // The worlds of accepted restores have to hold without the lock file.
        if self.unaccepted {
            store.disk.longest = store.disk.longest.max(store.lease_beside);
        }
        store.is_behind = !accepts && (store.is_behind || restored && last < store.mark);
        store.is_restored = rules.s8_mark && store.is_behind;
        // S8: a new life, past everything.
        if rules.s8_jump {
            store.disk.revision = store.highest + 1;
        }
        store.highest = store.highest.max(store.disk.revision);
        store.lives += 1;
        let count = store.disk.lives.iter().flatten().count();
        if let Some(before) = store.disk.lives[count - 1].as_mut() {
            before.2 = Some(last);
        }
        store.disk.lives[count] = Some((store.lives, store.disk.revision, None));
        store.head = store.disk.revision;
        if !store.is_behind {
            store.mark = store.disk.revision;
        }
        if accepts {
            store.disk.accepted_before = store.disk.revision;
            if rules.s9_cap && rules.s9_cap_on_record {
                store.disk.longest = self.cap();
            }
        }
        // S9.
        let longest = match (rules.s9_hold, accepts && rules.s9_cap) {
            (false, _) => 0,
            (true, true) => self.cap(),
            (true, false) => store.disk.longest,
        };
        store.leases = Leases::new(millis(state.now), lease_ms(longest));
        // What nobody has accepted the loss of is owed all the same.
        let is_accepted = accepts || self.lock_is_lost;
        for key in 0..MOST {
            let rotation = &mut state.rotations[key];
            rotation.waits = false;
            // Nor may a loss that nobody noticed be one that somebody was told of.
            let is_owed = !is_accepted && (rotation.told || state.store.is_behind);
            if state.store.disk.revoked[key] == 0 && !is_owed {
                self.forget_what_was_owed(state, key);
            }
        }
        for call in state
            .gateways
            .iter_mut()
            .flat_map(|gateway| &mut gateway.calls)
        {
            *call = call.filter(|call| !matches!(call.step, Step::HalfRead(_)));
        }
    }

    /// I1 and I2 hold within one history: the revocation of this key was lost.
    fn forget_what_was_owed(&self, state: &mut State, key: usize) {
        state.rotations[key] = Rotation::default();
        for gateway in &mut state.gateways {
            gateway.refused[key] = false;
            let is_it = |of: Key| usize::from(of) == key;
            if let Some(request) = gateway
                .request
                .as_mut()
                .filter(|request| is_it(request.key))
            {
                request.owed = Default::default();
            }
            for call in gateway.calls.iter_mut().flatten() {
                if is_it(call.key) {
                    call.asker = Default::default();
                    call.waiter = None;
                }
            }
        }
    }
}
