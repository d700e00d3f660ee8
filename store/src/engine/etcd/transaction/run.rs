//! Runs operations and reads on etcd.
//!
//! An operation is applied to what was fetched of one snapshot, as often as something is
//! missing. Then one transaction carries out what it has written, if nothing has changed
//! of what it has looked at. If something has, all of it begins again (R5).

use std::time::Duration;

use tokio::time::Instant;

use super::job::{Asked, Job, Tick};
use super::wanted;
use crate::engine::etcd::Etcd;
use crate::engine::etcd::cluster::member::{CallError, NotDone};
use crate::engine::etcd::replica::Lost;
use crate::engine::etcd::transaction::commit::{Commit, CommitError, Outcome};
use crate::engine::etcd::transaction::slots::Taken;
use crate::engine::etcd::transaction::view::{
    Fetched, Looked, Seen, View, ViewError, Wanted, Writes,
};
use crate::engine::keyspace::KeyspaceTx;
use crate::engine::{Engine, Impossible, Patience, ReadError, Serve, WriteError};
use crate::operations::{Context, Operation, Read};

/// How often an operation begins again. Of operations that race for one key all but one
/// are refused by their second look, so this many conflicts are a fault.
const MOST_CONFLICTS: u32 = 200;
/// How often something may be missing: each round fetches all that was missing before.
const MOST_ROUNDS: u32 = 64;
/// How long an operation goes on beginning again.
const BEGINS_WITHIN: Duration = Duration::from_secs(10);

impl Engine for Etcd {
    async fn run_within<O>(&self, patience: Patience, operation: O) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync + 'static,
        O::Out: Send + 'static,
    {
        let taken = self.slot(&patience).await?;
        if !is_worth(&patience) {
            taken.give_back();
            return Err(WriteError::NotBegun);
        }
        // One that has begun goes on to its end, whoever waits for it.
        let engine = self.clone();
        let task =
            tokio::spawn(async move { engine.carry_out(taken, Asked(operation), At::Now).await });
        task.await.map_err(|_| WriteError::Unknown)?
    }

    async fn read<R>(&self, read: R) -> Result<R::Out, ReadError>
    where
        R: Read + Send + Sync + 'static,
        R::Out: Send + 'static,
    {
        let out = self.look(&read, At::Now).await?;
        // R2: at the moment at which it leaves.
        match self.replica.fence_left() {
            0 => Err(ReadError::NotCurrent),
            _ => Ok(out),
        }
    }

    async fn stop(&self) {
        self.slots.close();
        self.slots.all_free().await;
    }
}

/// At which time an operation is applied.
#[derive(Debug, Clone, Copy)]
enum At {
    /// By the clock, each time afresh.
    Now,
    /// By the test.
    #[cfg(test)]
    Set(crate::clock::StoreTime),
}

/// An operation that was applied to all that it wanted.
struct Applied<T> {
    out: T,
    looked: Looked,
    writes: Writes,
    snapshot: u64,
}

/// Why an operation could not be applied.
enum NotApplied {
    Missing(Wanted),
    Impossible(Impossible),
}

impl Etcd {
    /// Begins the next segment of the audit log, now.
    pub(in crate::engine::etcd) async fn tick(&self) -> Result<(), WriteError> {
        let taken = self.slot(&Patience::WhileAwaited).await?;
        self.carry_out(taken, Tick, At::Now).await
    }

    fn context_at(&self, at: At) -> Context {
        match at {
            At::Now => self.context(),
            #[cfg(test)]
            At::Set(now) => Context {
                now,
                ..self.context()
            },
        }
    }

    async fn slot(&self, patience: &Patience) -> Result<Taken, WriteError> {
        let taken = self.slots.take();
        let taken = match patience {
            Patience::Until(moment) => {
                let until = Instant::from_std(*moment);
                let taken = tokio::time::timeout_at(until, taken).await;
                taken.map_err(|_| WriteError::NotBegun)?
            }
            Patience::WhileAwaited | Patience::While(_) => taken.await,
        };
        taken.ok_or(WriteError::Stopping)
    }

    async fn carry_out<J: Job>(
        &self,
        mut taken: Taken,
        job: J,
        at: At,
    ) -> Result<J::Out, WriteError> {
        let until = Instant::now() + BEGINS_WITHIN;
        for _ in 0..MOST_CONFLICTS {
            if self.replica.lost_now().is_some() {
                taken.give_back();
                return Err(WriteError::NotOwner);
            }
            let applied = match self.apply(&job, at).await {
                Ok(applied) => applied,
                Err(error) => {
                    taken.give_back();
                    return Err(error);
                }
            };
            if applied.writes.is_empty() {
                taken.give_back();
                return Ok(applied.out);
            }
            let before = self.replica.seen();
            let is_watched = applied.writes.are_watched();
            let commit = Commit {
                cluster: self.replica.cluster(),
                line: self.replica.line(),
                looked: applied.looked,
                snapshot: applied.snapshot,
                writes: applied.writes,
            };
            match commit.run(&mut taken.slot).await {
                Ok(Outcome::Committed(revision)) => {
                    taken.give_back();
                    let mut out = applied.out;
                    J::settle(&mut out, revision);
                    return self.committed(out, revision, before, is_watched).await;
                }
                Ok(Outcome::Conflict) if Instant::now() < until => {}
                Ok(Outcome::Conflict) => {
                    taken.give_back();
                    return Err(WriteError::Busy);
                }
                Ok(Outcome::LineGone) => {
                    self.replica.lose(Lost::Line);
                    return Err(WriteError::NotOwner);
                }
                Err(CommitError::NotDone(why)) => {
                    taken.give_back();
                    return Err(write_error(why));
                }
                // The slot is never used again.
                Err(CommitError::Unknown(why)) => {
                    tracing::warn!(why, "nobody knows whether a change was made");
                    return Err(WriteError::Unknown);
                }
            }
        }
        taken.give_back();
        tracing::error!("an operation was in conflict with others {MOST_CONFLICTS} times");
        Err(WriteError::Busy)
    }

