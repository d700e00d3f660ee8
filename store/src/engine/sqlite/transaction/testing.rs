//! Operations on a bare connection, for tests.

use rusqlite::Connection;

use super::SqliteTx;
use crate::clock::StoreTime;
use crate::operations::{Context, Operation, Read};
use crate::rules::rotation::RotationLimit;

/// What surrounds an operation at this moment.
pub(crate) fn context(now: StoreTime) -> Context {
    Context {
        now,
        interval: RotationLimit::HOUR,
    }
}

/// Carries an operation out that keeps nothing for replays.
pub(crate) fn run<O: Operation>(connection: &Connection, now: StoreTime, operation: &O) -> O::Out {
    let mut transaction = SqliteTx::reading(connection);
    operation.apply(&mut transaction, &context(now)).unwrap()
}

/// Looks.
pub(crate) fn read<R: Read>(connection: &Connection, now: StoreTime, read: &R) -> R::Out {
    let transaction = SqliteTx::reading(connection);
    read.read(&transaction, &context(now)).unwrap()
}
