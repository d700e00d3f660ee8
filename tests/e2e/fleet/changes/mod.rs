//! What an operator changes while the fleet serves.

mod operator;
mod restore;
mod secret_change;
mod update;
