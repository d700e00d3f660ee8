//! Replays by a whole store, whose gateway leaves at the worst moment.

use std::time::Instant;

use rekey_protocol::{Client, RotateRequest};

use super::*;
use crate::engine::Engine;
use crate::engine::sqlite::Sqlite;
use crate::engine::sqlite::probing::settings;
use crate::keystore::{KeyStore, Running};
use crate::operations::Kind;
use crate::operations::keys::rotate::Rotate;
use crate::operations::users::{AddUser, NewUser};

const OLD: Digest = Digest::from_bytes([1; 32]);
const NEW: Digest = Digest::from_bytes([2; 32]);
const ID: RotationId = RotationId([3; 16]);

async fn opened(folder: &Path) -> Running<Sqlite> {
    let memory = folder.to_owned();
    let settings = settings(folder, ReplayPlace::Beside { memory });
    KeyStore::start(settings).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn x4_the_use_of_a_key_is_noted_whose_gateway_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let Running { store, ownership } = opened(folder.path()).await;
    let database = store.engine();
    let user = NewUser {
        id: "u_1".parse().unwrap(),
        email: "a@example.com".parse().unwrap(),
        digest: OLD,
        hint: "hint".into(),
        phc: None,
    };
    database.run(AddUser(user)).await.unwrap().unwrap();
    // Both changes wait for the writer, and so are of one transaction.
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let writer = database.writer.clone();
    let (running, runs) = tokio::sync::oneshot::channel();
    let work = move || running.send(()).is_ok() && wait.recv().is_err();
    let held = tokio::spawn(async move { writer.alone(work).await });
    // Otherwise the rotation may be in the queue before it.
    runs.await.unwrap();
    let request = RotateRequest {
        rotation_id: ID,
        attempt: 1,
        old_digest: OLD,
        new_digest: NEW,
        hint: "hint".into(),
        replay: Some(Box::new(Replay {
            proof: ReplayProof([4; 32]),
            sealed: SealedKey([5; 88]),
        })),
        client: Client::default(),
        patience_ms: None,
    };
    let rotating = database.clone();
    let gateway = tokio::spawn(async move { rotating.run(Rotate(request)).await.is_ok() });
    database.writer.await_waiting(1).await;
    // The gateway leaves while the rotation is made: after its own step, and
    // before the commit.
    let (made, is_made) = tokio::sync::oneshot::channel();
    let (gone, until_gone) = std::sync::mpsc::channel::<()>();
    let writer = database.writer.clone();
    let last = tokio::spawn(async move {
        let work = move |_: &Connection, _| Ok((made.send(()).is_ok(), until_gone.recv().is_err()));
        writer.change(Kind::Admin, work).await
    });
    database.writer.await_waiting(2).await;
    drop(go);
    assert_eq!(held.await.unwrap(), Ok(true));
    is_made.await.unwrap();
    gateway.abort();
    assert!(gateway.await.unwrap_err().is_cancelled());
    drop(gone);
    assert_eq!(last.await.unwrap(), Ok((true, true)));

    assert!(store.resolve(NEW).await.unwrap().is_ok(), "it is made");
    let began = Instant::now();
    let is_noted = || {
        let replays = database.kept.records();
        replays.find(ID).unwrap().unwrap().used.is_some()
    };
    while !is_noted() {
        assert!(began.elapsed() < Duration::from_secs(20), "never noted");
        tokio::task::yield_now().await;
    }
    drop(ownership);
}
