//! The writer against a real database in memory.

use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::*;
use crate::clock::UnixMillis;
use crate::engine::record::Mark;
use crate::engine::sqlite::anchor::{Fold, FoldError};
use crate::engine::sqlite::replays::Replays;
use crate::feed::Committed;

/// Allows all, and puts nothing on record.
struct Nobody;

impl Keeper for Nobody {
    fn allows(&self) -> Result<(), WriteError> {
        Ok(())
    }

    fn owns(&self, _: &Connection) -> rusqlite::Result<Result<(), WriteError>> {
        Ok(Ok(()))
    }

    fn committed(&self, _: Committed) {}

    fn mark(&self, _: Mark) -> std::io::Result<()> {
        Ok(())
    }

    fn fold(&self, _: &Connection, _: Fold) -> Result<(), FoldError> {
        Ok(())
    }
}

fn started(connection: Connection) -> StartedWriter {
    let clock = Arc::new(Clock::resume(None));
    let metrics = Arc::new(Metrics::new());
    let kept = ReplayFile::new(Replays::in_memory().unwrap(), UnixMillis(0)).unwrap();
    let parts = Parts {
        connection,
        clock,
        metrics,
        kept,
        health: Health::new(),
        published: 0,
        keeper: Box::new(Nobody),
    };
    Writer::start(parts).unwrap()
}

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    crate::engine::sqlite::schema::migrate(&mut connection).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x INTEGER UNIQUE); CREATE TABLE big (x BLOB)")
        .unwrap();
    connection
}

fn insert(x: i64) -> impl FnOnce(&Connection, StoreTime) -> rusqlite::Result<()> + Send {
    move |tx, _| tx.execute("INSERT INTO t VALUES (?1)", [x]).map(drop)
}

#[tokio::test]
async fn a_failed_change_does_not_take_its_batch_along() {
    let StartedWriter { writer, .. } = started(database());
    // Hold the thread until all three are in the queue: one batch.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let held = writer.alone(move || {
        let _ = wait.recv();
    });
    let results = async {
        let first = writer.change(Kind::Admin, insert(1));
        // Fails at its second statement; the first is taken back, too.
        let twice = writer.change(Kind::Admin, |tx, now| {
            insert(3)(tx, now)?;
            insert(1)(tx, now)
        });
        let third = writer.change(Kind::Admin, insert(2));
        let release = async { drop(go) };
        tokio::join!(first, twice, third, release)
    };
    let (_, (first, twice, third, ())) = tokio::join!(held, results);
    assert_eq!(
        (first, twice, third),
        (Ok(()), Err(WriteError::RolledBack), Ok(()))
    );
    assert_eq!(writer.change(Kind::Admin, count("t")).await, Ok(2));
}

#[tokio::test]
async fn a_full_queue_refuses_and_a_stopped_writer_finishes_what_waits() {
    let StartedWriter { writer, thread } = started(database());
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (running, runs) = oneshot::channel();
    let held = tokio::spawn({
        let writer = writer.clone();
        async move {
            writer
                .alone(move || {
                    let _ = running.send(());
                    let _ = wait.recv();
                })
                .await
        }
    });
    runs.await.unwrap();
    let mut waiting = Vec::new();
    for x in 0..QUEUE as i64 {
        let mut change = Box::pin(writer.change(Kind::Admin, insert(x)));
        assert!((&mut change).now_or_never().is_none());
        waiting.push(change);
    }
    let refused = writer.change(Kind::Admin, insert(-1)).await;
    assert_eq!(refused, Err(WriteError::Busy));
    drop(go);
    held.await.unwrap().unwrap();
    for change in waiting {
        assert_eq!(change.await, Ok(()));
    }
    writer.stop().await;
    let joined = tokio::task::spawn_blocking(|| thread.join()).await;
    assert_eq!(joined.unwrap(), Ok(()));
    let late = writer.change(Kind::Admin, insert(-2)).await;
    assert_eq!(late, Err(WriteError::Stopping));
}

#[tokio::test]
async fn a_commit_that_fails_is_unknown_and_the_next_one_works() {
    let StartedWriter { writer, .. } = started(database());
    let orphan = writer.change(Kind::Admin, |tx, _| {
        // Makes the commit itself fail, not the statement.
        tx.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO keys (digest, user_id, state, created_ms, revision)
             VALUES (zeroblob(32), 'nobody', 'active', 1, 1);",
        )
    });
    assert_eq!(orphan.await, Err(WriteError::Unknown));
    assert_eq!(writer.change(Kind::Admin, insert(1)).await, Ok(()));
    assert_eq!(writer.change(Kind::Admin, count("keys")).await, Ok(0));
}

#[tokio::test]
async fn on_a_full_disk_nobody_is_told_what_is_not_there() {
    let StartedWriter { writer, .. } = started(database());
    let full = writer.change(Kind::Admin, |tx, _| {
        tx.query_row("PRAGMA max_page_count = 1", [], |row| row.get::<_, i64>(0))
    });
    full.await.unwrap();
    let changes = (0..50).map(|x| writer.change(Kind::Admin, insert_big(x)));
    let results = futures_util::future::join_all(changes).await;
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert!(made < 50, "the disk was not full");
    assert!(
        results
            .iter()
            .all(|result| !matches!(result, Err(WriteError::Unknown)))
    );
    let there = writer.change(Kind::Admin, count("t")).await;
    assert_eq!(there, Ok(made as i64));
}

