//! The messages of the key store's HTTP API that a gateway sends and reads
//! (DESIGN section 6). JSON; unknown fields of an answer are ignored, so that
//! a newer store may add some; unknown fields of a request are refused.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{CreatedAt, Digest, UserId};

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

impl BadToken {
    /// Checks a bearer token from the environment.
    pub fn check(token: &str) -> Result<(), Self> {
        let visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        if token.len() >= STORE_TOKEN_MIN_LEN && visible {
            Ok(())
        } else {
            Err(Self)
        }
    }
}

/// Body of [`RESOLVE_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolveRequest {
    /// SHA-256 of the key, 64 hexadecimal digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
}

/// Whether a known key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ResolvedState {
    /// The key of its user.
    Active,
    /// Replaced or revoked; never active again.
    Revoked,
}

/// A point in the store's history (PROTOCOL S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Head {
    /// This life of the store.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub incarnation: Incarnation,
    /// The store's counter of changes.
    pub revision: u64,
}

/// 200 of [`RESOLVE_PATH`]; an unknown key is 404 [`ErrorCode::UnknownKey`].
/// All of it is read from one snapshot (PROTOCOL S1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ResolveResponse {
    /// Whether the key is accepted.
    pub state: ResolvedState,
    /// Whose key it is or was.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub user: UserId,
    /// The revision that last changed this key.
    pub revision: u64,
    /// Where the store's history stood when this was read.
    pub head: Head,
    /// Whole seconds, rounded up, until the user may rotate; 0: at once.
    pub rotation_allowed_in: u64,
}

macro_rules! random_id {
    ($(#[$doc:meta])+ $name:ident, $what:literal) => {
        $(#[$doc])+
        ///
        /// 128 random bits, written as 32 hexadecimal digits.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $name(pub [u8; 16]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&hex::encode(self.0))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                let mut bytes = [0; 16];
                hex::decode_to_slice(text.as_bytes(), &mut bytes)
                    .map_err(|_| serde::de::Error::custom(concat!($what, " is 32 hexadecimal digits")))?;
                Ok(Self(bytes))
            }
        }
    };
}

random_id! {
    /// Names one rotation over all its attempts.
    RotationId, "a rotation id"
}

random_id! {
    /// Names one life of the store's history (PROTOCOL S8).
    Incarnation, "an incarnation"
}

random_id! {
    /// Names one gateway, a process with one configuration, to the store.
    GatewayId, "a gateway id"
}

/// Who asked, for the audit log. Texts of the network: bounded and stripped of
/// control characters by the store, never trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Client {
    /// Address and port of the client as the gateway saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The gateway's `x-request-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// Body of [`ROTATE_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RotateRequest {
    /// The same for all attempts of one rotation.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub rotation_id: RotationId,
    /// 1 for the first attempt. A refusal of a later one burns the id
    /// (PROTOCOL S11): the lost first attempt must not commit afterwards.
    pub attempt: u32,
    /// The key that was presented.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub old_digest: Digest,
    /// The key that replaces it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub new_digest: Digest,
    /// The new key's last 4 characters, for people.
    pub hint: String,
    /// Who asked.
    #[serde(default)]
    pub client: Client,
}

/// 200 of [`ROTATE_PATH`]: the rotation was decided. An unknown old key is 404
/// [`ErrorCode::UnknownKey`]; the same id with other digests is 409
/// [`ErrorCode::RotationConflict`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum RotateResponse {
    /// The new key is active, the old one revoked: now, or by an earlier
    /// attempt with this id.
    Rotated {
        /// When, in whole seconds.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        created_at: CreatedAt,
        /// The revision of this change.
        revision: u64,
        /// The digest that is active; the gateway compares it with its own.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        new_digest: Digest,
        /// Whose key it is.
        #[cfg_attr(feature = "openapi", schema(value_type = String))]
        user: UserId,
    },
    /// The old key had been replaced or revoked before.
    Revoked {
        /// The revision that revoked it.
        revision: u64,
    },
    /// The user rotated less than an interval ago.
    RateLimited {
        /// Whole seconds, rounded up, from 1 to 3600 (PROTOCOL S12).
        retry_after: u64,
    },
}

/// The longest lease that is granted, in milliseconds (DESIGN section 7).
pub const LEASE_CAP_MS: u32 = 30_000;
/// The shortest lease that may be asked for, in milliseconds.
pub const LEASE_LEAST_MS: u32 = 100;

/// How much longer than the lease the store waits before it believes that a
/// gateway has stopped trusting, in milliseconds: the bound on the drift of two
/// clocks' rates (1 %), and a floor for short leases.
pub const fn lease_margin_ms(lease_ms: u32) -> u32 {
    lease_ms / 100 + 50
}

