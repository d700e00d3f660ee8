//! What the change feed asks for (S3 to S9).

use super::{Context, Read};
use crate::engine::{OwnerTx, ReadTx};
use crate::feed::LaterRevocations;
use crate::feed::history::PAGE;

/// One more than a page of the revocations after a revision, in their order, and the
/// head of the same snapshot.
#[derive(Debug, Clone, Copy)]
pub struct ChangesAfter(pub u64);

impl Read for ChangesAfter {
    type Out = LaterRevocations;

    fn read<T: ReadTx>(&self, tx: &T, _: &Context) -> Result<Self::Out, T::Error> {
        let head = tx.head()?;
        let revocations = tx.revoked_after(self.0, PAGE + 1)?;
        Ok(LaterRevocations { revocations, head })
    }
}

/// Puts a lease on record, if it is longer than those before (S9). No [`super::Operation`]:
/// only an engine with one owner keeps leases in its data.
#[derive(Debug, Clone, Copy)]
pub struct RecordLease {
    /// How long it is, in milliseconds.
    pub lease_ms: u32,
}

impl RecordLease {
    /// Carries it out.
    ///
    /// # Errors
    /// The transaction's.
    pub fn apply<T: OwnerTx>(&self, tx: &mut T) -> Result<(), T::Error> {
        tx.record_longest_lease(self.lease_ms)
    }
}
