//! The pages about a user's key. What is said about regenerating is the
//! documented API's own text.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use rekey_protocol::{ApiKey, contract};

use super::events::{activity, by, how, masked};
use super::{KEY_PLACE, Tab, countdown, csrf, error, here, hidden, respond, respond_with_key};
use super::{settings, time};
use crate::api::OldKeyUse;
use crate::dashboard::access::session::Session;
use crate::dashboard::handlers::key::{Reached, Ticket, Way};
use crate::engine::rows::{CurrentKey, LastUse};
use crate::operations::keys::own_key::{AT_ONCE_PER_DAY, Overview, OwnRefusal};

const MADE: &str = "Your new API key works from now on.";
const TICKET_USED: &str = "This form was used already. The new key was for the answer to its first \
    use, and it cannot be shown again. If you did not see it, revoke the key: you can make a new \
    one right after.";

/// Settings → Profile.
pub(crate) fn profile(
    session: &Session,
    overview: &Overview,
    reached: Reached,
    ticket: Ticket,
) -> Response {
    let content = html! {
        section.card aria-labelledby="key-title" {
            h2 #key-title { "API key" }
            @match &overview.key {
                Some(key) => (active(key, overview)),
                None => (without_key(session, overview, reached, ticket)),
            }
            (old_keys(&overview.old_keys))
        }
        (activity("events", "Recent activity", &overview.events))
        @if !overview.refused.is_empty() {
            (activity("refused", "Refused log-ins", &overview.refused))
        }
    };
    profile_page(session, "Profile", &content)
}

/// A page under Settings → Profile.
fn profile_page(session: &Session, title: &str, content: &Markup) -> Response {
    respond(
        StatusCode::OK,
        settings(session, Tab::Profile, title, content),
    )
}

fn active(key: &CurrentKey, overview: &Overview) -> Markup {
    html! {
        dl {
            dt { "Key" }
            dd { code #masked-key { (masked(key.hint.as_deref())) } }
            dt { "Created" }
            dd {
                (time(&key.created.rfc3339()))
                @if let Some(made) = &overview.made { ", " (how(made)) }
            }
            dt { "Last used" }
            dd #last-use { (last_use(overview.last_use)) }
            dt { "Last regenerated" }
            dd #last-rotation {
                @match &overview.rotated {
                    Some(event) => { (time(&event.at)) ", " (by(&event.source)) },
                    None => "never",
                }
            }
            dt { "Next regeneration" }
            dd #next-rotation {
                @match overview.rotation_wait {
                    Some(seconds) => { "possible " (countdown(seconds)) },
                    None => "possible now",
                }
            }
        }
        p.actions {
            a #regenerate.button href="/settings/profile/regenerate" { "Regenerate API Key" }
            a #revoke.button.danger href="/settings/profile/revoke" { "Revoke now" }
        }
    }
}

/// To the hour; no address is kept of it.
fn last_use(used: Option<LastUse>) -> Markup {
    match used {
        Some(LastUse::HourFrom(hour)) => super::hour(&hour.rfc3339()),
        Some(LastUse::Never) => html! { "never" },
        Some(LastUse::NotKnown) | None => html! { "not yet known" },
    }
}

fn without_key(session: &Session, overview: &Overview, reached: Reached, ticket: Ticket) -> Markup {
    html! {
        p {
            strong { "You have no active API key." } " "
            @if reached == Reached::AllGateways {
                "Requests to the API are refused."
            } @else {
                "The last one is revoked, but not all gateways have confirmed it yet: one that is "
                "cut off may go on accepting it, for half a minute at most. Load this page again "
                "to see."
            }
        }
        @match overview.issue {
            Ok(()) => (new_key_form(session, overview.last_change, ticket)),
            Err(OwnRefusal::AtOnceUsedUp(seconds)) => (used_up(seconds)),
            Err(refusal) => p { (text(refusal)) },
        }
    }
}

