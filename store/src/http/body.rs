//! Reads a request: JSON bodies and queries, with errors that name the fault
//! and never repeat a value (it might be a key).

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::request::Parts;
use futures_util::StreamExt;
use rekey_protocol::{ErrorCode, may_hold_a_key};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The largest body of a request, but for the import's, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// The largest body of a request that is a list, in bytes.
const LIST_MAX: usize = 1024 * 1024;
/// How much more of a refused body is read, in bytes. A connection that is
/// closed with bytes unread is reset, and the reset may destroy the answer on
/// its way.
const DRAIN_MAX: usize = 256 * 1024;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A JSON body, whatever its content type says.
pub(super) struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read_body(request.into_body()).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(explain(&error)))
    }
}

/// A JSON body that is a list, as [`JsonBody`].
pub(super) struct LongJson<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for LongJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let body = read_body_of(request.into_body(), LIST_MAX).await?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(explain(&error)))
    }
}

/// A small body, whole and in good time.
pub(crate) async fn read_body(body: Body) -> Result<Vec<u8>, ApiError> {
    read_body_of(body, BODY_MAX).await
}

async fn read_body_of(body: Body, most: usize) -> Result<Vec<u8>, ApiError> {
    let reading = read(body.into_data_stream(), most);
    tokio::time::timeout(PATIENCE, reading)
        .await
        .map_err(|_| ApiError::bad_request("the body took longer than 10 s"))?
}

async fn read(mut chunks: BodyDataStream, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut body = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::bad_request("the body broke off before its end"))?;
        if body.len() + chunk.len() > most {
            drain(chunks).await;
            return Err(ApiError::new(
                ErrorCode::PayloadTooLarge,
                format!("the body is over {} KiB", most / 1024),
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads and forgets a body that nobody wants, within reason.
pub(crate) async fn discard(body: Body) {
    let draining = drain(body.into_data_stream());
    // Late or not, the answer is the same.
    let _ = tokio::time::timeout(PATIENCE, draining).await;
}

async fn drain(mut chunks: BodyDataStream) {
    let mut left = DRAIN_MAX;
    while let Some(Ok(chunk)) = chunks.next().await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => break,
        }
    }
}

/// A query string.
pub(super) struct QueryOf<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for QueryOf<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let text = rejection.body_text();
                let reason = text.rsplit("query string: ").next().unwrap_or_default();
                let reason = safe(reason).unwrap_or("a value does not parse");
                Err(ApiError::bad_request(format!("query: {reason}")))
            }
        }
    }
}

/// What is wrong with a JSON text.
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(
        unreachable_pub,
        reason = "only the fuzz targets reach it from outside"
    )
)]
pub fn explain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    match safe(&text) {
        Some(text) => text.to_owned(),
        None if error.is_data() => {
            format!("a value has the wrong type or is out of range at line {line} column {column}")
        }
        None => format!("not valid JSON at line {line} column {column}"),
    }
}

/// The texts of serde that repeat no value, only a field's name; or our own.
fn safe(text: &str) -> Option<&str> {
    const KINDS: &[&str] = &[
        "unknown field `",
        "missing field `",
        "duplicate field `",
        "a digest is",
        "a rotation id is",
        "an incarnation is",
        "a gateway id is",
        "a replay's proof is",
        "a sealed key is",
        "a user id is",
        "not an e-mail address",
        "a password has",
    ];
    let known = KINDS.iter().any(|kind| text.starts_with(kind));
    (known && text.len() <= 500 && !may_hold_a_key(text)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::RotateRequest;

    fn explained(json: &str) -> String {
        explain(&serde_json::from_str::<RotateRequest>(json).unwrap_err())
    }

    #[test]
    fn fields_are_named() {
        let text = explained(r#"{"rotation":1}"#);
        assert!(text.starts_with("unknown field `rotation`"), "{text}");
        let text = explained("{}");
        assert!(text.starts_with("missing field `rotation_id`"), "{text}");
        let text = explained(r#"{"rotation_id":"xyz"}"#);
        assert!(text.starts_with("a rotation id is 32 hex"), "{text}");
        assert!(explained("{").starts_with("not valid JSON at line 1"));
    }

    #[test]
    fn values_are_never_repeated() {
        let key = format!("{}0123456789", rekey_protocol::KEY_PREFIX);
        for json in [
            format!(r#"{{"attempt":"{key}"}}"#),
            format!(r#"{{"{key}":1}}"#),
            format!(r#"{{"rotation_id":"{key}"}}"#),
            format!("\"{key}\""),
            key.clone(),
        ] {
            let text = explained(&json);
            assert!(!text.contains(&key), "{text}");
        }
    }
}
