//! The pages: facts in, HTML out. All text that comes from elsewhere passes
//! maud's escaping.

mod events;
pub(super) mod key;
pub(super) mod login;
pub(super) mod security;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use rekey_protocol::ApiKey;
use zeroize::Zeroizing;

use super::access::session::Session;
use super::assets;
use crate::clock::UnixMillis;
use crate::server::published::Secrecy;

const HTML: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/html; charset=utf-8");
/// Where a key goes into a page. No escaped text can be it.
const KEY_PLACE: &str = "<!--key-->";

/// What everybody has to know whose key such a store keeps.
const PUBLISHED: &str = "This is a demonstration: the store runs with secrets that everybody \
    can read in Rekey's documents. Keep no key here that is worth anything.";

/// Which of the settings a page is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tab {
    Profile,
    Security,
}

/// A page of somebody who is logged in.
fn settings(session: &Session, tab: Tab, title: &str, content: &Markup) -> Markup {
    let link = |to: Tab, path: &str, name: &str| {
        html! { a href=(path) aria-current=[(to == tab).then_some("page")] { (name) } }
    };
    let name = match tab {
        Tab::Profile => "Profile",
        Tab::Security => "Security",
    };
    let body = html! {
        header.top {
            a.brand href="/" { "Rekey" }
            span.who title="Logged in as" { (session.email) }
            form method="post" action="/logout" {
                (csrf(session))
                button #logout.quiet type="submit" { "Log out" }
            }
        }
        div.columns {
            nav aria-label="Settings" {
                p.nav-title { "Settings" }
                (link(Tab::Profile, "/settings/profile", "Profile"))
                (link(Tab::Security, "/settings/security", "Security"))
            }
            main #main {
                p.crumbs { "Settings → " (name) }
                @if session.secrecy == Secrecy::Published {
                    p #published.error role="alert" { (PUBLISHED) }
                }
                h1 { (title) }
                (content)
            }
        }
    };
    document(title, &body)
}

/// A page of somebody who is not.
fn outside(title: &str, content: &Markup) -> Markup {
    let body = html! {
        header.top { a.brand href="/" { "Rekey" } }
        main #main.narrow {
            h1 { (title) }
            (content)
        }
    };
    document(title, &body)
}

fn document(title: &str, body: &Markup) -> Markup {
    let asset = |name| format!("/assets/{name}?{}", assets::version());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · Rekey" }
                link rel="icon" type="image/svg+xml" href=(asset("favicon.svg"));
                link rel="stylesheet" href=(asset("style.css"));
                script defer src=(asset("dashboard.js")) {}
            }
            body {
                a.skip href="#main" { "Skip to content" }
                (body)
            }
        }
    }
}

fn respond(status: StatusCode, page: Markup) -> Response {
    (status, [HTML], page.into_string()).into_response()
}

/// A page with a key at [`KEY_PLACE`]. It is put in last, into memory that is
/// wiped when it has been sent, and never moves before (I6).
fn respond_with_key(page: Markup, key: &ApiKey) -> Response {
    let page = page.into_string();
    let (before, after) = page.split_once(KEY_PLACE).unwrap_or((&page, ""));
    let parts = [before, key.expose(), after].map(str::as_bytes);
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.map(<[u8]>::len).iter().sum()));
    for part in parts {
        whole.extend_from_slice(part);
    }
    let body = Body::from(Bytes::from_owner(whole));
    (StatusCode::OK, [HTML], body).into_response()
}

/// Says when to come again (RFC 9110, 10.2.3).
pub(super) fn retry_after(mut response: Response, seconds: u64) -> Response {
    let seconds = HeaderValue::from(seconds);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// What went wrong, to whomever. `elsewhere` is the address that is the right one.
pub(super) fn problem(
    status: StatusCode,
    title: &str,
    text: &str,
    elsewhere: Option<&str>,
) -> Response {
    let content = html! {
        (error(text))
        p {
            @match elsewhere {
                Some(origin) => a href=(origin) { (origin) },
                None => a href="/" { "To the start" },
            }
        }
    };
    respond(status, outside(title, &content))
}

fn error(text: &str) -> Markup {
    html! { p #error.error role="alert" { (text) } }
}

fn notice(text: &str) -> Markup {
    html! { p #notice.notice role="status" { (text) } }
}

fn csrf(session: &Session) -> Markup {
    hidden("csrf", &session.csrf)
}

fn hidden(name: &str, value: &str) -> Markup {
    html! { input type="hidden" name=(name) value=(value); }
}

/// A moment as people read it, in UTC; the rest is for programs.
fn time(at: &str) -> Markup {
    let shown = at.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(at) { (shown) } }
}

/// The hour that begins at this moment, as people read it, in UTC.
fn hour(from: &str) -> Markup {
    let parts = from.split_once('T').and_then(|(day, time)| {
        let hour: u8 = time.get(..2)?.parse().ok()?;
        Some((day, hour))
    });
    match parts {
        Some((day, hour)) => {
            let shown = format!("{day}, between {hour:02}:00 and {:02}:00 UTC", hour + 1);
            html! { time datetime=(from) { (shown) } }
        }
        None => time(from),
    }
}

/// "in 59:12 (at …)", which counts down where there is JavaScript.
fn countdown(seconds: u64) -> Markup {
    let at = UnixMillis::wall().plus(std::time::Duration::from_secs(seconds));
    html! {
        "in " span data-countdown=(seconds) { (clock(seconds)) }
        " (at " (time(&at.rfc3339())) ")"
    }
}

fn clock(seconds: u64) -> String {
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}

fn here(text: &'static str) -> PreEscaped<&'static str> {
    PreEscaped(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_is_put_into_its_place() {
        let key = ApiKey::parse(b"sb_live_0123456789abcdefghijklmnopqrstuv").unwrap();
        let page = html! { p { (KEY_PLACE) } code { (here(KEY_PLACE)) } };
        let response = respond_with_key(page, &key);
        let body = axum::body::to_bytes(response.into_body(), 1000).await;
        assert_eq!(
            body.unwrap(),
            "<p>&lt;!--key--&gt;</p><code>sb_live_0123456789abcdefghijklmnopqrstuv</code>"
        );
    }

    #[test]
    fn times_are_for_people() {
        assert_eq!(
            time("2025-01-31T16:00:00Z").into_string(),
            "<time datetime=\"2025-01-31T16:00:00Z\">2025-01-31 16:00:00 UTC</time>"
        );
        assert_eq!(
            hour("2025-01-31T23:00:00Z").into_string(),
            "<time datetime=\"2025-01-31T23:00:00Z\">2025-01-31, between 23:00 and 24:00 UTC</time>"
        );
        assert_eq!(clock(3600), "60:00");
        assert_eq!(clock(61), "01:01");
    }
}