/// What is done with keys that are dead: a forgotten script, or whoever the key
/// was replaced for.
fn old_keys(used: &[OldKeyUse]) -> Markup {
    html! {
        @if !used.is_empty() {
            div #old-keys {
                @for key in used {
                    p.warning {
                        "Your old key " code { (masked(key.hint.as_deref())) } " was used "
                        (key.in_words()) ", last at " (time(&key.last_at)) ". "
                        "All of it was refused."
                    }
                }
            }
        }
    }
}

fn new_key_form(session: &Session, last_change: u64, ticket: Ticket) -> Markup {
    html! {
        p {
            "You revoked the last one yourself, so you can make a new one now. At once, that is "
            "possible " (AT_ONCE_PER_DAY) " times a day; the wait until the next regeneration starts again."
        }
        form.actions method="post" action="/settings/profile/new-key" {
            (csrf(session))
            (hidden("ticket", &ticket.to_string()))
            (hidden("key", &last_change.to_string()))
            button #new-key type="submit" { "Make a new API key" }
        }
    }
}

fn used_up(seconds: u64) -> Markup {
    html! {
        p #next-rotation {
            "You have made " (AT_ONCE_PER_DAY) " keys after Revoke now within a day. The next one is possible "
            (countdown(seconds)) "."
        }
    }
}

/// Before a regeneration: what will break.
pub(crate) fn confirm_regenerate(session: &Session, key: &CurrentKey, ticket: Ticket) -> Response {
    let content = html! {
        div.card.settling {
            p {
                "The key " code { (masked(key.hint.as_deref())) }
                " stops working at once, wherever it is used, and a new one takes its place."
            }
            h2 { "What happens" }
            ol {
                li { "A new API key is generated" }
                li { "The old API key is " strong { "immediately invalidated" } }
                li { "All requests using the old key will fail with " code { "401 Unauthorized" } }
                li { "The new key is shown on the next page, " strong { "this once" } }
            }
            h2 { "After regenerating" }
            (afterwards())
            (patience())
            form.actions method="post" action="/settings/profile/regenerate" {
                (csrf(session))
                (hidden("ticket", &ticket.to_string()))
                (hidden("key", &key.revision.to_string()))
                button #confirm.danger type="submit" { "Regenerate API Key" }
                (cancel())
            }
        }
    };
    profile_page(session, "Regenerate API Key", &content)
}

/// Before an emergency's revocation.
pub(crate) fn confirm_revoke(session: &Session, key: &CurrentKey) -> Response {
    let content = html! {
        div.card.settling {
            p {
                "For emergencies. The key " code { (masked(key.hint.as_deref())) }
                " is dead on every gateway when the next page is here, and "
                strong { "nothing takes its place" }
                ": all your requests fail with " code { "401 Unauthorized" } " until you make a new key."
            }
            p {
                "You can do this at any time. The first new key after it can be made at once, "
                (AT_ONCE_PER_DAY) " times a day at most; both are in the audit log."
            }
            (patience())
            form.actions method="post" action="/settings/profile/revoke" {
                (csrf(session))
                (hidden("key", &key.revision.to_string()))
                button #confirm.danger type="submit" { "Revoke now" }
                (cancel())
            }
        }
    };
    profile_page(session, "Revoke now", &content)
}

/// After a revocation.
pub(crate) fn revoked(
    session: &Session,
    overview: &Overview,
    reached: Reached,
    ticket: Ticket,
) -> Response {
    let content = html! {
        (super::notice("Your API key is revoked. No gateway accepts it any more."))
        div.card.settling {
            @match &overview.key {
                // The page was left open, and a new key was made elsewhere.
                Some(key) => p { "Your key is now " code { (masked(key.hint.as_deref())) } "." },
                None => (without_key(session, overview, reached, ticket)),
            }
            p { (back()) }
        }
    };
    profile_page(session, "Revoked", &content)
}

