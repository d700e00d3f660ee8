//! `cargo xtask up` as a program sees it: the line that it prints, what it
//! leaves behind, and what it says when a part of it dies.

#![allow(clippy::expect_used, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rekey_testbed::{Received, until};
use serde_json::Value;

struct Up {
    child: Child,
    /// A file: a pipe that nobody reads would stop a build that says much.
    stderr: tempfile::NamedTempFile,
    line: String,
    ready: Value,
}

impl Up {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["up", "--json"]).args(args);
        let stderr = tempfile::NamedTempFile::new().expect("a file");
        command.stdout(Stdio::piped());
        command.stderr(stderr.reopen().expect("the same file"));
        let mut child = command.spawn().expect("xtask starts");
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.as_mut().expect("a pipe"));
        stdout.read_line(&mut line).expect("a line");
        Self {
            ready: serde_json::from_str(&line).unwrap_or_default(),
            line,
            stderr,
            child,
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.ready
            .pointer(pointer)
            .and_then(Value::as_str)
            .expect(pointer)
    }

    fn pids(&self) -> Vec<i32> {
        let pids = &self.ready["pids"];
        let lists = ["gateways", "envoys", "stores"].map(|list| pids[list].as_array().unwrap());
        let all = lists.into_iter().flatten().chain([&pids["upstream"]]);
        all.map(|pid| i32::try_from(pid.as_i64().unwrap()).unwrap())
            .collect()
    }

    fn echo(&self, key: &str) -> Result<Received, ureq::Error> {
        let url = format!("{}/v1/echo", self.text("/gateways/0"));
        let request = ureq::get(url).header("authorization", format!("Bearer {key}"));
        request.call()?.body_mut().read_json()
    }

    /// Logs in to the dashboard as a browser does; the page with the key.
    fn profile(&self) -> String {
        let config = ureq::Agent::config_builder().max_redirects(0).build();
        let (browser, dashboard) = (config.new_agent(), self.text("/dashboard"));
        let form = browser.get(format!("{dashboard}/login")).call().unwrap();
        assert_eq!(form.status(), 200);
        let login = browser
            .post(format!("{dashboard}/login"))
            .header("origin", dashboard);
        let fields = ["email", "password"].map(|field| (field, self.text(&format!("/{field}"))));
        let logged_in = login.send_form(fields).unwrap();
        assert_eq!(logged_in.status(), 303);
        assert_eq!(logged_in.headers()["location"], "/settings/profile");
        let cookie = logged_in.headers()["set-cookie"].to_str().unwrap();
        let profile = browser
            .get(format!("{dashboard}/settings/profile"))
            .header("cookie", cookie.split(';').next().unwrap());
        profile.call().unwrap().body_mut().read_to_string().unwrap()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// Waits for its end; how it ended and what it said besides the line.
    fn end(mut self) -> (ExitStatus, String) {
        let status = until("xtask to end", Duration::from_secs(60), || {
            Ok(self.child.try_wait()?)
        });
        let said = fs::read_to_string(self.stderr.path()).expect("text");
        (status.unwrap(), said)
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Gone, or dead and not yet reaped by whoever inherited it.
fn is_gone(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next();
    let state = after_name.and_then(|rest| rest.split_whitespace().next());
    matches!(state, None | Some("Z" | "X"))
}

fn assert_gone(pids: &[i32]) {
    for pid in pids {
        assert!(is_gone(*pid), "{pid} is left");
    }
}

#[test]
fn it_prints_one_line_serves_and_stops_all() {
    let up = Up::start(&["--gateways", "2"]);
    let fields = [
        "gateways",
        "envoy_admin",
        "stores",
        "store_admin",
        "store_admin_token",
        "upstream",
        "dashboard",
        "user_id",
        "api_key",
        "email",
        "password",
        "store_cli",
        "pids",
    ];
    let places: Vec<_> = fields
        .iter()
        .map(|field| up.line.find(&format!("\"{field}\":")).expect(field))
        .collect();
    assert!(places.is_sorted(), "{}", up.line);
    assert_eq!(up.ready.as_object().unwrap().len(), fields.len());
    assert_eq!(up.ready["gateways"].as_array().unwrap().len(), 2);
    assert_eq!(up.ready["envoy_admin"].as_array().unwrap().len(), 2);

    let received = up.echo(up.text("/api_key")).unwrap();
    assert_eq!(received.user, up.text("/user_id"));
    let ledger = ureq::get(format!("{}/demo/ledger", up.text("/upstream")));
    let ledger: BTreeMap<String, i64> = ledger.call().unwrap().body_mut().read_json().unwrap();
    assert_eq!(ledger[up.text("/user_id")], 999);
    let mut users = Command::new(up.text("/store_cli"));
    users.env("REKEY_ADMIN_URL", up.text("/store_admin"));
    users.env("REKEY_ADMIN_TOKEN", up.text("/store_admin_token"));
    let listed = users.args(["users", "list"]).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");

    let secrets = ["/api_key", "/password"].map(|field| up.text(field).to_owned());
    let (profile, [key, _]) = (up.profile(), &secrets);
    let masked = format!("sb_live_…{}", &key[key.len() - 4..]);
    assert!(profile.contains(&masked), "{profile}");
    assert!(!profile.contains(key), "the key on a page");

    let pids = up.pids();
    assert_eq!(pids.len(), 6);
    up.signal(Signal::SIGTERM);
    let (status, said) = up.end();
    assert!(status.success(), "{status}: {said}");
    for secret in &secrets {
        assert!(!said.contains(secret), "a secret among the messages");
    }
    assert_gone(&pids);
}

#[test]
fn an_open_request_holds_it_up_until_a_second_signal() {
    let up = Up::start(&[]);
    let pids = up.pids();
    let url = format!("{}/v1/events?every=10", up.text("/gateways/0"));
    let bearer = format!("Bearer {}", up.text("/api_key"));
    let mut events = ureq::get(url)
        .header("authorization", bearer)
        .call()
        .unwrap();
    let mut events = BufReader::new(events.body_mut().as_reader());
    up.signal(Signal::SIGINT);
    let admin = format!("{}/ready", up.text("/envoy_admin/0"));
    until("the drain", Duration::from_secs(20), || {
        let drains = matches!(ureq::get(&admin).call(), Err(ureq::Error::StatusCode(503)));
        Ok(drains.then_some(()))
    })
    .unwrap();
    // More than had been sent by then: store, upstream and gateway go on.
    for _ in 0..100 {
        assert!(events.read_line(&mut String::new()).unwrap() > 0);
    }
    assert!(!pids.iter().any(|pid| is_gone(*pid)));
    up.signal(Signal::SIGINT);
    let (status, said) = up.end();
    assert!(status.success(), "{status}: {said}");
    assert!(said.contains("when open requests have ended"), "{said}");
    assert_gone(&pids);
}

#[test]
fn it_says_which_part_died_and_stops_the_rest() {
    let up = Up::start(&[]);
    let pids = up.pids();
    let store = i32::try_from(up.ready["pids"]["stores"][0].as_i64().unwrap()).unwrap();
    kill(Pid::from_raw(store), Signal::SIGKILL).unwrap();
    let (status, said) = up.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("the key store ended (signal: 9"), "{said}");
    assert!(said.contains("store.log"), "{said}");
    assert_gone(&pids);
}

#[test]
fn nothing_outlives_it_even_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let up = Up::start(&["--data", folder.path().to_str().unwrap()]);
    let pids = up.pids();
    up.signal(Signal::SIGKILL);
    until("the fleet to be gone", Duration::from_secs(20), || {
        Ok(pids.iter().all(|pid| is_gone(*pid)).then_some(()))
    })
    .unwrap();
}

