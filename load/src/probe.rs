//! One key on every worker of every gateway, at one moment.

use std::{io, net::SocketAddr};

use anyhow::{Context as _, ensure};

use rekey_testbed::Gateway;

use super::{Answer, Connection, get};

/// Connections are opened so many at a time until each worker has one: the
/// kernel deals them out.
const AT_A_TIME: usize = 2;
/// More than it ever takes.
const MOST: usize = 256;

/// Open connections to all workers of some gateways.
#[derive(Debug)]
pub struct Probe {
    connections: Vec<Connection>,
}

impl Probe {
    /// Opens connections until each worker of each gateway has one.
    ///
    /// # Errors
    /// A gateway does not answer, or its workers cannot be reached.
    pub fn of_every_worker<'a>(
        gateways: impl IntoIterator<Item = &'a Gateway>,
    ) -> anyhow::Result<Self> {
        let mut connections = Vec::new();
        for gateway in gateways {
            let before = by_worker(gateway)?;
            let first = connections.len();
            loop {
                for _ in 0..AT_A_TIME {
                    connections.push(opened(gateway.address())?);
                }
                let now = by_worker(gateway)?;
                if before.iter().zip(&now).all(|(before, now)| now > before) {
                    break;
                }
                ensure!(
                    connections.len() - first < MOST,
                    "{gateway:?} has workers that get no connection"
                );
            }
        }
        Ok(Self { connections })
    }

    /// Sends the key on all connections, then reads all answers.
    ///
    /// # Errors
    /// A connection broke.
    pub fn ask(&mut self, key: &str) -> anyhow::Result<Vec<Answer>> {
        self.send(key)?;
        self.receive()
    }

    /// Sends the key on all connections.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn send(&mut self, key: &str) -> anyhow::Result<()> {
        let request = get(key);
        for connection in &mut self.connections {
            connection.send(&request).context("a probe")?;
        }
        Ok(())
    }

    /// The answers to what was sent.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn receive(&mut self) -> anyhow::Result<Vec<Answer>> {
        let answers = self.connections.iter_mut().map(Connection::receive);
        answers.collect::<io::Result<_>>().context("a probe")
    }

    /// The statuses of [`ask`](Self::ask).
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn statuses(&mut self, key: &str) -> anyhow::Result<Vec<u16>> {
        let answers = self.ask(key)?;
        Ok(answers.iter().map(|answer| answer.status).collect())
    }
}

fn opened(address: SocketAddr) -> anyhow::Result<Connection> {
    let mut connection = Connection::to(address);
    connection.open().context("a probe")?;
    Ok(connection)
}

/// How many connections each worker has had.
fn by_worker(gateway: &Gateway) -> anyhow::Result<Vec<u64>> {
    let edge = format!("listener.127.0.0.1_{}.worker_", gateway.address().port());
    let stats = gateway.stats()?;
    let counts: Vec<_> = stats
        .into_iter()
        .filter(|(name, _)| name.starts_with(&edge) && name.ends_with("downstream_cx_total"))
        .map(|(_, count)| count)
        .collect();
    ensure!(
        counts.len() == gateway.options.concurrency as usize,
        "{gateway:?} counts connections for {} workers",
        counts.len()
    );
    Ok(counts)
}
