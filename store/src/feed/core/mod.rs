//! The feed's and the barrier's decisions, sans-IO: what a poll has to wait
//! for, what it is answered, and whether what was revoked has reached the
//! whole fleet (S3 to S9).
//!
//! Knows no clock, no lock and no database: time comes in as milliseconds of
//! one monotonic clock, and what the database has to do is a [`Step`] of a
//! poll. The server drives it with tasks that wait, the simulator in virtual
//! time.

mod poll;

use rekey_protocol::{FeedResponse, Head, Revocation, SecretPrint, lease_margin_ms, poll_hold_ms};

pub use self::poll::{BadLease, Poll, Step};
use self::poll::{Followed, Phase};
use super::history::{After, Changes, History, Place};
use super::leases::{Known, Leases, Registered};
use super::secrets::{FleetSecrets, SecretsNews, SecretsStanding, Usable};

/// How often gateways that are gone are forgotten, in milliseconds.
const PRUNE_EVERY_MS: u64 = 30_000;

/// What the database knew at the start.
#[derive(Debug, Clone)]
pub struct Start {
    /// The history's lives and its head.
    pub history: History,
    /// The longest lease that is on record in the database.
    pub longest_lease_ms: u32,
    /// The longest lease that an earlier life may have granted: more, where
    /// this database cannot know. Never less.
    pub held_lease_ms: u32,
    /// Unknown cursors below it are of a history whose loss was accepted: all
    /// of them in a life that was started to accept it.
    pub accepted_before: u64,
    /// Whether a later history than this was served last, and nobody said that
    /// an older one is meant.
    pub restored: bool,
}

/// The state of the feed in one life of the store.
#[derive(Debug, Clone)]
pub struct Core {
    leases: Leases,
    history: History,
    /// The longest lease that is on record (S9).
    longest_lease_ms: u32,
    accepted_before: u64,
    /// Whether this is an older backup than the fleet knows, and nobody said
    /// that this is meant.
    restored: bool,
    pruned: u64,
    secrets: FleetSecrets,
    /// What gateways have told of their secrets since somebody asked.
    secrets_news: SecretsNews,
}

/// Where an answer's changes begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// At the poll's cursor.
    Cursor,
    /// At the head, with a new generation and nothing to forget.
    Head,
}

/// Whether a revocation has reached the whole fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Barrier {
    /// No gateway can accept what it revoked.
    Open,
    /// Ask again when the floor has risen, or at this time.
    Closed {
        /// In milliseconds.
        recheck_at: u64,
    },
}

impl Core {
    /// The feed of a store that starts at `now`.
    pub fn new(now: u64, start: Start) -> Self {
        Self {
            leases: Leases::new(now, start.held_lease_ms),
            history: start.history,
            longest_lease_ms: start.longest_lease_ms,
            accepted_before: start.accepted_before,
            restored: start.restored,
            pruned: now,
            secrets: FleetSecrets::default(),
            secrets_news: SecretsNews::Same,
        }
    }

    /// The store makes keys, with these checksum secrets, the newest first.
    pub fn use_secrets(&mut self, own: Vec<SecretPrint>) {
        self.secrets.use_own(own);
    }

    /// Which of the store's secrets a key made now may bear.
    pub fn usable_secret(&self, now: u64) -> Usable {
        self.secrets.usable(now, self.leases.known(now))
    }

    /// How the store's secrets stand; none where it has none, or where not all
    /// gateways are known yet.
    pub fn secrets_standing(&self, now: u64) -> Option<SecretsStanding> {
        match self.leases.known(now) {
            Known::All => self.secrets.standing(now),
            Known::Some | Known::None => None,
        }
    }

    /// What gateways have told of their secrets, once: after other ones than before,
    /// polls that wait are to be stepped again.
    pub fn take_secrets_news(&mut self) -> SecretsNews {
        std::mem::replace(&mut self.secrets_news, SecretsNews::Same)
    }

    /// Where the history stands.
    pub fn head(&self) -> Head {
        self.history.head()
    }

    /// Whether another history than this database remembers was served here
    /// last, or a gateway has acknowledged more of one of its lives: then it is
    /// an older backup, or another store's, and serves nothing until the
    /// operator says that this is meant (S8).
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// A transaction is on disk (S2), with these revocations.
    pub fn committed(&mut self, revision: u64, changes: impl IntoIterator<Item = Revocation>) {
        self.history.committed(revision, changes);
    }

    /// An import is on disk (S2): keys that were unknown before it may be good. All
    /// answers from now on say so, and they alone lead gateways beyond it.
    pub fn imported(&mut self, revision: u64) {
        self.history.imported(revision);
    }

    /// A lease is on record, durably (S9).
    pub fn lease_recorded(&mut self, lease_ms: u32) {
        self.longest_lease_ms = self.longest_lease_ms.max(lease_ms);
    }

    /// Takes a poll as far as it can go at `now`. It may be called at any time;
    /// a poll that still has to wait says so again.
    pub fn step(&mut self, now: u64, poll: &mut Poll) -> Step {
        let phase = std::mem::replace(&mut poll.phase, Phase::Over);
        // Also where it was found out while this poll was held. Nothing is granted,
        // so nothing is put on record.
        if self.restored {
            return Step::Restored;
        }
        match phase {
            Phase::Arrived(cursor) => self.arrived(now, poll, cursor),
            Phase::Held(followed, until) => self.held(now, poll, followed, until),
            Phase::Reading(followed) => {
                poll.phase = Phase::Reading(followed);
                Step::ReadAfter(followed.cursor.revision)
            }
            Phase::Read(registered, mut changes, read) => {
                // S2: a commit can be seen on disk a little before it is told
                // here. A cursor beyond the head that is known here would not
                // be, and what is not told yet comes with the next answer.
                let revision = read.revision.min(self.head().revision);
                changes.retain(|change| change.revision <= revision);
                let changes = Changes::page(changes, Head { revision, ..read });
                self.answer(now, poll, registered, changes, Beginning::Cursor)
            }
            // Only a caller who asks for a second answer gets here.
            Phase::Over => Step::Hold {
                newer_than: u64::MAX,
                until: u64::MAX,
            },
        }
    }