/// The new key, this once.
pub(crate) fn new_key(session: &Session, key: &ApiKey, way: Way) -> Response {
    let said = match way {
        Way::Replace => contract::REGENERATED,
        Way::AfterRevoking => MADE,
    };
    let content = html! {
        (super::notice(said))
        div.card.settling {
            div.shown {
                code #api-key tabindex="0" { (here(KEY_PLACE)) }
                button #copy type="button" hidden { "Copy" }
            }
            p #copied role="status" {}
            p.warning {
                strong { "Important: " }
                "The full API key is " strong { "only shown once" } ", on this page. Store it securely "
                "immediately. You will not be able to retrieve the full key again."
            }
            h2 { "Next" }
            (afterwards())
            p { (back()) }
        }
    };
    let page = settings(session, Tab::Profile, "Your new API key", &content);
    respond_with_key(page, key)
}

/// Why there is none.
pub(crate) fn refused(session: &Session, status: StatusCode, refusal: OwnRefusal) -> Response {
    let content = html! {
        (error(&text(refusal)))
        div.card {
            @match refusal {
                OwnRefusal::RateLimited { seconds, .. } => {
                    p #next-rotation { "The next regeneration is possible " (countdown(seconds)) "." }
                    p {
                        "If your key has leaked, do not wait: "
                        a #revoke href="/settings/profile/revoke" { "revoke it now" } "."
                    }
                },
                OwnRefusal::AtOnceUsedUp(seconds) => (used_up(seconds)),
                OwnRefusal::TicketUsed => p { a #revoke href="/settings/profile/revoke" { "Revoke now" } },
                _ => {},
            }
            p { (back()) }
        }
    };
    let title = match refusal {
        OwnRefusal::RateLimited { .. } | OwnRefusal::AtOnceUsedUp(_) => "Not yet",
        _ => "Not done",
    };
    respond(status, settings(session, Tab::Profile, title, &content))
}

fn text(refusal: OwnRefusal) -> Cow<'static, str> {
    let fixed = match refusal {
        OwnRefusal::RateLimited { interval, .. } => {
            return contract::too_early(interval.told()).into();
        }
        OwnRefusal::AtOnceUsedUp(_) => "No new key can be made at once any more today.",
        OwnRefusal::TicketUsed => TICKET_USED,
        OwnRefusal::DeadAlready => {
            "The new key was made and revoked again, here in another window or by whoever runs \
             this API, before it could be shown. Your old key is invalid, too."
        }
        OwnRefusal::NoKey => "You have no active API key. Nothing was changed.",
        OwnRefusal::OtherKey => {
            "Your key was replaced or revoked since this page was opened, here or through the API. \
             Nothing was changed; open your profile to see how things are."
        }
        OwnRefusal::LoggedOut => "You were logged out. Nothing was changed.",
        OwnRefusal::BeingImported => {
            "The operator is importing a key for you just now. Nothing was changed. Try again in some minutes."
        }
        OwnRefusal::HasKey => "You have an active API key already. Nothing was changed.",
        OwnRefusal::NotByUser => {
            "Your key was revoked by whoever runs this API. Ask them for a new one."
        }
    };
    fixed.into()
}

fn afterwards() -> Markup {
    html! {
        ol {
            li { strong { "Update your applications" } " with the new API key" }
            li { strong { "Update environment variables" } " in all deployments" }
            li { strong { "Test" } " that everything works with the new key" }
            li { strong { "Remove" } " any stored copies of the old key" }
        }
    }
}

fn patience() -> Markup {
    html! {
        p.hint {
            "The next page comes when every gateway has confirmed it: usually at once, after half a "
            "minute at most where one is cut off."
        }
    }
}

fn cancel() -> Markup {
    html! { a #cancel.button.quiet href="/settings/profile" { "Cancel" } }
}

fn back() -> Markup {
    html! { a href="/settings/profile" { "Back to your profile" } }
}
