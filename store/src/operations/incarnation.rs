//! Begins an incarnation of the store, as every start does (S8): with an id and a leap of the
//! revision. Decides whether the data is older than what was served last, and what
//! the change feed begins with (S9).

use std::time::Duration;

use rekey_protocol::{Head, Incarnation, LEASE_CAP_MS};

use crate::clock::{StoreTime, UnixMillis};
use crate::engine::OwnerTx;
use crate::engine::record::{Mark, Past};
use crate::engine::rows::{IncarnationEnd, KnownPast, NewIncarnation, Reached};
use crate::feed::core::Start;
use crate::feed::history::{History, Life};

/// How far the wall clock may have gone on since the record to be believed in.
const LONGEST_LEAP: Duration = Duration::from_secs(366 * 24 * 3600);
/// The year 2200. In microseconds that leaves 1.7 × 10^15 revisions below 2^53, which
/// is what JSON can say.
const LATEST_LEAP: UnixMillis = UnixMillis(7_258_118_400_000);

/// What a start does with data that is older than what was served last (S8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OlderData {
    /// Nothing is answered and nothing changed by it.
    Refused,
    /// The operator knows, and it is served.
    Accepted,
}

/// What an incarnation begins with.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    /// Drawn at random.
    pub id: Incarnation,
    /// What the wall clock says.
    pub wall: UnixMillis,
    /// What was found beside the database.
    pub past: Past,
    /// If the database is an older backup.
    pub older_data: OlderData,
}

#[cfg(test)]
impl Begin {
    /// The first incarnation of a database, for a test.
    pub fn first(wall: UnixMillis) -> Self {
        Self {
            id: Incarnation([1; 16]),
            wall,
            past: Past::Nothing,
            older_data: OlderData::Refused,
        }
    }
}

/// An incarnation that has begun.
#[derive(Debug)]
pub struct Begun {
    /// What the change feed begins with.
    pub feed: Start,
    /// How far the history is.
    pub mark: Mark,
    /// The last moment that was acted upon; none in a new database.
    pub time: Option<StoreTime>,
}

impl Begin {
    /// S8: a new id, and a first revision past anything used before, even by a
    /// history that a restored backup does not remember.
    ///
    /// No [`super::Operation`]: an engine does it once, before it runs any.
    ///
    /// # Errors
    /// The transaction's.
    pub fn apply<T: OwnerTx>(&self, tx: &mut T) -> Result<Begun, T::Error> {
        let known = tx.known_past()?;
        let is_restored = self.is_restored(&known);
        let mark = tx.begin_incarnation(&NewIncarnation {
            id: self.id,
            first: self.first_revision(&known),
            began: self.wall,
            // S8: a database that is behind must not catch up by being looked at.
            is_counted: !is_restored,
        })?;
        if self.accepts_older() {
            tx.accept_loss_before(mark.revision)?;
            // A user who logged out since the backup stays out.
            tx.log_everybody_out()?;
        }
        Ok(Begun {
            feed: self.feed_start(&known, mark),
            mark,
            time: known.time,
        })
    }

    /// Whether the data is older than what was served, and not to be served.
    fn is_restored(&self, known: &KnownPast) -> bool {
        is_restored(&known.reached, self.past) && !self.accepts_older()
    }

    fn accepts_older(&self) -> bool {
        self.older_data == OlderData::Accepted
    }

    /// S8: the first revision of an incarnation. The wall clock is past anything that was used
    /// before, as long as it is right: one that leaps by more than a year, or past the
    /// year 2200, is not believed. Then it is the next one. Nothing depends on the leap
    /// but what a lost history has used, and that is known by its incarnations' ids, too.
    fn first_revision(&self, known: &KnownPast) -> u64 {
        let served_last = match self.past {
            Past::Known(record) => record.mark.map_or(0, |mark| mark.revision),
            Past::Nothing | Past::Unknown => 0,
        };
        let before = known.reached.mark.revision.max(served_last);
        // An accepted restore may be of any age.
        let last = known.time.filter(|_| !self.accepts_older());
        let leaps = last.is_some_and(|last| self.wall.since(last.told) > LONGEST_LEAP);
        if leaps || self.wall > LATEST_LEAP {
            tracing::warn!(
                told = self.wall.rfc3339(),
                "the system's clock is not believed: revisions go on from the record"
            );
            return before + 1;
        }
        let by_clock = u64::try_from(self.wall.0.saturating_mul(1000)).unwrap_or_default();
        by_clock.max(before + 1)
    }

    /// What the change feed needs to know of the past: of the database, and of what
    /// was found beside it.
    fn feed_start(&self, known: &KnownPast, mark: Mark) -> Start {
        let is_restored = self.is_restored(known);
        let (reached, longest_lease_ms) = (&known.reached, known.longest_lease_ms);
        let before = reached.incarnations.iter().map(|incarnation| Life {
            incarnation: incarnation.id,
            first: incarnation.first,
            last: Some(
                incarnation
                    .end
                    .map_or(reached.mark.revision, |end| end.revision),
            ),
        });
        let present = Life {
            incarnation: self.id,
            first: mark.revision,
            last: None,
        };
        // S9: a lease of a history that was lost, or of which nothing is known,
        // may be as long as there are.
        let held_lease_ms = match self.past {
            _ if is_restored || self.accepts_older() => LEASE_CAP_MS,
            Past::Known(last) => last.longest_lease_ms.max(longest_lease_ms),
            Past::Nothing if reached.incarnations.is_empty() => longest_lease_ms,
            Past::Nothing | Past::Unknown => LEASE_CAP_MS,
        };
        let head = Head {
            incarnation: self.id,
            revision: mark.revision,
        };
        Start {
            history: History::new(before.chain([present]).collect(), head),
            longest_lease_ms,
            held_lease_ms,
            // As long as this incarnation lasts, so that the flag always helps.
            accepted_before: match self.accepts_older() {
                true => u64::MAX,
                false => known.accepted_before,
            },
            restored: is_restored,
        }
    }
}

/// S8: whether more was served last than the database knows: another incarnation, or more
/// of it. What the database did in later incarnations does not count: a backup may have been
/// tried out somewhere else.
pub fn is_restored(reached: &Reached, past: Past) -> bool {
    let Past::Known(last) = past else {
        return false;
    };
    let mut incarnations = reached.incarnations.iter();
    let Some(incarnation) = incarnations.find(|incarnation| incarnation.id == last.incarnation)
    else {
        return true;
    };
    let IncarnationEnd { revision, commits } = incarnation.end.unwrap_or(IncarnationEnd {
        revision: reached.mark.revision,
        commits: Some(reached.mark.commits),
    });
    last.mark.is_some_and(|mark| {
        revision < mark.revision || commits.is_some_and(|commits| commits < mark.commits)
    })
}
