//! How a process becomes one of the stores: it finds or makes the history, makes its
//! line, and reads what the watch goes on from (R1, R4, R8).

use std::time::Duration;

use etcd_client::{Compare, CompareOp, Txn, TxnOp};
use rekey_protocol::Incarnation;
use tokio::time::Instant;

use crate::clock::StoreTime;
use crate::engine::etcd::cluster::Cluster;
use crate::engine::etcd::cluster::member::{CallError, NotDone};
use crate::engine::etcd::rows::{HISTORY, History, LINES, LineRow, line_key, line_of};
use crate::engine::etcd::transaction::commit::OwnLine;
use crate::engine::etcd::transaction::slots;
use crate::engine::etcd::transaction::view::{Fetched, Wanted};
use crate::engine::keyspace::space::{Range, Space};
use crate::operations::incarnation::OlderData;
use crate::replicas::{Line, LineId, TTL_MS};

/// How long a start goes on trying to reach etcd.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// Between two tries.
const BREATHE: Duration = Duration::from_millis(200);

/// What a store begins with.
pub(in crate::engine::etcd) struct Joined {
    pub history: History,
    pub incarnation: Incarnation,
    pub id: LineId,
    pub line: OwnLine,
    /// The lines of all stores at that moment.
    pub lines: Vec<Standing>,
    /// The latest moment that any store has told of (S12).
    pub time: Option<StoreTime>,
}

/// A line that stood when this store joined.
pub(in crate::engine::etcd) struct Standing {
    pub id: LineId,
    pub line: Line,
}

/// Why a store cannot begin.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine::etcd) enum JoinError {
    /// It goes on failing.
    #[error("etcd cannot be reached: {0}")]
    Unreachable(CallError),
    /// It says no.
    #[error("{0}")]
    Refused(NotDone),
    /// R8.
    #[error(
        "etcd was restored from a snapshot: its log is shorter than its revision, so keys revoked after that snapshot may be valid again; if that is meant, start with --accept-restore"
    )]
    Restored,
    /// Written by something else.
    #[error("the key {0:?} holds something that no rekey-store has written; choose another prefix")]
    Foreign(String),
}

/// Makes this process one of the stores.
pub(in crate::engine::etcd) async fn join(
    cluster: &Cluster,
    older: OlderData,
    moment: StoreTime,
) -> Result<Joined, JoinError> {
    let until = Instant::now() + REACHED_WITHIN;
    loop {
        let error = match try_once(cluster, older, moment).await {
            Ok(joined) => return Ok(joined),
            Err(Failed::For(error)) => return Err(error),
            Err(Failed::Call(error)) => error,
        };
        match error {
            CallError::NotDone(
                why @ (NotDone::Denied(_) | NotDone::Invalid(_) | NotDone::Full),
            ) => return Err(JoinError::Refused(why)),
            error if Instant::now() >= until => return Err(JoinError::Unreachable(error)),
            error => tracing::warn!(%error, "etcd does not answer yet"),
        }
        if let Some(chosen) = cluster.chosen() {
            cluster.leave(&chosen);
        }
        tokio::time::sleep(BREATHE).await;
    }
}

