//! Operations at a time that a test sets, by the real writer and the real readers.

use super::{Connection, Sqlite, SqliteTx};
use crate::clock::StoreTime;
use crate::engine::rows::KnownPast;
use crate::engine::{OwnerReadTx, Patience, ReadError, WriteError};
use crate::operations::{Context, Operation, Read};
use crate::rules::rotation::RotationLimit;

impl Sqlite {
    pub(crate) async fn run_at<O>(&self, operation: O, now: StoreTime) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        let kept = self.kept.clone();
        let work = move |connection: &Connection, _| {
            let mut transaction = SqliteTx::new(connection, &kept);
            operation.apply(&mut transaction, &context(now))
        };
        let patience = Patience::WhileAwaited;
        self.writer.change_in(O::KIND, patience, work).await
    }

    pub(crate) async fn read_at<R>(&self, read: R, now: StoreTime) -> Result<R::Out, ReadError>
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        let work = move |connection: &mut Connection| {
            let snapshot = connection.transaction()?;
            read.read(&SqliteTx::reading(&snapshot), &context(now))
        };
        self.readers.read(work).await
    }

    pub(crate) async fn known_past(&self) -> Result<KnownPast, ReadError> {
        let look = |connection: &mut Connection| SqliteTx::reading(connection).known_past();
        self.readers.read(look).await
    }
}

fn context(now: StoreTime) -> Context {
    Context {
        now,
        interval: RotationLimit::HOUR,
    }
}
