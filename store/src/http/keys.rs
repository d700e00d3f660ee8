//! The admin listener's endpoints for keys that were found or leaked: whose one
//! is, and the end of many at once.

use axum::Json;
use axum::extract::State;
use futures_util::{StreamExt, stream};
use rekey_protocol::{ErrorBody, ErrorCode};

use super::App;
use super::admin::which;
use super::body::{LongJson, QueryOf};
use super::error::ApiError;
use crate::api::{
    KEYS_PATH, KeyQuery, KeyShown, REVOKE_MANY_PATH, REVOKE_MOST, RevokeManyRequest, RevokeOutcome,
    RevokeResponse, RevokedMany, RevokedOne,
};
use crate::engine::{Engine, WriteError};
use crate::operations::keys::ShowKey;
use crate::operations::keys::revoke::RevokeRefusal;

/// Changes of one request that wait for the writer at a time: enough for group
/// commits, too few to be in anybody's way.
const AT_ONCE: usize = 32;

/// Whose a key is, and whether it is active. To look changes nothing.
#[utoipa::path(
    get, path = KEYS_PATH, tag = "admin", security(("admin" = [])),
    params(KeyQuery),
    responses(
        (status = 200, description = "A key that the store knows", body = KeyShown),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_key", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn show_key(
    State(app): State<App>,
    QueryOf(query): QueryOf<KeyQuery>,
) -> Result<Json<KeyShown>, ApiError> {
    let key = app.store.engine().read(ShowKey(query.digest)).await?;
    key.map(Json).ok_or_else(unknown_key)
}

fn unknown_key() -> ApiError {
    ApiError::new(ErrorCode::UnknownKey, "this store does not know the key")
}

/// Revoke many keys, in one wait for the gateways; to do it again changes nothing.
///
/// Each is a change of its own, and other changes are made in between. After an
/// error some may be revoked: send the same request again.
#[utoipa::path(
    post, path = REVOKE_MANY_PATH, tag = "admin", security(("admin" = [])),
    request_body = RevokeManyRequest,
    responses(
        (status = 200, description = "None of them is active any more", body = RevokedMany),
        (status = 400, description = "bad_request: nothing was changed", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: some may be revoked", body = ErrorBody),
    )
)]
pub(super) async fn revoke_many(
    State(app): State<App>,
    LongJson(request): LongJson<RevokeManyRequest>,
) -> Result<Json<RevokedMany>, ApiError> {
    if request.keys.len() > REVOKE_MOST {
        return Err(ApiError::bad_request("at most 5000 keys at a time"));
    }
    let keys: Vec<_> = request
        .keys
        .into_iter()
        .map(which)
        .collect::<Result<_, _>>()?;
    let count = keys.len();
    let store = &app.store;
    let mut done = stream::iter(keys)
        .map(|key| store.engine().run(key))
        .buffered(AT_ONCE);
    let (mut results, mut revision, mut failed) = (Vec::with_capacity(count), 0, None);
    while let Some(outcome) = done.next().await {
        match outcome {
            Ok(Ok(revoked)) => {
                revision = revision.max(revoked.revision);
                results.push(told(revoked));
            }
            Ok(Err(refusal)) => results.push(refused(refusal)),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    drop(done);
    if let Some(error) = failed {
        return Err(partly(error, results.len(), count));
    }
    // S7, once for all of them, and also for those that were revoked before.
    store.barrier(revision).await;
    tracing::info!(count, "keys revoked");
    Ok(Json(RevokedMany { results }))
}

/// Not "nothing was changed", whatever became of that one.
fn partly(error: WriteError, done: usize, count: usize) -> ApiError {
    let message = format!(
        "{done} of {count} keys were done, but gateways may still accept them; the others were \
         not, because {error}. Send the same request again: it is safe"
    );
    ApiError::new(ErrorCode::Internal, message)
}

fn told(revoked: RevokeResponse) -> RevokedOne {
    RevokedOne {
        outcome: match revoked.revoked {
            true => RevokeOutcome::Revoked,
            false => RevokeOutcome::NotActive,
        },
        user_id: Some(revoked.user_id),
    }
}

fn refused(refusal: RevokeRefusal) -> RevokedOne {
    RevokedOne {
        outcome: match refusal {
            RevokeRefusal::UnknownUser => RevokeOutcome::UnknownUser,
            RevokeRefusal::UnknownKey => RevokeOutcome::UnknownKey,
        },
        user_id: None,
    }
}
