//! A real Chromium under a chromedriver of its own, and how many of them run
//! at a time.

use std::net::TcpStream;
use std::process::Command;
use std::sync::{Condvar, Mutex};

use fantoccini::error::{CmdError, NewSessionError};
use fantoccini::wd::{Capabilities, WebDriverCompatibleCommand};
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rekey_testbed::{Port, Process, chromium, until};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};
use ureq::http::Method;
use url::{ParseError, Url};

use crate::support::fleet::SOON;

/// Browsers that run at a time, over all tests: each would like the machine
/// for itself.
const SEATS: usize = 3;

/// What every Chromium is told.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--window-size=1280,900",
    // Its sandbox refuses to run as root, as continuous integration does.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    // A pipe, not a port, to the driver: it ends with the driver, however that
    // ends.
    "--remote-debugging-pipe",
    // It calls nobody: no name but ours has an address.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-breakpad",
    "--no-pings",
];

/// The right to so many browsers.
pub(crate) struct Seats(usize);

static FREE: Mutex<usize> = Mutex::new(SEATS);
static FREED: Condvar = Condvar::new();

impl Seats {
    /// Waits for so many at once, so that no two tests wait for each other's.
    pub(crate) fn take(count: usize) -> Self {
        assert!(count <= SEATS, "{count} browsers in one test");
        let free = FREE.lock().unwrap();
        let mut free = FREED.wait_while(free, |free| *free < count).unwrap();
        *free -= count;
        Self(count)
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.lock() {
            *free += self.0;
            FREED.notify_all();
        }
    }
}

/// When a command is over that leads to another page.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// When the page is there.
    Waits,
    /// At once: what it led to is for the test to wait for.
    Hurries,
}

/// Both processes, and the session between them and us.
pub(super) struct Driver {
    client: Client,
    runtime: Runtime,
    process: Process,
    _port: Port,
    // Last, so that it goes when nobody writes to it any more.
    _folder: TempDir,
}

impl Driver {
    /// Starts both.
    ///
    /// # Panics
    /// One does not start.
    pub(super) fn start(patience: Patience) -> Self {
        let programs = chromium::obtain().unwrap();
        let folder = tempfile::Builder::new().prefix("rekey-").tempdir().unwrap();
        let port = Port::free().unwrap();
        let mut command = Command::new(&programs.chromedriver);
        command.arg(format!("--port={}", port.address().port()));
        command.arg("--log-level=WARNING");
        // What either leaves behind goes with the folder.
        for variable in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"] {
            command.env(variable, folder.path());
        }
        let log = folder.path().join("chromedriver.log");
        let process = Process::spawn("chromedriver", command, &log).unwrap();
        let listens = || {
            process.check_alive()?;
            Ok(TcpStream::connect(port.address()).ok())
        };
        until("chromedriver", SOON, listens).unwrap();

        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.unwrap();
        let mut arguments = ARGUMENTS.map(str::to_owned).to_vec();
        let profile = folder.path().join("profile");
        arguments.push(format!("--user-data-dir={}", profile.display()));
        let capabilities = json!({
            "pageLoadStrategy": if patience == Patience::Waits { "normal" } else { "none" },
            "goog:chromeOptions": {
                "binary": programs.chromium,
                "args": arguments,
                // No bubble asks whether to save a password, or warns of one.
                "prefs": {
                    "credentials_enable_service": false,
                    "profile.password_manager_leak_detection": false,
                },
            },
        });
        let session = runtime.block_on(connect(&port.url(), &capabilities));
        Self {
            client: session.unwrap_or_else(|error| panic!("{error}\n{}", process.log())),
            runtime,
            process,
            _port: port,
            _folder: folder,
        }
    }

    /// Sends a command and waits for its end.
    pub(super) fn run<T>(
        &self,
        command: impl AsyncFnOnce(&Client) -> Result<T, CmdError>,
    ) -> Result<T, CmdError> {
        self.runtime.block_on(command(&self.client))
    }

    /// A command of Chromium's own protocol (CDP).
    ///
    /// # Panics
    /// It is refused.
    pub(super) fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.post(
            "goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
    }

    /// A command of WebDriver that the client does not know.
    ///
    /// # Panics
    /// It is refused.
    pub(super) fn post(&self, endpoint: &'static str, body: Value) -> Value {
        let command = Post { endpoint, body };
        let answer = self.run(async |client| client.issue_cmd(command).await);
        answer.unwrap_or_else(|error| panic!("{endpoint}: {error}"))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Closed in order, the browser has gone when this returns.
        let client = self.client.clone();
        let _ = self.runtime.block_on(client.close());
        let _ = self.process.terminate();
    }
}

async fn connect(url: &str, capabilities: &Value) -> Result<Client, NewSessionError> {
    let capabilities: Capabilities = capabilities.as_object().unwrap().clone();
    let mut builder = ClientBuilder::new(HttpConnector::new());
    builder.capabilities(capabilities).connect(url).await
}

#[derive(Debug)]
struct Post {
    endpoint: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(&self, base: &Url, session: Option<&str>) -> Result<Url, ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/{}", self.endpoint))
    }

    fn method_and_body(&self, _: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(self.body.to_string()))
    }
}
