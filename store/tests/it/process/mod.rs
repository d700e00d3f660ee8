//! A running store, and the ways to call it.

mod awaiting;
mod metrics;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use rekey_protocol::{Digest, KEY_LEN};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use self::awaiting::await_some;

pub(crate) const STORE_TOKEN: &str = "gateway-token-0123456789";
pub(crate) const ADMIN_TOKEN: &str = "operator-token-0123456789";
pub(crate) const CHECKSUM_SECRET: &str = "checksum-secret-0123456789";

const PROGRAM: &str = env!("CARGO_BIN_EXE_rekey-store");
/// Generous: the machine may be busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a database, over several lives of the store.
pub(crate) struct Home {
    disk: TempDir,
    /// On a memory file system.
    memory: TempDir,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self {
            disk: tempfile::tempdir().unwrap(),
            memory: tempfile::tempdir_in("/dev/shm").unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.disk.path().join(name)
    }

    /// The folder of what is to be in memory only.
    pub(crate) fn memory(&self) -> &Path {
        self.memory.path()
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path("rekey.db")
    }

    /// The database's own view, beside the store.
    pub(crate) fn sql(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    pub(crate) fn count(&self, query: &str) -> i64 {
        self.sql().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// `serve`, not yet started.
    pub(crate) fn serve(&self) -> Command {
        self.serve_by(PROGRAM, "", "")
    }

    /// `serve` with that flag, instead of the usual one if there is one.
    pub(crate) fn serve_with(&self, flag: &str, value: &str) -> Command {
        self.serve_by(PROGRAM, flag, value)
    }

    /// `serve` of another build, or with another flag.
    pub(crate) fn serve_by(&self, program: &str, flag: &str, value: &str) -> Command {
        let (ready, database) = (self.path("ready.json"), self.database());
        let mut flags = BTreeMap::from([
            ("--listen", "127.0.0.1:0"),
            ("--admin-listen", "127.0.0.1:0"),
            ("--database", database.to_str().unwrap()),
            ("--memory-dir", self.memory.path().to_str().unwrap()),
            ("--ready-file", ready.to_str().unwrap()),
        ]);
        flags.insert(flag, value);
        let mut command = bare(program);
        command.arg("serve");
        for (flag, value) in flags.into_iter().filter(|(flag, _)| !flag.is_empty()) {
            command.args([flag, value]);
        }
        command
            .env("REKEY_STORE_TOKEN", STORE_TOKEN)
            .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN)
            .env("REKEY_CHECKSUM_SECRET", CHECKSUM_SECRET);
        command
    }

    /// A store with an hour between rotations.
    pub(crate) fn start(&self) -> Store {
        self.start_as(&mut self.serve())
    }

    /// Starts that command and waits until it is ready.
    pub(crate) fn start_as(&self, command: &mut Command) -> Store {
        let ready = self.path("ready.json");
        let _ = std::fs::remove_file(&ready);
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let text = await_some(|| {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "ended with {ended:?}: {}", self.log());
            std::fs::read_to_string(&ready).ok()
        });
        let addresses: Value = serde_json::from_str(&text).unwrap();
        let url = |name: &str| addresses[name].as_str().unwrap().to_owned();
        Store {
            child,
            url: url("listen"),
            admin_url: url("admin"),
            dashboard_url: addresses["dashboard"].as_str().map(str::to_owned),
            agent: agent(),
        }
    }

    /// All that the store has logged here.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// The program with nothing of this test's environment.
pub(crate) fn bare(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    command
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(PATIENCE))
        .proxy(None)
        .build()
        .new_agent()
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// The error's code.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or("none")
            .to_owned()
    }
}

/// A store that runs; killed when dropped.
pub(crate) struct Store {
    pub child: Child,
    pub url: String,
    pub admin_url: String,
    pub dashboard_url: Option<String>,
    agent: ureq::Agent,
}

