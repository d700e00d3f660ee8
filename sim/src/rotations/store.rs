//! The store of a world. What it decides is the store's own code
//! (`rotation::decide`, `replay::opening`); here are its disk and its rules.

use std::time::Duration;

use rekey_protocol::{Digest, ResolvedState};
use rekey_store::clock::UnixMillis;
use rekey_store::rules::replay::{self, Kept, Opening};
use rekey_store::rules::rotation::{
    Asked, Facts, OldKey, Recorded, RecordedOutcome, Refusal, RotationLimit, Verdict, decide,
};

use super::state::{
    Answer, Attempt, Disk, End, KEYS, Key, OLD, OPERATORS, Outcome, Phase, Record, State, new_key,
};
use super::world::{Who, World};

/// Failed openings that destroy a record.
pub const MOST_FAILURES: u8 = replay::MOST_FAILURES as u8;

const HOUR: RotationLimit = RotationLimit::HOUR;
/// Any moment that is late enough.
const NOW: UnixMillis = UnixMillis(1_000_000_000);

fn digest(key: usize) -> Digest {
    Digest::of(&key.to_be_bytes())
}

impl World {
    /// The attempt comes to the store.
    pub fn decide(&self, state: &mut State, request: usize, attempt: usize) {
        if state.requests[request].attempts[attempt] != Attempt::Sent {
            return;
        }
        let (answer, is_repeated) = self.transaction(state, request, attempt);
        let waits_for = self.waits_for(state, answer, is_repeated);
        state.requests[request].attempts[attempt] = Attempt::Answered(answer, waits_for);
    }

    /// The store dies within the transaction. What was to be kept of the rotation
    /// is on disk by then, or the rotation is without it.
    pub fn die_within(&self, state: &mut State, request: usize, attempt: usize) {
        let mut after = state.clone();
        self.transaction(&mut after, request, attempt);
        let committed = after.disk.revision > state.disk.revision;
        if committed && self.rules.x6_record_first {
            state.disk.records[request] = after.disk.records[request];
        } else if committed {
            state.disk = after.disk;
            state.disk.records[request] = None;
        }
        state.requests[request].attempts[attempt] = Attempt::Over;
        self.step(state, super::steps::Action::Crash);
    }

    /// The answer, and whether it is one of an earlier attempt.
    fn transaction(&self, state: &mut State, request: usize, attempt: usize) -> (Answer, bool) {
        let asked = Asked {
            attempt: u32::try_from(attempt).unwrap_or_default() + 1,
            old_digest: digest(OLD),
            new_digest: digest(new_key(request)),
        };
        let facts = self.facts(&state.disk, request, attempt);
        let id = self.rules.id_of(request, attempt);
        match decide(&asked, facts, NOW, HOUR) {
            Verdict::Repeat(RecordedOutcome::Rotated { .. }) => (Answer::Rotated, true),
            Verdict::Repeat(RecordedOutcome::Burned(Refusal::Revoked(_))) => {
                (self.revoked(state, request, self.rules.x3_burned), true)
            }
            Verdict::Repeat(RecordedOutcome::Burned(_)) => (Answer::Limited, true),
            Verdict::Refuse { refusal, burn } => {
                let is_revoked = matches!(refusal, Refusal::Revoked(_));
                let burned = match refusal {
                    Refusal::Revoked(_) => Outcome::Revoked(state.disk.revision),
                    _ => Outcome::Limited,
                };
                if let Some(id) = id.filter(|_| burn && self.rules.s11_burn) {
                    state.disk.recorded[id] = Some(burned);
                }
                let answer = match is_revoked {
                    true => self.revoked(state, request, true),
                    false => Answer::Limited,
                };
                (answer, false)
            }
            Verdict::Commit(_) => {
                self.commit(state, request, id);
                (Answer::Rotated, false)
            }
            // No world gets there: ids are each request's own.
            Verdict::Conflict => (Answer::Limited, false),
        }
    }

    fn facts(&self, disk: &Disk, request: usize, attempt: usize) -> Facts {
        let user = || "u".parse().ok();
        let id = self.rules.id_of(request, attempt);
        let recorded = id.filter(|_| self.rules.s11_known_id);
        let recorded = recorded.and_then(|id| {
            let outcome = match disk.recorded[id]? {
                Outcome::Rotated(revision) => RecordedOutcome::Rotated {
                    at: NOW,
                    user: user()?,
                    revision: revision.into(),
                },
                Outcome::Revoked(at) => RecordedOutcome::Burned(Refusal::Revoked(at.into())),
                Outcome::Limited => RecordedOutcome::Burned(Refusal::RateLimited(1)),
            };
            Some(Recorded {
                old_digest: digest(OLD),
                new_digest: digest(new_key(request)),
                outcome,
            })
        });
        let (state, revision) = match disk.keys[OLD] {
            Key::Revoked(revision, _) => (ResolvedState::Revoked, revision),
            _ => (ResolvedState::Active, 0),
        };
        let old = user().map(|user| OldKey {
            state,
            user,
            revision: revision.into(),
            last_rotated: disk.limited.then_some(NOW),
        });
        Facts {
            recorded,
            old,
            new_exists: disk.keys[new_key(request)] != Key::None,
        }
    }

