//! Calls to the key store: what is sent, and what an answer means.
//!
//! An answer counts only with the store's marker on it and a body that parses
//! whole; all else (a proxy's 502, 503 or 504, a reset in mid-body, garbage)
//! says nothing, and nothing is not a no (I7).

use rekey_protocol::{
    CreatedAt, Digest, ErrorBody, ErrorCode, FEED_PATH, FeedRequest, FeedResponse, Head,
    RESOLVE_PATH, ROTATE_PATH, ROTATE_PATIENCE_MOST_MS, Replayed, ResolveRequest, ResolveResponse,
    ResolvedState, RotateRequest, RotateResponse, RotationInterval, UserId,
};

/// How long a rotate call may take, in milliseconds: the store may hold its
/// answer for the longest lease of any gateway, with margin (docs/protocol.md).
pub(crate) const ROTATE_TIMEOUT_MS: u32 = ROTATE_PATIENCE_MOST_MS;

/// How long a rotation is worth beginning whose call ends after `timeout_ms`. An
/// eighth is left for its answer: what begins in the last moment would end the
/// old key, and its new one would reach nobody.
pub(crate) fn patience_ms(timeout_ms: u32) -> u32 {
    timeout_ms - timeout_ms / 8
}

/// How long past its timeout the host's word on a call is waited for, in
/// milliseconds. The host reports every call; if it ever does not, nobody must
/// wait for ever.
const LOST_AFTER_MS: u64 = 1_000;

/// When a call that is sent now counts as lost, if there is no word of it.
pub(crate) fn lost_at(now: u64, timeout_ms: u32) -> u64 {
    now + u64::from(timeout_ms) + LOST_AFTER_MS
}

/// Names a call between the engine and the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A `POST` with a JSON body to the store. The adapter adds the
/// `:authority`, the content type and the gateway's token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreRequest {
    /// The gateway's cluster that it goes to.
    pub cluster: String,
    /// The `:path` pseudo-header.
    pub path: &'static str,
    /// A JSON text.
    pub body: Vec<u8>,
    /// How long the host waits for the answer, in milliseconds.
    pub timeout_ms: u32,
    /// Whether the gateway may send it again by itself when a connection that
    /// was kept alive turns out to be dead.
    pub idempotent: bool,
}

/// What came back for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallOutcome<'a> {
    /// The gateway refused to send it (unknown cluster, no host, breaker open).
    NotSent,
    /// It may have left, and no answer came back whole.
    Lost,
    /// An answer, though perhaps a proxy's own.
    Answer {
        /// The `:status` pseudo-header; 0 if it cannot be read.
        status: u16,
        /// Whether it carries the store's marker.
        marked: bool,
        /// The body, as far as it came.
        body: &'a [u8],
    },
}

/// Why a call came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// The gateway did not send it.
    NotSent,
    /// No answer of the store's own came back.
    NoAnswer,
    /// The store's answer does not parse.
    Unreadable,
    /// The store refuses the gateway's token.
    Unauthorized,
    /// The store itself answered with an error.
    Refused(ErrorCode),
}

impl StoreFault {
    /// Whether it is certain that this call changed nothing (X1).
    pub fn nothing_changed(self) -> bool {
        match self {
            Self::NotSent | Self::Unauthorized => true,
            Self::NoAnswer | Self::Unreadable => false,
            Self::Refused(code) => code.nothing_changed(),
        }
    }

    /// For the operator's log.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotSent => {
                "the gateway has no healthy host for it or its circuit breaker is open"
            }
            Self::NoAnswer => "no answer (refused, reset, timed out, or a proxy answered instead)",
            Self::Unreadable => "the answer does not parse; is it a key store of this version?",
            Self::Unauthorized => {
                "it refuses the token: REKEY_STORE_TOKEN differs from the store's"
            }
            Self::Refused(_) => "it answered with an error; its own log says why",
        }
    }
}

/// What the store says of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResolveOutcome {
    /// The key is accepted.
    Active {
        /// The user that the key belongs to.
        user: UserId,
        /// Whole seconds until the user may rotate.
        rotation_allowed_in: u64,
        /// How long the user waits between two rotations.
        rotation_interval: RotationInterval,
        /// Where the store's history stood in the snapshot of the answer (S1).
        head: Head,
    },
    /// The key was replaced or revoked.
    Revoked {
        /// The revision that revoked it.
        revision: u64,
        /// Whether its rotation may still be answered again (X5).
        replayable: bool,
        /// As for an active one.
        head: Head,
    },
    /// The store never issued or imported the key.
    Unknown {
        /// As for an active one, if the store tells it.
        head: Option<Head>,
    },
}

/// What the store says of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RotateOutcome {
    /// The new key is active.
    Rotated {
        /// When the new key was made.
        created_at: CreatedAt,
        /// The revision of the change.
        revision: u64,
        /// The digest that is active now.
        new_digest: Digest,
    },
    /// The old key had been replaced or revoked before.
    Revoked {
        /// The revision that revoked it.
        revision: u64,
        /// Whether its rotation may still be answered again (X5).
        replayable: bool,
        /// That rotation, for this client (X3).
        replayed: Option<Box<Replayed>>,
    },
    /// The user rotated less than an interval ago.
    RateLimited {
        /// Whole seconds, at least 1.
        retry_after: u64,
        /// How long the user waits between two rotations.
        interval: RotationInterval,
    },
    /// The old key was never issued.
    Unknown,
}

