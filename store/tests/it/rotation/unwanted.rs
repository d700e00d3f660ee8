//! Changes that nobody waits for any more, behind a database that is busy: none of
//! them is begun, and those whose askers still wait are made.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::process::{
    ADMIN_TOKEN, Home, PATIENCE, STORE_TOKEN, Store, User, again, await_some, fresh_digest,
    rotation,
};

const ROTATED: &str = "SELECT count(*) FROM audit WHERE action = 'rotated'";

/// Another program that writes to the database: the store's writer waits for it,
/// for five seconds at most.
pub(crate) struct Busy(Connection);

impl Busy {
    pub(crate) fn begin(home: &Home) -> Self {
        let sql = home.sql();
        sql.busy_timeout(PATIENCE).unwrap();
        sql.execute_batch("BEGIN IMMEDIATE").unwrap();
        Self(sql)
    }

    pub(crate) fn end(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

/// A value of the store's metrics.
pub(crate) fn await_waiting(store: &Store, count: i64) {
    await_some(|| (store.metric("waiting_changes") == Some(count)).then_some(()));
}

/// Until the store has noticed that so many askers have gone.
pub(crate) fn await_left(store: &Store, count: i64) {
    await_some(|| (store.metric("left_changes_total") == Some(count)).then_some(()));
}

/// A request on a connection of its own.
fn send(base: &str, token: &str, path: &str, body: &Value) -> TcpStream {
    let mut stream = TcpStream::connect(base.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.to_string();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {token}\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    stream
}

/// Its client goes; returns when the store has closed the connection for it.
pub(crate) fn leave(mut stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(String::from_utf8_lossy(&rest), "");
}

fn users(store: &Store, count: usize) -> Vec<User> {
    let add = |number| store.add_user(&format!("user-{number}"));
    (0..count).map(add).collect()
}

#[test]
fn thirty_rotations_whose_gateways_have_gone_take_nobodys_key() {
    let home = Home::new();
    let store = home.start();
    let users = users(&store, 31);
    let requests: Vec<_> = users
        .iter()
        .map(|user| rotation(&user.digest, &fresh_digest()))
        .collect();
    let busy = Busy::begin(&home);
    let path = "/v1/keys/rotate";
    let post = |request| send(&store.url, STORE_TOKEN, path, request);
    let calls: Vec<_> = requests[..30].iter().map(post).collect();
    await_waiting(&store, 30);
    calls.into_iter().for_each(leave);
    std::thread::scope(|scope| {
        let stays = scope.spawn(|| store.rotate(&requests[30]));
        await_waiting(&store, 31);
        busy.end();
        assert_eq!(stays.join().unwrap().json()["outcome"], "rotated");
    });
    await_waiting(&store, 0);
    assert_eq!(home.count(ROTATED), 1);
    assert_eq!(store.metric("left_changes_total"), Some(30));
    for user in &users[..30] {
        assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    }
    // S11: what was not begun has left no trace, so the next attempt may do it.
    assert_eq!(home.count("SELECT count(*) FROM rotations"), 1);
    let answer = store.rotate(&again(&requests[0]));
    assert_eq!(answer.json()["outcome"], "rotated");
}

#[test]
fn a_rotation_whose_patience_is_over_is_refused_in_time_and_never_made() {
    let home = Home::new();
    let store = home.start();
    let users = users(&store, 30);
    let mut requests = Vec::new();
    for (number, user) in users.iter().enumerate() {
        let mut request = rotation(&user.digest, &fresh_digest());
        request["patience_ms"] = json!(200 + number);
        requests.push(request);
    }
    let busy = Busy::begin(&home);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let calls: Vec<_> = requests
            .iter()
            .map(|request| scope.spawn(|| store.rotate(request)))
            .collect();
        for call in calls {
            let answer = call.join().unwrap();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (503, "unavailable")
            );
            assert!(answer.text.contains("nothing was changed"), "{answer:?}");
        }
    });
    // By the store itself, while its writer was still busy.
    assert!(began.elapsed() < Duration::from_secs(4));
    busy.end();
    await_waiting(&store, 0);
    assert_eq!(home.count(ROTATED), 0);
    assert_eq!(home.count("SELECT count(*) FROM rotations"), 0);
    // X1: the same rotation may be asked for again, and then is made.
    let mut next = again(&requests[0]);
    next["patience_ms"] = json!(30_000);
    assert_eq!(store.rotate(&next).json()["outcome"], "rotated");
}

#[test]
fn an_operators_change_whose_command_has_gone_is_not_begun() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    let bob = store.add_user("bob");
    let revoke = json!({"user_id": "bob"});
    let revoked = store.admin("POST", "/v1/keys/revoke", Some(&revoke.to_string()));
    assert_eq!(revoked.status, 200);
    let busy = Busy::begin(&home);
    let changes = [
        ("/v1/keys/revoke", json!({"user_id": "ann"})),
        ("/v1/keys/revoke", json!({"digest": ann.digest})),
        ("/v1/keys/issue", json!({"user_id": "bob"})),
        ("/v1/users", json!({"email": "eve@example.com"})),
        (
            "/v1/users/password",
            json!({"user_id": "ann", "password": "correct horse battery"}),
        ),
    ];
    let calls: Vec<_> = changes
        .iter()
        .map(|(path, body)| send(&store.admin_url, ADMIN_TOKEN, path, body))
        .collect();
    await_waiting(&store, 5);
    calls.into_iter().for_each(leave);
    busy.end();
    await_waiting(&store, 0);
    assert_eq!(store.resolve(&ann.digest).json()["state"], "active");
    assert_eq!(store.resolve(&bob.digest).json()["state"], "revoked");
    assert_eq!(home.count("SELECT count(*) FROM users"), 2);
    assert_eq!(home.count("SELECT count(*) FROM passwords"), 0);
    assert_eq!(home.count("SELECT count(*) FROM keys"), 2);
}
