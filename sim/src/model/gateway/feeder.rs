//! A gateway's feeder, step by step: send a poll, take its answer, write the
//! tombstones one by one, then control (G2, G3).

use crate::model::gateway::slot::View;
use crate::model::state::{
    Control, Feeder, Generation, Key, MOST, Page, Poll, Revision, Sent, Stage, State, Tick, Work,
};
use crate::model::store;
use crate::model::world::World;

impl World {
    /// Which gateway's control record a gateway uses (G10).
    pub fn control_of(&self, gateway: usize) -> usize {
        if self.rules.g10_own_control {
            gateway
        } else {
            0
        }
    }

    /// Control as this gateway reads it.
    pub fn control<'a>(&self, state: &'a State, gateway: usize) -> &'a Control {
        &state.gateways[self.control_of(gateway)].control
    }

    fn control_mut<'a>(&self, state: &'a mut State, gateway: usize) -> &'a mut Control {
        &mut state.gateways[self.control_of(gateway)].control
    }

    /// Reads control and the clocks and sends a poll.
    pub fn send_poll(&self, state: &mut State, gateway: usize, feeder: usize, lease: Tick) {
        let at = state.moment(gateway);
        let mut control = *self.control(state, gateway);
        let (id, cursor) = (control.id, control.cursor());
        if self.rules.g2_fresh {
            // Not looked at again, so states need not differ by it.
            control.deadline = Default::default();
            control.generation.began = 0;
        }
        let sent = Sent { control, at, lease };
        state.gateways[gateway].feeders[feeder] = Feeder::Waiting(sent);
        state.polls.push(Poll {
            gateway: index(gateway),
            feeder: Some(index(feeder)),
            id,
            cursor,
            lease,
            stage: Stage::Travelling,
        });
        state.budget.polls = state.budget.polls.saturating_sub(1);
    }

    /// A poll is answered. That the answer takes its time on the way is no
    /// different from a feeder that is slow to heed it, and that it is lost from
    /// one that gives up.
    pub fn receive(&self, state: &mut State, poll: usize, page: Page) {
        let poll = state.polls.remove(poll);
        let Some(feeder) = poll.feeder else {
            return;
        };
        let feeder = &mut state.gateways[usize::from(poll.gateway)].feeders[usize::from(feeder)];
        if let Feeder::Waiting(sent) = *feeder {
            let work = Work {
                generation: None,
                left: page.revoked,
                is_applied: false,
            };
            *feeder = Feeder::Applying(sent, page, work);
        }
    }

    /// Whether a feeder is about to begin with its tombstones.
    pub fn may_begin(&self, feeder: &Feeder) -> bool {
        match feeder {
            Feeder::Applying(_, _, work) => {
                work.generation.is_none() && work.left != [0; MOST] && self.is_in_order(work)
            }
            _ => false,
        }
    }

    /// Reads control before the tombstones, to see whether it still awaits this
    /// answer, and in which generation they belong (G2).
    pub fn begin(&self, state: &mut State, gateway: usize, feeder: usize) {
        let control = *self.control(state, gateway);
        let Feeder::Applying(sent, page, work) = state.gateways[gateway].feeders[feeder] else {
            return;
        };
        let mut generation = control.generation;
        if !self.rules.g2_awaits {
            generation = sent.control.generation;
        } else if !control.awaits(&self.rules, &sent) && !work.is_applied {
            state.gateways[gateway].feeders[feeder] = Feeder::Idle;
            return;
        }
        let work = Work {
            generation: Some(generation),
            ..work
        };
        state.gateways[gateway].feeders[feeder] = Feeder::Applying(sent, page, work);
    }

    /// Without G3 the tombstones come after control.
    fn is_in_order(&self, work: &Work) -> bool {
        self.rules.g3_order || work.is_applied
    }

    /// The next tombstone that a feeder may write now (G3), and its generation.
    pub fn next_tombstone(&self, feeder: &Feeder) -> Option<(Key, Revision, Generation)> {
        let Feeder::Applying(_, _, work) = feeder else {
            return None;
        };
        let generation = work.generation.filter(|_| self.is_in_order(work))?;
        let mut left = (0..).zip(work.left);
        left.find(|(_, revision)| *revision > 0)
            .map(|(key, revision)| (key, revision, generation))
    }

    /// Writes a tombstone, or fails to.
    pub fn write_tombstone(&self, state: &mut State, gateway: usize, feeder: usize, fails: bool) {
        let rules = &self.rules;
        let owner = &mut state.gateways[gateway];
        let (Some((key, revision, at)), Feeder::Applying(sent, page, mut work)) = (
            self.next_tombstone(&owner.feeders[feeder]),
            owner.feeders[feeder],
        ) else {
            return;
        };
        let slot = &mut owner.slots[self.slot_of(key)];
        let is_held = slot.look(rules, at.number, key) != View::Absent;
        let is_wanted = rules.g3_always || is_held;
        let written = !fails && (!is_wanted || slot.bury(rules, self.ways, at, key, revision));
        work.left[usize::from(key)] = 0;
        owner.feeders[feeder] = if written || !rules.g3_unwritten {
            finished(sent, page, work)
        } else {
            Feeder::Idle
        };
    }

    /// Whether a feeder may write control now (G3).
    pub fn may_apply(&self, feeder: &Feeder) -> bool {
        match feeder {
            Feeder::Applying(_, _, work) => {
                !work.is_applied && (!self.rules.g3_order || work.left == [0; MOST])
            }
            _ => false,
        }
    }

    /// Writes control: the lease, and what the next poll acknowledges.
    pub fn apply(&self, state: &mut State, gateway: usize, feeder: usize) {
        let Feeder::Applying(sent, page, mut work) = state.gateways[gateway].feeders[feeder] else {
            return;
        };
        let now = state.moment(gateway);
        let control = self.control(state, gateway);
        let next = control.after(&self.rules, &sent, &page, now);
        if let Some(next) = next {
            *self.control_mut(state, gateway) = next;
        }
        work.is_applied = true;
        state.gateways[gateway].feeders[feeder] = match next {
            Some(_) => finished(sent, page, work),
            None => Feeder::Idle,
        };
    }

    /// A feeder stops waiting, or dies at its work. Its poll is lost, or is only
    /// late and still arrives.
    pub fn give_up(&self, state: &mut State, gateway: usize, feeder: usize, is_late: bool) {
        state.gateways[gateway].feeders[feeder] = Feeder::Idle;
        let (gateway, feeder) = (index(gateway), Some(index(feeder)));
        let mut polls = state.polls.iter();
        let Some(place) = polls.position(|poll| poll.gateway == gateway && poll.feeder == feeder)
        else {
            return;
        };
        if is_late {
            state.polls[place].feeder = None;
            state.budget.late -= 1;
        } else {
            state.polls.remove(place);
        }
    }

    /// Ends the generation and the lease (G5); a step of a lookup.
    pub fn heed_answer_of(&self, state: &mut State, gateway: usize, life: u8) {
        if let Some(ended) = self.control(state, gateway).after_answer_of(life) {
            *self.control_mut(state, gateway) = ended;
        }
    }

    /// The process dies and starts again: nothing of it is left but the messages
    /// that are on their way.
    pub fn restart_gateway(&self, state: &mut State, gateway: usize) {
        let number = index(gateway);
        let mut polls = state.polls.iter_mut();
        for poll in polls.by_ref().filter(|poll| poll.gateway == number) {
            poll.feeder = None;
        }
        let life = state.gateways[gateway].life + 1;
        let crashed = &mut state.gateways[gateway];
        crashed.life = life;
        crashed.control = Control::new(gateway_number(gateway, life));
        crashed.slots = Default::default();
        crashed.feeders = [Feeder::Idle; MOST];
        crashed.calls = [None; MOST];
        crashed.request = None;
    }
}

/// A feeder that goes on until everything is written.
fn finished(sent: Sent, page: Page, work: Work) -> Feeder {
    if work.is_applied && work.left == [0; MOST] {
        Feeder::Idle
    } else {
        Feeder::Applying(sent, page, work)
    }
}

/// The random id of a gateway in one of its lives.
pub fn gateway_number(gateway: usize, life: u8) -> u8 {
    16 * (index(gateway) + 1) + life
}

/// An index as it is kept in a state.
pub fn index(place: usize) -> u8 {
    u8::try_from(place).unwrap_or(u8::MAX)
}

/// A gateway that follows at the first revision.
pub fn following(gateway: usize, lease: Tick) -> Control {
    let mut control = Control::new(gateway_number(gateway, 0));
    control.generation.number = 1;
    control.generation.began = store::FIRST.revision;
    control.applied = Some(store::FIRST);
    control.deadline.monotonic = lease;
    control.deadline.wall = lease;
    control
}
