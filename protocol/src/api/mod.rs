//! The messages of the key store's HTTP API that a gateway sends and reads
//! (docs/reference.md). JSON; unknown fields of an answer are ignored, so that
//! a newer store may add some; unknown fields of a request are refused.

mod feed;
mod keys;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use feed::*;
pub use keys::*;

use crate::KEY_LEN;

/// Header that every answer of the store itself carries. An answer without it
/// is a proxy's own, whatever its status, and says nothing about the key.
pub const MARKER_HEADER: &str = "rekey-store";
/// Its value: the version of this API.
pub const MARKER_VALUE: &str = "1";
/// `POST`: who is behind this digest?
pub const RESOLVE_PATH: &str = "/v1/keys/resolve";
/// `POST`: replace this key by that one.
pub const ROTATE_PATH: &str = "/v1/keys/rotate";
/// `POST`: what was revoked since? A long poll.
pub const FEED_PATH: &str = "/v1/feed";
/// The shortest bearer token (gateway's or admin's) that is accepted, in bytes.
pub const STORE_TOKEN_MIN_LEN: usize = 16;

/// A bearer token is too short or has characters that a header cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is at least {STORE_TOKEN_MIN_LEN} visible ASCII characters")]
pub struct BadToken;

/// The text of a bearer token (gateway's or admin's) that a header can carry.
#[derive(Clone, Copy)]
pub struct TokenText<'a>(&'a str);

impl<'a> TokenText<'a> {
    /// Checks a text from the environment.
    pub fn parse(text: &'a str) -> Result<Self, BadToken> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        let is_good = text.len() >= STORE_TOKEN_MIN_LEN && is_visible;
        is_good.then_some(Self(text)).ok_or(BadToken)
    }

    /// What a header carries after `Bearer `.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

/// Bytes of salt before the key in a [`SealedKey`].
pub const SEAL_SALT_LEN: usize = 32;
/// Bytes of the authentication tag behind the key in a [`SealedKey`]
/// (ChaCha20-Poly1305, RFC 8439).
pub const SEAL_TAG_LEN: usize = 16;
/// Bytes of a [`SealedKey`]; they follow the length of a key.
pub const SEALED_KEY_LEN: usize = SEAL_SALT_LEN + KEY_LEN + SEAL_TAG_LEN;

/// A point in the store's history (S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Head {
    /// Which incarnation of the store counts it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub incarnation: Incarnation,
    /// The store's counter of changes.
    pub revision: u64,
}

/// Bytes that are written as hexadecimal digits.
macro_rules! hex_bytes {
    ($(#[$doc:meta])+ $name:ident, $length:expr, $what:literal) => {
        $(#[$doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub [u8; $length]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex::encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                let mut bytes = [0; $length];
                hex::decode_to_slice(text.as_bytes(), &mut bytes).map_err(|_| {
                    let digits = 2 * $length;
                    let problem = format_args!("{} is {digits} hexadecimal digits", $what);
                    serde::de::Error::custom(problem)
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

hex_bytes! {
    /// Shows that a request is of the client of a rotation, to a store that has kept
    /// the same proof: 256 bits that only the old key and the `Idempotency-Key`
    /// together give (X2).
    ReplayProof, 32, "a replay's proof"
}

hex_bytes! {
    /// A new key, sealed for the client that has the old key and the
    /// `Idempotency-Key`: the salt, then the encrypted key, then the tag that
    /// authenticates it (X2).
    SealedKey, SEALED_KEY_LEN, "a sealed key"
}

hex_bytes! {
    /// Stands for one of the checksum's secrets where settings are compared: a
    /// one-way value of it ([`ChecksumSecrets::prints`](crate::ChecksumSecrets::prints)).
    SecretPrint, 8, "a secret's print"
}

hex_bytes! {
    /// Names one rotation over all its attempts. 128 random bits.
    RotationId, 16, "a rotation id"
}

hex_bytes! {
    /// Names one life of the store's history (S8). 128 random bits.
    Incarnation, 16, "an incarnation"
}

hex_bytes! {
    /// Names one gateway, a process with one configuration, to the store. 128 random bits.
    GatewayId, 16, "a gateway id"
}

/// What went wrong, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ErrorCode {
    /// 401: no bearer token, or a wrong one.
    Unauthorized,
    /// 400: the request does not parse; the message says where.
    BadRequest,
    /// 404: no such path.
    NotFound,
    /// 405: the path exists, the method does not.
    MethodNotAllowed,
    /// 413: the body is over the limit.
    PayloadTooLarge,
    /// 404: the store never issued or imported this key.
    UnknownKey,
    /// 409: this rotation id was used with other digests.
    RotationConflict,
    /// 409: the user, e-mail address or key exists already.
    AlreadyExists,
    /// 404: no such user.
    UnknownUser,
    /// 503: the store could not start on the request; nothing was changed.
    Unavailable,
    /// 500: a fault in the store; whether anything was changed is not known.
    Internal,
    /// A code of a newer store.
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    /// Whether the store vouches that this request changed nothing
    /// (X1). It says so of this attempt only, not of earlier ones.
    pub fn nothing_changed(self) -> bool {
        !matches!(self, Self::Internal | Self::Unknown)
    }
}

/// The one shape of every error of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// What went wrong.
    pub error: ErrorDetail,
    /// With [`ErrorCode::UnknownKey`] of [`RESOLVE_PATH`]: where the store's history
    /// stood when it did not know the key, from the same snapshot (S1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
}

/// What went wrong, inside of an [`ErrorBody`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDetail {
    /// For programs.
    pub code: ErrorCode,
    /// For people. Never holds a key or a token.
    pub message: String,
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked() {
        assert!(TokenText::parse("0123456789abcdef").is_ok());
        assert!(TokenText::parse("short").is_err());
        assert!(TokenText::parse("0123456789 abcdef").is_err());
    }
}
