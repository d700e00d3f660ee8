//! Header values that no honest client sends.

use std::sync::Arc;

use rekey_testbed::{Edit, FleetOptions};
use serde_json::Value;

use super::super::support::client::REGENERATE;
use super::super::support::fleet::{self, TestFleet};
use super::super::support::wire::raw_http::RawAnswer;
use super::{
    Differences, FORGED, Outcome, invalid_key, missing_key, received, request, send, start,
};

const KIB_60: usize = 60 * 1024;

fn line(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [name.as_bytes(), b": ", value.as_ref()].concat()
}

fn authorization(value: impl AsRef<[u8]>) -> Vec<u8> {
    line("Authorization", value)
}

#[test]
fn a_key_is_taken_from_one_well_formed_header_only() {
    let fleet = start();
    let user = fleet.user();
    let key = &user.api_key;
    let served = || Outcome::Upstream(user.user_id.clone());
    let bearer = |scheme: &str| authorization(format!("{scheme} {key}"));
    let table: Vec<(&str, Vec<Vec<u8>>, Outcome)> = vec![
        ("none", vec![], missing_key()),
        ("empty", vec![authorization("")], missing_key()),
        ("blank", vec![authorization("  \t ")], missing_key()),
        ("scheme alone", vec![authorization("Bearer")], missing_key()),
        (
            "scheme and blank",
            vec![authorization("Bearer ")],
            missing_key(),
        ),
        ("key alone", vec![authorization(key)], missing_key()),
        (
            "Basic",
            vec![authorization("Basic dXNlcjpwYXNz")],
            missing_key(),
        ),
        ("Token", vec![bearer("Token")], missing_key()),
        ("Bearer:", vec![bearer("Bearer:")], missing_key()),
        ("BearerBearer", vec![bearer("BearerBearer")], missing_key()),
        (
            "tab",
            vec![authorization(format!("Bearer\t{key}"))],
            missing_key(),
        ),
        ("bearer", vec![bearer("bearer")], served()),
        ("bEaReR", vec![bearer("bEaReR")], served()),
        ("many blanks", vec![bearer("Bearer      ")], served()),
        (
            "blank behind",
            vec![authorization(format!("Bearer {key}  "))],
            served(),
        ),
        (
            "forged",
            vec![authorization(format!("Bearer {FORGED}"))],
            invalid_key(),
        ),
        (
            "longer",
            vec![authorization(format!("Bearer {key}x"))],
            invalid_key(),
        ),
        (
            "shorter",
            vec![authorization(format!("Bearer {}", &key[..39]))],
            invalid_key(),
        ),
        (
            "quoted",
            vec![authorization(format!("Bearer \"{key}\""))],
            invalid_key(),
        ),
        (
            "comma",
            vec![authorization(format!("Bearer {key},"))],
            invalid_key(),
        ),
        (
            "two in one",
            vec![authorization(format!("Bearer {key} {key}"))],
            invalid_key(),
        ),
        (
            "two",
            vec![bearer("Bearer"), bearer("Bearer")],
            invalid_key(),
        ),
        (
            "two, one forged",
            vec![bearer("Bearer"), authorization(format!("Bearer {FORGED}"))],
            invalid_key(),
        ),
        (
            "two schemes",
            vec![bearer("Bearer"), authorization("Basic dXNlcjpwYXNz")],
            invalid_key(),
        ),
        (
            "two schemes, other order",
            vec![authorization("Basic dXNlcjpwYXNz"), bearer("Bearer")],
            missing_key(),
        ),
        (
            "named in Connection",
            vec![bearer("Bearer"), line("Connection", "authorization")],
            missing_key(),
        ),
        (
            "bytes",
            vec![authorization(b"Bearer \xff\xfe\x80\xc3(")],
            invalid_key(),
        ),
        (
            "bytes for a scheme",
            vec![authorization(b"\xff\xfe \x80")],
            missing_key(),
        ),
        (
            "bytes alone",
            vec![authorization(b"\xf0\x28\x8c\x28")],
            missing_key(),
        ),
        (
            "60 KiB",
            vec![authorization(format!("Bearer {}", "a".repeat(KIB_60)))],
            invalid_key(),
        ),
        (
            "60 KiB of commas",
            vec![authorization(",".repeat(KIB_60))],
            missing_key(),
        ),
        (
            "100 KiB",
            vec![authorization(format!("Bearer {}", "a".repeat(100 << 10)))],
            Outcome::Envoy(431),
        ),
        (
            "NUL",
            vec![authorization(b"Bearer \x00")],
            Outcome::Envoy(400),
        ),
        (
            "0x01",
            vec![authorization(b"Bearer \x01")],
            Outcome::Envoy(400),
        ),
        (
            "DEL",
            vec![authorization(b"Bearer \x7f")],
            Outcome::Envoy(400),
        ),
        // RFC 9112, 5.2: a fold counts as a blank.
        (
            "folded",
            vec![authorization(format!("Bearer\r\n {key}"))],
            served(),
        ),
        (
            "underscore",
            vec![bearer("Bearer"), line("x_rekey_user", "u_1")],
            Outcome::Envoy(400),
        ),
    ];
    let mut differences = Differences::default();
    for (case, headers, expected) in &table {
        for path in ["GET /v1/scrape", "GET /v1/scrape?x"] {
            let answer = send(&fleet, &request(path, headers));
            differences.compare(case, &Outcome::of(&answer), expected);
            check_challenge(case, &answer);
        }
    }
    differences.assert_none();
    fleet.assert_no_trap();
}

