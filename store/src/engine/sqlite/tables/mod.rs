//! The tables: what is asked of each and what is written to it, in SQL.

pub(super) mod audit;
pub(super) mod columns;
pub(super) mod devices;
pub(super) mod history;
pub(super) mod keys;
pub(super) mod last_uses;
pub(super) mod old_keys;
pub(super) mod passwords;
pub(super) mod people;
pub(super) mod removal;
pub(super) mod rotations;
pub(super) mod sessions;
pub(super) mod users;
