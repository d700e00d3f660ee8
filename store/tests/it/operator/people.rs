//! What the operator does with people: addresses, removal, and the audit log of all.

use std::collections::BTreeSet;

use rekey_protocol::Digest;
use serde_json::{Value, json};

use crate::process::{Home, Store, fresh_digest, rotation, stderr, stdout};

fn json_lines(text: &str) -> Vec<Value> {
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// Runs a command that must succeed; what it prints.
fn done(store: &Store, arguments: &[&str]) -> String {
    let output = store.cli(arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        stderr(&output)
    );
    stdout(&output)
}

/// Runs a command that must fail; what it says.
fn refused(store: &Store, arguments: &[&str], input: &str) -> String {
    let output = store.cli_with(arguments, input);
    assert!(!output.status.success(), "{arguments:?}");
    stderr(&output)
}

#[test]
fn an_imported_user_without_an_address_gets_one() {
    let home = Home::new();
    let store = home.start();
    store.add_user("ann");
    let file = home.path("import.csv");
    let rows = format!("user,digest\nbob,{}\n", fresh_digest().to_hex());
    std::fs::write(&file, rows).unwrap();
    done(&store, &["import", file.to_str().unwrap()]);
    let set = |user, email| ["users", "set-email", "--user", user, "--email", email];
    for taken in [
        "ann@example.com",
        "ANN@Example.com",
        "a\u{ad}nn@example.com",
    ] {
        let told = refused(&store, &set("bob", taken), "");
        assert!(
            told.contains("another user has this e-mail address"),
            "{told}"
        );
    }
    assert!(refused(&store, &set("eve", "eve@example.com"), "").contains("no such user"));
    assert!(refused(&store, &set("bob", "bob"), "").contains("not an e-mail address"));
    let told = done(&store, &set("bob", "Bob.O'Brien@example.com"));
    assert_eq!(told, "bob logs in as Bob.O'Brien@example.com\n");
    // Another spelling of the own one is fine, and what is shown.
    done(&store, &set("bob", "bob.o'brien@EXAMPLE.com"));
    let password = ["users", "set-password", "--user", "bob", "--password-stdin"];
    let output = store.cli_with(&password, "correct horse battery");
    assert!(output.status.success(), "{}", stderr(&output));
    let events = json_lines(&done(&store, &["audit", "--user", "bob", "--json"]));
    let actions: Vec<_> = events.iter().map(|event| &event["action"]).collect();
    assert_eq!(
        actions,
        ["imported", "email_set", "email_set", "password_set"]
    );
    // The address of before is free again.
    done(&store, &set("ann", "new@example.com"));
    done(&store, &set("bob", "ann@example.com"));
}

/// What the database has of the text, in whatever table.
fn rows_with(home: &Home, text: &str) -> BTreeSet<String> {
    let sql = home.sql();
    let tables: Vec<String> = sql
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut found = BTreeSet::new();
    for table in tables {
        let mut select = sql.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = select.column_count();
        let mut rows = select.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let holds = |column| {
                let cell: rusqlite::types::Value = row.get(column).unwrap();
                format!("{cell:?}").contains(text)
            };
            if (0..columns).any(holds) {
                found.insert(table.clone());
            }
        }
    }
    found
}