/// RFC 6750, 3: a challenge with every 401, an error only where there was a
/// credential.
fn check_challenge(case: &str, answer: &RawAnswer) {
    let expected = match answer.code().as_str() {
        "missing_api_key" => r#"Bearer realm="api""#,
        "invalid_api_key" => {
            r#"Bearer realm="api", error="invalid_token", error_description="This API key is not valid.""#
        }
        _ => return,
    };
    assert_eq!(answer.header("www-authenticate"), Some(expected), "{case}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{case}");
}

#[test]
fn an_idempotency_key_is_visible_ascii_or_refused() {
    let fleet = start();
    let refused = Outcome::Refused(400, "invalid_idempotency_key".to_owned());
    let at_least = "k".repeat(22);
    let at_most = "k".repeat(255);
    let table: Vec<(&str, Vec<u8>, Outcome)> = vec![
        // Refused for the key, and so not for the Idempotency-Key.
        ("22", at_least.clone().into(), missing_key()),
        ("255", at_most.clone().into(), missing_key()),
        ("empty", vec![], refused.clone()),
        ("21", at_least[1..].into(), refused.clone()),
        ("256", (at_most + "k").into(), refused.clone()),
        ("60 KiB", "k".repeat(KIB_60).into(), refused.clone()),
        ("blank", format!("{at_least} k").into(), refused.clone()),
        (
            "bytes",
            [at_least.as_bytes(), b"\xff\xfe"].concat(),
            refused.clone(),
        ),
        ("UTF-8", format!("{at_least}é").into(), refused),
    ];
    let mut differences = Differences::default();
    for (case, value, expected) in &table {
        let headers = [line("Idempotency-Key", value)];
        let answer = send(&fleet, &request(format!("POST {REGENERATE}"), &headers));
        differences.compare(case, &Outcome::of(&answer), expected);
    }
    differences.assert_none();
    fleet.assert_no_trap();
}

#[test]
fn other_headers_may_hold_anything() {
    let fleet = start();
    for header in odd_headers() {
        assert_serves_and_rotates(&fleet, header);
    }
    fleet.assert_no_trap();
}

/// The request id goes to the key store's audit log; an operator may have Envoy
/// keep the client's.
#[test]
fn a_clients_own_request_id_may_be_anything() {
    let keep_it: Edit = Arc::new(|envoy| {
        connection_manager(envoy)["preserve_external_request_id"] = true.into();
        Ok(())
    });
    let options = FleetOptions {
        edit: Some(keep_it),
        ..FleetOptions::default()
    };
    let fleet = fleet::start(options);
    for id in [
        b"\xff\xfe\x80".to_vec(),
        vec![b'r'; KIB_60],
        vec![b'"'; 128],
    ] {
        assert_serves_and_rotates(&fleet, line("X-Request-Id", id));
    }
    fleet.assert_no_trap();
}

/// `x-envoy-*` headers steer timeouts and retries; those of a client count for
/// nothing, wherever it comes from.
#[test]
fn a_client_does_not_steer_envoy() {
    let fleet = start();
    let key = fleet.user().api_key;
    let sent = [
        ("x-request-id", "mine"),
        ("x-envoy-internal", "true"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-max-retries", "9"),
        ("x-envoy-upstream-rq-timeout-ms", "1"),
        ("x-envoy-force-trace", "mine"),
    ];
    let bearer = authorization(format!("Bearer {key}"));
    let mut headers = vec![bearer];
    headers.extend(sent.map(|(name, value)| line(name, value)));
    let arrived = received(&send(&fleet, &request("GET /v1/echo", &headers))).headers;
    for (name, value) in sent {
        let as_sent = (name.to_owned(), value.to_owned());
        assert!(!arrived.contains(&as_sent), "{as_sent:?}");
    }
}

fn odd_headers() -> Vec<Vec<u8>> {
    vec![
        line("X-Anything", b"\xff\xfe\x80"),
        line("X-Anything", "a".repeat(KIB_60)),
        line("X-Request-Id", b"\xff\xfe\x80"),
        line("X-Request-Id", "r".repeat(KIB_60)),
        line("X-Forwarded-For", b"\xff, 1.2.3.4, ,"),
        line("User-Agent", b"\xf0\x28\x8c\x28"),
        line("X-Forwarded-Host", b"\xc3\x28"),
        line("Traceparent", b"\xff"),
        line("Cookie", "=;=;".repeat(10_000)),
    ]
}

fn assert_serves_and_rotates(fleet: &TestFleet, header: Vec<u8>) {
    let case = String::from_utf8_lossy(&header[..header.len().min(40)]).into_owned();
    let user = fleet.user();
    let bearer = authorization(format!("Bearer {}", user.api_key));
    let headers = [bearer, header];
    let answer = send(fleet, &request("GET /v1/scrape", &headers));
    let served = Outcome::Upstream(user.user_id);
    assert_eq!(Outcome::of(&answer), served, "{case}");
    let answer = send(fleet, &request(format!("POST {REGENERATE}"), &headers));
    assert_eq!(answer.status, 200, "{case}: {}", answer.body);
}

/// The connection manager's part of an Envoy configuration.
fn connection_manager(envoy: &mut Value) -> &mut Value {
    &mut envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
}
