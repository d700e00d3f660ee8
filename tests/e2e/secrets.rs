//! Secrets that must not be found anywhere (I6): keys old and new, good and
//! bad, wherever a client puts them, the tokens, the checksum's secret,
//! Idempotency-Keys, and what a log-in to the dashboard is made of; in logs at their most talkative, in Envoy's statistics and
//! configuration, in the database, in any file of the fleet.
//!
//! What the filter writes to shared data cannot be listed from outside: see
//! `engine/tests/secrecy.rs`.

use std::io::Write;
use std::process::Stdio;
use std::{fs, process};

use rekey_protocol::{ChecksumSecrets, RANDOM_BYTES, ROTATE_PATH};
use rekey_testbed::{Account, FleetOptions};

use super::support::client::{Answer, Client, REGENERATE, SCRAPE, bearer};
use super::support::dashboard::{Visitor, hidden_field};
use super::support::faults::tcp_proxy::{Cut, TcpProxy};
use super::support::fleet::{self, TestFleet, eventually};
use super::support::search::{Place, Secret, assert_found, assert_hidden, files, pages, secret};
use super::support::store_view;

/// Visible ASCII, and found nowhere by accident.
const IDEMPOTENCY_KEY: &str = "idem-5d0c2a7e-91f3-4b6a-8c1d";
/// Where a client may put a key, besides the right place. The key is `{}`.
const ODD_PLACES: [(&str, &str); 9] = [
    ("idempotency-key", "{}"),
    ("x-api-key", "{}"),
    ("authorization", "{}"),
    ("authorization", "Token {}"),
    ("authorization", "Bearer {} {}"),
    ("cookie", "api_key={}"),
    ("referer", "https://example.com/?key={}"),
    ("user-agent", "scraper/1.0 ({})"),
    ("x-request-id", "{}"),
];

#[test]
fn no_secret_is_found_anywhere() {
    let (fleet, proxy) = start();
    let users: Vec<_> = (0..5).map(|_| fleet.user()).collect();
    let mut secrets = vec![
        secret("the store's token", &fleet.secrets.store_token),
        secret("the admin token", &fleet.secrets.admin_token),
        secret("the checksum's secret", &fleet.secrets.checksum_secret),
        secret("an Idempotency-Key", IDEMPOTENCY_KEY),
    ];
    secrets.extend(
        users
            .iter()
            .map(|user| secret("a first key", &user.api_key)),
    );
    secrets.extend(do_everything(&fleet, &proxy, &users));

    let running = [files(fleet.run_dir.path()), pages(&fleet)].concat();
    assert_hidden(&secrets, &running);
    assert_searchable(&running, &users[0]);
    assert_found(&running, "/stats", b"rekey.requests.outcome.rotated: 2");
    assert_found(&running, "/stats/prometheus", b"rekey_requests");
    assert_found(&running, "/config_dump", b"REKEY_STORE_TOKEN");
    assert_found(&running, "/metrics", b"rekey_store_rotations_total");

    // A store that stops moves its write-ahead log into the database proper.
    fleet.store.process.terminate().unwrap();
    let stopped = files(fleet.run_dir.path());
    assert_hidden(&secrets, &stopped);
    assert_searchable(&stopped, &users[0]);
}

/// A talkative gateway that reaches a talkative store through a proxy.
fn start() -> (TestFleet, TcpProxy) {
    let options = FleetOptions {
        gateways: 0,
        component_log_level: Some("wasm:trace".to_owned()),
        store_env: vec![("RUST_LOG".to_owned(), "trace".to_owned())],
        ..FleetOptions::default()
    };
    let mut fleet = fleet::start(options.clone());
    let proxy = TcpProxy::start(fleet.store.address());
    let mut gateway = fleet.gateway_options(&options);
    gateway.store = proxy.address();
    fleet.add_gateway(gateway).expect("a gateway");
    (fleet, proxy)
}

/// Every kind of answer there is, and the secrets that came up.
fn do_everything(fleet: &TestFleet, proxy: &TcpProxy, users: &[Account]) -> Vec<Secret> {
    let client = fleet.client();
    let [rotated, cut, revoked, placed, down] = users else {
        panic!("{} users", users.len());
    };
    let mut found = Vec::new();

    // A rotation, and one whose answer is lost at first.
    let mut headers = bearer(&rotated.api_key);
    headers.push(("idempotency-key", IDEMPOTENCY_KEY.to_owned()));
    assert_eq!(client.get(SCRAPE, &rotated.api_key).status, 200);
    let new = client.send("POST", REGENERATE, &headers, "").new_key();
    assert_eq!(client.get(SCRAPE, &new).status, 200);
    assert_eq!(client.get(SCRAPE, &rotated.api_key).status, 401);
    assert_eq!(client.regenerate(&new).status, 429);
    found.push(secret("a new key", &new));
    proxy.cut_answers(ROTATE_PATH, Cut::InBody, 1);
    let new = client.regenerate(&cut.api_key).new_key();
    found.push(secret("a new key after a fault", &new));

    // Keys that nobody has: without a checksum, with one, too short.
    let forged = "sb_live_Zm9yZ2VkIGtleSB3aXRob3V0IGNoZWNr";
    let unknown = unknown_key(&fleet.secrets.checksum_secret);
    for (name, key) in [
        ("a forged key", forged),
        ("an unknown key", &unknown),
        ("half a key", &unknown[..34]),
    ] {
        assert_eq!(client.get(SCRAPE, key).status, 401);
        assert_eq!(client.regenerate(key).status, 401);
        found.push(secret(name, key));
    }
    revoke(fleet, &revoked.api_key);
    assert_eq!(client.get(SCRAPE, &revoked.api_key).status, 401);
    found.push(secret("an imported key", &import(fleet)));
    found.extend(use_dashboard(fleet));

    put_in_odd_places(&client, &placed.api_key);

    proxy.refuse();
    assert_eq!(client.get(SCRAPE, &down.api_key).status, 503);
    assert_eq!(client.regenerate(&down.api_key).status, 503);
    proxy.accept();
    assert_eq!(client.get(SCRAPE, &down.api_key).status, 200);
    // The last request is in the access log when all are.
    client.send("PATCH", "/the-last-one", &[], "");
    eventually("the access log", || {
        let log = fleet.gateways[0].access_log();
        log.contains("PATCH").then_some(())
    });
    found
}

