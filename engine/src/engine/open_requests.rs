//! The end of streams whose key was revoked: how a worker learns of it, and how
//! the others of the process do.

use rekey_protocol::Digest;

use super::{Engine, Existence};
use crate::cache::slots::View;
use crate::host::env::Env;
use crate::host::metrics::Counter;
use crate::host::outbox::Effect;
use crate::shared::workers;

/// What the log of revocations told a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Learned {
    /// Revocations that it had not handled yet.
    New,
    /// Nothing that it did not know.
    Nothing,
}

impl Engine {
    /// The feed was read: ends what it revoked, here and in the other workers.
    pub(super) fn tell_revoked(&mut self, env: &mut Env<'_>) {
        if self.learn_revoked(env) == Learned::New {
            self.ring_others(env);
        }
        self.end_dying();
    }

    /// A first tombstone of this key was written by the store's word on it alone. The
    /// feed tells of it too, and until then no 200 has left; this is for a gateway
    /// that hears nothing of its feed. So if it cannot be told, nothing is lost.
    pub(super) fn tell_of(&mut self, digest: &Digest, env: &mut Env<'_>) {
        let revoked = std::slice::from_ref(digest);
        if self.shared.revocations.add(env.sources, revoked).is_ok() {
            self.tell_revoked(env);
        }
    }

    /// Ends streams whose key was revoked since this was last asked.
    pub(super) fn end_streams(&mut self, env: &mut Env<'_>) {
        self.learn_revoked(env);
        self.end_dying();
    }

    /// Reads which keys were revoked since this was last asked.
    /// Also where no stream is open, so that an old entry is not held against a
    /// later stream.
    fn learn_revoked(&mut self, env: &mut Env<'_>) -> Learned {
        if !self.streams.are_kept() {
            return Learned::Nothing;
        }
        let handled = self.streams.handled();
        let Some(missed) = self.shared.revocations.since(env.sources, handled) else {
            return Learned::Nothing;
        };
        match missed.revoked {
            Some(revoked) => self.streams.revoked(revoked, missed.newest),
            None => self.streams.fell_behind(missed.newest),
        }
        Learned::New
    }

    fn end_dying(&mut self) {
        for request in self.streams.take_dying() {
            self.out.count(Counter::StreamEnded);
            self.out.push(Effect::Reset { request });
        }
    }

    /// What a ring that gets lost should have started is started by the next tick.
    fn ring_others(&mut self, env: &mut Env<'_>) {
        let Some(nonce) = self.nonce else { return };
        for number in workers::others(nonce, &self.shared.roles, env) {
            let name = self.shared.doorbell(number);
            self.out.push(Effect::RingDoorbell(name));
        }
    }

    /// Looks the keys up of streams whose revocation may have been missed. Only
    /// once there is a generation again: before that no answer would cover them.
    pub(super) fn check_streams(&mut self, env: &mut Env<'_>) {
        let control = self.shared.control.read(env);
        let Some(control) = control.filter(|control| control.applied.is_some()) else {
            return;
        };
        let generation = control.generation;
        if !self
            .streams
            .are_doubtful(generation.number, env.now.monotonic)
        {
            return;
        }
        let look = |digest: &Digest| self.shared.keys.look(env.sources, generation, digest);
        for digest in self.streams.look_up(look) {
            self.out.count(Counter::StreamChecked);
            let call = self.out.new_call();
            self.lookups.ask(digest, call);
        }
    }

    /// The store has said what it knows of a key, or could not be asked. What it
    /// said stands in the slot now, if it is of the present generation.
    pub(super) fn stream_key_answered(
        &mut self,
        digest: &Digest,
        existence: Existence,
        env: &mut Env<'_>,
    ) {
        let control = self.shared.control.read(env);
        let known = control.map_or(View::Absent, |control| {
            self.shared
                .keys
                .look(env.sources, control.generation, digest)
        });
        // Another worker may have heard of an import that this one has not.
        if existence == Existence::Denied && !matches!(known, View::Active(_)) {
            self.streams.end(digest);
        }
        if !self.streams.answered(digest) {
            return;
        }
        if known == View::Absent && existence == Existence::Possible {
            self.streams.pause(env.now.monotonic);
        }
        self.check_streams(env);
    }
}
