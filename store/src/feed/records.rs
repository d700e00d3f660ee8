//! What the feed asks of the engine.

use super::LaterRevocations;

/// Where the changes of long ago and the leases of an earlier life are kept.
pub trait Records: Sync {
    /// Why it failed.
    type Error: Send;
    /// One more than a page of the revocations after a revision, in their
    /// order, and the head, from one snapshot.
    fn changes_after(
        &self,
        revision: u64,
    ) -> impl Future<Output = Result<LaterRevocations, Self::Error>> + Send;
    /// The longest lease that may be granted now, in milliseconds. None: the data may be
    /// another process's, and nothing may be answered (S10).
    fn grantable(&self) -> Option<u32>;
    /// Waits until the feed has heard of everything up to this revision, of which a
    /// gateway has heard from another store. At once where there is no other store.
    fn catch_up(&self, _revision: u64) -> impl Future<Output = Result<(), Self::Error>> + Send {
        std::future::ready(Ok(()))
    }
    /// Puts a longer lease on record, durably.
    fn record_lease(&self, lease_ms: u32) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
