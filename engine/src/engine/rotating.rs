//! The rotations of one worker: begun, asked for, and carried out.

use rekey_protocol::{ApiKey, Digest, RANDOM_BYTES, RotationId, SEAL_SALT_LEN};
use zeroize::Zeroizing;

use super::Engine;
use crate::cache::slots::{RevokedAt, Tombstone, View};
use crate::host::env::{EntropyError, Env};
use crate::host::metrics::Counter;
use crate::host::outbox::{Effect, LogLevel, RequestId};
use crate::limits::token_bucket::KeyClass;
use crate::request::endpoint::RegenerateRequest;
use crate::request::refusal::ApiRefusal;
use crate::request::reply::Reply;
use crate::rotation::lifecycle::{Drawn, KeyToReplace, Progress, Requester, Rotation};
use crate::rotation::queue::Queued;
use crate::rotation::replay::Pair;
use crate::store::calls::{self, CallOutcome};
use crate::store::lookups::Purpose;

/// Rotations in flight in one worker (I8). More are told to come back.
const MOST_ROTATIONS: usize = 1024;
/// Calls in flight for one key: one that a client waits for, and one whose client has
/// left.
const MOST_CALLS_OF_A_KEY: usize = 2;
/// Draws of random bytes for one key; even the second is never needed.
const KEY_DRAWS: usize = 4;

/// Why no key was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum DrawError {
    /// The host gave no random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Some gateway would refuse it, whichever secret it were made with.
    #[error("each checksum secret is refused by some gateway")]
    Refused,
}

impl Engine {
    /// What a request to the endpoint is after. For a key without a checksum,
    /// which somebody may have made up and others may guess, nothing is sealed
    /// (X4).
    pub(super) fn requester(&self, old: ApiKey, asked: RegenerateRequest) -> Requester {
        let is_ours = self.config.secrets.verify(&old);
        let idempotency_key = asked.idempotency_key.filter(|_| is_ours);
        Requester {
            client: asked.client,
            pair: idempotency_key.map(|key| Pair::new(old, key)),
        }
    }

    /// The key is revoked. On the endpoint that is not final for a client that may
    /// have lost the answer of the rotation that replaced it (X5).
    pub(super) fn refuse_or_replay(
        &mut self,
        request: RequestId,
        digest: Digest,
        tombstone: Tombstone,
        purpose: Purpose,
        env: &mut Env<'_>,
    ) {
        let is_final = env.now.monotonic >= tombstone.replay_until;
        match purpose {
            Purpose::Regenerate(requester) if requester.pair.is_some() && !is_final => {
                // Within a separate budget (X5): a flood of made-up keys cannot use it
                // up, and a client with one old key cannot use up most others'.
                match self.take(KeyClass::revoked(&digest), env) {
                    Ok(_spent) => {
                        let old = KeyToReplace::dead(digest);
                        self.begin_rotation(request, old, requester, env)
                    }
                    // Not "nothing was changed": an earlier request has changed it.
                    Err(_) => self.out.refuse(request, ApiRefusal::RotationUnconfirmed),
                }
            }
            _ => {
                self.note_use(digest);
                self.out.refuse(request, ApiRefusal::ApiKeyRevoked);
            }
        }
    }

    pub(super) fn rotation_answered(
        &mut self,
        mut rotation: Rotation,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        let decided = self.note_rotation(calls::read_decided(outcome), env);
        let progress = match decided {
            Ok(decided) => rotation.decided(decided),
            Err(fault) => rotation.failed(fault, env.now.monotonic),
        };
        self.advance(rotation, progress, env);
    }

    /// Has the key replaced, or its earlier replacement's answer asked for: now, or
    /// when other requests with the same key have had their turn.
    pub(super) fn begin_rotation(
        &mut self,
        request: RequestId,
        old: KeyToReplace,
        requester: Box<Requester>,
        env: &mut Env<'_>,
    ) {
        let since = env.now.monotonic;
        let queued = Queued {
            request,
            old,
            requester,
            since,
        };
        if !self.is_rotating(&old.digest) && !self.queue.has(&old.digest) {
            return self.begin(queued, env);
        }
        match self.queue.join(queued) {
            Ok(()) => self.out.count(Counter::RotationQueued),
            Err(refusal) => self.out.refuse(request, refusal),
        }
    }

    fn begin(&mut self, queued: Queued, env: &mut Env<'_>) {
        let Queued {
            request,
            old,
            requester,
            since,
        } = queued;
        // Of a key that is dead, nobody says that nothing was changed (X1).
        let unbegun = old.attempts().out_of_time();
        if !self.has_room(old) {
            return self.out.refuse(request, unbegun);
        }
        match self.draw(old, env) {
            Ok(drawn) => {
                self.rotations
                    .push(Rotation::new(request, old, requester, drawn, since));
                self.ring(env);
            }
            Err(no_key) => {
                // The other reason has been told with the store's advice.
                if let DrawError::Entropy(error) = no_key {
                    self.out
                        .log(LogLevel::Error, format!("cannot make a key: {error}"));
                }
                self.out.refuse(request, unbegun);
            }
        }
    }

    /// Whether another request with this key has to wait. A rotation whose client has
    /// left holds nobody up: its answer may be lost, and the client be back. But who
    /// leaves again and again must not hold more and more calls.
    fn is_rotating(&self, old: &Digest) -> bool {
        let rotations = self.rotations.iter();
        let of_key = rotations.filter(|rotation| rotation.old_digest() == *old);
        let mut count = 0;
        let mut is_waited_for = false;
        for rotation in of_key {
            count += 1;
            is_waited_for |= rotation.request.is_some();
        }
        is_waited_for || count >= MOST_CALLS_OF_A_KEY
    }

