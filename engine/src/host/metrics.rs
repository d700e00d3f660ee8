//! The filter's counters and gauges: names that the adapter defines once.
//!
//! proxy-wasm metrics have no tags, so the label is part of the name,
//! `rekey.<thing>.<label>.<value>`, and the gateway's `stats_tags` (envoy.yaml)
//! make a tag of it again.

use crate::cache::control::Control;
use crate::cache::lease::Moment;
use crate::host::outbox::Outbox;

macro_rules! metrics {
    ($(#[$what:meta])+ $kind:ident { $($(#[$doc:meta])+ $variant:ident = $name:literal,)+ }) => {
        $(#[$what])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $kind { $($(#[$doc])+ $variant,)+ }

        impl $kind {
            /// All of them, to be defined at the start.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that the host defines the metric under.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }
    };
}

metrics! {
    /// Something that is counted.
    Counter {
    /// Went on to the upstream with its user.
    Allowed = "rekey.requests.outcome.allowed",
    /// Went on without a key, its path being public.
    Public = "rekey.requests.outcome.public",
    /// Got a new key.
    Rotated = "rekey.requests.outcome.rotated",
    /// Got the key of an earlier rotation, whose answer had been lost.
    Replayed = "rekey.requests.outcome.replayed",
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
    /// Refused: `Connection` names a header that is not its connection's.
    InvalidConnectionHeader = "rekey.requests.outcome.invalid_connection_header",
    /// Refused: rotated less than an interval ago.
    RateLimited = "rekey.requests.outcome.rate_limited",
    /// Refused: the store could not be asked.
    KeyStoreUnavailable = "rekey.requests.outcome.key_store_unavailable",
    /// Refused: a rotation's outcome stayed unknown.
    RotationUnconfirmed = "rekey.requests.outcome.rotation_unconfirmed",
    /// Refused: its key has its share of the open requests. Many of them: a client
    /// that leaves its requests open, or a thief.
    TooManyOpenRequests = "rekey.requests.outcome.too_many_open_requests",
    /// Refused: as many requests are open as can be ended with their keys.
    GatewayBusy = "rekey.requests.outcome.gateway_busy",
    /// A call to the store was answered by it.
    StoreAnswered = "rekey.store_calls.outcome.answered",
    /// A call to the store came to nothing.
    StoreFailed = "rekey.store_calls.outcome.failed",
    /// A call to the store was refused by the gateway itself.
    StoreNotSent = "rekey.store_calls.outcome.not_sent",
    /// A rotation was asked for again under the same id.
    RotationRetried = "rekey.rotations.event.retried",
    /// A request waits for the end of another rotation of its key.
    RotationQueued = "rekey.rotations.event.queued",
    /// A rotation's client left before its answer.
    RotationAbandoned = "rekey.rotations.event.abandoned",
    /// A revoked key was refused without a call.
    TombstoneHit = "rekey.tombstones.event.hit",
    /// A revoked key was written down.
    TombstoneWritten = "rekey.tombstones.event.written",
    /// A key was decided on from the table, under the lease.
    CacheHit = "rekey.cache.event.hit",
    /// A key was not in the table, or there was no lease: the store was asked.
    CacheMiss = "rekey.cache.event.miss",
    /// A key was put into the table.
    CacheFilled = "rekey.cache.event.filled",
    /// The store's answer was older than what the table knows; it was asked again.
    CacheTooOld = "rekey.cache.event.too_old",
    /// The store was asked about a key that it has not called good before.
    MissUnseen = "rekey.misses.event.stranger",
    /// The store was asked about a key that it has called good before.
    MissSeen = "rekey.misses.event.acquaintance",
    /// A key that it has not called good before was answered 503, because the store is
    /// asked about such often enough. Many of them: a flood.
    MissOverBudget = "rekey.misses.event.over_budget",
    /// The store did not know a key.
    UnknownAnswered = "rekey.unknown_keys.event.answered",
    /// A key was refused without a call, because the store does not know it.
    UnknownHit = "rekey.unknown_keys.event.hit",
    /// A use of a revoked key was not counted for its user: too many such keys.
    UseUncounted = "rekey.old_keys.event.uncounted",
    /// The last use of an active key was not told: too many waited. It is told with
    /// the key's next use.
    LastUseDropped = "rekey.last_uses.event.dropped",
    /// An open request was ended with its key.
    StreamEnded = "rekey.streams.event.ended",
    /// A key was asked about because a revocation of it may have been missed.
    StreamChecked = "rekey.streams.event.checked",
    /// The store answered a poll of the change feed.
    FeedAnswered = "rekey.feed.event.answered",
    /// A poll of the change feed came to nothing.
    FeedFailed = "rekey.feed.event.failed",
    /// The store reset the gateway's cache.
    FeedReset = "rekey.feed.event.reset",
    /// A revocation could not be written down; the lease is not extended.
    FeedUnwritten = "rekey.feed.event.unwritten",
    /// An answer came when something else had changed the record; thrown away.
    FeedOvertaken = "rekey.feed.event.overtaken",
    /// A worker took the feeder's role over.
    FeederTaken = "rekey.feed.event.taken_over",
    /// The store turned out to be in another incarnation than the cache: it was dropped.
    GenerationEnded = "rekey.feed.event.generation_ended",
    }
}

metrics! {
    /// Something that has a value, the same for all workers of a configuration.
    /// Where an update has left two side by side, the one that ticked last shows.
    Gauge {
    /// 1 while cached trust lasts, else 0.
    LeaseHeld = "rekey.lease_held",
    /// Milliseconds until cached trust ends.
    LeaseRemaining = "rekey.lease_remaining_ms",
    /// The store's revision up to which all changes are applied.
    AppliedRevision = "rekey.applied_revision",
    /// Milliseconds since the poll was sent that last extended the lease: how
    /// old the gateway's view of the store is at most. Stays when there is none.
    FeedLag = "rekey.feed_lag_ms",
    /// Which secret of REKEY_CHECKSUM_SECRET keys are made with; 1: the newest, 0:
    /// none, because each is refused by some gateway.
    ChecksumSecretInUse = "rekey.checksum_secret_in_use",
    /// 1 while the store or another gateway has a secret first that this gateway does
    /// not have, else 0.
    ChecksumSecretsBehind = "rekey.checksum_secrets_behind",
    }
}

/// Shows what the control record says, which all workers see alike.
pub(crate) fn show(control: &Control, now: Moment, lease_ms: u32, out: &mut Outbox) {
    let is_held = control.trusts(now);
    let until = control.deadline.monotonic;
    let left = until.saturating_sub(now.monotonic);
    out.show(Gauge::LeaseHeld, is_held.into());
    out.show(Gauge::LeaseRemaining, if is_held { left } else { 0 });
    if let Some(applied) = control.applied {
        out.show(Gauge::AppliedRevision, applied.revision);
    }
    if until > 0 {
        let sent = until.saturating_sub(lease_ms.into());
        out.show(Gauge::FeedLag, now.monotonic.saturating_sub(sent));
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
        for gauge in Gauge::ALL {
            assert_eq!(gauge.name().split('.').count(), 2, "{gauge:?}");
        }
    }
}
