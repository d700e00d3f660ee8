//! Starting and stopping: settings, the database's state, signals.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{
    ADMIN_TOKEN, CHECKSUM_SECRET, Home, STORE_TOKEN, await_some, fresh_digest, output, rotation,
    stderr,
};

/// The one line that a failing start says.
pub(crate) fn refusal(command: &mut Command) -> String {
    let output = output(command, "");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = stderr(&output);
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("error: "), "{text}");
    for noise in ["panicked", "backtrace", "RUST_BACKTRACE"] {
        assert!(!text.contains(noise), "{text}");
    }
    last
}

#[test]
fn settings_are_checked_before_anything_is_touched() {
    let home = Home::new();
    for (variable, value, word) in [
        ("REKEY_STORE_TOKEN", "", "REKEY_STORE_TOKEN is not set"),
        ("REKEY_STORE_TOKEN", "short", "at least 16"),
        ("REKEY_STORE_TOKEN", ADMIN_TOKEN, "are the same"),
        ("REKEY_ADMIN_TOKEN", "", "REKEY_ADMIN_TOKEN is not set"),
        ("REKEY_ADMIN_TOKEN", "with a space in it", "at least 16"),
        (
            "REKEY_CHECKSUM_SECRET",
            "",
            "REKEY_CHECKSUM_SECRET is not set",
        ),
        (
            "REKEY_CHECKSUM_SECRET",
            "0123456789abcdef,short",
            "secret 2 is shorter",
        ),
        ("RUST_LOG", "rekey_store=loud", "RUST_LOG"),
    ] {
        let text = refusal(home.serve().env(variable, value));
        assert!(text.contains(word), "{variable}: {text}");
        let secret = value.len() > 10 && text.contains(value) && variable != "RUST_LOG";
        assert!(!secret, "{text}");
    }
    let contradiction = refusal(home.serve().arg("--no-gateway-token"));
    assert!(
        contradiction.contains("--no-gateway-token"),
        "{contradiction}"
    );
    assert!(!home.database().exists());
}

#[test]
fn flags_are_checked() {
    let home = Home::new();
    for (flag, value, word) in [
        ("--rotation-interval", "2h", "1s to 1h"),
        ("--rotation-interval", "500ms", "1s to 1h"),
        ("--rotation-interval", "soon", "expected number"),
        ("--listen", "nowhere", "invalid socket address"),
        ("--surprise", "1", "unexpected argument"),
    ] {
        let output = output(&mut home.serve_with(flag, value), "");
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(word), "{word}: {output:?}");
    }
}

#[test]
fn s10_a_database_has_one_owner() {
    let home = Home::new();
    let store = home.start();
    let text = refusal(&mut home.serve());
    let pid = format!("process {}", store.child.id());
    assert!(text.contains("in use") && text.contains(&pid), "{text}");
    store.kill();
    // Death gives it up.
    home.start();
}

#[test]
fn a_database_that_cannot_be_used_is_named_with_the_reason() {
    let home = Home::new();
    let database = home.database();
    std::fs::write(&database, "not a database at all. ".repeat(100)).unwrap();
    let text = refusal(&mut home.serve());
    assert!(
        text.contains("not a SQLite database") && text.contains("rekey.db"),
        "{text}"
    );
    std::fs::remove_file(&database).unwrap();

    home.sql()
        .execute_batch("CREATE TABLE somebody (elses)")
        .unwrap();
    let text = refusal(&mut home.serve());
    assert!(text.contains("of another program"), "{text}");
    std::fs::remove_file(&database).unwrap();

    home.start().add_user("ann");
    home.sql()
        .pragma_update(None, "user_version", 1000)
        .unwrap();
    let text = refusal(&mut home.serve());
    assert!(
        text.contains("schema 1000") && text.contains("newer"),
        "{text}"
    );
    home.sql().pragma_update(None, "user_version", 2).unwrap();

    // The last connection has folded the log into the one file.
    let mut bytes = std::fs::read(&database).unwrap();
    bytes.iter_mut().skip(4096).for_each(|byte| *byte ^= 0x5a);
    std::fs::write(&database, bytes).unwrap();
    let text = refusal(&mut home.serve());
    assert!(
        text.contains("corrupt") && text.contains("backup"),
        "{text}"
    );

    let text = refusal(&mut home.serve_with("--database", "/nonexistent/rekey.db"));
    assert!(text.contains("/nonexistent does not exist"), "{text}");
    let text = refusal(&mut home.serve_with("--database", "/proc/rekey.db"));
    assert!(text.contains("cannot write /proc/rekey.db"), "{text}");
}

#[test]
fn another_programs_lock_is_named() {
    let home = Home::new();
    assert_eq!(home.start().stop(), Some(0));
    let other = home.sql();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let text = refusal(&mut home.serve());
    assert!(text.contains("another program holds a lock"), "{text}");
    other.execute_batch("ROLLBACK").unwrap();
    home.start();
}

