//! The gateway listener's own endpoints: resolve and rotate.

use axum::extract::State;
use axum::{Extension, Json};
use rekey_protocol::{
    ErrorBody, ErrorCode, FEED_PATH, FeedRequest, FeedResponse, REFUSED_MOST, RESOLVE_PATH,
    ROTATE_PATH, ResolveRequest, ResolveResponse, RotateRequest, RotateResponse, SECRETS_MOST,
    USED_MOST,
};
use rustix::process::{Resource, getrlimit};

use super::body::JsonBody;
use super::error::ApiError;
use super::{App, Arrived};
use crate::clock::UnixMillis;
use crate::crash;
use crate::engine::{Engine, Patience, WriteError};
use crate::feed::PollError;
use crate::metrics::RotationOutcome;
use crate::operations::keys::rotate::{Rotate, Rotated};
use crate::rules::answers;
use crate::rules::rotation::Refusal;

/// The most rotations under way, however many files may be open.
const MOST_ROTATIONS: usize = 65_536;

/// How many rotations may be under way at a time. Each may hold its connection, an
/// open file, for as long as a lease. They get half of all that may be open, so
/// that connections of resolves and polls are always accepted.
pub(super) fn most_rotations() -> usize {
    let files = getrlimit(Resource::Nofile).current;
    let files = files.and_then(|files| usize::try_from(files).ok());
    files.map_or(MOST_ROTATIONS, |files| (files / 2).clamp(1, MOST_ROTATIONS))
}

/// S8: what this database says may be older than what gateways know already.
fn not_restored(app: &App) -> Result<(), ApiError> {
    if app.store.feed().is_restored() {
        return Err(answers::RESTORED.into());
    }
    Ok(())
}

/// What was revoked since?
///
/// A long poll: the answer comes when there is something to tell, or after an
/// eighth of the lease. Asking with a cursor acknowledges everything up to it. The
/// answer to a poll that tells of uses of keys says that they were heard.
#[utoipa::path(
    post, path = FEED_PATH, tag = "gateway", security(("gateway" = [])),
    request_body = FeedRequest,
    responses(
        (status = 200, description = "The changes and a lease", body = FeedResponse),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn feed(
    State(app): State<App>,
    JsonBody(request): JsonBody<FeedRequest>,
) -> Result<Json<FeedResponse>, ApiError> {
    if request.refused.len() > REFUSED_MOST {
        let most = format!("refused takes {REFUSED_MOST} keys at most");
        return Err(ApiError::bad_request(most));
    }
    let told = request.secrets.as_ref();
    if told.is_some_and(|secrets| secrets.prints.len() > SECRETS_MOST) {
        let most = format!("secrets.prints takes {SECRETS_MOST} at most");
        return Err(ApiError::bad_request(most));
    }
    if request.used.len() > USED_MOST {
        let most = format!("used takes {USED_MOST} keys at most");
        return Err(ApiError::bad_request(most));
    }
    // The ages in it are of now. It may be held for some seconds.
    let arrived = UnixMillis::wall();
    let mut answer = app.store.feed().poll(&request, app.store.engine()).await;
    // As it is answered: a gateway tells again what no answer came to.
    if let Ok(answer) = &mut answer {
        app.store.old_keys().used(&request.refused);
        let last_uses = app.store.last_uses();
        last_uses.told(arrived, &request.used);
        answer.used_most = last_uses.room(app.store.feed().following());
    }
    answer.map(Json).map_err(|error| match error {
        PollError::BadLease(error) => ApiError::bad_request(error.to_string()),
        PollError::Records(error) => ApiError::new(ErrorCode::Unavailable, error.to_string()),
        PollError::Restored => answers::RESTORED.into(),
        PollError::NotOwner => WriteError::NotOwner.into(),
    })
}

/// Who is behind this digest?
///
/// State, revision, head and wait are read from one snapshot that was begun
/// after the request arrived.
#[utoipa::path(
    post, path = RESOLVE_PATH, tag = "gateway", security(("gateway" = [])),
    request_body = ResolveRequest,
    responses(
        (status = 200, description = "The key is known", body = ResolveResponse),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_key, with the head of that snapshot",
            body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn resolve(
    State(app): State<App>,
    JsonBody(request): JsonBody<ResolveRequest>,
) -> Result<Json<ResolveResponse>, ApiError> {
    not_restored(&app)?;
    let found = app.store.resolve(request.digest).await?;
    Ok(Json(answers::resolve(found, app.store.interval())?))
}

/// Replace this key by that one.
///
/// Idempotent by `rotation_id`. The answer is sent after the change is on disk.
/// A 503 vouches that this attempt changed nothing; after a 500 repeat the
/// request with the same `rotation_id`. An attempt is not begun when its
/// `patience_ms` is over, or when its connection is closed.
#[utoipa::path(
    post, path = ROTATE_PATH, tag = "gateway", security(("gateway" = [])),
    request_body = RotateRequest,
    responses(
        (status = 200, description = "It was decided", body = RotateResponse),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_key", body = ErrorBody),
        (status = 409, description = "rotation_conflict; already_exists: the new key is known",
            body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn rotate(
    State(app): State<App>,
    Extension(Arrived(arrived)): Extension<Arrived>,
    JsonBody(request): JsonBody<RotateRequest>,
) -> Result<Json<RotateResponse>, ApiError> {
    answers::check_rotate(&request)?;
    not_restored(&app)?;
    let Ok(_place) = app.rotations.try_acquire() else {
        let busy = "as many rotations wait for gateways that are away as this store can hold; \
                    nothing was changed";
        return Err(ApiError::new(ErrorCode::Unavailable, busy));
    };
    crash::point("rotate.received");
    let new_digest = request.new_digest;
    let patience = Patience::Until(arrived + request.patience());
    let rotating = app.store.engine().run_within(patience, Rotate(request));
    let result = rotating.await;
    app.metrics.rotated(outcome(&result));
    if let Some(revision) = result.as_ref().ok().and_then(answers::waits_for) {
        crash::point("rotate.before_barrier");
        app.store.barrier(revision).await;
    }
    crash::point("rotate.before_answer");
    let interval = app.store.interval();
    Ok(Json(answers::rotate(result?, new_digest, interval)?))
}

fn outcome(result: &Result<Rotated, WriteError>) -> RotationOutcome {
    match result {
        Ok(Rotated::Done {
            repeated: false, ..
        }) => RotationOutcome::Rotated,
        Ok(Rotated::Done { repeated: true, .. }) => RotationOutcome::Repeated,
        Ok(Rotated::Replayed(_)) => RotationOutcome::Replayed,
        Ok(Rotated::Refused(Refusal::Revoked(_)) | Rotated::Replayable(_)) => {
            RotationOutcome::Revoked
        }
        Ok(Rotated::Refused(Refusal::RateLimited(_))) => RotationOutcome::RateLimited,
        Ok(Rotated::Refused(Refusal::UnknownKey)) => RotationOutcome::UnknownKey,
        Ok(Rotated::Refused(Refusal::NewKeyExists)) => RotationOutcome::NewKeyExists,
        Ok(Rotated::Conflict) => RotationOutcome::Conflict,
        Err(WriteError::Unknown) => RotationOutcome::Unknown,
        Err(_) => RotationOutcome::Unavailable,
    }
}
