//! The control record of a gateway: what is trusted until when, and what the
//! answer to a poll makes of it (G1, G2, G5). Where all its rules hold, the
//! engine's own code decides; here times are ticks, there milliseconds, and
//! nothing depends on which.

use rekey_engine::control as engine;
use rekey_protocol::{FeedResponse, Head};

use crate::model::rules::Rules;
use crate::model::state::{Control, Cursor, Generation, Moment, Page, Sent, Tick};
use crate::model::store;

impl Control {
    /// A gateway that knows nothing yet.
    pub fn new(id: u8) -> Self {
        Self {
            id,
            generation: Generation::default(),
            applied: None,
            former: None,
            deadline: Moment::default(),
        }
    }

    /// What the next poll asks with.
    pub fn cursor(&self) -> Option<Cursor> {
        self.applied.or(self.former)
    }

    /// Whether a cached yes may be used (G1).
    pub fn trusts(&self, rules: &Rules, now: Moment) -> bool {
        if rules.g1_now && rules.g1_monotonic && rules.g1_wall {
            return self.as_engine().trusts(now.as_engine());
        }
        // Without G1 the moment is that of an earlier callback.
        let stale = Tick::from(!rules.g1_now);
        let is_before = |now: Tick, end: Tick| now.saturating_sub(stale) < end;
        let monotonic = is_before(now.monotonic, self.deadline.monotonic) || !rules.g1_monotonic;
        let wall = is_before(now.wall, self.deadline.wall) || !rules.g1_wall;
        monotonic && wall && self.applied.is_some()
    }

    /// Whether the answer to this poll may be applied (G2).
    pub fn awaits(&self, rules: &Rules, sent: &Sent) -> bool {
        // Without G2 all that counts is what was read at sending.
        let now = if rules.g2_fresh { self } else { &sent.control };
        let then = &sent.control;
        let is_same_generation = now.generation.number == then.generation.number;
        (is_same_generation || !rules.g2_generation)
            && (now.cursor() == then.cursor() || !rules.g2_cursor)
    }

    /// The record after the answer to a poll; none if it is thrown away. The
    /// engine's own code, as long as its rules hold.
    pub fn after(&self, rules: &Rules, sent: &Sent, page: &Page, now: Moment) -> Option<Self> {
        if rules.of_control_hold() {
            let next = self.as_engine().after(&sent.as_engine(), &page.as_engine());
            return next.map(|next| Self::from_engine(&next));
        }
        self.after_of_mutant(rules, sent, page, now)
    }

    /// The same, with each rule a switch.
    pub fn after_of_mutant(
        &self,
        rules: &Rules,
        sent: &Sent,
        page: &Page,
        now: Moment,
    ) -> Option<Self> {
        if !self.awaits(rules, sent) {
            return None;
        }
        let fresh = if rules.g2_fresh { self } else { &sent.control };
        let begins = if rules.g1_sent { sent.at } else { now };
        let until = Moment {
            monotonic: begins.monotonic + page.granted,
            wall: begins.wall + page.granted,
        };
        let mut next = *fresh;
        let goes_on = fresh.applied.is_none_or(|at| at.life == page.upto.life);
        if page.is_reset || fresh.former.is_some() || !goes_on && rules.g5_life_of_poll {
            let goes_back = fresh
                .cursor()
                .is_some_and(|at| at.life == page.upto.life && page.upto.revision < at.revision);
            if goes_back {
                return None;
            }
            next.generation = Generation {
                number: fresh.generation.number + 1,
                began: page.upto.revision,
            };
            next.deadline = Moment::default();
        } else {
            let at = fresh.applied?;
            if rules.g2_grow && page.upto.revision < at.revision {
                return None;
            }
        }
        next.applied = Some(page.upto);
        next.former = None;
        let is_later = until.monotonic > next.deadline.monotonic || !rules.g2_grow;
        if page.granted > 0 && is_later {
            next.deadline = until;
        }
        Some(next)
    }

    /// The record after an answer of this life of the store to a call sent in
    /// the present generation (G5); none if there is nothing to end.
    pub fn after_answer_of(&self, life: u8) -> Option<Self> {
        let ended = self.as_engine().after_answer_of(store::incarnation(life));
        ended.map(|ended| Self::from_engine(&ended))
    }

    fn as_engine(&self) -> engine::Control {
        engine::Control {
            gateway: store::gateway_id(self.id),
            generation: engine::Generation {
                number: self.generation.number.into(),
                began: self.generation.began.into(),
            },
            applied: self.applied.map(store::head),
            former: self.former.map(store::head),
            deadline: self.deadline.as_engine(),
            keys_imported_at: 0,
        }
    }

    fn from_engine(control: &engine::Control) -> Self {
        let cursor = |head: Head| Cursor {
            life: head.incarnation.0[0],
            revision: small(head.revision),
        };
        Self {
            id: control.gateway.0[0],
            generation: Generation {
                number: small(control.generation.number),
                began: small(control.generation.began),
            },
            applied: control.applied.map(cursor),
            former: control.former.map(cursor),
            deadline: Moment {
                monotonic: small(control.deadline.monotonic),
                wall: small(control.deadline.wall),
            },
        }
    }
}

impl Moment {
    fn as_engine(self) -> rekey_engine::Moment {
        rekey_engine::Moment {
            monotonic: self.monotonic.into(),
            wall: self.wall.into(),
        }
    }
}

impl Sent {
    fn as_engine(&self) -> engine::SentPoll {
        engine::SentPoll {
            gateway: store::gateway_id(self.control.id),
            generation: self.control.generation.number.into(),
            cursor: self.control.cursor().map(store::head),
            sent: self.at.as_engine(),
            lease_ms: self.lease.into(),
        }
    }
}

impl Page {
    /// Its tombstones are written one by one, so they are not in it.
    fn as_engine(&self) -> FeedResponse {
        FeedResponse {
            poll: 0,
            changes: Vec::new(),
            cursor: store::head(self.upto),
            granted_ms: self.granted.into(),
            reset: self.is_reset,
            keys_imported_at: 0,
            secrets: None,
            used_most: 0,
        }
    }
}

/// Back to a number of the model; they are all small.
fn small(number: u64) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}
