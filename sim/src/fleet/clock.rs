//! The clocks of one process: offset, drift of rate, suspension and a wall
//! clock that can be set. World time is in microseconds, a process's own in
//! milliseconds.

use rekey_engine::Moment;

use super::plan::Rng;

/// Drift of one clock, in parts per million: two of them differ by less than
/// the 1 % that the protocol assumes.
const MOST_DRIFT: i64 = 4_900;
/// Mid-2025, in milliseconds since the Unix epoch.
const EPOCH: u64 = 1_750_000_000_000;

/// The clocks of one machine.
#[derive(Debug, Clone)]
pub struct Clock {
    ppm: i64,
    monotonic_base: u64,
    wall_offset: i64,
    /// World time during which the monotonic clock stood still.
    suspended: u64,
    /// Beyond the protocol's assumption: this much slower, in parts per
    /// thousand.
    slowness: u64,
}

impl Clock {
    /// Clocks as any machine may have them. `slowness` is for a broken one.
    pub fn new(rng: &mut Rng, slowness: u64) -> Self {
        Self {
            ppm: rng.i64(-MOST_DRIFT..=MOST_DRIFT),
            monotonic_base: rng.u64(0..1_000_000_000),
            wall_offset: rng.i64(-2_000_000..2_000_000),
            suspended: 0,
            slowness,
        }
    }

    /// Monotonic and wall-clock milliseconds at this world time.
    pub fn moment(&self, world: u64) -> Moment {
        let monotonic = self.monotonic_base + self.local(world.saturating_sub(self.suspended));
        let wall = EPOCH + self.local(world);
        Moment {
            monotonic,
            wall: wall.saturating_add_signed(self.wall_offset),
        }
    }

    /// The world time at which the monotonic clock shows `millis`.
    pub fn world_at(&self, millis: u64) -> u64 {
        let local = u128::from(millis.saturating_sub(self.monotonic_base)) * 1_000;
        let rate = u128::try_from(1_000_000 + self.ppm).unwrap_or(1_000_000)
            * u128::from(1_000 - self.slowness.min(999));
        let world = (local * 1_000_000_000).div_ceil(rate.max(1));
        u64::try_from(world)
            .unwrap_or(u64::MAX)
            .saturating_add(self.suspended)
    }

    /// The monotonic clock stands still for so long.
    pub fn suspend(&mut self, micros: u64) {
        self.suspended += micros;
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&mut self, by_millis: i64) {
        self.wall_offset += by_millis;
    }

    fn local(&self, world: u64) -> u64 {
        let rate = u128::try_from(1_000_000 + self.ppm).unwrap_or(1_000_000);
        let rate = rate * u128::from(1_000 - self.slowness.min(999));
        let micros = u128::from(world) * rate / 1_000_000_000;
        u64::try_from(micros / 1_000).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_reached_when_the_world_gets_there_and_not_before() {
        for seed in 0..200 {
            let mut rng = Rng::with_seed(seed);
            let mut clock = Clock::new(&mut rng, 0);
            clock.suspend(rng.u64(0..5_000_000));
            let later = clock.moment(7_000_000).monotonic + rng.u64(0..30_000);
            let world = clock.world_at(later);
            assert_eq!(clock.moment(world).monotonic, later, "seed {seed}");
            assert!(clock.moment(world - 1).monotonic < later, "seed {seed}");
        }
    }
}
