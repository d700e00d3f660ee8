//! HTTP/1.1 by bytes, for clients and servers that a test holds in its hands:
//! requests that no library would send, answers byte by byte, and what becomes of
//! the connection.
//!
//! It knows the form of messages, and nothing of what they mean.

mod connection;
mod head;
mod message;

pub use connection::{Answer, Connection};
pub use head::{Head, Parsed, WholeHead};
pub use message::Message;
