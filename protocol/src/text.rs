//! Small texts that are checked when they are made: user ids and timestamps.

use serde::{Deserialize, Serialize};

/// A user's id: 1 to 64 characters of `[A-Za-z0-9._-]`. Safe in a header, a
/// path and a log line as it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

/// The text is no user id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user id is 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidUserId;

impl UserId {
    /// The text.
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

/// When a key was made: RFC 3339 in UTC with whole seconds and `Z`,
/// `2025-01-31T16:00:00Z`, as the documented API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreatedAt(String);

/// The text is no such timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp is RFC 3339 in UTC with whole seconds: 2025-01-31T16:00:00Z")]
pub struct InvalidCreatedAt;

impl CreatedAt {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for CreatedAt {
    type Error = InvalidCreatedAt;

    /// Checks the shape, not the calendar.
    fn try_from(text: String) -> Result<Self, InvalidCreatedAt> {
        const SHAPE: &[u8; 20] = b"0000-00-00T00:00:00Z";
        let matches = |(byte, shape): (u8, &u8)| match shape {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        };
        if text.len() == SHAPE.len() && text.bytes().zip(SHAPE).all(matches) {
            Ok(Self(text))
        } else {
            Err(InvalidCreatedAt)
        }
    }
}

impl From<CreatedAt> for String {
    fn from(at: CreatedAt) -> Self {
        at.0
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

    #[test]
    fn timestamps() {
        let parse = |text: &str| CreatedAt::try_from(text.to_owned());
        assert!(parse("2025-01-31T16:00:00Z").is_ok());
        for bad in [
            "2025-01-31T16:00:00.1Z",
            "2025-01-31 16:00:00Z",
            "2025-01-31T16:00:00+0",
            "",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
