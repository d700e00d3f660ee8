//! The log: text on standard error, filtered by `RUST_LOG`.
//!
//! Never holds a key, a token or a whole digest, at any level. Our own events
//! are written with that in mind; those of dependencies are not (h2 and hyper
//! print headers and bodies at their finer levels), so they are capped here,
//! where no setting reaches.

use std::panic::PanicHookInfo;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// Our own events are below this target.
const OURS: &str = "rekey_store";

/// Starts the log. The error is the operator's: `RUST_LOG` does not parse.
pub fn start() -> anyhow::Result<()> {
    let wanted: Targets = match std::env::var("RUST_LOG") {
        Ok(text) if !text.trim().is_empty() => text.parse().map_err(|error| {
            anyhow::anyhow!("RUST_LOG={text}: {error}; an example: info,{OURS}=debug")
        })?,
        _ => Targets::new().with_default(Level::INFO),
    };
    let text = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_filter(wanted.and(filter_fn(harmless)));
    registry().with(text).init();
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn harmless(event: &Metadata<'_>) -> bool {
    let ours = event.target().split("::").next() == Some(OURS);
    ours || *event.level() <= Level::INFO
}

/// Where, but not what: a panic's message may hold the value it was about.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let place = place.as_deref().unwrap_or("an unknown place");
    tracing::error!("a fault in the store: panic at {place}");
}
