//! Rows about what happened: answers to rotations, and the audit log.

use rekey_protocol::{Digest, RotationId};
use serde::{Deserialize, Serialize};

use super::Revision;
use crate::clock::UnixMillis;
use crate::engine::keyspace::names::Alias;

/// `r`: what was answered under a rotation id.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptAnswer {
    #[serde(rename = "o")]
    pub old_digest: Digest,
    #[serde(rename = "n")]
    pub new_digest: Digest,
    #[serde(rename = "w")]
    pub outcome: Outcome,
    /// Whose key it is, of a rotation that was made.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// Of the rotation, unless it is the row's own; or of the key's end.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// As it is told.
    #[serde(rename = "t")]
    pub told: UnixMillis,
    /// By the limit's clock.
    #[serde(rename = "l")]
    pub limit: UnixMillis,
}

/// What was answered, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    #[serde(rename = "ok")]
    Rotated,
    #[serde(rename = "unknown")]
    UnknownKey,
    #[serde(rename = "revoked")]
    Revoked,
    #[serde(rename = "limited")]
    RateLimited,
    #[serde(rename = "exists")]
    NewKeyExists,
}

/// `q`: what answers a rotation again (X2).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptReplay {
    /// Proof and sealed key, wrapped: hexadecimal.
    #[serde(rename = "w")]
    pub wrapped: String,
    /// By the limit's clock: after the window nobody can ask for it.
    #[serde(rename = "m")]
    pub made: UnixMillis,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub used: Option<UnixMillis>,
    #[serde(rename = "f", default, skip_serializing_if = "is_zero")]
    pub failures: u32,
    #[serde(rename = "n", default, skip_serializing_if = "is_zero")]
    pub handed_out: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// `l`: a row of the audit log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptEvent {
    /// As it is told.
    #[serde(rename = "t")]
    pub told: UnixMillis,
    #[serde(rename = "a")]
    pub alias: Alias,
    /// By the name that it has for the API.
    #[serde(rename = "c")]
    pub action: String,
    /// None: the row's own.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    #[serde(rename = "o", skip_serializing_if = "Option::is_none")]
    pub old_digest: Option<Digest>,
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    pub new_digest: Option<Digest>,
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(rename = "s")]
    pub source: String,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub rotation_id: Option<RotationId>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub client_address: Option<String>,
    #[serde(rename = "q", skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
}

/// `v`: that a row of the log is about a user, and what it is chosen by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Mention {
    #[serde(rename = "c")]
    pub action: String,
    /// By the limit's clock.
    #[serde(rename = "l")]
    pub limit: UnixMillis,
    /// Whether it is about a change of a key.
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_key: bool,
    /// Whether a key ended by it.
    #[serde(rename = "o", default, skip_serializing_if = "std::ops::Not::not")]
    pub has_old: bool,
    /// Whether it was asked for in the dashboard.
    #[serde(rename = "d", default, skip_serializing_if = "std::ops::Not::not")]
    pub by_dashboard: bool,
}
