//! Tokens, cookies and forms of sessions.

use super::*;

fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap()
}

#[test]
fn a_cookie_is_for_this_host_this_channel_and_no_script() {
    let token = CookieToken::new().unwrap();
    let shown = |text| token.cookie(Jar::Session, &origin(text)).unwrap();
    let secure = shown("https://keys.example.com");
    let text = secure.to_str().unwrap();
    assert!(secure.is_sensitive());
    assert!(text.starts_with("__Host-rekey_session="), "{text}");
    assert!(
        text.ends_with("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{text}"
    );
    let local = shown("http://127.0.0.1:8001");
    let text = local.to_str().unwrap();
    assert!(text.starts_with("rekey_session_8001="), "{text}");
    assert!(text.ends_with("; HttpOnly; SameSite=Lax; Path=/"), "{text}");
    let device = token.cookie(Jar::Device, &origin("https://keys.example.com"));
    let text = device.unwrap();
    let text = text.to_str().unwrap();
    assert!(text.starts_with("__Host-rekey_device="), "{text}");
    assert!(
        text.contains("; HttpOnly; SameSite=Lax; Secure; Path=/"),
        "{text}"
    );
    assert!(text.contains("Max-Age=15552000"), "{text}");
}

/// Which of the tokens each request bears: the headers are its cookies.
fn found(cookies: &[&[u8]], of: &[&CookieToken]) -> Vec<Option<usize>> {
    let origin = origin("http://127.0.0.1:8001");
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        let value = HeaderValue::from_bytes(cookie).unwrap();
        headers.append(header::COOKIE, value);
    }
    let which = |found: &CookieToken| of.iter().position(|known| known.digest() == found.digest());
    let all = CookieToken::all(&headers, Jar::Session, &origin);
    all.iter().map(which).collect()
}

#[test]
fn tokens_are_found_among_all_cookies() {
    let (one, two) = (&CookieToken::new().unwrap(), &CookieToken::new().unwrap());
    let cookie = |token: &CookieToken| format!("rekey_session_8001={}", *token.0).into_bytes();
    let (ours, other) = (cookie(one), cookie(two));
    let of = [one, two];
    let joined = |parts: &[&[u8]]| parts.concat();
    assert_eq!(found(&[&ours], &of), [Some(0)]);
    let among = joined(&[b"a=b; ", &ours, b"; c=d"]);
    assert_eq!(found(&[&among], &of), [Some(0)]);
    // Two cookies are two tokens, but one that comes twice is one.
    let twice = joined(&[&ours, b"; ", &other, b"; ", &ours]);
    assert_eq!(found(&[&twice], &of), [Some(0), Some(1)]);
    assert_eq!(found(&[&other, &ours], &of), [Some(1), Some(0)]);
    let unfit: [&[u8]; 6] = [
        b"rekey_session_8001=",
        b"rekey_session_8001=abc",
        b"rekey_session_8001",
        b"__Host-rekey_session_8001=abc",
        b";;=;",
        &[b"rekey_session_8001=".as_slice(), &[b'z'; 64]].concat(),
    ];
    for none in unfit {
        assert_eq!(found(&[none], &of), []);
        assert_eq!(found(&[none, &ours], &of), [Some(0)]);
    }
    let many: Vec<_> = (0..9)
        .map(|_| cookie(&CookieToken::new().unwrap()))
        .collect();
    let many: Vec<_> = many.iter().map(Vec::as_slice).collect();
    assert_eq!(found(&many, &of).len(), TOKENS_MOST);
}

#[test]
fn a_foreign_cookie_in_any_encoding_hides_none_of_ours() {
    let one = &CookieToken::new().unwrap();
    let ours = format!("rekey_session_8001={}", *one.0).into_bytes();
    let foreign: [&[u8]; 6] = [
        "theme=d\u{fc}nkel".as_bytes(),
        b"theme=d\xfcnkel",
        b"\xff\xfe=\x80\x81",
        b"json={\"a\":\"\xc3\"}",
        b"a=b=c==; \xa0",
        b"quoted=\"\xe4;\xf6\"",
    ];
    for foreign in foreign {
        for parts in [[foreign, &ours], [&ours, foreign]] {
            assert_eq!(found(&[&parts.join(&b"; "[..])], &[one]), [Some(0)]);
            assert_eq!(found(&parts, &[one]), [Some(0)]);
        }
    }
}

#[test]
fn each_dashboard_of_a_host_has_cookies_of_its_own() {
    let names = |text| [Jar::Session, Jar::Device].map(|jar| jar.name(&origin(text)));
    let of = |prefix: &str, suffix: &str| {
        ["session", "device"].map(|jar| format!("{prefix}rekey_{jar}{suffix}"))
    };
    assert_eq!(names("https://a.example"), of("__Host-", ""));
    assert_eq!(names("https://a.example:8443"), of("__Host-", "_8443"));
    assert_eq!(names("http://127.0.0.1:8001"), of("", "_8001"));
    assert_eq!(names("http://[::1]:8002"), of("", "_8002"));
    assert_eq!(names("http://[::1]"), of("", ""));
    // Another's token is none of ours.
    let token = CookieToken::new().unwrap();
    let mut headers = HeaderMap::new();
    let cookie = format!("rekey_session_8001={}", *token.0);
    headers.insert(header::COOKIE, cookie.parse().unwrap());
    for (at, count) in [("8001", 1), ("8002", 0), ("80", 0)] {
        let origin = origin(&format!("http://127.0.0.1:{at}"));
        assert_eq!(
            CookieToken::all(&headers, Jar::Session, &origin).len(),
            count
        );
    }
}

#[test]
fn a_forms_token_is_its_sessions_own() {
    let (one, other) = (CookieToken::new().unwrap(), CookieToken::new().unwrap());
    assert_eq!(one.csrf(), one.csrf());
    assert_ne!(one.csrf(), other.csrf());
    assert!(!one.csrf().contains(&one.digest().to_hex()));
}
