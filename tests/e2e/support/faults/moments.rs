//! Moments of a rotation: random ones, by a seed that is printed, so that a
//! failure can be repeated with `REKEY_TEST_SEED`.

use std::env;
use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::fleet::TestFleet;

/// Overrides the seed of every test that uses one.
const SEED_VARIABLE: &str = "REKEY_TEST_SEED";
/// Rotations that are timed before moments of one are drawn.
const TIMED: usize = 15;

/// Random numbers by this seed, or by that of the environment. It is printed if
/// the test fails.
pub(crate) fn seeded(seed: u64) -> fastrand::Rng {
    let seed = env::var(SEED_VARIABLE).map_or(seed, |text| {
        text.parse().expect("REKEY_TEST_SEED is a number")
    });
    println!("{SEED_VARIABLE}={seed}");
    fastrand::Rng::with_seed(seed)
}

/// Draws moments between the sending of a request and a little after its
/// answer.
pub(crate) struct Moments {
    random: fastrand::Rng,
    longest: Duration,
}

impl Moments {
    /// Times some rotations, and draws from the seed, which is printed if the
    /// test fails.
    pub(crate) fn of_a_rotation(fleet: &TestFleet, seed: u64) -> Self {
        let random = seeded(seed);
        let client = fleet.client();
        let mut times: Vec<_> = (0..TIMED).map(|_| time_one(fleet, &client)).collect();
        times.sort();
        let usual = times[TIMED / 2];
        // A bit more, so that some moments are behind the answer.
        let longest = usual * 5 / 4;
        println!("a rotation takes {usual:?}");
        Self { random, longest }
    }

    /// The next moment.
    pub(crate) fn draw(&mut self) -> Duration {
        self.longest.mul_f64(self.random.f64())
    }
}

fn time_one(fleet: &TestFleet, client: &Client) -> Duration {
    let user = fleet.user();
    let start = Instant::now();
    client.regenerate(&user.api_key).new_key();
    start.elapsed()
}
