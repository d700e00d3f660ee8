//! The gateway listener's own endpoints: resolve and rotate.

use axum::Json;
use axum::extract::State;
use rekey_protocol::{
    CreatedAt, ErrorBody, ErrorCode, FEED_PATH, FeedRequest, FeedResponse, HINT_LEN, RESOLVE_PATH,
    ROTATE_PATH, ResolveRequest, ResolveResponse, RotateRequest, RotateResponse,
};

use super::App;
use super::body::JsonBody;
use super::error::ApiError;
use crate::crash;
use crate::db::{Rotated, WriteError};
use crate::feed::PollError;
use crate::rotation::Refusal;

fn unknown_key() -> ApiError {
    ApiError::new(ErrorCode::UnknownKey, "this store does not know the key")
}

/// S8: what this database says may be older than what gateways know already.
fn not_restored(app: &App) -> Result<(), ApiError> {
    if app.database.feed().is_restored() {
        return Err(ApiError::new(
            ErrorCode::Unavailable,
            "gateways know a later history than this database: a backup was restored, or they \
             followed another store; if this is meant, start it with --accept-restore",
        ));
    }
    Ok(())
}

/// What was revoked since?
///
/// A long poll: the answer comes when there is something to tell, or after a
/// quarter of the lease. Asking with a cursor acknowledges everything up to it.
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
pub async fn feed(
    State(app): State<App>,
    JsonBody(request): JsonBody<FeedRequest>,
) -> Result<Json<FeedResponse>, ApiError> {
    let answer = app.database.feed().poll(&request, &app.database).await;
    answer.map(Json).map_err(|error| match error {
        PollError::BadLease(error) => ApiError::bad_request(error.to_string()),
        PollError::Records(error) => ApiError::new(ErrorCode::Unavailable, error.to_string()),
        PollError::Restored => match not_restored(&app) {
            Err(error) => error,
            Ok(()) => ApiError::new(ErrorCode::Unavailable, "try again"),
        },
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
        (status = 404, description = "unknown_key", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub async fn resolve(
    State(app): State<App>,
    JsonBody(request): JsonBody<ResolveRequest>,
) -> Result<Json<ResolveResponse>, ApiError> {
    not_restored(&app)?;
    let found = app.database.resolve(request.digest).await?;
    let (resolved, rotation_allowed_in) = found.ok_or_else(unknown_key)?;
    Ok(Json(ResolveResponse {
        state: resolved.state,
        user: resolved.user,
        revision: resolved.revision,
        head: resolved.head,
        rotation_allowed_in,
    }))
}

/// Replace this key by that one.
///
/// Idempotent by `rotation_id`. The answer is sent after the change is on disk.
/// A 503 vouches that this attempt changed nothing; after a 500 repeat the
/// request with the same `rotation_id`.
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
pub async fn rotate(
    State(app): State<App>,
    JsonBody(request): JsonBody<RotateRequest>,
) -> Result<Json<RotateResponse>, ApiError> {
    check(&request)?;
    not_restored(&app)?;
    crash::point("rotate.received");
    let new_digest = request.new_digest;
    let result = app.database.rotate(request).await;
    app.metrics.rotated(outcome(&result));
    // S7: the first answer and every repeated one.
    if let Ok(Rotated::Done { revision, .. }) = &result {
        crash::point("rotate.before_barrier");
        app.database.feed().barrier(*revision).await;
    }
    crash::point("rotate.before_answer");
    match result? {
        Rotated::Done {
            at, user, revision, ..
        } => Ok(RotateResponse::Rotated {
            created_at: CreatedAt::try_from(at.rfc3339())
                .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?,
            revision,
            new_digest,
            user,
        }),
        Rotated::Refused(Refusal::Revoked(revision)) => Ok(RotateResponse::Revoked { revision }),
        Rotated::Refused(Refusal::RateLimited(retry_after)) => {
            Ok(RotateResponse::RateLimited { retry_after })
        }
        Rotated::Refused(Refusal::UnknownKey) => Err(unknown_key()),
        Rotated::Refused(Refusal::NewKeyExists) => Err(ApiError::new(
            ErrorCode::AlreadyExists,
            "the new key is known to this store already; draw another one",
        )),
        Rotated::Conflict => Err(ApiError::new(
            ErrorCode::RotationConflict,
            "this rotation_id was used with other digests",
        )),
    }
    .map(Json)
}

/// What the types alone do not say.
fn check(request: &RotateRequest) -> Result<(), ApiError> {
    let hint = request.hint.as_bytes();
    if request.attempt == 0 {
        return Err(ApiError::bad_request("attempt is counted from 1"));
    }
    if hint.len() != HINT_LEN || !hint.iter().all(u8::is_ascii_alphanumeric) {
        return Err(ApiError::bad_request(
            "hint is the new key's last 4 characters",
        ));
    }
    if request.old_digest == request.new_digest {
        return Err(ApiError::bad_request(
            "old_digest and new_digest are the same",
        ));
    }
    Ok(())
}

fn outcome(result: &Result<Rotated, WriteError>) -> &'static str {
    match result {
        Ok(Rotated::Done {
            repeated: false, ..
        }) => "rotated",
        Ok(Rotated::Done { repeated: true, .. }) => "repeated",
        Ok(Rotated::Refused(Refusal::Revoked(_))) => "revoked",
        Ok(Rotated::Refused(Refusal::RateLimited(_))) => "rate_limited",
        Ok(Rotated::Refused(Refusal::UnknownKey)) => "unknown_key",
        Ok(Rotated::Refused(Refusal::NewKeyExists)) => "new_key_exists",
        Ok(Rotated::Conflict) => "conflict",
        Err(WriteError::Unknown) => "unknown",
        Err(_) => "unavailable",
    }
}
