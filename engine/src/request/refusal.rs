//! The refusals of the contract: the table of status, code, reason in the access
//! log, metric, header and message. To add a refusal, add a variant, its row and its
//! counter.

use std::borrow::Cow;

use rekey_protocol::RotationInterval;
use rekey_protocol::contract::rate_limited;

use crate::host::metrics::Counter;
use crate::request::credentials::BadIdempotencyKey;
use crate::request::presented::Presented;

/// Why a request did not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ApiRefusal {
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

/// A row of the table below: all that there is to know of a refusal.
pub struct RefusalRow {
    pub status: u16,
    pub code: &'static str,
    /// The reason in the access log (`%RESPONSE_CODE_DETAILS%`).
    pub details: &'static str,
    pub counter: Counter,
    /// The `error.message`. Holds nothing that the client sent.
    pub message: Cow<'static, str>,
    /// What the headers say besides.
    pub header: Header,
}

/// The header that goes with a refusal.
pub enum Header {
    Plain,
    /// `WWW-Authenticate` without an error: RFC 6750, 3, wants no error code for a
    /// request without credentials.
    Challenge,
    /// `WWW-Authenticate` with the error `invalid_token` and the message.
    InvalidToken,
    /// `Allow`, with the one method.
    Allow(&'static str),
    /// `Retry-After`, in seconds.
    RetryAfter(u64),
    /// `Retry-After`, in seconds, and `error.retry_after`, as documented.
    RetryAfterInBody(u64),
}

/// The gateway's reason in the access log is the code under the filter's name.
macro_rules! row {
    ($status:literal, $code:literal, $counter:ident, $header:expr, $message:expr $(,)?) => {
        RefusalRow {
            status: $status,
            code: $code,
            details: concat!("rekey_", $code),
            counter: Counter::$counter,
            header: $header,
            message: $message.into(),
        }
    };
}

impl ApiRefusal {
    /// The table of refusals: status, code, metric, header, message.
    #[rustfmt::skip]
    pub fn row(self) -> RefusalRow {
        match self {
            Self::MissingApiKey(presented) => row!(
                401, "missing_api_key", MissingApiKey, Header::Challenge,
                missing(presented),
            ),
            Self::InvalidApiKey => row!(
                401, "invalid_api_key", InvalidApiKey, Header::InvalidToken,
                "This API key is not valid.",
            ),
            Self::ApiKeyRevoked => row!(
                401, "api_key_revoked", ApiKeyRevoked, Header::InvalidToken,
                "This API key was replaced or revoked. Use your current API key.",
            ),
            Self::MethodNotAllowed => row!(
                405, "method_not_allowed", MethodNotAllowed, Header::Allow("POST"),
                "Only POST is allowed here.",
            ),
            Self::InvalidIdempotencyKey(bad) => row!(
                400, "invalid_idempotency_key", InvalidIdempotencyKey, Header::Plain,
                bad.message(),
            ),
            Self::InvalidConnectionHeader => row!(
                400, "invalid_connection_header", InvalidConnectionHeader, Header::Plain,
                "The Connection header may name only Upgrade, Keep-Alive, Close, TE and \
                 HTTP2-Settings. Send other headers without naming them there.",
            ),
            Self::RateLimited { retry_after, interval } => row!(
                429, "rate_limited", RateLimited, Header::RetryAfterInBody(retry_after),
                rate_limited(interval),
            ),
            Self::TooManyOpenRequests => row!(
                429, "too_many_open_requests", TooManyOpenRequests, Header::RetryAfter(1),
                "This API key has too many open requests. Close some of them, or wait, and try \
                 again.",
            ),
            Self::KeyStoreUnavailable => row!(
                503, "key_store_unavailable", KeyStoreUnavailable, Header::RetryAfter(1),
                "The API key could not be checked just now. Nothing was changed. Please try again.",
            ),
            Self::RotationUnconfirmed => row!(
                503, "rotation_unconfirmed", RotationUnconfirmed, Header::Plain,
                "Your API key may have been regenerated, but the outcome is not known. Repeat the \
                 request with the same Idempotency-Key, or use the dashboard.",
            ),
            Self::GatewayBusy => row!(
                503, "gateway_busy", GatewayBusy, Header::RetryAfter(1),
                "Too many requests are open here just now. Nothing was done. Please try again.",
            ),
        }
    }
}

/// Says what came, if anything did, and what is wanted.
fn missing(presented: Presented) -> String {
    let wanted = "Send it as: Authorization: Bearer YOUR_API_KEY";
    match presented.in_words() {
        None => format!("No API key was given. {wanted}"),
        Some(came) => format!("No API key was given. {came} {wanted}"),
    }
}
