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
use super::problem::Problem;
use super::{Dashboard, pages};
use crate::db::NewSession;
use crate::http::{discard, read_body};
use crate::published::Secrecy;

/// Bytes of randomness in a token.
const TOKEN_BYTES: usize = 32;

/// How long a browser is known in which somebody has logged in.
const DEVICE_LASTS: cookie::time::Duration = cookie::time::Duration::days(180);

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jar {
    /// Who is logged in.
    Session,
    /// That somebody has logged in in this browser before.
    Device,
}

impl Jar {
    /// With `__Host-` no other host, subdomain or plain-text page can set it
    /// (RFC 6265bis, 4.1.3.2); browsers take that over TLS only.
    fn name(self, origin: &Origin) -> &'static str {
        match (self, origin.is_secure()) {
            (Self::Session, true) => "__Host-rekey_session",
            (Self::Session, false) => "rekey_session",
            (Self::Device, true) => "__Host-rekey_device",
            (Self::Device, false) => "rekey_device",
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
pub struct Token(Zeroizing<String>);

impl Token {
    /// A new one, whatever the browser had before: a token that somebody else
    /// has planted must not become a log-in (session fixation).
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut random = Zeroizing::new([0; TOKEN_BYTES]);
        getrandom::fill(&mut *random)?;
        Ok(Self(Zeroizing::new(hex::encode(*random))))
    }

    /// What the store knows it by.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// What the forms of its session bear: it says nothing about the token.
    fn csrf(&self) -> String {
        let text = Zeroizing::new(format!("form of {}", *self.0));
        Digest::of(text.as_bytes()).to_hex()
    }

    /// The one that a request bears, if it bears one.
    pub fn of(headers: &HeaderMap, jar: Jar, origin: &Origin) -> Option<Self> {
        let name = jar.name(origin);
        let texts = headers.get_all(header::COOKIE).iter();
        let texts = texts.filter_map(|value| value.to_str().ok());
        let mut ours = texts
            .flat_map(Cookie::split_parse)
            .filter_map(|cookie| cookie.ok().filter(|cookie| cookie.name() == name));
        let found = ours.next()?;
        let is_token = found.value().len() == TOKEN_BYTES * 2;
        // Two of them: somebody plants cookies.
        (is_token && ours.next().is_none()).then(|| Self(found.value().to_owned().into()))
    }

    /// The header that gives it to the browser.
    pub fn cookie(&self, jar: Jar, origin: &Origin) -> Result<HeaderValue, Problem> {
        set_cookie(jar.cookie(origin, self.0.as_str()))
    }
}

/// The header that ends the browser's session.
pub fn no_session(origin: &Origin) -> Result<HeaderValue, Problem> {
    let mut gone = Jar::Session.cookie(origin, "");
    gone.make_removal();
    set_cookie(gone)
}

/// Both cookies of a browser in which somebody has just shown the password.
pub struct Tokens {
    /// Of the session that begins.
    pub session: Token,
    /// By which the browser is known from now on.
    pub device: Token,
}

impl Tokens {
    /// New ones.
    pub fn new() -> Result<Self, getrandom::Error> {
        Ok(Self {
            session: Token::new()?,
            device: Token::new()?,
        })
    }

    /// The headers that give them to the browser.
    pub fn cookies(
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
pub struct Session {
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
    pub fn named(&self, client: Client) -> NewSession {
        NewSession {
            digest: self.digest,
            user: self.user.clone(),
            client,
        }
    }

    /// The session that a request bears, if that is not over.
    pub async fn find(headers: &HeaderMap, dashboard: &Dashboard) -> Result<Option<Self>, Problem> {
        let settings = &dashboard.settings;
        let Some(token) = Token::of(headers, Jar::Session, &settings.origin) else {
            return Ok(None);
        };
        let digest = token.digest();
        let found = dashboard.database.session(digest, settings.limits).await?;
        Ok(found.map(|open| Self {
            user: open.user,
            email: open.email,
            csrf: token.csrf(),
            digest,
            secrecy: settings.secrecy,
        }))
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
pub struct Signed<T> {
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
pub struct Unsigned<T>(pub T);

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
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::parse(text).unwrap()
    }

    #[test]
    fn a_cookie_is_for_this_host_this_channel_and_no_script() {
        let token = Token::new().unwrap();
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
        assert!(text.starts_with("rekey_session="), "{text}");
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

    #[test]
    fn a_token_is_found_if_it_is_the_only_one() {
        let origin = origin("http://127.0.0.1:8001");
        let token = Token::new().unwrap();
        let ours = format!("rekey_session={}", *token.0);
        let other = format!("rekey_session={}", "0".repeat(64));
        let find = |cookies: &[&str]| {
            let mut headers = HeaderMap::new();
            for cookie in cookies {
                headers.append(header::COOKIE, cookie.parse().unwrap());
            }
            Token::of(&headers, Jar::Session, &origin).map(|found| found.digest() == token.digest())
        };
        assert_eq!(find(&[&ours]), Some(true));
        assert_eq!(find(&[&format!("a=b; {ours}; c=d")]), Some(true));
        assert_eq!(find(&[&other]), Some(false));
        for none in [
            &[][..],
            &["rekey_session="],
            &["rekey_session=abc"],
            &["__Host-rekey_session=abc"],
            &[&format!("{ours}; {other}")],
            &[&ours, &other],
        ] {
            assert_eq!(find(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_forms_token_is_its_sessions_own() {
        let (one, other) = (Token::new().unwrap(), Token::new().unwrap());
        assert_eq!(one.csrf(), one.csrf());
        assert_ne!(one.csrf(), other.csrf());
        assert!(!one.csrf().contains(&one.digest().to_hex()));
    }
}
