//! The tables: what is asked of each and what is written to it, in SQL.

pub(super) mod audit;
pub(super) mod columns;
pub(super) mod history;
pub(super) mod keys;
pub(super) mod users;

pub(super) use keys::{last_uses, old_keys, rotations};
pub(super) use users::{devices, passwords, people, removal, sessions};
