//! The time at which a key was made, in the form that the API shows.

use serde::{Deserialize, Serialize};

/// When a key was made: RFC 3339 in UTC with whole seconds and `Z`,
/// `2025-01-31T16:00:00Z`, as the documented API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreatedAt(String);

/// Why a text was not taken for a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a timestamp is RFC 3339 in UTC with whole seconds: 2025-01-31T16:00:00Z")]
pub struct InvalidCreatedAt;

impl CreatedAt {
    /// The timestamp as the API shows it.
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
