//! The rotations of one worker: begun, asked for, and carried out.

use rekey_protocol::{ApiKey, Digest, RANDOM_BYTES, RotationId};
use zeroize::Zeroizing;

use super::Engine;
use crate::budget::Kind;
use crate::course::Course;
use crate::endpoint::Asked;
use crate::env::{EntropyError, Env};
use crate::lookups::Purpose;
use crate::metrics::Counter;
use crate::outbox::{Effect, LogLevel, RequestId};
use crate::refusal::Refusal;
use crate::replay::{Pair, SALT_BYTES};
use crate::reply::Reply;
use crate::rotation::{Drawn, Progress, Rotation, Wish};
use crate::slots::Tombstone;
use crate::store_call::{self, CallOutcome};

/// Rotations under way in one worker (I8). More are told to come back.
const MOST_ROTATIONS: usize = 1024;
/// Draws of random bytes for one key; even the second is never needed.
const KEY_DRAWS: usize = 4;

impl Engine {
    /// What a request to the endpoint is after. For a key without a checksum,
    /// which somebody may have made up and others may guess, nothing is sealed
    /// (X4).
    pub(super) fn wish(&self, old: ApiKey, asked: Asked) -> Wish {
        let is_ours = self.config.secrets.verify(&old);
        let idempotency_key = asked.idempotency_key.filter(|_| is_ours);
        Wish {
            client: asked.client,
            pair: idempotency_key.map(|key| Pair::new(old, key)),
        }
    }

    /// The key is dead. On the endpoint that is not the last word to whoever may
    /// have lost the answer of the rotation that replaced it (X5).
    pub(super) fn refuse_or_replay(
        &mut self,
        request: RequestId,
        (digest, tombstone): (Digest, Tombstone),
        purpose: Purpose,
        env: &mut Env<'_>,
    ) {
        let is_final = env.now.monotonic >= tombstone.replay_until;
        match purpose {
            Purpose::Regenerate(wish) if wish.pair.is_some() && !is_final => {
                // Within a budget of its own (X5): a flood of made-up keys cannot
                // use it up, and who has one old key not that of most others.
                match self.take(Kind::revoked(&digest), env) {
                    Ok(_spent) => self.begin_rotation(request, (digest, true), wish, env),
                    // Not "nothing was changed": an earlier request has changed it.
                    Err(_) => self.out.refuse(request, Refusal::RotationUnconfirmed),
                }
            }
            _ => {
                self.note_use(digest);
                self.out.refuse(request, Refusal::ApiKeyRevoked);
            }
        }
    }

    pub(super) fn rotation_answered(
        &mut self,
        mut rotation: Rotation,
        outcome: CallOutcome<'_>,
        env: &mut Env<'_>,
    ) {
        let progress = match self.note(store_call::read_decided(outcome), env) {
            Ok(decided) => rotation.decided(decided),
            Err(fault) => rotation.failed(fault, env.now.monotonic),
        };
        self.advance(rotation, progress, env);
    }

    pub(super) fn begin_rotation(
        &mut self,
        request: RequestId,
        old: (Digest, bool),
        wish: Box<Wish>,
        env: &mut Env<'_>,
    ) {
        // Of a key that is dead, nobody says that nothing was changed (X1).
        let unbegun = Course::new(old.1).out_of_time();
        if self.rotations.len() >= MOST_ROTATIONS {
            return self.out.refuse(request, unbegun);
        }
        match self.draw(env) {
            Ok(drawn) => {
                let now = env.now.monotonic;
                self.rotations
                    .push(Rotation::new(request, old, wish, drawn, now));
                self.ring(env);
            }
            Err(error) => {
                self.out
                    .log(LogLevel::Error, format!("cannot make a key: {error}"));
                self.out.refuse(request, unbegun);
            }
        }
    }

    fn draw(&self, env: &mut Env<'_>) -> Result<Drawn, EntropyError> {
        let mut id = [0; 16];
        env.sources.fill_random(&mut id)?;
        let mut salt = [0; SALT_BYTES];
        env.sources.fill_random(&mut salt)?;
        let mut random = Zeroizing::new([0; RANDOM_BYTES]);
        for _ in 0..KEY_DRAWS {
            env.sources.fill_random(random.as_mut_slice())?;
            if let Some(new) = self.config.secrets.issue(&random) {
                let id = RotationId(id);
                return Ok(Drawn { id, new, salt });
            }
        }
        Err(EntropyError)
    }

    /// Carries out what became of a rotation.
    pub(super) fn advance(&mut self, rotation: Rotation, progress: Progress, env: &mut Env<'_>) {
        match progress {
            Progress::Pending => self.rotations.push(rotation),
            Progress::Dropped => {}
            Progress::Rotated {
                key,
                created_at,
                revision,
                replayed,
            } => {
                // Whoever asked for its answer again may have to once more.
                let replayable = rotation.is_replayable();
                let tombstone = Tombstone::new(revision, replayable, env.now.monotonic);
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
                let buried = revoked_at.map(|(revision, replayable)| {
                    let tombstone = Tombstone::new(revision, replayable, env.now.monotonic);
                    self.bury(&rotation.old_digest(), tombstone, revision, env)
                });
                // Unconfirmed stays unconfirmed.
                let is_revoked = refusal == Refusal::ApiKeyRevoked;
                let refusal = buried.filter(|_| is_revoked).unwrap_or(refusal);
                if let Some(request) = rotation.request {
                    // Who lost a race has used a key that was good.
                    if refusal == Refusal::ApiKeyRevoked && rotation.was_dead() {
                        self.note_use(rotation.old_digest());
                    }
                    self.out.refuse(request, refusal);
                }
            }
        }
    }
}
