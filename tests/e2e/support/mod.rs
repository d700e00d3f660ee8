//! What the tests share: fleets, clients, and faults to put between them.

pub(crate) mod browser;
pub(crate) mod client;
pub(crate) mod cuts;
pub(crate) mod dashboard;
pub(crate) mod death;
pub(crate) mod fleet;
pub(crate) mod http2;
pub(crate) mod link;
pub(crate) mod moments;
pub(crate) mod network;
pub(crate) mod pages;
pub(crate) mod raw_api;
pub(crate) mod raw_http;
pub(crate) mod scripted_store;
pub(crate) mod search;
pub(crate) mod store_view;
pub(crate) mod streams;
pub(crate) mod tcp_proxy;
pub(crate) mod xds;
