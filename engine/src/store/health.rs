//! What the operator is told of the store: each change once, not each request.

use crate::host::outbox::{LogLevel, Outbox};
use crate::store::calls::StoreFault;

/// No more than one line in so many milliseconds.
const PAUSE_MS: u64 = 1_000;

/// The store's health as one kind of calls sees it.
pub(crate) struct StoreHealth {
    /// Of what, for the log line.
    what: String,
    fault: Option<StoreFault>,
    logged: Option<u64>,
}

impl StoreHealth {
    /// Nothing is known yet, which is as good as health.
    pub(crate) fn of(what: String) -> Self {
        Self {
            what,
            fault: None,
            logged: None,
        }
    }

    /// A call came to this; none: it was answered.
    pub(crate) fn note(&mut self, fault: Option<StoreFault>, now: u64, out: &mut Outbox) {
        let is_quiet = self
            .logged
            .is_some_and(|at| now.saturating_sub(at) < PAUSE_MS);
        if fault == self.fault || is_quiet {
            return;
        }
        self.fault = fault;
        self.logged = Some(now);
        let what = &self.what;
        let Some(fault) = fault else {
            return out.log(LogLevel::Info, format!("{what} answers again"));
        };
        let level = match fault {
            StoreFault::Unauthorized => LogLevel::Error,
            _ => LogLevel::Warn,
        };
        let why = fault.explain();
        out.log(level, format!("call to the {what} failed: {why}"));
    }
}
