//! The gateway listener's contract: shapes, errors, tokens, marks.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;

use crate::process::{ADMIN_TOKEN, Answer, Home, STORE_TOKEN, fresh_digest, rotation};

fn addressed(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap()
}

#[test]
fn resolve_tells_state_user_history_and_wait() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let answer = store.resolve(&user.digest);
    assert_eq!(answer.status, 200);
    let body = answer.json();
    assert_eq!(body["state"], "active");
    assert_eq!(body["user"], "alice");
    assert_eq!(body["rotation_allowed_in"], 0);
    assert_eq!(body["rotation_interval"], 3600);
    assert_eq!(body["revision"], body["head"]["revision"]);
    assert_eq!(body["head"]["incarnation"].as_str().unwrap().len(), 32);

    let unknown = store.resolve(&fresh_digest());
    assert_eq!(
        (unknown.status, unknown.code().as_str()),
        (404, "unknown_key")
    );
}

#[test]
fn rotate_answers_with_the_change_and_resolve_sees_it() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let new = fresh_digest();
    let answer = store.rotate(&rotation(&user.digest, &new));
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!(body["outcome"], "rotated");
    assert_eq!(body["user"], "alice");
    assert_eq!(body["new_digest"], json!(new));
    let at = body["created_at"].as_str().unwrap();
    assert!(at.len() == 20 && at.ends_with('Z'), "{at}");

    let old = store.resolve(&user.digest).json();
    assert_eq!(
        (&old["state"], &old["revision"]),
        (&json!("revoked"), &body["revision"])
    );
    let new = store.resolve(&new).json();
    assert_eq!(
        (&new["state"], &new["revision"]),
        (&json!("active"), &body["revision"])
    );
    let wait = new["rotation_allowed_in"].as_u64().unwrap();
    assert!((3590..=3600).contains(&wait), "{wait}");
}

#[test]
fn bad_requests_are_explained() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let good = rotation(&user.digest, &fresh_digest());
    let with = |field: &str, value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, word) in [
        (with("attempt", json!(0)), "attempt"),
        (with("attempt", json!("one")), "wrong type"),
        (with("hint", json!("way too long")), "hint"),
        (with("hint", json!("abcde")), "hint"),
        (with("hint", json!("a\nbc")), "hint"),
        (with("new_digest", json!(user.digest)), "the same"),
        (with("new_digest", json!("xyz")), "64 hexadecimal"),
        (with("rotation_id", json!("xyz")), "32 hexadecimal"),
        (with("extra", json!(1)), "unknown field `extra`"),
        (
            with("client", json!({ "agent": "x" })),
            "unknown field `agent`",
        ),
        (json!({}), "missing field `rotation_id`"),
        (json!([]), "length 0"),
    ] {
        let answer = store.rotate(&body);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad_request"),
            "{answer:?}"
        );
        let message = answer.json()["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned();
        let known = message.contains(word) || message.contains("wrong type");
        assert!(known, "{word}: {message}");
    }
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
}

#[test]
fn every_answer_is_marked_and_says_its_length() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let big = "x".repeat(20_000);
    let resolve = json!({ "digest": user.digest }).to_string();
    let rotate = rotation(&user.digest, &fresh_digest()).to_string();
    let token = Some(STORE_TOKEN);
    for (method, path, token, body, status) in [
        (
            "POST",
            "/v1/keys/resolve",
            token,
            Some(resolve.as_str()),
            200,
        ),
        ("POST", "/v1/keys/rotate", token, Some(rotate.as_str()), 200),
        ("POST", "/v1/keys/resolve", token, Some("{"), 400),
        ("POST", "/v1/keys/resolve", token, None, 400),
        (
            "POST",
            "/v1/keys/resolve",
            None,
            Some(resolve.as_str()),
            401,
        ),
        ("POST", "/v1/keys/resolve", token, Some(big.as_str()), 413),
        ("GET", "/v1/keys/resolve", token, None, 405),
        ("DELETE", "/v1/keys/rotate", token, None, 405),
        ("GET", "/nowhere", token, None, 404),
        ("GET", "/", None, None, 404),
        ("GET", "/healthz", None, None, 200),
        ("HEAD", "/healthz", None, None, 200),
        ("GET", "/livez", None, None, 200),
        ("GET", "/readyz", None, None, 200),
        ("GET", "/metrics", None, None, 200),
        ("GET", "/openapi.json", None, None, 200),
        ("OPTIONS", "/v1/keys/rotate", None, None, 405),
    ] {
        let answer = store.call(method, &format!("{}{path}", store.url), token, body);
        assert_eq!(answer.status, status, "{method} {path}");
        check_marks(method, path, &answer);
        if status >= 400 {
            assert_ne!(answer.code(), "none", "{method} {path}");
        }
    }
}

