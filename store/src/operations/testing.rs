//! Users and keys by short names, for tests of operations and of what stands on them.

use rekey_protocol::{Digest, UserId};

use super::users::NewUser;

pub(crate) fn digest(number: u8) -> Digest {
    Digest::from_bytes([number; 32])
}

pub(crate) fn user(name: &str) -> UserId {
    name.parse().unwrap()
}

/// A user with this first key and without a password.
pub(crate) fn new_user(name: &str, email: &str, key: u8) -> NewUser {
    NewUser {
        id: user(name),
        email: email.parse().unwrap(),
        digest: digest(key),
        hint: "hint".into(),
        phc: None,
    }
}
