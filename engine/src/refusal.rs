//! The refusals of the contract (docs/clients.md), by whose fault they are.
//! Each maps to one answer, one counter and one reason in the access log.

use std::borrow::Cow;

use rekey_protocol::RotationInterval;

use crate::credentials::BadIdempotencyKey;
use crate::presented::Presented;

/// Why a request did not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The client gave no key, or under another scheme than Bearer.
    MissingApiKey(Presented),
    /// The client gave a key that is malformed or that nobody was given.
    InvalidApiKey,
    /// The client holds a key that was replaced or revoked.
    ApiKeyRevoked,
    /// The client used another method than POST on the endpoint.
    MethodNotAllowed,
    /// The client's `Idempotency-Key` cannot be used.
    InvalidIdempotencyKey(BadIdempotencyKey),
    /// The client's `Connection` would take another header off on the way.
    InvalidConnectionHeader,
    /// The user rotated less than an interval ago.
    RateLimited {
        /// Whole seconds until it is allowed, at least 1.
        retry_after: u64,
        /// How often it is allowed.
        interval: RotationInterval,
    },
    /// The key has its share of the requests that can be open.
    TooManyOpenRequests,
    /// The store could not be asked, or did not start on it: nothing happened.
    KeyStoreUnavailable,
    /// The rotate call left and its outcome stayed unknown (X1).
    RotationUnconfirmed,
    /// As many requests are open as can be: nothing happened.
    GatewayBusy,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::MissingApiKey(_) | Self::InvalidApiKey | Self::ApiKeyRevoked => 401,
            Self::MethodNotAllowed => 405,
            Self::InvalidIdempotencyKey(_) | Self::InvalidConnectionHeader => 400,
            Self::RateLimited { .. } | Self::TooManyOpenRequests => 429,
            Self::KeyStoreUnavailable | Self::RotationUnconfirmed | Self::GatewayBusy => 503,
        }
    }

    /// The `error.code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingApiKey(_) => "missing_api_key",
            Self::InvalidApiKey => "invalid_api_key",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidIdempotencyKey(_) => "invalid_idempotency_key",
            Self::InvalidConnectionHeader => "invalid_connection_header",
            Self::RateLimited { .. } => "rate_limited",
            Self::TooManyOpenRequests => "too_many_open_requests",
            Self::KeyStoreUnavailable => "key_store_unavailable",
            Self::RotationUnconfirmed => "rotation_unconfirmed",
            Self::GatewayBusy => "gateway_busy",
        }
    }

    /// The `error.message`. Holds nothing that the client sent.
    pub fn message(self) -> Cow<'static, str> {
        let fixed = match self {
            Self::MissingApiKey(presented) => return missing(presented),
            Self::InvalidApiKey => "This API key is not valid.",
            Self::ApiKeyRevoked => {
                "This API key was replaced or revoked. Use your current API key."
            }
            Self::MethodNotAllowed => "Only POST is allowed here.",
            Self::InvalidIdempotencyKey(bad) => return bad.message().into(),
            Self::InvalidConnectionHeader => {
                "The Connection header may name only Upgrade, Keep-Alive, Close, TE and \
                 HTTP2-Settings. Send other headers without naming them there."
            }
            Self::RateLimited { interval, .. } => return too_early(interval).into(),
            Self::TooManyOpenRequests => {
                "This API key has too many open requests. Close some of them, or wait, and try \
                 again."
            }
            Self::KeyStoreUnavailable => {
                "The API key could not be checked just now. Nothing was changed. Please try again."
            }
            Self::RotationUnconfirmed => {
                "Your API key may have been regenerated, but the outcome is not known. Repeat the \
                 request with the same Idempotency-Key, or use the dashboard."
            }
            Self::GatewayBusy => {
                "Too many requests are open here just now. Nothing was done. Please try again."
            }
        };
        fixed.into()
    }

    /// The reason in the access log (`%RESPONSE_CODE_DETAILS%`).
    pub fn details(self) -> &'static str {
        match self {
            Self::MissingApiKey(_) => "rekey_missing_api_key",
            Self::InvalidApiKey => "rekey_invalid_api_key",
            Self::ApiKeyRevoked => "rekey_api_key_revoked",
            Self::MethodNotAllowed => "rekey_method_not_allowed",
            Self::InvalidIdempotencyKey(_) => "rekey_invalid_idempotency_key",
            Self::InvalidConnectionHeader => "rekey_invalid_connection_header",
            Self::RateLimited { .. } => "rekey_rate_limited",
            Self::TooManyOpenRequests => "rekey_too_many_open_requests",
            Self::KeyStoreUnavailable => "rekey_key_store_unavailable",
            Self::RotationUnconfirmed => "rekey_rotation_unconfirmed",
            Self::GatewayBusy => "rekey_gateway_busy",
        }
    }
}

/// Says what came, if anything did, and what is wanted.
fn missing(presented: Presented) -> Cow<'static, str> {
    let wanted = "Send it as: Authorization: Bearer YOUR_API_KEY";
    match presented.in_words() {
        None => format!("No API key was given. {wanted}").into(),
        Some(came) => format!("No API key was given. {came} {wanted}").into(),
    }
}

/// The documented text where the interval is the documented one.
fn too_early(interval: RotationInterval) -> String {
    let text = interval.too_early();
    match interval {
        RotationInterval::HOUR => text,
        _ => {
            format!("{text} A leaked key can be revoked at any time: Revoke now, in the dashboard.")
        }
    }
}
