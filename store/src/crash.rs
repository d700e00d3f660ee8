//! Named moments at which a test lets the store die (Cargo feature
//! `crash-points`). Without the feature, [`point`] compiles to nothing.
//!
//! `REKEY_STORE_CRASH_AT=<point>[:n]` kills the process with SIGKILL at the
//! n-th passing of that point (n from 1), so nothing is flushed or answered.

/// Every step of a rotation, in the order in which it passes them.
pub const POINTS: &[&str] = &[
    "rotate.received",
    "rotate.before_begin",
    "rotate.after_begin",
    "rotate.after_lookup",
    "rotate.after_revision",
    "rotate.after_revoke_old",
    "rotate.after_insert_new",
    "rotate.after_limit",
    "rotate.after_audit",
    "rotate.after_record",
    "rotate.after_keep",
    "rotate.before_commit",
    "rotate.after_commit",
    "rotate.after_mark",
    "rotate.before_barrier",
    "rotate.before_answer",
];

/// Every step of a restore at which the folder looks different.
pub const RESTORE_POINTS: &[&str] = &[
    "restore.prepared",
    "restore.marked",
    "restore.log_aside",
    "restore.moved_aside",
    "restore.renamed",
    "restore.recorded",
    "restore.done",
];

/// Steps of writing the log into the database file.
pub const FOLD_POINTS: &[&str] = &["fold.anchored"];

/// The variable that names the point.
pub const VARIABLE: &str = "REKEY_STORE_CRASH_AT";

/// Dies here if the variable says so.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

#[cfg(feature = "crash-points")]
pub use armed::{check, point};

/// Nothing to check without the feature.
#[cfg(not(feature = "crash-points"))]
pub fn check() -> Result<(), String> {
    Ok(())
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Armed {
        name: String,
        left: AtomicU32,
    }

    static ARMED: LazyLock<Result<Option<Armed>, String>> = LazyLock::new(|| {
        let Ok(text) = std::env::var(super::VARIABLE) else {
            return Ok(None);
        };
        let (name, count) = text.split_once(':').unwrap_or((&text, "1"));
        let count = count.parse().ok().filter(|n| *n > 0);
        match count {
            Some(count) if is_known(name) => Ok(Some(Armed {
                name: name.to_owned(),
                left: AtomicU32::new(count),
            })),
            _ => Err(format!(
                "{}={text}: not a crash point; `crash-points` lists them",
                super::VARIABLE
            )),
        }
    });

    fn is_known(name: &str) -> bool {
        super::POINTS.contains(&name)
            || super::RESTORE_POINTS.contains(&name)
            || super::FOLD_POINTS.contains(&name)
    }

    /// Whether the variable is understood.
    pub fn check() -> Result<(), String> {
        ARMED.as_ref().map(drop).map_err(Clone::clone)
    }

    /// Dies here if the variable says so.
    pub fn point(name: &'static str) {
        let Ok(Some(armed)) = &*ARMED else { return };
        if armed.name == name && armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            loop {
                std::thread::park();
            }
        }
    }
}
