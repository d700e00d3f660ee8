//! Faults to put between the parts: cuts, delays, deaths, and the moments for them.

pub(crate) mod cuts;
pub(crate) mod death;
pub(crate) mod link;
pub(crate) mod moments;
pub(crate) mod network;
pub(crate) mod tcp_proxy;
