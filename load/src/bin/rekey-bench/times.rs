//! Many durations, and what is told of them.

use std::{fmt, time::Duration};

/// The times of one round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    /// Of these durations.
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which this share of them is; zero if there are none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |share| self.quantile(share).as_secs_f64() * 1e3;
        let (p50, p99, most) = (ms(0.5), ms(0.99), ms(1.0));
        write!(f, "p50 {p50:.2} ms, p99 {p99:.2} ms, longest {most:.2} ms")
    }
}

/// Rounds of one case.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<Times>);

impl Rounds {
    /// One more.
    pub(crate) fn push(&mut self, times: Times) {
        self.0.push(times);
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |share: f64| {
            let of_rounds = self.0.iter().map(|times| times.quantile(share));
            let of_rounds = Times::of(of_rounds.collect());
            let ms = |share| of_rounds.quantile(share).as_secs_f64() * 1e3;
            format!("{:.2} ms ({:.2} to {:.2})", ms(0.5), ms(0.0), ms(1.0))
        };
        let in_all: usize = self.0.iter().map(Times::len).sum();
        let (p50, p99, rounds) = (median(0.5), median(0.99), self.0.len());
        write!(f, "p50 {p50}, p99 {p99}; {in_all} in {rounds} rounds")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_and_medians_of_rounds() {
        let round = |first: u64| {
            let times = (first..first + 101).rev().map(Duration::from_millis);
            Times::of(times.collect())
        };
        assert_eq!(round(0).quantile(0.5), Duration::from_millis(50));
        assert_eq!(round(0).quantile(0.99), Duration::from_millis(99));
        assert_eq!(Times::default().quantile(0.5), Duration::ZERO);
        let mut rounds = Rounds::default();
        for first in [10, 900, 0] {
            rounds.push(round(first));
        }
        let told = rounds.to_string();
        assert!(
            told.starts_with("p50 60.00 ms (50.00 to 950.00), p99 109.00 ms"),
            "{told}"
        );
    }
}
