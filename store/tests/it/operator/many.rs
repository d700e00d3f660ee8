//! Many at once: revocations from a file, imports from a pipe, and lists that nobody
//! reads to the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::process::{ADMIN_TOKEN, Home, Store, cli, fresh_digest, stderr, stdout};

fn key(number: u32) -> String {
    format!("sb_live_{number:032}")
}

/// Imports so many users, `u_00000` and on, with [`key`]s.
fn import(home: &Home, store: &Store, count: u32) {
    let mut rows = "user,key\n".to_owned();
    for number in 0..count {
        rows += &format!("u_{number:05},{}\n", key(number));
    }
    let file = home.path("users.csv");
    std::fs::write(&file, rows).unwrap();
    let output = store.cli(&["import", file.to_str().unwrap()]);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn active(home: &Home) -> i64 {
    home.count("SELECT count(*) FROM keys WHERE state = 'active'")
}

#[test]
fn keys_of_a_file_are_revoked_line_by_line() {
    let home = Home::new();
    let store = home.start();
    import(&home, &store, 9);
    let from = |lines: &str, text: &str| {
        let file = home.path("leak.txt");
        std::fs::write(&file, text).unwrap();
        let path = file.to_str().unwrap();
        store.cli(&["keys", "revoke", "--from", path, "--lines", lines])
    };
    // One bad line, and nothing is done.
    for (lines, text, line) in [
        ("users", "u_00000\nu 00001\n", 2),
        ("digests", "u_00000\n", 1),
        ("keys", &format!("{}\n\n{}x\n", key(0), key(1)), 3),
    ] {
        let output = from(lines, text);
        let told = stderr(&output);
        assert!(!output.status.success(), "{lines}");
        assert!(told.contains(&format!("line {line}: ")), "{told}");
        assert!(
            told.contains("nothing was revoked") && !told.contains(&key(1)),
            "{told}"
        );
    }
    assert_eq!(active(&home), 9);
    let output = from("users", "u_00000\n\nu_00001\r\n");
    assert_eq!(
        stdout(&output),
        "line 1: revoked the key of u_00000\nline 3: revoked the key of u_00001\n"
    );
    let digest = rekey_protocol::Digest::of(key(2).as_bytes()).to_hex();
    let unknown = fresh_digest().to_hex();
    let output = from("digests", &format!("{digest}\n{unknown}\n{digest}"));
    assert!(!output.status.success());
    assert!(stderr(&output).contains("1 of 3 lines are unknown"));
    assert_eq!(
        stdout(&output),
        "line 1: revoked the key of u_00002\nline 2: the store does not know this key\n\
         line 3: was not active any more (u_00002)\n"
    );
    let input = format!("{}\n{}", key(3), key(4));
    let arguments = ["keys", "revoke", "--from", "-", "--lines", "keys"];
    let output = store.cli_with(&arguments, &input);
    assert_eq!(stdout(&output).lines().count(), 2);
    assert_eq!(active(&home), 4);
    assert!(!home.log().contains("sb_live_"));
    for bad in [
        &["keys", "revoke", "--from", "x"][..],
        &["keys", "revoke", "--lines", "keys"],
        &[
            "keys", "revoke", "--user", "ann", "--from", "x", "--lines", "keys",
        ],
    ] {
        assert_eq!(store.cli(bad).status.code(), Some(2), "{bad:?}");
    }
}

#[test]
fn thousands_of_keys_wait_for_the_gateways_once() {
    let home = Home::new();
    let store = home.start();
    import(&home, &store, 3000);
    // A gateway that has been here once, and will not come again within its lease.
    let lease = Duration::from_secs(4);
    let poll = json!({ "gateway": "07".repeat(16), "lease_ms": 4000, "poll": 1 });
    assert_eq!(store.post("/v1/feed", &poll).status, 200);
    let rows: String = (0..3000).map(|number| key(number) + "\n").collect();
    let begun = Instant::now();
    let arguments = ["keys", "revoke", "--from", "-", "--lines", "keys"];
    let output = store.cli_with(&arguments, &rows);
    let took = begun.elapsed();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).lines().count(), 3000);
    assert_eq!(active(&home), 0);
    assert!(took > lease / 2 && took < 5 * lease, "{took:?}");
    // Each is in the audit log, and the body of one request is bounded.
    assert_eq!(
        home.count("SELECT count(*) FROM audit WHERE action = 'revoked'"),
        3000
    );
    let many = json!({ "keys": vec![json!({ "user_id": "u" }); 5001] }).to_string();
    let answer = store.admin("POST", "/v1/keys/revoke-many", Some(&many));
    assert_eq!(answer.status, 400, "{answer:?}");
}

