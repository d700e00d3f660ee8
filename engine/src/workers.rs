//! A number for each worker of the process, so that the names of their queues
//! are few and fixed: queues outlive the VM that made them.
//!
//! A number is claimed by compare-and-swap and kept by renewing it. Two
//! workers under one number is no fault: a queue is only a doorbell, and what
//! a lost ring should have started is started by the next tick.

use crate::env::{Cas, Env};

/// Claims that a process can have; more workers than that go without a number.
const MOST_WORKERS: u32 = 1024;
/// How often a claim is renewed, in milliseconds.
const RENEW_MS: u64 = 2_000;
/// After how long without renewal a claim is free, in milliseconds.
const EXPIRY_MS: u64 = 10_000;

/// One worker's claim.
#[derive(Default)]
pub struct Claim {
    nonce: Option<[u8; 8]>,
    held: Option<u32>,
    renewed: u64,
}

impl Claim {
    /// Renews or makes the claim, if it is time. Returns the number if it is
    /// one that was not held before.
    pub fn keep(&mut self, namespace: &str, env: &mut Env<'_>) -> Option<u32> {
        if self.held.is_some() && env.now.saturating_sub(self.renewed) < RENEW_MS {
            return None;
        }
        let nonce = self.nonce(env)?;
        let held = self
            .held
            .filter(|number| try_claim(namespace, *number, nonce, env));
        let number = held
            .or_else(|| (0..MOST_WORKERS).find(|number| try_claim(namespace, *number, nonce, env)));
        self.renewed = env.now;
        let is_new = number.is_some() && number != self.held;
        self.held = number;
        self.held.filter(|_| is_new)
    }

    fn nonce(&mut self, env: &mut Env<'_>) -> Option<[u8; 8]> {
        if self.nonce.is_none() {
            let mut nonce = [0; 8];
            env.sources.fill_random(&mut nonce).ok()?;
            self.nonce = Some(nonce);
        }
        self.nonce
    }
}

/// The value is the owner's nonce and the time of its last renewal.
fn try_claim(namespace: &str, number: u32, nonce: [u8; 8], env: &mut Env<'_>) -> bool {
    let name = format!("{namespace}worker.{number}");
    let cas = match env.sources.get(&name) {
        Ok(None) => Cas::Absent,
        Ok(Some((value, version))) => {
            let owner = value.first_chunk::<8>().copied();
            let renewed = value
                .last_chunk::<8>()
                .copied()
                .map_or(0, u64::from_be_bytes);
            let expired = env.now.saturating_sub(renewed) >= EXPIRY_MS;
            if owner != Some(nonce) && !expired {
                return false;
            }
            Cas::Version(version)
        }
        Err(_) => return false,
    };
    let value: Vec<u8> = nonce.into_iter().chain(env.now.to_be_bytes()).collect();
    env.sources.set(&name, &value, cas).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::testing::Memory;

    fn keep(claim: &mut Claim, memory: &mut Memory, now: u64) -> Option<u32> {
        claim.keep(
            "n.",
            &mut Env {
                now,
                sources: memory,
            },
        )
    }

    #[test]
    fn workers_get_distinct_numbers_and_keep_them() {
        let mut memory = Memory::default();
        let (mut a, mut b) = (Claim::default(), Claim::default());
        assert_eq!(keep(&mut a, &mut memory, 0), Some(0));
        assert_eq!(keep(&mut b, &mut memory, 1), Some(1));
        for now in (0..60_000).step_by(1_000) {
            assert_eq!(keep(&mut a, &mut memory, now), None);
            assert_eq!(keep(&mut b, &mut memory, now), None);
        }
        assert_eq!(memory.entries.len(), 2);
    }

    #[test]
    fn a_dead_workers_number_is_taken_again() {
        let mut memory = Memory::default();
        for reload in 0..50_u64 {
            // Each reload of a VM is a worker with a new nonce (I8).
            let number = keep(&mut Claim::default(), &mut memory, reload * EXPIRY_MS);
            assert_eq!(number, Some(0));
        }
        assert_eq!(memory.entries.len(), 1);
    }

    #[test]
    fn a_stalled_worker_moves_on() {
        let mut memory = Memory::default();
        let (mut stalled, mut quick) = (Claim::default(), Claim::default());
        assert_eq!(keep(&mut stalled, &mut memory, 0), Some(0));
        assert_eq!(keep(&mut quick, &mut memory, EXPIRY_MS), Some(0));
        assert_eq!(keep(&mut stalled, &mut memory, EXPIRY_MS + 1), Some(1));
    }
}
