//! How rotations end, as the metrics name it, whoever asked for them.

/// What became of one request for a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RotationOutcome {
    /// The key was replaced.
    Rotated,
    /// It was answered again under the same rotation id.
    Repeated,
    /// It was answered again under the same `Idempotency-Key`.
    Replayed,
    /// Refused: the old key had been replaced or revoked before.
    Revoked,
    /// Refused: too early.
    RateLimited,
    /// Refused: there is no such key, or it is not the one that was meant.
    UnknownKey,
    /// Refused: the new key is in the store already.
    NewKeyExists,
    /// Refused: its id was used for another rotation.
    Conflict,
    /// Nobody knows whether it is on disk.
    Unknown,
    /// Nothing was changed, by a fault of the store.
    Unavailable,
}

impl RotationOutcome {
    /// The value of the label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rotated => "rotated",
            Self::Repeated => "repeated",
            Self::Replayed => "replayed",
            Self::Revoked => "revoked",
            Self::RateLimited => "rate_limited",
            Self::UnknownKey => "unknown_key",
            Self::NewKeyExists => "new_key_exists",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Unavailable => "unavailable",
        }
    }
}
