//! Two engines that get the same operations, one after the other, answer alike and
//! show the same. Which operations is drawn by a number, which a failure prints.

mod drawing;
mod step;

use std::fmt::Debug;

use self::drawing::Drawing;
use self::step::DrawnStep;
use super::subject::{OnMemory, OnSqlite, Subject};
use crate::clock::{StoreTime, UnixMillis};
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

/// The two, and where they stand.
pub(super) struct BothEngines {
    pub memory: OnMemory,
    sqlite: OnSqlite,
    now: StoreTime,
    /// The last row of the audit log that was compared.
    told: i64,
    /// The last revision that was compared.
    revision: u64,
    /// The commits of each so far.
    commits: [u64; 2],
    /// Whether the last operation failed.
    has_failed: bool,
}

impl BothEngines {
    /// Carries an operation out on both.
    pub(super) fn run<O>(&mut self, operation: &O) -> Result<(), String>
    where
        O: Operation + Clone + Send + 'static,
        O::Out: Debug + Send + 'static,
    {
        let memory = self.memory.run(operation.clone(), self.now);
        let sqlite = self.sqlite.run(operation.clone(), self.now);
        // Why something failed, each says in its own words.
        let (memory, sqlite) = (memory.map_err(drop), sqlite.map_err(drop));
        self.has_failed = memory.is_err();
        same("the answer", &memory, &sqlite)
    }

    fn look<R>(&self, read: R) -> Result<(), String>
    where
        R: Read + Clone + Debug + Send + 'static,
        R::Out: Debug + Send + 'static,
    {
        let what = format!("{read:?}");
        let memory = self.memory.read(read.clone(), self.now);
        same(&what, &memory, &self.sqlite.read(read, self.now))
    }

    /// The history, the changes for the feed, and the new rows of the audit log.
    fn compare(&mut self) -> Result<(), String> {
        let mut pasts = [self.memory.known_past(), self.sqlite.known_past()];
        let commits = pasts
            .each_mut()
            .map(|past| std::mem::take(&mut past.reached.mark.commits));
        let [memory, sqlite] = pasts;
        same("the history", &memory, &sqlite)?;
        let [in_memory, in_sqlite] = [0, 1].map(|which| commits[which] - self.commits[which]);
        self.commits = commits;
        // SQLite counts rows that were written, also if they were taken back.
        if !self.has_failed {
            same("the commits", &in_memory, &in_sqlite)?;
        }
        self.look(ChangesAfter(self.revision))?;
        self.revision = memory.reached.mark.revision;
        let after = Selection {
            after: self.told,
            limit: 1_000,
            ..Selection::default()
        };
        self.look(ShowEvents(after.clone()))?;
        let page = self.memory.read(ShowEvents(after), self.now);
        let last = page.and_then(|page| page.events.last().map(|event| event.id));
        self.told = last.unwrap_or(self.told);
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

fn same<T: Debug>(what: &str, memory: &T, sqlite: &T) -> Result<(), String> {
    let (memory, sqlite) = (format!("{memory:#?}"), format!("{sqlite:#?}"));
    match memory == sqlite {
        true => Ok(()),
        false => Err(format!("{what}: in memory {memory}, in SQLite {sqlite}")),
    }
}

fn run(seed: u64) -> Result<(), String> {
    let sqlite = OnSqlite::new();
    let memory = OnMemory::like(&sqlite.known_past());
    let begun = StoreTime::both(sqlite.begun());
    let mut pair = BothEngines {
        memory,
        sqlite,
        now: begun,
        told: 0,
        revision: 0,
        commits: [1; 2],
        has_failed: false,
    };
    let mut drawing = Drawing::new(seed);
    for number in 0..STEPS {
        pair.now = drawing.later(pair.now);
        let step: Box<dyn DrawnStep> = drawing.step(&pair.memory, pair.now);
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

#[test]
fn two_engines_answer_alike() {
    let drawn = UnixMillis::wall().0.unsigned_abs();
    let given = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok());
    let seeds = match given {
        Some(seed) => vec![seed],
        None => vec![1, drawn],
    };
    for seed in seeds {
        if let Err(error) = run(seed) {
            panic!("{SEED}={seed}: {error}");
        }
    }
}
