//! The admin listener's own endpoints: users, keys and the audit log. The
//! import is in [`super::import`].

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rekey_protocol::{ErrorBody, ErrorCode};
use serde::Serialize;
use zeroize::Zeroizing;

use super::App;
use super::body::{JsonBody, QueryOf};
use super::error::ApiError;
use crate::accounts::password::For;
use crate::api::{
    AUDIT_PATH, AddUserRequest, AuditPage, AuditQuery, ISSUE_PATH, IssueRequest, KeyIssued,
    PAGE_MAX, PASSWORD_PATH, PasswordSet, REVOKE_PATH, RevokeRequest, RevokeResponse,
    SetPasswordRequest, USERS_PATH, UserAdded, UserPage, UsersQuery,
};
use crate::clock::UnixMillis;
use crate::engine::Engine;
use crate::keystore::issue;
use crate::operations::audit::{Selection, ShowEvents};
use crate::operations::keys::revoke::{Revoke, RevokeRefusal};
use crate::operations::users::passwords::{PasswordRefusal, SetPassword};
use crate::operations::users::{AddRefusal, AddUser, Issue, IssueRefusal, ListUsers, NewUser};

/// Longer than any answer with a key: so its text is never moved in memory.
const KEY_SHOWN_MAX: usize = 1024;

/// The path names nobody (404).
pub(super) fn unknown_user() -> ApiError {
    ApiError::new(ErrorCode::UnknownUser, "there is no such user")
}

