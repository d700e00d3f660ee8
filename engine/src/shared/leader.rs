//! Leader election among the workers of a process: a role is one worker's until it
//! has not been renewed for a while. A worker that traps or stalls loses its roles to
//! the worker that asks next.
//!
//! A role only saves work. Two workers in one role must be no fault, because a worker
//! that was frozen does not know that it has lost it.

use std::fmt::{Display, Formatter};

use super::SharedTable;
use super::codec::{FieldReader, FieldWriter};
use super::entry::{Entries, Layout, Next, Schema, Unreadable};
use crate::config::Config;
use crate::host::env::Env;

/// What one worker at a time does, or has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Polls the store's change feed.
    Feeder,
    /// Has this number.
    Worker(u32),
}

impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Feeder => f.write_str("feeder"),
            Self::Worker(number) => write!(f, "worker.{number}"),
        }
    }
}

/// How asking for a role ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Election {
    /// This worker had the role, and still has it.
    Kept,
    /// The role was free or had expired; it is this worker's now.
    Won,
    /// Another worker has the role, or nobody can tell.
    Lost,
}

/// A worker's name among those of its process: random, new with each reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerNonce([u8; 8]);

impl WorkerNonce {
    /// Draws one; none if the host has no entropy.
    pub(crate) fn draw(env: &mut Env<'_>) -> Option<Self> {
        let mut nonce = [0; 8];
        env.sources.fill_random(&mut nonce).ok()?;
        Some(Self(nonce))
    }
}

/// The worker that has a role, and when it last renewed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    owner: WorkerNonce,
    /// In monotonic milliseconds.
    renewed: u64,
}

/// The roles of a process.
pub(crate) struct Roles {
    entries: Entries<Claim>,
}

impl SharedTable for Roles {
    type Value = Claim;

    fn open(entries: Entries<Claim>, _: &Config) -> Self {
        Self { entries }
    }
}

impl Roles {
    #[cfg(test)]
    pub(crate) fn under(namespace: &str) -> Self {
        let entries = Entries::under(namespace);
        Self { entries }
    }

    /// Takes or renews a role for this worker. The role expires so many milliseconds
    /// after its last renewal.
    pub(crate) fn claim(
        &self,
        role: Role,
        worker: WorkerNonce,
        expiry_ms: u64,
        env: &mut Env<'_>,
    ) -> Election {
        let now = env.now.monotonic;
        let claim = Claim {
            owner: worker,
            renewed: now,
        };
        let elected = self.entries.at(role).update(env.sources, |held| {
            let election = match held {
                Some(held) if held.owner == worker => Election::Kept,
                Some(held) if now.saturating_sub(held.renewed) < expiry_ms => Election::Lost,
                Some(_) | None => Election::Won,
            };
            match election {
                Election::Lost => Next::Keep(election),
                Election::Kept | Election::Won => Next::Write(claim, election),
            }
        });
        elected.unwrap_or(Election::Lost)
    }

    /// Whether another worker has the role; none if nobody ever had it.
    pub(crate) fn is_anothers(
        &self,
        role: Role,
        worker: WorkerNonce,
        expiry_ms: u64,
        env: &mut Env<'_>,
    ) -> Option<bool> {
        let held = self.entries.at(role).read(env.sources).ok()??;
        let lasts = env.now.monotonic.saturating_sub(held.renewed) < expiry_ms;
        Some(lasts && held.owner != worker)
    }
}

impl Layout for Claim {
    const SCHEMA: Schema = Schema {
        table: "role",
        version: 1,
        unreadable: Unreadable::IsReplaced,
    };

    fn encode(&self) -> Vec<u8> {
        let owner = FieldWriter::default().bytes(&self.owner.0);
        owner.u64(self.renewed).finish()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let mut fields = FieldReader::new(value);
        let claim = Self {
            owner: WorkerNonce(fields.array()?),
            renewed: fields.u64()?,
        };
        fields.end()?;
        Some(claim)
    }
}
