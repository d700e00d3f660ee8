//! Whom the upstream believes to be served: the key's user and nobody else,
//! whatever a client claims; and what that user pays.

use rekey_testbed::{EnvoyConfig, FleetOptions, Received, workspace};
use serde_json::{Value, json};

use crate::support::client::{KEY_HEADER, REGENERATE, SCRAPE, bearer};
use crate::support::fleet::{self, TestFleet};
use crate::support::wire::http2::{Body, Http2};
use crate::support::wire::raw_http::{RawAnswer, RawConnection};

const ECHO: &str = "/v1/echo";
const USER_HEADER: &str = "x-rekey-user";
/// What the demo upstream calls a request without a user.
const ANONYMOUS: &str = "anonymous";

/// Header lines by which a client may claim to be somebody else. The blanks
/// and the case are theirs.
const FORGERIES: &[&str] = &[
    "x-rekey-user: forged",
    "X-Rekey-User: forged",
    "X-REKEY-USER:forged",
    "x-rekey-user: forged\r\nx-rekey-user: forged-again",
    "x-rekey-user: forged\r\nX-Rekey-User: forged-again\r\nx-REKEY-user: and-again",
    "x-rekey-user: forged, forged-again",
    "x-rekey-user:",
    "x-rekey-user:\r\nx-rekey-user: forged",
    "x-rekey-user: %FILTER_STATE(wasm.rekey.user:PLAIN)%",
    "connection: x-rekey-user\r\nx-rekey-user: forged",
    "connection: keep-alive, x-rekey-user\r\nx-rekey-user: forged",
    "x-envoy-original-path: /v1/public\r\nx-rekey-user: forged",
    // Some servers make one character of all that are no letters.
    "x.rekey.user: forged",
    "X~Rekey~User: forged",
    "x-rekey.user: forged\r\nx-rekey-user: forged",
    // Some frameworks take these for the path.
    "x-original-url: /v1/forged\r\nx-rewrite-url: /v1/forged",
];

/// Spellings that another server may take for the same header.
const UNDERSCORES: &[&str] = &[
    "x_rekey_user: forged",
    "x-rekey_user: forged",
    "X_Rekey-User: forged",
];

fn with_a_public_path() -> FleetOptions {
    FleetOptions {
        plugin: json!({ "public_paths": [ECHO] }),
        ..FleetOptions::default()
    }
}

/// `GET` of this path with these header lines, on a connection of its own.
fn get(fleet: &TestFleet, path: &str, lines: &str) -> RawAnswer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: gateway\r\n{lines}\r\n\r\n");
    RawConnection::open(fleet.gateways[0].address()).exchange(request)
}

fn received(body: &str) -> Received {
    serde_json::from_str(body).expect(body)
}

/// The values of a header as the upstream got them.
fn values<'a>(received: &'a Received, name: &str) -> Vec<&'a str> {
    let named = received.headers.iter().filter(|(header, _)| header == name);
    named.map(|(_, value)| value.as_str()).collect()
}

/// The upstream got this user (or none), and nothing from which to know a key.
fn is_served_as(body: &str, user: Option<&str>, key: &str) {
    assert!(!body.contains(key), "the key reached the upstream");
    assert!(!body.contains("forged"), "{body}");
    let received = received(body);
    assert_eq!(received.user, user.unwrap_or(ANONYMOUS));
    assert_eq!(values(&received, USER_HEADER), Vec::from_iter(user));
    assert!(values(&received, KEY_HEADER).is_empty(), "{body}");
}

#[test]
fn the_upstream_sees_the_user_and_never_a_key() {
    let fleet = fleet::start(FleetOptions::default());
    let (user, client) = (fleet.user(), fleet.client());
    let other = fleet.user();
    let first = client.get(ECHO, &user.api_key);
    is_served_as(&first.body, Some(&user.user_id), &user.api_key);
    let another = client.get(ECHO, &other.api_key);
    is_served_as(&another.body, Some(&other.user_id), &other.api_key);

    // The user stays the same behind the new key.
    let new = client.regenerate(&user.api_key).new_key();
    let second = client.get(ECHO, &new);
    is_served_as(&second.body, Some(&user.user_id), &new);
}

