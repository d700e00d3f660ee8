//! The names of all keys. They are built and parsed here and nowhere else.
//!
//! A name begins with the letter of its table. Digests and ids follow as raw bytes,
//! user ids and addresses as text. A zero byte ends a user id that something follows:
//! none is in a user id. What all names of a store have before them, the engine adds.
//!
//! | table | name | what it holds |
//! | --- | --- | --- |
//! | `b` | | the id of the history |
//! | `t` | | the tick, which begins a segment of the audit log |
//! | `k` | digest | a key |
//! | `h` | digest | the hour of its last use |
//! | `g` | digest | that it was revoked: for the feed and for replays, for an hour |
//! | `u` | user | a user |
//! | `a` | user | which key is the active one |
//! | `p` | user | the password |
//! | `n` | alias | the user's id: see [`Alias`] |
//! | `i` | alias | when the user last rotated |
//! | `e` | address in its normal form | whose it is |
//! | `f` | address in small letters of ASCII, if that differs | whose it is |
//! | `r` | rotation id | what was answered |
//! | `q` | digest of the new key | what answers its rotation again |
//! | `l` | segment, 16 bytes, index | a row of the audit log |
//! | `v` | alias, segment, 16 bytes, index | that the row is about this user |
//! | `o` | alias, digest | how often an old key was used |
//! | `s` | digest | a session |
//! | `w` | user, digest | that it is this user's |
//! | `d` | user, digest | a browser |
//! | `x` | import | an import |
//! | `y` | import, digest | that it brought this key, of which the log is to be told |
//! | `z` | import, user | that it brought this user |

use rekey_protocol::{Digest, RotationId, UserId};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::accounts::typed;
use crate::engine::look::Look;
use crate::engine::rows::ImportId;

/// Ends a user id that something follows.
const END: u8 = 0;
/// Rows of the audit log that one transaction may add. Their number is a part of
/// their ids, see [`LogName::id`]. The engine takes no more writes anyway.
pub(crate) const MOST_EVENTS: u8 = 128;
/// Keeps the rows of two transactions apart.
pub(crate) type Unique = [u8; 16];

/// What rows that are many call a user: keys, answers, the audit log. One row maps it
/// to the user's id, so that a pseudonym is given by one write.
///
/// It is the beginning of the digest of the user's first key, which nobody else has.
/// It tells nothing that the row of that key does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alias([u8; 8]);

impl Alias {
    /// Of a user who gets this first key.
    pub(crate) fn by_first_key(digest: &Digest) -> Self {
        let mut alias = [0; 8];
        let (taken, _) = digest.as_bytes().split_at(alias.len());
        alias.copy_from_slice(taken);
        Self(alias)
    }
}

impl Serialize for Alias {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Alias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let mut alias = [0; 8];
        hex::decode_to_slice(&*text, &mut alias).map_err(serde::de::Error::custom)?;
        Ok(Self(alias))
    }
}

fn name(table: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut name = vec![table];
    for part in parts {
        name.extend_from_slice(part);
    }
    name
}

pub(crate) fn history() -> Vec<u8> {
    name(b'b', &[])
}

pub(crate) fn tick() -> Vec<u8> {
    name(b't', &[])
}

pub(crate) fn key(digest: &Digest) -> Vec<u8> {
    name(b'k', &[digest.as_bytes()])
}

pub(crate) fn last_use(digest: &Digest) -> Vec<u8> {
    name(b'h', &[digest.as_bytes()])
}

/// All keys that were revoked lately.
pub(crate) fn all_gone() -> Vec<u8> {
    name(b'g', &[])
}

pub(crate) fn gone(digest: &Digest) -> Vec<u8> {
    name(b'g', &[digest.as_bytes()])
}

pub(crate) fn gone_digest(name: &[u8]) -> Option<Digest> {
    digest_at_end(name.strip_prefix(b"g")?)
}

pub(crate) fn all_users() -> Vec<u8> {
    name(b'u', &[])
}

/// The first user after this id, which need not be one.
pub(crate) fn users_after(id: &str) -> Vec<u8> {
    name(b'u', &[id.as_bytes(), &[END]])
}

pub(crate) fn user(user: &UserId) -> Vec<u8> {
    name(b'u', &[user.as_str().as_bytes()])
}

pub(crate) fn user_id(name: &[u8]) -> Option<UserId> {
    user_of(name.strip_prefix(b"u")?)
}

