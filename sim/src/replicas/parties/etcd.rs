//! etcd as the model sees it: a log of changes, and the data that the first of them
//! make. The revision is the place in the log.

use crate::replicas::state::Tick;

/// A place in the log.
pub type Revision = u8;

/// Stores of the largest world.
pub const STORES: usize = 3;
/// The line of a lost history, which stands for all stores that it had (R8).
pub const LOST: usize = STORES;
/// Lines: one for each store, and that one.
pub const LINES: usize = STORES + 1;

/// A store's line (R1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Line {
    /// The revision that created it. It tells the lives of a store apart, as the random
    /// name of the key does.
    pub created: Revision,
    /// The revision that last wrote it.
    pub modified: Revision,
    /// The number of the beat that did.
    pub beat: u8,
    /// No gateway accepts by this store's lease what was revoked up to here.
    pub upto: Revision,
}

/// All keys at one revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Data {
    /// That revision.
    pub revision: Revision,
    /// The name of the history (R8).
    pub history: u8,
    /// The revision that revoked the key; 0: it is active.
    pub revoked: Revision,
    /// The lines.
    pub lines: [Option<Line>; LINES],
}

/// A beat as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Beat {
    /// Whose.
    pub store: usize,
    /// Its number.
    pub number: u8,
    /// What the line says.
    pub upto: Revision,
    /// When it was sent, by the store's clock. Only that store knows it.
    pub sent: Tick,
}

/// One change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// A line was created or beaten.
    Beaten(Beat),
    /// A line was deleted.
    Gone(usize),
    /// The key was revoked.
    Revoked,
    /// Something else was written.
    Other,
    /// A restore was accepted: all lines are gone, a history begins (R8).
    Accepted(Heir),
}

/// What an accepted restore leaves in the place of all lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heir {
    /// A line that stands for them.
    Line,
    /// Nothing.
    Nobody,
}

impl Data {
    /// The line of a store, or that of a lost history.
    pub fn line(&self, slot: usize) -> Option<Line> {
        self.lines.get(slot).copied().flatten()
    }

    /// The same a change later.
    pub fn apply(&mut self, event: Event) {
        self.revision += 1;
        let revision = self.revision;
        match event {
            Event::Beaten(beat) => {
                let created = self.line(beat.store).map_or(revision, |line| line.created);
                self.lines[beat.store] = Some(Line {
                    created,
                    modified: revision,
                    beat: beat.number,
                    upto: beat.upto,
                });
            }
            Event::Gone(slot) => self.lines[slot] = None,
            Event::Revoked => self.revoked = revision,
            Event::Other => {}
            Event::Accepted(heir) => {
                self.history += 1;
                self.lines = [None; LINES];
                self.lines[LOST] = (heir == Heir::Line).then_some(Line {
                    created: revision,
                    modified: revision,
                    beat: 0,
                    upto: 0,
                });
            }
        }
    }
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Etcd {
    /// What there was before the log's first change.
    pub start: Data,
    /// The changes since.
    pub log: Vec<Event>,
    /// What they make together.
    pub head: Data,
}

impl Etcd {
    /// A cluster that has this, and no log.
    pub fn new(start: Data) -> Self {
        Self {
            start,
            log: Vec::new(),
            head: start,
        }
    }

    /// Writes a change.
    pub fn write(&mut self, event: Event) {
        self.head.apply(event);
        self.log.push(event);
    }

    /// What there was at a revision, of those that the log still reaches.
    pub fn at(&self, revision: Revision) -> Data {
        let mut data = self.start;
        let count = revision.saturating_sub(self.start.revision);
        for event in self.log.iter().take(count.into()) {
            data.apply(*event);
        }
        data
    }

    /// The change that follows this revision; none if there is none yet, or if it is
    /// compacted.
    pub fn after(&self, revision: Revision) -> Option<Event> {
        let place = revision.checked_sub(self.start.revision)?;
        self.log.get(usize::from(place)).copied()
    }

    /// Whether a watch that has come this far would miss changes.
    pub fn is_compacted(&self, revision: Revision) -> bool {
        revision < self.start.revision
    }

    /// Forgets what nobody will read: the changes up to this revision.
    pub fn forget(&mut self, upto: Revision) {
        let count = upto.saturating_sub(self.start.revision);
        let count = usize::from(count).min(self.log.len());
        for event in self.log.drain(..count) {
            self.start.apply(event);
        }
    }
}
