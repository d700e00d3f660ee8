//! Roles that one worker of the process holds at a time, by renewing a claim in
//! shared data before it expires. A worker that traps or stalls loses its role
//! to whoever asks next.
//!
//! Claims only save work: two workers in one role must be no fault, for one
//! that was frozen does not know that it has lost it.

use crate::host::env::{Cas, Env};
use crate::shared::codec::{Reader, Writer};

/// What came of asking for a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// It was held by this worker, and still is.
    Kept,
    /// It was free or had expired.
    Taken,
    /// Another worker has it.
    NotOurs,
}

/// A worker's name among those of its process: random, new with each reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nonce([u8; 8]);

impl Nonce {
    /// Draws one; none if the host has no entropy.
    pub fn draw(env: &mut Env<'_>) -> Option<Self> {
        let mut nonce = [0; 8];
        env.sources.fill_random(&mut nonce).ok()?;
        Some(Self(nonce))
    }

    /// Takes or renews the role of this name, which expires so many milliseconds
    /// after its last renewal.
    pub fn claim(self, name: &str, expiry_ms: u64, env: &mut Env<'_>) -> Claimed {
        let now = env.now.monotonic;
        let (cas, claimed) = match env.sources.get(name) {
            Ok(None) => (Cas::Absent, Claimed::Taken),
            Ok(Some((value, version))) => {
                let (owner, renewed) = decode(&value);
                let expired = now.saturating_sub(renewed) >= expiry_ms;
                match (owner == self, expired) {
                    (true, _) => (Cas::Version(version), Claimed::Kept),
                    (false, true) => (Cas::Version(version), Claimed::Taken),
                    (false, false) => return Claimed::NotOurs,
                }
            }
            Err(_) => return Claimed::NotOurs,
        };
        let value = Writer::default().bytes(&self.0).u64(now).finish();
        match env.sources.set(name, &value, cas) {
            Ok(()) => claimed,
            Err(_) => Claimed::NotOurs,
        }
    }

    /// Whether another worker has the role of this name; none if nobody ever had.
    pub fn is_anothers(self, name: &str, expiry_ms: u64, env: &mut Env<'_>) -> Option<bool> {
        let (value, _) = env.sources.get(name).ok()??;
        let (owner, renewed) = decode(&value);
        let lasts = env.now.monotonic.saturating_sub(renewed) < expiry_ms;
        Some(lasts && owner != self)
    }
}

/// Owner and time of the last renewal; what cannot be read has expired.
fn decode(value: &[u8]) -> (Nonce, u64) {
    let mut fields = Reader::new(value);
    let owner = Nonce(fields.array().unwrap_or_default());
    (owner, fields.u64().unwrap_or_default())
}