#[test]
fn a_removed_user_is_nowhere_but_in_the_list_of_used_ids() {
    let home = Home::new();
    let store = home.start();
    let first = store.add(&json!({
        "email": "ann@example.com", "user_id": "ann", "password": "correct horse battery",
    }));
    let second = fresh_digest();
    assert_eq!(store.rotate(&rotation(&first.digest, &second)).status, 200);
    let keys = [first.digest, second];
    let states = |store: &Store| keys.map(|key| store.resolve(&key).json()["state"].clone());
    assert_eq!(states(&store), ["revoked", "active"]);
    let before = json_lines(&done(&store, &["audit", "--user", "ann", "--json"]));

    let told = done(&store, &["users", "remove", "--user", "ann", "--yes"]);
    let pseudonym = told.trim().rsplit(' ').next().unwrap();
    assert!(pseudonym.starts_with("removed-"), "{told}");
    assert_eq!(states(&store), ["revoked", "revoked"]);
    for text in ["ann@example.com", "argon2id"] {
        assert_eq!(rows_with(&home, text), BTreeSet::new(), "{text}");
    }
    assert_eq!(rows_with(&home, "\"ann\""), ["users".to_owned()].into());
    let left = "SELECT count(*) FROM users WHERE user_id = 'ann' AND removed = 1
                AND email IS NULL AND created_ms = 0 AND last_rotated_ms IS NULL";
    assert_eq!(home.count(left), 1);

    // The log goes on under the pseudonym, event by event.
    let after = json_lines(&done(&store, &["audit", "--user", pseudonym, "--json"]));
    let (last, same) = after.split_last().unwrap();
    assert_eq!(last["action"], "user_removed");
    assert_eq!(last["old_digest"], second.to_hex());
    let renamed = |mut event: Value| {
        event["user_id"] = json!(pseudonym);
        event
    };
    let before: Vec<_> = before.into_iter().map(renamed).collect();
    assert_eq!(same, before);
    for (user, found) in [("ann", false), (pseudonym, false), ("eve", false)] {
        let listed = done(&store, &["users", "list"]);
        assert_eq!(listed.contains(user), found, "{listed}");
    }

    // Nobody gets the id, and nobody acts for it. To remove it again is no error.
    let add = |id: &str, email: &str| {
        let arguments = ["users", "add", "--user-id", id, "--email", email];
        refused(&store, &arguments, "")
    };
    for id in ["ann", pseudonym] {
        assert!(add(id, "other@example.com").contains("was a removed user's"));
        for arguments in [
            &["keys", "issue", "--user", id][..],
            &[
                "users",
                "set-email",
                "--user",
                id,
                "--email",
                "x@example.com",
            ],
        ] {
            assert!(refused(&store, arguments, "").contains("no such user"));
        }
        let again = done(&store, &["users", "remove", "--user", id, "--yes"]);
        assert_eq!(again, format!("nothing to do: {id} was removed before\n"));
        let file = home.path("import.csv");
        let rows = format!("user,digest\n{id},{}\n", fresh_digest().to_hex());
        std::fs::write(&file, rows).unwrap();
        let told = refused(&store, &["import", file.to_str().unwrap()], "");
        assert!(
            told.contains("line 2: a user with this id was removed"),
            "{told}"
        );
    }
    // The address is free, and also after a restart the keys are dead.
    store.add(&json!({ "email": "ann@example.com", "user_id": "other" }));
    store.stop();
    assert_eq!(states(&home.start()), ["revoked", "revoked"]);
}

