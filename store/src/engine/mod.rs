//! What keeps the store's data. There is one engine so far, SQLite.

pub mod sqlite;
