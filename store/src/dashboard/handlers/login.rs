//! Logging in and out. Whether an account exists shows neither in the answer
//! nor in the time that it takes: one argon2id evaluation for every try that
//! is not throttled.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use rekey_protocol::{Client, UserId};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::dashboard::access::client::ClientAddress;
use crate::dashboard::access::session::{
    CookieToken, CookieTokens, Jar, Session, Signed, Unsigned, no_session,
};
use crate::dashboard::access::throttle::Who;
use crate::dashboard::pages::{login as pages, retry_after};
use crate::dashboard::problem::Problem;
use crate::dashboard::{Dashboard, PROFILE};
use crate::accounts::password::{For, HashError, Password, Spelling, StoredHash};
use crate::accounts::typed;
use crate::engine::Engine;
use crate::operations::audit::{NoteRefused, Tried};
use crate::operations::users::passwords::FindAccount;
use crate::operations::users::sessions::{LogIn, LogOut, LogOutScope, NewSession};

/// The form.
#[derive(Deserialize)]
pub(crate) struct LoginForm {
    email: String,
    password: Zeroizing<String>,
}

/// A form with a button only.
#[derive(Deserialize)]
pub(crate) struct Button {}

/// `GET /login`
pub(crate) async fn page(
    State(dashboard): State<Dashboard>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    match Session::find(&headers, &dashboard).await? {
        Some(_) => Ok(Redirect::to(PROFILE).into_response()),
        None => Ok(pages::page(StatusCode::OK, "", None)),
    }
}

/// `POST /login`
pub(crate) async fn log_in(
    State(dashboard): State<Dashboard>,
    address: ClientAddress,
    headers: HeaderMap,
    Unsigned(form): Unsigned<LoginForm>,
) -> Result<Response, Problem> {
    let (metrics, origin) = (&dashboard.metrics, &dashboard.settings.origin);
    let email = form.email.trim();
    let digests = |jar| {
        let tokens = CookieToken::all(&headers, jar, origin);
        tokens.iter().map(CookieToken::digest).collect::<Vec<_>>()
    };
    let find = FindAccount {
        email: email.to_owned(),
        devices: digests(Jar::Device),
    };
    let account = dashboard.store.engine().read(find).await?;
    let former_device = account.as_ref().and_then(|account| account.known_device);
    let known = account.as_ref().filter(|_| former_device.is_some());
    let (who, whom) = match known {
        Some(account) => (Who::Known(&account.user), For::Known),
        None => (Who::Stranger(email, address.0), For::Stranger),
    };
    if let Err(seconds) = dashboard.throttle.allow(who) {
        metrics.login("throttled");
        return Ok(throttled(email, seconds));
    }
    let (user, hash) = account.map_or((None, None), |account| (Some(account.user), account.hash));
    let is_right = dashboard
        .passwords
        .verify(hash.as_ref(), &form.password, whom);
    let is_right = match is_right.await {
        Err(HashError::Busy) => {
            metrics.login("busy");
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Ok(pages::page(status, email, Some(pages::BUSY)));
        }
        is_right => is_right?,
    };
    if let (Some(user), Some(hash), true) = (&user, hash, is_right) {
        let tokens = CookieTokens::new()?;
        let log_in = LogIn {
            session: NewSession {
                digest: tokens.session.digest(),
                user: user.clone(),
                client: address.client(),
            },
            renewed: renewed(&dashboard, &hash, form.password).await,
            phc: hash.phc,
            former: digests(Jar::Session),
            device: tokens.device.digest(),
            former_device,
        };
        if dashboard.store.engine().run(log_in).await? {
            metrics.login("ok");
            tracing::info!(%user, client = %address.0, "logged in");
            return Ok((tokens.cookies(origin)?, Redirect::to(PROFILE)).into_response());
        }
    }
    metrics.login("refused");
    // The address as typed may be a password: it is not logged.
    tracing::info!(client = %address.0, known_account = user.is_some(), "log-in refused");
    if let Some(user) = user {
        note_refused(&dashboard, user, address.client());
    }
    let status = StatusCode::FORBIDDEN;
    Ok(pages::page(status, email, Some(pages::WRONG)))
}

/// Nobody waits for it, or the time taken would tell that there is such an account.
fn note_refused(dashboard: &Dashboard, user: UserId, client: Client) {
    let store = dashboard.store.clone();
    let note = NoteRefused {
        user,
        tried: Tried::LogIn,
        client,
    };
    tokio::spawn(async move {
        if let Err(error) = store.engine().run(note).await {
            tracing::warn!(%error, "a refused log-in is not in the audit log");
        }
    });
}

/// The hash of the normal form of a password that was found right, where the one
/// on record is not of that. Without a free turn it waits for the next log-in.
async fn renewed(
    dashboard: &Dashboard,
    hash: &StoredHash,
    typed: Zeroizing<String>,
) -> Option<String> {
    if hash.spelling == Spelling::Normal {
        return None;
    }
    if typed::password(&typed) == typed {
        return Some(hash.phc.clone());
    }
    let password = Password::try_from(String::clone(&typed)).ok()?;
    let hashed = dashboard.passwords.hash(password, For::Known);
    hashed.await.ok()
}

/// `POST /logout`
pub(crate) async fn log_out(
    State(dashboard): State<Dashboard>,
    signed: Signed<Button>,
) -> Result<Response, Problem> {
    end(&dashboard, signed, LogOutScope::Here).await
}

/// `POST /logout-everywhere`
pub(crate) async fn log_out_everywhere(
    State(dashboard): State<Dashboard>,
    signed: Signed<Button>,
) -> Result<Response, Problem> {
    end(&dashboard, signed, LogOutScope::Everywhere).await
}

async fn end(
    dashboard: &Dashboard,
    signed: Signed<Button>,
    scope: LogOutScope,
) -> Result<Response, Problem> {
    let session = signed.session.named(signed.client);
    dashboard
        .store
        .engine()
        .run(LogOut { session, scope })
        .await?;
    let cookie = no_session(&dashboard.settings.origin)?;
    let headers = [
        (header::SET_COOKIE, cookie),
        // What the browser has kept of it all; it obeys over TLS only.
        (
            header::HeaderName::from_static("clear-site-data"),
            HeaderValue::from_static("\"cache\", \"storage\""),
        ),
    ];
    Ok((headers, Redirect::to("/login")).into_response())
}

fn throttled(email: &str, seconds: u64) -> Response {
    let text = pages::too_many(seconds);
    let page = pages::page(StatusCode::TOO_MANY_REQUESTS, email, Some(&text));
    retry_after(page, seconds)
}
