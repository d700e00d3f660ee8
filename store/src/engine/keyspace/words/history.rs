//! The history: where it stands, and what was revoked since.

use rekey_protocol::{Head, Revocation};

use crate::clock::UnixMillis;
use crate::engine::Impossible;
use crate::engine::keyspace::names;
use crate::engine::keyspace::rows::{Gone, HistoryId, Tick, read};
use crate::engine::keyspace::space::{Change, Order, PENDING, Range, Space};
use crate::engine::keyspace::{Held, KeyspaceTx};

impl<S: Space> KeyspaceTx<'_, S> {
    pub(crate) fn head(&self) -> Result<Head, S::Error> {
        let found: Option<Held<HistoryId>> = self.get(&names::history())?;
        let held = found.ok_or(Impossible("no history has begun"))?;
        Ok(Head {
            incarnation: held.row.incarnation,
            revision: match self.is_counted {
                true => PENDING,
                false => self.space.revision()?,
            },
        })
    }

    /// Whether a key is replayable is reckoned by the last tick: that is the time on
    /// record.
    pub(crate) fn revoked_after(
        &self,
        revision: u64,
        limit: usize,
    ) -> Result<Vec<Revocation>, S::Error> {
        let tick: Option<Held<Tick>> = self.get(&names::tick())?;
        let now = tick.map(|held| held.row.at).unwrap_or_default();
        let range = Range {
            order: Order::AsMade,
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            made_after: revision,
            ..Range::under(&names::all_gone())
        };
        let mut revoked = Vec::new();
        for pair in self.space.range(&range)? {
            let row: Gone = read(&pair.found)?;
            let digest = names::gone_digest(&pair.key);
            revoked.push(Revocation {
                digest: digest.ok_or(Impossible("a name of no key"))?,
                revision: pair.found.made,
                replayable: row.replay_until.is_some_and(|until| until > now),
            });
        }
        Ok(revoked)
    }
}

impl<S: Change> KeyspaceTx<'_, S> {
    /// The space counts by itself, and the engine's ticks note the time: a row that
    /// every change writes would let no two of them be made at a time.
    pub(crate) fn next_revision(&mut self) -> u64 {
        self.is_counted = true;
        PENDING
    }

    /// Begins the next segment of the audit log, and puts the time on record. The
    /// engine does so now and then: what was sent before a tick fails after it.
    pub(crate) fn tick(&mut self, now: UnixMillis) -> Result<(), S::Error> {
        let before: Option<Held<Tick>> = self.get(&names::tick())?;
        let at = before.map_or(now, |held| held.row.at.max(now));
        self.put(names::tick(), &Tick { at })
    }
}
