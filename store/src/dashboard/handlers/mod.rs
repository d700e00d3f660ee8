//! What each address does, and which page it answers with.

pub(super) mod delivery;
pub(super) mod key;
pub(super) mod login;
pub(super) mod security;
