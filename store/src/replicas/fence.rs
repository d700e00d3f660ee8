//! The fence: until when this store may promise anything (R2).

use std::collections::VecDeque;

use super::TTL_MS;

/// Beats under way that are remembered: more than can be sent within the time that one
/// of them is worth.
const MOST_UNDER_WAY: usize = 64;

/// Until when this store may promise anything, by its own clock.
///
/// It counts from the *sending* of a beat, and only when the beat has come back on the
/// store's own watch. So an answer that took long promises nothing for the time that it
/// took, and a watch that stands still ends the promises by itself (R2, R7).
#[derive(Debug, Clone, Default)]
pub struct Fence {
    /// Beats that have not come back, by their numbers, and when each was sent.
    under_way: VecDeque<Sent>,
    until: Option<u64>,
    last: u64,
    /// The store's life has ended: nothing is promised again, also by a beat that comes
    /// back late (R2).
    is_over: bool,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    beat: u64,
    at: u64,
}

impl Fence {
    /// A beat is about to be sent; returns its number.
    pub fn send(&mut self, now: u64) -> u64 {
        self.last += 1;
        self.under_way.push_back(Sent {
            beat: self.last,
            at: now,
        });
        if self.under_way.len() > MOST_UNDER_WAY {
            self.under_way.pop_front();
        }
        self.last
    }

    /// A beat came back on the store's own watch.
    pub fn seen(&mut self, beat: u64) {
        while let Some(sent) = self.under_way.front().copied() {
            if sent.beat > beat {
                break;
            }
            self.under_way.pop_front();
            if sent.beat == beat && !self.is_over {
                self.until = self.until.max(Some(sent.at + TTL_MS));
            }
        }
    }

    /// Whether it has promised something and cannot any more. Such a store must not write
    /// its line again: rotations would wait for it as long as it does, although its watch
    /// stands still (R2).
    pub fn has_passed(&self, now: u64) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// For how many more milliseconds this store may promise something; 0: not at all.
    pub fn left(&self, now: u64) -> u64 {
        self.until.unwrap_or(0).saturating_sub(now)
    }

    /// The longest lease that may be granted now, with its margin within the fence.
    pub fn grantable(&self, now: u64) -> u32 {
        let left = self.left(now);
        // The margin of a lease is a hundredth of it and 50 ms.
        let lease = left.saturating_sub(50).saturating_mul(100) / 101;
        u32::try_from(lease).unwrap_or(u32::MAX)
    }

    /// The line is gone: nothing is promised any more.
    pub fn lose(&mut self) {
        self.is_over = true;
        self.until = None;
        self.under_way.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::lease_margin_ms;

    #[test]
    fn r2_a_promise_counts_from_the_sending_of_a_beat() {
        let mut fence = Fence::default();
        let beat = fence.send(1_000);
        assert_eq!(fence.left(1_000), 0, "it has not come back");
        // However late it comes back.
        fence.seen(beat);
        assert_eq!(fence.left(4_000), 2_000);
        assert_eq!(fence.left(6_000), 0);
    }

    #[test]
    fn r2_an_older_beat_takes_nothing_back_and_an_unknown_one_gives_nothing() {
        let mut fence = Fence::default();
        let (first, second) = (fence.send(0), fence.send(1_000));
        fence.seen(second);
        fence.seen(first);
        fence.seen(99);
        assert_eq!(fence.left(1_000), TTL_MS);
    }

    #[test]
    fn a_lease_ends_with_its_margin_before_the_fence() {
        let mut fence = Fence::default();
        let beat = fence.send(0);
        fence.seen(beat);
        for now in 0..TTL_MS + 10 {
            let lease = fence.grantable(now);
            let ends = now + u64::from(lease) + u64::from(lease_margin_ms(lease));
            assert!(lease == 0 || ends <= TTL_MS, "{lease} at {now}");
        }
        assert!(fence.grantable(0) > 4_800);
    }

    #[test]
    fn a_line_that_is_gone_promises_nothing() {
        let mut fence = Fence::default();
        let beat = fence.send(0);
        fence.seen(beat);
        let late = fence.send(1);
        fence.lose();
        fence.seen(late);
        assert_eq!((fence.left(1), fence.grantable(1)), (0, 0));
    }
}