fn insert_big(x: i64) -> impl FnOnce(&Connection, StoreTime) -> rusqlite::Result<()> + Send {
    move |tx, _| {
        tx.execute("INSERT INTO t VALUES (?1)", [x])?;
        tx.execute("INSERT INTO big VALUES (zeroblob(2000))", [])
            .map(drop)
    }
}

fn count(table: &str) -> impl FnOnce(&Connection, StoreTime) -> rusqlite::Result<i64> + Send {
    let query = format!("SELECT count(*) FROM {table}");
    move |tx, _| tx.query_row(&query, [], |row| row.get(0))
}

/// Keeps the thread busy until the sender is dropped.
async fn busy(writer: &Writer) -> (std::sync::mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (running, runs) = oneshot::channel();
    let writer = writer.clone();
    let held = tokio::spawn(async move {
        let work = move || {
            let _ = running.send(());
            let _ = wait.recv();
        };
        writer.alone(work).await.unwrap();
    });
    runs.await.unwrap();
    (go, held)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_waits_for_is_not_begun() {
    let StartedWriter { writer, .. } = started(database());
    let (go, held) = busy(&writer).await;
    let mut waiting = Vec::new();
    for x in 0..60 {
        let mut change = Box::pin(writer.change(Kind::Rotation, insert(x)));
        assert!((&mut change).now_or_never().is_none());
        waiting.push(change);
    }
    // Every other one leaves.
    let mut number = 0;
    waiting.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    drop(go);
    held.await.unwrap();
    for change in waiting {
        assert_eq!(change.await, Ok(()));
    }
    assert_eq!(writer.change(Kind::Admin, count("t")).await, Ok(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_whose_time_is_over_says_so_at_once_and_is_never_made() {
    let StartedWriter { writer, .. } = started(database());
    let (go, held) = busy(&writer).await;
    let soon = || Patience::Until(Instant::now() + Duration::from_millis(50));
    let changes = (0..30).map(|x| writer.change_in(Kind::Rotation, soon(), insert(x)));
    let patient = Patience::Until(Instant::now() + Duration::from_secs(600));
    let patient = writer.change_in(Kind::Rotation, patient, insert(99));
    // While the writer is still busy: nobody waits for it to say so.
    let early = futures_util::future::join_all(changes).await;
    assert!(early.iter().all(|end| *end == Err(WriteError::NotBegun)));
    let release = async { drop(go) };
    assert_eq!(tokio::join!(patient, release).0, Ok(()));
    held.await.unwrap();
    assert_eq!(writer.change(Kind::Admin, count("t")).await, Ok(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_looked_at_right_before_it_and_not_when_its_batch_begins() {
    let StartedWriter { writer, .. } = started(database());
    let (go, held) = busy(&writer).await;
    let (made, is_made) = oneshot::channel();
    let (gone, until_gone) = std::sync::mpsc::channel::<()>();
    let first = tokio::spawn({
        let writer = writer.clone();
        async move {
            let work = move |tx: &Connection, now| {
                let _ = made.send(());
                let _ = until_gone.recv();
                insert(1)(tx, now)
            };
            writer.change(Kind::Admin, work).await
        }
    });
    writer.await_waiting(1).await;
    let mut leaves = Box::pin(writer.change(Kind::Rotation, insert(2)));
    assert!((&mut leaves).now_or_never().is_none());
    let is_wanted = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let looked = is_wanted.clone();
    let look = move || looked.load(std::sync::atomic::Ordering::SeqCst);
    let asked_for = Patience::While(Arc::new(look));
    let mut unwanted = Box::pin(writer.change_in(Kind::Rotation, asked_for, insert(3)));
    assert!((&mut unwanted).now_or_never().is_none());
    let mut stays = Box::pin(writer.change(Kind::Rotation, insert(4)));
    assert!((&mut stays).now_or_never().is_none());
    drop(go);
    held.await.unwrap();
    // The transaction has begun, with all of them in its batch.
    is_made.await.unwrap();
    drop(leaves);
    is_wanted.store(false, std::sync::atomic::Ordering::SeqCst);
    drop(gone);
    assert_eq!(first.await.unwrap(), Ok(()));
    assert_eq!(stays.await, Ok(()));
    assert_eq!(unwanted.await, Err(WriteError::NotBegun));
    let there = "SELECT group_concat(x) FROM t";
    let there = writer.change(Kind::Admin, move |tx, _| {
        tx.query_row(there, [], |row| row.get::<_, String>(0))
    });
    assert_eq!(there.await.as_deref(), Ok("1,4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn x1_what_was_not_begun_is_vouched_for_whatever_becomes_of_its_batch() {
    let StartedWriter { writer, .. } = started(database());
    let (go, held) = busy(&writer).await;
    let mut orphan = Box::pin(writer.change(Kind::Admin, |tx, _| {
        tx.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO keys (digest, user_id, state, created_ms, revision)
             VALUES (zeroblob(32), 'nobody', 'active', 1, 1);",
        )
    }));
    assert!((&mut orphan).now_or_never().is_none());
    let never = Patience::While(Arc::new(|| false));
    let unwanted = writer.change_in(Kind::Rotation, never, insert(1));
    let release = async { drop(go) };
    let (orphan, unwanted, ()) = tokio::join!(orphan, unwanted, release);
    held.await.unwrap();
    assert_eq!(orphan, Err(WriteError::Unknown));
    assert_eq!(unwanted, Err(WriteError::NotBegun));
}
