//! Settings → Security: the change of the password, and logging out everywhere.

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::client::ClientAddress;
use super::pages::security as pages;
use super::problem::Problem;
use super::session::{Session, Signed, Token};
use super::{Dashboard, login};
use crate::db::NewSession;
use crate::password::Password;

const CHANGED: &str = "changed";
/// What the audit log calls a change by somebody who did not know the password.
const REFUSED: &str = "password_refused";

/// The form.
#[derive(Deserialize)]
pub struct PasswordForm {
    current_password: Zeroizing<String>,
    new_password: Zeroizing<String>,
    repeat_password: Zeroizing<String>,
}

/// `GET /settings/security`
pub async fn page(session: Session, RawQuery(query): RawQuery) -> Response {
    let notice = (query.as_deref() == Some(CHANGED)).then_some(pages::CHANGED);
    pages::page(StatusCode::OK, &session, notice, None)
}

/// `POST /settings/security/password`. The session gets a new token, all others
/// end.
pub async fn change_password(
    State(dashboard): State<Dashboard>,
    address: ClientAddress,
    Signed {
        session,
        mut form,
        client,
    }: Signed<PasswordForm>,
) -> Result<Response, Problem> {
    let refused = |status, text: &str| Ok(pages::page(status, &session, None, Some(text)));
    if form.new_password != form.repeat_password {
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
    let account = login::find(&dashboard, &session.email, address).await?;
    if let Err(seconds) = login::allow(&dashboard, &session.email, address, account.as_ref()) {
        let text = super::pages::login::too_many(seconds);
        let mut response = pages::page(StatusCode::TOO_MANY_REQUESTS, &session, None, Some(&text));
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        return Ok(response);
    }
    let old = dashboard.database.password_of(session.user.clone()).await?;
    let passwords = &dashboard.passwords;
    let is_right = passwords.verify(old.as_deref(), form.current_password);
    let is_right = is_right.await?;
    let Some(old) = old.filter(|_| is_right) else {
        let noted = dashboard
            .database
            .note_refused(session.user.clone(), REFUSED, client);
        noted.await?;
        return refused(StatusCode::FORBIDDEN, pages::WRONG);
    };
    let phc = passwords.hash(new).await?;
    let token = Token::new()?;
    let renewed = NewSession {
        digest: token.digest(),
        ..session.named(client)
    };
    let changed = dashboard.database.change_password((old, phc), renewed);
    if changed.await?.is_err() {
        return refused(StatusCode::FORBIDDEN, pages::WRONG);
    }
    tracing::info!(user = %session.user, "password changed");
    let cookie = [(
        header::SET_COOKIE,
        token.cookie(&dashboard.settings.origin)?,
    )];
    let back = Redirect::to(&format!("/settings/security?{CHANGED}"));
    Ok((cookie, back).into_response())
}
