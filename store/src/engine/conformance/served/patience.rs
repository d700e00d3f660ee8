//! For how long an operation is worth beginning, and what becomes of it afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::bench::new_user;
use super::{Gate, Served, ServedEngine, SlowAdd, is_there, on_every_server};
use crate::engine::{Patience, WriteError};

on_every_server![
    what_nobody_waits_for_is_not_begun,
    what_has_no_more_time_says_so_at_once_and_is_never_made,
    what_is_not_wanted_when_its_turn_comes_is_not_begun,
    what_has_begun_goes_on_to_its_end,
    a_stop_ends_what_waits_and_refuses_what_comes,
    s8_nothing_is_changed_in_data_that_is_not_served,
];

/// Keeps the engine busy with adding a user whose key is 1.
async fn busy<E: Served>(running: &ServedEngine<E>) -> Gate {
    let (slow, mut held) = SlowAdd::add("slow", 1);
    let engine = running.engine.clone();
    tokio::spawn(async move { engine.run(slow).await });
    held.begun().await;
    held
}

async fn what_nobody_waits_for_is_not_begun<E: Served>(running: &ServedEngine<E>) {
    let engine = &running.engine;
    let held = busy(running).await;
    let mut stays = Box::pin(engine.run(new_user("ann", 2)));
    let mut leaves = Box::pin(engine.run(new_user("bob", 3)));
    let mut last = Box::pin(engine.run(new_user("cid", 4)));
    for waiting in [&mut stays, &mut leaves, &mut last] {
        assert!(waiting.now_or_never().is_none());
    }
    drop(leaves);
    held.release();
    assert!(stays.await.unwrap().is_ok());
    assert!(last.await.unwrap().is_ok());
    assert!(is_there(engine, 2).await && is_there(engine, 4).await);
    assert!(!is_there(engine, 3).await, "nobody waited for it");
}

async fn what_has_no_more_time_says_so_at_once_and_is_never_made<E: Served>(
    running: &ServedEngine<E>,
) {
    let engine = &running.engine;
    let held = busy(running).await;
    let until = |patience| Patience::Until(Instant::now() + patience);
    let patient = until(Duration::from_secs(600));
    let mut patient = Box::pin(engine.run_within(patient, new_user("ann", 2)));
    assert!((&mut patient).now_or_never().is_none());
    let soon = until(Duration::from_millis(50));
    // While the engine is still busy: nobody waits for it to say so.
    let hurried = engine.run_within(soon, new_user("bob", 3)).await;
    assert_eq!(hurried, Err(WriteError::NotBegun));
    held.release();
    assert!(patient.await.unwrap().is_ok());
    assert!(engine.run(new_user("cid", 4)).await.unwrap().is_ok());
    assert!(!is_there(engine, 3).await, "it had no more time");
}

async fn what_is_not_wanted_when_its_turn_comes_is_not_begun<E: Served>(running: &ServedEngine<E>) {
    let engine = &running.engine;
    let held = busy(running).await;
    let wanted = Arc::new(AtomicBool::new(true));
    let looked_at = wanted.clone();
    let patience = Patience::While(Arc::new(move || looked_at.load(Ordering::SeqCst)));
    let mut unwanted = Box::pin(engine.run_within(patience, new_user("ann", 2)));
    assert!((&mut unwanted).now_or_never().is_none());
    let patience = Patience::While(Arc::new(|| true));
    let mut stays = Box::pin(engine.run_within(patience, new_user("bob", 3)));
    assert!((&mut stays).now_or_never().is_none());
    wanted.store(false, Ordering::SeqCst);
    held.release();
    assert_eq!(unwanted.await, Err(WriteError::NotBegun));
    assert!(stays.await.unwrap().is_ok());
    assert!(!is_there(engine, 2).await, "it was not wanted any more");
}

async fn what_has_begun_goes_on_to_its_end<E: Served>(running: &ServedEngine<E>) {
    let (slow, mut held) = SlowAdd::add("ann", 2);
    let engine = running.engine.clone();
    let asker = tokio::spawn(async move { engine.run(slow).await });
    held.begun().await;
    asker.abort();
    held.release();
    // Behind it in the line.
    let engine = &running.engine;
    assert!(engine.run(new_user("bob", 3)).await.unwrap().is_ok());
    assert!(is_there(engine, 2).await, "it had begun");
}

async fn a_stop_ends_what_waits_and_refuses_what_comes<E: Served>(running: &ServedEngine<E>) {
    let engine = &running.engine;
    let held = busy(running).await;
    let mut waits = Box::pin(engine.run(new_user("ann", 2)));
    assert!((&mut waits).now_or_never().is_none());
    let release = async { held.release() };
    let (waited, (), ()) = tokio::join!(waits, engine.stop(), release);
    assert!(waited.unwrap().is_ok());
    let late = engine.run(new_user("bob", 3)).await;
    assert_eq!(late, Err(WriteError::Stopping));
}

async fn s8_nothing_is_changed_in_data_that_is_not_served<E: Served>(running: &ServedEngine<E>) {
    running.overheard.find_restored();
    let refused = running.engine.run(new_user("ann", 2)).await;
    assert_eq!(refused, Err(WriteError::NotServed));
    assert!(!is_there(&running.engine, 2).await);
}
