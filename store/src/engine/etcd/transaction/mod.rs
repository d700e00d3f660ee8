//! An operation as one conditional transaction of etcd.
//!
//! [`view`] is what an operation sees. [`commit`] carries out what it has written, through
//! one of the [`slots`]. [`run`] does one after the other.

pub(super) mod commit;
mod job;
mod run;
pub(super) mod slots;
pub(super) mod view;
mod wanted;
