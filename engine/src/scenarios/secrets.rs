//! The checksum's secret changes, one process after the other: what a gateway
//! makes keys with, and what it believes of keys with another secret's checksum.

use rekey_protocol::{ApiKey, ErrorCode, SecretPrint};

use super::lease::{LEASE_MS, LIFE, head};
use super::*;

const OLD: &str = "old-secret-16-bytes";
const NEW: &str = "new-secret-16-bytes";

fn secrets(text: &str) -> ChecksumSecrets {
    ChecksumSecrets::parse(text).unwrap()
}

fn print(text: &str) -> SecretPrint {
    secrets(text).prints()[0]
}

/// A key of this secret.
fn key_of(secret: &str, seed: u8) -> String {
    let key = secrets(secret).issue(&[seed; 64]).unwrap();
    key.expose().to_owned()
}

fn advice(issue_with: Option<&str>, behind: bool) -> Value {
    json!({"settled": true, "issue_with": issue_with.map(print), "behind": behind})
}

impl Worker {
    /// A gateway with these secrets, whose first poll is in flight.
    fn with_secrets(text: &str) -> Self {
        let mut worker = Self::with(CONFIG);
        let config = Config::load(CONFIG.as_bytes(), Some(text), None).unwrap();
        worker.engine = Engine::new(config);
        worker.pass(100);
        worker
    }

    /// The poll is answered, and the next one is in flight.
    fn advised(&mut self, secrets: Value) {
        let mut answer = json!({"changes": [], "cursor": head(LIFE, 10), "granted_ms": LEASE_MS});
        answer["reset"] = self.poll().cursor.is_none().into();
        if !secrets.is_null() {
            answer["secrets"] = secrets;
        }
        self.fed(answer);
        self.pass(100);
    }

    /// Which of the secrets the key of a rotation now bears; none if there is none.
    fn makes_keys_with(&mut self, seed: u8) -> Option<&'static str> {
        let key = key_of(OLD, seed);
        let request = self.regenerate(&key);
        self.answer(200, lease::active_at(LIFE, 10));
        if self.calls.is_empty() {
            let unavailable = (503, "key_store_unavailable".into());
            assert_eq!(self.refused(request), unavailable);
            return None;
        }
        let (call, sent) = self.call();
        let sent: RotateRequest = serde_json::from_slice(&sent.body).unwrap();
        self.end_call(call, 200, &rotated(&sent));
        let End::Reply(200, body) = &self.ends[&request] else {
            panic!("{:?}", self.ends[&request]);
        };
        let body: Value = serde_json::from_str(body).unwrap();
        let key = body["data"]["api_key"].as_str().unwrap();
        let key = ApiKey::parse(key.as_bytes()).unwrap();
        let made = [OLD, NEW].into_iter().find(|one| secrets(one).verify(&key));
        Some(made.expect("a key of one of them"))
    }

    fn said(&self, level: LogLevel, text: &str) -> bool {
        let mut log = self.log.iter();
        log.any(|(at, line)| *at == level && line.contains(text))
    }
}

