//! Whose the database is, and which history it holds (S8, S10): the lock
//! file with its record, the anchor of the log, the lives of the store.

pub mod anchor;
pub mod keeper;
pub mod life;
pub mod lock;
