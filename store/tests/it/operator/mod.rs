//! What the operator does by commands.

mod admin;
mod in_doubt;
mod many;
mod people;
