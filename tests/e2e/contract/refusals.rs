//! The other answers of the endpoint, and the order of its checks: method,
//! Idempotency-Key, key, hour.

use super::options;
use crate::support::client::{Answer, Client, REGENERATE, SCRAPE, bearer};
use crate::support::fleet;

const UUID: &str = "3f2c9a52-6c1e-4a43-9c39-0f3f0f6b8b11";

/// A key with the documented shape that nobody was given.
const UNKNOWN: &str = "sb_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

fn regenerate(
    client: &Client,
    method: &str,
    key: Option<&str>,
    idempotency: Option<&str>,
) -> Answer {
    let mut headers = key.map(bearer).unwrap_or_default();
    headers.extend(idempotency.map(|value| ("idempotency-key", value.to_owned())));
    client.send(method, REGENERATE, &headers, "")
}

/// Every refusal has one shape and is not to be stored by anybody.
fn is_refusal(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.outcome(), (status, code.to_owned()), "{answer:?}");
    let json = answer.json();
    assert_eq!(json["success"], false);
    assert!(!json["error"]["message"].as_str().unwrap().is_empty());
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[test]
fn another_method_is_405_whatever_else_is_wrong() {
    let fleet = fleet::start(options());
    let (user, client) = (fleet.user(), fleet.client());
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        for key in [None, Some(UNKNOWN), Some(user.api_key.as_str())] {
            for idempotency in [None, Some("short"), Some(UUID)] {
                let answer = regenerate(&client, method, key, idempotency);
                is_refusal(&answer, 405, "method_not_allowed");
                assert_eq!(answer.header("allow"), "POST");
            }
        }
    }
    // The upstream never saw one of them.
    assert!(fleet.upstream.ledger().unwrap().is_empty());
}

#[test]
fn an_idempotency_key_is_22_to_255_visible_characters() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    let ask = |value: &str, key: Option<&str>| regenerate(&client, "POST", key, Some(value));
    let long = |length| "k".repeat(length);
    // A blank at either end is not part of the value (RFC 9110 5.5).
    for bad in [
        "",
        "x",
        &long(21),
        &long(256),
        "with blanks in the midst of it",
        "tab\tin the midst of it all",
    ] {
        is_refusal(&ask(bad, None), 400, "invalid_idempotency_key");
        is_refusal(&ask(bad, Some(UNKNOWN)), 400, "invalid_idempotency_key");
    }
    let message = ask("x", None).json()["error"]["message"].clone();
    for said in ["22 to 255", "UUID"] {
        assert!(message.as_str().unwrap().contains(said), "{message}");
    }
    for good in [
        UUID,
        &long(22),
        &long(255),
        r##"!"#$%&'()*+,-./:;<=>?@[\]^_`{|}~"##,
    ] {
        is_refusal(&ask(good, None), 401, "missing_api_key");
        let rotated = ask(good, Some(&fleet.user().api_key));
        assert_eq!(rotated.status, 200, "{good}: {}", rotated.body);
    }
}

#[test]
fn a_401_says_which_and_challenges() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    let old = fleet.user().api_key;
    client.regenerate(&old).new_key();
    let basic = "Basic dXNlcjpwYXNzd29yZA==".to_owned();
    let wrong_checksum = {
        let mut key = fleet.user().api_key;
        let last = if key.ends_with('0') { "1" } else { "0" };
        key.replace_range(key.len() - 1.., last);
        key
    };
    let cases = [
        (vec![], "missing_api_key", None),
        (vec![("authorization", basic)], "missing_api_key", None),
        (bearer(""), "missing_api_key", None),
        (
            bearer("not-a-key"),
            "invalid_api_key",
            Some("invalid_token"),
        ),
        (bearer(UNKNOWN), "invalid_api_key", Some("invalid_token")),
        (
            bearer(&wrong_checksum),
            "invalid_api_key",
            Some("invalid_token"),
        ),
        (bearer(&old), "api_key_revoked", Some("invalid_token")),
    ];
    for (headers, code, error) in cases {
        for (method, path) in [("POST", REGENERATE), ("GET", SCRAPE), ("POST", SCRAPE)] {
            let answer = client.send(method, path, &headers, "");
            is_refusal(&answer, 401, code);
            // RFC 6750 3: no error code where no credentials were shown.
            let challenge = answer.header("www-authenticate");
            match error {
                None => assert_eq!(challenge, r#"Bearer realm="api""#),
                Some(error) => {
                    let start =
                        format!(r#"Bearer realm="api", error="{error}", error_description=""#);
                    assert!(challenge.starts_with(&start), "{challenge}");
                }
            }
        }
    }
}

#[test]
fn only_the_true_old_key_is_called_revoked() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    let old = fleet.user().api_key;
    client.regenerate(&old).new_key();
    let lower = format!("bearer {old}");
    let answer = client.send("GET", SCRAPE, &[("authorization", lower)], "");
    is_refusal(&answer, 401, "api_key_revoked");
    for other in [
        &old[..old.len() - 1],
        &format!("{old}0"),
        &old.to_uppercase(),
    ] {
        let answer = client.get(SCRAPE, other);
        is_refusal(&answer, 401, "invalid_api_key");
    }
}

#[test]
fn the_checks_come_in_the_documented_order() {
    let fleet = fleet::start(options());
    let client = fleet.client();
    let revoked = fleet.user().api_key;
    let limited = client.regenerate(&revoked).new_key();

    // Each request fails every check from one on; the first of them answers.
    let all_wrong = regenerate(&client, "GET", None, Some("short"));
    is_refusal(&all_wrong, 405, "method_not_allowed");
    let from_idempotency_on = regenerate(&client, "POST", Some(&revoked), Some("short"));
    is_refusal(&from_idempotency_on, 400, "invalid_idempotency_key");
    // The hour of the old key's user is not over either.
    let from_key_on = regenerate(&client, "POST", Some(&revoked), Some(UUID));
    is_refusal(&from_key_on, 401, "api_key_revoked");
    let only_the_hour = regenerate(&client, "POST", Some(&limited), Some(UUID));
    is_refusal(&only_the_hour, 429, "rate_limited");
    // And a bad Idempotency-Key comes before the hour.
    let hour_and_idempotency = regenerate(&client, "POST", Some(&limited), Some("short"));
    is_refusal(&hour_and_idempotency, 400, "invalid_idempotency_key");
}
