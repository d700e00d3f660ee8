//! Requests that another site could make a browser send, and what a browser is
//! told so that it sends and keeps as little as it can.

use crate::dashboard::person::{Form, Headers, Person, answer};
use crate::dashboard::{
    CHANGE, LOGIN, NEW_KEY, PASSWORD, PROFILE, REGENERATE, REVOKE, SECURITY, add_user, email,
    forged, logged_in, start, start_behind_a_proxy, state,
};
use crate::process::{Answer, Home, Store};

/// One form of every kind, each of which would do something.
fn forms(person: &Person) -> Vec<(&'static str, Form)> {
    let passwords = |form: Form| {
        form.with("current_password", PASSWORD)
            .with("new_password", "another good password")
            .with("repeat_password", "another good password")
    };
    let login = Form::to(LOGIN).with("email", &email("ann"));
    let security = person.get(SECURITY);
    vec![
        (LOGIN, login.with("password", PASSWORD)),
        (REGENERATE, person.regeneration()),
        (REVOKE, person.revocation()),
        (NEW_KEY, forged(person, NEW_KEY)),
        (CHANGE, passwords(security.form(CHANGE))),
        ("/logout", security.form("/logout")),
        ("/logout-everywhere", security.form("/logout-everywhere")),
    ]
}

fn with_origins(headers: &Headers, origins: &[&str]) -> Headers {
    let mut headers = headers.clone();
    headers.retain(|(name, _)| *name != "origin");
    headers.extend(
        origins
            .iter()
            .map(|origin| ("origin", (*origin).to_owned())),
    );
    headers
}

#[test]
fn a_form_of_another_origin_does_nothing() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let ours = ann.origin.clone();
    let port = format!("{ours}1");
    let tls = ours.replace("http:", "https:");
    let slash = format!("{ours}/");
    let usual = ann.headers("POST");
    let forms = forms(&ann);
    let before = state(&home);
    for (action, form) in &forms {
        for origins in [
            &[][..],
            &["null"],
            &[""],
            &["https://evil.example"],
            &[&port],
            &[&tls],
            &[&slash],
            &[&ours, "https://evil.example"],
            &["https://evil.example", &ours],
            &[&ours, &ours],
        ] {
            let headers = with_origins(&usual, origins);
            let answer = ann.send("POST", action, &headers, &form.body());
            assert_eq!(answer.status, 403, "{action} {origins:?}");
            assert!(answer.error().contains("Nothing was changed"));
            assert_eq!(answer.header("set-cookie"), None);
        }
        // A referrer is no origin.
        let mut headers = with_origins(&usual, &[]);
        headers.push(("referer", slash.clone()));
        let answer = ann.send("POST", action, &headers, &form.body());
        assert_eq!(answer.status, 403, "{action}");
    }
    assert_eq!(state(&home), before);
}

#[test]
fn a_form_without_its_sessions_token_does_nothing() {
    let home = Home::new();
    let store = start(&home);
    for id in ["ann", "bob"] {
        add_user(&store, id);
    }
    let ann = logged_in(&store, "ann");
    let (elsewhere, bob) = (logged_in(&store, "ann"), logged_in(&store, "bob"));
    let others = [&elsewhere, &bob].map(|person| forged(person, "").field("csrf").to_owned());
    let forms = forms(&ann);
    let before = state(&home);
    for (action, form) in forms.iter().filter(|(action, _)| *action != LOGIN) {
        let with = |csrf: &str| form.clone().with("csrf", csrf);
        for bad in [
            form.clone().without("csrf"),
            with(""),
            with(&others[0]),
            with(&others[1]),
            with(&ann.token()),
            with(&form.field("csrf").to_uppercase()),
        ] {
            let answer = ann.submit(&bad);
            assert_eq!(answer.status, 403, "{action} {}", bad.body());
            assert!(answer.error().contains("Nothing was changed"));
        }
        // Two of them, and one where it does not belong.
        let csrf = form.field("csrf");
        let twice = format!("{}&csrf={csrf}", form.body());
        let query = format!("{action}?csrf={csrf}");
        for (path, body) in [(*action, &twice), (&query, &with("").body())] {
            let answer = ann.send("POST", path, &ann.headers("POST"), body);
            assert_eq!(answer.status, 403, "{path} {body}");
        }
        // Without a cookie, the token alone is nothing.
        let nobody = Person::at(&store).submit(form);
        assert_eq!(nobody.status, 403, "{action}");
    }
    assert_eq!(state(&home), before);
}

#[test]
fn reading_never_changes_anything() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let forms = forms(&ann);
    let before = state(&home);
    for (action, form) in &forms {
        for path in [action.to_string(), format!("{action}?{}", form.body())] {
            for method in ["GET", "HEAD"] {
                let headers = ann.headers("POST");
                let answer = ann.send(method, &path, &headers, "");
                assert!(answer.element("api-key").is_none());
                let status = answer.status;
                assert!([200, 303, 405].contains(&status), "{method} {path}");
                // A form in a reading request is not read.
                let answer = ann.send(method, &path, &headers, &form.body());
                assert_eq!(answer.status, status, "{method} {path}");
            }
        }
    }
    assert_eq!(state(&home), before);
}

