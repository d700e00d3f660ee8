//! A poll on its way to its answer: how far it is, and what it needs next.

use rekey_protocol::{
    AcceptedSecrets, FeedRequest, FeedResponse, GatewayId, Head, LEASE_CAP_MS, LEASE_LEAST_MS,
    Revocation,
};

#[cfg(doc)]
use super::Core;
use crate::feed::leases::Registered;

/// Why a poll was refused: the gateway's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("lease_ms takes {LEASE_LEAST_MS} to {LEASE_CAP_MS}")]
pub struct BadLease;

/// A poll on its way to its answer.
#[derive(Debug, Clone)]
pub struct Poll {
    pub(super) gateway: GatewayId,
    pub(super) lease_ms: u32,
    pub(super) number: u64,
    pub(super) phase: Phase,
    pub(super) foreign: Option<Head>,
    pub(super) secrets: Option<AcceptedSecrets>,
}

/// How far a poll is.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// With the cursor that it asks with.
    Arrived(Option<Head>),
    /// Held until a time.
    Held(Followed, u64),
    /// The changes after the cursor are being read from disk.
    Reading(Followed),
    /// Changes from disk, one more than a page if there are so many, and the
    /// head of their snapshot.
    Read(Registered, Vec<Revocation>, Head),
    /// Answered or refused.
    Over,
}

/// A registered poll that goes on from a cursor of this life.
#[derive(Debug, Clone, Copy)]
pub(super) struct Followed {
    pub registered: Registered,
    pub cursor: Head,
}

/// What a poll needs next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Put this lease on record, durably; report it to
    /// [`Core::lease_recorded`] and step again (S9).
    RecordLease(u32),
    /// Step again when the head has passed this revision, or at this time.
    Hold {
        /// The gateway has everything up to it.
        newer_than: u64,
        /// In milliseconds.
        until: u64,
    },
    /// Read one more than a page of the revocations after this revision, and
    /// the head, from one snapshot begun now; give them to [`Poll::read`] and
    /// step again.
    ReadAfter(u64),
    /// The answer.
    Answer(FeedResponse),
    /// This database is older than what was served from it (S8).
    Restored,
}

impl Poll {
    /// A poll that just arrived.
    pub fn new(request: &FeedRequest) -> Result<Self, BadLease> {
        if !(LEASE_LEAST_MS..=LEASE_CAP_MS).contains(&request.lease_ms) {
            return Err(BadLease);
        }
        Ok(Self {
            gateway: request.gateway,
            lease_ms: request.lease_ms,
            number: request.poll,
            phase: Phase::Arrived(request.cursor),
            foreign: None,
            secrets: request.secrets.clone(),
        })
    }

    /// The cursor that it asked with, once, if that is of a history that this
    /// store never heard of and nobody accepted the loss of: for the operator.
    pub fn take_foreign(&mut self) -> Option<Head> {
        self.foreign.take()
    }

    /// What [`Step::ReadAfter`] asked for. Ignored where it did not.
    pub fn read(&mut self, changes: Vec<Revocation>, head: Head) {
        if let Phase::Reading(followed) = self.phase {
            self.phase = Phase::Read(followed.registered, changes, head);
        }
    }
}