#[test]
fn an_address_in_use_is_named_with_its_flag() {
    let home = Home::new();
    let store = home.start();
    let taken = store.url.strip_prefix("http://").unwrap();
    for flag in ["--listen", "--admin-listen", "--dashboard-listen"] {
        let text = refusal(&mut Home::new().serve_with(flag, taken));
        assert!(text.contains(taken) && text.contains(flag), "{text}");
    }
    let text = refusal(&mut Home::new().serve_with("--ready-file", "/nonexistent/ready"));
    assert!(text.contains("/nonexistent/ready"), "{text}");
}

#[test]
fn a_signal_lets_a_request_in_flight_end_and_leaves_one_whole_file() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new();
        let mut store = home.start();
        let user = store.add_user("ann");
        let request = rotation(&user.digest, &fresh_digest()).to_string();
        let address = store.url.strip_prefix("http://").unwrap().to_owned();
        let mut idle = TcpStream::connect(&address).unwrap();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /v1/keys/rotate HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {STORE_TOKEN}\r\n\
             expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            request.len()
        )
        .unwrap();
        let mut go = [0; 25];
        stream.read_exact(&mut go).unwrap();
        assert!(go.starts_with(b"HTTP/1.1 100 "));
        store.signal(signal);
        // It takes no more connections, and drops those without a request.
        await_some(|| TcpStream::connect(&address).is_err().then_some(()));
        let _ = idle.read(&mut [0]);
        assert!(store.child.try_wait().unwrap().is_none());
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains(r#""outcome":"rotated""#), "{answer}");
        assert_eq!(store.child.wait().unwrap().code(), Some(0));
        let log = std::fs::metadata(home.path("rekey.db-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the file alone is the whole database");
        assert_eq!(home.count("SELECT count(*) FROM keys"), 2);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let home = Home::new();
    let mut store = home.start();
    let address = store.url.strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(
        stream,
        "POST /v1/keys/rotate HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {STORE_TOKEN}\r\n\
         expect: 100-continue\r\ncontent-length: 100\r\n\r\n"
    )
    .unwrap();
    stream.read_exact(&mut [0; 25]).unwrap();
    store.signal(Signal::TERM);
    await_some(|| TcpStream::connect(&address).is_err().then_some(()));
    store.signal(Signal::TERM);
    assert_eq!(store.child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_checksum_secret_may_change() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    assert_eq!(store.stop(), Some(0));
    let both = format!("another-checksum-secret,{CHECKSUM_SECRET}");
    let store = home.start_as(home.serve().env("REKEY_CHECKSUM_SECRET", both));
    assert_eq!(store.resolve(&user.digest).status, 200);
}

#[test]
fn published_secrets_are_warned_of_and_refused_where_others_can_reach_the_store() {
    let home = Home::new();
    for (variable, value) in [
        ("REKEY_STORE_TOKEN", "demo-only-store-token"),
        ("REKEY_ADMIN_TOKEN", "demo-only-admin-token"),
        ("REKEY_CHECKSUM_SECRET", "demo-only-checksum-secret"),
        (
            "REKEY_CHECKSUM_SECRET",
            "a-newer-one-of-our-own,demo-only-checksum-secret",
        ),
    ] {
        for flag in ["--listen", "--admin-listen", "--dashboard-listen"] {
            let text = refusal(home.serve_with(flag, "0.0.0.0:0").env(variable, value));
            assert!(text.contains(variable) && text.contains(flag), "{text}");
            assert!(text.contains("openssl rand -hex 32"), "{text}");
        }
        assert!(!home.database().exists(), "before anything is touched");
    }
    // On loopback it runs, and says so at every start.
    for starts in 1..=2 {
        let mut serve = home.serve();
        let store = home.start_as(serve.env("REKEY_CHECKSUM_SECRET", "demo-only-checksum-secret"));
        let warned = home
            .log()
            .matches("REKEY_CHECKSUM_SECRET is a secret of")
            .count();
        assert_eq!(warned, starts, "{}", home.log());
        drop(store);
    }
    let mut serve = home.serve_with("--admin-listen", "0.0.0.0:0");
    serve.env("REKEY_ADMIN_TOKEN", "demo-only-admin-token");
    drop(home.start_as(serve.arg("--demo")));
    assert!(home.log().contains("REKEY_ADMIN_TOKEN is a secret of"));
    // Secrets of one's own are not mentioned.
    let quiet = Home::new();
    drop(quiet.start_as(&mut quiet.serve_with("--listen", "0.0.0.0:0")));
    assert!(!quiet.log().contains("is a secret of"), "{}", quiet.log());
}
