//! A key that a user wishes for.

use rekey_protocol::{Client, Digest, RotateRequest, RotationId, UserId};

use crate::engine::Tx;
use crate::engine::look::Look;
use crate::engine::rows::{By, Event, NewKey};
use crate::operations::Context;
use crate::operations::audit::action::Action;
use crate::rules::rotation::{Recorded, RecordedOutcome};

/// A key that is to be a user's, and who asked for it.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Whose.
    pub user: UserId,
    /// Of the form that was sent: it works once, as a rotation id does.
    pub ticket: RotationId,
    /// The new key.
    pub new_digest: Digest,
    /// The new key's last characters.
    pub hint: String,
    /// From where.
    pub client: Client,
}

impl Wish {
    pub(super) fn looks_at(&self) -> Vec<Look> {
        vec![
            Look::Head,
            Look::Log,
            Look::User(self.user.clone()),
            Look::Rotation(self.ticket),
            Look::Key(self.new_digest),
        ]
    }

    /// As a gateway would have asked for it.
    pub(super) fn request(&self, old_digest: Digest) -> RotateRequest {
        RotateRequest {
            rotation_id: self.ticket,
            attempt: 1,
            old_digest,
            new_digest: self.new_digest,
            hint: self.hint.clone(),
            replay: None,
            client: self.client.clone(),
            patience_ms: None,
        }
    }

    /// Makes the key, without ending another one. Returns the revision of that.
    pub(super) fn issue<T: Tx>(
        &self,
        tx: &mut T,
        cx: &Context,
        old: Digest,
    ) -> Result<u64, T::Error> {
        let (now, hint) = (cx.now, Some(self.hint.as_str()));
        let revision = tx.next_revision(now)?;
        tx.insert_key(&NewKey {
            digest: &self.new_digest,
            user: &self.user,
            hint,
            created: now.told,
            revision,
        })?;
        tx.begin_interval(&self.user, now)?;
        let event = Event {
            user: &self.user,
            action: Action::Issued,
            revision,
            old_digest: None,
            new_digest: Some(&self.new_digest),
            hint,
            rotation_id: Some(self.ticket),
            uses: None,
            by: By::dashboard(&self.client),
        };
        tx.append_event(&event, now)?;
        let made = Recorded {
            old_digest: old,
            new_digest: self.new_digest,
            outcome: RecordedOutcome::Rotated {
                at: now.told,
                user: self.user.clone(),
                revision,
            },
        };
        tx.record_answer(self.ticket, &made, now)?;
        Ok(revision)
    }
}