/// Why one try has failed.
enum Failed {
    /// For good.
    For(JoinError),
    /// Another try may do.
    Call(CallError),
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

async fn try_once(
    cluster: &Cluster,
    older: OlderData,
    moment: StoreTime,
) -> Result<Joined, Failed> {
    let (history, value) = history(cluster, older).await?;
    let Some(incarnation) = incarnation(&history.id) else {
        let key = String::from_utf8_lossy(&cluster.name(HISTORY)).into_owned();
        return Err(Failed::For(JoinError::Foreign(key)));
    };
    // A new one for each try: an earlier one may be made yet, and then stands still.
    let id = LineId(crate::engine::etcd::random());
    let made = make_line(cluster, id, &value, moment).await?;
    let mut fetched = Fetched::default();
    fetched.at(made);
    let lines = Range::under(&[LINES]);
    let mut wanted = Wanted::default();
    wanted.ranges.insert(lines.clone());
    cluster.fetch(&mut fetched, wanted, made).await?;
    let view = crate::engine::etcd::transaction::view::View::new(&fetched);
    let pairs = view.range(&lines).unwrap_or_default();
    let mut time = None;
    let lines = pairs.iter().filter_map(|pair| {
        let id = line_of(&pair.key)?;
        let row: LineRow = serde_json::from_slice(&pair.found.value).ok()?;
        time = latest(time, row.moment());
        let line = Line {
            made: pair.found.made,
            changed: pair.found.changed,
            reached: row.reached,
            ttl_ms: row.ttl_ms,
        };
        Some(Standing { id, line })
    });
    let lines = lines.collect();
    Ok(Joined {
        history,
        incarnation,
        id,
        line: OwnLine {
            key: line_key(id),
            made,
        },
        lines,
        time,
    })
}

fn latest(known: Option<StoreTime>, other: StoreTime) -> Option<StoreTime> {
    match known {
        Some(known) if known.limit >= other.limit => Some(known),
        _ => Some(other),
    }
}

/// The history as it is, or a new one: where there is none, or where the operator
/// accepts that the data went back.
async fn history(cluster: &Cluster, older: OlderData) -> Result<(History, Vec<u8>), Failed> {
    let chosen = cluster.chosen();
    let Some(chosen) = chosen else {
        let nobody = NotDone::Unreachable("no member is known".to_owned());
        return Err(CallError::NotDone(nobody).into());
    };
    let status = chosen.member.status().await?;
    let revision = status.header().map_or(0, |header| header.revision());
    let index = i64::try_from(status.raft_applied_index()).unwrap_or(i64::MAX);
    let now = History {
        id: hex::encode(crate::engine::etcd::random::<16>()),
        cluster: status.header().map_or(0, |header| header.cluster_id()),
        ahead: index - revision,
        accepted_before: 0,
    };
    let mut fetched = Fetched::default();
    let mut wanted = Wanted::default();
    wanted.keys.insert(HISTORY.to_vec());
    cluster.fetch(&mut fetched, wanted, 0).await?;
    let found = crate::engine::etcd::transaction::view::View::new(&fetched).get(HISTORY);
    let found = found.ok().flatten();
    let name = cluster.name(HISTORY);
    let (changed, next) = match &found {
        None => (0, now),
        Some(found) => {
            let Ok(known) = serde_json::from_slice::<History>(&found.value) else {
                let key = String::from_utf8_lossy(&name).into_owned();
                return Err(Failed::For(JoinError::Foreign(key)));
            };
            let is_restored = now.ahead < known.ahead || now.cluster != known.cluster;
            match (is_restored, older) {
                (false, OlderData::Refused) => return Ok((known, found.value.clone())),
                (true, OlderData::Refused) => return Err(Failed::For(JoinError::Restored)),
                (_, OlderData::Accepted) => {
                    let accepted_before = u64::try_from(revision).unwrap_or_default();
                    let next = History {
                        accepted_before,
                        ..now
                    };
                    (found.changed, next)
                }
            }
        }
    };
    let value = serde_json::to_vec(&next).unwrap_or_default();
    let changed = i64::try_from(changed).unwrap_or(i64::MAX);
    let all_lines = cluster.end(&[LINES], &[LINES + 1]);
    let lines = etcd_client::DeleteOptions::new().with_range(all_lines);
    let txn = Txn::new()
        .when(vec![Compare::mod_revision(
            name.clone(),
            CompareOp::Equal,
            changed,
        )])
        .and_then(vec![
            TxnOp::put(name, value.clone(), None),
            // They are of the history that was lost; their stores find them gone.
            TxnOp::delete(cluster.name(&[LINES]), Some(lines)),
        ]);
    let answer = chosen.member.txn(txn).await?;
    match answer.succeeded() {
        true => Ok((next, value)),
        // Another store was quicker.
        false => Err(CallError::InDoubt("another store has begun the history".to_owned()).into()),
    }
}

/// Makes the line and its slots, in the history that was found.
async fn make_line(
    cluster: &Cluster,
    id: LineId,
    history: &[u8],
    moment: StoreTime,
) -> Result<u64, Failed> {
    let row = LineRow {
        beat: 0,
        reached: 0,
        ttl_ms: TTL_MS,
        limit: moment.limit.0,
        told: moment.told.0,
    };
    let name = cluster.name(&line_key(id));
    let value = serde_json::to_vec(&row).unwrap_or_default();
    let mut puts = vec![TxnOp::put(name.clone(), value, None)];
    let slots = slots::keys(id).map(|key| TxnOp::put(cluster.name(&key), slots::value(0), None));
    puts.extend(slots);
    let txn = Txn::new()
        .when(vec![
            Compare::create_revision(name, CompareOp::Equal, 0),
            Compare::value(cluster.name(HISTORY), CompareOp::Equal, history),
        ])
        .and_then(puts);
    let Some(chosen) = cluster.chosen() else {
        let nobody = NotDone::Unreachable("no member is known".to_owned());
        return Err(CallError::NotDone(nobody).into());
    };
    let answer = chosen.member.txn(txn).await?;
    let revision = answer.header().map_or(0, |header| header.revision());
    match answer.succeeded() {
        true => Ok(u64::try_from(revision).unwrap_or_default()),
        false => Err(CallError::InDoubt("the history has changed".to_owned()).into()),
    }
}

fn incarnation(id: &str) -> Option<Incarnation> {
    let bytes = hex::decode(id).ok()?;
    bytes.try_into().ok().map(Incarnation)
}