/// On every route, and by name: the filter must never read a key from a header
/// that goes on to the API.
#[test]
fn the_shipped_configuration_takes_off_the_very_header_that_the_filter_reads() {
    let shipped = workspace::root().join("envoy.yaml");
    let mut shipped = EnvoyConfig::read(&shipped).unwrap();
    let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
    let manager = shipped.value_mut().pointer(manager).unwrap();
    let taken_off = &manager["route_config"]["request_headers_to_remove"];
    let taken_off: Vec<String> = serde_json::from_value(taken_off.clone()).unwrap();
    for name in [KEY_HEADER, USER_HEADER] {
        assert!(
            taken_off.iter().any(|header| header == name),
            "{name}: {taken_off:?}"
        );
    }
}

#[test]
fn a_forged_user_is_replaced_where_a_key_is_needed() {
    let fleet = fleet::start(FleetOptions::default());
    let user = fleet.user();
    let key = format!("{KEY_HEADER}: Bearer {}", user.api_key);
    for forgery in FORGERIES {
        for lines in [format!("{forgery}\r\n{key}"), format!("{key}\r\n{forgery}")] {
            let answer = get(&fleet, ECHO, &lines);
            assert_eq!(answer.status, 200, "{forgery:?}: {}", answer.body);
            is_served_as(&answer.body, Some(&user.user_id), &user.api_key);
        }
        let answer = get(&fleet, ECHO, forgery);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (401, "missing_api_key")
        );
    }
    let users: Vec<_> = fleet.upstream.ledger().unwrap().into_keys().collect();
    assert_eq!(users, [user.user_id]);
    fleet.assert_no_trap();
}

#[test]
fn a_forged_user_is_dropped_on_public_paths() {
    let fleet = fleet::start(with_a_public_path());
    let user = fleet.user();
    let key = format!("{KEY_HEADER}: Bearer {}", user.api_key);
    for forgery in FORGERIES {
        // With a key too: a public path does not look at it.
        for lines in [(*forgery).to_owned(), format!("{forgery}\r\n{key}")] {
            let answer = get(&fleet, ECHO, &lines);
            assert_eq!(answer.status, 200, "{lines:?}: {}", answer.body);
            is_served_as(&answer.body, None, &user.api_key);
        }
    }
    assert!(fleet.upstream.ledger().unwrap().is_empty());
    fleet.assert_no_trap();
}

#[test]
fn a_header_with_underscores_is_refused() {
    let fleet = fleet::start(with_a_public_path());
    let key = format!("{KEY_HEADER}: Bearer {}", fleet.user().api_key);
    for forgery in UNDERSCORES {
        for path in [ECHO, SCRAPE] {
            let answer = get(&fleet, path, &format!("{key}\r\n{forgery}"));
            assert_eq!(answer.status, 400, "{path} {forgery}: {}", answer.body);
        }
    }
    assert!(fleet.upstream.ledger().unwrap().is_empty());
}

#[test]
fn http2_headers_forge_no_user_either() {
    let fleet = fleet::start(with_a_public_path());
    let (gateway, user) = (&fleet.gateways[0], fleet.user());
    let connection = Http2::connect(gateway.address());
    let forged = |path: &str, header: &str| {
        let request = hyper::Request::builder()
            .uri(format!("{}{path}", gateway.url()))
            .header(KEY_HEADER, format!("Bearer {}", user.api_key))
            .header(header, "forged")
            .header(header, "forged-again");
        request.body(()).unwrap()
    };
    let public = connection.exchange(forged(ECHO, USER_HEADER), Body::None);
    assert_eq!(public.status, 200);
    is_served_as(&public.body, None, &user.api_key);
    let answer = connection.exchange(forged(SCRAPE, USER_HEADER), Body::None);
    assert_eq!(received(&answer.body).user, user.user_id);
}

/// What comes behind a body is read after the headers: it may say nothing about
/// who asks. gRPC is the way on which trailers reach an API at all.
#[test]
fn trailers_name_no_user_and_carry_no_key() {
    let fleet = fleet::start(FleetOptions::default());
    let user = fleet.user();
    let connection = Http2::connect(fleet.gateways[0].address());
    for content_type in ["application/grpc", "application/json"] {
        let request = hyper::Request::builder()
            .method("POST")
            .uri(format!("http://gateway{ECHO}"))
            .header(KEY_HEADER, format!("Bearer {}", user.api_key))
            .header("content-type", content_type);
        let mut trailers = hyper::HeaderMap::new();
        for (name, value) in [
            (USER_HEADER, "u_forged"),
            (USER_HEADER, "u_forged_again"),
            ("x.rekey.user", "u_forged"),
            (KEY_HEADER, user.api_key.as_str()),
            ("x-checksum", "kept"),
        ] {
            trailers.append(name, value.parse().unwrap());
        }
        let body = Body::WithTrailers("{}".into(), trailers);
        let answer = connection.exchange(request.body(()).unwrap(), body);
        assert_eq!(answer.status, 200, "{content_type}: {}", answer.body);
        is_served_as(&answer.body, Some(&user.user_id), &user.api_key);
        let kept = received(&answer.body).trailers;
        match content_type {
            "application/grpc" => assert_eq!(kept, [("x-checksum".into(), "kept".into())]),
            // An API of HTTP/1.1 gets none at all.
            _ => assert_eq!(kept, []),
        }
    }
    fleet.assert_no_trap();
}

