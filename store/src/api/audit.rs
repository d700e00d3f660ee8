//! The audit log, and the uses of old keys.

use rekey_protocol::{Digest, RotationId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Query of `GET /v1/audit`.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// Whose events; a removed user's by the pseudonym. Absent: everybody's.
    #[param(value_type = Option<String>)]
    pub user: Option<UserId>,
    /// Only events after the one with this id: the last one's of the page before.
    #[serde(default)]
    pub after: i64,
    /// Only events of this moment or later, as RFC 3339.
    pub since: Option<String>,
    /// At most so many, 1 to 1000 (default).
    pub limit: Option<u32>,
}

/// A page of `GET /v1/audit`, oldest first.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// At most as many as were asked for, in the order of their ids.
    pub events: Vec<AuditEvent>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// On the last page: the old keys that were used since, at most 10, the last
    /// used first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub old_keys: Vec<OldKeyUse>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditEvent {
    /// Grows with every event, so that a reader can go on after the last one.
    pub id: i64,
    /// When.
    pub at: String,
    /// Whose; of a removed user the pseudonym.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// `user_added`, `imported`, `rotated`, `revoked`, `issued` or `user_removed`: a
    /// change of the key. `email_set`, `login`, `login_refused`, `logout`, `logout_everywhere`,
    /// `password_changed`, `password_refused` (by the user) or `password_set` (by
    /// the operator): none. `replayed`: the answer to a rotation was given again.
    /// `replay_refused`: it was asked for with a wrong proof. `old_key_used`: none
    /// either; told of the first use after a key was replaced or revoked, and of a
    /// user's later ones once a day.
    pub action: String,
    /// The store's counter of changes, after it.
    pub revision: u64,
    /// The key that was revoked by it.
    #[schema(value_type = Option<String>)]
    pub old_digest: Option<Digest>,
    /// The key that is active by it.
    #[schema(value_type = Option<String>)]
    pub new_digest: Option<Digest>,
    /// The new key's last characters; the old one's, if that was used.
    pub hint: Option<String>,
    /// `gateway`, `admin` or `dashboard`.
    pub source: String,
    /// Which rotation it was.
    #[schema(value_type = Option<String>)]
    pub rotation_id: Option<RotationId>,
    /// The client's address, as the gateway or the dashboard saw it.
    pub client_address: Option<String>,
    /// The gateway's `x-request-id`.
    pub client_request_id: Option<String>,
    /// How often the old key was used by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u64>,
}

/// An old key that was used after it was replaced or revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OldKeyUse {
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// Whether another key took its place at once; it was revoked otherwise.
    pub replaced: bool,
    /// How often, as far as gateways have told.
    pub uses: u64,
    /// When it was told of first.
    pub first_at: String,
    /// When it was told of last.
    pub last_at: String,
}

impl OldKeyUse {
    /// How often, and since what, in words.
    pub fn in_words(&self) -> String {
        let times = match self.uses {
            1 => "once".to_owned(),
            uses => format!("{uses} times"),
        };
        let ended = if self.replaced { "replaced" } else { "revoked" };
        format!("{times} since it was {ended}")
    }
}
