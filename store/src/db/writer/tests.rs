//! The writer against a real database in memory.

use futures_util::FutureExt;

use super::*;

fn started(connection: Connection) -> (Writer, WriterThread) {
    let clock = Arc::new(Clock::resume(None));
    let on_commit: OnCommit = Box::new(|_, _| {});
    let metrics = Arc::new(Metrics::new());
    let replays = Arc::new(Mutex::new(Replays::in_memory().unwrap()));
    let health = Health::new();
    Writer::start(connection, clock, metrics, replays, health, (0, on_commit)).unwrap()
}

fn database() -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    super::super::schema::migrate(&mut connection).unwrap();
    connection
        .execute_batch("CREATE TABLE t (x INTEGER UNIQUE); CREATE TABLE big (x BLOB)")
        .unwrap();
    connection
}

fn insert(x: i64) -> impl FnOnce(&Connection, Moment) -> rusqlite::Result<()> + Send {
    move |tx, _| tx.execute("INSERT INTO t VALUES (?1)", [x]).map(drop)
}

#[tokio::test]
async fn a_failed_change_does_not_take_its_batch_along() {
    let (writer, _thread) = started(database());
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
    let (writer, thread) = started(database());
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
    assert!(tokio::task::spawn_blocking(|| thread.join()).await.unwrap());
    let late = writer.change(Kind::Admin, insert(-2)).await;
    assert_eq!(late, Err(WriteError::Stopping));
}

#[tokio::test]
async fn a_commit_that_fails_is_unknown_and_the_next_one_works() {
    let (writer, _thread) = started(database());
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
    let (writer, _thread) = started(database());
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

fn insert_big(x: i64) -> impl FnOnce(&Connection, Moment) -> rusqlite::Result<()> + Send {
    move |tx, _| {
        tx.execute("INSERT INTO t VALUES (?1)", [x])?;
        tx.execute("INSERT INTO big VALUES (zeroblob(2000))", [])
            .map(drop)
    }
}

fn count(table: &str) -> impl FnOnce(&Connection, Moment) -> rusqlite::Result<i64> + Send {
    let query = format!("SELECT count(*) FROM {table}");
    move |tx, _| tx.query_row(&query, [], |row| row.get(0))
}
