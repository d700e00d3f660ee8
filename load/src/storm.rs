//! As many rotations a second as the machine bears, each of them checked on
//! every gateway right behind its answer.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{Book, Connection, Key, Tally, get, rotate};

/// What a storm does.
#[derive(Debug)]
pub struct Storm<'a> {
    /// The gateways.
    pub gateways: &'a [SocketAddr],
    /// Keys of as many users, none of them rotated yet: each is rotated once.
    pub keys: &'a [Arc<Key>],
    /// Where they and their successors are entered.
    pub book: &'a Book,
    /// Rotations under way at once, spread over the gateways.
    pub at_once: usize,
    /// When it ends, unless it runs out of keys.
    pub lasts: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Stormed {
    /// How long each rotation took.
    pub times: Vec<Duration>,
    /// The checks behind them.
    pub checks: Tally,
}

impl Storm<'_> {
    /// Rotates until it is over.
    ///
    /// # Errors
    /// A rotation did not end with 200, or a gateway broke a connection.
    pub fn run(&self) -> anyhow::Result<Stormed> {
        let next = AtomicUsize::new(0);
        let end = Instant::now() + self.lasts;
        let mut all = Stormed::default();
        thread::scope(|scope| {
            let next = &next;
            let workers: Vec<_> = (0..self.at_once)
                .map(|number| scope.spawn(move || self.work(number, next, end)))
                .collect();
            for worker in workers {
                let ended = worker.join();
                let part = ended.map_err(|_| anyhow!("a thread of the storm panicked"))??;
                all.times.extend(part.times);
                all.checks.merge(part.checks);
            }
            Ok(all)
        })
    }

    fn work(&self, number: usize, next: &AtomicUsize, end: Instant) -> anyhow::Result<Stormed> {
        let mut gateways: Vec<_> = self
            .gateways
            .iter()
            .map(|address| (*address, Connection::to(*address)))
            .collect();
        let mine = number % gateways.len().max(1);
        let mut done = Stormed::default();
        while Instant::now() < end
            && let Some(key) = self.keys.get(next.fetch_add(1, Ordering::Relaxed))
            && let Some((_, gateway)) = gateways.get_mut(mine)
        {
            let rotated = rotate(gateway, key, self.book)?;
            done.times.push(rotated.took);
            for (address, gateway) in &mut gateways {
                for key in [&rotated.old, &rotated.new] {
                    let answer = gateway.exchange(&get(&key.text))?;
                    done.checks.add(*address, key, &answer);
                }
            }
        }
        Ok(done)
    }
}
