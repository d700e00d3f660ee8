//! Operations on a bare connection, for tests.

use rusqlite::Connection;

use super::SqliteTx;
use crate::clock::Moment;
use crate::operations::{Context, Operation, Read};
use crate::rotation::RotationInterval;

/// What surrounds an operation at this moment.
pub(crate) fn context(now: Moment) -> Context {
    Context {
        now,
        interval: RotationInterval::HOUR,
    }
}

/// Carries an operation out that keeps nothing for replays.
pub(crate) fn run<O: Operation>(connection: &Connection, now: Moment, operation: &O) -> O::Out {
    let mut transaction = SqliteTx::reading(connection);
    operation.apply(&mut transaction, &context(now)).unwrap()
}

/// Looks.
pub(crate) fn read<R: Read>(connection: &Connection, now: Moment, read: &R) -> R::Out {
    let transaction = SqliteTx::reading(connection);
    read.read(&transaction, &context(now)).unwrap()
}