/// How long the store may hold a poll that has nothing to tell, in
/// milliseconds: an eighth of the lease.
///
/// A lease counts from the sending of its poll (G1), so one poll that is lost
/// has cost, by the time the next one is answered: the hold of the poll that
/// the lease in hand is from, the time until the lost one is given up, and the
/// hold of the one after it, with the network and a back-off besides. Who gives
/// a poll up after twice the hold (with [`lease_margin_ms`]) has then used half
/// of the lease. With a quarter it would be all of it: each lost poll would
/// cost the lease.
pub const fn poll_hold_ms(lease_ms: u32) -> u32 {
    lease_ms / 8
}

/// Body of [`FEED_PATH`]: a long poll. It registers the gateway; asking with a
/// cursor acknowledges everything up to it (PROTOCOL S3, S6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedRequest {
    /// Who asks.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub gateway: GatewayId,
    /// Up to where it has applied everything; none at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Head>,
    /// The lease it wants, in milliseconds, from 100 to 30000.
    pub lease_ms: u32,
    /// Comes back in the answer, so that no other answer is taken for it.
    pub poll: u64,
    /// Uses of revoked keys since the last poll, bounded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedUse>,
}

/// How often a revoked key was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusedUse {
    /// The revoked key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// How often.
    pub count: u32,
}

/// 200 of [`FEED_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedResponse {
    /// The request's number.
    pub poll: u64,
    /// Keys revoked after the request's cursor, oldest first.
    pub changes: Vec<Change>,
    /// To ask with next, once `changes` are applied.
    pub cursor: Head,
    /// The lease granted, in milliseconds; 0: none. It runs from the moment at
    /// which the gateway sent the request (PROTOCOL G1, S4, S6).
    pub granted_ms: u32,
    /// The request's cursor cannot be served (PROTOCOL S8): forget everything
    /// and begin a new generation at `cursor`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
}

/// One revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    /// The key that died.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// The revision of the change.
    pub revision: u64,
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
    /// (PROTOCOL X1). It says so of this attempt only, not of earlier ones.
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
}

/// Inside of [`ErrorBody`].
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
    fn messages_have_the_documented_form() {
        let rotate = RotateRequest {
            rotation_id: RotationId([0xab; 16]),
            attempt: 1,
            old_digest: Digest::from_bytes([1; 32]),
            new_digest: Digest::from_bytes([2; 32]),
            hint: "wxyz".into(),
            client: Client {
                address: Some("192.0.2.1:5".into()),
                request_id: None,
            },
        };
        let text = serde_json::to_string(&rotate).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"rotation_id":"{}","attempt":1,"old_digest":"{}","new_digest":"{}","hint":"wxyz","client":{{"address":"192.0.2.1:5"}}}}"#,
                "ab".repeat(16),
                "01".repeat(32),
                "02".repeat(32)
            )
        );
        assert_eq!(
            serde_json::from_str::<RotateRequest>(&text).unwrap(),
            rotate
        );
        let limited = RotateResponse::RateLimited { retry_after: 9 };
        assert_eq!(
            serde_json::to_string(&limited).unwrap(),
            r#"{"outcome":"rate_limited","retry_after":9}"#
        );
    }

    #[test]
    fn the_feed_has_the_documented_form() {
        let request = FeedRequest {
            gateway: GatewayId([1; 16]),
            cursor: None,
            lease_ms: 3000,
            poll: 7,
            refused: vec![],
        };
        let gateway = "01".repeat(16);
        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            format!(r#"{{"gateway":"{gateway}","lease_ms":3000,"poll":7}}"#)
        );
        let answer = format!(
            r#"{{"poll":7,"changes":[{{"digest":"{}","revision":8}}],
            "cursor":{{"incarnation":"{gateway}","revision":8}},"granted_ms":3000}}"#,
            "02".repeat(32)
        );
        let answer: FeedResponse = serde_json::from_str(&answer).unwrap();
        assert_eq!((answer.changes[0].revision, answer.reset), (8, false));
    }

    #[test]
    fn requests_refuse_unknown_fields_and_answers_ignore_them() {
        let digest = "00".repeat(32);
        let request = format!(r#"{{"digest":"{digest}","x":1}}"#);
        assert!(serde_json::from_str::<ResolveRequest>(&request).is_err());
        let answer = r#"{"outcome":"revoked","revision":4,"later":true}"#;
        assert_eq!(
            serde_json::from_str::<RotateResponse>(answer).unwrap(),
            RotateResponse::Revoked { revision: 4 }
        );
        let error = r#"{"error":{"code":"from_the_future","message":"m"}}"#;
        let error: ErrorBody = serde_json::from_str(error).unwrap();
        assert_eq!(error.error.code, ErrorCode::Unknown);
        assert!(!error.error.code.nothing_changed());
    }

    #[test]
    fn tokens_are_checked() {
        assert!(BadToken::check("0123456789abcdef").is_ok());
        assert!(BadToken::check("short").is_err());
        assert!(BadToken::check("0123456789 abcdef").is_err());
    }
}
