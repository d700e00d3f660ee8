//! The one record that says what a gateway may trust: its id, the generation
//! of its cache, how far it has applied the store's changes, and until when its
//! lease lasts (`lease`).
//!
//! All workers of the process share it; none keeps any of it in memory of its
//! own (G2). The record and its transitions are plain values; [`ControlCell`] is where
//! it is kept.

use rekey_protocol::{FeedResponse, GatewayId, Head, Incarnation};

use super::lease::{self, Moment};
use crate::config::Config;
use crate::host::env::{Env, SharedData};
use crate::shared::SharedTable;
use crate::shared::codec::{FieldReader, FieldWriter};
use crate::shared::entry::{Entries, Layout, Next, Schema, Unreadable};

/// One life of a gateway's cache (docs/protocol.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Generation {
    /// Grows with each; records of another number count as absent (G8).
    pub number: u64,
    /// The revision at which it began. Every revocation after it has been, or
    /// will be, written down in this generation; of those before it there is no
    /// trace.
    pub began: u64,
}

/// What the cursor in an encoded record is.
const NEITHER: u8 = 0;
const APPLIED: u8 = 1;
const FORMER: u8 = 2;
/// In its place where there is none.
const NOWHERE: Head = Head {
    incarnation: Incarnation([0; 16]),
    revision: 0,
};

/// What a gateway may trust, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Control {
    /// How the store knows this gateway.
    pub gateway: GatewayId,
    /// The generation that the cache is in.
    pub generation: Generation,
    /// Up to where all changes are written down; none before the first answer
    /// of a generation: then nothing may be cached.
    pub applied: Option<Head>,
    /// Up to where they were in the generation that an answer of another incarnation
    /// ended, until the next begins. The next poll still asks with it: a store
    /// that does not remember it must learn that there was more (S8).
    pub former: Option<Head>,
    /// When cached trust ends (G1).
    pub deadline: Moment,
    /// The revision of the last import of keys that is known of: what the store did
    /// not know before it says nothing now. 0: none in this incarnation.
    pub keys_imported_at: u64,
}

/// A poll of the change feed as it was sent, to be compared when its answer is
/// applied (G2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SentPoll {
    /// As in the control record at sending.
    pub gateway: GatewayId,
    /// As in the control record at sending.
    pub generation: u64,
    /// What it acknowledges: `applied` of the control record at sending.
    pub cursor: Option<Head>,
    /// Sampled just before it was sent: here the lease begins (G1).
    pub sent: Moment,
    /// The lease that it asks for, in milliseconds.
    pub lease_ms: u32,
}

impl Control {
    /// A gateway that knows nothing yet.
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            generation: Generation::default(),
            applied: None,
            former: None,
            deadline: Moment::default(),
            keys_imported_at: 0,
        }
    }

    /// Whether a cached yes may be used at this moment: the lease lasts, by both
    /// clocks (G1).
    pub fn trusts(&self, now: Moment) -> bool {
        lease::lasts(self.deadline, now) && self.applied.is_some()
    }

    /// The poll to be sent now.
    pub fn poll(&self, sent: Moment, lease_ms: u32) -> SentPoll {
        SentPoll {
            gateway: self.gateway,
            generation: self.generation.number,
            cursor: self.cursor(),
            sent,
            lease_ms,
        }
    }

    fn cursor(&self) -> Option<Head> {
        self.applied.or(self.former)
    }

    /// Whether the answer to this poll may be applied: nothing that it was sent
    /// with has changed since (G2).
    pub fn awaits(&self, poll: &SentPoll) -> bool {
        let now = (self.gateway, self.generation.number, self.cursor());
        now == (poll.gateway, poll.generation, poll.cursor)
    }

    /// The record after the answer to a poll whose changes have been written
    /// down (G3); none if the answer is to be thrown away.
    pub fn after(&self, poll: &SentPoll, answer: &FeedResponse) -> Option<Self> {
        if !self.awaits(poll) {
            return None;
        }
        let mut next = *self;
        if self.starts_over(answer) {
            if goes_back(self.cursor(), answer.cursor) {
                return None;
            }
            next.generation = Generation {
                number: self.generation.number + 1,
                began: answer.cursor.revision,
            };
            next.deadline = Moment::default();
            next.keys_imported_at = 0;
        } else if self
            .applied
            .is_none_or(|at| answer.cursor.revision < at.revision)
        {
            // Revisions only grow; and nothing can follow on nothing.
            return None;
        }
        next.applied = Some(answer.cursor);
        next.former = None;
        next.keys_imported_at = next.keys_imported_at.max(answer.keys_imported_at);
        next.deadline = lease::extended(next.deadline, poll, answer.granted_ms);
        Some(next)
    }

    /// Whether what the store said may be cached: it was asked in this generation, and
    /// answered in the incarnation that this generation follows (G5).
    pub fn may_cache(&self, sent_in: Option<u64>, said_at: Head) -> bool {
        let followed = self.applied.map(|applied| applied.incarnation);
        sent_in == Some(self.generation.number) && followed == Some(said_at.incarnation)
    }

    /// Whether a generation begins with this answer to a poll: by the store's
    /// word, because the last one was ended, or because the store is in another
    /// incarnation. A cache must not span two, even where the cursor could be served: a
    /// gateway that was behind may have read, of single keys, what a restored
    /// backup does not remember.
    pub fn starts_over(&self, answer: &FeedResponse) -> bool {
        let followed = self.applied.map(|applied| applied.incarnation);
        let is_another = followed.is_some_and(|it| it != answer.cursor.incarnation);
        answer.reset || self.former.is_some() || is_another
    }

    /// The record after an answer of this incarnation to a call that was sent in
    /// the present generation; none if there is nothing to change. Another
    /// incarnation ends lease and generation (G5).
    pub fn after_answer_of(&self, incarnation: Incarnation) -> Option<Self> {
        let applied = self.applied?;
        (applied.incarnation != incarnation).then(|| Self {
            gateway: self.gateway,
            generation: Generation {
                number: self.generation.number + 1,
                began: 0,
            },
            applied: None,
            former: self.applied,
            deadline: Moment::default(),
            keys_imported_at: 0,
        })
    }
}

