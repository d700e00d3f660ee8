//! Two engines that get the same operations, one after the other, answer alike and
//! show the same. Which operations is drawn by a number, which a failure prints.

mod drawing;
mod imports;
mod step;

use std::fmt::Debug;

use self::drawing::Drawing;
use self::step::DrawnStep;
use super::subject::{OnKeyspace, OnMemory, OnSqlite, Owner, Subject};
use crate::clock::{StoreTime, UnixMillis};
use crate::engine::rows::KnownPast;
use crate::operations::audit::{Selection, ShowEvents};
use crate::operations::feed::ChangesAfter;
use crate::operations::keys::ShowKey;
use crate::operations::keys::own_key::ShowOverview;
use crate::operations::users::ListUsers;
use crate::operations::users::passwords::FindAccount;
use crate::operations::users::sessions::IsLoggedIn;
use crate::operations::{Operation, Read};

/// Operations in one run.
const STEPS: u32 = 1_500;
/// Between two looks at everything.
const LOOK_EVERY: u32 = 20;
/// Takes the place of the drawn number, to see a failure again.
const SEED: &str = "REKEY_CONFORMANCE_SEED";

/// An engine that is compared with the one in memory.
pub(super) trait Peer: Subject + Sized {
    /// An empty one, and one in memory that stands where it does.
    fn begin() -> AtBeginning<Self>;
    /// Brings the one in memory to where this one stands, when something is about to
    /// happen or has happened.
    fn lead(&mut self, memory: &mut OnMemory, now: StoreTime);
    /// Puts a lease on record, if it keeps any.
    fn record_lease(&mut self, lease_ms: u32) -> Result<(), String>;
    /// What its data knows of the past, if it has one owner at a time.
    fn known_past(&self) -> Option<KnownPast>;
    /// A text without what two engines need not have in common.
    fn common(text: String) -> String;
}

/// The two at the beginning.
pub(super) struct AtBeginning<P> {
    memory: OnMemory,
    peer: P,
}

impl Peer for OnSqlite {
    fn begin() -> AtBeginning<Self> {
        let peer = Self::new();
        let memory = OnMemory::like(&Owner::known_past(&peer));
        AtBeginning { memory, peer }
    }

    fn lead(&mut self, _: &mut OnMemory, _: StoreTime) {}

    fn record_lease(&mut self, lease_ms: u32) -> Result<(), String> {
        Owner::record_lease(self, lease_ms)
    }

    fn known_past(&self) -> Option<KnownPast> {
        Some(Owner::known_past(self))
    }

    fn common(text: String) -> String {
        text
    }
}

/// In memory only changes of keys have a revision, and here everything that is changed.
impl Peer for OnKeyspace {
    fn begin() -> AtBeginning<Self> {
        let peer = Self::new();
        let memory = OnMemory::beside(&peer);
        AtBeginning { memory, peer }
    }

    fn lead(&mut self, memory: &mut OnMemory, now: StoreTime) {
        memory.go_on_from(self.revision(now));
    }

    fn record_lease(&mut self, _: u32) -> Result<(), String> {
        Ok(())
    }

    fn known_past(&self) -> Option<KnownPast> {
        None
    }