pub(crate) fn active_key(user: &UserId) -> Vec<u8> {
    name(b'a', &[user.as_str().as_bytes()])
}

pub(crate) fn password(user: &UserId) -> Vec<u8> {
    name(b'p', &[user.as_str().as_bytes()])
}

pub(crate) fn user_called(alias: Alias) -> Vec<u8> {
    name(b'n', &[&alias.0])
}

pub(crate) fn interval(alias: Alias) -> Vec<u8> {
    name(b'i', &[&alias.0])
}

pub(crate) fn normal_address(normal: &str) -> Vec<u8> {
    name(b'e', &[normal.as_bytes()])
}

pub(crate) fn small_address(small: &str) -> Vec<u8> {
    name(b'f', &[small.as_bytes()])
}

pub(crate) fn rotation(id: RotationId) -> Vec<u8> {
    name(b'r', &[&id.0])
}

pub(crate) fn replay(new_digest: &Digest) -> Vec<u8> {
    name(b'q', &[new_digest.as_bytes()])
}

pub(crate) fn old_keys(alias: Alias) -> Vec<u8> {
    name(b'o', &[&alias.0])
}

pub(crate) fn old_key(alias: Alias, digest: &Digest) -> Vec<u8> {
    name(b'o', &[&alias.0, digest.as_bytes()])
}

pub(crate) fn old_key_digest(name: &[u8]) -> Option<Digest> {
    digest_at_end(name.strip_prefix(b"o")?)
}

pub(crate) fn all_sessions() -> Vec<u8> {
    name(b's', &[])
}

pub(crate) fn session(digest: &Digest) -> Vec<u8> {
    name(b's', &[digest.as_bytes()])
}

pub(crate) fn all_sessions_of_users() -> Vec<u8> {
    name(b'w', &[])
}

pub(crate) fn sessions_of(user: &UserId) -> Vec<u8> {
    name(b'w', &[user.as_str().as_bytes(), &[END]])
}

pub(crate) fn session_of(user: &UserId, digest: &Digest) -> Vec<u8> {
    let mut name = sessions_of(user);
    name.extend_from_slice(digest.as_bytes());
    name
}

pub(crate) fn all_browsers() -> Vec<u8> {
    name(b'd', &[])
}

pub(crate) fn browsers_of(user: &UserId) -> Vec<u8> {
    name(b'd', &[user.as_str().as_bytes(), &[END]])
}

pub(crate) fn browser_of(user: &UserId, digest: &Digest) -> Vec<u8> {
    let mut name = browsers_of(user);
    name.extend_from_slice(digest.as_bytes());
    name
}

pub(crate) fn all_imports() -> Vec<u8> {
    name(b'x', &[])
}

pub(crate) fn import(import: ImportId) -> Vec<u8> {
    name(b'x', &[&import.0.to_be_bytes()])
}

pub(crate) fn import_id(name: &[u8]) -> Option<ImportId> {
    let id = name.strip_prefix(b"x")?.try_into().ok()?;
    Some(ImportId(i64::from_be_bytes(id)))
}

pub(crate) fn imported_keys(import: ImportId) -> Vec<u8> {
    name(b'y', &[&import.0.to_be_bytes()])
}

pub(crate) fn imported_key(import: ImportId, digest: &Digest) -> Vec<u8> {
    name(b'y', &[&import.0.to_be_bytes(), digest.as_bytes()])
}

pub(crate) fn imported_users(import: ImportId) -> Vec<u8> {
    name(b'z', &[&import.0.to_be_bytes()])
}

pub(crate) fn imported_user(import: ImportId, user: &UserId) -> Vec<u8> {
    name(b'z', &[&import.0.to_be_bytes(), user.as_str().as_bytes()])
}

pub(crate) fn imported_user_id(name: &[u8]) -> Option<UserId> {
    user_of(name.strip_prefix(b"z")?.get(8..)?)
}

/// The digest that a name ends with.
pub(crate) fn digest_at_end(name: &[u8]) -> Option<Digest> {
    name.last_chunk().map(|bytes| Digest::from_bytes(*bytes))
}

fn user_of(bytes: &[u8]) -> Option<UserId> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The name of a row of the audit log, after its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogName {
    /// The revision at which the tick was last written: all rows of a segment were
    /// committed before the next tick, because each append compares the tick.
    pub segment: u64,
    /// Of the transaction.
    pub unique: Unique,
    /// Which of its rows.
    pub index: u8,
}

