//! Everything that could make a gateway grow: keys that nobody has, more valid
//! keys than its table holds, rotations.

use std::{net::SocketAddr, sync::Arc, thread};

use anyhow::{anyhow, ensure};

use super::{Book, Connection, Key, get, random_key, rotate};

/// One go of it.
#[derive(Debug)]
pub struct Churn<'a> {
    /// The gateway; its `"checksum"` is `"off"`, so that it asks the store
    /// about every well-formed key.
    pub gateway: SocketAddr,
    /// How many random keys.
    pub unknown: usize,
    /// Valid keys, each used once.
    pub valid: &'a [Arc<Key>],
    /// Keys to rotate.
    pub rotated: &'a [Arc<Key>],
    /// Where their successors are entered.
    pub book: &'a Book,
    /// Connections at once.
    pub at_once: usize,
}

impl Churn<'_> {
    /// Does it.
    ///
    /// # Errors
    /// An answer is not as it must be.
    pub fn run(&self) -> anyhow::Result<()> {
        thread::scope(|scope| {
            let workers: Vec<_> = (0..self.at_once)
                .map(|number| scope.spawn(move || self.work(number)))
                .collect();
            for worker in workers {
                let ended = worker.join();
                ended.map_err(|_| anyhow!("a thread of the churn panicked"))??;
            }
            Ok(())
        })
    }

    fn work(&self, number: usize) -> anyhow::Result<()> {
        let mut random = fastrand::Rng::new();
        let mut connection = Connection::to(self.gateway);
        let mut expect = |key: &str, status: u16| {
            let answer = connection.exchange(&get(key))?;
            let body = &answer.body;
            ensure!(
                answer.status == status,
                "{} instead of {status}: {body}",
                answer.status
            );
            anyhow::Ok(())
        };
        for _ in (number..self.unknown).step_by(self.at_once) {
            expect(&random_key(&mut random), 401)?;
        }
        for key in self.valid.iter().skip(number).step_by(self.at_once) {
            expect(&key.text, 200)?;
        }
        for key in self.rotated.iter().skip(number).step_by(self.at_once) {
            rotate(&mut connection, key, self.book)?;
        }
        Ok(())
    }
}