/// A command of the operator's whose output is read for one line, and then no more.
fn first_line(store: &Store, arguments: &[&str]) -> (String, Option<i32>, u64) {
    let asked = || {
        let metrics = store.metrics();
        let lines = metrics.lines().filter(|line| {
            line.starts_with("rekey_store_requests_total") && line.contains("\"admin\"")
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum::<u64>()
    };
    let before = asked();
    let mut child = cli(arguments)
        .env("REKEY_ADMIN_URL", &store.admin_url)
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::with_capacity(64, child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    drop(out);
    let code = child.wait().unwrap().code();
    (line, code, asked() - before)
}

#[test]
fn a_list_that_nobody_reads_to_the_end_ends() {
    let home = Home::new();
    let store = home.start();
    import(&home, &store, 20_000);
    for (arguments, begins) in [
        (&["users", "list"][..], "USER_ID\t"),
        (&["users", "list", "--json"], "{\"user_id\":\"u_00000\""),
        (&["audit"], "AT\tUSER\t"),
        (&["audit", "--json"], "{\"id\":"),
    ] {
        let (line, code, requests) = first_line(&store, arguments);
        assert!(line.starts_with(begins), "{line}");
        assert_eq!(code, Some(0), "{arguments:?}");
        assert!(
            (1..=3).contains(&requests),
            "{arguments:?}: {requests} pages of 20"
        );
    }
    let all = stdout(&store.cli(&["users", "list"]));
    assert_eq!(all.lines().count(), 20_001);
}

/// Runs a line of a shell with the program as `$REKEY` and a file as `$FILE`.
fn shell(store: &Store, file: &str, line: &str) -> std::process::Output {
    Command::new("bash")
        .args(["-c", line])
        .env("REKEY", env!("CARGO_BIN_EXE_rekey-store"))
        .env("FILE", file)
        .env("REKEY_ADMIN_URL", &store.admin_url)
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN)
        .output()
        .unwrap()
}

#[test]
fn imports_come_from_files_and_from_pipes() {
    let home = Home::new();
    let store = home.start();
    let file = home.path("import.csv");
    let path = file.to_str().unwrap();
    let lines = [
        "\"$REKEY\" import \"$FILE\"",
        "cat \"$FILE\" | \"$REKEY\" import -",
        "\"$REKEY\" import - < \"$FILE\"",
        "cat \"$FILE\" | \"$REKEY\" import /dev/stdin",
        "\"$REKEY\" import /dev/stdin < \"$FILE\"",
        "\"$REKEY\" import <(cat \"$FILE\")",
    ];
    for (number, line) in (0..).zip(lines) {
        let rows = format!(
            "user,key\nu_{number},{}\nv_{number},{}\n",
            key(number),
            key(100 + number)
        );
        std::fs::write(&file, rows).unwrap();
        let output = shell(&store, path, line);
        assert_eq!(
            stdout(&output),
            "imported 2 keys\n",
            "{line}: {}",
            stderr(&output)
        );
        // The same again: every row is named, as of a file.
        let again = shell(&store, path, line);
        assert!(!again.status.success());
        assert!(
            stderr(&again).contains("2 of 2 rows are bad"),
            "{}",
            stderr(&again)
        );
    }
    assert_eq!(active(&home), 2 * lines.len() as i64);
    for (text, said) in [
        ("", "standard input is empty"),
        ("user,key\n", "standard input: no rows after the header"),
        (
            "user,plan\n",
            "standard input: the header row: unknown column",
        ),
        ("user,key\nu,nonsense\n", "line 2: not an API key"),
    ] {
        let output = store.cli_with(&["import", "-"], text);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
    // Bad rows of both kinds, in one run.
    let mixed = format!("user,key\nx,nonsense\nu_0,{}\ny,{}\n", key(500), key(501));
    let output = store.cli_with(&["import", "-"], &mixed);
    let told = stderr(&output);
    assert!(
        told.contains("line 2: ") && told.contains("line 3: "),
        "{told}"
    );
    assert!(told.contains("2 of 3 rows are bad"), "{told}");
    assert_eq!(active(&home), 2 * lines.len() as i64);
}

#[test]
fn no_key_of_a_pipe_is_on_disk_while_the_rest_is_awaited() {
    let home = Home::new();
    let store = home.start();
    let folder = tempfile::tempdir().unwrap();
    let mut child = cli(&["import", "-"])
        .env("TMPDIR", folder.path())
        .env("REKEY_ADMIN_URL", &store.admin_url)
        .env("REKEY_ADMIN_TOKEN", ADMIN_TOKEN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"user,key\n").unwrap();
    // More than any buffer on the way, so that some of it must be in the file.
    for number in 0..20_000 {
        input
            .write_all(format!("w_{number},{}\n", key(number)).as_bytes())
            .unwrap();
    }
    let kept = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    let entries = std::fs::read_dir(format!("/proc/{}/fd", child.id())).unwrap();
    let mut found = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let target = std::fs::read_link(&path).unwrap();
        if target.starts_with(folder.path()) {
            let mut bytes = Vec::new();
            std::fs::File::open(&path)
                .unwrap()
                .read_to_end(&mut bytes)
                .unwrap();
            assert!(kept(&bytes, "\"user\":\"w_0\"") && !kept(&bytes, "sb_live_"));
            found += 1;
        }
    }
    assert_eq!(found, 1, "one file without a name");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    drop(input);
    let mut told = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(
        (told.as_str(), child.wait().unwrap().code()),
        ("imported 20000 keys\n", Some(0))
    );
}
