//! The admin listener's endpoints about who a user is: the address, and the end.

use axum::Json;
use axum::extract::State;
use rekey_protocol::{ErrorBody, ErrorCode};

use super::App;
use super::admin::{no_randomness, unknown_user};
use super::body::JsonBody;
use super::error::ApiError;
use crate::api::{EMAIL_PATH, EmailSet, REMOVE_PATH, RemoveRequest, SetEmailRequest, UserRemoved};
use crate::engine::Engine;
use crate::keystore::issue;
use crate::operations::users::removal::{RemoveRefusal, RemoveUser};
use crate::operations::users::{EmailRefusal, SetEmail};

/// Give a user an address to log in with, in place of the present one if there is one.
#[utoipa::path(
    post, path = EMAIL_PATH, tag = "admin", security(("admin" = [])),
    request_body = SetEmailRequest,
    responses(
        (status = 200, description = "Set", body = EmailSet),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user", body = ErrorBody),
        (status = 409, description = "already_exists: another user's address", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn set_email(
    State(app): State<App>,
    JsonBody(request): JsonBody<SetEmailRequest>,
) -> Result<Json<EmailSet>, ApiError> {
    let SetEmailRequest { user_id, email } = request;
    let set = app.store.engine().run(SetEmail {
        user: user_id.clone(),
        email: email.clone(),
    });
    set.await?.map_err(|refusal| match refusal {
        EmailRefusal::UnknownUser => unknown_user(),
        EmailRefusal::Taken => ApiError::new(
            ErrorCode::AlreadyExists,
            "another user has this e-mail address; nothing was changed",
        ),
    })?;
    tracing::info!(user = %user_id, "address set");
    Ok(Json(EmailSet { user_id, email }))
}

/// Remove a user.
///
/// The key is revoked, and address, password and log-ins are deleted. The audit log
/// goes on under a pseudonym. It is answered when no gateway accepts the key.
#[utoipa::path(
    post, path = REMOVE_PATH, tag = "admin", security(("admin" = [])),
    request_body = RemoveRequest,
    responses(
        (status = 200, description = "The user is not here any more", body = UserRemoved),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn remove_user(
    State(app): State<App>,
    JsonBody(request): JsonBody<RemoveRequest>,
) -> Result<Json<UserRemoved>, ApiError> {
    let user_id = request.user_id;
    let pseudonym = issue::pseudonym().map_err(no_randomness)?;
    let remove = RemoveUser {
        user: user_id.clone(),
        pseudonym,
    };
    let removed = app.store.engine().run(remove).await?;
    let removed = removed.map_err(|refusal| match refusal {
        RemoveRefusal::UnknownUser => unknown_user(),
        RemoveRefusal::BeingImported => ApiError::new(
            ErrorCode::Unavailable,
            "an import that is under way brings a key of this user; nothing was changed, try again when it has ended",
        ),
    })?;
    // S7: also where it was done before; that call may not have waited.
    app.store.barrier(removed.revision).await;
    // Not by name: the log of the store is kept, too.
    tracing::info!(changed = removed.pseudonym.is_some(), "user removed");
    Ok(Json(UserRemoved {
        user_id,
        pseudonym: removed.pseudonym,
    }))
}
