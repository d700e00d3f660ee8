//! The page to change the password and to log out everywhere.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::{Tab, csrf, error, notice, respond, settings};
use crate::accounts::password::LENGTH;
use crate::dashboard::access::session::Session;

/// After a change.
pub(crate) const CHANGED: &str = "Your password was changed. All other log-ins have ended.";
/// The present one was not typed right.
pub(crate) const WRONG: &str = "Your current password is wrong. Nothing was changed.";
/// The new one was not typed the same way twice.
pub(crate) const UNEQUAL: &str = "The new password and its repetition differ. Nothing was changed.";

/// The forms, under what came of the last one.
pub(crate) fn page(
    status: StatusCode,
    session: &Session,
    done: Option<&str>,
    wrong: Option<&str>,
) -> Response {
    let content = html! {
        @if let Some(done) = done { (notice(done)) }
        @if let Some(wrong) = wrong { (error(wrong)) }
        section.card aria-labelledby="password-title" {
            h2 #password-title { "Change password" }
            form method="post" action="/settings/security/password" {
                (csrf(session))
                // So that a password manager knows whose password it keeps.
                label for="username" { "E-mail" }
                input #username type="text" name="username" value=(session.email) readonly
                    autocomplete="username";
                (password("current", "Current password", "current-password", None))
                (password("new", "New password", "new-password", Some("length")))
                p #length.hint { (LENGTH.start()) " to " (LENGTH.end()) " characters" }
                (password("repeat", "New password, again", "new-password", None))
                button #change-password type="submit" { "Change password" }
            }
        }
        section.card aria-labelledby="everywhere-title" {
            h2 #everywhere-title { "Log out everywhere" }
            p { "Ends this log-in and all others of your account, in whatever browser." }
            form method="post" action="/logout-everywhere" {
                (csrf(session))
                button #logout-everywhere.danger type="submit" { "Log out everywhere" }
            }
        }
    };
    respond(
        status,
        settings(session, Tab::Security, "Security", &content),
    )
}

fn password(which: &str, label: &str, autocomplete: &str, described_by: Option<&str>) -> Markup {
    let id = format!("{which}-password");
    let name = format!("{which}_password");
    html! {
        label for=(id) { (label) }
        input id=(id) type="password" name=(name) required autocomplete=(autocomplete)
            aria-describedby=[described_by];
    }
}
