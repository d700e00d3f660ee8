//! Settings → Profile: the user's key, and what can be done with it. Nothing is
//! answered before every gateway has heard of it (S7).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use rekey_protocol::{ApiKey, ResolvedState, RotationId};
use serde::Deserialize;

use super::delivery::{FormId, Given};
use crate::dashboard::access::session::{Session, Signed};
use crate::dashboard::pages::{key as pages, login, retry_after};
use crate::dashboard::problem::Problem;
use crate::dashboard::{Dashboard, PROFILE};
use crate::engine::{Engine, Patience, WriteError};
use crate::metrics::RotationOutcome;
use crate::operations::keys::own_key::{
    BySession, IssueOwn, Made, Overview, OwnRefusal, RevokeOwn, RevokedOwn, RotateOwn,
    ShowOverview, Wish,
};
use crate::operations::users::sessions::IsLoggedIn;

/// Events on the profile.
const EVENTS: u32 = 20;

/// Why there is no new key.
#[derive(Debug, Clone)]
pub(crate) enum NotMade {
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

/// The form of what makes a key.
#[derive(Deserialize)]
pub(crate) struct MakeForm {
    ticket: Ticket,
    /// What the page was about: the revision of the key's last change.
    key: u64,
}

/// The form of a revocation.
#[derive(Deserialize)]
pub(crate) struct RevokeForm {
    /// As in [`MakeForm`].
    key: u64,
}

/// Names one form; it makes one key, however often it is sent. A rotation id
/// by another name (S11).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(transparent)]
pub(crate) struct Ticket(RotationId);

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
pub(crate) async fn profile(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    let reached = Reached::by(&dashboard, &overview);
    Ok(pages::profile(&session, &overview, reached, Ticket::new()?))
}

/// `GET /settings/profile/regenerate`
pub(crate) async fn confirm_regenerate(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    Ok(match (&overview.key, overview.rotation_wait) {
        // The profile says more about it.
        (None, _) => Redirect::to(PROFILE).into_response(),
        (Some(_), Some(seconds)) => {
            let interval = dashboard.store.interval();
            not_made(&session, OwnRefusal::RateLimited { seconds, interval })
        }
        (Some(key), None) => pages::confirm_regenerate(&session, key, Ticket::new()?),
    })
}

/// `POST /settings/profile/regenerate`
pub(crate) async fn regenerate(
    State(dashboard): State<Dashboard>,
    signed: Signed<MakeForm>,
) -> Response {
    make(&dashboard, signed, Way::Replace).await
}

/// `POST /settings/profile/new-key`
pub(crate) async fn new_key(
    State(dashboard): State<Dashboard>,
    signed: Signed<MakeForm>,
) -> Response {
    make(&dashboard, signed, Way::AfterRevoking).await
}

/// `GET /settings/profile/revoke`
pub(crate) async fn confirm_revoke(
    State(dashboard): State<Dashboard>,
    session: Session,
) -> Result<Response, Problem> {
    let overview = overview(&dashboard, &session).await?;
    Ok(match &overview.key {
        None => Redirect::to(PROFILE).into_response(),
        Some(key) => pages::confirm_revoke(&session, key),
    })
}

/// `POST /settings/profile/revoke`. Never rate limited: it makes nothing.
pub(crate) async fn revoke(
    State(dashboard): State<Dashboard>,
    Signed {
        session,
        form,
        client,
    }: Signed<RevokeForm>,
) -> Result<Response, Problem> {
    let store = dashboard.store.clone();
    let (user, by) = (session.user.clone(), session.digest);
    let revoking = async move {
        let operation = RevokeOwn {
            user,
            shown: form.key,
            client,
        };
        let revoke = BySession {
            session: by,
            operation,
        };
        let revoked = store.engine().run(revoke).await?;
        if let Ok(RevokedOwn { revision, .. }) = revoked {
            // S7: also where it was revoked before; that one may not have waited.
            store.barrier(revision).await;
        }
        Ok::<_, WriteError>(revoked)
    };
    // A task of its own, so there is always somebody who waits: who pressed the
    // button and left has pressed it, and is not worse off by it.
    let revoked = dashboard.outcome(async { tokio::spawn(revoking).await });
    match revoked.await?.map_err(|_| Problem::Unknown)?? {
        Ok(RevokedOwn { is_new, .. }) => {
            tracing::info!(user = %session.user, changed = is_new, "key revoked in the dashboard");
            let overview = overview(&dashboard, &session).await?;
            let reached = Reached::by(&dashboard, &overview);
            Ok(pages::revoked(&session, &overview, reached, Ticket::new()?))
        }
        Err(refusal) => Ok(not_made(&session, refusal)),
    }
}

async fn overview(dashboard: &Dashboard, session: &Session) -> Result<Overview, Problem> {
    let show = ShowOverview {
        user: session.user.clone(),
        limit: EVENTS,
    };
    Ok(dashboard.store.engine().read(show).await?)
}

fn draw(dashboard: &Dashboard) -> Result<ApiKey, Problem> {
    Ok(dashboard.issuer.key()?)
}

/// How far the last change of a key has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No gateway accepts any key of before.
    AllGateways,
    /// Some gateway may accept the key of before.
    NotAll,
}