/// Add a user with a first key, which is shown this once.
#[utoipa::path(
    post, path = USERS_PATH, tag = "admin", security(("admin" = [])),
    request_body = AddUserRequest,
    responses(
        (status = 201, description = "Added", body = UserAdded<'_>),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 409, description = "already_exists: the id or the address", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn add_user(
    State(app): State<App>,
    JsonBody(request): JsonBody<AddUserRequest>,
) -> Result<Response, ApiError> {
    let key = app.issuer.key()?;
    let phc = match request.password {
        Some(password) => Some(app.passwords.hash(password, For::Operator).await?),
        None => None,
    };
    let new = NewUser {
        id: match request.user_id {
            Some(id) => id,
            None => issue::user_id().map_err(no_randomness)?,
        },
        email: request.email,
        digest: key.digest(),
        hint: key.hint().to_owned(),
        phc,
    };
    let added = app.store.engine().run(AddUser(new.clone())).await?;
    let at = added.map_err(|refusal| {
        let what = match refusal {
            AddRefusal::UserExists => "a user with this id exists already",
            AddRefusal::UserRemoved => {
                "this id was a removed user's, and is not used again: your API may know that \
                 person by it; choose another one"
            }
            AddRefusal::EmailExists => "a user with this e-mail address exists already",
            AddRefusal::BeingImported => {
                "an import that is not done, or is being removed, has a user with this id or e-mail address; try again when it is over"
            }
        };
        ApiError::new(ErrorCode::AlreadyExists, what)
    })?;
    tracing::info!(user = %new.id, digest = ?new.digest, "user added");
    let answer = UserAdded {
        user_id: new.id.as_str(),
        email: new.email.as_str(),
        api_key: key.expose(),
        created_at: &at.rfc3339(),
    };
    show(&answer)
}

/// Set a user's password for the dashboard. It ends all sessions of the user.
#[utoipa::path(
    post, path = PASSWORD_PATH, tag = "admin", security(("admin" = [])),
    request_body = SetPasswordRequest,
    responses(
        (status = 200, description = "Set", body = PasswordSet),
        (status = 400, description = "bad_request; also where the user has no e-mail address",
            body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn set_password(
    State(app): State<App>,
    JsonBody(request): JsonBody<SetPasswordRequest>,
) -> Result<Json<PasswordSet>, ApiError> {
    let user_id = request.user_id;
    let phc = app.passwords.hash(request.password, For::Operator).await?;
    let set = SetPassword {
        user: user_id.clone(),
        phc,
    };
    app.store
        .engine()
        .run(set)
        .await?
        .map_err(|refusal| match refusal {
            PasswordRefusal::UnknownUser => unknown_user(),
            PasswordRefusal::NoEmail => {
                ApiError::bad_request("the user has no e-mail address to log in with")
            }
        })?;
    tracing::info!(user = %user_id, "password set");
    Ok(Json(PasswordSet { user_id }))
}

/// The system gives no randomness (503).
pub(super) fn no_randomness(error: getrandom::Error) -> ApiError {
    tracing::error!(%error, "no random bytes from the system");
    ApiError::new(ErrorCode::Unavailable, "the system gives no random bytes")
}

/// 201 with a key in it, which nobody but the client is to keep.
fn show(answer: &impl Serialize) -> Result<Response, ApiError> {
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_SHOWN_MAX));
    serde_json::to_writer(&mut *text, answer)
        .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    // The owner wipes the text when the body has been written.
    let body = Body::from(Bytes::from_owner(text));
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// Give a user without an active key a new one, which is shown this once.
///
/// The way back for who lost the key (I4): revoke it, then issue another. It is
/// shown when no gateway accepts the one before.
#[utoipa::path(
    post, path = ISSUE_PATH, tag = "admin", security(("admin" = [])),
    request_body = IssueRequest,
    responses(
        (status = 201, description = "Issued", body = KeyIssued<'_>),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user", body = ErrorBody),
        (status = 409, description = "already_exists: an active key", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn issue(
    State(app): State<App>,
    JsonBody(request): JsonBody<IssueRequest>,
) -> Result<Response, ApiError> {
    let key = app.issuer.key()?;
    let (user, digest) = (request.user_id, key.digest());
    let hint = key.hint().to_owned();
    let issue = Issue {
        user: user.clone(),
        digest,
        hint,
    };
    let issued = app.store.engine().run(issue).await?;
    let issued = issued.map_err(|refusal| match refusal {
        IssueRefusal::UnknownUser => unknown_user(),
        IssueRefusal::HasKey => ApiError::new(
            ErrorCode::AlreadyExists,
            "the user has an active key; revoke it first",
        ),
        IssueRefusal::BeingImported => ApiError::new(
            ErrorCode::AlreadyExists,
            "an import that is not done, or is being removed, has a key for this user; try again when it is over",
        ),
    })?;
    // S7: the call that revoked the key before may not have waited.
    app.store.barrier(issued.revision).await;
    tracing::info!(%user, ?digest, "key issued");
    show(&KeyIssued {
        user_id: user.as_str(),
        api_key: key.expose(),
        created_at: &issued.at.rfc3339(),
    })
}

/// List users, in the order of their ids.
#[utoipa::path(
    get, path = USERS_PATH, tag = "admin", security(("admin" = [])),
    params(UsersQuery),
    responses(
        (status = 200, description = "A page", body = UserPage),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn list_users(
    State(app): State<App>,
    QueryOf(query): QueryOf<UsersQuery>,
) -> Result<Json<UserPage>, ApiError> {
    let limit = page(query.limit)?;
    let after = query.after;
    let users = app.store.engine().read(ListUsers { after, limit }).await?;
    let full = users.len() == limit as usize;
    let next = users
        .last()
        .filter(|_| full)
        .map(|last| last.user_id.clone());
    let next = next.map(String::from);
    Ok(Json(UserPage { users, next }))
}

/// Revoke a key; to do it again changes nothing.
#[utoipa::path(
    post, path = REVOKE_PATH, tag = "admin", security(("admin" = [])),
    request_body = RevokeRequest,
    responses(
        (status = 200, description = "It is not active any more", body = RevokeResponse),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user, unknown_key", body = ErrorBody),
        (status = 413, description = "payload_too_large", body = ErrorBody),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn revoke(
    State(app): State<App>,
    JsonBody(request): JsonBody<RevokeRequest>,
) -> Result<Json<RevokeResponse>, ApiError> {
    let revoked = app.store.engine().run(which(request)?).await?;
    let revoked = revoked.map_err(|refusal| match refusal {
        RevokeRefusal::UnknownUser => unknown_user(),
        RevokeRefusal::UnknownKey => {
            ApiError::new(ErrorCode::UnknownKey, "this store does not know the key")
        }
    })?;
    // S7: also where it was revoked before; that call may not have waited.
    app.store.barrier(revoked.revision).await;
    tracing::info!(user = %revoked.user_id, changed = revoked.revoked, "key revoked");
    Ok(Json(revoked))
}

/// The one key that a request names.
pub(super) fn which(request: RevokeRequest) -> Result<Revoke, ApiError> {
    match (request.user_id, request.digest) {
        (Some(user), None) => Ok(Revoke::OfUser(user)),
        (None, Some(digest)) => Ok(Revoke::Key(digest)),
        _ => Err(ApiError::bad_request("give user_id or digest, one of them")),
    }
}

/// The audit log of a user or of all, oldest event first.
///
/// To read it for ever, go on after the id of the last event that you have. Ids are
/// given in the order in which events become visible.
#[utoipa::path(
    get, path = AUDIT_PATH, tag = "admin", security(("admin" = [])),
    params(AuditQuery),
    responses(
        (status = 200, description = "A page", body = AuditPage),
        (status = 400, description = "bad_request", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 404, description = "unknown_user", body = ErrorBody),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn audit(
    State(app): State<App>,
    QueryOf(query): QueryOf<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    let limit = page(query.limit)?;
    let since = query.since.as_deref().map(|text| {
        UnixMillis::parse(text).ok_or_else(|| {
            ApiError::bad_request("since is a time as RFC 3339, such as 2026-01-31T16:00:00Z")
        })
    });
    let wanted = Selection {
        user: query.user,
        after: query.after,
        since: since.transpose()?,
        limit,
    };
    let page = app.store.engine().read(ShowEvents(wanted)).await?;
    page.map(Json).ok_or_else(unknown_user)
}

fn page(limit: Option<u32>) -> Result<u32, ApiError> {
    match limit.unwrap_or(PAGE_MAX) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(ApiError::bad_request("limit is 1 to 1000")),
    }
}
