//! What a gateway asks of the store: the contract of its listener, the change feed, and
//! what its polls tell.

mod checksum;
mod contract;
pub(crate) mod feed;
mod floods;
pub(crate) mod last_uses;
