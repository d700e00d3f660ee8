//! All members, and which of them is asked (R7).

pub mod address;
pub(super) mod member;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{ConnectOptions, GetOptions, SortOrder, SortTarget, Txn, TxnOp, TxnOpResponse};
use tokio::time::Instant;

use crate::engine::etcd::cluster::address::{Address, Transport};
use crate::engine::etcd::cluster::member::{CallError, Member, NotDone};
use crate::engine::etcd::transaction::view::{Fetched, Span, Wanted};
use crate::engine::keyspace::space::{Found, Order, Pair, Range, after_prefix};

/// The tables that every store watches: tombstones, lines, the history, imports and the
/// tick.
const WATCHED: &[u8] = b"bgjtx";
const WATCHED_HALF: &[u8] = b"w/";
const OTHER_HALF: &[u8] = b"d/";

/// Operations that etcd takes in one transaction, unless it is told otherwise.
pub(in crate::engine::etcd) const MOST_OPERATIONS: usize = 128;
/// How long a read goes from member to member: longer than an election.
pub(in crate::engine::etcd) const READ_WITHIN: Duration = Duration::from_secs(3);
/// Between two tries where all members refuse at once.
const BREATHE: Duration = Duration::from_millis(50);

/// The members. Cheap to clone.
#[derive(Debug, Clone)]
pub(in crate::engine::etcd) struct Cluster(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    members: Vec<Member>,
    /// The one that is asked first.
    chosen: AtomicUsize,
    prefix: Vec<u8>,
}

/// A member that is asked, and which of them it is.
pub(in crate::engine::etcd) struct Chosen<'a> {
    pub member: &'a Member,
    index: usize,
}

impl Cluster {
    /// Clients of all members.
    pub(in crate::engine::etcd) async fn new(
        address: &Address,
        options: &ConnectOptions,
    ) -> Result<Self, CallError> {
        let scheme = match address.transport {
            Transport::Plain => "http",
            Transport::Tls => "https",
        };
        let mut members = Vec::new();
        for name in &address.members {
            let url = format!("{scheme}://{name}");
            members.push(Member::new(&url, options.clone()).await?);
        }
        // Stores that start together do not all begin with the same one.
        let first = std::process::id() as usize % members.len().max(1);
        Ok(Self(Arc::new(Inner {
            members,
            chosen: AtomicUsize::new(first),
            prefix: address.prefix.clone().into_bytes(),
        })))
    }

    /// All of them.
    pub(in crate::engine::etcd) fn members(&self) -> &[Member] {
        &self.0.members
    }

