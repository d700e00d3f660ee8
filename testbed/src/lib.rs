//! A fleet of real processes on loopback: Envoys with the filter, the key
//! store, the demo upstream. The end-to-end tests, the bench and `cargo xtask
//! up` stand on it.
//!
//! ```no_run
//! use rekey_testbed::{Fleet, FleetOptions};
//!
//! let mut fleet = Fleet::start(FleetOptions { concurrency: 4, ..FleetOptions::default() })?;
//! let account = fleet.store.add_user("ada@example.com")?;
//! let url = format!("{}/v1/echo", fleet.gateways[0].url());
//! // … requests with `account.api_key` …
//! fleet.store.process.kill_9()?;
//! fleet.store.restart()?; // the same ports, the same database
//! # anyhow::Ok(())
//! ```
//!
//! What each part promises: when `start` or `restart` returns, it serves; its
//! ports are its own until it is dropped, through every restart; dropped, it is
//! killed, and nothing outlives the process that started it. A start that fails
//! says why, with the end of the log.
//!
//! It knows how to start, find and stop; it knows nothing of what is asked of
//! the parts, and no test. How the parts are built it does not know either: it
//! calls `cargo xtask build`.

mod artifacts;
pub mod chromium;
pub mod envoy;
mod envoy_config;
mod fleet;
mod gateway;
mod http;
pub mod http1;
mod port;
mod process;
pub mod random;
mod run_dir;
mod secrets;
pub mod shell;
mod store;
mod upstream;
mod wait;
pub mod workspace;

pub use artifacts::{Artifacts, Built, PREBUILT_VARIABLE};
pub use envoy_config::{
    API_CLUSTER, EnvoyConfig, FEED_CLUSTER, LISTENER, ROTATION_CLUSTER, STORE_CLUSTER,
};
pub use fleet::{Fleet, FleetOptions};
pub use gateway::{Edit, Gateway, GatewayOptions, Shutdown};
pub use port::Port;
pub use process::{ExitWatch, Process};
pub use run_dir::RunDir;
pub use secrets::Secrets;
pub use store::{Account, Store, StoreBinary, StoreOptions};
pub use upstream::{HttpVersions, Received, Upstream};
pub use wait::until;

pub use nix::sys::signal::Signal;
