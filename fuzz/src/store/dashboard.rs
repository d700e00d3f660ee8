//! What a browser, or something that says it is one, sends to the dashboard:
//! host, origin, cookies, addresses, forms, and what is shown of them again.

use std::net::SocketAddr;

use arbitrary::{Result, Unstructured};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Uri, header};
use rekey_protocol::Digest;
use rekey_store::accounts::email::Email;
use rekey_store::dashboard::fuzzing::{Origin, forms, forwarded, login_page, session_cookies};

const OURS: [&str; 3] = [
    "https://keys.example.com",
    "https://keys.example.com:8443",
    "http://127.0.0.1:8001",
];

/// The first byte says which, the rest is the text, or several.
pub fn dashboard(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    match kind % 6 {
        0 => drop(std::str::from_utf8(rest).map(origin)),
        1 => drop(std::str::from_utf8(rest).map(email)),
        2 => drop(request(Unstructured::new(rest))),
        3 => drop(cookies(Unstructured::new(rest))),
        4 => drop(addresses(Unstructured::new(rest))),
        _ => drop(forms(rest)),
    }
}

fn origin(text: &str) {
    let listening = text.parse().ok().filter(|at: &SocketAddr| {
        let is_scoped = matches!(at, SocketAddr::V6(at) if at.scope_id() > 0);
        at.ip().is_loopback() && at.port() > 0 && !is_scoped
    });
    if let Some(listening) = listening {
        // As a browser that is sent there names it.
        let ours = Origin::of_loopback(listening);
        assert_eq!(Origin::parse(ours.as_str()), Ok(ours));
    }
    let Ok(origin) = Origin::parse(text) else {
        return;
    };
    let normal = origin.as_str();
    assert_eq!(Origin::parse(normal).as_ref(), Ok(&origin), "{text}");
    assert!(normal.is_ascii() && !normal.contains(['@', '?', '#', ' ']));
    assert_eq!(normal.matches('/').count(), 2, "{normal}");
    let local = ["localhost", "127.", "[::1]"];
    let local = local.iter().any(|host| normal[7..].starts_with(host));
    assert!(origin.is_secure() || local, "{normal} without TLS");
}

/// An address, and the page that shows what was typed.
fn email(text: &str) {
    if let Ok(email) = text.parse::<Email>() {
        assert_eq!(email.as_str(), text);
        let odd = |c: char| c.is_whitespace() || c.is_control() || "<>\",".contains(c);
        assert!(text.len() <= 254 && !text.contains(odd));
    }
    let (plain, page) = (login_page("x").unwrap(), login_page(text).unwrap());
    if !text.is_empty() {
        // Nothing that is typed makes a tag or an attribute.
        for mark in ['<', '>', '"', '='] {
            let typed = if mark == '=' {
                text.matches('=').count()
            } else {
                0
            };
            let (shown, expected) = (page.matches(mark), plain.matches(mark));
            assert_eq!(shown.count(), expected.count() + typed, "{mark}");
        }
    }
}

fn headers(input: &mut Unstructured<'_>, name: &'static str) -> Result<(HeaderMap, Vec<Vec<u8>>)> {
    let (mut headers, mut values) = (HeaderMap::new(), Vec::new());
    for _ in 0..input.int_in_range(1..=3)? {
        let value = input.arbitrary::<&[u8]>()?;
        if let Ok(header) = HeaderValue::from_bytes(value) {
            headers.append(name, header);
            values.push(value.to_vec());
        }
    }
    Ok((headers, values))
}

/// Host and origin: a request of another page must not pass for one of ours.
fn request(mut input: Unstructured<'_>) -> Result<()> {
    let origin = Origin::parse(input.choose(&OURS)?).unwrap();
    let (mut all, hosts) = headers(&mut input, "host")?;
    let (origins, sent) = headers(&mut input, "origin")?;
    all.extend(origins);
    let uri = Uri::try_from(input.take_rest()).unwrap_or_default();
    let authority = uri
        .authority()
        .map(|authority| authority.as_str().to_owned());
    let mut request: Parts = Request::new(()).into_parts().0;
    (request.headers, request.uri) = (all, uri);
    let (_, host) = origin.as_str().split_once("//").unwrap();
    // The scheme's own port can be named; behind another one, too, which no
    // browser does and which is nobody's name.
    let with_port = format!("{host}:{}", if origin.is_secure() { 443 } else { 80 });
    let is_ours = |text: &[u8]| {
        let names = [host, with_port.as_str()];
        names
            .iter()
            .any(|name| text.eq_ignore_ascii_case(name.as_bytes()))
    };
    let authority = authority.as_ref().map(|authority| authority.as_bytes());
    if origin.is_host_of(&request) {
        assert!(hosts.len() <= 1 && hosts.iter().all(|host| is_ours(host)));
        assert!(authority.is_none_or(is_ours));
        assert!(!hosts.is_empty() || authority.is_some());
    }
    assert_eq!(origin.sent(&request), sent == [origin.as_str().as_bytes()]);
    Ok(())
}

/// The tokens of sessions: each of a cookie under our name, whatever else is there.
fn cookies(mut input: Unstructured<'_>) -> Result<()> {
    let origin = Origin::parse(input.choose(&OURS)?).unwrap();
    let (headers, values) = headers(&mut input, header::COOKIE.as_str())?;
    let name: &[u8] = match origin.as_str() {
        "https://keys.example.com" => b"__Host-rekey_session",
        "https://keys.example.com:8443" => b"__Host-rekey_session_8443",
        _ => b"rekey_session_8001",
    };
    let found = session_cookies(&headers, &origin);
    if !found.is_empty() {
        let named = |value: &Vec<u8>| value.windows(name.len()).any(|part| part == name);
        assert!(values.iter().any(named));
    }
    // Nothing that others have put before it hides the cookie that we have set.
    let mut with_ours = headers.clone();
    let cookie = [name, b"=", &[b'0'; 64]].concat();
    with_ours.append(header::COOKIE, HeaderValue::from_bytes(&cookie).unwrap());
    let after = session_cookies(&with_ours, &origin);
    assert!(after.starts_with(&found));
    assert!(after.contains(&Digest::of(&[b'0'; 64])) || found.len() == 4);
    Ok(())
}

/// Who the client is: what it says itself does not change what our proxies say.
fn addresses(mut input: Unstructured<'_>) -> Result<()> {
    let hops = input.int_in_range(0..=3)?;
    let (ours, values) = headers(&mut input, "x-forwarded-for")?;
    let found = forwarded(&ours, hops);
    assert!(hops > 0 || found.is_none(), "nobody is believed");
    if found.is_some() {
        let forged = HeaderValue::from_bytes(input.take_rest());
        let mut before = HeaderMap::new();
        before.extend(forged.into_iter().map(|value| (FORWARDED, value)));
        for value in values {
            before.append(FORWARDED, HeaderValue::from_bytes(&value).unwrap());
        }
        assert_eq!(forwarded(&before, hops), found);
    }
    Ok(())
}

const FORWARDED: header::HeaderName = header::HeaderName::from_static("x-forwarded-for");
