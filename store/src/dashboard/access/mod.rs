//! Whether a request may pass, and who sent it. A request comes through
//! [`guard`], which compares it with the [`origin`]. A handler then asks
//! for the [`session`] and the [`client`], and, before it tries a password, the
//! [`throttle`].

pub(super) mod client;
pub(super) mod guard;
pub(super) mod origin;
pub(super) mod session;
pub(super) mod throttle;
