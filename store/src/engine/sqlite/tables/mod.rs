//! The tables: what is asked of each and what is written to it, in SQL.

pub mod audit;
pub mod columns;
pub mod devices;
pub mod history;
pub mod keys;
pub mod last_uses;
pub mod old_keys;
pub mod passwords;
pub mod people;
pub mod removal;
pub mod rotations;
pub mod sessions;
pub mod users;