/// The call that asks whose key this is.
pub(crate) fn resolve(cluster: &str, digest: Digest, timeout_ms: u32) -> StoreRequest {
    let body = serde_json::to_vec(&ResolveRequest { digest }).unwrap_or_default();
    StoreRequest {
        cluster: cluster.to_owned(),
        path: RESOLVE_PATH,
        body,
        timeout_ms,
        idempotent: true,
    }
}

/// The call that replaces a key.
pub(crate) fn rotate(cluster: &str, request: &RotateRequest, timeout_ms: u32) -> StoreRequest {
    let body = serde_json::to_vec(request).unwrap_or_default();
    // Not repeated by the gateway: each attempt has its number (S11).
    StoreRequest {
        cluster: cluster.to_owned(),
        path: ROTATE_PATH,
        body,
        timeout_ms,
        idempotent: false,
    }
}

/// The call that asks what was revoked since.
pub(crate) fn feed(cluster: &str, request: &FeedRequest, timeout_ms: u32) -> StoreRequest {
    let body = serde_json::to_vec(request).unwrap_or_default();
    // Repeating is the feeder's: the lease runs from when *it* sent (G1).
    StoreRequest {
        cluster: cluster.to_owned(),
        path: FEED_PATH,
        body,
        timeout_ms,
        idempotent: false,
    }
}

/// What the answer to [`feed`] means.
pub fn read_feed(outcome: CallOutcome<'_>) -> Result<FeedResponse, StoreFault> {
    let Body::Whole(body) = read(outcome)? else {
        return Err(StoreFault::Unreadable);
    };
    serde_json::from_slice(body).map_err(|_| StoreFault::Unreadable)
}

/// What the answer to [`resolve`] means.
pub fn read_resolved(outcome: CallOutcome<'_>) -> Result<ResolveOutcome, StoreFault> {
    let body = match read(outcome)? {
        Body::Whole(body) => body,
        Body::UnknownKey(head) => return Ok(ResolveOutcome::Unknown { head }),
    };
    let answer: ResolveResponse =
        serde_json::from_slice(body).map_err(|_| StoreFault::Unreadable)?;
    Ok(match answer.state {
        ResolvedState::Active => ResolveOutcome::Active {
            user: answer.user,
            rotation_allowed_in: answer.rotation_allowed_in,
            rotation_interval: answer.rotation_interval,
            head: answer.head,
        },
        ResolvedState::Revoked => ResolveOutcome::Revoked {
            revision: answer.revision,
            replayable: answer.replayable,
            head: answer.head,
        },
    })
}

/// What the answer to [`rotate`] means.
pub fn read_decided(outcome: CallOutcome<'_>) -> Result<RotateOutcome, StoreFault> {
    let Body::Whole(body) = read(outcome)? else {
        return Ok(RotateOutcome::Unknown);
    };
    let answer: RotateResponse =
        serde_json::from_slice(body).map_err(|_| StoreFault::Unreadable)?;
    Ok(match answer {
        RotateResponse::Rotated {
            created_at,
            revision,
            new_digest,
            user: _,
        } => RotateOutcome::Rotated {
            created_at,
            revision,
            new_digest,
        },
        RotateResponse::Revoked {
            revision,
            replayable,
            replayed,
        } => RotateOutcome::Revoked {
            revision,
            replayable,
            replayed,
        },
        RotateResponse::RateLimited {
            retry_after,
            rotation_interval,
        } => RotateOutcome::RateLimited {
            retry_after: retry_after.clamp(1, 3600),
            interval: rotation_interval,
        },
    })
}

/// What an answer of the store's own has in it.
enum Body<'a> {
    /// That of its 200.
    Whole(&'a [u8]),
    /// It does not know the key, and this is where its history stood.
    UnknownKey(Option<Head>),
}

fn read(outcome: CallOutcome<'_>) -> Result<Body<'_>, StoreFault> {
    let (status, body) = match outcome {
        CallOutcome::NotSent => return Err(StoreFault::NotSent),
        CallOutcome::Lost | CallOutcome::Answer { marked: false, .. } => {
            return Err(StoreFault::NoAnswer);
        }
        CallOutcome::Answer {
            status,
            marked: true,
            body,
        } => (status, body),
    };
    if status == 200 {
        return Ok(Body::Whole(body));
    }
    let error: ErrorBody = serde_json::from_slice(body).map_err(|_| StoreFault::Unreadable)?;
    match (status, error.error.code) {
        (404, ErrorCode::UnknownKey) => Ok(Body::UnknownKey(error.head)),
        (401, ErrorCode::Unauthorized) => Err(StoreFault::Unauthorized),
        // A status that belies its code is not vouched for.
        (400..=499 | 503, code) => Err(StoreFault::Refused(code)),
        _ => Err(StoreFault::Refused(ErrorCode::Internal)),
    }
}

#[cfg(test)]
mod tests;
