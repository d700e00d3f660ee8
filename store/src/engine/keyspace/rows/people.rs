//! Rows about users, and about where they are logged in.

use rekey_protocol::{Digest, UserId};
use serde::{Deserialize, Serialize};

use crate::accounts::password::Spelling;
use crate::clock::UnixMillis;
use crate::engine::keyspace::names::Alias;
use crate::engine::rows::UserStatus;

/// `u`: a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptUser {
    /// None: the id was a removed user's.
    #[serde(rename = "a", skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    #[serde(rename = "e", skip_serializing_if = "Option::is_none")]
    pub email: Option<Spelled>,
    #[serde(rename = "c")]
    pub created: UnixMillis,
    #[serde(rename = "s", default, skip_serializing_if = "Stands::is_here")]
    pub stands: Stands,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub import: Option<i64>,
}

/// An address to log in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spelled {
    #[serde(rename = "t")]
    pub typed: String,
    /// The form in which it is compared; none: the small letters of what was typed.
    #[serde(rename = "n", skip_serializing_if = "Option::is_none")]
    normal: Option<String>,
}

impl Spelled {
    pub(crate) fn new(typed: &str, normal: &str) -> Self {
        let is_plain = typed.to_ascii_lowercase() == normal;
        Self {
            typed: typed.to_owned(),
            normal: (!is_plain).then(|| normal.to_owned()),
        }
    }

    pub(crate) fn normal(&self) -> String {
        let normal = self.normal.clone();
        normal.unwrap_or_else(|| self.typed.to_ascii_lowercase())
    }

    /// Whether it is this one, however it is spelled. By the spelling as well: a later
    /// version of Unicode may give a letter another normal form.
    pub(crate) fn is(&self, typed: &str, normal: &str) -> bool {
        self.normal() == normal || self.typed.eq_ignore_ascii_case(typed)
    }
}

/// [`UserStatus`] in a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stands {
    #[default]
    #[serde(rename = "h")]
    Here,
    #[serde(rename = "r")]
    Removed,
    #[serde(rename = "p")]
    Pseudonym,
}

impl Stands {
    pub(crate) fn is_here(&self) -> bool {
        *self == Self::Here
    }
}

impl From<Stands> for UserStatus {
    fn from(stands: Stands) -> Self {
        match stands {
            Stands::Here => Self::Here,
            Stands::Removed => Self::Removed,
            Stands::Pseudonym => Self::Pseudonym,
        }
    }
}

/// `e`, `f`, `n`: the user whose an address or an alias is.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HolderOf {
    #[serde(rename = "u")]
    pub user: UserId,
}

/// `a`: the active key of a user (I3).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ActiveDigest {
    #[serde(rename = "k")]
    pub digest: Digest,
}

/// `i`: when a user last rotated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct LastRotation {
    /// By the limit's clock.
    #[serde(rename = "l")]
    pub limit: UnixMillis,
    /// As it is told.
    #[serde(rename = "t")]
    pub told: UnixMillis,
}

/// `p`: the hash of a password.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptPassword {
    #[serde(rename = "h")]
    pub phc: String,
    #[serde(rename = "c")]
    pub changed: UnixMillis,
    /// Whether the hash is of what was typed and not of its normal form.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_as_typed: bool,
}

impl KeptPassword {
    pub(crate) fn spelling(&self) -> Spelling {
        match self.is_as_typed {
            true => Spelling::AsTyped,
            false => Spelling::Normal,
        }
    }
}

/// `s`: a session.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptSession {
    #[serde(rename = "u")]
    pub user: UserId,
    #[serde(rename = "c")]
    pub created: UnixMillis,
    #[serde(rename = "s")]
    pub seen: UnixMillis,
}

/// `w`: when a session of a user began.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SessionAge {
    #[serde(rename = "c")]
    pub created: UnixMillis,
}

/// `d`: a browser in which a user has logged in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeptBrowser {
    #[serde(rename = "s")]
    pub seen: UnixMillis,
}
