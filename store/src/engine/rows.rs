//! What the words of a transaction speak of.

use rekey_protocol::{
    Client, Digest, KEY_PREFIX, ReplayProof, ResolvedState, RotationId, SealedKey, UserId,
};
use subtle::ConstantTimeEq;

use crate::clock::{Moment, UnixMillis};
use crate::email::Email;
use crate::rotation::OldKey;

/// The longest text of the network that is kept, in characters.
const TEXT_MAX: usize = 128;

/// A key that counts, and what its user may do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Whether it is accepted.
    pub state: ResolvedState,
    /// Whose it is.
    pub user: UserId,
    /// The revision that last changed it.
    pub revision: u64,
    /// When its user last rotated, by the limit's clock.
    pub last_rotated: Option<UnixMillis>,
    /// Until when the rotation that revoked it may be answered again, by the limit's
    /// clock (X5).
    pub replay_until: Option<UnixMillis>,
}

impl From<Key> for OldKey {
    fn from(key: Key) -> Self {
        Self {
            state: key.state,
            user: key.user,
            revision: key.revision,
            last_rotated: key.last_rotated,
        }
    }
}

/// A user's active key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveKey {
    /// Its digest.
    pub digest: Digest,
    /// Names it in a form: the revision at which it was made.
    pub revision: u64,
    /// Its last characters, where they are known.
    pub hint: Option<String>,
    /// When it was made or imported.
    pub created: UnixMillis,
}

/// A key that is to be active.
#[derive(Debug, Clone, Copy)]
pub struct NewKey<'a> {
    /// Its digest.
    pub digest: &'a Digest,
    /// Whose.
    pub user: &'a UserId,
    /// Its last characters.
    pub hint: Option<&'a str>,
    /// When it is made, as people are told.
    pub created: UnixMillis,
    /// The revision of that.
    pub revision: u64,
}

/// When a key was last used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastUse {
    /// In the hour that begins here.
    HourFrom(UnixMillis),
    /// Not since it was made.
    Never,
    /// It was made before uses were noted, and none has been since.
    NotKnown,
}

impl LastUse {
    /// The beginning of the hour, as RFC 3339 in UTC.
    pub fn rfc3339(self) -> Option<String> {
        match self {
            Self::HourFrom(hour) => Some(hour.rfc3339()),
            Self::Never | Self::NotKnown => None,
        }
    }
}

/// What an id of a user stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// A user.
    Here,
    /// Nobody any more, and nobody again.
    Removed,
    /// What a removed user is called in the audit log.
    Pseudonym,
}

/// What somebody is about to take, and an import may have taken first.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The id, or a key for the user of this id.
    pub user: &'a UserId,
    /// The address.
    pub email: Option<&'a Email>,
}

/// A rotation that was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeRotation {
    /// Under which it was asked for.
    pub id: RotationId,
    /// The key that it made.
    pub new_digest: Digest,
    /// Whether that is still active.
    pub new_is_active: bool,
    /// When, by both clocks.
    pub at: Moment,
    /// Whose key it was.
    pub user: UserId,
}

/// What is kept of a rotation so that it can be answered again (X2).
pub struct ReplayRecord {
    /// When a client first used the new key.
    pub used: Option<UnixMillis>,
    /// Openings that failed.
    pub failures: u32,
    /// How often it was handed out.
    pub handed_out: u32,
    /// Proves that a request is of the rotation's client.
    pub proof: ReplayProof,
    /// The new key, sealed for that client.
    pub sealed: SealedKey,
}

impl ReplayRecord {
    /// Whether the proof is the record's. In constant time.
    pub fn is_proved_by(&self, proof: &ReplayProof) -> bool {
        self.proof.0.ct_eq(&proof.0).into()
    }
}

/// By which way a change was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A gateway.
    Gateway,
    /// The operator.
    Admin,
    /// A user in the dashboard.
    Dashboard,
}

impl Source {
    /// As the audit log has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Admin => "admin",
            Self::Dashboard => "dashboard",
        }
    }
}

/// Who asked for a change.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// By which way.
    pub source: Source,
    /// From where, if that is known.
    pub client: Option<&'a Client>,
}

impl<'a> By<'a> {
    /// The operator, of whom nothing else is known.
    pub const OPERATOR: Self = Self {
        source: Source::Admin,
        client: None,
    };

    /// A user in the dashboard.
    pub const fn dashboard(client: &'a Client) -> Self {
        Self {
            source: Source::Dashboard,
            client: Some(client),
        }
    }

    /// A client of a gateway.
    pub const fn gateway(client: &'a Client) -> Self {
        Self {
            source: Source::Gateway,
            client: Some(client),
        }
    }
}

/// One row of the audit log to be (I3).
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Whose key changed.
    pub user: &'a UserId,
    /// What happened: see [`crate::api::AuditEvent::action`].
    pub action: &'a str,
    /// The revision of the change.
    pub revision: u64,
    /// The key that is revoked by it.
    pub old_digest: Option<&'a Digest>,
    /// The key that is active by it.
    pub new_digest: Option<&'a Digest>,
    /// The last characters of the new key.
    pub hint: Option<&'a str>,
    /// Which rotation it was.
    pub rotation_id: Option<RotationId>,
    /// Who asked.
    pub by: By<'a>,
}

impl Event<'_> {
    /// The address of the client, as it may be kept.
    pub fn client_address(&self) -> Option<String> {
        self.by.client?.address.as_deref().map(harmless)
    }

    /// The id of the client's request, as it may be kept.
    pub fn client_request_id(&self) -> Option<String> {
        self.by.client?.request_id.as_deref().map(harmless)
    }
}

/// A text of the network as it may be kept and shown in a terminal: bounded,
/// visible ASCII, and none that looks like a key (I6: a client may well put its
/// key into a header that ends up here).
fn harmless(text: &str) -> String {
    if text.contains(KEY_PREFIX) {
        return "(withheld)".to_owned();
    }
    let visible = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    visible.take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::harmless;

    #[test]
    fn texts_of_the_network_are_bounded_and_plain() {
        assert_eq!(harmless("a\u{1b}[31m\nb\u{202e}c"), "a[31mbc");
        assert_eq!(harmless(&"x".repeat(999)).len(), 128);
        assert_eq!(harmless("id-sb_live_0123"), "(withheld)");
    }
}
