//! The messages of the admin listener: what the command line sends and reads.
//! Those of the gateway listener are in `rekey-protocol`.
//!
//! Times are RFC 3339 in UTC with whole seconds.

mod audit;
mod import;

use rekey_protocol::{Digest, ResolvedState, UserId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::accounts::email::Email;
use crate::accounts::password::Password;

pub use audit::{AuditEvent, AuditPage, AuditQuery, OldKeyUse};
pub use import::{BadRow, ImportDone, ImportQuery, ImportRefused, ImportRow};

/// `POST`: add a user. `GET`: list users.
pub const USERS_PATH: &str = "/v1/users";
/// `POST`: set a user's password for the dashboard.
pub const PASSWORD_PATH: &str = "/v1/users/password";
/// `POST`: give a user an address.
pub const EMAIL_PATH: &str = "/v1/users/email";
/// `POST`: remove a user.
pub const REMOVE_PATH: &str = "/v1/users/remove";
/// `GET`: whose a key is.
pub const KEYS_PATH: &str = "/v1/keys";
/// `POST`: revoke a key.
pub const REVOKE_PATH: &str = "/v1/keys/revoke";
/// `POST`: revoke many keys.
pub const REVOKE_MANY_PATH: &str = "/v1/keys/revoke-many";
/// `POST`: give a user without a key a new one.
pub const ISSUE_PATH: &str = "/v1/keys/issue";
/// `POST`: import users and keys.
pub const IMPORT_PATH: &str = "/v1/import";
/// `GET`: the audit log, of a user or of all.
pub const AUDIT_PATH: &str = "/v1/audit";
/// The type of a body of one JSON value per line.
pub const NDJSON: &str = "application/x-ndjson";
/// The most rows of one page of a list.
pub const PAGE_MAX: u32 = 1000;
/// The most keys of one `POST /v1/keys/revoke-many`.
pub const REVOKE_MOST: usize = 5000;

/// Body of `POST /v1/users`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUserRequest {
    /// Unique, however it is spelled.
    #[schema(value_type = String)]
    pub email: Email,
    /// 1 to 64 characters of `[A-Za-z0-9._-]`; made up if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// To log in to the dashboard with, 12 to 128 characters; without one the
    /// user cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub password: Option<Password>,
}

/// Body of `POST /v1/users/password`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPasswordRequest {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// 12 to 128 characters.
    #[schema(value_type = String)]
    pub password: Password,
}

/// 200 of `POST /v1/users/password`: the user is logged out everywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PasswordSet {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// Body of `POST /v1/users/email`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetEmailRequest {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Unique, however it is spelled.
    #[schema(value_type = String)]
    pub email: Email,
}

/// 200 of `POST /v1/users/email`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmailSet {
    /// Whose.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// As it was typed.
    #[schema(value_type = String)]
    pub email: Email,
}

/// Body of `POST /v1/users/remove`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveRequest {
    /// Whom.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// 200 of `POST /v1/users/remove`: no gateway accepts the user's key any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserRemoved {
    /// Who is gone. Nobody else gets this id.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// What the audit log calls the user from now on, told this once; absent where
    /// the user had been removed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub pseudonym: Option<UserId>,
}

/// Query of `GET /v1/keys`.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KeyQuery {
    /// The key's SHA-256, 64 hexadecimal digits.
    #[param(value_type = String)]
    pub digest: Digest,
}

/// 200 of `GET /v1/keys`: a key that the store knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyShown {
    /// Whose it is.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// The user's address, if there is one.
    pub email: Option<String>,
    /// The key's SHA-256.
    #[schema(value_type = String)]
    pub digest: Digest,
    /// `active` or `revoked`.
    #[schema(value_type = String)]
    pub state: ResolvedState,
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// When it was made or imported.
    pub created_at: String,
    /// When it was replaced or revoked.
    pub revoked_at: Option<String>,
}

/// Body of `POST /v1/keys/issue`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssueRequest {
    /// Who is to have it.
    #[schema(value_type = String)]
    pub user_id: UserId,
}

/// 201 of `POST /v1/keys/issue`. The key is shown once and kept nowhere.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct KeyIssued<'a> {
    /// Whose it is.
    pub user_id: &'a str,
    /// The key, in plain text.
    pub api_key: &'a str,
    /// When.
    pub created_at: &'a str,
}

/// 201 of `POST /v1/users`. The key is shown once and kept nowhere.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct UserAdded<'a> {
    /// The new user.
    pub user_id: &'a str,
    /// Its address.
    pub email: &'a str,
    /// Its key, in plain text.
    pub api_key: &'a str,
    /// When.
    pub created_at: &'a str,
}

/// A page of `GET /v1/users`, in the order of the ids.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserPage {
    /// In the order of their ids.
    pub users: Vec<UserEntry>,
    /// Pass it as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One user of a [`UserPage`].
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UserEntry {
    /// Who was added.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Imported users need not have one.
    pub email: Option<String>,
    /// When the user was added.
    pub created_at: String,
    /// When the user last rotated.
    pub last_rotated_at: Option<String>,
    /// The active key, if there is one.
    pub key: Option<KeyEntry>,
}

/// An active key, as people may see it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct KeyEntry {
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// When it was made or imported.
    pub created_at: String,
    /// The beginning of the hour in which it was last used. Without one see
    /// `never_used`.
    #[serde(default)]
    pub last_used_at: Option<String>,
    /// Whether it was not used since it was made. Where this is false and there is no
    /// last use, the key is older than this store's record of uses, and none has
    /// been since.
    #[serde(default)]
    pub never_used: bool,
}

impl KeyEntry {
    /// When it was last used, in a word.
    pub fn last_use(&self) -> &str {
        match (&self.last_used_at, self.never_used) {
            (Some(at), _) => at,
            (None, true) => "never",
            (None, false) => "unknown",
        }
    }
}

/// Query of `GET /v1/users`.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsersQuery {
    /// Only users after this id.
    #[serde(default)]
    pub after: String,
    /// At most so many, 1 to 1000 (default).
    pub limit: Option<u32>,
}

/// Body of `POST /v1/keys/revoke`: exactly one of the two.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeRequest {
    /// Revoke this user's active key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
    /// Revoke this key: SHA-256, 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub digest: Option<Digest>,
}

/// 200 of `POST /v1/keys/revoke`: no such key is active any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokeResponse {
    /// Whose key it was.
    #[schema(value_type = String)]
    pub user_id: UserId,
    /// Whether this request revoked it; `false`: it had been before. (If its user
    /// had, this request keeps the user from making another one.)
    pub revoked: bool,
    /// The revision of the user's last change.
    pub revision: u64,
}

/// Body of `POST /v1/keys/revoke-many`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RevokeManyRequest {
    /// Which, at most 5,000.
    pub keys: Vec<RevokeRequest>,
}

/// 200 of `POST /v1/keys/revoke-many`: none of the keys is active any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedMany {
    /// What became of each, in the order of the request.
    pub results: Vec<RevokedOne>,
}

/// What became of one key of a `POST /v1/keys/revoke-many`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevokedOne {
    /// What it is about.
    pub outcome: RevokeOutcome,
    /// Whose key it was, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub user_id: Option<UserId>,
}

/// Whether a key was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RevokeOutcome {
    /// By this request.
    Revoked,
    /// It was not active any more.
    NotActive,
    /// There is no such user.
    UnknownUser,
    /// There is no such key.
    UnknownKey,
}
