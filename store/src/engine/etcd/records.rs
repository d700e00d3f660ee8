//! What the change feed asks of etcd (R2, R8).

use super::Etcd;
use crate::engine::etcd::replica::Lost;
use crate::engine::{Engine, ReadError, RecordsError};
use crate::feed::{LaterRevocations, Records};
use crate::operations::feed::ChangesAfter;

impl Records for Etcd {
    type Error = RecordsError;

    async fn changes_after(&self, revision: u64) -> Result<LaterRevocations, RecordsError> {
        Ok(self.read(ChangesAfter(revision)).await?)
    }

    fn grantable(&self) -> Option<u32> {
        match self.replica.lost_now() {
            Some(_) => None,
            None => Some(self.replica.grantable()),
        }
    }

    async fn record_lease(&self, _: u32) -> Result<(), RecordsError> {
        // The line stands for all leases of this store (R1).
        Ok(())
    }

    async fn catch_up(&self, revision: u64) -> Result<(), RecordsError> {
        let mut position = self.replica.position();
        if *position.borrow() >= revision {
            return Ok(());
        }
        // A gateway may have heard of it from another store, before this one's watch. A
        // write tells how far the history really is: R8.
        let head = self
            .replica
            .next_beat()
            .await
            .ok_or(ReadError::NotCurrent)?;
        if head < revision {
            self.replica.lose(Lost::Restored);
            return Err(ReadError::NotCurrent.into());
        }
        tokio::select! {
            _ = position.wait_for(|at| *at >= revision) => Ok(()),
            _ = self.replica.lost() => Err(ReadError::NotCurrent.into()),
        }
    }
}
