//! What happened to a user's key, in words.

use maud::{Markup, html};
use rekey_protocol::KEY_PREFIX;

use super::time;
use crate::api::AuditEvent;

pub fn activity(id: &str, title: &str, events: &[AuditEvent]) -> Markup {
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
pub fn masked(hint: Option<&str>) -> String {
    format!("{KEY_PREFIX}…{}", hint.unwrap_or_default())
}

/// How a key came to be.
pub fn how(event: &AuditEvent) -> &'static str {
    match (event.action.as_str(), event.source.as_str()) {
        ("rotated", source) => by(source),
        ("issued", "dashboard") => "by you, after Revoke now",
        ("issued", _) => "by whoever runs this API",
        ("imported", _) => "imported",
        _ => "with your account",
    }
}

pub fn by(source: &str) -> &'static str {
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
    match (event.action.as_str(), event.source.as_str()) {
        ("rotated", "gateway") => hint("Key regenerated through the API"),
        ("rotated", _) => hint("Key regenerated in the dashboard"),
        ("issued", "dashboard") => hint("New key made after Revoke now"),
        ("issued", _) => hint("Key issued by whoever runs this API"),
        ("revoked", "dashboard") => html! { "Key revoked: Revoke now" },
        ("revoked", _) => html! { "Key revoked by whoever runs this API" },
        ("user_added", _) => hint("Account created"),
        ("imported", _) => hint("Key imported"),
        ("old_key_used", _) => {
            let uses = event.uses.unwrap_or_default();
            hint(&format!("Requests with an old key refused, {uses} so far"))
        }
        ("login", _) => html! { "Logged in" },
        ("login_refused", _) => html! { "Log-in refused: wrong password" },
        ("logout", _) => html! { "Logged out" },
        ("logout_everywhere", _) => html! { "Logged out everywhere" },
        ("password_refused", _) => html! { "Change of password refused: wrong password" },
        ("password_changed", _) => html! { "Password changed" },
        ("password_set", _) => html! { "Password set by whoever runs this API" },
        ("email_set", _) => html! { "E-mail address set by whoever runs this API" },
        (other, _) => html! { (other) },
    }
}
