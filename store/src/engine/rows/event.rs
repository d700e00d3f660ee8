//! What the audit log is told.

use crate::operations::audit::action::Action;
use rekey_protocol::{Client, Digest, RotationId, UserId, may_hold_a_key};

/// The longest text of the network that is kept, in characters.
const TEXT_MAX: usize = 128;

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
    pub action: Action,
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
    /// How often an old key was used by then, where the row is about that.
    pub uses: Option<u64>,
    /// Who asked.
    pub by: By<'a>,
}

impl<'a> Event<'a> {
    /// About something that changed no key, at the present revision.
    pub const fn aside(user: &'a UserId, action: Action, revision: u64, by: By<'a>) -> Self {
        Self {
            user,
            action,
            revision,
            old_digest: None,
            new_digest: None,
            hint: None,
            rotation_id: None,
            uses: None,
            by,
        }
    }

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
    if may_hold_a_key(text) {
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
