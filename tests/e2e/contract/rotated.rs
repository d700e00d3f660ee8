//! The answer to a rotation, by the documented command line.

use std::process::Command;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::options;
use crate::support::client::{REGENERATE, SCRAPE};
use crate::support::{fleet, store_view};

/// How far the clocks of one machine's processes may seem apart: the time is
/// in whole seconds.
const CLOCK_SLACK_SECONDS: i64 = 5;

#[test]
fn the_documented_curl_gives_the_documented_answer() {
    let fleet = fleet::start(options());
    let url = fleet.gateways[0].url();
    let (user, client) = (fleet.user(), fleet.client());
    assert_eq!(client.get(SCRAPE, &user.api_key).status, 200);

    let answer = curl(&url, &user.api_key);
    assert_eq!(answer.status_line, "HTTP/1.1 200 OK");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let (new_key, created_at) = documented_200(&answer.body);
    assert_ne!(new_key, user.api_key);
    is_about_now(&created_at);

    let old = curl(&url, &user.api_key);
    assert_eq!(old.status_line, "HTTP/1.1 401 Unauthorized");
    assert_eq!(client.get(SCRAPE, &new_key).status, 200);
    let again = curl(&url, &new_key);
    assert_eq!(again.status_line, "HTTP/1.1 429 Too Many Requests");
    let seconds: u64 = again.header("retry-after").parse().unwrap();
    assert_eq!(again.body, documented_429(seconds));
    assert!((3590..=3600).contains(&seconds), "{seconds}");
}

#[test]
fn a_rotation_leaves_one_active_key_in_the_list_of_users() {
    let fleet = fleet::start(options());
    let user = fleet.user();
    let new_key = fleet.client().regenerate(&user.api_key).new_key();

    let keys = store_view::keys(&fleet.store, &user.user_id);
    assert_eq!(keys.active, [store_view::digest(&new_key)]);
    assert_eq!(keys.rotations, 1);

    let listed = fleet.store.cli().args(["users", "list", "--json"]).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let entries: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [entry] = entries.as_slice() else {
        panic!("one user is listed once: {listed}");
    };
    assert_eq!(entry["user_id"], user.user_id.as_str());
    assert_eq!(entry["key"]["hint"], new_key[new_key.len() - 4..]);
}

#[test]
fn the_audit_log_says_who_rotated() {
    let fleet = fleet::start(options());
    let user = fleet.user();
    let new_key = fleet.client().regenerate(&user.api_key).new_key();
    let events = store_view::audit(&fleet.store, &user.user_id);
    let rotated = events.last().expect("an event");
    for (field, key) in [("old_digest", &user.api_key), ("new_digest", &new_key)] {
        assert_eq!(rotated[field], json!(store_view::digest(key)));
    }
    assert_eq!(rotated["hint"], new_key[new_key.len() - 4..]);
    assert_eq!(rotated["action"], "rotated");
    assert_eq!(rotated["source"], "gateway");
    let address = rotated["client_address"].as_str().unwrap_or_default();
    assert!(address.starts_with("127.0.0.1:"), "{rotated}");
    let request = rotated["client_request_id"].as_str().unwrap_or_default();
    assert!(!request.is_empty(), "{rotated}");
    fleet::eventually("the request in the access log", || {
        let log = fleet.gateways[0].access_log();
        log.contains(request).then_some(())
    });
}

/// Compares with the documented object, field for field in its order, and
/// returns the two values that differ each time.
fn documented_200(body: &str) -> (String, String) {
    let json: Value = serde_json::from_str(body).expect(body);
    let text = |field: &str| json["data"][field].as_str().expect(field).to_owned();
    let (key, created_at) = (text("api_key"), text("created_at"));
    let documented = format!(
        r#"{{"success":true,"data":{{"api_key":"{key}","created_at":"{created_at}","previous_key_invalidated":true}},"message":"API key regenerated successfully. Your old key is now invalid."}}"#
    );
    assert_eq!(body, documented);
    let random = key.strip_prefix("sb_live_").expect("the documented prefix");
    assert_eq!(random.len(), 32);
    assert!(random.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    (key, created_at)
}

/// The documented object, with so many seconds.
fn documented_429(seconds: u64) -> String {
    format!(
        r#"{{"success":false,"error":{{"code":"rate_limited","message":"You can only regenerate your API key once per hour. Please try again later.","retry_after":{seconds}}}}}"#
    )
}

/// RFC 3339, in UTC, whole seconds, `Z`.
fn is_about_now(created_at: &str) {
    let time: Timestamp = created_at.parse().expect(created_at);
    assert_eq!(time.to_string(), created_at, "its shortest form, in UTC");
    assert_eq!(created_at.len(), "2025-01-31T16:00:00Z".len());
    let age = Timestamp::now().as_second() - time.as_second();
    assert!(
        (-CLOCK_SLACK_SECONDS..=CLOCK_SLACK_SECONDS).contains(&age),
        "{created_at} is {age} s ago"
    );
}

/// What `curl -i` prints, taken apart.
struct Printed {
    status_line: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Printed {
    fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(header, _)| header == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => value,
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// Runs the documented line, for this gateway and this key, in a shell.
fn curl(url: &str, key: &str) -> Printed {
    let line = format!(
        r#"curl -X POST "{url}{REGENERATE}" \
  -H "Authorization: Bearer {key}" \
  -H "Content-Type: application/json""#
    );
    let output = Command::new("sh")
        .args(["-c", &format!("{line} --silent --show-error --include")])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect(&text);
    let mut lines = head.lines();
    let status_line = lines.next().unwrap().trim_end().to_owned();
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':').expect(line);
        (name.to_ascii_lowercase(), value.trim().to_owned())
    });
    Printed {
        status_line,
        headers: headers.collect(),
        body: body.to_owned(),
    }
}
