//! What goes on inside the store of the simulator, and what it answers behind a
//! barrier.

use rekey_protocol::{Digest, Revocation, RotateRequest};
use rekey_store::engine::rows::ImportId;
use rekey_store::feed::core::Poll;
use rekey_store::operations::keys::rotate::Rotated;

use crate::fleet::network::Return;

/// A call as it arrives.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Where the answer goes.
    pub back: Return,
    /// The path.
    pub path: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// What goes on inside the store.
#[derive(Debug, Clone)]
pub enum Task {
    /// A poll goes on.
    Step(u64),
    /// A lease gets on record for a poll.
    Record(u64, u32),
    /// The leases of former lives are over.
    Settle,
    /// A poll reads from disk.
    Read(u64, u64),
    /// A key is looked up.
    Resolve(Return, Digest),
    /// A rotation is committed.
    Rotate(Return, RotateRequest),
    /// A form of the dashboard arrives.
    Form(u64),
    /// The revocation of a user's key is committed; by whom.
    Revoke(usize, u64, By),
    /// A new key for a user is committed; by whom.
    Issue(usize, u64, Digest, By),
    /// The rows of an import are in.
    LoadImport(usize, usize),
    /// From now on they count.
    CountImport(usize, usize, ImportId),
    /// The feed learns of a commit; then an answer is due behind a barrier.
    Told(u64, Vec<Revocation>, Box<Waiter>),
    /// The barriers are looked at again.
    Recheck,
    /// Sabotage: a poll is registered when its answer leaves.
    Late(Return, Box<Poll>, Vec<u8>),
}

/// By which way a key is revoked and another one made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The admin listener.
    Operator,
    /// The dashboard: Revoke now.
    User,
}

/// An answer that waits for a barrier.
#[derive(Debug, Clone)]
pub struct Waiter {
    /// The revision of the barrier; none if it need not wait.
    pub revision: Option<u64>,
    /// What is to be said then.
    pub say: Say,
}

/// What is said behind a barrier.
#[derive(Debug, Clone)]
pub enum Say {
    /// To a gateway.
    Gateway(Return, Rotated, Digest),
    /// To the user of the dashboard: the new key.
    NewKey(u64),
    /// To the operator: the user's key is dead.
    Revoked(usize, u64, By),
    /// To the operator: these keys are imported.
    Imported(usize, usize),
    /// To the operator: the user has the new key, or none could be given.
    Issued(usize, u64, bool),
}