impl LogName {
    /// In the log.
    pub(crate) fn row(&self) -> Vec<u8> {
        name(b'l', &[&self.bytes()])
    }

    /// In the index of a user.
    pub(crate) fn mention(&self, alias: Alias) -> Vec<u8> {
        name(b'v', &[&alias.0, &self.bytes()])
    }

    /// Of either name.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let (segment, rest) = name.last_chunk::<25>()?.split_first_chunk()?;
        let (unique, index) = rest.split_first_chunk()?;
        Some(Self {
            segment: u64::from_be_bytes(*segment),
            unique: *unique,
            index: *index.first()?,
        })
    }

    /// The row's id, which grows in the order of the commits: the revision at which
    /// the row was made, and which of the transaction's rows it is.
    pub(crate) fn id(&self, made: u64) -> i64 {
        first_id(made).saturating_add(i64::from(self.index))
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.segment.to_be_bytes()[..], &self.unique, &[self.index]].concat()
    }
}

/// The id of the first row of the transaction at this revision.
pub(crate) fn first_id(made: u64) -> i64 {
    let made = i64::try_from(made).unwrap_or(i64::MAX);
    made.saturating_mul(i64::from(MOST_EVENTS))
}

/// The revision of the row with this id.
pub(crate) fn made_of(id: i64) -> u64 {
    u64::try_from(id / i64::from(MOST_EVENTS)).unwrap_or(0)
}

/// The rows of the log from this segment on.
pub(crate) fn log_from(segment: u64) -> Vec<u8> {
    name(b'l', &[&segment.to_be_bytes()])
}

/// The first name after the log.
pub(crate) fn log_end() -> Vec<u8> {
    name(b'l' + 1, &[])
}

/// All rows that are about a user.
pub(crate) fn mentions(alias: Alias) -> Vec<u8> {
    name(b'v', &[&alias.0])
}

/// Those from this segment on.
pub(crate) fn mentions_from(alias: Alias, segment: u64) -> Vec<u8> {
    name(b'v', &[&alias.0, &segment.to_be_bytes()])
}

/// The names that may say whose an address is.
pub(crate) fn of_address(typed: &str) -> Vec<Vec<u8>> {
    let (normal, small) = (typed::address(typed), typed.to_ascii_lowercase());
    let mut names = vec![normal_address(&normal)];
    if small != normal {
        names.push(normal_address(&small));
    }
    names.push(small_address(&small));
    names
}

/// What the words will get that look at this.
pub(crate) fn of_look(look: &Look) -> Vec<Vec<u8>> {
    match look {
        Look::Head => vec![history()],
        Look::Log => vec![tick()],
        Look::Key(digest) => vec![key(digest)],
        Look::OldKey(digest) => vec![key(digest), gone(digest)],
        Look::FirstKey(digest) => {
            let alias = Alias::by_first_key(digest);
            vec![key(digest), user_called(alias)]
        }
        Look::Rotation(id) => vec![rotation(*id)],
        Look::User(id) => vec![user(id), active_key(id)],
        Look::Password(user) => vec![password(user)],
        Look::Address(typed) => of_address(typed),
        Look::Session(digest) => vec![session(digest)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_as_they_were_built() {
        let digest = Digest::from_bytes([9; 32]);
        let ann: UserId = "ann".parse().unwrap();
        assert_eq!(gone_digest(&gone(&digest)), Some(digest));
        assert_eq!(gone_digest(&key(&digest)), None);
        assert_eq!(user_id(&user(&ann)), Some(ann.clone()));
        assert_eq!(import_id(&import(ImportId(7))), Some(ImportId(7)));
        let brought = imported_user(ImportId(7), &ann);
        assert_eq!(imported_user_id(&brought), Some(ann));
        let row = LogName {
            segment: 300,
            unique: [3; 16],
            index: 127,
        };
        let alias = Alias::by_first_key(&digest);
        for name in [row.row(), row.mention(alias)] {
            assert_eq!(LogName::parse(&name), Some(row));
        }
        assert_eq!(made_of(row.id(5)), 5);
        assert!(row.id(5) < first_id(6));
    }

    #[test]
    fn users_are_in_the_order_of_their_ids_and_apart_from_longer_ones() {
        let [a, ab]: [UserId; 2] = ["a", "ab"].map(|id| id.parse().unwrap());
        assert!(user(&a) < users_after("a") && users_after("a") < user(&ab));
        assert!(!browsers_of(&ab).starts_with(&browsers_of(&a)));
    }
}
