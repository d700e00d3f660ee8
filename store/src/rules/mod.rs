//! What is decided without a database, a clock or a message: facts in, a verdict out.
//! Server and simulator share it.

pub mod answers;
pub mod replay;
pub mod rotation;
