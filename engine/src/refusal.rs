//! The refusals of the contract (DESIGN section 3), by whose fault they are.
//! Each maps to one answer, one counter and one reason in the access log.

/// Why a request did not get what it asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The client gave no key, or under another scheme than Bearer.
    MissingApiKey,
    /// The client gave a key that is malformed or that nobody was given.
    InvalidApiKey,
    /// The client holds a key that was replaced or revoked.
    ApiKeyRevoked,
    /// The client used another method than POST on the endpoint.
    MethodNotAllowed,
    /// The client's `Idempotency-Key` cannot be used.
    InvalidIdempotencyKey,
    /// The client's `Connection` would take another header off on the way.
    InvalidConnectionHeader,
    /// The user rotated less than an interval ago.
    RateLimited {
        /// Whole seconds until it is allowed, at least 1.
        retry_after: u64,
    },
    /// The store could not be asked, or did not start on it: nothing happened.
    KeyStoreUnavailable,
    /// The rotate call left and its outcome stayed unknown (PROTOCOL X1).
    RotationUnconfirmed,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::MissingApiKey | Self::InvalidApiKey | Self::ApiKeyRevoked => 401,
            Self::MethodNotAllowed => 405,
            Self::InvalidIdempotencyKey | Self::InvalidConnectionHeader => 400,
            Self::RateLimited { .. } => 429,
            Self::KeyStoreUnavailable | Self::RotationUnconfirmed => 503,
        }
    }

    /// The `error.code`.
    pub fn code(self) -> &'static str {
        match self {
            Self::MissingApiKey => "missing_api_key",
            Self::InvalidApiKey => "invalid_api_key",
            Self::ApiKeyRevoked => "api_key_revoked",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidIdempotencyKey => "invalid_idempotency_key",
            Self::InvalidConnectionHeader => "invalid_connection_header",
            Self::RateLimited { .. } => "rate_limited",
            Self::KeyStoreUnavailable => "key_store_unavailable",
            Self::RotationUnconfirmed => "rotation_unconfirmed",
        }
    }

    /// The `error.message`.
    pub fn message(self) -> &'static str {
        match self {
            Self::MissingApiKey => {
                "No API key was given. Send it as: Authorization: Bearer YOUR_API_KEY"
            }
            Self::InvalidApiKey => "This API key is not valid.",
            Self::ApiKeyRevoked => {
                "This API key was replaced or revoked. Use your current API key."
            }
            Self::MethodNotAllowed => "Only POST is allowed here.",
            Self::InvalidIdempotencyKey => {
                "The Idempotency-Key must be 22 to 255 visible ASCII characters that nobody can \
                 guess. A new random UUID serves."
            }
            Self::InvalidConnectionHeader => {
                "The Connection header may name only Upgrade, Keep-Alive, Close, TE and \
                 HTTP2-Settings. Send other headers without naming them there."
            }
            // The spec's own words.
            Self::RateLimited { .. } => {
                "You can only regenerate your API key once per hour. Please try again later."
            }
            Self::KeyStoreUnavailable => {
                "The API key could not be checked just now. Nothing was changed. Please try again."
            }
            Self::RotationUnconfirmed => {
                "Your API key may have been regenerated, but the outcome is not known. Repeat the \
                 request with the same Idempotency-Key, or use the dashboard."
            }
        }
    }

    /// The reason in the access log (`%RESPONSE_CODE_DETAILS%`).
    pub fn details(self) -> &'static str {
        match self {
            Self::MissingApiKey => "rekey_missing_api_key",
            Self::InvalidApiKey => "rekey_invalid_api_key",
            Self::ApiKeyRevoked => "rekey_api_key_revoked",
            Self::MethodNotAllowed => "rekey_method_not_allowed",
            Self::InvalidIdempotencyKey => "rekey_invalid_idempotency_key",
            Self::InvalidConnectionHeader => "rekey_invalid_connection_header",
            Self::RateLimited { .. } => "rekey_rate_limited",
            Self::KeyStoreUnavailable => "rekey_key_store_unavailable",
            Self::RotationUnconfirmed => "rekey_rotation_unconfirmed",
        }
    }
}
