//! A number for each worker of the process, so that the names of their queues
//! are few and fixed: queues outlive the VM that made them.
//!
//! A number is claimed by compare-and-swap and kept by renewing it. Two
//! workers under one number is no fault: a queue is only a doorbell, and what
//! a lost ring should have started is started by the next tick.

use crate::host::env::Env;
use crate::shared::leader::{Election, Role, Roles, WorkerNonce};

/// Claims that a process can have; more workers than that go without a number.
const MOST_WORKERS: u32 = 1024;
/// How often a claim is renewed, in milliseconds.
const RENEW_MS: u64 = 2_000;
/// After how long without renewal a claim is free, in milliseconds.
const EXPIRY_MS: u64 = 10_000;

/// The number of one worker, if it has one.
#[derive(Default)]
pub(crate) struct WorkerNumber {
    held: Option<u32>,
    renewed: u64,
}

impl WorkerNumber {
    /// Renews or makes the claim, if it is time. Returns the number if it is
    /// one that was not held before.
    pub(crate) fn keep(
        &mut self,
        nonce: WorkerNonce,
        roles: &Roles,
        env: &mut Env<'_>,
    ) -> Option<u32> {
        let now = env.now.monotonic;
        if self.held.is_some() && now.saturating_sub(self.renewed) < RENEW_MS {
            return None;
        }
        let mut is_ours = |number: &u32| {
            let role = Role::Worker(*number);
            roles.claim(role, nonce, EXPIRY_MS, env) != Election::Lost
        };
        let held = self.held.filter(&mut is_ours);
        let number = held.or_else(|| (0..MOST_WORKERS).find(is_ours));
        self.renewed = now;
        let is_new = number.is_some() && number != self.held;
        self.held = number;
        self.held.filter(|_| is_new)
    }
}

/// The numbers that other workers hold. Not those of workers that have gone:
/// nobody empties their queues (I8).
pub(crate) fn others(nonce: WorkerNonce, roles: &Roles, env: &mut Env<'_>) -> Vec<u32> {
    // The first that is free is taken, so behind one that nobody ever had there
    // is none.
    let is_anothers = |number| {
        let held = roles.is_anothers(Role::Worker(number), nonce, EXPIRY_MS, env)?;
        Some((number, held))
    };
    let numbers = (0..MOST_WORKERS).map_while(is_anothers);
    let held = numbers.filter(|(_, held)| *held);
    held.map(|(number, _)| number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Memory;

    /// A worker and its number.
    struct Worker(WorkerNonce, WorkerNumber);

    fn roles() -> Roles {
        Roles::under("n.")
    }

    fn worker(memory: &mut Memory) -> Worker {
        Worker(
            WorkerNonce::draw(&mut memory.at(0)).unwrap(),
            WorkerNumber::default(),
        )
    }

    fn keep(worker: &mut Worker, memory: &mut Memory, now: u64) -> Option<u32> {
        worker.1.keep(worker.0, &roles(), &mut memory.at(now))
    }

    #[test]
    fn workers_get_distinct_numbers_and_keep_them() {
        let mut memory = Memory::default();
        let (mut a, mut b) = (worker(&mut memory), worker(&mut memory));
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
            let number = keep(&mut worker(&mut memory), &mut memory, reload * EXPIRY_MS);
            assert_eq!(number, Some(0));
        }
        assert_eq!(memory.entries.len(), 1);
    }

    #[test]
    fn only_workers_that_live_are_rung() {
        let mut memory = Memory::default();
        let mut workers: Vec<_> = (0..3).map(|_| worker(&mut memory)).collect();
        for worker in &mut workers {
            keep(worker, &mut memory, 0);
        }
        let others_of = |worker: &Worker, memory: &mut Memory, now| {
            others(worker.0, &roles(), &mut memory.at(now))
        };
        assert_eq!(others_of(&workers[1], &mut memory, 1), [0, 2]);
        // The first has trapped; the others go on.
        for worker in &mut workers[1..] {
            keep(worker, &mut memory, EXPIRY_MS - 1);
        }
        let before = others_of(&workers[1], &mut memory, EXPIRY_MS - 1);
        assert_eq!(before, [0, 2]);
        assert_eq!(others_of(&workers[1], &mut memory, EXPIRY_MS), [2]);
    }

    #[test]
    fn a_stalled_worker_moves_on() {
        let mut memory = Memory::default();
        let (mut stalled, mut quick) = (worker(&mut memory), worker(&mut memory));
        assert_eq!(keep(&mut stalled, &mut memory, 0), Some(0));
        assert_eq!(keep(&mut quick, &mut memory, EXPIRY_MS), Some(0));
        assert_eq!(keep(&mut stalled, &mut memory, EXPIRY_MS + 1), Some(1));
    }
}
