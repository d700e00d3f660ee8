//! An operation that was drawn, and how it is drawn from what there is.

use std::fmt::Debug;
use std::sync::Arc;

use fastrand::Rng;
use rekey_protocol::Digest;

use super::{BothEngines, Peer};
use crate::operations::Operation;
use crate::operations::feed::RecordLease;
use crate::operations::imports::Part;

/// An operation of whatever type.
pub(super) trait DrawnStep<P> {
    /// Carries it out on both engines.
    fn on_both(&self, pair: &mut BothEngines<P>) -> Result<(), String>;
    /// What it is.
    fn name(&self) -> String;
}

impl<P: Peer, O> DrawnStep<P> for O
where
    O: Operation + Clone + Debug + Send + Sync + 'static,
    O::Out: Debug + Send + 'static,
{
    fn on_both(&self, pair: &mut BothEngines<P>) -> Result<(), String> {
        pair.run(self)
    }

    fn name(&self) -> String {
        format!("{self:?}")
    }
}

impl<P: Peer> DrawnStep<P> for RecordLease {
    fn on_both(&self, pair: &mut BothEngines<P>) -> Result<(), String> {
        pair.record_lease(self.lease_ms)
    }

    fn name(&self) -> String {
        format!("{self:?}")
    }
}

/// Mostly one of the last; none now and then.
pub(super) fn one_of(rng: &mut Rng, known: &[Digest]) -> Option<Digest> {
    let from = match rng.u8(0..8) {
        0 => return None,
        1 => 0,
        _ => known.len().saturating_sub(12),
    };
    let recent = known.get(from..).filter(|recent| !recent.is_empty())?;
    Some(recent[rng.usize(0..recent.len())])
}

pub(super) fn whole<T>(items: Vec<T>) -> Part<T> {
    Part {
        range: 0..items.len(),
        of: Arc::new(items),
    }
}

/// A digest by its number; the kinds of things keep apart.
pub(super) fn digest(kind: u8, number: u16) -> Digest {
    let mut bytes = [kind; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    Digest::from_bytes(bytes)
}

pub(super) const KEY: u8 = 1;
pub(super) const SESSION: u8 = 2;
