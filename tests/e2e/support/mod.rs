//! What the tests share: fleets, clients, and faults to put between them.

pub mod browser;
pub mod client;
pub mod cuts;
pub mod dashboard;
pub mod death;
pub mod fleet;
pub mod http2;
pub mod link;
pub mod moments;
pub mod network;
pub mod pages;
pub mod raw_api;
pub mod raw_http;
pub mod scripted_store;
pub mod search;
pub mod store_view;
pub mod streams;
pub mod tcp_proxy;
pub mod xds;
