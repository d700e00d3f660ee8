//! Crashes, starts and restores of the store.

use rekey_store::feed::leases::Leases;

use crate::model::state::{Disk, Key, MOST, Rotation, Stage, State, Step, Store};
use crate::model::store::{lease_ms, millis};
use crate::model::world::World;

/// What the store starts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum On {
    /// The file that it had.
    ItsFile,
    /// The same, with `--accept-restore`.
    AcceptedFile,
    /// The backup, as if nothing had happened.
    Backup,
    /// The backup, with `--accept-restore`.
    AcceptedBackup,
}

impl On {
    fn is_backup(self) -> bool {
        matches!(self, Self::Backup | Self::AcceptedBackup)
    }

    fn is_accepted(self) -> bool {
        matches!(self, Self::AcceptedFile | Self::AcceptedBackup)
    }
}

impl World {
    /// Crash and start of the store.
    pub fn restart_store(&self, state: &mut State, on: On) {
        let accepts = on.is_accepted();
        self.lose_what_the_store_knew(state);
        if on.is_backup() {
            state.store.disk = Disk::first(self.backup_lease);
        }
        let last = state.store.disk.revision;
        if on.is_backup() && self.lock_is_lost {
            (state.store.mark, state.store.lease_beside) = (0, 0);
        }
        let store = &mut state.store;
        // The worlds of accepted restores have to hold without the lock file.
        if self.unaccepted {
            store.disk.longest = store.disk.longest.max(store.lease_beside);
        }
        let is_older = on.is_backup() && last < store.mark;
        store.is_behind = !accepts && (store.is_behind || is_older);
        store.is_restored = self.rules.s8_mark && store.is_behind;
        self.begin_life(store);
        if accepts {
            store.disk.accepted_before = store.disk.revision;
            if self.rules.s9_cap && self.rules.s9_cap_on_record {
                store.disk.longest = self.cap();
            }
        }
        // S9.
        let longest = match (self.rules.s9_hold, accepts && self.rules.s9_cap) {
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
    }

    /// S8: a new life, past everything.
    fn begin_life(&self, store: &mut Store) {
        let last = store.disk.revision;
        if self.rules.s8_jump {
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
    }

    /// Polls that it held, answers that it was reading.
    fn lose_what_the_store_knew(&self, state: &mut State) {
        let held = |place: &usize| state.polls[*place].stage != Stage::Travelling;
        let gone: Vec<_> = (0..state.polls.len()).filter(held).collect();
        for place in gone.into_iter().rev() {
            self.lose_poll(state, place);
        }
        if !self.rules.s10_one_owner {
            state.store.ghost = Some(state.store.head);
        }
        state.store.early = None;
        let gateways = state.gateways.iter_mut();
        for call in gateways.flat_map(|gateway| &mut gateway.calls) {
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
