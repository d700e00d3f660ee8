//! What a command says when nobody has told it what became of its wish.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::process::{ADMIN_TOKEN, Home, cli, output, stderr};
use crate::rotation::unwanted::{Busy, await_waiting};

/// Something that takes a connection, does this with it, and closes it.
fn stranger(does: fn(&mut TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        does(&mut stream);
    });
    url
}

/// Reads a request with its small body.
fn take(stream: &mut TcpStream) {
    let mut text = Vec::new();
    let mut byte = [0];
    let is_whole = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            return false;
        };
        let length = head.to_lowercase();
        let length = length.split("content-length: ").nth(1).unwrap_or("0");
        let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
        body.len() >= length
    };
    while !is_whole(&text) && stream.read(&mut byte).unwrap() == 1 {
        text.push(byte[0]);
    }
}

fn run(url: &str, arguments: &[&str]) -> String {
    let mut command = cli(arguments);
    command
        .env("REKEY_ADMIN_URL", url)
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN);
    let output = output(&mut command, "correct horse battery\n");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    stderr(&output)
}

const GO: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const REVOKE: &[&str] = &["keys", "revoke", "--user", "ann"];
const ISSUE: &[&str] = &["keys", "issue", "--user", "ann"];
const ADD: &[&str] = &["users", "add", "--email", "ann@example.com"];
const PASSWORD: &[&str] = &["users", "set-password", "--user", "ann", "--password-stdin"];

#[test]
fn what_never_left_is_told_from_what_got_no_answer() {
    // Nobody listens there any more.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for (arguments, doubt) in [
        (REVOKE, "whether the key was revoked is not known: repeat"),
        (ISSUE, "whether a key was issued is not known: repeat"),
        (ADD, "whether the user was added is not known: repeat"),
        (
            PASSWORD,
            "whether the password was set is not known: repeat",
        ),
    ] {
        let text = run(&nowhere, arguments);
        assert!(text.contains("cannot reach the key store"), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        for does in [
            // Closed before and after the answer has begun, and a proxy's own word.
            (|stream| take(stream)) as fn(&mut TcpStream),
            |stream| {
                take(stream);
                let head = b"HTTP/1.1 200 OK\r\nrekey-store: 1\r\ncontent-length: 99\r\n\r\n{";
                stream.write_all(head).unwrap();
            },
            |stream| {
                take(stream);
                let head = b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(head).unwrap();
            },
            |stream| {
                take(stream);
                let body = r#"{"error":{"code":"internal","message":"the commit failed"}}"#;
                let head = "HTTP/1.1 500 Internal Server Error\r\nrekey-store: 1";
                let length = body.len();
                write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
            },
        ] {
            let text = run(&stranger(does), arguments);
            assert!(text.contains(doubt), "{arguments:?}: {text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }
}

#[test]
fn an_import_that_was_not_sent_to_its_end_imports_nothing_and_says_so() {
    let home = Home::new();
    let path = home.path("keys.csv");
    let digest = "ab".repeat(32);
    // More than fits into the socket's buffers.
    let mut text = String::from("user,digest\n");
    for row in 0..200_000 {
        text += &format!("user-{row},{digest}\n");
    }
    std::fs::write(&path, &text).unwrap();
    let import = ["import", path.to_str().unwrap()];
    let broken = stranger(|stream| {
        take(stream);
        stream.write_all(GO).unwrap();
        let mut some = [0; 1000];
        stream.read_exact(&mut some).unwrap();
    });
    let text = run(&broken, &import);
    assert!(text.contains("nothing was imported"), "{text}");
    // Sent to its end, and no answer.
    std::fs::write(&path, format!("user,digest\nann,{digest}\n")).unwrap();
    let silent = stranger(|stream| {
        take(stream);
        stream.write_all(GO).unwrap();
        let mut body = Vec::new();
        while !body.ends_with(b"0\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            body.push(byte[0]);
        }
    });
    let text = run(&silent, &import);
    assert!(
        text.contains("is not known: all of them were, or none"),
        "{text}"
    );
}

#[test]
fn a_change_that_has_to_wait_too_long_says_that_nothing_was_changed() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    let busy = Busy::begin(&home);
    // The store itself gives up on the lock.
    let text = run(&store.admin_url, REVOKE);
    assert!(text.contains("nothing was changed"), "{text}");
    await_waiting(&store, 0);
    busy.end();
    assert_eq!(store.resolve(&user.digest).json()["state"], "active");
    // And to repeat it is safe.
    for _ in 0..2 {
        assert!(store.cli(REVOKE).status.success());
    }
}
