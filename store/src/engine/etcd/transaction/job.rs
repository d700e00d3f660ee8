//! What one transaction is to do.

use super::view::{View, ViewError};
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::look::Look;
use crate::operations::{Context, Operation};

/// What one transaction is to do: an operation, or something of the engine's own.
pub(super) trait Job: Send + Sync {
    /// What comes of it.
    type Out: Send;
    /// As [`Operation::apply`].
    fn apply(
        &self,
        tx: &mut KeyspaceTx<'_, View<'_>>,
        cx: &Context,
    ) -> Result<Self::Out, ViewError>;
    /// As [`Operation::looks_at`].
    fn looks_at(&self) -> Vec<Look>;
    /// As [`Operation::settle`].
    fn settle(out: &mut Self::Out, revision: u64);
}

/// An operation that somebody has asked for.
pub(super) struct Asked<O>(pub O);

impl<O> Job for Asked<O>
where
    O: Operation + Send + Sync,
    O::Out: Send,
{
    type Out = O::Out;

    fn apply(
        &self,
        tx: &mut KeyspaceTx<'_, View<'_>>,
        cx: &Context,
    ) -> Result<Self::Out, ViewError> {
        self.0.apply(tx, cx)
    }

    fn looks_at(&self) -> Vec<Look> {
        self.0.looks_at()
    }

    fn settle(out: &mut Self::Out, revision: u64) {
        O::settle(out, revision);
    }
}

/// Begins the next segment of the audit log.
pub(super) struct Tick;

impl Job for Tick {
    type Out = ();

    fn apply(&self, tx: &mut KeyspaceTx<'_, View<'_>>, cx: &Context) -> Result<(), ViewError> {
        tx.tick(cx.now.limit)
    }

    fn looks_at(&self) -> Vec<Look> {
        vec![Look::Log]
    }

    fn settle((): &mut (), _: u64) {}
}