/// Logs in with a wrong password and with the right one, and has a key replaced,
/// revoked and made anew.
fn use_dashboard(fleet: &TestFleet) -> Vec<Secret> {
    let home = fleet.store.dashboard_url();
    let (email, password) = ("ada@example.com", "Zwoelf Boxkaempfer jagen Viktor");
    let wrong = "Sylvia wagt quick den Jux";
    let first = fleet.store.add_login(email, password).unwrap().api_key;
    let nobody = Visitor::with_cookies(&home, "");
    let refused = nobody.send("/login", &[("email", email), ("password", wrong)]);
    assert_eq!(refused.status, 403);
    let ada = Visitor::log_in(&home, email, password);
    let mut found = vec![
        secret("a password", password),
        secret("a wrong password", wrong),
        secret("a key before the dashboard", &first),
    ];
    for cookie in ada.cookies().split("; ") {
        let (name, value) = cookie.split_once('=').unwrap();
        found.push(secret(name, value));
    }
    assert_eq!(found.len(), 5, "session and browser");
    let mut send = |page: &Answer, to: &str, fields: &[&str]| {
        let value = |name: &&str| ((*name).to_owned(), hidden_field(&page.body, name));
        let form: Vec<_> = fields.iter().map(value).collect();
        let answer = ada.send(to, &form);
        assert_eq!(answer.status, 200, "{to}: {}", answer.body);
        if let Some((_, rest)) = answer.body.split_once("id=\"api-key\"") {
            let (_, key) = rest.split_once("sb_live_").expect("a key on the page");
            found.push(secret("a key of the dashboard", &key[..32]));
        }
        answer
    };
    let profile = "/settings/profile";
    let [regenerate, revoke, new_key] =
        ["regenerate", "revoke", "new-key"].map(|page| format!("{profile}/{page}"));
    send(
        &ada.open(&regenerate),
        &regenerate,
        &["csrf", "ticket", "key"],
    );
    let revoked = send(&ada.open(&revoke), &revoke, &["csrf", "key"]);
    send(&revoked, &new_key, &["csrf", "ticket", "key"]);
    assert_eq!(found.len(), 7, "two keys of the dashboard");
    found
}

fn put_in_odd_places(client: &Client, key: &str) {
    for path in [
        format!("/v1/echo/{key}"),
        format!("/v1/echo;key={key}?key={key}"),
    ] {
        client.send("GET", &path, &bearer(key), "");
    }
    for (name, value) in ODD_PLACES {
        let value = value.replace("{}", key);
        for (method, path) in [("GET", SCRAPE), ("POST", REGENERATE), ("PUT", REGENERATE)] {
            let answer = client.send(method, path, &[(name, value.clone())], "");
            assert!([401, 405].contains(&answer.status), "{name}");
        }
    }
    let query = format!("{SCRAPE}?api_key={key}");
    assert_eq!(client.send("GET", &query, &[], "").status, 401);
    assert_eq!(client.send("GET", &query, &bearer(key), "").status, 200);
    assert_eq!(client.send("POST", SCRAPE, &bearer(key), key).status, 200);
}

/// A well-formed key with a right checksum that the store never issued.
fn unknown_key(checksum_secret: &str) -> String {
    let random: [u8; RANDOM_BYTES] = std::array::from_fn(|_| fastrand::u8(..));
    let secrets = ChecksumSecrets::parse(checksum_secret).unwrap();
    secrets.issue(&random).unwrap().expose().to_owned()
}

/// By the command line, which gets the key on standard input.
fn revoke(fleet: &TestFleet, key: &str) {
    let mut command = fleet.store.cli();
    command.args(["keys", "revoke", "--key-stdin"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(key.as_bytes())
        .unwrap();
    assert_printed_nothing_of(key, &child.wait_with_output().unwrap());
}

/// From a file with plaintext keys, which only the command line reads.
fn import(fleet: &TestFleet) -> String {
    let key = unknown_key(&fleet.secrets.checksum_secret);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("user,key\nu_imported,{key}\n")).unwrap();
    let mut command = fleet.store.cli();
    let output = command.arg("import").arg(file.path()).output().unwrap();
    assert_printed_nothing_of(&key, &output);
    assert_eq!(fleet.client().get(SCRAPE, &key).status, 200);
    key
}

fn assert_printed_nothing_of(key: &str, output: &process::Output) {
    assert!(output.status.success(), "{output:?}");
    let printed = [output.stdout.as_slice(), &output.stderr].concat();
    assert!(!secret("", key).is_in(&printed));
}

/// The same search finds what is known to be in the files.
fn assert_searchable(places: &[Place], user: &Account) {
    let id = user.user_id.as_bytes();
    let digest = store_view::digest(&user.api_key);
    // The first two are of the levels that were asked for.
    assert_found(places, "envoy.log", b"env.proxy_set_shared_data(");
    assert_found(places, "store.log", b"DEBUG rekey_store::http");
    assert_found(places, "store.log", id);
    assert_found(places, "access.log", id);
    assert_found(places, "rekey.db", id);
    assert_found(places, "rekey.db", digest.as_bytes());
}