    /// Rows of the log are numbered otherwise: their order is compared. And whether a
    /// key is replayable is told by a time on record that is minutes old.
    fn common(text: String) -> String {
        let is_number = |text: &str| text.trim_end_matches(',').parse::<i64>().is_ok();
        let is_common = |line: &&str| {
            let line = line.trim_start();
            let is_id = line.strip_prefix("id: ").is_some_and(is_number);
            !is_id && !line.starts_with("replayable: ")
        };
        text.lines()
            .filter(is_common)
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The two, and where they stand.
pub(super) struct BothEngines<P> {
    pub memory: OnMemory,
    peer: P,
    now: StoreTime,
    /// The last row of each audit log that was compared.
    told: [i64; 2],
    /// The last revision that was compared.
    revision: u64,
    /// The commits of each so far.
    commits: [u64; 2],
    /// Whether the last operation failed.
    has_failed: bool,
}

impl<P: Peer> BothEngines<P> {
    /// Carries an operation out on both.
    pub(super) fn run<O>(&mut self, operation: &O) -> Result<(), String>
    where
        O: Operation + Clone + Send + Sync + 'static,
        O::Out: Debug + Send + 'static,
    {
        self.peer.lead(&mut self.memory, self.now);
        let memory = self.memory.run(operation.clone(), self.now);
        let peer = self.peer.run(operation.clone(), self.now);
        self.peer.lead(&mut self.memory, self.now);
        // Why something failed, each says in its own words.
        let (memory, peer) = (memory.map_err(drop), peer.map_err(drop));
        self.has_failed = memory.is_err();
        same::<P, _>("the answer", &memory, &peer)
    }

    /// Puts a lease on record on both.
    pub(super) fn record_lease(&mut self, lease_ms: u32) -> Result<(), String> {
        self.has_failed = false;
        Owner::record_lease(&mut self.memory, lease_ms)?;
        self.peer.record_lease(lease_ms)
    }

    fn look<R>(&self, read: R) -> Result<(), String>
    where
        R: Read + Clone + Debug + Send + Sync + 'static,
        R::Out: Debug + Send + 'static,
    {
        let what = format!("{read:?}");
        let memory = self.memory.read(read.clone(), self.now);
        same::<P, _>(&what, &memory, &self.peer.read(read, self.now))
    }

    /// The history, the changes for the feed, and the new rows of the audit log.
    fn compare(&mut self) -> Result<(), String> {
        let mut memory = self.memory.known_past();
        let revision = memory.reached.mark.revision;
        let in_memory = std::mem::take(&mut memory.reached.mark.commits);
        let former = std::mem::replace(&mut self.commits[0], in_memory);
        if let Some(mut peer) = self.peer.known_past() {
            let in_peer = std::mem::take(&mut peer.reached.mark.commits);
            let peers_former = std::mem::replace(&mut self.commits[1], in_peer);
            same::<P, _>("the history", &memory, &peer)?;
            // SQLite counts rows that were written, also if they were taken back.
            if !self.has_failed {
                let (memory, peer) = (in_memory - former, in_peer - peers_former);
                same::<P, _>("the commits", &memory, &peer)?;
            }
        }
        self.look(ChangesAfter(self.revision))?;
        self.revision = revision;
        let [memory, peer] = self.told.map(|after| {
            ShowEvents(Selection {
                after,
                limit: 1_000,
                ..Selection::default()
            })
        });
        let pages = [
            self.memory.read(memory, self.now),
            self.peer.read(peer, self.now),
        ];
        same::<P, _>("the audit log", &pages[0], &pages[1])?;
        for (told, page) in self.told.iter_mut().zip(pages) {
            let last = page.and_then(|page| page.events.last().map(|event| event.id));
            *told = last.unwrap_or(*told);
        }
        Ok(())
    }

    /// Everything that can be asked for.
    fn compare_all(&self, drawing: &Drawing) -> Result<(), String> {
        let (after, limit) = (String::new(), 1_000);
        self.look(ListUsers { after, limit })?;
        for user in drawing.users() {
            let known = self.memory.read(
                ShowEvents(Selection {
                    user: Some(user.clone()),
                    limit: 1,
                    ..Selection::default()
                }),
                self.now,
            );
            if known.is_some_and(|page| !page.events.is_empty()) {
                let limit = 12;
                self.look(ShowOverview { user, limit })?;
            }
        }
        for digest in drawing.keys() {
            self.look(ShowKey(digest))?;
            self.look(crate::operations::keys::Resolve(digest))?;
        }
        for digest in drawing.sessions() {
            self.look(IsLoggedIn(digest))?;
        }
        for email in drawing.emails() {
            let devices = drawing.sessions().collect();
            self.look(FindAccount { email, devices })?;
        }
        Ok(())
    }
}

fn same<P: Peer, T: Debug>(what: &str, memory: &T, peer: &T) -> Result<(), String> {
    let (memory, peer) = (format!("{memory:#?}"), format!("{peer:#?}"));
    let (memory, peer) = (P::common(memory), P::common(peer));
    match memory == peer {
        true => Ok(()),
        false => Err(format!(
            "{what}: in memory {memory}, in the other one {peer}"
        )),
    }
}

fn run<P: Peer>(seed: u64) -> Result<(), String> {
    let AtBeginning { memory, peer } = P::begin();
    let begun = StoreTime::both(peer.begun());
    let mut pair = BothEngines {
        memory,
        peer,
        now: begun,
        told: [0; 2],
        revision: 0,
        commits: [1; 2],
        has_failed: false,
    };
    let mut drawing = Drawing::new(seed);
    for number in 0..STEPS {
        pair.now = drawing.later(pair.now);
        let step: Box<dyn DrawnStep<P>> = drawing.step(&pair.memory, pair.now);
        let done = step.on_both(&mut pair).and_then(|()| pair.compare());
        let done = done.and_then(|()| match number % LOOK_EVERY {
            0 => pair.compare_all(&drawing),
            _ => Ok(()),
        });
        done.map_err(|error| format!("step {number}, {}: {error}", step.name()))?;
    }
    pair.compare_all(&drawing)?;
    // Where nothing is changed, nothing is compared.
    let [commits, _] = pair.commits;
    match commits > u64::from(STEPS / 5) {
        true => Ok(()),
        false => Err(format!("only {commits} operations changed something")),
    }
}

fn compare_with<P: Peer>() {
    let drawn = UnixMillis::wall().0.unsigned_abs();
    let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seeds = match given {
        Some(seed) => vec![seed],
        None => vec![1, drawn],
    };
    for seed in seeds {
        if let Err(error) = run::<P>(seed) {
            panic!("{SEED}={seed}: {error}");
        }
    }
}

#[test]
fn memory_and_sqlite_answer_alike() {
    compare_with::<OnSqlite>();
}

#[test]
fn memory_and_the_ordered_space_answer_alike() {
    compare_with::<OnKeyspace>();
}
