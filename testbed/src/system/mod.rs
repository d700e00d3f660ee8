//! What the operating system gives: processes, ports, random bytes, and time to wait.

pub(crate) mod port;
pub(crate) mod process;
pub mod random;
pub mod shell;
pub(crate) mod wait;