    fn commit(&self, state: &mut State, request: usize, id: Option<usize>) {
        let disk = &mut state.disk;
        state.broken.twice |= disk.limited;
        disk.revision += 1;
        let by = u8::try_from(request).ok();
        disk.keys[OLD] = Key::Revoked(disk.revision, by);
        disk.keys[new_key(request)] = Key::Active;
        disk.limited = true;
        if let Some(id) = id {
            disk.recorded[id] = Some(Outcome::Rotated(disk.revision));
        }
        let sealed_for = self.who(state, request).0.idempotency_key();
        state.disk.records[request] = sealed_for.map(|sealed_for| Record {
            sealed_for,
            failures: self.guessed,
            expired: false,
        });
    }

    /// The old key is dead: what more than that the request is told (X3, X4).
    fn revoked(&self, state: &mut State, request: usize, hands_out: bool) -> Answer {
        let Key::Revoked(_, Some(by)) = state.disk.keys[OLD] else {
            return Answer::Revoked(None);
        };
        let winner = match self.rules.x6_committed {
            true => Some(usize::from(by)),
            // Any record of this key.
            false => state.disk.records.iter().position(Option::is_some),
        };
        let Some(winner) = winner else {
            return Answer::Revoked(None);
        };
        let Some(record) = state.disk.records[winner] else {
            return Answer::Revoked(None);
        };
        let (who, _) = self.who(state, request);
        let is_his = who.idempotency_key() == Some(record.sealed_for);
        let proof = who
            .idempotency_key()
            .map(|_| is_his || !self.rules.x4_proof);
        let is_active = state.disk.keys[new_key(winner)] == Key::Active;
        let long_ago = NOW.plus(Duration::from_secs(601));
        let kept = Kept {
            committed: NOW,
            used: None,
            failures: match self.rules.x4_failures {
                true => record.failures.into(),
                false => 0,
            },
            new_is_active: is_active || !self.rules.x4_new_key_active,
        };
        let now = if record.expired { long_ago } else { NOW };
        match replay::opening(Some(&kept), proof, now) {
            Opening::Granted if hands_out && self.rules.x3_handed_out => {
                state.broken.theft |= !is_his || record.failures >= MOST_FAILURES;
                state.broken.wrong_key |= !is_active;
                Answer::Revoked(Some(winner))
            }
            Opening::Failed { .. } => {
                if let Some(record) = &mut state.disk.records[winner] {
                    record.failures = (record.failures + 1).min(MOST_FAILURES + 1);
                }
                Answer::Revoked(None)
            }
            _ => Answer::Revoked(None),
        }
    }

    /// The revision whose barrier has to be open before this is told (S7).
    fn waits_for(&self, state: &State, answer: Answer, is_repeated: bool) -> u8 {
        let Key::Revoked(revision, _) = state.disk.keys[OLD] else {
            return 0;
        };
        match answer {
            Answer::Rotated if self.rules.s7_repeat || !is_repeated => revision,
            Answer::Revoked(Some(_)) if self.rules.s7_replay => revision,
            _ => 0,
        }
    }

    /// The operator gives the user another key.
    pub fn replace(&self, state: &mut State) {
        state.left.operator = false;
        state.disk.revision += 1;
        for key in 0..KEYS {
            if state.disk.keys[key] == Key::Active {
                state.disk.keys[key] = Key::Revoked(state.disk.revision, None);
            }
        }
        state.disk.keys[OPERATORS] = Key::Active;
    }

    /// A client learns the end of its request.
    pub fn hears(&self, state: &mut State, request: usize, end: End) {
        let (who, _) = self.who(state, request);
        match (end, who) {
            (End::Key(_), Who::Thief(_)) => state.broken.theft = true,
            (End::Key(key), Who::Client(_)) => {
                let before = state.requests.iter().any(
                    |other| matches!(other.phase, Phase::Ended(End::Key(other)) if other != key),
                );
                state.broken.wrong_key |= before || state.disk.keys[key] == Key::None;
                let dead_since = match state.disk.keys[OLD] {
                    Key::Revoked(revision, _) => revision,
                    _ => u8::MAX,
                };
                state.broken.too_early |= state.open < dead_since;
            }
            (End::Revoked, Who::Client(Some(key))) => {
                state.broken.turned_away |= self.is_owed(state, key);
            }
            _ => {}
        }
    }

    /// Whether a record lives that was sealed for this Idempotency-Key.
    fn is_owed(&self, state: &State, key: u8) -> bool {
        let Key::Revoked(_, Some(by)) = state.disk.keys[OLD] else {
            return false;
        };
        let winner = usize::from(by);
        let lives = |record: &Record| {
            record.sealed_for == key && !record.expired && record.failures < MOST_FAILURES
        };
        state.disk.keys[new_key(winner)] == Key::Active
            && state.disk.records[winner].as_ref().is_some_and(lives)
    }
}
