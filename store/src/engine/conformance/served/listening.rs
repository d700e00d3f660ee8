//! What the listener of an engine hears, in which order, and when.

use super::bench::{digest, new_user};
use super::{Served, ServedEngine, on_every_server};
use crate::operations::imports::{BeginImport, CountImport};
use crate::operations::keys::revoke::Revoke;

on_every_server![
    s2_nobody_is_answered_before_the_listener_knows,
    commits_are_told_in_their_order_each_revocation_once,
    an_import_that_counts_is_told_with_its_revision,
];

/// Users with these keys.
async fn add<E: Served>(running: &ServedEngine<E>, keys: std::ops::Range<u8>) {
    for key in keys {
        let name: &'static str = format!("user-{key}").leak();
        let added = running.engine.run(new_user(name, key)).await.unwrap();
        assert!(added.is_ok(), "{added:?}");
    }
}

async fn s2_nobody_is_answered_before_the_listener_knows<E: Served>(running: &ServedEngine<E>) {
    add(running, 1..2).await;
    let mut stalled = running.overheard.stall();
    let engine = running.engine.clone();
    let asker = tokio::spawn(async move { engine.run(Revoke::Key(digest(1))).await });
    stalled.begun().await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!asker.is_finished(), "the listener has not returned");
    stalled.release();
    let revoked = asker.await.unwrap().unwrap().unwrap();
    let last = running.overheard.commits().pop().unwrap();
    assert_eq!(last.revision, revoked.revision);
}

async fn commits_are_told_in_their_order_each_revocation_once<E: Served>(
    running: &ServedEngine<E>,
) {
    let keys = 1..60;
    add(running, keys.clone()).await;
    let mut askers = Vec::new();
    for key in keys.clone() {
        let (engine, overheard) = (running.engine.clone(), running.overheard.clone());
        askers.push(tokio::spawn(async move {
            let revoked = engine.run(Revoke::Key(digest(key))).await.unwrap().unwrap();
            let commits = overheard.commits();
            let mut told = commits.iter().flat_map(|commit| &commit.revoked);
            let own = told.find(|told| told.digest == digest(key));
            assert_eq!(own.unwrap().revision, revoked.revision);
        }));
    }
    for asker in askers {
        asker.await.unwrap();
    }
    let commits = running.overheard.commits();
    assert!(commits.is_sorted_by_key(|commit| commit.revision));
    let told = commits.iter().flat_map(|commit| {
        let within = |revision| revision <= commit.revision;
        assert!(commit.revoked.iter().all(|told| within(told.revision)));
        &commit.revoked
    });
    let revisions: Vec<_> = told.map(|told| told.revision).collect();
    assert!(revisions.is_sorted_by(|one, next| one < next));
    assert_eq!(revisions.len(), keys.len());
}

async fn an_import_that_counts_is_told_with_its_revision<E: Served>(running: &ServedEngine<E>) {
    let engine = &running.engine;
    let import = engine.run(BeginImport).await.unwrap();
    let revision = engine.run(CountImport(import)).await.unwrap();
    add(running, 1..2).await;
    let commits = running.overheard.commits();
    let told: Vec<_> = commits
        .iter()
        .filter_map(|commit| commit.imported)
        .collect();
    assert_eq!(told, [revision]);
}
