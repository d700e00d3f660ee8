//! Messages of the change feed. What a lease means to both sides is in `lease.rs`.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::FEED_PATH;
use super::{GatewayId, Head, SecretPrint};
use crate::Digest;

/// The most keys that one poll tells uses of: some ten kilobytes.
pub const REFUSED_MOST: usize = 100;
/// The most active keys whose last use one poll tells.
pub const USED_MOST: usize = 100;

/// The most checksum secrets that a gateway tells of.
pub const SECRETS_MOST: usize = 16;

/// Body of [`FEED_PATH`]: a long poll. It registers the gateway; asking with a
/// cursor acknowledges everything up to it (S3, S6).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedRequest {
    /// The gateway that polls.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub gateway: GatewayId,
    /// Up to where it has applied everything; none at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Head>,
    /// The lease it wants, in milliseconds, from 100 to 30000.
    pub lease_ms: u32,
    /// Comes back in the answer, so that no other answer is taken for it.
    pub poll: u64,
    /// Uses of revoked keys that no answered poll has told of yet, of 100 keys at
    /// most. The answer says that they were taken down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub refused: Vec<RefusedUse>,
    /// Last uses of active keys that no answered poll has told of yet: at most as
    /// many as the answer before said in `used_most`, and never more than 100.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(max_items = 100))]
    pub used: Vec<KeyUse>,
    /// Which checksums the gateway accepts. None: as it told before, or it is of a
    /// version that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<AcceptedSecrets>,
}

/// The checksum secrets of a gateway, without the secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AcceptedSecrets {
    /// The print of each, newest first, of 16 at most. The first is the one that
    /// the gateway would make keys with.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, max_items = 16))]
    pub prints: Vec<SecretPrint>,
    /// Whether it accepts keys with any checksum.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any: bool,
}

impl AcceptedSecrets {
    /// Whether keys that were made with this secret are accepted.
    pub fn accept(&self, print: &SecretPrint) -> bool {
        self.any || self.prints.contains(print)
    }
}

/// How often a revoked key was presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RefusedUse {
    /// The revoked key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// How often it was presented.
    pub count: u32,
}

/// When an active key was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyUse {
    /// The key that was used.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// How long ago when the poll was sent, in milliseconds, by a clock that cannot
    /// be set. A time of day would be that of the gateway's clock, which may be
    /// wrong.
    pub age_ms: u32,
}

/// 200 of [`FEED_PATH`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedResponse {
    /// The number of the request that this answers.
    pub poll: u64,
    /// Keys revoked after the request's cursor, oldest first.
    pub changes: Vec<Revocation>,
    /// To ask with next, once `changes` are applied.
    pub cursor: Head,
    /// The lease granted, in milliseconds; 0: none. It runs from the moment at
    /// which the gateway sent the request (G1, S4, S6).
    pub granted_ms: u32,
    /// The request's cursor cannot be served (S8): forget everything
    /// and begin a new generation at `cursor`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reset: bool,
    /// The revision of the last import of keys in this incarnation; 0: there
    /// was none. A key that the store did not know before it may be known after
    /// it. Of all other changes that make a key the store has drawn the key itself,
    /// or a gateway has, so nobody can have asked for it before.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub keys_imported_at: u64,
    /// How many last uses of active keys the next poll may tell. 0, also of a store
    /// that knows nothing of them: none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub used_most: u32,
    /// What the gateway's checksum secrets are good for. None: the store is of a
    /// version that does not compare them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsAdvice>,
}

/// What follows for one gateway from the checksum secrets of the whole fleet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SecretsAdvice {
    /// Whether the rest means anything: the gateway told its secrets, and the store
    /// has been up for long enough to have heard of the others. If not, what was
    /// advised before still holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
    /// The newest of the gateway's secrets whose keys every gateway accepts. None:
    /// there is no such secret, so it must make no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub issue_with: Option<SecretPrint>,
    /// Whether the store or another gateway has a secret first that this gateway
    /// does not accept: there may be good keys that it takes for made up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub behind: bool,
}

fn is_none(count: &u32) -> bool {
    *count == 0
}

fn is_zero(revision: &u64) -> bool {
    *revision == 0
}

/// One revocation, as the feed tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Revocation {
    /// The revoked key.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub digest: Digest,
    /// The revision of the change.
    pub revision: u64,
    /// Whether the rotation that made it may still be answered again to a client
    /// that has its `Idempotency-Key` (X5).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replayable: bool,
}
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_feed_has_the_documented_form() {
        let request = FeedRequest {
            gateway: GatewayId([1; 16]),
            cursor: None,
            lease_ms: 3000,
            poll: 7,
            refused: vec![],
            secrets: None,
            used: vec![],
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
        assert_eq!(answer.secrets, None, "of a store that does not tell");
        assert_eq!(answer.used_most, 0, "of a store that knows no last uses");
    }

    #[test]
    fn secrets_are_told_by_their_prints() {
        let told = AcceptedSecrets {
            prints: vec![SecretPrint([1; 8]), SecretPrint([2; 8])],
            any: false,
        };
        let text = r#"{"prints":["0101010101010101","0202020202020202"]}"#;
        assert_eq!(serde_json::to_string(&told).unwrap(), text);
        assert_eq!(serde_json::from_str::<AcceptedSecrets>(text).unwrap(), told);
        assert!(told.accept(&SecretPrint([2; 8])) && !told.accept(&SecretPrint([3; 8])));
        let any = AcceptedSecrets { any: true, ..told };
        assert!(any.accept(&SecretPrint([3; 8])));
        let advice: SecretsAdvice = serde_json::from_str("{}").unwrap();
        assert_eq!(advice, SecretsAdvice::default());
    }

    #[test]
    fn a_last_use_is_told_by_its_age() {
        let used = KeyUse {
            digest: Digest::from_bytes([2; 32]),
            age_ms: 5,
        };
        assert_eq!(
            serde_json::to_string(&used).unwrap(),
            format!(r#"{{"digest":"{}","age_ms":5}}"#, "02".repeat(32))
        );
    }
}
