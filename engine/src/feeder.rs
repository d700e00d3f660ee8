//! Follows the store's change feed for the whole process (DESIGN section 7):
//! one worker at a time polls, writes down what was revoked, extends the lease,
//! and acknowledges by polling again.
//!
//! Which worker that is, is a claim that lasts a moment ([`crate::claims`]). Two
//! at once do no harm, for all that counts is in the control record (G2).

use rekey_protocol::{FeedRequest, FeedResponse, lease_margin_ms, poll_hold_ms};

use crate::claims::{Claimed, Nonce};
use crate::config::Config;
use crate::control::{Cell, Control, Poll};
use crate::env::Env;
use crate::health::Health;
use crate::metrics::Counter;
use crate::outbox::Outbox;
use crate::slots::Table;
use crate::store_call::{self, CallId, CallOutcome, StoreFault};

/// Pause after the first failure, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: u64 = 50;
/// The longest pause; a quarter of the lease where that is less.
const LONGEST_PAUSE_MS: u64 = 1_000;
/// How long past its timeout the host's word on a poll is waited for.
const LOST_AFTER_MS: u64 = 1_000;

/// The feeder of one worker.
pub struct Feeder {
    role: String,
    lease_ms: u32,
    clusters: Vec<String>,
    /// Which of them is asked: the next after each failure.
    cluster: usize,
    poll: Option<UnderWay>,
    last_poll: u64,
    failures: u32,
    due: u64,
    health: Health,
}

struct UnderWay {
    call: CallId,
    poll: Poll,
    number: u64,
    /// When it is believed to be lost.
    lost_at: u64,
}

/// What came of an answer to a poll.
enum Applied {
    /// The control record says so now.
    Yes { began_anew: bool },
    /// Something overtook it: another feeder, another generation (G2).
    Overtaken,
    /// A revocation could not be written down (G3).
    Unwritten,
}

impl Feeder {
    /// A feeder that is due at once.
    pub fn new(config: &Config, namespace: &str) -> Self {
        let clusters = config.store.feed_clusters.clone();
        Self {
            role: format!("{namespace}feeder"),
            lease_ms: config.lease_ms,
            health: Health::of(format!("key store's change feed ({})", clusters.join(", "))),
            clusters,
            cluster: 0,
            poll: None,
            last_poll: 0,
            failures: 0,
            due: 0,
        }
    }

    /// Whether this is its call.
    pub fn asked(&self, call: CallId) -> bool {
        self.poll.as_ref().is_some_and(|poll| poll.call == call)
    }

    /// Time passed: polls, if it is time and no other worker does.
    pub fn tick(&mut self, nonce: Nonce, control: &Cell, env: &mut Env<'_>, out: &mut Outbox) {
        let now = env.now.monotonic;
        // The host reports every call; a poll must not wait for ever if it
        // does not.
        self.poll = self.poll.take().filter(|poll| now < poll.lost_at);
        match nonce.claim(&self.role, self.expiry_ms(), env) {
            Claimed::NotOurs => return,
            Claimed::Taken => {
                out.count(Counter::FeederTaken);
                self.failures = 0;
                self.due = now;
            }
            Claimed::Kept => {}
        }
        if self.poll.is_none() && now >= self.due {
            self.ask(control, env, out);
        }
    }

    /// The answer to its call came, or is known not to come.
    pub fn answered(
        &mut self,
        outcome: CallOutcome<'_>,
        control: &Cell,
        table: &Table,
        env: &mut Env<'_>,
        out: &mut Outbox,
    ) {
        let Some(asked) = self.poll.take() else {
            return;
        };
        let answer = store_call::read_feed(outcome).and_then(|answer| {
            // So that no other answer is taken for it.
            let is_its_own = answer.poll == asked.number;
            is_its_own.then_some(answer).ok_or(StoreFault::Unreadable)
        });
        let now = env.now.monotonic;
        self.health.note(answer.as_ref().err().copied(), now, out);
        let Ok(answer) = answer else {
            out.count(Counter::FeedFailed);
            self.cluster += 1;
            return self.back_off(env);
        };
        out.count(Counter::FeedAnswered);
        match apply(&asked.poll, &answer, control, table, env, out) {
            Applied::Yes { began_anew: false } => self.failures = 0,
            // Asking with the new cursor is the acknowledgement that others
            // wait for; a store that begins anew again and again is not run
            // after.
            Applied::Yes { began_anew: true } => {
                out.count(Counter::FeedReset);
                self.failures += 1;
                if self.failures > 1 {
                    return self.back_off(env);
                }
            }
            // The next tick tells whose turn it is.
            Applied::Overtaken => return,
            Applied::Unwritten => return self.back_off(env),
        }
        self.ask(control, env, out);
    }

