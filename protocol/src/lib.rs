//! What the filter, the key store and the tools agree on: the format of an API
//! key, its digest, what the documented API says to clients ([`contract`]), and
//! the messages of the key store's HTTP API.
//!
//! Knows no transport, no database and no gateway. Everything here is either a
//! value that is checked when it is made, or a message made of such values, so
//! that what has been parsed need not be checked again.

mod api;
pub mod contract;
mod created_at;
mod digest;
mod interval;
mod key;
mod lease;
mod user;

pub use api::{
    AcceptedSecrets, BadToken, Client, ErrorBody, ErrorCode, ErrorDetail, FEED_PATH, FeedRequest,
    FeedResponse, GatewayId, Head, Incarnation, KeyUse, MARKER_HEADER, MARKER_VALUE, REFUSED_MOST,
    REPLAY_WINDOW_MS, RESOLVE_PATH, ROTATE_PATH, ROTATE_PATIENCE_MOST_MS, RefusedUse, Replay,
    ReplayProof, Replayed, ResolveRequest, ResolveResponse, ResolvedState, Revocation,
    RotateRequest, RotateResponse, RotationId, SEAL_SALT_LEN, SEAL_TAG_LEN, SEALED_KEY_LEN,
    SECRETS_MOST, STORE_TOKEN_MIN_LEN, SealedKey, SecretPrint, SecretsAdvice, TokenText, USED_MOST,
};
pub use created_at::{CreatedAt, InvalidCreatedAt};
pub use digest::Digest;
pub use interval::RotationInterval;
pub use key::{
    ApiKey, ChecksumSecrets, HINT_LEN, KEY_BITS, KEY_LEN, KEY_PREFIX, MalformedKey, RANDOM_BYTES,
    SECRET_MIN_LEN, SecretsError, begins_as_a_key, masked, may_hold_a_key,
};
pub use lease::{LEASE_CAP_MS, LEASE_LEAST_MS, lease_margin_ms, poll_hold_ms};
pub use user::{InvalidUserId, UserId};
