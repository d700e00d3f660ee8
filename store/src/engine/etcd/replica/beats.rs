//! Writes this store's line each second, and at once when its gateways have come
//! further (R1); deletes the lines of stores that have stood still for too long (R3).

use std::time::Duration;

use etcd_client::{Compare, CompareOp, DeleteOptions, Txn, TxnOp, TxnOpResponse};

use crate::engine::etcd::cluster::member::CallError;
use crate::engine::etcd::replica::{Lost, Replica};
use crate::engine::etcd::rows::{LineRow, line_key};
use crate::engine::etcd::transaction::slots;
use crate::engine::keyspace::space::after_prefix;
use crate::replicas::{BEAT_EVERY_MS, LineId, Suspect, TTL_MS};

/// Between two tries where a member refuses at once.
const BREATHE: Duration = Duration::from_millis(50);
/// Between two looks at the lines of others, where none is suspect.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Beats until the line is gone.
pub(in crate::engine::etcd) async fn beat(replica: Replica) {
    let mut changed = replica.line().made;
    loop {
        let began = replica.now();
        if replica.lost_now().is_some() || replica.is_leaving() {
            return;
        }
        if replica.lock().fence.has_passed(began) {
            return replica.lose(Lost::Line);
        }
        match once(&replica, changed).await {
            Beat::Written(revision) => changed = revision,
            Beat::Gone => return replica.lose(Lost::Line),
            // An earlier one had been carried out.
            Beat::Moved(revision) => {
                changed = revision;
                continue;
            }
            Beat::NoAnswer => {
                tokio::time::sleep(BREATHE).await;
                continue;
            }
        }
        tokio::select! {
            () = replica.hurry() => {}
            () = tokio::time::sleep_until(replica.at(began + BEAT_EVERY_MS)) => {}
        }
    }
}

/// What became of one beat.
enum Beat {
    /// It is the line now, at this revision.
    Written(u64),
    /// The line was written before by this process, at this revision.
    Moved(u64),
    /// The line is not there any more.
    Gone,
    /// Nobody knows; it may be carried out later, unless the line is written before.
    NoAnswer,
}

async fn once(replica: &Replica, changed: u64) -> Beat {
    let cluster = replica.cluster();
    let name = cluster.name(&line_key(replica.id()));
    let moment = replica.clock().now();
    let before = replica.seen();
    let (beat, reached) = {
        let now = replica.now();
        let mut state = replica.lock();
        (state.fence.send(now), state.reached)
    };
    let row = LineRow {
        beat,
        reached,
        ttl_ms: TTL_MS,
        limit: moment.limit.0,
        told: moment.told.0,
    };
    let value = serde_json::to_vec(&row).unwrap_or_default();
    let (made, last) = (revision(replica.line().made), revision(changed));
    let txn = Txn::new()
        .when(vec![
            Compare::create_revision(name.clone(), CompareOp::Equal, made),
            Compare::mod_revision(name.clone(), CompareOp::Equal, last),
        ])
        .and_then(vec![TxnOp::put(name.clone(), value, None)])
        .or_else(vec![TxnOp::get(name, None)]);
    let Some(chosen) = cluster.chosen() else {
        return Beat::NoAnswer;
    };
    let answer = match chosen.member.txn(txn).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(%error, member = chosen.member.url(), "no answer to a beat");
            cluster.leave(&chosen);
            return Beat::NoAnswer;
        }
    };
    let at = answer.header().map_or(0, |header| header.revision());
    let at = u64::try_from(at).unwrap_or_default();
    if answer.succeeded() {
        replica.wrote(at, before);
        replica.answered(at);
        return Beat::Written(at);
    }
    let found = answer.op_responses().into_iter().next();
    let Some(TxnOpResponse::Get(found)) = found else {
        return Beat::NoAnswer;
    };
    match found.kvs().first() {
        Some(kv) if kv.create_revision() == made => {
            Beat::Moved(u64::try_from(kv.mod_revision()).unwrap_or_default())
        }
        _ => Beat::Gone,
    }
}

/// Deletes lines that stand still, as long as this store serves.
pub(in crate::engine::etcd) async fn observe(replica: Replica) {
    while replica.lost_now().is_none() {
        let (suspects, next) = {
            let now = replica.now();
            let state = replica.lock();
            let lines = &state.lines;
            let id = replica.id();
            (lines.suspects(id, now), lines.next_suspect_at(id))
        };
        for suspect in suspects {
            if let Err(error) = bury(&replica, suspect).await {
                tracing::debug!(%error, "a line that stands still could not be deleted");
            }
        }
        let look = tokio::time::Instant::now() + LOOK_EVERY;
        let next = next.map_or(look, |at| replica.at(at).min(look));
        let least = tokio::time::Instant::now() + BREATHE;
        tokio::time::sleep_until(next.max(least)).await;
    }
}

/// Deletes a line with its slots, if it still stands where it was seen (R3). Whether it
/// is gone the watch will tell.
async fn bury(replica: &Replica, suspect: Suspect) -> Result<(), CallError> {
    let cluster = replica.cluster();
    let name = cluster.name(&line_key(suspect.id));
    let last = revision(suspect.changed);
    let stands_still = Compare::mod_revision(name, CompareOp::Equal, last);
    let txn = deletion(replica, suspect.id, stands_still);
    let Some(chosen) = cluster.chosen() else {
        return Ok(());
    };
    let answer = chosen.member.txn(txn).await.inspect_err(|_| {
        cluster.leave(&chosen);
    })?;
    if answer.succeeded() {
        let line = hex::encode(suspect.id.0);
        tracing::warn!(
            line,
            "a store has not written its line for over five seconds: it counts as dead, and its gateways trust nothing of it any more"
        );
    }
    Ok(())
}

/// Promises nothing more, waits until what was promised is over, and deletes the line: no
/// rotation has to wait for a store that ends in order.
pub(in crate::engine::etcd) async fn leave(replica: &Replica) {
    let left = Duration::from_millis(replica.fence_left());
    replica.begin_to_leave();
    tokio::time::sleep(left).await;
    let cluster = replica.cluster();
    let name = cluster.name(&line_key(replica.id()));
    let made = revision(replica.line().made);
    let is_ours = Compare::create_revision(name.clone(), CompareOp::Equal, made);
    let txn = deletion(replica, replica.id(), is_ours);
    let Some(chosen) = cluster.chosen() else {
        return;
    };
    if let Err(error) = chosen.member.txn(txn).await {
        tracing::warn!(%error, "this store's line stays in etcd; another store will delete it");
    }
}

/// Deletes a line with its slots, if this holds.
fn deletion(replica: &Replica, id: LineId, holds: Compare) -> Txn {
    let cluster = replica.cluster();
    let slots = slots::prefix(id);
    let all = DeleteOptions::new().with_range(cluster.end(&slots, &after_prefix(&slots)));
    Txn::new().when(vec![holds]).and_then(vec![
        TxnOp::delete(cluster.name(&line_key(id)), None),
        TxnOp::delete(cluster.name(&slots), Some(all)),
    ])
}

fn revision(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
