//! A user's id, checked when it is made.

use serde::{Deserialize, Serialize};

/// A user's id: 1 to 64 characters of `[A-Za-z0-9._-]`. Safe in a header, a
/// path and a log line as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

/// Why a text was not taken for a user's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user id is 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidUserId;

impl UserId {
    /// The id as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserId {
    type Error = InvalidUserId;

    fn try_from(text: String) -> Result<Self, InvalidUserId> {
        let fits = (1..=64).contains(&text.len());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if fits && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(InvalidUserId)
        }
    }
}

impl std::str::FromStr for UserId {
    type Err = InvalidUserId;

    fn from_str(text: &str) -> Result<Self, InvalidUserId> {
        Self::try_from(text.to_owned())
    }
}

impl From<UserId> for String {
    fn from(user: UserId) -> Self {
        user.0
    }
}

impl std::fmt::Display for UserId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids() {
        for good in ["u", "u_1", "A.b-C_9", &"x".repeat(64)] {
            assert!(good.parse::<UserId>().is_ok(), "{good}");
        }
        for bad in ["", "a b", "a,b", "é", "a\n", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<UserId>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<UserId>("\"a b\"").is_err());
    }
}
