//! The audit log: what a transaction adds to it.
//!
//! A row's name begins with the segment, which is the revision of the last tick. Each
//! append looks at the tick, so the engine compares it: all rows of a segment were
//! committed before the next tick. So segments are in the order of the commits, and
//! in a segment rows are in the order of the revisions that made them.

mod audit;
mod index;

use rekey_protocol::Digest;

use crate::clock::StoreTime;
use crate::engine::Impossible;
use crate::engine::keyspace::names::{self, LogName, MOST_EVENTS};
use crate::engine::keyspace::rows::{KeptEvent, KeptImport, Mention, Revision, Tick};
use crate::engine::keyspace::space::Change;
use crate::engine::keyspace::{Held, KeyspaceTx};
use crate::engine::rows::{By, Event, ImportId, Source};
use crate::operations::audit::action::Action;

impl<S: Change> KeyspaceTx<'_, S> {
    pub(crate) fn append_event(
        &mut self,
        event: &Event<'_>,
        now: StoreTime,
    ) -> Result<(), S::Error> {
        if let Some(old) = event.old_digest {
            // An import's own rows are told some time after it counts.
            self.tell_imported_key(old)?;
            if event.action == Action::Rotated {
                self.rewrite_key(old, |key| key.is_replaced = true)?;
            }
        }
        self.append(event, now)
    }

    fn append(&mut self, event: &Event<'_>, now: StoreTime) -> Result<(), S::Error> {
        let index = self.events;
        if index >= MOST_EVENTS {
            return Err(Impossible("too many rows of the audit log in one change").into());
        }
        self.events += 1;
        let tick: Option<Held<Tick>> = self.get(&names::tick())?;
        let name = LogName {
            segment: tick.map_or(0, |tick| tick.changed),
            unique: self.unique,
            index,
        };
        let alias = self.alias_of(event.user)?;
        let alias = alias.ok_or(Impossible("an event of nobody"))?;
        let row = KeptEvent {
            told: now.told,
            alias,
            action: event.action.name().to_owned(),
            revision: Revision::kept(event.revision),
            old_digest: event.old_digest.copied(),
            new_digest: event.new_digest.copied(),
            hint: event.hint.map(str::to_owned),
            source: event.by.source.as_str().to_owned(),
            rotation_id: event.rotation_id,
            client_address: event.client_address(),
            client_request_id: event.client_request_id(),
            uses: event.uses,
        };
        self.put(name.row(), &row)?;
        let mention = Mention {
            action: row.action,
            limit: now.limit,
            is_of_key: event.old_digest.is_some() || event.new_digest.is_some(),
            has_old: event.old_digest.is_some(),
            by_dashboard: event.by.source == Source::Dashboard,
        };
        self.put(name.mention(alias), &mention)
    }

    /// Tells of the import of this key, unless that has been told or no import that
    /// counts brought the key.
    pub(crate) fn tell_imported_key(&mut self, digest: &Digest) -> Result<(), S::Error> {
        let Some(Held { row: key, .. }) = self.any_key(digest)? else {
            return Ok(());
        };
        let Some(import) = key.import.map(ImportId) else {
            return Ok(());
        };
        let brought = names::imported_key(import, digest);
        self.look_ahead(&[names::import(import), brought.clone()])?;
        let is_owed = |import: &KeptImport| !import.is_told;
        let found = self.any_import(import)?;
        if !found.is_some_and(|held| is_owed(&held.row)) || !self.is_there(&brought)? {
            return Ok(());
        }
        let Some(cut) = self.cut(import.0)? else {
            return Ok(());
        };
        let user = self.user_of(&key)?;
        self.space.delete(&brought);
        self.space.delete(&names::imported_user(import, &user));
        let event = Event {
            new_digest: Some(digest),
            hint: key.hint.as_deref(),
            ..Event::aside(&user, Action::Imported, cut.revision, By::OPERATOR)
        };
        self.append(&event, StoreTime::both(cut.at))
    }
}
