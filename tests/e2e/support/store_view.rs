//! What the key store holds, asked of the store itself: the other half of
//! every statement about which key is accepted.

use rekey_protocol::{ApiKey, Digest};
use rekey_testbed::Store;
use serde_json::{Value, json};
use ureq::Agent;

/// The SHA-256 under which the store knows a key.
pub(crate) fn digest(key: &str) -> Digest {
    ApiKey::parse(key.as_bytes())
        .expect("a well-formed key")
        .digest()
}

/// What a user's keys are at one moment, as far as nobody changes them.
#[derive(Debug)]
pub(crate) struct Keys {
    /// Every active key.
    pub active: Vec<Digest>,
    /// How often one was replaced.
    pub rotations: usize,
}

/// All keys that this user ever had, by the audit log, and what became of
/// them, by `resolve`.
///
/// # Panics
/// The store does not answer as documented.
pub(crate) fn keys(store: &Store, user: &str) -> Keys {
    let events = audit(store, user);
    let ever = events
        .iter()
        .filter_map(|event| Digest::from_hex(event["new_digest"].as_str()?));
    let active = ever.filter(|digest| is_active(store, digest)).collect();
    let rotated = |event: &&Value| event["action"] == "rotated";
    Keys {
        active,
        rotations: events.iter().filter(rotated).count(),
    }
}

/// A user's audit log, oldest first.
///
/// # Panics
/// As [`keys`].
pub(crate) fn audit(store: &Store, user: &str) -> Vec<Value> {
    let page = admin(store, &format!("/v1/audit?user={user}"));
    assert_eq!(page.get("next"), None, "more than a page");
    page["events"].as_array().expect("events").clone()
}

/// How many rotations ended so, by the store's own counter (`rotated`,
/// `revoked`, …).
///
/// # Panics
/// As [`keys`].
pub(crate) fn rotations_ended(store: &Store, outcome: &str) -> u64 {
    let series = format!("rekey_store_rotations_total{{outcome=\"{outcome}\"}}");
    metric(store, &series) as u64
}

/// How many requests for this path of the gateway listener were answered, with
/// whatever status.
///
/// # Panics
/// As [`keys`].
pub(crate) fn answered(store: &Store, path: &str) -> u64 {
    let begin = format!("rekey_store_requests_total{{listener=\"gateway\",endpoint=\"{path}\",");
    let text = metrics(store);
    let counts = text.lines().filter(|line| line.starts_with(&begin));
    counts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

/// The value of a series of `/metrics`, as it is named there; 0 if it is not
/// there yet.
///
/// # Panics
/// As [`keys`].
pub(crate) fn metric(store: &Store, series: &str) -> f64 {
    let text = metrics(store);
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// All of `/metrics`.
///
/// # Panics
/// As [`keys`].
pub(crate) fn metrics(store: &Store) -> String {
    let url = format!("{}/metrics", store.url());
    let body = ureq::get(&url).call().expect(&url).into_body();
    std::io::read_to_string(body.into_reader()).unwrap()
}

/// The end of the active key, as the list of users shows it; none if there is
/// no such key.
///
/// # Panics
/// As [`keys`], or there are more users than on one page.
pub(crate) fn hint(store: &Store, user: &str) -> Option<String> {
    let page = admin(store, "/v1/users");
    assert_eq!(page.get("next"), None, "more than a page");
    let mut users = page["users"].as_array().expect("users").iter();
    let entry = users.find(|entry| entry["user_id"] == user);
    let hint = &entry.expect("the user")["key"]["hint"];
    hint.as_str().map(str::to_owned)
}

fn is_active(store: &Store, digest: &Digest) -> bool {
    let url = format!("{}{}", store.url(), rekey_protocol::RESOLVE_PATH);
    let token = &store.options.secrets.store_token;
    let answer = ureq::post(&url)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .send(json!({ "digest": digest }).to_string());
    let text = answer.expect(&url).into_body().read_to_string();
    let resolved: Value = serde_json::from_str(&text.unwrap()).unwrap();
    match resolved["state"].as_str() {
        Some("active") => true,
        Some("revoked") => false,
        _ => panic!("{resolved}"),
    }
}

fn admin(store: &Store, path: &str) -> Value {
    let url = format!("{}{path}", store.admin_url());
    let token = &store.options.secrets.admin_token;
    let answer = Agent::new_with_defaults()
        .get(&url)
        .header("authorization", format!("Bearer {token}"))
        .call();
    let text = answer.expect(&url).into_body().read_to_string();
    serde_json::from_str(&text.unwrap()).unwrap()
}
