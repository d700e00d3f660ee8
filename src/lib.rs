//! The filter: a thin adapter between a proxy-wasm host and `rekey-engine`.
//!
//! It translates callbacks into the engine's events and the engine's effects
//! into hostcalls, and decides nothing. [`host`] is the only file that names a
//! hostcall; [`worker`] holds what one configuration has in one VM; [`root`]
//! and [`request`] are the two kinds of context that the host knows.

#![allow(missing_docs, reason = "main! makes an export without a doc comment")]

mod host;
mod request;
mod root;
mod worker;

proxy_wasm::main! {{
    // The host filters by its own level; this only installs logger and panic hook.
    proxy_wasm::set_log_level(proxy_wasm::types::LogLevel::Trace);
    proxy_wasm::set_root_context(|id| Box::new(root::Root::new(id)));
}}
