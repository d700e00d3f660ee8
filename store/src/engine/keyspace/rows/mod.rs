//! The values of all keys: JSON with short names, because each user has several of
//! them. A later version may add a field, so unknown ones are passed over.
//!
//! What cannot be read is an error that names the table and never the content.

mod log;
mod people;

use rekey_protocol::{Incarnation, RotationId, UserId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};

use super::names::Alias;
use super::space::{Found, PENDING};
use crate::clock::UnixMillis;
use crate::engine::Impossible;

pub(crate) use log::{KeptAnswer, KeptEvent, KeptReplay, Mention, Outcome};
pub(crate) use people::{
    ActiveDigest, HolderOf, KeptBrowser, KeptPassword, KeptSession, KeptUser, LastRotation,
    SessionAge, Spelled, Stands,
};

/// A value of some table.
pub(crate) trait Row: Serialize + DeserializeOwned {
    /// What is said of one that cannot be read.
    const BROKEN: Impossible;
}

/// Reads a value.
pub(crate) fn read<R: Row>(found: &Found) -> Result<R, Impossible> {
    serde_json::from_slice(&found.value).map_err(|_| R::BROKEN)
}

/// Writes a value. Fails on a revision that is not known yet: see [`Revision`].
pub(crate) fn write<R: Row>(row: &R) -> Result<Vec<u8>, Impossible> {
    serde_json::to_vec(row).map_err(|_| Impossible("a row was to hold what no row may hold"))
}

/// Says which table a row is of.
macro_rules! rows {
    ($($row:ty: $table:literal),* $(,)?) => {
        $(impl Row for $row {
            const BROKEN: Impossible =
                Impossible(concat!("a row of ", $table, " cannot be read"));
        })*
    };
}

rows! {
    HistoryId: "the history",
    Tick: "the tick",
    KeptKey: "keys",
    LastHour: "last uses",
    Gone: "revoked keys",
    KeptUser: "users",
    HolderOf: "addresses, active keys or aliases",
    ActiveDigest: "active keys",
    LastRotation: "intervals",
    KeptPassword: "passwords",
    KeptAnswer: "rotations",
    KeptReplay: "replays",
    KeptEvent: "the audit log",
    Mention: "the audit log's index",
    KeptUses: "old keys",
    KeptSession: "sessions",
    SessionAge: "the sessions of users",
    KeptBrowser: "browsers",
    KeptImport: "imports",
    Brought: "what imports brought",
}

/// A revision in a row. The one of the transaction that writes the row is not known
/// yet, so the row says nothing and means the space's own revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Revision(u64);

impl Revision {
    /// None: the row's own.
    pub(crate) fn kept(revision: u64) -> Option<Self> {
        (revision != PENDING).then_some(Self(revision))
    }

    pub(crate) fn or_own(kept: Option<Self>, own: u64) -> u64 {
        kept.map_or(own, |kept| kept.0)
    }
}

impl Serialize for Revision {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            PENDING => Err(serde::ser::Error::custom("the revision is not known")),
            known => serializer.serialize_u64(known),
        }
    }
}

/// `b`: which history this is. The engine that writes it keeps more in it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HistoryId {
    #[serde(rename = "id")]
    pub incarnation: Incarnation,
}

/// `t`: the engine writes it from time to time.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tick {
    /// When, by the limit's clock.
    #[serde(rename = "t")]
    pub at: UnixMillis,
}

/// `k`: a key. The revision that last changed it is the one that last wrote the row,
/// unless the row says another one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptKey {
    #[serde(rename = "a")]
    pub alias: Alias,
    /// Of an active key: its user's id, so that one look is enough for a gateway.
    #[serde(rename = "u", skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// Of an active key: when its user last rotated, by the limit's clock.
    #[serde(rename = "l", skip_serializing_if = "Option::is_none")]
    pub last_rotated: Option<UnixMillis>,
    #[serde(rename = "h", skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    #[serde(rename = "c")]
    pub created: UnixMillis,
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub revoked: Option<UnixMillis>,
    /// Of a revoked key: another one took its place at once.
    #[serde(rename = "n", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_replaced: bool,
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub replay_until: Option<UnixMillis>,
    #[serde(rename = "i", skip_serializing_if = "Option::is_none")]
    pub import: Option<i64>,
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
}

/// `h`: the hour in which a key was last used.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LastHour {
    #[serde(rename = "h")]
    pub hour: UnixMillis,
}

/// `g`: a key that was revoked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Gone {
    #[serde(rename = "p", skip_serializing_if = "Option::is_none")]
    pub replay_until: Option<UnixMillis>,
    /// The rotation that did it.
    #[serde(rename = "r", skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationId>,
}

/// `o`: the uses of an old key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptUses {
    #[serde(rename = "n")]
    pub uses: u64,
    #[serde(rename = "f")]
    pub first: UnixMillis,
    #[serde(rename = "l")]
    pub last: UnixMillis,
    /// When the audit log was told last, by the limit's clock.
    #[serde(rename = "t", skip_serializing_if = "Option::is_none")]
    pub told: Option<UnixMillis>,
}

/// `x`: an import.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct KeptImport {
    /// Since when its rows count; none: they do not.
    #[serde(rename = "c", skip_serializing_if = "Option::is_none")]
    pub since: Option<UnixMillis>,
    /// Of the change that made them count; none: the row's own.
    #[serde(rename = "v", skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Whether the audit log has all of its rows.
    #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
    pub is_told: bool,
}

/// `y`, `z`: all is in the name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Brought {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str) -> Found {
        Found {
            value: value.as_bytes().to_vec(),
            made: 1,
            changed: 1,
        }
    }

    #[test]
    fn a_broken_row_names_its_table_and_a_later_field_is_passed_over() {
        let broken = read::<KeptSession>(&found(r#"{"u":"a secret"}"#)).unwrap_err();
        assert_eq!(broken.to_string(), "a row of sessions cannot be read");
        assert!(read::<SessionAge>(&found(r#"{"c":1,"later":2}"#)).is_ok());
    }

    #[test]
    fn no_row_holds_a_revision_that_is_not_known() {
        assert_eq!(Revision::kept(PENDING), None);
        let import = KeptImport {
            since: None,
            revision: Some(Revision(PENDING)),
            is_told: false,
        };
        assert!(write(&import).is_err());
    }
}
