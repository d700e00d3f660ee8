//! Imports: all or nothing, every bad row named, beside the store's own work.

mod bench;
mod stops;

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::TcpStream;

use rekey_protocol::Digest;
use serde_json::json;

use crate::process::{
    ADMIN_TOKEN, Home, Store, await_some, cli, fresh_digest, output, rotation, stderr, stdout,
};

fn key(number: u32) -> String {
    format!("sb_live_{number:032}")
}

fn digest(number: u32) -> Digest {
    Digest::of(key(number).as_bytes())
}

/// Runs the import of a file with this text: success, standard output, error.
fn import(home: &Home, store: &Store, text: &str, more: &[&str]) -> (bool, String, String) {
    let path = home.path("import.csv");
    std::fs::write(&path, text).unwrap();
    let arguments = [&["import", path.to_str().unwrap()], more].concat();
    let output = store.cli(&arguments);
    (output.status.success(), stdout(&output), stderr(&output))
}

/// An import that is under way until its body ends.
struct Upload(TcpStream);

impl Upload {
    fn begin(store: &Store) -> Self {
        let address = store.admin_url.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(
            stream,
            "POST /v1/import HTTP/1.1\r\nhost: s\r\nauthorization: Bearer {ADMIN_TOKEN}\r\n\
             expect: 100-continue\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        // The store asks for the body when the import has begun.
        let mut go = [0; 25];
        stream.read_exact(&mut go).unwrap();
        assert!(go.starts_with(b"HTTP/1.1 100 "));
        Self(stream)
    }

    fn row(&mut self, user: &str, digest: &Digest) {
        let row = json!({ "line": 1, "user": user, "digest": digest });
        let line = format!("{row}\n");
        write!(self.0, "{:x}\r\n{line}\r\n", line.len()).unwrap();
    }

    fn end(mut self) -> String {
        write!(self.0, "0\r\n\r\n").unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn keys_and_digests_are_imported_and_work() {
    let home = Home::new();
    let store = home.start();
    let keys = format!(
        "user,key,email\nann,{},ann@example.com\nbob,{},\n",
        key(1),
        key(2)
    );
    let (success, out, _) = import(&home, &store, &keys, &[]);
    assert!(success && out == "imported 2 keys\n", "{out}");
    let digests = format!(
        "hint,digest,user\nabcd,{},eve\n",
        digest(3).to_hex().to_uppercase()
    );
    assert!(import(&home, &store, &digests, &[]).0);
    for (number, user) in [(1, "ann"), (2, "bob"), (3, "eve")] {
        let resolved = store.resolve(&digest(number)).json();
        assert_eq!(
            (&resolved["state"], &resolved["user"]),
            (&json!("active"), &json!(user))
        );
    }
    // Each import is a change of its own, and each key has an audit row of its own.
    assert_eq!(
        home.count("SELECT count(DISTINCT revision) FROM live_keys"),
        2
    );
    let agree = "SELECT count(*) FROM live_keys k JOIN audit a
                 ON a.new_digest = k.digest AND a.revision = k.revision AND a.action = 'imported'";
    assert_eq!(home.count(agree), 3);
    let hints = "SELECT count(*) FROM keys WHERE hint IN ('abcd', '0001', '0002')";
    assert_eq!(home.count(hints), 3);
    let answer = store.rotate(&rotation(&digest(1), &fresh_digest()));
    assert_eq!(answer.json()["outcome"], "rotated");
    // And the head did not fall behind the imported revisions.
    let behind = "SELECT count(*) FROM keys, meta WHERE keys.revision > meta.revision";
    assert_eq!(home.count(behind), 0);
}

#[test]
fn every_bad_row_is_named_and_none_is_imported() {
    let home = Home::new();
    let store = home.start();
    let taken = store.add_user("taken");
    store.add_user("free");
    assert!(
        store
            .cli(&["keys", "revoke", "--user", "free"])
            .status
            .success()
    );
    let key_of_taken = taken.key.as_str();
    let rows = [
        format!("good,{},good@example.com", key(1)),
        format!("b d,{},", key(2)),
        "short,sb_live_1234,".to_owned(),
        format!("same-key,{},", key(1)),
        format!("good,{},", key(3)),
        format!("same-mail,{},GOOD@example.com", key(4)),
        format!("known-key,{key_of_taken},"),
        format!("taken,{},", key(5)),
        format!("other-mail,{},taken@example.com", key(6)),
        format!("free,{},new@example.com", key(7)),
        format!("no-mail,{},nonsense", key(8)),
        "two,columns".to_owned(),
        format!("long,{},{}", key(9), "x".repeat(9000)),
        format!("\"fine\",{},", key(10)),
        format!(",{},", key(11)),
    ];
    let text = format!("user,key,email\n{}\n", rows.join("\n"));
    let (success, out, err) = import(&home, &store, &text, &[]);
    assert!(!success && out.is_empty(), "{out}");
    for (line, reason) in [
        (3, "a user id is"),
        (4, "not an API key"),
        (5, "the same key as in line 2"),
        (6, "the same user as in line 2"),
        (7, "the same e-mail address as in line 2"),
        (8, "knows this key already (active)"),
        (9, "has an active key already"),
        (10, "another user has this e-mail address"),
        (11, "exists, with another e-mail address"),
        (12, "not an e-mail address"),
        (13, "2 fields where the header has 3"),
        (14, "too long"),
        (16, "a user id is"),
    ] {
        let named = err
            .lines()
            .filter(|text| text.starts_with(&format!("line {line}: ")));
        let named: Vec<_> = named.collect();
        assert!(
            named.len() == 1 && named[0].contains(reason),
            "{line} {reason}: {err}"
        );
    }
    assert_eq!(err.lines().count(), 14, "{err}");
    assert!(
        err.ends_with("error: 13 of 15 rows are bad; nothing was imported\n"),
        "{err}"
    );
    for number in 1..=11 {
        assert!(!err.contains(&key(number)) && !err.contains(&digest(number).to_hex()));
    }
    assert!(
        !err.contains(key_of_taken) && !err.contains("sb_live_1234"),
        "{err}"
    );
    assert_eq!(home.count("SELECT count(*) FROM users"), 2);
    assert_eq!(
        home.count("SELECT count(*) FROM audit WHERE action = 'imported'"),
        0
    );
    // A revoked key is known, too, and a user without a key may get one.
    let again = format!("user,key\nfree,{}\n", key(7));
    assert!(
        import(&home, &store, &again, &["--dry-run"])
            .1
            .contains("1 rows are good")
    );
    assert_eq!(home.count("SELECT count(*) FROM keys"), 2);
    assert!(import(&home, &store, &again, &[]).0);
    assert!(
        store
            .cli(&["keys", "revoke", "--user", "free"])
            .status
            .success()
    );
    assert!(
        import(&home, &store, &again, &[])
            .2
            .contains("already (revoked)")
    );
}

#[test]
fn a_file_that_is_no_table_is_refused() {
    let home = Home::new();
    let store = home.start();
    let row = format!("ann,{}", key(1));
    for (text, word) in [
        ("", "is empty"),
        ("user,key\n", "no rows"),
        (row.as_str(), "header row"),
        ("user,key,plan\n", "unknown column `plan`"),
    ] {
        let (success, _, err) = import(&home, &store, text, &[]);
        assert!(!success && err.contains(word), "{word}: {err}");
        assert!(!err.contains(&key(1)), "{err}");
    }
    let missing = store.cli(&["import", "/nonexistent/file.csv"]);
    assert!(stderr(&missing).contains("/nonexistent/file.csv"));
}

#[test]
fn a_hundred_thousand_rows_and_then_one_bad_one() {
    const ROWS: u32 = 100_000;
    let home = Home::new();
    let store = home.start();
    let mut text = String::from("user,digest,email\n");
    for row in 0..ROWS {
        let digest = digest(row).to_hex();
        writeln!(text, "user-{row},{digest},u{row}@example.com").unwrap();
    }
    let last = format!("{text}user-0,{},\n", digest(ROWS).to_hex());
    let (success, _, err) = import(&home, &store, &last, &[]);
    assert!(!success);
    assert_eq!(
        err,
        "line 100002: the same user as in line 2, and a user has one active key\n\
         error: 1 of 100001 rows are bad; nothing was imported\n"
    );
    assert_eq!(home.count("SELECT count(*) FROM keys"), 0);
    assert!(import(&home, &store, &text, &[]).0);
    assert_eq!(
        home.count("SELECT count(*) FROM keys WHERE state = 'active'"),
        i64::from(ROWS)
    );
    // A wrong token is said before the file is sent.
    let mut command = cli(&["import", home.path("import.csv").to_str().unwrap()]);
    command.env("REKEY_ADMIN_URL", &store.admin_url);
    let refused = output(
        command.env("REKEY_ADMIN_TOKEN", "wrong-token-0123456789"),
        "",
    );
    assert!(
        stderr(&refused).contains("refused the token"),
        "{refused:?}"
    );
    // All of them are bad now; the answer is a stream.
    let (success, _, err) = import(&home, &store, &text, &[]);
    assert!(!success && err.lines().count() == ROWS as usize + 1);
    let listed = stdout(&store.cli(&["users", "list", "--json"]));
    assert_eq!(listed.lines().count(), ROWS as usize);
}

#[test]
fn nothing_waits_for_an_import_that_is_still_being_sent() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    let mut upload = Upload::begin(&store);
    upload.row("bob", &digest(1));
    // Another one has to wait its turn; everything else goes on.
    let (success, _, err) = import(&home, &store, &format!("user,key\neve,{}\n", key(2)), &[]);
    assert!(
        !success && err.contains("another import is under way"),
        "{err}"
    );
    let answer = store.rotate(&rotation(&user.digest, &fresh_digest()));
    assert_eq!(answer.json()["outcome"], "rotated");
    assert!(upload.end().contains(r#"{"imported":1}"#));
    assert_eq!(store.resolve(&digest(1)).json()["user"], "bob");
}

#[test]
fn a_body_that_breaks_off_imports_nothing_and_frees_the_way() {
    let home = Home::new();
    let store = home.start();
    let mut upload = Upload::begin(&store);
    upload.row("bob", &digest(1));
    drop(upload);
    let text = format!("user,key\neve,{}\n", key(2));
    await_some(|| import(&home, &store, &text, &[]).0.then_some(()));
    assert_eq!(home.count("SELECT count(*) FROM keys"), 1);
    assert_eq!(store.resolve(&digest(1)).status, 404);
}

#[test]
fn lines_of_the_body_that_do_not_parse_are_bad_rows() {
    let home = Home::new();
    let store = home.start();
    let good = json!({ "line": 1, "user": "ann", "digest": digest(1) });
    let body = format!("{good}\nnonsense\n{{\"line\":9,\"user\":\"x\"}}\n{good}");
    let answer = store.admin("POST", "/v1/import", Some(&body));
    assert_eq!(answer.status, 422);
    assert_eq!(answer.header("rekey-store"), Some("1"));
    let lines: Vec<_> = answer.text.lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[1].contains("not valid JSON"), "{lines:?}");
    assert!(lines[2].contains("missing field `digest`"), "{lines:?}");
    assert_eq!(lines[3], r#"{"bad_rows":3,"rows":4}"#);
    let long = format!("{good}\n{}", "x".repeat(20_000));
    let answer = store.admin("POST", "/v1/import", Some(&long));
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "payload_too_large")
    );
    assert_eq!(home.count("SELECT count(*) FROM keys"), 0);
}
