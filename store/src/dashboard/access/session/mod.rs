//! The session of a browser: its cookies, the token in every form that proves
//! that the form is of this session, and the reading of such forms.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use cookie::{Cookie, SameSite};
use rekey_protocol::{Client, Digest, UserId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::client::ClientAddress;
use super::origin::Origin;
use crate::dashboard::problem::Problem;
use crate::dashboard::{Dashboard, pages};
use crate::engine::Engine;
use crate::http::{discard, read_body};
use crate::operations::users::sessions::{FindSession, NewSession, TouchSession};
use crate::server::published::Secrecy;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// Tokens of one request that are looked at: more are somebody's nonsense.
const TOKENS_MOST: usize = 4;

/// How long a browser is known in which somebody has logged in.
const DEVICE_LASTS: cookie::time::Duration = cookie::time::Duration::days(180);

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jar {
    /// Who is logged in.
    Session,
    /// That somebody has logged in in this browser before.
    Device,
}

impl Jar {
    /// With `__Host-` no other host, subdomain or plain-text page can set it
    /// (RFC 6265bis, 4.1.3.2); browsers take that over TLS only.
    ///
    /// The port is in the name, because browsers send a host's cookies to all its
    /// ports: two dashboards on one host would end each other's log-ins.
    fn name(self, origin: &Origin) -> String {
        let channel = if origin.is_secure() { "__Host-" } else { "" };
        let jar = match self {
            Self::Session => "rekey_session",
            Self::Device => "rekey_device",
        };
        match origin.port() {
            Some(port) => format!("{channel}{jar}_{port}"),
            None => format!("{channel}{jar}"),
        }
    }

    fn cookie<'a>(self, origin: &Origin, value: &'a str) -> Cookie<'a> {
        let cookie = Cookie::build((self.name(origin), value))
            .path("/")
            .http_only(true)
            .secure(origin.is_secure())
            .same_site(SameSite::Lax);
        match self {
            Self::Session => cookie.build(),
            Self::Device => cookie.max_age(DEVICE_LASTS).build(),
        }
    }
}

/// What only the browser knows.
pub(crate) struct CookieToken(Zeroizing<String>);

impl CookieToken {
    /// A new one, whatever the browser had before: a token that somebody else
    /// has planted must not become a log-in (session fixation).
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; TOKEN_BYTES]);
        getrandom::fill(&mut *random)?;
        Ok(Self(Zeroizing::new(hex::encode(*random))))
    }

    /// What the store knows it by.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// What the forms of its session bear: it says nothing about the token.
    fn csrf(&self) -> String {
        let text = Zeroizing::new(format!("form of {}", *self.0));
        Digest::of(text.as_bytes()).to_hex()
    }

    /// Those that a request bears under our name, each once, in their order.
    ///
    /// The headers are read as bytes: they also carry the cookies of everybody
    /// else on this host, in whatever encoding, and those say nothing about ours.
    /// There may be several of ours, because another path or another program on
    /// this host may have set one; [`Session::find`] tells which of them counts.
    pub(crate) fn all(headers: &HeaderMap, jar: Jar, origin: &Origin) -> Vec<Self> {
        let name = jar.name(origin);
        let mut found: Vec<Self> = Vec::new();
        for header in headers.get_all(header::COOKIE) {
            for cookie in header.as_bytes().split(|byte| *byte == b';') {
                let token = Self::of(cookie, name.as_bytes());
                let is_new = |token: &Self| found.iter().all(|known| known.0 != token.0);
                found.extend(token.filter(is_new));
            }
        }
        found.truncate(TOKENS_MOST);
        found
    }

    /// The one of a cookie with that name.
    fn of(cookie: &[u8], name: &[u8]) -> Option<Self> {
        let equals = cookie.iter().position(|byte| *byte == b'=')?;
        let (found, value) = cookie.split_at_checked(equals)?;
        let value = value.get(1..)?.trim_ascii();
        let is_token = value.len() == TOKEN_BYTES * 2 && value.iter().all(u8::is_ascii_hexdigit);
        if found.trim_ascii() != name || !is_token {
            return None;
        }
        let text = std::str::from_utf8(value).ok()?;
        Some(Self(text.to_owned().into()))
    }

    /// The header that gives it to the browser.
    pub(crate) fn cookie(&self, jar: Jar, origin: &Origin) -> Result<HeaderValue, Problem> {
        set_cookie(jar.cookie(origin, self.0.as_str()))
    }
}

/// The header that ends the browser's session.
pub(crate) fn no_session(origin: &Origin) -> Result<HeaderValue, Problem> {
    let mut gone = Jar::Session.cookie(origin, "");
    gone.make_removal();
    set_cookie(gone)
}

/// Both cookies of a browser in which somebody has just shown the password.
pub(crate) struct CookieTokens {
    /// Of the session that begins.
    pub session: CookieToken,
    /// By which the browser is known from now on.
    pub device: CookieToken,
}