    /// Whether one more may be in flight. Asking for earlier answers takes half of
    /// the places at most, so that there is always one for a key that is good.
    fn has_room(&self, old: KeyToReplace) -> bool {
        let replays = self.rotations.iter().filter(|rotation| rotation.was_dead());
        let all_taken = self.rotations.len() >= MOST_ROTATIONS;
        let is_over_share = old.was_dead && replays.count() >= MOST_ROTATIONS / 2;
        !all_taken && !is_over_share
    }

    /// Gives those their turn that waited for a rotation which has ended, and an
    /// answer to those that need not wait any longer.
    pub(super) fn take_turns(&mut self, env: &mut Env<'_>) {
        for queued in self.queue.take_late(env.now.monotonic) {
            // The rotation that it waited for may have done anything.
            let refusal = ApiRefusal::RotationUnconfirmed;
            self.out.refuse(queued.request, refusal);
        }
        for key in self.queue.keys() {
            let control = self.shared.control.read(env);
            let known = control.map_or(View::Absent, |control| {
                self.shared.keys.look(env.sources, control.generation, &key)
            });
            if let View::Revoked(_) = known {
                for queued in self.queue.take_plain(&key) {
                    self.turn(queued, &known, env);
                }
            }
            let old = match known {
                View::Revoked(_) => KeyToReplace::dead(key),
                View::Active(_) | View::Absent => KeyToReplace::active(key),
            };
            while !self.is_rotating(&key)
                && self.has_room(old)
                && let Some(queued) = self.queue.next(&key)
            {
                self.turn(queued, &known, env);
            }
        }
    }

    /// It is this request's turn.
    fn turn(&mut self, queued: Queued, known: &View, env: &mut Env<'_>) {
        let View::Revoked(tombstone) = *known else {
            return self.begin(queued, env);
        };
        let is_final = env.now.monotonic >= tombstone.replay_until;
        let digest = queued.old.digest;
        if queued.requester.pair.is_none() || is_final {
            // A client that lost a race has used a key that was good.
            if queued.old.was_dead {
                self.note_use(digest);
            }
            return self.out.refuse(queued.request, ApiRefusal::ApiKeyRevoked);
        }
        // It has paid if the key was dead when it came.
        if !queued.old.was_dead && self.take(KeyClass::revoked(&digest), env).is_err() {
            let refusal = ApiRefusal::RotationUnconfirmed;
            return self.out.refuse(queued.request, refusal);
        }
        let old = KeyToReplace::dead(digest);
        self.begin(Queued { old, ..queued }, env);
    }

    fn draw(&mut self, old: KeyToReplace, env: &mut Env<'_>) -> Result<Drawn, DrawError> {
        // The key that a replay draws is shown to nobody.
        let place = self.issuing.place(env.sources);
        let place = place
            .or(old.was_dead.then_some(0))
            .ok_or(DrawError::Refused)?;
        let mut id = [0; 16];
        env.sources.fill_random(&mut id)?;
        let mut salt = [0; SEAL_SALT_LEN];
        env.sources.fill_random(&mut salt)?;
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        for _ in 0..KEY_DRAWS {
            env.sources.fill_random(random.as_mut_slice())?;
            if let Some(new) = self.config.secrets.issue_with(place, &random) {
                let id = RotationId(id);
                return Ok(Drawn { id, new, salt });
            }
        }
        Err(EntropyError.into())
    }

    /// Carries out what became of a rotation.
    pub(super) fn advance(&mut self, rotation: Rotation, progress: Progress, env: &mut Env<'_>) {
        let is_over = !matches!(progress, Progress::Pending);
        if is_over && self.queue.has(&rotation.old_digest()) {
            self.out.push(Effect::RingRoot);
        }
        match progress {
            Progress::Pending => self.rotations.push(rotation),
            Progress::Dropped => {}
            Progress::Rotated {
                key,
                created_at,
                revision,
                replayed,
            } => {
                // A client that asked for its answer again may have to once more.
                let revoked_at = RevokedAt {
                    revision,
                    replayable: rotation.is_replayable(),
                };
                let tombstone = Tombstone::new(revoked_at, env.now.monotonic);
                self.bury(&rotation.old_digest(), tombstone, revision, env);
                // G12: the new key is not cached on our own account.
                if let Some(request) = rotation.request {
                    let reply = if replayed {
                        self.out.count(Counter::Replayed);
                        Reply::replayed(&key, &created_at)
                    } else {
                        self.out.count(Counter::Rotated);
                        Reply::rotated(&key, &created_at)
                    };
                    self.out.push(Effect::Reply { request, reply });
                }
            }
            Progress::Refused {
                refusal,
                revoked_at,
            } => {
                let buried = revoked_at.map(|revoked_at| {
                    let tombstone = Tombstone::new(revoked_at, env.now.monotonic);
                    let read_at = revoked_at.revision;
                    self.bury(&rotation.old_digest(), tombstone, read_at, env)
                });
                // Unconfirmed stays unconfirmed.
                let is_revoked = refusal == ApiRefusal::ApiKeyRevoked;
                let refusal = buried.filter(|_| is_revoked).unwrap_or(refusal);
                if let Some(request) = rotation.request {
                    // A client that lost a race has used a key that was good.
                    if refusal == ApiRefusal::ApiKeyRevoked && rotation.was_dead() {
                        self.note_use(rotation.old_digest());
                    }
                    self.out.refuse(request, refusal);
                }
            }
        }
    }
}
