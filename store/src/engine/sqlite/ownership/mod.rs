//! Whose the database is, and which history it holds (S8, S10): the lock
//! file with its record, the anchor of the log, the incarnations of the store.

pub(super) mod anchor;
pub(super) mod incarnation;
pub(super) mod keeper;
pub(super) mod lock;

use std::sync::Arc;
use std::time::Duration;

use self::lock::{Lock, Lost};
use super::writer::WriterThread;
use crate::engine::serve::{EngineEnd, Ownership};

/// Between two looks at the files of an idle store.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// What the server holds until its end: the thread that writes, and the lock.
pub(super) fn of(mut thread: WriterThread, lock: Arc<Lock>) -> Ownership {
    let has_ended = thread.take_ended();
    let watched = lock.clone();
    let ended = async move {
        tokio::select! {
            lost = lost(&watched) => EngineEnd::Lost(lost.to_string()),
            () = has_ended => EngineEnd::Failed,
        }
    };
    let release = async move {
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        drop(lock);
        joined.unwrap_or(Err(EngineEnd::Failed))
    };
    Ownership {
        ended: Box::pin(ended),
        release: Box::pin(release),
    }
}

/// Waits until the database may be another process's (S10).
async fn lost(lock: &Lock) -> Lost {
    let mut turns = tokio::time::interval(CHECK_EVERY);
    loop {
        tokio::select! {
            lost = lock.lost() => return lost,
            // Also where nobody asks for anything.
            _ = turns.tick() => drop(lock.check()),
        }
    }
}
