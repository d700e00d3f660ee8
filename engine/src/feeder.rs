//! Follows the store's change feed for the whole process (docs/protocol.md):
//! one worker at a time polls, writes down what was revoked, extends the lease,
//! and acknowledges by polling again.
//!
//! Which worker that is, is a claim that lasts a moment ([`crate::claims`]). Two
//! at once, where one was stalled, do no harm: all that counts is in the control
//! record (G2).

use rekey_protocol::{
    AcceptedSecrets, ErrorCode, FeedRequest, FeedResponse, REFUSED_MOST, RefusedUse, USED_MOST,
    lease_margin_ms, poll_hold_ms,
};

use crate::claims::{Claimed, Nonce};
use crate::config::Config;
use crate::control::{Cell, Control, Poll};
use crate::env::Env;
use crate::health::Health;
use crate::issuing::{self, Issuing};
use crate::last_uses::{ToTell, Use};
use crate::metrics::Counter;
use crate::outbox::Outbox;
use crate::revocations::Log;
use crate::slots::{Table, Tombstone};
use crate::store_call::{self, CallId, CallOutcome, StoreFault};
use crate::uses::Ledger;

/// Pause after the first failure, in milliseconds; it doubles with each.
const FIRST_PAUSE_MS: u64 = 50;
/// The longest pause; a quarter of the lease where that is less.
const LONGEST_PAUSE_MS: u64 = 1_000;
/// A store that answers a poll within this part of the time for which it should
/// hold it, with nothing new, does not hold polls.
const AT_ONCE: u64 = 4;
/// Both kinds of uses share the room of one poll, and this much of it is for those
/// of active keys, however many revoked ones are used.
const USED_LEAST: usize = 20;

/// The feeder of one worker.
pub struct Feeder {
    role: String,
    log: Log,
    lease_ms: u32,
    clusters: Vec<String>,
    /// Which of them is asked: the next after each failure.
    cluster: usize,
    poll: Option<UnderWay>,
    last_poll: u64,
    failures: u32,
    due: u64,
    health: Health,
    uses: Ledger,
    /// Whether the store takes what it is told of our secrets: one of an earlier
    /// version refuses the whole poll.
    tells_secrets: bool,
    accepted: AcceptedSecrets,
    last_uses: ToTell,
    /// How many last uses the next poll may tell, by the answer before it.
    used_most: usize,
}

