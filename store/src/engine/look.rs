//! What an operation will look at, as far as it is known before it is applied.

use rekey_protocol::{Digest, RotationId, UserId};

/// One thing to look at, in the words of those who ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Where the history stands.
    Head,
    /// Where the audit log goes on.
    Log,
    /// A key.
    Key(Digest),
    /// A key that may have been replaced, and by which rotation.
    OldKey(Digest),
    /// The first key of a user who is to be added.
    FirstKey(Digest),
    /// What is on record under a rotation id.
    Rotation(RotationId),
    /// A user, and which key is the active one.
    User(UserId),
    /// A user's password.
    Password(UserId),
    /// Whose an address is, as it was typed.
    Address(String),
    /// A session.
    Session(Digest),
}
