//! Rotations that wait for a gateway which is away: they leave the store's files
//! and its connections to resolves and polls.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use serde_json::{Value, json};

use crate::gateways::feed::Gateway;
use crate::process::{Home, PATIENCE, STORE_TOKEN, Store, await_some, fresh_digest, rotation};

/// Files that the store may have open.
const FILES: usize = 160;
/// Rotations that wait at once: more connections than there are files.
const WAITING: usize = 200;

/// `serve` under a small limit of open files.
fn start(home: &Home) -> Store {
    let serve = home.serve();
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -n {FILES} && exec \"$0\" \"$@\""))
        .arg(serve.get_program())
        .args(serve.get_args())
        .env_clear();
    for (name, value) in serve.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    home.start_as(&mut command)
}

/// A call on a connection of its own, sent and not yet answered.
fn send(store: &Store, path: &str, body: &Value) -> TcpStream {
    let address = store.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: store\r\nauthorization: Bearer {STORE_TOKEN}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// The status of its answer.
fn status(mut sent: TcpStream) -> String {
    let mut answer = String::new();
    sent.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap_or_default().to_owned()
}

/// The sum of a metric's series.
fn total(store: &Store, name: &str) -> u64 {
    let text = store.metrics();
    let counted = text.lines().filter_map(|line| {
        let value = line.strip_prefix(name)?.rsplit(' ').next()?;
        value.parse::<u64>().ok()
    });
    counted.sum()
}

#[test]
fn rotations_that_wait_leave_connections_for_resolves_and_polls() {
    let home = Home::new();
    let store = start(&home);
    let users: Vec<_> = (0..WAITING)
        .map(|number| store.add_user(&format!("u{number}")))
        .collect();
    let cold = store.add_user("cold");
    let mut away = Gateway::new(30_000);
    away.follow(&store);
    let waiting: Vec<_> = users
        .iter()
        .map(|user| {
            let rotation = rotation(&user.digest, &fresh_digest());
            send(&store, "/v1/keys/rotate", &rotation)
        })
        .collect();
    await_some(|| {
        let decided = total(&store, "rekey_store_rotations_total{");
        (decided >= (FILES / 2) as u64).then_some(())
    });
    for _ in 0..20 {
        let resolve = json!({ "digest": cold.digest });
        assert_eq!(status(send(&store, "/v1/keys/resolve", &resolve)), "200");
    }
    let poll = json!({ "gateway": "00".repeat(16), "lease_ms": 100, "poll": 1 });
    assert_eq!(status(send(&store, "/v1/feed", &poll)), "200");
    // The one that was away comes back.
    away.follow(&store);
    std::thread::scope(|scope| {
        scope.spawn(|| away.follow(&store));
        let mut outcomes = BTreeMap::new();
        for sent in waiting {
            *outcomes.entry(status(sent)).or_insert(0) += 1;
        }
        println!("{outcomes:?}");
        // Those beyond were refused at once, and nothing was changed by them.
        assert!(outcomes["200"] >= FILES / 2, "{outcomes:?}");
        assert_eq!(outcomes["200"] + outcomes["503"], WAITING);
    });
    assert_eq!(store.post("/v1/feed", &json!({})).status, 400, "it goes on");
}