impl CookieTokens {
    /// New ones.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            session: CookieToken::new()?,
            device: CookieToken::new()?,
        })
    }

    /// The headers that give them to the browser.
    pub(crate) fn cookies(
        &self,
        origin: &Origin,
    ) -> Result<AppendHeaders<[(HeaderName, HeaderValue); 2]>, Problem> {
        let session = self.session.cookie(Jar::Session, origin)?;
        let device = self.device.cookie(Jar::Device, origin)?;
        Ok(AppendHeaders(
            [session, device].map(|cookie| (header::SET_COOKIE, cookie)),
        ))
    }
}

fn set_cookie(cookie: Cookie<'_>) -> Result<HeaderValue, Problem> {
    let mut value = HeaderValue::from_str(&cookie.to_string()).map_err(|_| Problem::Fault)?;
    value.set_sensitive(true);
    Ok(value)
}

/// A browser that is logged in.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Who.
    pub user: UserId,
    /// The user's address, as it is shown.
    pub email: String,
    /// What the forms bear.
    pub csrf: String,
    /// Of the token.
    pub digest: Digest,
    /// What the store's secrets are worth.
    pub secrecy: Secrecy,
}

impl Session {
    /// The session as the database takes it.
    pub(crate) fn named(&self, client: Client) -> NewSession {
        NewSession {
            digest: self.digest,
            user: self.user.clone(),
            client,
        }
    }

    /// The session that a request bears, if that is not over.
    ///
    /// Of several cookies, those whose session is over do not count. If then two
    /// users are left, somebody has planted one, and nobody is logged in. The next
    /// log-in ends them all.
    pub(crate) async fn find(
        headers: &HeaderMap,
        dashboard: &Dashboard,
    ) -> Result<Option<Self>, Problem> {
        let settings = &dashboard.settings;
        let mut found: Option<Self> = None;
        for token in CookieToken::all(headers, Jar::Session, &settings.origin) {
            let digest = token.digest();
            let limits = settings.limits;
            let open = dashboard
                .store
                .engine()
                .read(FindSession { digest, limits });
            let open = open.await?;
            if open.as_ref().is_some_and(|open| open.is_touch_due)
                && let Err(error) = dashboard.store.engine().run(TouchSession(digest)).await
            {
                tracing::warn!(%error, "a session may end early");
            }
            match (open, &found) {
                (Some(open), Some(first)) if open.user != first.user => return Ok(None),
                (Some(open), None) => {
                    found = Some(Self {
                        user: open.user,
                        email: open.email,
                        csrf: token.csrf(),
                        digest,
                        secrecy: settings.secrecy,
                    });
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

impl FromRequestParts<Dashboard> for Session {
    type Rejection = Response;

    async fn from_request_parts(
        parts: &mut Parts,
        dashboard: &Dashboard,
    ) -> Result<Self, Response> {
        let found = Self::find(&parts.headers, dashboard).await;
        match found.map_err(IntoResponse::into_response)? {
            Some(session) => Ok(session),
            None if parts.method == Method::GET || parts.method == Method::HEAD => {
                Err(Redirect::to("/login").into_response())
            }
            None => Err(pages::login::logged_out()),
        }
    }
}

/// A form that this session was given, and where it came from.
pub(crate) struct Signed<T> {
    /// Whose.
    pub session: Session,
    /// What it says.
    pub form: T,
    /// From where.
    pub client: Client,
}

#[derive(Deserialize)]
struct Csrf {
    csrf: String,
}

impl<T: DeserializeOwned> FromRequest<Dashboard> for Signed<T> {
    type Rejection = Response;

    async fn from_request(request: Request, dashboard: &Dashboard) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let session = match Session::from_request_parts(&mut parts, dashboard).await {
            Ok(session) => session,
            Err(refusal) => {
                discard(body).await;
                return Err(refusal);
            }
        };
        let Ok(address) = ClientAddress::from_request_parts(&mut parts, dashboard).await;
        let body = read(Request::from_parts(parts, body)).await;
        let body = body.map_err(IntoResponse::into_response)?;
        let csrf: Result<Csrf, _> = serde_urlencoded::from_bytes(&body);
        let is_ours =
            csrf.is_ok_and(|form| bool::from(form.csrf.as_bytes().ct_eq(session.csrf.as_bytes())));
        if !is_ours {
            return Err(Problem::OtherSite.into_response());
        }
        let form = serde_urlencoded::from_bytes(&body);
        Ok(Self {
            session,
            form: form.map_err(|_| Problem::BadForm.into_response())?,
            client: address.client(),
        })
    }
}

/// A form of a browser that has no session yet.
pub(crate) struct Unsigned<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Dashboard> for Unsigned<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &Dashboard) -> Result<Self, Problem> {
        let form = serde_urlencoded::from_bytes(&read(request).await?);
        form.map(Self).map_err(|_| Problem::BadForm)
    }
}

/// A form's text. Wiped when dropped: there may be a password in it.
async fn read(request: Request) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let body = read_body(request.into_body()).await;
    Ok(Zeroizing::new(body.map_err(|_| Problem::BadForm)?))
}

#[cfg(test)]
mod tests;
