//! Reads beside the writer: a fixed set of read-only connections, each used by
//! one request at a time. In WAL mode a read neither waits for the writer nor
//! holds it up, and sees only what is on disk (S1, S2).

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::OpenError;
use super::open::connect;
use crate::engine::ReadError;

/// How long a read waits for a connection before it is refused.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Readers(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens `count` connections.
    pub(super) fn open(path: &Path, count: usize) -> Result<Self, OpenError> {
        let idle = (0..count)
            .map(|_| connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Pool {
            idle: Mutex::new(idle),
            permits: Arc::new(Semaphore::new(count)),
        })))
    }

    /// Runs `work` on a connection of its own.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, ReadError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let permit = tokio::time::timeout(PATIENCE, self.0.permits.clone().acquire_owned())
            .await
            .map_err(|_| ReadError::Busy)?
            .map_err(|_| ReadError::Failed)?;
        let pool = self.0.clone();
        let task = tokio::task::spawn_blocking(move || {
            let connection = pool.lock().pop();
            let mut lent = Lent { connection, pool };
            let result = lent.connection.as_mut().map(work);
            drop(lent);
            drop(permit);
            result
        });
        match task.await {
            Ok(Some(Ok(result))) => Ok(result),
            Ok(Some(Err(error))) => {
                tracing::error!(%error, "a read failed");
                Err(ReadError::Failed)
            }
            Ok(None) | Err(_) => Err(ReadError::Failed),
        }
    }
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives the connection back, whatever the work did.
struct Lent {
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.pool.lock().extend(self.connection.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::incarnation::OlderData;

    #[tokio::test]
    async fn a_panicking_read_loses_no_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let opened = crate::engine::sqlite::open::open(&path, OlderData::Refused).unwrap();
        let readers = Readers::open(&opened.path, 1).unwrap();
        let failed = readers.read(|_| -> rusqlite::Result<()> { panic!("on purpose") });
        assert_eq!(failed.await, Err(ReadError::Failed));
        let one = readers.read(|db| db.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
        assert_eq!(one.await, Ok(1));
    }
}
