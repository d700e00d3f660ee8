//! The dashboard's settings: what is refused, and what a store without it does.

use std::net::TcpStream;

use super::{add_user, logged_in, start};
use crate::process::{Home, output, stderr};
use crate::server::lifecycle::refusal;

#[test]
fn without_an_address_there_is_no_dashboard() {
    let home = Home::new();
    let store = home.start();
    let ready = std::fs::read_to_string(home.path("ready.json")).unwrap();
    assert!(!ready.contains("dashboard"), "{ready}");
    assert_eq!(store.dashboard_url, None);
    for base in [&store.url, &store.admin_url] {
        let answer = store.call("GET", &format!("{base}/login"), None, None);
        assert_ne!(answer.status, 200);
    }
    // A password may be there before.
    add_user(&store, "ann");
    assert_eq!(store.stop(), Some(0));
    let store = start(&home);
    let ready = std::fs::read_to_string(home.path("ready.json")).unwrap();
    let url = store.dashboard_url.as_deref().unwrap();
    assert!(
        ready.contains(&format!("\"dashboard\":\"{url}\"")),
        "{ready}"
    );
    logged_in(&store, "ann");
}

#[test]
fn an_address_that_browsers_could_not_use_safely_is_refused_with_what_to_do() {
    let home = Home::new();
    let text = refusal(&mut home.serve_with("--dashboard-listen", "0.0.0.0:0"));
    assert!(
        text.contains("--dashboard-origin") && text.contains("https://"),
        "{text}"
    );
    for (origin, word) in [
        ("http://keys.example.com", "begin with https://"),
        ("http://192.0.2.1:8080", "begin with https://"),
        ("keys.example.com", "https://host"),
        ("https://keys.example.com/keys", "without a path"),
        ("", "https://host"),
    ] {
        let mut command = home.serve_with("--dashboard-listen", "0.0.0.0:0");
        let text = refusal(command.args(["--dashboard-origin", origin]));
        let named = text.contains(word) && text.contains("--dashboard-origin");
        assert!(named, "{origin}: {text}");
    }
    assert!(!home.database().exists(), "before anything is touched");
}

#[test]
fn behind_tls_it_may_listen_anywhere() {
    let home = Home::new();
    let mut command = home.serve_with("--dashboard-listen", "0.0.0.0:0");
    command.args(["--dashboard-origin", "https://Keys.Example.com:443"]);
    // What speaks TLS before it has to be believed about addresses, or not.
    let text = refusal(&mut command);
    assert!(text.contains("--dashboard-trusted-proxies"), "{text}");
    let store = home.start_as(command.args(["--dashboard-trusted-proxies", "1"]));
    let url = store.dashboard_url.as_deref();
    assert_eq!(url, Some("https://keys.example.com"));
}

#[test]
fn flags_are_checked() {
    let home = Home::new();
    for (flag, value, word) in [
        ("--dashboard-listen", "nowhere", "invalid socket address"),
        (
            "--dashboard-origin",
            "https://keys.example.com",
            "--dashboard-listen",
        ),
        ("--dashboard-trusted-proxies", "-1", "unexpected argument"),
        ("--dashboard-trusted-proxies", "all", "invalid digit"),
        ("--session-idle", "0s", "1s to 7days"),
        ("--session-idle", "8d", "1s to 7days"),
        ("--session-max", "500ms", "1s to 7days"),
        ("--session-max", "soon", "expected number"),
    ] {
        let output = output(&mut home.serve_with(flag, value), "");
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(word), "{word}: {output:?}");
    }
}

#[test]
fn it_ends_with_the_store() {
    let home = Home::new();
    let store = start(&home);
    let url = store.dashboard_url.clone().unwrap();
    let address = url.strip_prefix("http://").unwrap();
    assert!(TcpStream::connect(address).is_ok());
    assert_eq!(store.stop(), Some(0));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn published_secrets_are_told_on_every_page_behind_the_log_in() {
    const TOLD: &str = "This is a demonstration";
    let home = Home::new();
    let mut command = super::serve(&home);
    command.env("REKEY_STORE_TOKEN", "demo-only-store-token");
    let store = home.start_as(&mut command);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    for page in [
        super::PROFILE,
        super::SECURITY,
        super::REVOKE,
        super::REGENERATE,
    ] {
        let page = ann.get(page);
        assert!(page.text.contains(TOLD), "{page:?}");
        assert!(!page.text.contains("demo-only"), "{page:?}");
    }
    assert_eq!(store.stop(), Some(0));
    let store = start(&home);
    let ann = logged_in(&store, "ann");
    assert!(!ann.get(super::PROFILE).text.contains(TOLD));
}