impl Store {
    /// A request to any address; `Err` where no whole answer came.
    pub(crate) fn try_call(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Result<Answer, ureq::Error> {
        let mut request = ureq::http::Request::builder().method(method).uri(url);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut response = match body {
            Some(body) => self.agent.run(request.body(body).unwrap())?,
            None => self.agent.run(request.body(()).unwrap())?,
        };
        let pairs = response.headers().iter();
        let headers = pairs
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        Ok(Answer {
            status: response.status().as_u16(),
            headers,
            text: response.body_mut().read_to_string()?,
        })
    }

    pub(crate) fn call(
        &self,
        method: &str,
        url: &str,
        token: Option<&str>,
        body: Option<&str>,
    ) -> Answer {
        self.try_call(method, url, token, body).unwrap()
    }

    /// A gateway's POST.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        let url = format!("{}{path}", self.url);
        self.call("POST", &url, Some(STORE_TOKEN), Some(&body.to_string()))
    }

    /// An operator's request.
    pub(crate) fn admin(&self, method: &str, path: &str, body: Option<&str>) -> Answer {
        let url = format!("{}{path}", self.admin_url);
        self.call(method, &url, Some(ADMIN_TOKEN), body)
    }

    pub(crate) fn resolve(&self, digest: &Digest) -> Answer {
        self.post("/v1/keys/resolve", &json!({ "digest": digest }))
    }

    pub(crate) fn rotate(&self, rotation: &Value) -> Answer {
        self.post("/v1/keys/rotate", rotation)
    }

    /// A user with a key.
    pub(crate) fn add_user(&self, id: &str) -> User {
        self.add(&json!({ "email": format!("{id}@example.com"), "user_id": id }))
    }

    /// A user with a key, as asked for.
    pub(crate) fn add(&self, body: &Value) -> User {
        let answer = self.admin("POST", "/v1/users", Some(&body.to_string()));
        assert_eq!(answer.status, 201, "{answer:?}");
        let key = answer.json()["api_key"].as_str().unwrap().to_owned();
        assert_eq!(key.len(), KEY_LEN);
        let digest = Digest::of(key.as_bytes());
        User { key, digest }
    }

    /// A command of the operator's, called on this store.
    pub(crate) fn cli(&self, arguments: &[&str]) -> Output {
        self.cli_with(arguments, "")
    }

    pub(crate) fn cli_with(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = cli(arguments);
        command
            .env("REKEY_ADMIN_URL", &self.admin_url)
            .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN);
        output(&mut command, input)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command without any settings in its environment.
pub(crate) fn cli(arguments: &[&str]) -> Command {
    let mut command = bare(PROGRAM);
    command.args(arguments);
    command
}

pub(crate) fn output(command: &mut Command, input: &str) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may not want it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    // A command that should have ended fails its test, and does not hang it.
    let pid = Pid::from_child(&child);
    let (ended, end) = mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if end.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let output = child.wait_with_output().unwrap();
    drop(ended);
    guard.join().unwrap();
    output
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A user and the key that it got.
pub(crate) struct User {
    pub key: String,
    pub digest: Digest,
}

/// A new digest each time.
pub(crate) fn fresh_digest() -> Digest {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).unwrap();
    Digest::from_bytes(bytes)
}

/// The body of a rotation from `old` to `new`, under a new id.
pub(crate) fn rotation(old: &Digest, new: &Digest) -> Value {
    let mut id = [0; 16];
    getrandom::fill(&mut id).unwrap();
    json!({
        "rotation_id": hex::encode(id),
        "attempt": 1,
        "old_digest": old,
        "new_digest": new,
        "hint": "wxyz",
        "client": { "address": "192.0.2.7:4711", "request_id": "request-1" },
    })
}

/// A later attempt at the same rotation.
pub(crate) fn again(rotation: &Value) -> Value {
    let mut rotation = rotation.clone();
    rotation["attempt"] = json!(rotation["attempt"].as_u64().unwrap() + 1);
    rotation
}

/// All files of a folder and their contents.
pub(crate) fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect()
}
