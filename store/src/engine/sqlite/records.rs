//! What the change feed asks of the database: the changes of long ago, and that
//! leases are on record before they are granted (S9).

use std::sync::Arc;
use std::time::Duration;

use rekey_protocol::{LEASE_CAP_MS, lease_margin_ms};
use rusqlite::Connection;

use super::Sqlite;
use super::lock::Lock;
use super::transaction::SqliteTx;
use super::writer::Writer;
use crate::engine::{Engine, RecordsError, WriteError};
use crate::feed::{LaterRevocations, Records};
use crate::operations::Kind;
use crate::operations::feed::{ChangesAfter, RecordLease};

impl Records for Sqlite {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<LaterRevocations, RecordsError> {
        Ok(self.read(ChangesAfter(revision)).await?)
    }

    fn grantable(&self) -> Option<u32> {
        self.lock.check().is_ok().then_some(LEASE_CAP_MS)
    }

    async fn record_lease(&self, lease_ms: u32) -> Result<(), RecordsError> {
        let kept = self.kept.clone();
        let record = move |connection: &Connection, _| {
            let mut transaction = SqliteTx::new(connection, &kept);
            RecordLease { lease_ms }.apply(&mut transaction)
        };
        self.writer.change(Kind::Admin, record).await?;
        // In the writer's turn, so that it is over before the lock is given up.
        let lock = self.lock.clone();
        let noted = self.writer.alone(move || lock.grant(lease_ms)).await?;
        Ok(noted.map_err(|error| {
            tracing::error!(%error, "the lock file could not be written");
            WriteError::Unknown
        })?)
    }
}

/// How long a lease that was granted before a start may be trusted after it.
pub(super) fn lease_over(lease_ms: u32) -> Duration {
    Duration::from_millis(u64::from(lease_ms) + u64::from(lease_margin_ms(lease_ms)))
}

/// Takes what was supposed off the record, so that the next start need not wait
/// for it too.
pub(super) async fn settle(after: Duration, writer: Writer, lock: Arc<Lock>) {
    tokio::time::sleep(after).await;
    if let Ok(Err(error)) = writer.alone(move || lock.settle()).await {
        tracing::error!(%error, "the lock file could not be written");
    }
}
