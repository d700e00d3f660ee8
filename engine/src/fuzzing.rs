//! A door for the fuzz targets (`fuzz/`) to what reads bytes here and is no one
//! else's business. Behind a feature, so that it is no part of what the filter
//! and the simulator can name, and compiled by the tests, so that it cannot rot.

use crate::cache::control::Control;
use crate::cache::slots::Slot;
use crate::shared::entry::Layout;

pub use crate::feed::revoked_uses::{Counted, PendingRevokedUses, RevokedUseCounts};
pub use crate::host::outbox::MOST_TURNS;
pub use crate::request::route::{Route, check_public_path, classify};
pub use crate::rotation::replay::Pair;
pub use crate::store::calls::{
    ResolveOutcome, RotateOutcome, StoreFault, read_decided, read_feed, read_resolved,
};
pub use crate::streams::revocation_log::{Missed, RevocationLog};

/// A slot from its value in shared data.
pub fn decode_slot(value: &[u8]) -> Option<Slot> {
    Slot::decode(value)
}

/// A slot's value in shared data.
pub fn encode_slot(slot: &Slot) -> Vec<u8> {
    slot.encode()
}

/// A control record from its value in shared data.
pub fn decode_control(value: &[u8]) -> Option<Control> {
    Control::decode(value)
}

/// A control record's value in shared data.
pub fn encode_control(control: &Control) -> Vec<u8> {
    control.encode()
}
