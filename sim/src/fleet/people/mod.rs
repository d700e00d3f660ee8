//! Who calls and who decides: users and their clients, thieves, and the operator.

pub mod clients;
pub mod dashboard;
pub mod endings;
pub mod errands;
pub mod operator;
pub mod streams;