    /// Waits until the feed knows of a change that it has to know of (S2).
    async fn committed<T>(
        &self,
        out: T,
        revision: u64,
        before: u64,
        is_watched: bool,
    ) -> Result<T, WriteError> {
        self.replica.wrote(revision, before);
        if is_watched {
            let mut position = self.replica.position();
            tokio::select! {
                _ = position.wait_for(|at| *at >= revision) => {}
                _ = self.replica.lost() => return Err(WriteError::Unknown),
            }
        }
        Ok(out)
    }

    async fn apply<J: Job>(&self, job: &J, at: At) -> Result<Applied<J::Out>, WriteError> {
        let seen = self.replica.seen();
        let mut fetched = Fetched::default();
        let mut wanted = wanted::of(&job.looks_at());
        for _ in 0..MOST_ROUNDS {
            self.fetch(&mut fetched, wanted, seen).await?;
            let cx = self.context_at(at);
            match self.apply_once(job, &fetched, &cx) {
                Ok(applied) => return Ok(applied),
                Err(NotApplied::Missing(missing)) => wanted = missing,
                Err(NotApplied::Impossible(error)) => {
                    tracing::error!(%error, "an operation cannot be");
                    return Err(WriteError::RolledBack);
                }
            }
        }
        tracing::error!("an operation looked for something new {MOST_ROUNDS} times");
        Err(WriteError::RolledBack)
    }

    fn apply_once<J: Job>(
        &self,
        job: &J,
        fetched: &Fetched,
        cx: &Context,
    ) -> Result<Applied<J::Out>, NotApplied> {
        let unique = crate::engine::etcd::random();
        let mut tx = KeyspaceTx::new(View::new(fetched), unique, self.wrap());
        let out = job.apply(&mut tx, cx);
        let seen = tx.into_space().end();
        let Seen {
            wanted,
            looked,
            writes,
        } = seen;
        match out {
            Ok(out) => Ok(Applied {
                out,
                looked,
                writes,
                snapshot: fetched.revision().unwrap_or(0),
            }),
            Err(ViewError::Missing) => Err(NotApplied::Missing(wanted)),
            Err(ViewError::Impossible(error)) => Err(NotApplied::Impossible(error)),
        }
    }

    async fn look<R: Read>(&self, read: &R, at: At) -> Result<R::Out, ReadError> {
        let seen = self.replica.seen();
        let mut fetched = Fetched::default();
        let mut wanted = wanted::of(&read.looks_at());
        for _ in 0..MOST_ROUNDS {
            let fetching = self.fetch(&mut fetched, wanted, seen).await;
            fetching.map_err(|_| ReadError::Failed)?;
            let cx = self.context_at(at);
            let (out, missing) = {
                let tx = KeyspaceTx::reading(View::new(&fetched));
                let out = read.read(&tx, &cx);
                (out, tx.into_space().end().wanted)
            };
            match out {
                Ok(out) => return Ok(out),
                Err(ViewError::Missing) => wanted = missing,
                Err(ViewError::Impossible(error)) => {
                    tracing::error!(%error, "the data say what cannot be");
                    return Err(ReadError::Failed);
                }
            }
        }
        tracing::error!("a read looked for something new {MOST_ROUNDS} times");
        Err(ReadError::Failed)
    }

    async fn fetch(
        &self,
        fetched: &mut Fetched,
        wanted: Wanted,
        seen: u64,
    ) -> Result<(), WriteError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let cluster = self.replica.cluster();
        cluster
            .fetch(fetched, wanted, seen)
            .await
            .map_err(|error| {
                tracing::warn!(%error, "etcd could not be read");
                match error {
                    CallError::NotDone(why) => write_error(why),
                    // Nothing was written.
                    CallError::InDoubt(_) => WriteError::RolledBack,
                }
            })?;
        if let Some(revision) = fetched.revision() {
            self.replica.confirm(revision);
        }
        Ok(())
    }
}

fn is_worth(patience: &Patience) -> bool {
    match patience {
        Patience::WhileAwaited => true,
        Patience::Until(moment) => std::time::Instant::now() < *moment,
        Patience::While(is_awaited) => is_awaited(),
    }
}

fn write_error(why: NotDone) -> WriteError {
    match why {
        NotDone::Full => WriteError::Full,
        NotDone::Busy => WriteError::Busy,
        why => {
            tracing::error!(%why, "etcd refused a change");
            WriteError::RolledBack
        }
    }
}

/// Operations at a time that a test sets.
#[cfg(test)]
impl Etcd {
    pub(crate) async fn run_at<O>(
        &self,
        operation: O,
        now: crate::clock::StoreTime,
    ) -> Result<O::Out, WriteError>
    where
        O: Operation + Send + Sync,
        O::Out: Send,
    {
        let taken = self.slot(&Patience::WhileAwaited).await?;
        self.carry_out(taken, Asked(operation), At::Set(now)).await
    }

    pub(crate) async fn tick_at(&self, now: crate::clock::StoreTime) -> Result<(), WriteError> {
        let taken = self.slot(&Patience::WhileAwaited).await?;
        self.carry_out(taken, Tick, At::Set(now)).await
    }

    pub(crate) async fn read_at<R: Read>(
        &self,
        read: R,
        now: crate::clock::StoreTime,
    ) -> Result<R::Out, ReadError> {
        self.look(&read, At::Set(now)).await
    }
}
