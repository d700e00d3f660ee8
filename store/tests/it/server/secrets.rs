//! I6: keys, tokens and the checksum secret are in no log line, at any level,
//! and in no file that the store writes.

use rekey_protocol::Digest;
use serde_json::json;

use crate::process::{
    ADMIN_TOKEN, CHECKSUM_SECRET, Home, STORE_TOKEN, Store, files, fresh_digest, rotation,
};

/// HTTP/2 with prior knowledge, whose implementation logs headers at trace.
fn call_http2(store: &Store, body: String) -> u16 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let address = store.url.strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        let request = ureq::http::Request::post(format!("{}/v1/keys/resolve", store.url))
            .header("authorization", format!("Bearer {STORE_TOKEN}"))
            .body(())
            .unwrap();
        let (answer, mut sender) = client.send_request(request, false).unwrap();
        sender.send_data(body.into(), true).unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.headers()["rekey-store"], "1");
        assert!(answer.headers().contains_key("content-length"));
        answer.status().as_u16()
    })
}

/// Brings the key to every place where one might come by.
fn plant(home: &Home, store: &Store, key: &str, digest: &Digest) {
    let url = &store.url;
    assert_eq!(
        call_http2(store, json!({ "digest": digest }).to_string()),
        200
    );
    store.call("GET", &format!("{url}/{key}?key={key}"), Some(key), None);
    let resolve = format!("{url}/v1/keys/resolve?key={key}");
    store.call("POST", &resolve, Some(key), Some(key));
    for body in [
        key.to_owned(),
        format!("{{\"digest\":\"{key}\"}}"),
        format!("{{\"{key}\":1}}"),
    ] {
        let answer = store.call("POST", &resolve, Some(STORE_TOKEN), Some(&body));
        assert_eq!(answer.status, 400);
        assert!(!answer.text.contains(key), "{answer:?}");
    }
    let mut odd = rotation(digest, &fresh_digest());
    odd["hint"] = json!(key);
    assert_eq!(store.rotate(&odd).status, 400);
    odd["hint"] = json!("wxyz");
    odd["client"] = json!({ "address": key, "request_id": format!("id-{key}") });
    assert_eq!(store.rotate(&odd).json()["outcome"], "rotated");

    let admin = |path: &str, body: Option<&str>| {
        let method = if body.is_some() { "POST" } else { "GET" };
        let answer = store.admin(method, path, body);
        assert!(!answer.text.contains(key), "{answer:?}");
    };
    admin(&format!("/v1/audit?user={key}"), None);
    admin(&format!("/v1/audit?{key}=1"), None);
    admin("/v1/users", Some(&json!({ "email": key }).to_string()));
    admin(
        "/v1/keys/revoke",
        Some(&json!({ "digest": key }).to_string()),
    );
    admin(
        "/v1/import",
        Some(&json!({ "line": 1, "user": "x", "digest": key }).to_string()),
    );

    let path = home.path("planted.csv");
    std::fs::write(&path, format!("user,key\nplanted,{key}\n")).unwrap();
    let output = store.cli(&["import", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let revoked = store.cli_with(&["keys", "revoke", "--key-stdin"], key);
    assert!(revoked.status.success(), "{revoked:?}");
    for output in [output, revoked] {
        let text = format!("{output:?}");
        assert!(!text.contains(key) && !text.contains(ADMIN_TOKEN), "{text}");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn i6_no_secret_is_logged_or_written() {
    let home = Home::new();
    let store = home.start_as(home.serve().env("RUST_LOG", "trace"));
    let user = store.add_user("ann");
    plant(&home, &store, &user.key, &user.digest);
    // While it runs, with what is still in the write-ahead log, and after.
    let mut all = files(home.path("").as_path());
    assert_eq!(store.stop(), Some(0));
    all.extend(files(home.path("").as_path()));
    assert!(
        all.iter()
            .any(|(path, bytes)| path.ends_with("rekey.db-wal") && !bytes.is_empty())
    );
    let holds = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    };
    for (path, bytes) in &all {
        for secret in [user.key.as_str(), STORE_TOKEN, ADMIN_TOKEN, CHECKSUM_SECRET] {
            assert!(!holds(bytes, secret), "{} holds {secret}", path.display());
        }
    }
    // The log was on, and finely; it names digests, but none whole.
    let log = home.log();
    assert!(log.contains("DEBUG rekey_store"), "{log}");
    assert!(log.contains(&user.digest.to_hex()[..8]), "{log}");
    assert!(!log.contains(&user.digest.to_hex()), "{log}");
    for finer in [
        " TRACE hyper",
        " DEBUG hyper",
        " TRACE h2",
        " DEBUG h2",
        " TRACE axum",
    ] {
        assert!(!log.contains(finer), "{finer}");
    }
}