struct UnderWay {
    call: CallId,
    poll: Poll,
    number: u64,
    /// Uses of revoked keys that it tells.
    refused: Vec<RefusedUse>,
    /// Whether it tells our secrets.
    tells_secrets: bool,
    /// Last uses of active keys that it tells.
    used: Vec<Use>,
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
            log: Log::new(namespace),
            lease_ms: config.lease_ms,
            health: Health::of(format!("key store's change feed ({})", clusters.join(", "))),
            clusters,
            cluster: 0,
            poll: None,
            last_poll: 0,
            failures: 0,
            due: 0,
            uses: Ledger::new(namespace),
            tells_secrets: true,
            accepted: issuing::accepted(config),
            last_uses: ToTell::new(namespace),
            used_most: 0,
        }
    }

    /// Whether this is its call.
    pub fn asked(&self, call: CallId) -> bool {
        self.poll.as_ref().is_some_and(|poll| poll.call == call)
    }

    /// Time passed: polls, if it is time and no other worker does.
    pub fn tick(&mut self, nonce: Nonce, control: &Cell, env: &mut Env<'_>, out: &mut Outbox) {
        let now = env.now.monotonic;
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
        nonce: Nonce,
        (control, table, issuing): (&Cell, &Table, &mut Issuing),
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
        let is_bad = answer == Err(StoreFault::Refused(ErrorCode::BadRequest));
        if is_bad && asked.tells_secrets {
            // A store of an earlier version: it is not ill, only not to be told.
            self.tells_secrets = false;
            self.due = now;
            return out.count(Counter::FeedFailed);
        }
        self.health.note(answer.as_ref().err().copied(), now, out);
        let Ok(answer) = answer else {
            out.count(Counter::FeedFailed);
            self.cluster += 1;
            return self.back_off(env);
        };
        out.count(Counter::FeedAnswered);
        self.uses.told(env.sources, &asked.refused);
        self.tells_secrets = answer.secrets.is_some();
        issuing.advised(answer.secrets, env.sources, out);
        self.last_uses.told(env.sources, &asked.used);
        self.used_most = usize::try_from(answer.used_most).unwrap_or(USED_MOST);
        match self.apply(&asked.poll, &answer, (control, table), env, out) {
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
            Applied::Overtaken => return out.count(Counter::FeedOvertaken),
            Applied::Unwritten => return self.back_off(env),
        }
        // One that stalled in the meantime has lost its role.
        let is_ours = nonce.claim(&self.role, self.expiry_ms(), env) != Claimed::NotOurs;
        if is_ours && !self.is_hasty(&asked.poll, &answer, now) {
            self.ask(control, env, out);
        }
    }

    /// Whether the store came at once with nothing new: asked at once again, it
    /// would be asked without a pause. The next tick is soon enough, for there is
    /// nothing to acknowledge.
    fn is_hasty(&self, poll: &Poll, answer: &FeedResponse, now: u64) -> bool {
        let took = now.saturating_sub(poll.sent.monotonic);
        let held = u64::from(poll_hold_ms(self.lease_ms)) / AT_ONCE;
        poll.cursor == Some(answer.cursor) && answer.granted_ms > 0 && took < held
    }

    fn ask(&mut self, control: &Cell, env: &mut Env<'_>, out: &mut Outbox) {
        // G2: id, generation and cursor from the record, each time.
        let Some(record) = control.read(env) else {
            return self.back_off(env);
        };
        let poll = record.poll(env.now, self.lease_ms);
        self.last_poll += 1;
        let refused = self.uses.next(env.sources);
        let room = REFUSED_MOST.saturating_sub(refused.len());
        let room = room.clamp(USED_LEAST, USED_MOST);
        // What was granted is for one poll: the store counts on no more.
        let most = std::mem::take(&mut self.used_most).min(room);
        let used = self.last_uses.next(env.sources, most);
        let now = env.now.monotonic;
        let request = FeedRequest {
            gateway: poll.gateway,
            cursor: poll.cursor,
            lease_ms: poll.lease_ms,
            poll: self.last_poll,
            refused: refused.clone(),
            secrets: self.tells_secrets.then(|| self.accepted.clone()),
            used: used.iter().map(|used| used.told_at(now)).collect(),
        };
        let timeout_ms = self.timeout_ms();
        let call = out.new_call();
        self.poll = Some(UnderWay {
            call,
            poll,
            number: self.last_poll,
            refused,
            tells_secrets: self.tells_secrets,
            used,
            lost_at: store_call::lost_at(env.now.monotonic, timeout_ms),
        });
        let clusters = self.clusters.len().max(1);
        let cluster = self.clusters.get(self.cluster % clusters);
        let cluster = cluster.map(String::as_str).unwrap_or_default();
        out.call(call, store_call::feed(cluster, &request, timeout_ms));
    }

    /// Applies an answer in the order of G3: tombstones, then word of them to the
    /// other workers, then the lease; the acknowledgement is the next poll.
    fn apply(
        &self,
        poll: &Poll,
        answer: &FeedResponse,
        (cell, table): (&Cell, &Table),
        env: &mut Env<'_>,
        out: &mut Outbox,
    ) -> Applied {
        let Some(record) = cell.read(env).filter(|record| record.awaits(poll)) else {
            return Applied::Overtaken;
        };
        let begins_anew = record.begins_anew(answer);
        // What was revoked before a generation needs no trace in it.
        let changes = if begins_anew { &[] } else { &*answer.changes };
        for change in changes {
            let buried = table.bury(
                env.sources,
                record.generation,
                &change.digest,
                Tombstone::new(change.revision, change.replayable, env.now.monotonic),
            );
            if buried.is_err() {
                out.count(Counter::FeedUnwritten);
                return Applied::Unwritten;
            }
            out.count(Counter::TombstoneWritten);
        }
        let revoked: Vec<_> = changes.iter().map(|change| change.digest).collect();
        if self.log.add(env.sources, &revoked).is_err() {
            out.count(Counter::FeedUnwritten);
            return Applied::Unwritten;
        }
        let after = |record: &Control| record.after(poll, answer);
        match cell.update(env.sources, after) {
            Some(_) => Applied::Yes {
                began_anew: begins_anew,
            },
            None => Applied::Overtaken,
        }
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

    /// What the store may hold a poll for, twice. So a poll that is lost leaves
    /// time for another within the lease, if that is a second or more.
    fn timeout_ms(&self) -> u32 {
        2 * poll_hold_ms(self.lease_ms) + lease_margin_ms(self.lease_ms)
    }

    /// After how long without a tick the role is another worker's: within the
    /// lease, if that is a second or more, and not for one late tick.
    fn expiry_ms(&self) -> u64 {
        (u64::from(self.lease_ms) / 4).clamp(300, 1_000)
    }
}
