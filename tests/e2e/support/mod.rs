//! What the tests share: fleets, clients, and faults to put between them.

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod dashboard;
pub(crate) mod faults;
pub(crate) mod fleet;
pub(crate) mod search;
pub(crate) mod stand_ins;
pub(crate) mod store_view;
pub(crate) mod wire;
pub(crate) mod xds;
