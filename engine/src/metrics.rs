//! The filter's counters: names that the adapter defines once.
//!
//! proxy-wasm metrics have no tags, so the label is part of the name,
//! `rekey.<thing>.<label>.<value>`, and the gateway's `stats_tags` (envoy.yaml)
//! make a tag of it again.

use crate::refusal::Refusal;

macro_rules! counters {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+) => {
        /// Something that is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])+ $variant,)+ }

        impl Counter {
            /// All of them, to be defined at the start.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The metric's name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

counters! {
    /// Went on to the upstream with its user.
    Allowed = "rekey.requests.outcome.allowed",
    /// Went on without a key, its path being public.
    Public = "rekey.requests.outcome.public",
    /// Got a new key.
    Rotated = "rekey.requests.outcome.rotated",
    /// Refused: no key.
    MissingApiKey = "rekey.requests.outcome.missing_api_key",
    /// Refused: malformed or unknown key. Many of them: somebody guesses.
    InvalidApiKey = "rekey.requests.outcome.invalid_api_key",
    /// Refused: replaced or revoked key.
    ApiKeyRevoked = "rekey.requests.outcome.api_key_revoked",
    /// Refused: not POST on the endpoint.
    MethodNotAllowed = "rekey.requests.outcome.method_not_allowed",
    /// Refused: unusable Idempotency-Key.
    InvalidIdempotencyKey = "rekey.requests.outcome.invalid_idempotency_key",
    /// Refused: rotated less than an interval ago.
    RateLimited = "rekey.requests.outcome.rate_limited",
    /// Refused: the store could not be asked.
    KeyStoreUnavailable = "rekey.requests.outcome.key_store_unavailable",
    /// Refused: a rotation's outcome stayed unknown.
    RotationUnconfirmed = "rekey.requests.outcome.rotation_unconfirmed",
    /// A call to the store was answered by it.
    StoreAnswered = "rekey.store_calls.outcome.answered",
    /// A call to the store came to nothing.
    StoreFailed = "rekey.store_calls.outcome.failed",
    /// A call to the store was refused by the gateway itself.
    StoreNotSent = "rekey.store_calls.outcome.not_sent",
    /// A rotation was asked for again under the same id.
    RotationRetried = "rekey.rotations.event.retried",
    /// A rotation's client left before its answer.
    RotationAbandoned = "rekey.rotations.event.abandoned",
    /// A revoked key was refused without a call.
    TombstoneHit = "rekey.tombstones.event.hit",
    /// A revoked key was written down.
    TombstoneWritten = "rekey.tombstones.event.written",
}

impl From<Refusal> for Counter {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::MissingApiKey => Self::MissingApiKey,
            Refusal::InvalidApiKey => Self::InvalidApiKey,
            Refusal::ApiKeyRevoked => Self::ApiKeyRevoked,
            Refusal::MethodNotAllowed => Self::MethodNotAllowed,
            Refusal::InvalidIdempotencyKey => Self::InvalidIdempotencyKey,
            Refusal::RateLimited { .. } => Self::RateLimited,
            Refusal::KeyStoreUnavailable => Self::KeyStoreUnavailable,
            Refusal::RotationUnconfirmed => Self::RotationUnconfirmed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_tagged() {
        let names: std::collections::BTreeSet<_> =
            Counter::ALL.iter().map(|counter| counter.name()).collect();
        assert_eq!(names.len(), Counter::ALL.len());
        for name in names {
            assert_eq!(name.split('.').count(), 4, "{name}");
        }
    }
}
