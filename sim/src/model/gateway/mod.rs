//! The steps of a gateway: its control record, its feeder, its requests, its slots.

pub mod control;
pub mod feeder;
pub mod request;
pub mod slot;
