//! The files of the database: who owns them, what a backup of them is worth, and what a
//! full disk or a wrong clock does to them.

pub(crate) mod backup;
mod clock;
pub(crate) mod disk;
mod leftover;
mod ownership;
pub(crate) mod restore;
mod restore_command;