impl Reached {
    /// S7: also somebody who only looks must not read that a key is dead before it is.
    fn by(dashboard: &Dashboard, overview: &Overview) -> Self {
        match dashboard.store.feed().is_open(overview.last_change) {
            true => Self::AllGateways,
            false => Self::NotAll,
        }
    }
}

/// What a new key comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// A key that it replaces.
    Replace,
    /// Revoke now.
    AfterRevoking,
}

/// Makes a new key and shows it.
async fn make(
    dashboard: &Dashboard,
    Signed {
        session,
        form,
        client,
    }: Signed<MakeForm>,
    way: Way,
) -> Response {
    let ticket = form.ticket.0;
    let work = {
        let (dashboard, user) = (dashboard.clone(), session.user.clone());
        let session = session.digest;
        move |is_awaited| async move {
            let key = draw(&dashboard)?;
            let digest = key.digest();
            let wish = Wish {
                user,
                ticket,
                new_digest: digest,
                hint: key.hint().to_owned(),
                client,
            };
            let store = &dashboard.store;
            // A key that nobody waits for would be shown to nobody.
            let patience = Patience::While(is_awaited);
            let shown = form.key;
            let made = match way {
                Way::Replace => {
                    let operation = RotateOwn { wish, shown };
                    let rotate = BySession { session, operation };
                    let made = store.engine().run_within(patience, rotate).await;
                    dashboard.metrics.rotated(outcome(&made));
                    made
                }
                Way::AfterRevoking => {
                    let operation = IssueOwn { wish, shown };
                    let issue = BySession { session, operation };
                    store.engine().run_within(patience, issue).await
                }
            };
            let made = made.map_err(Problem::from)?.map_err(NotMade::Refused)?;
            // S7: it is shown when no gateway accepts the one before.
            store.barrier(made.revision).await;
            // Waiting may take half a minute, and somebody may have been faster.
            let found = store.resolve(digest).await.map_err(|_| Problem::Unknown)?;
            if !found.is_ok_and(|found| found.key.state == ResolvedState::Active) {
                return Err(NotMade::Refused(OwnRefusal::DeadAlready));
            }
            tracing::info!(?digest, "key made in the dashboard");
            Ok(key)
        }
    };
    let form = FormId {
        user: session.user.clone(),
        ticket,
    };
    let fault = NotMade::Problem(Problem::Unknown);
    let giving = dashboard.deliveries.give(form, work, fault);
    let given = dashboard.outcome(giving).await;
    let given = given.unwrap_or_else(|problem| Given::Refused(problem.into()));
    answered(dashboard, &session, way, given).await
}

/// What the one who asked for a key is shown in the end.
async fn answered(
    dashboard: &Dashboard,
    session: &Session,
    way: Way,
    given: Given<NotMade>,
) -> Response {
    match given {
        // Whoever was logged out while the page waited does not get the key.
        Given::Key(key) => {
            let is_logged_in = IsLoggedIn(session.digest);
            match dashboard.store.engine().read(is_logged_in).await {
                Ok(true) => pages::new_key(session, &key, way),
                Ok(false) => login::logged_out_late(),
                Err(_) => Problem::Unknown.into_response(),
            }
        }
        Given::Taken => not_made(session, OwnRefusal::TicketUsed),
        Given::Refused(NotMade::Refused(refusal)) => not_made(session, refusal),
        Given::Refused(NotMade::Problem(problem)) => problem.into_response(),
        Given::Busy => Problem::Busy.into_response(),
    }
}

/// The page that says why there is no new key.
fn not_made(session: &Session, refusal: OwnRefusal) -> Response {
    match refusal {
        OwnRefusal::RateLimited { seconds, .. } | OwnRefusal::AtOnceUsedUp(seconds) => {
            let page = pages::refused(session, StatusCode::TOO_MANY_REQUESTS, refusal);
            retry_after(page, seconds)
        }
        OwnRefusal::LoggedOut => login::logged_out(),
        _ => pages::refused(session, StatusCode::CONFLICT, refusal),
    }
}

fn outcome(made: &Result<Result<Made, OwnRefusal>, WriteError>) -> RotationOutcome {
    match made {
        Ok(Ok(_)) => RotationOutcome::Rotated,
        Ok(Err(OwnRefusal::RateLimited { .. })) => RotationOutcome::RateLimited,
        Ok(Err(OwnRefusal::TicketUsed)) => RotationOutcome::Conflict,
        Ok(Err(_)) => RotationOutcome::UnknownKey,
        Err(WriteError::Unknown) => RotationOutcome::Unknown,
        Err(_) => RotationOutcome::Unavailable,
    }
}