impl Layout for Control {
    const SCHEMA: Schema = Schema {
        table: "control",
        version: 2,
        unreadable: Unreadable::IsLeftAlone,
    };

    fn encode(&self) -> Vec<u8> {
        let (kind, cursor) = match (self.applied, self.former) {
            (Some(applied), _) => (APPLIED, applied),
            (None, Some(former)) => (FORMER, former),
            (None, None) => (NEITHER, NOWHERE),
        };
        FieldWriter::default()
            .bytes(&self.gateway.0)
            .u64(self.generation.number)
            .u64(self.generation.began)
            .u8(kind)
            .bytes(&cursor.incarnation.0)
            .u64(cursor.revision)
            .u64(self.deadline.monotonic)
            .u64(self.deadline.wall)
            .u64(self.keys_imported_at)
            .finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        let gateway = GatewayId(fields.array()?);
        let generation = Generation {
            number: fields.u64()?,
            began: fields.u64()?,
        };
        let kind = fields.u8()?;
        let cursor = Head {
            incarnation: Incarnation(fields.array()?),
            revision: fields.u64()?,
        };
        let deadline = Moment {
            monotonic: fields.u64()?,
            wall: fields.u64()?,
        };
        let keys_imported_at = fields.u64()?;
        fields.end()?;
        let (applied, former) = match kind {
            APPLIED => (Some(cursor), None),
            FORMER => (None, Some(cursor)),
            NEITHER if cursor == NOWHERE => (None, None),
            _ => return None,
        };
        Some(Self {
            gateway,
            generation,
            applied,
            former,
            deadline,
            keys_imported_at,
        })
    }
}

/// A reset that forgets what this very history has said before (G2).
fn goes_back(applied: Option<Head>, cursor: Head) -> bool {
    applied.is_some_and(|applied| {
        applied.incarnation == cursor.incarnation && cursor.revision < applied.revision
    })
}

/// Where the record is kept.
pub struct ControlCell {
    entries: Entries<Control>,
}

impl SharedTable for ControlCell {
    type Value = Control;

    fn open(entries: Entries<Control>, _: &Config) -> Self {
        Self { entries }
    }
}

impl ControlCell {
    /// The record, made if there is none; none if shared data or entropy fails:
    /// then nothing can be trusted and nothing be written down.
    pub fn read(&self, env: &mut Env<'_>) -> Option<Control> {
        let entry = self.entries.only();
        if let Some(control) = entry.read(env.sources).ok()? {
            return Some(control);
        }
        let mut id = [0; 16];
        env.sources.fill_random(&mut id).ok()?;
        let new = Control::new(GatewayId(id));
        // Another worker may have made it in the meantime.
        let read = entry.update(env.sources, |held| match held {
            Some(held) => Next::Keep(held),
            None => Next::Write(new, new),
        });
        read.ok()
    }

    /// Changes the record from a fresh read (G2). `None` from `change` leaves it as it
    /// is. Returns what the record is now, if it was changed.
    pub fn update(
        &self,
        shared: &mut dyn SharedData,
        change: impl Fn(&Control) -> Option<Control>,
    ) -> Option<Control> {
        let entry = self.entries.only();
        let changed = entry.update(shared, |held| match held.as_ref().and_then(&change) {
            Some(next) => Next::Write(next, Some(next)),
            None => Next::Keep(None),
        });
        changed.ok().flatten()
    }
}

#[cfg(test)]
mod tests;