    fn arrived(&mut self, now: u64, poll: &mut Poll, asked: Option<Head>) -> Step {
        // S9: on record before it is granted.
        if self.longest_lease_ms < poll.lease_ms {
            poll.phase = Phase::Arrived(asked);
            return Step::RecordLease(poll.lease_ms);
        }
        let place = asked.map(|asked| self.history.place(asked));
        let is_accepted = asked.is_some_and(|asked| asked.revision < self.accepted_before);
        // Proof of a restore: this very life went on beyond what is on disk.
        if place == Some(Place::Lost) && !is_accepted {
            self.restored = true;
            return Step::Restored;
        }
        // S8: a cursor of an unknown life is no such proof. It may be another
        // store's, and one gateway that has lost its way must not stop all
        // others; so it costs only itself, a `reset`, and the operator is told.
        // It may be of a later life that was lost, too. Then I2 holds all the
        // same, which is about the 200s of this history: what a lost life
        // granted it granted before this one began (S10), and where the lock
        // file does not prove that there was none, every 200 waits for the
        // longest lease there is (S9); and from now on this gateway is waited
        // for like any other, with nothing acknowledged, for as long as it can
        // trust what it was granted before.
        if place == Some(Place::Foreign) && !is_accepted {
            poll.foreign = asked;
        }
        // What cannot be placed acknowledges nothing.
        let cursor = asked.filter(|asked| self.history.knows(*asked));
        // S3: registered first; all that the answer says is read after.
        let acked = cursor.map(|cursor| cursor.revision);
        let registered = self
            .leases
            .register(now, poll.gateway, poll.lease_ms, acked);
        // Before the lease is over that this poll may be granted, as above.
        let lasts = u64::from(poll.lease_ms) + u64::from(lease_margin_ms(poll.lease_ms));
        let told = poll.secrets.take();
        let news = self
            .secrets
            .heard(now, poll.gateway, told.as_ref(), now + lasts);
        if news == SecretsNews::Other {
            self.secrets_news = news;
        }
        // S8: only what is of this life is gone on from. A page of an earlier
        // life's changes could not be followed: the point it ends at is of no
        // life at all. Nothing is lost by it: a gateway begins a generation
        // with each life of the store anyway (G5).
        match cursor.filter(|cursor| cursor.incarnation == self.head().incarnation) {
            Some(cursor) => {
                let until = now + u64::from(poll_hold_ms(poll.lease_ms));
                let followed = Followed { registered, cursor };
                self.held(now, poll, followed, until)
            }
            None => {
                let changes = Changes::none(self.head());
                self.answer(now, poll, registered, changes, Beginning::Head)
            }
        }
    }

    fn held(&mut self, now: u64, poll: &mut Poll, followed: Followed, until: u64) -> Step {
        let Followed { registered, cursor } = followed;
        let known = self.leases.known(now);
        let is_advised = self.secrets.is_advised(now, poll.gateway, known);
        if now < until && self.head().revision <= cursor.revision && is_advised {
            poll.phase = Phase::Held(followed, until);
            return Step::Hold {
                newer_than: cursor.revision,
                until,
            };
        }
        match self.history.after(cursor) {
            After::OnDisk => {
                poll.phase = Phase::Reading(followed);
                Step::ReadAfter(cursor.revision)
            }
            After::InMemory(changes) => {
                self.answer(now, poll, registered, changes, Beginning::Cursor)
            }
        }
    }

    fn answer(
        &mut self,
        now: u64,
        poll: &Poll,
        registered: Registered,
        changes: Changes,
        beginning: Beginning,
    ) -> Step {
        let Changes {
            revocations,
            upto,
            reach,
        } = changes;
        let known = self.leases.known(now);
        let advice = self.secrets.advise(now, poll.gateway, known);
        let granted_ms = self.leases.answer(registered, upto.revision, reach);
        Step::Answer(FeedResponse {
            poll: poll.number,
            changes: revocations,
            cursor: upto,
            granted_ms,
            reset: beginning == Beginning::Head,
            keys_imported_at: self.history.keys_imported_at(),
            secrets: Some(advice),
            used_most: 0,
        })
    }

    /// Whether no gateway can accept what was revoked up to `revision` (S7).
    /// It takes as long as the longest lease under way with its margin, at
    /// most.
    pub fn barrier(&mut self, now: u64, revision: u64) -> Barrier {
        let floor = self.leases.floor(now);
        if floor.revision >= revision {
            Barrier::Open
        } else {
            Barrier::Closed {
                recheck_at: floor.recheck_at.unwrap_or(now),
            }
        }
    }

    /// The revision up to which all barriers are open.
    pub fn floor(&mut self, now: u64) -> u64 {
        if now >= self.pruned + PRUNE_EVERY_MS {
            self.pruned = now;
            self.leases.prune(now);
            self.secrets.prune(now);
        }
        self.leases.floor(now).revision
    }

    /// Gateways that are not known to have lost their lease.
    pub fn following(&self) -> usize {
        self.leases.following()
    }
}

#[cfg(test)]
mod tests;
