//! Carries the writes of an operation out: one transaction that compares all that the
//! operation has looked at, sent until its outcome is known (R5, R6).

use std::time::Duration;

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use tokio::time::Instant;

use crate::engine::etcd::cluster::member::{CallError, NotDone};
use crate::engine::etcd::cluster::{Cluster, MOST_OPERATIONS};
use crate::engine::etcd::transaction::slots::{self, Slot};
use crate::engine::etcd::transaction::view::{Looked, Writes};
use crate::engine::keyspace::space::after_prefix;

/// How long it is tried to learn what became of a transaction. Longer than an election
/// and two calls that get no answer.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
/// Between two tries where all members refuse at once.
const BREATHE: Duration = Duration::from_millis(50);

/// The line of this process, which every transaction compares: when it is gone, another
/// store may have told somebody that this one promises nothing any more.
#[derive(Debug, Clone)]
pub(in crate::engine::etcd) struct OwnLine {
    /// Its key.
    pub key: Vec<u8>,
    /// The revision that made it.
    pub made: u64,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::etcd) enum Outcome {
    /// It is committed, at this revision.
    Committed(u64),
    /// Something that it compares has changed. It will never take effect.
    Conflict,
    /// The line of this process is gone. It will never take effect.
    LineGone,
}

/// A transaction of which nobody knows what became, or why there was none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::engine::etcd) enum CommitError {
    /// It will never take effect.
    #[error("{0}")]
    NotDone(NotDone),
    /// It may have taken effect, or may yet. Its slot must not be used again.
    #[error("the outcome is not known: {0}")]
    Unknown(String),
}

/// A transaction that is to be sent.
pub(in crate::engine::etcd) struct Commit<'a> {
    pub cluster: &'a Cluster,
    pub line: &'a OwnLine,
    pub looked: Looked,
    /// The revision of the snapshot that was looked at.
    pub snapshot: u64,
    pub writes: Writes,
}

