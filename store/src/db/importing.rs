//! The import as the [`Database`] runs it: one at a time, in the writer's turn,
//! and told to the feed. What it does to the rows is [`super::import`]'s.

use tokio::sync::OwnedSemaphorePermit;

use super::import::{ImportError, MoveError, Staging};
use super::{Database, WriteError};

/// The one import that is under way.
pub struct Import {
    /// Its rows.
    pub staging: Staging,
    _permit: OwnedSemaphorePermit,
}

/// What became of an import.
pub enum Imported {
    /// It is in the database.
    Done {
        /// So many rows; 0 after a dry run.
        rows: u64,
        /// The revision of the change; none after a dry run. Until its barrier is
        /// open a gateway may still refuse the keys, for it has heard that they are
        /// unknown.
        revision: Option<u64>,
    },
    /// Nothing was imported, for so many lines are bad.
    Refused(Import, u64),
}

impl Database {
    /// The right to be the one import.
    pub fn import_permit(&self) -> Result<OwnedSemaphorePermit, ImportError> {
        let permit = self.imports.clone().try_acquire_owned();
        permit.map_err(|_| ImportError::Running)
    }

    /// Begins an import without rows. Blocks.
    pub fn begin_import(&self, permit: OwnedSemaphorePermit) -> Result<Import, ImportError> {
        Ok(Import {
            staging: Staging::begin(&self.path)?,
            _permit: permit,
        })
    }

    /// Checks all rows and, unless one is bad or it is a dry run, moves them.
    pub async fn finish_import(
        &self,
        mut import: Import,
        dry_run: bool,
    ) -> Result<Imported, ImportError> {
        // Somebody may get a key between check and move; then it is checked
        // again, and the second check sees that key.
        for _ in 0..3 {
            let checked = tokio::task::spawn_blocking(move || {
                let bad = import.staging.check();
                (import, bad)
            });
            let bad_rows;
            (import, bad_rows) = checked.await.map_err(|_| ImportError::Failed)?;
            match bad_rows? {
                0 if dry_run => {
                    return Ok(Imported::Done {
                        rows: 0,
                        revision: None,
                    });
                }
                0 => {}
                bad_rows => return Ok(Imported::Refused(import, bad_rows)),
            }
            let (clock, feed) = (self.clock.clone(), self.feed.clone());
            let metrics = self.metrics.clone();
            // S2: told in the writer's turn. Who asked may have gone by now,
            // and nobody would go on after the wait.
            let moved = self.writer.alone(move || {
                let moved = import.staging.move_all(clock.now());
                if let Ok(revision) = moved {
                    metrics.set_revision(revision);
                    feed.imported(revision);
                }
                (import, moved)
            });
            let moved_rows;
            (import, moved_rows) = moved.await?;
            match moved_rows {
                Ok(revision) => {
                    let rows = import.staging.rows();
                    let revision = Some(revision);
                    tokio::task::spawn_blocking(move || import.staging.checkpoint());
                    return Ok(Imported::Done { rows, revision });
                }
                Err(MoveError::Changed) => {}
                Err(MoveError::RolledBack(error)) => return Err(error.into()),
                Err(MoveError::Unknown(error)) => {
                    tracing::error!(%error, "the commit of an import failed");
                    return Err(WriteError::Unknown.into());
                }
            }
        }
        Err(ImportError::Failed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rekey_protocol::{FeedRequest, GatewayId, Head, LEASE_LEAST_MS};

    use super::*;
    use crate::api::ImportRow;
    use crate::db::ReplayPlace;
    use crate::feed::Records;
    use crate::metrics::Metrics;
    use crate::rotation::RotationInterval;

    #[tokio::test(flavor = "multi_thread")]
    async fn s2_the_feed_learns_of_an_import_whose_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rekey.db");
        let metrics = Arc::new(Metrics::new());
        let (database, _owner) = Database::open(
            &path,
            RotationInterval::HOUR,
            false,
            &ReplayPlace::Off,
            metrics,
        )
        .unwrap();
        let mut import = database
            .begin_import(database.import_permit().unwrap())
            .unwrap();
        let row = ImportRow {
            line: 1,
            user: "u_1".into(),
            digest: "ab".repeat(32).into(),
            email: None,
            hint: None,
        };
        import.staging.add(&row).unwrap();
        let first = poll(&database).await;
        // The writer is busy until the client has gone.
        let (begun, began) = tokio::sync::oneshot::channel();
        let (gone, until_gone) = std::sync::mpsc::channel::<()>();
        let writer = database.writer.clone();
        let busy = tokio::spawn(async move {
            let work = move || (begun.send(()).is_ok(), until_gone.recv().is_err());
            writer.alone(work).await
        });
        began.await.unwrap();
        let importing = database.clone();
        let client =
            tokio::spawn(async move { importing.finish_import(import, false).await.is_ok() });
        while database.writer.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        drop(gone);
        assert_eq!(busy.await.unwrap(), Ok((true, true)));
        // Behind the import in the writer's queue.
        database.writer.alone(|| ()).await.unwrap();
        let (_, on_disk) = database.changes_after(0).await.unwrap();
        assert_eq!(on_disk.revision, first.revision + 1, "it is imported");
        assert_eq!(poll(&database).await, on_disk, "and told");
    }

    /// Where the feed lets a new gateway begin.
    async fn poll(database: &Database) -> Head {
        let request = FeedRequest {
            gateway: GatewayId([7; 16]),
            cursor: None,
            lease_ms: LEASE_LEAST_MS,
            poll: 1,
            refused: vec![],
            used: vec![],
        };
        let answer = database.feed().poll(&request, database).await;
        answer.unwrap().cursor
    }
}
