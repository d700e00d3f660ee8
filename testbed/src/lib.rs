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

mod fleet;
mod http;
pub mod http1;
mod programs;
mod system;

pub use fleet::envoy_config::{
    API_CLUSTER, EnvoyConfig, FEED_CLUSTER, LISTENER, ROTATION_CLUSTER, STORE_CLUSTER,
};
pub use fleet::gateway::{Edit, Gateway, GatewayOptions, Shutdown};
pub use fleet::run_dir::RunDir;
pub use fleet::secrets::Secrets;
pub use fleet::store::{Account, Store, StoreBinary, StoreOptions};
pub use fleet::upstream::{HttpVersions, Received, Upstream};
pub use fleet::{Fleet, FleetOptions, etcd};
pub use programs::artifacts::{Artifacts, Built, PREBUILT_VARIABLE};
pub use programs::{chromium, envoy, workspace};
pub use system::port::Port;
pub use system::process::{ExitWatch, Process};
pub use system::wait::until;
pub use system::{random, shell};

pub use nix::sys::signal::Signal;
