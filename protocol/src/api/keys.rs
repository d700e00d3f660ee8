//! Messages about one key: whose is it, and replace it by another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::{ErrorCode, RESOLVE_PATH, ROTATE_PATH};
use super::{Head, ReplayProof, RotationId, SealedKey};
use crate::{CreatedAt, Digest, RotationInterval, UserId};
use crate::{LEASE_CAP_MS, lease_margin_ms};

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

/// 200 of [`RESOLVE_PATH`]; an unknown key is 404 [`ErrorCode::UnknownKey`].
/// All of it is read from one snapshot (S1).
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
    /// Whole seconds between two rotations of a user, for the refusal's text; an
    /// hour, if a store of an earlier version does not say it.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub rotation_interval: RotationInterval,
    /// Of a revoked key: whether the rotation that replaced it may still be
    /// answered again to a client that has its `Idempotency-Key` (X5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayable: bool,
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
    /// (S11): the lost first attempt must not commit afterwards.
    pub attempt: u32,
    /// The key that was presented.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub old_digest: Digest,
    /// The key that replaces it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub new_digest: Digest,
    /// The new key's last 4 characters, for people.
    pub hint: String,
    /// What lets the client repeat the request, if it bore an
    /// `Idempotency-Key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<Box<Replay>>,
    /// The client, for the audit log.
    #[serde(default)]
    pub client: Client,
    /// How long this attempt is worth beginning, in milliseconds from its arrival:
    /// its asker waits little longer. See [`Self::patience`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience_ms: Option<u32>,
}

/// The longest that an attempt at a rotation is waited for, in milliseconds: the
/// store may hold its answer for the longest lease of any gateway, with margin.
pub const ROTATE_PATIENCE_MOST_MS: u32 = LEASE_CAP_MS + lease_margin_ms(LEASE_CAP_MS) + 2_000;

impl RotateRequest {
    /// How long this attempt is worth beginning, counted from its arrival. Bounded,
    /// also for gateways of an earlier version, which do not say it.
    pub fn patience(&self) -> Duration {
        let most = ROTATE_PATIENCE_MOST_MS;
        let patience = self.patience_ms.map_or(most, |patience| patience.min(most));
        Duration::from_millis(patience.into())
    }
}

/// For how long after a rotation its answer may be repeated, in milliseconds
/// (X4).
pub const REPLAY_WINDOW_MS: u32 = 600_000;

/// Of a rotation with an `Idempotency-Key`: both are made of the old key's
/// plaintext and the `Idempotency-Key`, which only the client has (X2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Replay {
    /// The same for the same pair: by it the store knows whether to hand out a
    /// record, and counts who guesses.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub proof: ReplayProof,
    /// The new key, sealed: kept with this rotation if it is made.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sealed: SealedKey,
}

/// A rotation that is answered again: always the winner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Replayed {
    /// Under which it was made.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub rotation_id: RotationId,
    /// The key that it made.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub new_digest: Digest,
    /// When, in whole seconds.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub created_at: CreatedAt,
    /// The new key, as the gateway that made it had sealed it.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sealed: SealedKey,
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
        /// Whether a request with the right `Idempotency-Key` would be answered
        /// otherwise (X5).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replayable: bool,
        /// The rotation that replaced it, for this request proved to be its
        /// client's own (X3).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replayed: Option<Box<Replayed>>,
    },
    /// The user rotated less than an interval ago.
    RateLimited {
        /// Whole seconds, rounded up, from 1 to 3600 (S12).
        retry_after: u64,
        /// Whole seconds between two rotations, as in [`ResolveResponse`].
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = u64))]
        rotation_interval: RotationInterval,
    },
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorBody, ErrorCode, SEALED_KEY_LEN};

    #[test]
    fn messages_have_the_documented_form() {
        let rotate = RotateRequest {
            rotation_id: RotationId([0xab; 16]),
            attempt: 1,
            old_digest: Digest::from_bytes([1; 32]),
            new_digest: Digest::from_bytes([2; 32]),
            hint: "wxyz".into(),
            replay: Some(Box::new(Replay {
                proof: ReplayProof([3; 32]),
                sealed: SealedKey([4; SEALED_KEY_LEN]),
            })),
            client: Client {
                address: Some("192.0.2.1:5".into()),
                request_id: None,
            },
            patience_ms: Some(900),
        };
        let text = serde_json::to_string(&rotate).unwrap();
        assert_eq!(
            text,
            format!(
                r#"{{"rotation_id":"{}","attempt":1,"old_digest":"{}","new_digest":"{}","hint":"wxyz","replay":{{"proof":"{}","sealed":"{}"}},"client":{{"address":"192.0.2.1:5"}},"patience_ms":900}}"#,
                "ab".repeat(16),
                "01".repeat(32),
                "02".repeat(32),
                "03".repeat(32),
                "04".repeat(SEALED_KEY_LEN)
            )
        );
        assert_eq!(
            serde_json::from_str::<RotateRequest>(&text).unwrap(),
            rotate
        );
        let limited = RotateResponse::RateLimited {
            retry_after: 9,
            rotation_interval: 600.into(),
        };
        assert_eq!(
            serde_json::to_string(&limited).unwrap(),
            r#"{"outcome":"rate_limited","retry_after":9,"rotation_interval":600}"#
        );
    }

    #[test]
    fn patience_is_bounded_whatever_a_gateway_says() {
        let request = |patience: &str| {
            let digests = ["01".repeat(32), "02".repeat(32)];
            let text = format!(
                r#"{{"rotation_id":"{}","attempt":1,"old_digest":"{}","new_digest":"{}","hint":"wxyz"{patience}}}"#,
                "ab".repeat(16),
                digests[0],
                digests[1],
            );
            let request: RotateRequest = serde_json::from_str(&text).unwrap();
            request.patience().as_millis()
        };
        assert_eq!(request(r#","patience_ms":900"#), 900);
        assert_eq!(request(r#","patience_ms":0"#), 0);
        // One of an earlier version, and one that would wait for ever.
        let most = u128::from(ROTATE_PATIENCE_MOST_MS);
        assert_eq!(request(""), most);
        assert_eq!(request(r#","patience_ms":4294967295"#), most);
    }

    #[test]
    fn requests_refuse_unknown_fields_and_answers_ignore_them() {
        let digest = "00".repeat(32);
        let request = format!(r#"{{"digest":"{digest}","x":1}}"#);
        assert!(serde_json::from_str::<ResolveRequest>(&request).is_err());
        let answer = r#"{"outcome":"revoked","revision":4,"later":true}"#;
        assert_eq!(
            serde_json::from_str::<RotateResponse>(answer).unwrap(),
            RotateResponse::Revoked {
                revision: 4,
                replayable: false,
                replayed: None,
            }
        );
        let of_before = r#"{"outcome":"rate_limited","retry_after":9}"#;
        assert_eq!(
            serde_json::from_str::<RotateResponse>(of_before).unwrap(),
            RotateResponse::RateLimited {
                retry_after: 9,
                rotation_interval: RotationInterval::HOUR,
            }
        );
        let error = r#"{"error":{"code":"from_the_future","message":"m"}}"#;
        let error: ErrorBody = serde_json::from_str(error).unwrap();
        assert_eq!(error.error.code, ErrorCode::Unknown);
        assert!(!error.error.code.nothing_changed());
    }
}