    fn ask(&mut self, control: &Cell, env: &mut Env<'_>, out: &mut Outbox) {
        // G2: id, generation and cursor from the record, each time.
        let Some(record) = control.read(env) else {
            return self.back_off(env);
        };
        let poll = record.poll(env.now, self.lease_ms);
        self.last_poll += 1;
        let request = FeedRequest {
            gateway: poll.gateway,
            cursor: poll.cursor,
            lease_ms: poll.lease_ms,
            poll: self.last_poll,
            refused: Vec::new(),
        };
        let timeout_ms = self.timeout_ms();
        let call = out.new_call();
        self.poll = Some(UnderWay {
            call,
            poll,
            number: self.last_poll,
            lost_at: env.now.monotonic + u64::from(timeout_ms) + LOST_AFTER_MS,
        });
        let clusters = self.clusters.len().max(1);
        let cluster = self.clusters.get(self.cluster % clusters);
        let cluster = cluster.map(String::as_str).unwrap_or_default();
        out.call(call, store_call::feed(cluster, &request, timeout_ms));
    }

    fn back_off(&mut self, env: &mut Env<'_>) {
        let longest = LONGEST_PAUSE_MS.min(u64::from(self.lease_ms) / 4);
        let pause = (FIRST_PAUSE_MS << self.failures.min(16)).min(longest);
        self.failures += 1;
        // Jitter: gateways that lost the store together do not come back
        // together. Without entropy they may.
        let mut random = [0];
        let _ = env.sources.fill_random(&mut random);
        let jitter = pause * u64::from(random[0]) / 512;
        self.due = env.now.monotonic + pause + jitter;
    }

    /// The store holds a poll for a quarter of the lease; the rest of the half
    /// is the way. So there is time for another before the lease is over.
    fn timeout_ms(&self) -> u32 {
        (self.lease_ms / 2).max(poll_hold_ms(self.lease_ms) + lease_margin_ms(self.lease_ms))
    }

    /// After how long without a tick the role is another worker's: well within
    /// the lease, and not for one late tick.
    fn expiry_ms(&self) -> u64 {
        (u64::from(self.lease_ms) / 4).clamp(300, 1_000)
    }
}

/// Applies an answer in the order of G3: tombstones, then the lease; the
/// acknowledgement is the next poll.
fn apply(
    poll: &Poll,
    answer: &FeedResponse,
    cell: &Cell,
    table: &Table,
    env: &mut Env<'_>,
    out: &mut Outbox,
) -> Applied {
    let Some(record) = cell.read(env).filter(|record| record.awaits(poll)) else {
        return Applied::Overtaken;
    };
    let begins_anew = record.begins_anew(answer);
    // What was revoked before a generation needs no trace in it.
    for change in answer.changes.iter().filter(|_| !begins_anew) {
        let buried = table.bury(
            env.sources,
            record.generation,
            &change.digest,
            change.revision,
        );
        if buried.is_err() {
            out.count(Counter::FeedUnwritten);
            return Applied::Unwritten;
        }
        out.count(Counter::TombstoneWritten);
    }
    let after = |record: &Control| record.after(poll, answer);
    match cell.update(env.sources, after) {
        Some(_) => Applied::Yes {
            began_anew: begins_anew,
        },
        None => Applied::Overtaken,
    }
}
