//! The page to log in.

use axum::http::StatusCode;
use axum::response::Response;
use maud::html;

use super::{error, outside, respond};

/// Alike for an unknown address, a wrong password, and a user without one.
pub(crate) const WRONG: &str = "E-mail or password is wrong.";
/// Too many wait for their turn.
pub(crate) const BUSY: &str =
    "Too many log-ins are waiting. Nothing was tried; try again in a moment.";
const LOGGED_OUT: &str = "You were logged out, by yourself or because the time was over. \
    Nothing was changed. Log in and try again.";

const LOGGED_OUT_LATE: &str = "You were logged out while your new key was made, so it is not shown. \
    Log in and press Revoke now: you can make another one right after.";

/// When a password may be tried again.
pub(crate) fn too_many(seconds: u64) -> String {
    let (count, unit) = match seconds {
        1 => (1, "second"),
        2..=90 => (seconds, "seconds"),
        _ => (seconds.div_ceil(60), "minutes"),
    };
    format!("Too many tries. Try again in {count} {unit}.")
}

/// The form, with the address that was typed before.
pub(crate) fn page(status: StatusCode, email: &str, wrong: Option<&str>) -> Response {
    let content = html! {
        @if let Some(wrong) = wrong { (error(wrong)) }
        form.card method="post" action="/login" {
            label for="email" { "E-mail" }
            // Not of the type "email": that takes fewer addresses than the store.
            input #email type="text" inputmode="email" name="email" value=(email) required
                maxlength="254" autocomplete="username" autocapitalize="none" spellcheck="false"
                autofocus[email.is_empty()];
            label for="password" { "Password" }
            input #password type="password" name="password" required
                autocomplete="current-password" autofocus[!email.is_empty()];
            button #login type="submit" { "Log in" }
        }
        p.hint {
            "Lost the password? Whoever runs this API can set a new one for you."
        }
    };
    respond(status, outside("Log in", &content))
}

/// For a key that was made by a session which has ended meanwhile.
pub(crate) fn logged_out_late() -> Response {
    page(StatusCode::FORBIDDEN, "", Some(LOGGED_OUT_LATE))
}

/// For a form that was sent after the session's end.
pub(crate) fn logged_out() -> Response {
    page(StatusCode::FORBIDDEN, "", Some(LOGGED_OUT))
}
