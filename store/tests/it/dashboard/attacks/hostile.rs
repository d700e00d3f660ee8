//! Text that is to become HTML, paths that are to leave, redirects that are to
//! lead elsewhere, and bodies that are no forms.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::dashboard::person::{Person, answer};
use crate::dashboard::{
    LOGIN, PASSWORD, PROFILE, REGENERATE, REVOKE, SECURITY, add_user, email, leads_to, logged_in,
    start, state,
};
use crate::process::{Answer, Home, fresh_digest, rotation};

const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>";

fn is_escaped(page: &Answer) {
    for raw in ["<script>alert", "<img", "\"'>", "<b>"] {
        assert!(!page.text.contains(raw), "{raw}: {}", page.text);
    }
}

#[test]
fn text_from_elsewhere_is_shown_as_text() {
    let home = Home::new();
    let store = start(&home);
    let user = add_user(&store, "ann");
    let mut request = rotation(&user.digest, &fresh_digest());
    request["client"] = json!({ "address": EVIL, "request_id": EVIL });
    assert_eq!(store.rotate(&request).json()["outcome"], "rotated");
    let ann = logged_in(&store, "ann");
    let sql = home.sql();
    let hint = "UPDATE keys SET hint = '<b>x' WHERE state = 'active'";
    assert_eq!(sql.execute(hint, []).unwrap(), 1);
    let address = "UPDATE users SET email = ?1";
    assert_eq!(sql.execute(address, [EVIL]).unwrap(), 1);
    sql.execute_batch("DROP TRIGGER audit_is_never_changed")
        .unwrap();
    let rest = "UPDATE audit SET hint = '<b>y', source = '<b>z', action = action || '<b>'
                WHERE action = 'login'";
    assert_eq!(sql.execute(rest, []).unwrap(), 1);
    for path in [PROFILE, SECURITY, REGENERATE, REVOKE] {
        let page = ann.get(path);
        is_escaped(&page);
        assert!(page.text.contains("&lt;script&gt;alert(1)"), "{path}");
    }
    let profile = ann.get(PROFILE);
    let masked = profile.element("masked-key");
    assert_eq!(masked, Some("sb_live_…&lt;b&gt;x"));
    assert!(profile.text.contains("login&lt;b&gt;"));
    assert!(profile.text.matches("onerror=alert(2)").count() == 2);

    let typed = ann.log_in(EVIL, "a wrong password");
    assert_eq!(typed.status, 403);
    is_escaped(&typed);
    assert!(typed.text.contains("value=\"&lt;script&gt;"));
    for path in [&format!("/{}", "%3Cscript%3Ealert(1)"), "/login?<b>\"'>"] {
        is_escaped(&Person::at(&store).get(path));
    }
}

#[test]
fn no_path_leads_to_a_file() {
    let home = Home::new();
    let store = start(&home);
    let nobody = Person::at(&store);
    for path in [
        "/assets/../../../../../../etc/passwd",
        "/assets/../rekey.db",
        "/assets/..%2f..%2f..%2f..%2fetc/passwd",
        "/assets/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/..%252f..%252fetc/passwd",
        "/assets/..%5c..%5cetc/passwd",
        "/assets/....//....//etc/passwd",
        "/assets//etc/passwd",
        "/assets/%2fetc%2fpasswd",
        "/assets/style.css/../../../etc/passwd",
        "/assets/style.css%00.js",
        "/assets/style.css/",
        "/assets/STYLE.CSS",
        "/assets/",
        "/assets",
        "/etc/passwd",
        "/../../etc/passwd",
        "//etc/passwd",
        "/settings/profile/../../assets/style.css",
        "/login/",
        "/login%2f",
    ] {
        let answer = nobody.get(path);
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("location"), None);
        assert!(!answer.text.contains("root:"), "{path}");
    }
    let style = nobody.get("/assets/style.css?../../../etc/passwd");
    assert_eq!(
        style.header("content-type"),
        Some("text/css; charset=utf-8")
    );
    assert_eq!(style.text, nobody.get("/assets/style.css").text);
}

/// Only to these, and to nowhere else.
fn stays(answer: &Answer, what: &str) {
    if let Some(to) = answer.header("location") {
        assert!([LOGIN, PROFILE].contains(&to), "{what}: {to}");
    }
    for name in ["refresh", "content-location", "link"] {
        assert_eq!(answer.header(name), None, "{what}");
    }
    assert!(!answer.text.contains("evil.example"), "{what}");
}