    /// The one to ask now.
    pub(in crate::engine::etcd) fn chosen(&self) -> Option<Chosen<'_>> {
        let index = self.0.chosen.load(Ordering::Relaxed);
        let member = self.0.members.get(index)?;
        Some(Chosen { member, index })
    }

    /// This one has not answered: the next one is asked from now on, unless another has
    /// been chosen already.
    pub(in crate::engine::etcd) fn leave(&self, chosen: &Chosen<'_>) {
        let next = (chosen.index + 1) % self.0.members.len().max(1);
        let order = Ordering::Relaxed;
        let _ = self
            .0
            .chosen
            .compare_exchange(chosen.index, next, order, order);
    }

    /// The whole name of a key. What every store watches lies together, because one
    /// watch is of one range, and only within one watch is the order of changes certain.
    pub(in crate::engine::etcd) fn name(&self, key: &[u8]) -> Vec<u8> {
        [&self.0.prefix, half(key), key].concat()
    }

    /// The whole name of the first key after a range that begins with this key.
    pub(in crate::engine::etcd) fn end(&self, from: &[u8], to: &[u8]) -> Vec<u8> {
        [&self.0.prefix, half(from), to].concat()
    }

    /// The key of a whole name; none: it is another's.
    pub(in crate::engine::etcd) fn key<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        let name = name.strip_prefix(self.0.prefix.as_slice())?;
        let watched = name.strip_prefix(WATCHED_HALF);
        watched.or_else(|| name.strip_prefix(OTHER_HALF))
    }

    /// The whole names of all keys that every store watches.
    pub(in crate::engine::etcd) fn watched(&self) -> Span {
        Span {
            from: [&self.0.prefix, WATCHED_HALF].concat(),
            to: [&self.0.prefix, after_prefix(WATCHED_HALF).as_slice()].concat(),
        }
    }

    /// Fetches what is wanted, in the snapshot of what was fetched before, or a new one.
    ///
    /// A new snapshot is not before the revision `at_least` (R5): an answer of before
    /// is thrown away, and another member is asked.
    pub(in crate::engine::etcd) async fn fetch(
        &self,
        fetched: &mut Fetched,
        wanted: Wanted,
        at_least: u64,
    ) -> Result<(), CallError> {
        let keys: Vec<_> = wanted.keys.into_iter().collect();
        let ranges: Vec<_> = wanted.ranges.into_iter().collect();
        let looks = keys.into_iter().map(Look::Key);
        let looks: Vec<_> = looks.chain(ranges.into_iter().map(Look::Range)).collect();
        for some in looks.chunks(MOST_OPERATIONS) {
            self.fetch_some(fetched, some, at_least).await?;
        }
        Ok(())
    }

    async fn fetch_some(
        &self,
        fetched: &mut Fetched,
        looks: &[Look],
        at_least: u64,
    ) -> Result<(), CallError> {
        let at = fetched.revision();
        let ops: Vec<_> = looks.iter().map(|look| self.get(look, at)).collect();
        let txn = Txn::new().and_then(ops);
        let until = Instant::now() + READ_WITHIN;
        loop {
            let chosen = self.chosen().ok_or_else(nobody)?;
            let error = match chosen.member.txn(txn.clone()).await {
                Ok(answer) => {
                    let revision = answer.header().map_or(0, |header| header.revision());
                    let revision = u64::try_from(revision).unwrap_or_default();
                    if revision >= at_least {
                        fetched.at(at.unwrap_or(revision));
                        self.note(fetched, looks, answer.op_responses());
                        return Ok(());
                    }
                    CallError::InDoubt("an answer of before what is known".to_owned())
                }
                Err(error) => error,
            };
            match &error {
                CallError::NotDone(NotDone::Unreachable(_) | NotDone::Busy)
                | CallError::InDoubt(_)
                    if Instant::now() < until =>
                {
                    self.leave(&chosen);
                    tokio::time::sleep(BREATHE).await;
                }
                _ => return Err(error),
            }
        }
    }

    fn get(&self, look: &Look, at: Option<u64>) -> TxnOp {
        let revision = at.map_or(0, |at| i64::try_from(at).unwrap_or(i64::MAX));
        let options = GetOptions::new().with_revision(revision);
        match look {
            Look::Key(key) => TxnOp::get(self.name(key), Some(options)),
            Look::Range(range) => {
                let to = self.end(&range.from, &range.to);
                let options = in_range(options, range).with_range(to);
                TxnOp::get(self.name(&range.from), Some(options))
            }
        }
    }

    fn note(&self, fetched: &mut Fetched, looks: &[Look], answers: Vec<TxnOpResponse>) {
        for (look, answer) in looks.iter().zip(answers) {
            let TxnOpResponse::Get(answer) = answer else {
                continue;
            };
            let pairs = answer.kvs().iter().filter_map(|kv| {
                Some(Pair {
                    key: self.key(kv.key())?.to_vec(),
                    found: Found {
                        value: kv.value().to_vec(),
                        made: u64::try_from(kv.create_revision()).unwrap_or_default(),
                        changed: u64::try_from(kv.mod_revision()).unwrap_or_default(),
                    },
                })
            });
            let mut pairs: Vec<_> = pairs.collect();
            match look {
                Look::Key(key) => fetched.key(key.clone(), pairs.pop().map(|pair| pair.found)),
                Look::Range(range) => {
                    if range.order == Order::AsMade {
                        pairs.sort_by(|a, b| (a.found.made, &a.key).cmp(&(b.found.made, &b.key)));
                    }
                    pairs.truncate(range.limit as usize);
                    fetched.range(range.clone(), pairs);
                }
            }
        }
    }
}

/// One thing to be fetched.
enum Look {
    Key(Vec<u8>),
    Range(Range),
}

/// etcd sorts keys of one revision in no order. So that none of them is passed over,
/// it is asked for as many more as one transaction can have made.
fn in_range(options: GetOptions, range: &Range) -> GetOptions {
    let made_after = i64::try_from(range.made_after).unwrap_or(i64::MAX);
    let options = options.with_min_create_revision(made_after.saturating_add(1));
    let limit = i64::from(range.limit);
    match range.order {
        Order::Ascending => options.with_limit(limit),
        Order::Descending => options
            .with_limit(limit)
            .with_sort(SortTarget::Key, SortOrder::Descend),
        Order::AsMade => options
            .with_limit(limit + MOST_OPERATIONS as i64)
            .with_sort(SortTarget::Create, SortOrder::Ascend),
    }
}

/// Whether every store's watch tells of this key.
pub(in crate::engine::etcd) fn is_watched(key: &[u8]) -> bool {
    key.first().is_some_and(|table| WATCHED.contains(table))
}

fn half(key: &[u8]) -> &'static [u8] {
    match is_watched(key) {
        true => WATCHED_HALF,
        false => OTHER_HALF,
    }
}

fn nobody() -> CallError {
    CallError::NotDone(NotDone::Unreachable("no member is known".to_owned()))
}
