//! The control record of a gateway: what is trusted until when, and what the
//! answer to a poll makes of it (G1, G2, G5).

use super::rules::Rules;
use super::state::{Control, Generation, Moment, Page, Sent, Tick};

impl Control {
    /// A gateway that knows nothing yet.
    pub fn new(id: u8) -> Self {
        Self {
            id,
            generation: Generation::default(),
            applied: None,
            deadline: Moment::default(),
        }
    }

    /// Whether a cached yes may be used (G1).
    pub fn trusts(&self, rules: &Rules, now: Moment) -> bool {
        // Without G1 the moment is that of an earlier callback.
        let stale = Tick::from(!rules.g1_now);
        let is_before = |now: Tick, end: Tick| now.saturating_sub(stale) < end;
        let monotonic = is_before(now.monotonic, self.deadline.monotonic) || !rules.g1_monotonic;
        let wall = is_before(now.wall, self.deadline.wall) || !rules.g1_wall;
        monotonic && wall && self.applied.is_some()
    }

    /// The record after the answer to a poll; none if it is thrown away.
    pub fn after(&self, rules: &Rules, sent: &Sent, page: &Page, now: Moment) -> Option<Self> {
        // Without G2 what is written follows from what was read at sending.
        let fresh = if rules.g2_fresh { self } else { &sent.control };
        let (then, since) = (&sent.control, fresh);
        if rules.g2_generation && then.generation.number != since.generation.number {
            return None;
        }
        if rules.g2_cursor && then.applied != since.applied {
            return None;
        }
        let begins = if rules.g1_sent { sent.at } else { now };
        let until = Moment {
            monotonic: begins.monotonic + page.granted,
            wall: begins.wall + page.granted,
        };
        let mut next = *fresh;
        if page.is_reset {
            let goes_back = fresh.applied.is_some_and(|at| {
                at.life == page.upto.life && page.upto.revision < at.revision
            });
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
        let is_later = until.monotonic > next.deadline.monotonic || !rules.g2_grow;
        if page.granted > 0 && is_later {
            next.deadline = until;
        }
        Some(next)
    }

    /// The record after an answer of this life of the store to a call sent in
    /// the present generation (G5); none if there is nothing to end.
    pub fn after_answer_of(&self, life: u8) -> Option<Self> {
        let applied = self.applied?;
        (applied.life != life).then(|| Self {
            id: self.id,
            generation: Generation {
                number: self.generation.number + 1,
                began: 0,
            },
            applied: None,
            deadline: Moment::default(),
        })
    }
}