#[test]
fn kept_data_keeps_keys_valid_and_private() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let args = ["--data", data.to_str().unwrap()];
    let first = Up::start(&args);
    let [key, password] = ["/api_key", "/password"].map(|field| first.text(field).to_owned());
    first.signal(Signal::SIGINT);
    let (status, said) = first.end();
    assert!(status.success(), "{status}: {said}");

    let second = Up::start(&args);
    assert_ne!(second.text("/api_key"), key);
    second.profile();
    second.echo(&key).unwrap();
    second.echo(second.text("/api_key")).unwrap();
    second.signal(Signal::SIGTERM);
    assert!(second.end().0.success());
    for file in fs::read_dir(data.join("store")).unwrap() {
        let file = file.unwrap().path();
        let bytes = fs::read(&file).unwrap();
        for secret in [&key, &password] {
            let mut parts = bytes.windows(secret.len());
            let found = parts.any(|part| part == secret.as_bytes());
            assert!(!found, "{}", file.display());
        }
    }
}

#[test]
fn a_dashboards_port_that_is_taken_is_refused_by_number() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let number = taken.local_addr().unwrap().port().to_string();
    let up = Up::start(&["--dashboard-port", &number]);
    assert_eq!(up.line, "");
    let (status, said) = up.end();
    assert_eq!(status.code(), Some(1));
    assert!(said.contains(&format!("port {number} ")), "{said}");
}

#[test]
fn an_operators_file_without_a_named_part_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.yaml");
    let shipped = fs::read_to_string(rekey_testbed::workspace::root().join("envoy.yaml")).unwrap();
    fs::write(&file, shipped.replace("name: rekey_store", "name: keys")).unwrap();
    let up = Up::start(&["--envoy-config", file.to_str().unwrap()]);
    assert_eq!(up.line, "");
    let (status, said) = up.end();
    assert_eq!(status.code(), Some(1));
    assert!(
        said.contains("mine.yaml") && said.contains("`rekey_store`"),
        "{said}"
    );
}