fn check_marks(method: &str, path: &str, answer: &Answer) {
    let what = format!("{method} {path} {}", answer.status);
    assert_eq!(answer.header("rekey-store"), Some("1"), "{what}");
    assert_eq!(answer.header("transfer-encoding"), None, "{what}");
    let length = answer
        .header("content-length")
        .map(|text| text.parse().unwrap());
    if method != "HEAD" {
        assert_eq!(length, Some(answer.text.len()), "{what}");
    }
    match answer.status {
        401 => assert_eq!(answer.header("www-authenticate"), Some("Bearer")),
        405 => assert!(answer.header("allow").is_some(), "{what}"),
        _ => {}
    }
}

#[test]
fn a_body_that_grows_past_the_limit_is_refused_without_its_length() {
    let home = Home::new();
    let store = home.start();
    let mut stream = addressed(&store.url);
    write!(
        stream,
        "POST /v1/keys/resolve HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {STORE_TOKEN}\r\n\
         transfer-encoding: chunked\r\nconnection: close\r\n\r\n5000\r\n{}\r\n0\r\n\r\n",
        "x".repeat(0x5000)
    )
    .unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("rekey-store: 1"), "{answer}");
}

#[test]
fn a_token_is_checked_before_the_body_and_opens_one_listener_only() {
    let home = Home::new();
    let store = home.start();
    let resolve = format!("{}/v1/keys/resolve", store.url);
    let users = format!("{}/v1/users", store.admin_url);
    let huge = "x".repeat(200_000);
    for token in [
        None,
        Some(ADMIN_TOKEN),
        Some("gateway-token-012345678"),
        Some(""),
    ] {
        for body in ["{", huge.as_str()] {
            let answer = store.call("POST", &resolve, token, Some(body));
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "unauthorized")
            );
            assert!(!answer.text.contains(STORE_TOKEN));
        }
    }
    for token in [None, Some(STORE_TOKEN)] {
        let answer = store.call("GET", &users, token, None);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "unauthorized")
        );
    }
    assert_eq!(
        store.call("GET", &users, Some(ADMIN_TOKEN), None).status,
        200
    );
    // Neither listener has the other's endpoints.
    let (crossed, back) = (format!("{}/v1/users", store.url), &store.admin_url);
    assert_eq!(
        store.call("GET", &crossed, Some(ADMIN_TOKEN), None).status,
        404
    );
    let back = format!("{back}/v1/keys/resolve");
    assert_eq!(
        store
            .call("POST", &back, Some(ADMIN_TOKEN), Some("{}"))
            .status,
        404
    );
}

#[test]
fn without_a_gateway_token_the_admin_listener_keeps_its_own() {
    let home = Home::new();
    let mut serve = home.serve();
    serve
        .arg("--no-gateway-token")
        .env_remove("REKEY_STORE_TOKEN");
    let store = home.start_as(&mut serve);
    let user = store.add_user("alice");
    let url = format!("{}/v1/keys/resolve", store.url);
    let body = json!({ "digest": user.digest }).to_string();
    assert_eq!(store.call("POST", &url, None, Some(&body)).status, 200);
    let users = format!("{}/v1/users", store.admin_url);
    assert_eq!(store.call("GET", &users, None, None).status, 401);
}

#[test]
fn metrics_count_without_naming_anybody() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("alice");
    let request = rotation(&user.digest, &fresh_digest());
    store.rotate(&request);
    store.rotate(&request);
    store.rotate(&rotation(&user.digest, &fresh_digest()));
    let odd = format!("{}/{}", store.url, user.key);
    assert_eq!(store.call("GET", &odd, None, None).status, 404);
    let text = store.metrics();
    for line in [
        "rekey_store_rotations_total{outcome=\"rotated\"} 1",
        "rekey_store_rotations_total{outcome=\"repeated\"} 1",
        "rekey_store_rotations_total{outcome=\"revoked\"} 1",
        "rekey_store_requests_total{listener=\"gateway\",endpoint=\"/v1/keys/rotate\",status=\"200\"} 3",
        "rekey_store_requests_total{listener=\"gateway\",endpoint=\"other\",status=\"404\"} 1",
        "rekey_store_commit_batch_size_count",
        "rekey_store_commit_duration_seconds_count",
        "rekey_store_revision ",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains(&user.key));
}
