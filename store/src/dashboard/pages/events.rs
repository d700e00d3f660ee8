//! What happened to a user's key, in words.

use maud::{Markup, html};

use super::time;
use crate::api::AuditEvent;
use crate::operations::audit::action::Action;

pub(super) fn activity(id: &str, title: &str, events: &[AuditEvent]) -> Markup {
    let title_id = format!("{id}-title");
    html! {
        section.card aria-labelledby=(title_id) {
            h2 id=(title_id) { (title) }
            table id=(id) aria-labelledby=(title_id) {
                thead { tr { th scope="col" { "When" } th scope="col" { "What" } th scope="col" { "From" } } }
                tbody {
                    @for event in events {
                        tr {
                            td { (time(&event.at)) }
                            td { (what(event)) }
                            td { (event.client_address.as_deref().unwrap_or("–")) }
                        }
                    }
                }
            }
        }
    }
}

/// `sb_live_…wxyz`
pub(super) fn masked(hint: Option<&str>) -> String {
    rekey_protocol::masked(hint.unwrap_or_default())
}

/// How a key came to be.
pub(super) fn how(event: &AuditEvent) -> &'static str {
    match (Action::named(&event.action), event.source.as_str()) {
        (Some(Action::Rotated), source) => by(source),
        (Some(Action::Issued), "dashboard") => "by you, after Revoke now",
        (Some(Action::Issued), _) => "by whoever runs this API",
        (Some(Action::Imported), _) => "imported",
        _ => "with your account",
    }
}

pub(super) fn by(source: &str) -> &'static str {
    match source {
        "gateway" => "through the API",
        "dashboard" => "in the dashboard",
        _ => "by whoever runs this API",
    }
}

fn what(event: &AuditEvent) -> Markup {
    let hint = |text: &str| {
        let key = masked(event.hint.as_deref());
        html! { (text) ": " code { (key) } }
    };
    let Some(action) = Action::named(&event.action) else {
        return html! { (event.action) };
    };
    match (action, event.source.as_str()) {
        (Action::Rotated, "gateway") => hint("Key regenerated through the API"),
        (Action::Rotated, _) => hint("Key regenerated in the dashboard"),
        (Action::Issued, "dashboard") => hint("New key made after Revoke now"),
        (Action::Issued, _) => hint("Key issued by whoever runs this API"),
        (Action::Revoked, "dashboard") => html! { "Key revoked: Revoke now" },
        (Action::Revoked, _) => html! { "Key revoked by whoever runs this API" },
        (Action::UserAdded, _) => hint("Account created"),
        (Action::Imported, _) => hint("Key imported"),
        (Action::OldKeyUsed, _) => {
            let uses = event.uses.unwrap_or_default();
            hint(&format!("Requests with an old key refused, {uses} so far"))
        }
        (Action::Login, _) => html! { "Logged in" },
        (Action::LoginRefused, _) => html! { "Log-in refused: wrong password" },
        (Action::Logout, _) => html! { "Logged out" },
        (Action::LogoutEverywhere, _) => html! { "Logged out everywhere" },
        (Action::PasswordRefused, _) => html! { "Change of password refused: wrong password" },
        (Action::PasswordChanged, _) => html! { "Password changed" },
        (Action::PasswordSet, _) => html! { "Password set by whoever runs this API" },
        (Action::EmailSet, _) => html! { "E-mail address set by whoever runs this API" },
        (Action::UserRemoved, _) => html! { "Account removed" },
        (Action::Replayed, _) => hint("The answer with the new key was given again"),
        (Action::ReplayRefused, _) => {
            html! { "A repeated request with another Idempotency-Key was refused" }
        }
    }
}
