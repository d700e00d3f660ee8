//! The operator's commands, against a real store.

use rekey_protocol::{ApiKey, ChecksumSecrets, Digest};
use serde_json::{Value, json};

use crate::process::{
    ADMIN_TOKEN, CHECKSUM_SECRET, Home, STORE_TOKEN, cli, fresh_digest, output, rotation, stderr,
    stdout,
};

fn lines(text: &str) -> Vec<Value> {
    let parsed = text.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_user_is_added_with_a_key_that_works() {
    let home = Home::new();
    let store = home.start();
    let added = store.cli(&["users", "add", "--email", "ann@example.com"]);
    assert!(added.status.success());
    let text = stdout(&added);
    let fields: Vec<_> = text
        .lines()
        .map(|line| line.split_once(": ").unwrap())
        .collect();
    let [("user_id", id), ("api_key", key)] = fields[..] else {
        panic!("{text}");
    };
    assert!(id.starts_with("u_"), "{id}");
    assert!(stderr(&added).contains("shown this once"));
    let key = ApiKey::parse(key.as_bytes()).unwrap();
    assert!(
        ChecksumSecrets::parse(CHECKSUM_SECRET)
            .unwrap()
            .verify(&key)
    );
    assert_eq!(store.resolve(&key.digest()).json()["user"], id);

    let arguments = [
        "users",
        "add",
        "--email",
        "bob@example.com",
        "--user-id",
        "bob",
        "--json",
    ];
    let added = store.cli(&arguments);
    let body: Value = serde_json::from_str(&stdout(&added)).unwrap();
    assert_eq!(
        (&body["user_id"], &body["email"]),
        (&json!("bob"), &json!("bob@example.com"))
    );
    assert!(stderr(&added).is_empty());

    let listed = lines(&stdout(&store.cli(&["users", "list", "--json"])));
    let ids: Vec<_> = listed
        .iter()
        .map(|user| user["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["bob", id]);
    assert_eq!(listed[1]["key"]["hint"], key.hint());
    let table = stdout(&store.cli(&["users", "list"]));
    assert!(
        table.starts_with("USER_ID\t") && table.contains("ann@example.com"),
        "{table}"
    );
}

#[test]
fn what_exists_or_is_no_address_is_refused() {
    let home = Home::new();
    let store = home.start();
    store.add_user("alice");
    for (arguments, word) in [
        (
            &["--email", "ALICE@example.com"][..],
            "e-mail address exists",
        ),
        (&["--email", "a@b", "--user-id", "alice"], "id exists"),
        (&["--email", "nonsense"], "not an e-mail address"),
        (&["--email", "a@b", "--user-id", "a b"], "a user id is"),
    ] {
        let output = store.cli(&[&["users", "add"], arguments].concat());
        assert!(!output.status.success());
        let text = stderr(&output);
        assert!(text.contains(word), "{word}: {text}");
        assert!(output.stdout.is_empty());
    }
    assert_eq!(home.count("SELECT count(*) FROM users"), 1);
}

#[test]
fn a_key_is_revoked_by_user_by_digest_or_by_itself_once() {
    let home = Home::new();
    let store = home.start();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(|id| store.add_user(id));
    let hex = bob.digest.to_hex();
    let stdin = format!("{}\n", eve.key);
    for (arguments, input, user) in [
        (["--user", "ann"], "", &ann),
        (["--digest", hex.as_str()], "", &bob),
        (["--key-stdin", "--"], stdin.as_str(), &eve),
    ] {
        let arguments = [&["keys", "revoke"][..], &arguments].concat();
        let first = store.cli_with(&arguments, input);
        assert!(
            stdout(&first).starts_with("revoked the key of"),
            "{first:?}"
        );
        assert_eq!(store.resolve(&user.digest).json()["state"], "revoked");
        let revision = store.resolve(&user.digest).json()["revision"].clone();
        let second = store.cli_with(&arguments, input);
        assert!(second.status.success());
        assert!(stdout(&second).starts_with("nothing to do"), "{second:?}");
        assert_eq!(store.resolve(&user.digest).json()["revision"], revision);
    }
    assert_eq!(
        home.count("SELECT count(*) FROM audit WHERE action = 'revoked'"),
        3
    );
    // A revoked key does not rotate.
    let answer = store.rotate(&rotation(&ann.digest, &fresh_digest()));
    assert_eq!(answer.json()["outcome"], "revoked");

    for (arguments, input, word) in [
        (&["--user", "nobody"][..], "", "no such user"),
        (
            &["--digest", &fresh_digest().to_hex()],
            "",
            "does not know the key",
        ),
        (&["--digest", "abc"], "", "64 hexadecimal digits"),
        (&["--key-stdin"], "", "no key on standard input"),
        (&["--key-stdin"], "sb_live_short", "not an API key"),
        (&["--key-stdin"], &"x".repeat(500), "not an API key"),
        (&[], "", "required"),
        (&["--user", "ann", "--key-stdin"], "", "cannot be used with"),
    ] {
        let output = store.cli_with(&[&["keys", "revoke"], arguments].concat(), input);
        assert!(!output.status.success());
        assert!(stderr(&output).contains(word), "{word}: {output:?}");
    }
}

#[test]
fn the_api_revokes_exactly_one_thing() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    let both = json!({ "user_id": "ann", "digest": user.digest }).to_string();
    for body in ["{}", both.as_str()] {
        let answer = store.admin("POST", "/v1/keys/revoke", Some(body));
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad_request")
        );
    }
    let answer = store.admin("POST", "/v1/keys/revoke", Some(r#"{"user_id":"ann"}"#));
    let expected = json!({
        "user_id": "ann",
        "revoked": true,
        "revision": store.resolve(&user.digest).json()["revision"],
    });
    assert_eq!(answer.json(), expected);
}

/// I4: the operator's way to help who lost the key.
#[test]
fn who_lost_the_key_gets_another_one_after_the_old_one_is_revoked() {
    let home = Home::new();
    let store = home.start();
    let lost = store.add_user("ann");
    let issue = ["keys", "issue", "--user", "ann"];
    let refused = store.cli(&issue);
    assert!(stderr(&refused).contains("revoke it first"), "{refused:?}");
    let nobody = store.cli(&["keys", "issue", "--user", "nobody"]);
    assert!(stderr(&nobody).contains("no such user"), "{nobody:?}");
    assert!(!refused.status.success() && !nobody.status.success());

    assert!(
        store
            .cli(&["keys", "revoke", "--user", "ann"])
            .status
            .success()
    );
    let issued = store.cli(&issue);
    assert!(issued.status.success(), "{issued:?}");
    let text = stdout(&issued);
    let key = text.lines().find_map(|line| line.strip_prefix("api_key: "));
    let resolved = store.resolve(&Digest::of(key.unwrap().as_bytes())).json();
    assert_eq!(
        (&resolved["state"], &resolved["user"]),
        (&json!("active"), &json!("ann"))
    );
    assert_eq!(store.resolve(&lost.digest).json()["state"], "revoked");
    assert_eq!(
        home.count("SELECT count(*) FROM keys WHERE state = 'active'"),
        1
    );
    let audit = stdout(&store.cli(&["audit", "--user", "ann"]));
    assert!(audit.contains("issued"), "{audit}");
}

#[test]
fn the_audit_log_tells_a_users_story() {
    let home = Home::new();
    let store = home.start();
    let user = store.add_user("ann");
    store.add_user("bob");
    let new = fresh_digest();
    let mut request = rotation(&user.digest, &new);
    request["client"]["request_id"] = json!("id\u{1b}[2J\n-sb_live_0000000000000000000000");
    store.rotate(&request);
    store.cli(&["keys", "revoke", "--user", "ann"]);
    let events = lines(&stdout(&store.cli(&["audit", "--user", "ann", "--json"])));
    let actions: Vec<_> = events
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["user_added", "rotated", "revoked"]);
    let rotated = &events[1];
    assert_eq!(rotated["old_digest"], json!(user.digest));
    assert_eq!(rotated["new_digest"], json!(new));
    assert_eq!(rotated["rotation_id"], request["rotation_id"]);
    assert_eq!(rotated["client_address"], "192.0.2.7:4711");
    assert_eq!(rotated["client_request_id"], "(withheld)");
    assert_eq!(
        (&rotated["source"], &rotated["hint"]),
        (&json!("gateway"), &json!("wxyz"))
    );
    assert!(events[0]["revision"].as_u64() < events[1]["revision"].as_u64());
    let table = stdout(&store.cli(&["audit", "--user", "ann"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    let nobody = store.cli(&["audit", "--user", "nobody"]);
    assert!(stderr(&nobody).contains("no such user"));
}

#[test]
fn lists_come_in_pages() {
    let home = Home::new();
    let store = home.start();
    for id in ["a", "b", "c"] {
        store.add_user(id);
    }
    let page = store.admin("GET", "/v1/users?limit=2", None).json();
    assert_eq!(
        (page["users"].as_array().unwrap().len(), &page["next"]),
        (2, &json!("b"))
    );
    let page = store.admin("GET", "/v1/users?limit=2&after=b", None).json();
    assert_eq!(
        (page["users"].as_array().unwrap().len(), &page["next"]),
        (1, &Value::Null)
    );
    let page = store.admin("GET", "/v1/audit?user=a&limit=1", None).json();
    let after = page["next"].as_i64().unwrap();
    let page = store.admin(
        "GET",
        &format!("/v1/audit?user=a&limit=1&after={after}"),
        None,
    );
    assert_eq!(page.json(), json!({ "events": [] }));
    for bad in [
        "/v1/users?limit=0",
        "/v1/users?limit=1001",
        "/v1/users?page=1",
        "/v1/audit?limit=0",
        "/v1/audit?user=a%20b",
        "/v1/keys",
        "/v1/keys?digest=ab",
    ] {
        let answer = store.admin("GET", bad, None);
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "bad_request"),
            "{bad}"
        );
    }
}

#[test]
fn errors_say_what_to_do() {
    let home = Home::new();
    let store = home.start();
    let list = |url: &str, token: &str| {
        let mut command = cli(&["users", "list"]);
        command
            .env("REKEY_ADMIN_URL", url)
            .env("REKEY_ADMIN_TOKEN", token);
        let output = output(&mut command, "");
        assert_eq!(output.status.code(), Some(1));
        let text = stderr(&output);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains(token) || token.is_empty(), "{text}");
        text
    };
    let admin = store.admin_url.clone();
    let wrong = list(&admin, STORE_TOKEN);
    assert!(
        wrong.contains("refused the token") && wrong.contains("REKEY_ADMIN_TOKEN"),
        "{wrong}"
    );
    let missing = list(&admin, "");
    assert!(
        missing.contains("REKEY_ADMIN_TOKEN is not set"),
        "{missing}"
    );
    let short = list(&admin, "short");
    assert!(short.contains("at least 16"), "{short}");
    let gateway = list(&store.url, ADMIN_TOKEN);
    assert!(gateway.contains("--admin-listen"), "{gateway}");
    let tls = list("https://127.0.0.1:1", ADMIN_TOKEN);
    assert!(tls.contains("http://"), "{tls}");
    drop(store);
    let away = list(&admin, ADMIN_TOKEN);
    assert!(
        away.contains(&admin) && away.contains("REKEY_ADMIN_URL"),
        "{away}"
    );
}

#[test]
fn a_secret_is_no_argument_of_any_command() {
    let commands = [
        "users add",
        "users set-password",
        "users list",
        "keys revoke",
        "import",
        "audit",
    ];
    let help = commands
        .map(|command| {
            let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
            stdout(&output(&mut cli(&arguments), ""))
        })
        .concat();
    assert!(help.contains("--key-stdin") && help.contains("--password-stdin"));
    for option in ["--key ", "--token", "--api-key", "--secret", "--password "] {
        assert!(!help.contains(option), "{option}");
    }
}
