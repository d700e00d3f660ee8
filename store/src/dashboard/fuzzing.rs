//! A door for the fuzz targets (`fuzz/`) to what reads a stranger's request
//! before a handler sees it. Behind a feature, so that nothing else can name it.

use std::net::IpAddr;

use axum::body::to_bytes;
use axum::http::{HeaderMap, StatusCode};
use futures_util::FutureExt as _;
use rekey_protocol::Digest;
use serde::de::DeserializeOwned;

use super::access::client;
use super::access::session::{CookieToken, Jar};
use super::handlers::{key, login, security};
use super::pages;

pub use super::access::origin::{BadOrigin, Origin};

/// Who the client is, behind so many trusted proxies.
pub fn forwarded(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    client::forwarded(headers, hops)
}

/// The sessions that a request's cookies name.
pub fn session_cookies(headers: &HeaderMap, origin: &Origin) -> Vec<Digest> {
    let tokens = CookieToken::all(headers, Jar::Session, origin);
    tokens.iter().map(CookieToken::digest).collect()
}

/// How many of the dashboard's forms a body can be read as.
pub fn forms(body: &[u8]) -> usize {
    fn is<T: DeserializeOwned>(body: &[u8]) -> usize {
        serde_urlencoded::from_bytes::<T>(body).is_ok().into()
    }
    is::<login::LoginForm>(body)
        + is::<key::MakeForm>(body)
        + is::<key::RevokeForm>(body)
        + is::<security::PasswordForm>(body)
}

/// The log-in page, with the address that was typed before.
pub fn login_page(email: &str) -> Option<String> {
    let page = pages::login::page(StatusCode::FORBIDDEN, email, Some(pages::login::WRONG));
    // The page is in memory: there is nothing to wait for.
    let body = to_bytes(page.into_body(), usize::MAX)
        .now_or_never()?
        .ok()?;
    String::from_utf8(body.to_vec()).ok()
}
