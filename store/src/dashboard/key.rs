//! Settings → Profile: the user's key, and what can be done with it. Nothing is
//! answered before every gateway has heard of it (S7).

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rekey_protocol::{ApiKey, Client, RotationId};
use serde::Deserialize;

use super::pages::key as pages;
use super::problem::Problem;
use super::session::{Session, Signed};
use super::{Dashboard, delivery::Given};
use crate::db::{Made, Overview, OwnRefusal, Wish, WriteError};
use crate::issue;

/// Events on the profile.
const EVENTS: u32 = 20;

/// Why there is no new key.
#[derive(Debug, Clone)]
pub enum NotMade {
    /// For the user to hear.
    Refused(OwnRefusal),
    /// For whom it may concern.
    Problem(Problem),
}

impl From<Problem> for NotMade {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// The form of a regeneration.
#[derive(Deserialize)]
pub struct RegenerateForm {
    ticket: Ticket,
    /// Which key the page was about: the revision that made it.
    key: u64,
}

/// The form of a revocation.
#[derive(Deserialize)]
pub struct RevokeForm {
    /// As in [`RegenerateForm`].
    key: u64,
}

/// The form for a new key after a revocation.
#[derive(Deserialize)]
pub struct NewKeyForm {
    ticket: Ticket,
}

/// Names one form; it makes one key, however often it is sent. A rotation id
/// by another name (S11).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct Ticket(RotationId);

impl Ticket {
    fn new() -> Result<Self, Problem> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        Ok(Self(RotationId(random)))
    }
}

impl std::fmt::Display for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0.0))
    }
}

/// `GET /settings/profile`
pub async fn profile(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    Ok(pages::profile(&session, &overview, Ticket::new()?))
}

/// `GET /settings/profile/regenerate`
pub async fn confirm_regenerate(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    Ok(match (&overview.key, overview.rotation_wait) {
        (None, _) => not_made(&session, OwnRefusal::NoKey),
        (Some(_), Some(seconds)) => not_made(&session, OwnRefusal::RateLimited(seconds)),
        (Some(key), None) => pages::confirm_regenerate(&session, key, Ticket::new()?),
    })
}

/// `POST /settings/profile/regenerate`
pub async fn regenerate(
    State(dashboard): State<Dashboard>,
    signed: Signed<RegenerateForm>,
) -> Response {
    let (ticket, shown) = (signed.form.ticket, signed.form.key);
    make(
        &dashboard,
        (signed.session, signed.client),
        ticket,
        Some(shown),
    )
    .await
}

/// `POST /settings/profile/new-key`
pub async fn new_key(State(dashboard): State<Dashboard>, signed: Signed<NewKeyForm>) -> Response {
    let ticket = signed.form.ticket;
    make(&dashboard, (signed.session, signed.client), ticket, None).await
}

/// `GET /settings/profile/revoke`
pub async fn confirm_revoke(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    Ok(match &overview.key {
        None => not_made(&session, OwnRefusal::NoKey),
        Some(key) => pages::confirm_revoke(&session, key),
    })
}

/// `POST /settings/profile/revoke`. Never rate limited: it makes nothing.
pub async fn revoke(
    State(dashboard): State<Dashboard>,
    Signed {
        session,
        form,
        client,
    }: Signed<RevokeForm>,
) -> Result<Response, Problem> {
    let database = dashboard.database.clone();
    let user = session.user.clone();
    // A task of its own: who pressed the button and left has pressed it.
    let revoking = tokio::spawn(async move {
        let revoked = database.revoke_own((user, form.key), client).await?;
        if let Ok((revision, _)) = revoked {
            // S7: also where it was revoked before; that one may not have waited.
            database.feed().barrier(revision).await;
        }
        Ok::<_, WriteError>(revoked)
    });
    let revoked = dashboard.outcome(revoking).await?;
    match revoked.map_err(|_| Problem::Unknown)?? {
        Ok((_, is_new)) => {
            tracing::info!(user = %session.user, changed = is_new, "key revoked in the dashboard");
            let overview = overview(&dashboard, &session).await?;
            Ok(pages::revoked(&session, &overview, Ticket::new()?))
        }
        Err(refusal) => Ok(not_made(&session, refusal)),
    }
}

async fn overview(dashboard: &Dashboard, session: &Session) -> Result<Overview, Problem> {
    let overview = dashboard.database.overview(session.user.clone(), EVENTS);
    Ok(overview.await?)
}

fn draw(dashboard: &Dashboard) -> Result<ApiKey, Problem> {
    Ok(issue::key(&dashboard.checksum)?)
}

/// Makes a new key and shows it, in place of the one that was shown, if any.
async fn make(
    dashboard: &Dashboard,
    (session, client): (Session, Client),
    ticket: Ticket,
    shown: Option<u64>,
) -> Response {
    let form = (session.user.clone(), ticket.0);
    let work = {
        let (dashboard, user) = (dashboard.clone(), session.user.clone());
        async move {
            let key = draw(&dashboard)?;
            let wish = Wish {
                user,
                ticket: ticket.0,
                new_digest: key.digest(),
                hint: key.hint().to_owned(),
                client,
            };
            let database = &dashboard.database;
            let made = match shown {
                Some(shown) => {
                    let made = database.rotate_own(wish, shown).await;
                    dashboard.metrics.rotated(outcome(&made));
                    made
                }
                None => database.issue_own(wish).await,
            };
            let made = made.map_err(Problem::from)?.map_err(NotMade::Refused)?;
            // S7: it is shown when no gateway accepts the one before.
            database.feed().barrier(made.revision).await;
            tracing::info!(digest = ?key.digest(), "key made in the dashboard");
            Ok(key)
        }
    };
    let fault = NotMade::Problem(Problem::Unknown);
    let giving = dashboard.deliveries.give(form, work, fault);
    let given = dashboard.outcome(giving).await;
    match given.unwrap_or_else(|problem| Given::Refused(problem.into())) {
        Given::Key(key) => pages::new_key(&session, &key, shown.is_some()),
        Given::Taken => not_made(&session, OwnRefusal::TicketUsed),
        Given::Refused(NotMade::Refused(refusal)) => not_made(&session, refusal),
        Given::Refused(NotMade::Problem(problem)) => problem.into_response(),
        Given::Busy => Problem::Busy.into_response(),
    }
}

/// The page that says why there is no new key.
fn not_made(session: &Session, refusal: OwnRefusal) -> Response {
    let (OwnRefusal::RateLimited(seconds) | OwnRefusal::AtOnceUsedUp(seconds)) = refusal else {
        return pages::refused(session, StatusCode::CONFLICT, refusal);
    };
    let mut response = pages::refused(session, StatusCode::TOO_MANY_REQUESTS, refusal);
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

fn outcome(made: &Result<Result<Made, OwnRefusal>, WriteError>) -> &'static str {
    match made {
        Ok(Ok(_)) => "rotated",
        Ok(Err(OwnRefusal::RateLimited(_))) => "rate_limited",
        Ok(Err(OwnRefusal::TicketUsed)) => "conflict",
        Ok(Err(_)) => "unknown_key",
        Err(WriteError::Unknown) => "unknown",
        Err(_) => "unavailable",
    }
}