#[test]
fn no_redirect_leads_away() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let (ann, nobody) = (logged_in(&store, "ann"), Person::at(&store));
    for path in [
        "/login?next=https://evil.example/",
        "/login?next=//evil.example/",
        "/login?redirect=%2f%2fevil.example",
        "/?next=//evil.example/",
        "/settings?return_to=https://evil.example",
        "/settings/profile?next=https://evil.example",
        "//evil.example/",
        "///evil.example/",
        "/%2f%2fevil.example",
        "/%5cevil.example",
        "/.evil.example",
        "/@evil.example",
        "/login//evil.example",
    ] {
        for person in [&ann, &nobody] {
            stays(&person.get(path), path);
            for (name, value) in [
                ("x-forwarded-host", "evil.example"),
                ("x-original-url", "//evil.example/"),
                ("x-forwarded-proto", "https"),
                ("referer", "https://evil.example/"),
            ] {
                let mut headers = person.headers("GET");
                headers.push((name, value.to_owned()));
                stays(&person.send("GET", path, &headers, ""), path);
            }
        }
    }
    let body = format!(
        "email={}&password={PASSWORD}&next=//evil.example/",
        email("ann")
    );
    let path = "/login?next=https://evil.example/";
    let answer = nobody.send("POST", path, &nobody.headers("POST"), &body);
    leads_to(&answer, PROFILE);
}

#[test]
fn a_body_that_is_no_form_or_too_large_is_refused() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration();
    let before = state(&home);
    let json = format!(r#"{{"email":"ann@example.com","password":"{PASSWORD}"}}"#);
    let multipart = "--x\r\ncontent-disposition: form-data; name=\"email\"\r\n\r\na@b\r\n--x--\r\n";
    let large = format!("email=a%40b&password={}", "x".repeat(17_000));
    let twice = "email=a%40b&email=c%40d&password=x";
    for body in [
        &json,
        multipart,
        &large,
        twice,
        "",
        "&&&",
        "email=a%40b",
        "\0",
    ] {
        let answer = ann.send("POST", LOGIN, &ann.headers("POST"), body);
        assert_eq!(answer.status, 400, "{body:.60}");
        assert!(answer.error().contains("Nothing was changed"));
    }
    let padded = format!("{}&more={}", form.body(), "x".repeat(17_000));
    let answer = ann.send("POST", REGENERATE, &ann.headers("POST"), &padded);
    assert_eq!(answer.status, 400);
    assert_eq!(state(&home), before);
    assert_eq!(ann.submit(&form).status, 200);
}

#[test]
fn a_body_that_never_ends_is_answered_in_good_time() {
    let home = Home::new();
    let store = start(&home);
    add_user(&store, "ann");
    let ann = logged_in(&store, "ann");
    let form = ann.regeneration().body();
    let before = state(&home);
    let began = Instant::now();
    let mut streams = Vec::new();
    for (path, body) in [(LOGIN, "email=a%40b&password=x"), (REGENERATE, &form)] {
        let mut headers = ann.headers("POST");
        headers.push(("transfer-encoding", "chunked".to_owned()));
        let mut stream = ann.begin("POST", path, &headers, "");
        write!(stream, "{:x}\r\n{body}\r\n", body.len()).unwrap();
        streams.push(stream);
    }
    for stream in streams {
        assert_eq!(answer(stream).status, 400);
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(state(&home), before);
}

/// A connection that is closed with bytes unread is reset, and the reset may
/// destroy the answer.
#[test]
fn a_refused_form_is_read_to_its_end() {
    let home = Home::new();
    let store = start(&home);
    let nobody = Person::at(&store);
    let body = "x".repeat(1000);
    let strangers = vec![nobody.headers("POST")[0].clone()];
    for headers in [nobody.headers("POST"), strangers] {
        let mut text = format!("POST {REGENERATE} HTTP/1.1\r\ncontent-length: 1000\r\n");
        for (name, value) in &headers {
            text += &format!("{name}: {value}\r\n");
        }
        let address = nobody.origin.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "{text}\r\n").unwrap();
        // What is not read by then would be left unread.
        std::thread::sleep(Duration::from_millis(50));
        let next = format!("GET {LOGIN} HTTP/1.1\r\nconnection: close\r\n");
        let host = &headers[0].1;
        write!(stream, "{body}{next}host: {host}\r\n\r\n").unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert!(answers.starts_with("HTTP/1.1 403 "), "{answers}");
        assert!(answers.contains("HTTP/1.1 200 "), "{answers}");
    }
}
