//! Clients that see the bytes of HTTP, and streams that they hold open.

pub(crate) mod http2;
pub(crate) mod raw_http;
pub(crate) mod streams;
