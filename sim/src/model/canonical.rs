//! One state for all that differ in nothing that matters, so that fewer are explored.

use super::state::{Feeder, Gateway, Moment, State};
use super::world::World;

impl State {
    /// The one state that stands for all that differ only in the numbering of
    /// workers, feeders and messages, or in times that are long over.
    pub fn canonical(mut self, world: &World) -> Self {
        for (number, gateway) in (0_u8..).zip(&mut self.gateways) {
            let now = gateway.lag.before(self.now);
            forget_what_is_over(gateway, world, now);
            gateway.calls.sort_unstable_by(|a, b| b.cmp(a));
            if gateway.feeders[0] < gateway.feeders[1] {
                gateway.feeders.swap(0, 1);
                let polls = self.polls.iter_mut();
                for poll in polls.filter(|poll| poll.gateway == number) {
                    poll.feeder = poll.feeder.map(|feeder| 1 - feeder);
                }
            }
        }
        self.polls.sort_unstable();
        self
    }
}

/// A deadline that has passed is as good as none, and so is a poll that is too
/// old to bring a lease.
fn forget_what_is_over(gateway: &mut Gateway, world: &World, now: Moment) {
    let rules = &world.rules;
    let holds = rules.g1_now && rules.g1_monotonic && rules.g1_wall && rules.g1_sent;
    if !holds || !rules.of_control_hold() {
        return;
    }
    if gateway.control.deadline.is_over(now) {
        gateway.control.deadline = Moment::default();
    }
    for feeder in &mut gateway.feeders {
        if let Feeder::Waiting(sent) | Feeder::Applying(sent, ..) = feeder {
            let end = Moment {
                monotonic: sent.at.monotonic + sent.lease,
                wall: sent.at.wall + sent.lease,
            };
            if end.is_over(now) {
                sent.at = Moment::default();
            }
        }
    }
}
