//! How a password is changed by its user, and set by the operator.

use crate::dashboard::person::{Form, Person};
use crate::dashboard::{
    CHANGE, LOGIN, PASSWORD, PROFILE, SECURITY, add_user, email, events, hashes, logged_in, start,
    start_behind_a_proxy, state,
};
use crate::process::{Home, Store, stderr, stdout};

const NEW: &str = "another good password";

fn change(person: &Person, current: &str, new: &str, repeat: &str) -> Form {
    let form = person.get(SECURITY).form(CHANGE);
    let form = form.with("current_password", current);
    form.with("new_password", new)
        .with("repeat_password", repeat)
}

#[test]
fn a_change_ends_all_other_sessions_and_renews_this_one() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let (here, there) = (logged_in(&store, "ann"), logged_in(&store, "ann"));
    let here = here.from("192.0.2.9");
    let before = here.token();
    let answer = here.submit(&change(&here, PASSWORD, NEW, NEW));
    let back = answer.header("location").unwrap();
    assert_eq!((answer.status, back), (303, "/settings/security?changed"));
    let page = here.get(back);
    let notice = page.element("notice").unwrap();
    assert!(notice.contains("was changed"), "{notice}");
    assert_ne!(here.token(), before);
    assert_eq!(there.get(PROFILE).status, 303);
    there.plant(&there.cookie_of(&before));
    assert_eq!(there.get(PROFILE).status, 303, "the old token is nobody's");
    assert_eq!(there.log_in(&email("ann"), PASSWORD).status, 403);
    assert_eq!(there.log_in(&email("ann"), NEW).status, 303);
    let told = events(&store, "ann", "password_changed");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["client_address"], "192.0.2.9");
    assert_eq!(told[0]["source"], "dashboard");
}

#[test]
fn what_is_wrong_with_a_change_is_said_and_nothing_is_changed() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let before = state(&home);
    let long = "x".repeat(129);
    for (current, new, repeat, status, text) in [
        (
            "some other password",
            NEW,
            NEW,
            403,
            "current password is wrong",
        ),
        ("", NEW, NEW, 403, "current password is wrong"),
        (
            PASSWORD,
            NEW,
            "another good passw0rd",
            422,
            "repetition differ",
        ),
        (PASSWORD, "eleven char", "eleven char", 422, "12 to 128"),
        (PASSWORD, "", "", 422, "12 to 128"),
        (PASSWORD, &long, &long, 422, "12 to 128"),
    ] {
        let answer = ann.submit(&change(&ann, current, new, repeat));
        assert_eq!(answer.status, status, "{text}");
        assert!(answer.error().contains(text), "{}", answer.error());
        assert!(answer.offers(CHANGE), "to be tried again");
        assert!(!answer.text.contains(new) || new.is_empty(), "never shown");
    }
    // Nothing but the word of it in the audit log.
    let after = state(&home);
    let (told, rest): (Vec<_>, Vec<_>) = after
        .lines()
        .partition(|line| line.contains("password_refused"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(rest, before.lines().collect::<Vec<_>>());
    assert_eq!(ann.get(PROFILE).status, 200);
    // The bounds themselves are within.
    let longest = "ü".repeat(128);
    let answer = ann.submit(&change(&ann, PASSWORD, &longest, &longest));
    assert_eq!(answer.status, 303);
    assert_eq!(
        Person::at(&store).log_in(&email("ann"), &longest).status,
        303
    );
}

fn set_password(store: &Store, user: &str, input: &str) -> Result<String, String> {
    let arguments = ["users", "set-password", "--user", user, "--password-stdin"];
    let output = store.cli_with(&arguments, input);
    match output.status.success() {
        true => Ok(stdout(&output)),
        false => Err(stderr(&output)),
    }
}

#[test]
fn the_operator_sets_a_password_and_the_user_is_logged_out_everywhere() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    add_user(&store, "bob");
    let (ann, bob) = (logged_in(&store, "ann"), logged_in(&store, "bob"));
    let told = set_password(&store, "ann", &format!("{NEW}\n")).unwrap();
    assert!(told.contains("ann is logged out everywhere"), "{told}");
    assert_eq!(ann.get(PROFILE).header("location"), Some(LOGIN));
    assert_eq!(bob.get(PROFILE).status, 200);
    assert_eq!(ann.log_in(&email("ann"), PASSWORD).status, 403);
    assert_eq!(ann.log_in(&email("ann"), NEW).status, 303);
    let told = events(&store, "ann", "password_set");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["source"], "admin");
}

#[test]
fn a_password_comes_with_a_new_user_or_never() {
    let home = Home::new();
    let store = start(&home);
    let add = |id: &str, more: &[&str], input: &str| {
        let address = email(id);
        let arguments = ["users", "add", "--email", &address, "--user-id", id];
        store.cli_with(&[&arguments, more].concat(), input)
    };
    let with = add("ann", &["--password-stdin", "--json"], PASSWORD);
    assert!(with.status.success(), "{with:?}");
    assert!(!stdout(&with).contains(PASSWORD));
    assert!(add("bob", &[], PASSWORD).status.success());
    logged_in(&store, "ann");
    let bob = Person::at(&store).log_in(&email("bob"), PASSWORD);
    assert_eq!(bob.status, 403);
    let short = add("carol", &["--password-stdin"], "eleven char");
    assert!(stderr(&short).contains("12 to 128"), "{short:?}");
    assert_eq!(home.count("SELECT count(*) FROM users"), 2);
}

#[test]
fn whom_no_password_can_be_set_for_and_what_is_none_is_said() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let path = home.path("users.csv");
    let row = format!("user,digest\nold,{}\n", "ab".repeat(32));
    std::fs::write(&path, row).unwrap();
    assert!(
        store
            .cli(&["import", path.to_str().unwrap()])
            .status
            .success()
    );
    let ann = logged_in(&store, "ann");
    let before = state(&home);
    let (long, endless) = ("x".repeat(129), "x".repeat(5000));
    for (user, input, word) in [
        ("nobody", NEW, "no such user"),
        ("old", NEW, "no e-mail address"),
        ("ann", "", "no password on standard input"),
        ("ann", "\n", "no password on standard input"),
        ("ann", "eleven char\n", "12 to 128"),
        ("ann", &long, "12 to 128"),
        ("ann", &endless, "12 to 128"),
    ] {
        let text = set_password(&store, user, input).unwrap_err();
        assert!(text.contains(word), "{word}: {text}");
        assert!(input.len() < 3 || !text.contains(input.trim()), "{text}");
    }
    let hashed = hashes(&store);
    let short = r#"{"user_id":"ann","password":"eleven char"}"#;
    let refused = store.admin("POST", "/v1/users/password", Some(short));
    assert_eq!(refused.code(), "bad_request");
    assert!(refused.text.contains("12 to 128") && !refused.text.contains("eleven char"));
    assert_eq!((state(&home), hashes(&store)), (before, hashed));
    assert_eq!(ann.get(PROFILE).status, 200);
    // As an argument it would be seen by everybody.
    let argument = ["users", "set-password", "--user", "ann"];
    let refused = store.cli_with(&argument, NEW);
    assert!(stderr(&refused).contains("--password-stdin"));
}