#[test]
fn each_poll_tells_what_is_accepted() {
    let worker = Worker::with_secrets(&format!("{NEW},{OLD}"));
    let told = worker.poll().secrets.unwrap();
    assert_eq!(
        (told.prints, told.any),
        (vec![print(NEW), print(OLD)], false)
    );
    let mut off = Worker::with(r#"{"store":{"cluster":"store"},"checksum":"off"}"#);
    off.pass(100);
    assert!(off.poll().secrets.unwrap().any);
}

#[test]
fn keys_are_made_with_what_the_store_advises() {
    let mut worker = Worker::with_secrets(&format!("{NEW},{OLD}"));
    assert_eq!(worker.makes_keys_with(1), None, "before any word");
    worker.advised(json!({}));
    assert_eq!(worker.makes_keys_with(2), None, "not settled");
    worker.advised(advice(Some(OLD), false));
    assert_eq!(worker.makes_keys_with(3), Some(OLD));
    assert!(worker.said(LogLevel::Warn, "keys are made with secret 2 of 2"));
    assert_eq!(worker.gauges[&Gauge::ChecksumSecretInUse], 2);
    worker.advised(advice(Some(NEW), false));
    assert_eq!(worker.makes_keys_with(4), Some(NEW));
    assert_eq!(worker.gauges[&Gauge::ChecksumSecretInUse], 1);
    // The store starts again, and has heard of nobody yet.
    worker.advised(json!({}));
    assert_eq!(worker.makes_keys_with(5), Some(NEW));
    let log = format!("{:?}", worker.log);
    assert!(!log.contains(NEW) && !log.contains(OLD), "{log}");
}

#[test]
fn with_one_secret_there_is_nothing_to_wait_for() {
    let mut worker = Worker::with_secrets(OLD);
    assert_eq!(worker.makes_keys_with(1), Some(OLD));
}

#[test]
fn without_a_common_secret_no_key_is_made_and_nothing_is_sent() {
    let mut worker = Worker::with_secrets(&format!("{NEW},{OLD}"));
    worker.advised(advice(None, true));
    assert_eq!(worker.makes_keys_with(1), None);
    assert!(worker.said(LogLevel::Error, "no keys are made"));
    assert_eq!(worker.gauges[&Gauge::ChecksumSecretInUse], 0);
    let lines = worker.log.len();
    worker.advised(advice(None, true));
    assert_eq!(worker.log.len(), lines, "said once");
    worker.advised(advice(Some(OLD), false));
    assert_eq!(worker.makes_keys_with(2), Some(OLD));
}

#[test]
fn a_gateway_that_is_behind_asks_instead_of_refusing() {
    let mut worker = Worker::with_secrets(OLD);
    worker.advised(advice(Some(OLD), false));
    let refused = worker.get(&key_of(NEW, 1));
    assert_eq!(worker.refused(refused), (401, "invalid_api_key".into()));
    assert!(worker.calls.is_empty());
    worker.advised(advice(Some(OLD), true));
    let served = worker.get(&key_of(NEW, 1));
    worker.answer(200, lease::active_at(LIFE, 10));
    assert_eq!(worker.ends[&served], End::Upstream(Some("u_1".into())));
    assert_eq!(worker.gauges[&Gauge::ChecksumSecretsBehind], 1);
    assert!(worker.said(LogLevel::Warn, "give this gateway the same secrets"));
    // It has caught up, or the others have gone back.
    worker.advised(advice(Some(OLD), false));
    let refused = worker.get(&key_of(NEW, 2));
    assert_eq!(worker.refused(refused), (401, "invalid_api_key".into()));
}

#[test]
fn a_store_of_an_earlier_version_is_told_nothing() {
    let mut worker = Worker::with_secrets(&format!("{NEW},{OLD}"));
    assert!(worker.poll().secrets.is_some());
    let error = json!({"error": {"code": ErrorCode::BadRequest, "message": "unknown field"}});
    let error = error.to_string();
    worker.fed_with(CallOutcome::Answer {
        status: 400,
        marked: true,
        body: error.as_bytes(),
    });
    assert!(worker.log.is_empty(), "{:?}", worker.log);
    worker.pass(100);
    assert_eq!(worker.poll().secrets, None);
    worker.advised(Value::Null);
    assert_eq!(worker.makes_keys_with(1), Some(NEW), "as it always did");
    assert_eq!(worker.poll().secrets, None);
    // The store is updated.
    worker.advised(json!({}));
    assert!(worker.poll().secrets.is_some());
}

#[test]
fn the_worker_that_does_not_poll_hears_of_it_too() {
    let mut feeder = Worker::with_secrets(&format!("{NEW},{OLD}"));
    feeder.advised(advice(Some(NEW), true));
    let mut other = Worker::with_secrets(&format!("{NEW},{OLD}"));
    other.memory = feeder.memory;
    other.polls.clear();
    other.pass(100);
    assert_eq!(other.makes_keys_with(1), Some(NEW));
    assert_eq!(other.gauges[&Gauge::ChecksumSecretsBehind], 1);
}