#[test]
fn another_host_is_told_the_right_one_and_nothing_else() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let link = format!("<a href=\"{0}\">{0}</a>", ann.origin);
    let forms = forms(&ann);
    let before = state(&home);
    let misdirected = |headers: &Headers| {
        for (action, form) in &forms {
            let posted = ann.send("POST", action, headers, &form.body());
            for answer in [posted, ann.send("GET", action, headers, "")] {
                assert_eq!(answer.status, 421, "{action} {headers:?}");
                assert!(answer.text.contains(&link), "{}", answer.text);
                assert!(!answer.text.contains("evil"), "{}", answer.text);
                assert_eq!(answer.header("location"), None);
            }
        }
    };
    let usual = ann.headers("POST");
    let ours = usual[0].1.clone();
    for host in ["evil.example", "localhost", "", &format!("{ours}1")] {
        let mut headers = usual.clone();
        headers[0].1 = host.to_owned();
        misdirected(&headers);
    }
    let mut two = usual.clone();
    two.push(("host", "evil.example".to_owned()));
    misdirected(&two);
    assert_eq!(state(&home), before);
    // What a proxy says about the host is not asked.
    let mut forwarded = ann.headers("GET");
    forwarded.push(("x-forwarded-host", "evil.example".to_owned()));
    forwarded.push(("forwarded", "host=evil.example".to_owned()));
    let answer = ann.send("GET", PROFILE, &forwarded, "");
    assert_eq!(answer.status, 200);
    assert!(!answer.text.contains("evil"));
    let absolute = ann.send("GET", "http://evil.example/", &ann.headers("GET"), "");
    assert_eq!(absolute.status, 421);
}

/// What every answer says to the browser.
fn is_dressed(answer: &Answer, what: &str) {
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{what}: {name}");
    }
    let policy = answer.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{what}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{what}: {policy}");
    assert!(answer.header("permissions-policy").is_some(), "{what}");
    assert_eq!(answer.header("strict-transport-security"), None, "{what}");
    assert_eq!(answer.header("access-control-allow-origin"), None, "{what}");
    assert_eq!(answer.header("server"), None, "{what}");
    let cache = answer.header("cache-control").unwrap();
    let is_asset = what.starts_with("/assets/");
    assert_eq!(cache == "no-store", !is_asset, "{what}: {cache}");
    // All that the policy forbids is not there.
    for inline in ["<style", " style=", " onclick=", "javascript:", "<script>"] {
        assert!(
            !answer.text.contains(inline) || is_asset,
            "{what}: {inline}"
        );
    }
}

#[test]
fn every_answer_of_every_kind_says_what_a_browser_must_not_do() {
    let home = Home::new();
    let store = start_behind_a_proxy(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let kinds = kinds(&store, &ann);
    for (what, status, answer) in &kinds {
        assert_eq!(answer.status, *status, "{what}: {answer:?}");
        is_dressed(answer, what);
    }
    // No page's scripts or styles but our own files.
    let page = ann.get(PROFILE).text;
    for script in page.split("<script").skip(1) {
        assert!(script.starts_with(" defer src=\"/assets/"), "{script}");
    }
}

fn kinds(store: &Store, ann: &Person) -> Vec<(&'static str, u16, Answer)> {
    let nobody = Person::at(store).from("192.0.2.99");
    let mut misdirected = ann.headers("GET");
    misdirected[0].1 = "evil.example".to_owned();
    let logged_out = nobody.submit(&ann.regeneration());
    let big = "x".repeat(20_000);
    let wrong = nobody.log_in("bob@example.com", "a wrong password");
    let throttled = (0..10).map(|_| nobody.log_in("bob@example.com", "a wrong password"));
    let throttled = throttled.last().unwrap();
    let form = ann.regeneration();
    vec![
        ("the log-in", 200, nobody.get(LOGIN)),
        ("a wrong password", 403, wrong),
        ("too many of them", 429, throttled),
        ("the profile", 200, ann.get(PROFILE)),
        ("the security page", 200, ann.get(SECURITY)),
        ("a confirmation", 200, ann.get(REVOKE)),
        ("the start", 303, ann.get("/")),
        ("a page without a session", 303, nobody.get(PROFILE)),
        ("a form without a session", 403, logged_out),
        (
            "a form without its token",
            403,
            ann.submit(&Form::to("/logout")),
        ),
        ("a form that is too large", 400, nobody.log_in(&big, "")),
        ("a form that is none", 400, nobody.submit(&Form::to(LOGIN))),
        ("nothing", 404, ann.get("/nowhere")),
        ("no file", 404, ann.get("/assets/nothing.css")),
        ("a form's address", 405, ann.get(NEW_KEY)),
        ("another host", 421, ann.send("GET", "/", &misdirected, "")),
        ("the new key", 200, ann.submit(&form)),
        ("the same form", 409, ann.submit(&form)),
        ("the hour", 429, ann.get(REGENERATE)),
        ("/assets/style.css", 200, ann.get("/assets/style.css")),
        ("/assets/dashboard.js", 200, ann.get("/assets/dashboard.js")),
        ("/assets/favicon.svg", 200, ann.get("/assets/favicon.svg")),
    ]
}

#[test]
fn unknown_methods_do_nothing() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let forms = forms(&ann);
    let before = state(&home);
    for (action, form) in &forms {
        for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW", "post"] {
            let answer = ann.send(method, action, &ann.headers("POST"), &form.body());
            assert_eq!(answer.status, 405, "{method} {action}");
            assert!(!answer.text.contains(&ann.token()), "TRACE");
            let answer = ann.send(method, action, &ann.headers("GET"), "");
            assert_eq!(answer.status, 403, "{method} {action}");
        }
    }
    let tunnel = ann.begin("CONNECT", "evil.example:443", &ann.headers("POST"), "");
    assert!(answer(tunnel).status >= 400);
    assert_eq!(state(&home), before);
}