impl Commit<'_> {
    /// Sends it through this slot until its outcome is known, and notes in the slot what
    /// it holds from then on.
    pub(in crate::engine::etcd) async fn run(
        self,
        slot: &mut Slot,
    ) -> Result<Outcome, CommitError> {
        let number = slot.number + 1;
        let txn = self.txn(slot, number)?;
        let chosen = self.cluster.chosen();
        let Some(chosen) = chosen else {
            let nobody = NotDone::Unreachable("no member is known".to_owned());
            return Err(CommitError::NotDone(nobody));
        };
        match chosen.member.txn(txn).await {
            Ok(answer) => Ok(self.outcome(slot, number, &answer)),
            Err(CallError::NotDone(NotDone::Unreachable(_))) => {
                self.cluster.leave(&chosen);
                self.find_out(slot, number).await
            }
            Err(CallError::NotDone(why)) => Err(CommitError::NotDone(why)),
            Err(CallError::InDoubt(_)) => {
                self.cluster.leave(&chosen);
                self.find_out(slot, number).await
            }
        }
    }

    fn txn(&self, slot: &Slot, number: u64) -> Result<Txn, CommitError> {
        let mut compares = self.standing(slot);
        for (key, changed) in &self.looked.keys {
            compares.push(is_unchanged(self.cluster.name(key), *changed));
        }
        for span in &self.looked.ranges {
            let from = self.cluster.name(&span.from);
            let since = revision(self.snapshot.saturating_add(1));
            let compare = Compare::mod_revision(from, CompareOp::Less, since);
            compares.push(compare.with_range(self.cluster.end(&span.from, &span.to)));
        }
        let mut writes = vec![TxnOp::put(
            self.cluster.name(&slot.key()),
            slots::value(number),
            None,
        )];
        for prefix in &self.writes.cleared {
            let to = self.cluster.end(prefix, &after_prefix(prefix));
            let options = DeleteOptions::new().with_range(to);
            writes.push(TxnOp::delete(self.cluster.name(prefix), Some(options)));
        }
        for (key, value) in &self.writes.keys {
            let name = self.cluster.name(key);
            writes.push(match value {
                Some(value) => TxnOp::put(name, value.clone(), None),
                None => TxnOp::delete(name, None),
            });
        }
        if compares.len() > MOST_OPERATIONS || writes.len() > MOST_OPERATIONS {
            let counts = format!("{} compares, {} writes", compares.len(), writes.len());
            return Err(CommitError::NotDone(NotDone::Invalid(counts)));
        }
        let txn = Txn::new().when(compares).and_then(writes);
        Ok(txn.or_else(self.looks(slot)))
    }

    /// What holds as long as the line stands and the slot was not used.
    fn standing(&self, slot: &Slot) -> Vec<Compare> {
        let line = self.cluster.name(&self.line.key);
        vec![
            Compare::create_revision(line, CompareOp::Equal, revision(self.line.made)),
            is_unchanged(self.cluster.name(&slot.key()), slot.changed),
        ]
    }

    /// What is to be known where the comparisons fail.
    fn looks(&self, slot: &Slot) -> Vec<TxnOp> {
        vec![
            TxnOp::get(self.cluster.name(&slot.key()), None),
            TxnOp::get(self.cluster.name(&self.line.key), None),
        ]
    }

    fn outcome(&self, slot: &mut Slot, number: u64, answer: &TxnResponse) -> Outcome {
        if answer.succeeded() {
            let header = answer.header().map_or(0, |header| header.revision());
            slot.changed = u64::try_from(header).unwrap_or_default();
            slot.number = number;
            return Outcome::Committed(slot.changed);
        }
        let mut looks = answer.op_responses().into_iter();
        let found = looks.next().and_then(first);
        let line = looks.next().and_then(first);
        let is_ours = line.is_some_and(|line| line.made == self.line.made);
        match found {
            _ if !is_ours => Outcome::LineGone,
            Some(found) if slots::number(&found.value) == Some(number) => {
                slot.changed = found.changed;
                slot.number = number;
                Outcome::Committed(found.changed)
            }
            _ => Outcome::Conflict,
        }
    }

    /// R6: burns the slot, or finds that the transaction has taken effect.
    async fn find_out(&self, slot: &mut Slot, number: u64) -> Result<Outcome, CommitError> {
        let burned = number + 1;
        let put = TxnOp::put(self.cluster.name(&slot.key()), slots::value(burned), None);
        let txn = Txn::new()
            .when(self.standing(slot))
            .and_then(vec![put])
            .or_else(self.looks(slot));
        let until = Instant::now() + KNOWN_WITHIN;
        loop {
            let Some(chosen) = self.cluster.chosen() else {
                return Err(CommitError::Unknown("no member is known".to_owned()));
            };
            match chosen.member.txn(txn.clone()).await {
                Ok(answer) if answer.succeeded() => {
                    let header = answer.header().map_or(0, |header| header.revision());
                    slot.changed = u64::try_from(header).unwrap_or_default();
                    slot.number = burned;
                    // The operation may be tried again.
                    return Ok(Outcome::Conflict);
                }
                Ok(answer) => {
                    let looks = &mut answer.op_responses().into_iter();
                    let found = looks.next().and_then(first);
                    let held = found.as_ref().and_then(|found| slots::number(&found.value));
                    // An earlier copy of the burning itself.
                    if let (Some(found), true) = (&found, held == Some(burned)) {
                        slot.changed = found.changed;
                        slot.number = burned;
                        return Ok(Outcome::Conflict);
                    }
                    return match self.outcome(slot, number, &answer) {
                        // The slots went with the line, and what they held.
                        Outcome::LineGone => Err(CommitError::Unknown("the line is gone".into())),
                        outcome => Ok(outcome),
                    };
                }
                Err(error) if Instant::now() >= until => {
                    return Err(CommitError::Unknown(error.to_string()));
                }
                Err(_) => {
                    self.cluster.leave(&chosen);
                    tokio::time::sleep(BREATHE).await;
                }
            }
        }
    }
}

/// A key as a failed transaction has found it.
struct Held {
    value: Vec<u8>,
    made: u64,
    changed: u64,
}

fn first(answer: TxnOpResponse) -> Option<Held> {
    let TxnOpResponse::Get(answer) = answer else {
        return None;
    };
    let kv = answer.kvs().first()?;
    Some(Held {
        value: kv.value().to_vec(),
        made: u64::try_from(kv.create_revision()).unwrap_or_default(),
        changed: u64::try_from(kv.mod_revision()).unwrap_or_default(),
    })
}

/// A key that is not there was last written at 0.
fn is_unchanged(name: Vec<u8>, changed: u64) -> Compare {
    Compare::mod_revision(name, CompareOp::Equal, revision(changed))
}

fn revision(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
