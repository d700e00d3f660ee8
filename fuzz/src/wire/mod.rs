//! Targets of what gateway and store agree on: keys, messages and sealed records.

mod key;
mod messages;
mod replay;

pub use key::key;
pub use messages::messages;
pub use replay::replay;
