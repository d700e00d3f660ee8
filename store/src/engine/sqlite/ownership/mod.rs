//! Whose the database is, and which history it holds (S8, S10): the lock
//! file with its record, the anchor of the log, the lives of the store.

pub(super) mod anchor;
pub(super) mod keeper;
pub(super) mod life;
pub(super) mod lock;
