//! Settings → Security: the change of the password, and logging out everywhere.

use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::accounts::password::{For, Password};
use crate::accounts::typed;
use crate::clock::UnixMillis;
use crate::dashboard::Dashboard;
use crate::dashboard::access::session::{CookieTokens, Session, Signed};
use crate::dashboard::access::throttle::Who;
use crate::dashboard::pages::{login, retry_after, security as pages};
use crate::dashboard::problem::Problem;
use crate::engine::Engine;
use crate::engine::rows::PasswordHash;
use crate::operations::audit::{NoteRefused, Tried};
use crate::operations::users::passwords::{ChangePassword, PasswordOf};
use crate::operations::users::sessions::NewSession;

const CHANGED: &str = "changed";
/// How long a change is news.
const NEWS: Duration = Duration::from_secs(60);

/// The form.
#[derive(Deserialize)]
pub(crate) struct PasswordForm {
    current_password: Zeroizing<String>,
    new_password: Zeroizing<String>,
    repeat_password: Zeroizing<String>,
}

/// `GET /settings/security`. What it says after a change, no link makes it say.
pub(crate) async fn page(
    State(dashboard): State<Dashboard>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut notice = None;
    if query.as_deref() == Some(CHANGED) {
        let read = PasswordOf(session.user.clone());
        let hash = dashboard.store.engine().read(read).await?;
        let is_new = |hash: PasswordHash| UnixMillis::wall().since(hash.changed) < NEWS;
        notice = hash.is_some_and(is_new).then_some(pages::CHANGED);
    }
    Ok(pages::page(StatusCode::OK, &session, notice, None))
}

/// `POST /settings/security/password`. The session gets a new token, all others
/// end.
pub(crate) async fn change_password(
    State(dashboard): State<Dashboard>,
    Signed {
        session,
        mut form,
        client,
    }: Signed<PasswordForm>,
) -> Result<Response, Problem> {
    let refused = |status, text: &str| Ok(pages::page(status, &session, None, Some(text)));
    if typed::password(&form.new_password) != typed::password(&form.repeat_password) {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, pages::UNEQUAL);
    }
    let new = match Password::try_from(std::mem::take(&mut *form.new_password)) {
        Ok(new) => new,
        Err(unfit) => {
            let text = format!("Choose another new password: {unfit}.");
            return refused(StatusCode::UNPROCESSABLE_ENTITY, &text);
        }
    };
    // Who found an open browser must not try passwords here without end.
    if let Err(seconds) = dashboard.throttle.allow(Who::Known(&session.user)) {
        let text = login::too_many(seconds);
        let page = pages::page(StatusCode::TOO_MANY_REQUESTS, &session, None, Some(&text));
        return Ok(retry_after(page, seconds));
    }
    let engine = dashboard.store.engine();
    let old = engine.read(PasswordOf(session.user.clone())).await?;
    let old = old.map(|hash| hash.stored);
    let passwords = &dashboard.passwords;
    let is_right = passwords.verify(old.as_ref(), &form.current_password, For::Known);
    let is_right = is_right.await?;
    let Some(old) = old.filter(|_| is_right) else {
        let note = NoteRefused {
            user: session.user.clone(),
            tried: Tried::Change,
            client,
        };
        engine.run(note).await?;
        return refused(StatusCode::FORBIDDEN, pages::WRONG);
    };
    let tokens = CookieTokens::new()?;
    let change = ChangePassword {
        old: old.phc,
        new: passwords.hash(new, For::Known).await?,
        former: session.digest,
        session: NewSession {
            digest: tokens.session.digest(),
            ..session.named(client)
        },
        device: tokens.device.digest(),
    };
    if engine.run(change).await?.is_err() {
        return refused(StatusCode::FORBIDDEN, pages::WRONG);
    }
    tracing::info!(user = %session.user, "password changed");
    let cookies = tokens.cookies(&dashboard.settings.origin)?;
    let back = Redirect::to(&format!("/settings/security?{CHANGED}"));
    Ok((cookies, back).into_response())
}