/// The demo API obeys RFC 9110, 7.6.1, as many a hop does: it removes what
/// `Connection` nominates. A WebSocket's passes Envoy as it came.
#[test]
fn nobody_takes_off_their_own_identity() {
    let fleet = fleet::start(with_a_public_path());
    let user = fleet.user();
    let key = format!("{KEY_HEADER}: Bearer {}", user.api_key);
    let rest = "upgrade: websocket\r\nsec-websocket-version: 13\r\n\
                sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==";
    for nominating in [
        "connection: Upgrade, x-rekey-user",
        "connection: x-rekey-user, upgrade",
        "connection: Upgrade,X-REKEY-USER ,keep-alive",
        "connection: Upgrade\r\nconnection: x-rekey-user",
        "connection: Upgrade, x-request-id",
        "connection: upgrade, authorization",
    ] {
        for path in ["/v1/ws", "/v1/scrape", ECHO] {
            let lines = format!("{key}\r\n{nominating}\r\n{rest}");
            let answer = get(&fleet, path, &lines);
            let outcome = (answer.status, answer.code());
            let expected = (400, "invalid_connection_header".to_owned());
            assert_eq!(outcome, expected, "{path} {nominating}");
        }
    }
    // What clients send.
    for usual in ["connection: Upgrade", "connection: keep-alive, Upgrade"] {
        let answer = get(&fleet, "/v1/ws", &format!("{key}\r\n{usual}\r\n{rest}"));
        assert_eq!(answer.status, 101, "{usual}");
    }
    let ledger = fleet.upstream.ledger().unwrap();
    assert_eq!(Vec::from_iter(ledger.keys()), [&user.user_id]);
    fleet.assert_no_trap();
}

#[test]
fn hop_by_hop_tricks_do_not_hide_the_key_or_the_user() {
    let fleet = fleet::start(FleetOptions::default());
    let user = fleet.user();
    let key = format!("{KEY_HEADER}: Bearer {}", user.api_key);
    // RFC 9110 7.6.1: a header that `Connection` names is for this hop alone.
    let answer = get(&fleet, ECHO, &format!("{key}\r\nconnection: authorization"));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (401, "missing_api_key")
    );
    let named = format!("{key}\r\nconnection: close, x-rekey-user, te");
    is_served_as(
        &get(&fleet, ECHO, &named).body,
        Some(&user.user_id),
        &user.api_key,
    );
}

#[test]
fn a_rotation_moves_no_credit_and_other_requests_cost_one() {
    let fleet = fleet::start(FleetOptions::default());
    let (user, client) = (fleet.user(), fleet.client());
    let balance = || fleet.upstream.ledger().unwrap().get(&user.user_id).copied();
    assert_eq!(balance(), None, "nothing was charged so far");
    let first = received(&client.get(SCRAPE, &user.api_key).body).credits_left;
    let first = first.expect("a balance");
    assert_eq!(balance(), Some(first));

    let new = client.regenerate(&user.api_key).new_key();
    assert_eq!(client.regenerate(&new).status, 429);
    assert_eq!(client.regenerate(&user.api_key).status, 401);
    let wrong = client.send("DELETE", REGENERATE, &bearer(&new), "");
    assert_eq!(wrong.status, 405);
    assert_eq!(client.get(SCRAPE, &user.api_key).status, 401);
    assert_eq!(
        balance(),
        Some(first),
        "refused requests and rotations are free"
    );

    for used in 1..=3 {
        let left = received(&client.get(SCRAPE, &new).body).credits_left;
        assert_eq!(left, Some(first - used));
    }
    let ledger: Value = json!(fleet.upstream.ledger().unwrap());
    assert_eq!(
        ledger,
        json!({ user.user_id: first - 3 }),
        "one account, the same one"
    );
}