#[test]
fn a_removal_asks_and_takes_only_the_id_for_a_yes() {
    let home = Home::new();
    let store = home.start();
    store.add_user("ann");
    let remove = ["users", "remove", "--user", "ann"];
    for typed in ["", "\n", "y\n", "yes\n", "bob\n"] {
        let told = refused(&store, &remove, typed);
        assert!(told.contains("nothing was changed"), "{typed:?}: {told}");
    }
    assert!(
        refused(&store, &["users", "remove", "--user", "eve", "--yes"], "").contains("no such")
    );
    let output = store.cli_with(&remove, "ann\n");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn the_audit_log_of_all_goes_on_where_it_ended() {
    let home = Home::new();
    let store = home.start();
    for id in ["ann", "bob", "eve"] {
        store.add_user(id);
    }
    let all = |more: &[&str]| json_lines(&done(&store, &[&["audit", "--json"], more].concat()));
    let events = all(&[]);
    let users: Vec<_> = events.iter().map(|event| &event["user_id"]).collect();
    assert_eq!(users, ["ann", "bob", "eve"]);
    let last = events[2]["id"].to_string();
    assert_eq!(all(&["--after", &last]), Vec::<Value>::new());
    done(&store, &["keys", "revoke", "--user", "bob"]);
    let next = all(&["--after", &last]);
    assert_eq!((next.len(), &next[0]["action"]), (1, &json!("revoked")));
    // An hour ago these were made.
    let sql = "INSERT INTO audit (at_ms, user_id, action, revision, source)
               SELECT at_ms - 3600000 * n, 'old', 'login', 1, 'dashboard'
               FROM (SELECT max(at_ms) AS at_ms FROM audit), (SELECT 2 AS n UNION SELECT 50)";
    home.sql().execute(sql, []).unwrap();
    for (since, count) in [
        ("1h", 4),
        ("24h", 5),
        ("30days", 6),
        ("2001-01-01T00:00:00Z", 6),
    ] {
        assert_eq!(all(&["--since", since]).len(), count, "{since}");
    }
    assert_eq!(all(&["--since", "2999-01-01T00:00:00+02:00"]).len(), 0);
    assert_eq!(all(&["--since", "24h", "--after", &last]).len(), 2);
    let bobs = done(&store, &["audit", "--user", "bob", "--since", "1h"]);
    assert_eq!(bobs.lines().count(), 3, "{bobs}");
    let shown = done(&store, &["audit"]);
    assert!(shown.starts_with("AT\tUSER\tACTION\tBY"), "{shown}");
    assert!(
        shown
            .lines()
            .nth(1)
            .unwrap()
            .contains("\tann\tuser_added\tadmin\t")
    );
    let told = refused(&store, &["audit", "--since", "yesterday"], "");
    assert!(told.contains("24h"), "{told}");
    let answer = store.admin("GET", "/v1/audit?since=yesterday", None);
    assert_eq!(
        (answer.status, answer.code()),
        (400, "bad_request".to_owned())
    );
}

#[test]
fn a_key_is_shown_and_stays_as_it_is() {
    let home = Home::new();
    let store = home.start();
    let ann = store.add_user("ann");
    let show = ["keys", "show", "--key-stdin"];
    let shown = |input: &str| stdout(&store.cli_with(&show, input));
    for input in [
        ann.key.clone(),
        format!("{}\n", ann.key),
        format!("{}\r\n", ann.key),
    ] {
        let text = shown(&input);
        assert!(
            text.starts_with("user_id: ann\nemail: ann@example.com\nstate: active\n"),
            "{text}"
        );
        assert!(!text.contains(&ann.key));
    }
    assert_eq!(store.resolve(&ann.digest).json()["state"], "active");
    let before = home.count("SELECT count(*) FROM audit");
    let hex = ann.digest.to_hex();
    let by_digest = done(&store, &["keys", "show", "--digest", &hex, "--json"]);
    let by_digest: Value = serde_json::from_str(&by_digest).unwrap();
    assert_eq!(by_digest["state"], "active");
    assert_eq!(by_digest["revoked_at"], Value::Null);
    done(&store, &["keys", "revoke", "--user", "ann"]);
    let text = shown(&ann.key);
    assert!(
        text.contains("state: revoked\n") && text.contains("\nrevoked: 2"),
        "{text}"
    );
    assert_eq!(home.count("SELECT count(*) FROM audit"), before + 1);
    let unknown = format!("{}x", &ann.key[..ann.key.len() - 1]);
    assert!(refused(&store, &show, &unknown).contains("does not know the key"));
    for bad in ["", "nonsense", &ann.key[1..]] {
        let told = refused(&store, &show, bad);
        assert!(!told.contains(&ann.key[8..20]), "{told}");
    }
    for log in [home.log(), format!("{:?}", Digest::of(b"x"))] {
        assert!(!log.contains(&ann.key));
    }
}
