//! Reads a request: JSON bodies and queries, with errors that name the fault
//! and never repeat a value (it might be a key).

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use rekey_protocol::{ErrorCode, KEY_PREFIX};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON body, whatever its content type says.
pub struct JsonBody<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body =
            Bytes::from_request(request, state)
                .await
                .map_err(|rejection| match rejection.into_response().status() {
                    StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(
                        ErrorCode::PayloadTooLarge,
                        "the body is larger than this endpoint takes",
                    ),
                    _ => ApiError::bad_request("the body broke off before its end"),
                })?;
        serde_json::from_slice(&body)
            .map(Self)
            .map_err(|error| ApiError::bad_request(explain(&error)))
    }
}

/// A query string.
pub struct QueryOf<T>(pub T);

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
        "a user id is",
        "not an e-mail address",
    ];
    let known = KINDS.iter().any(|kind| text.starts_with(kind));
    (known && text.len() <= 500 && !text.contains(KEY_PREFIX)).then_some(text)
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
        let key = format!("{KEY_PREFIX}0123456789");
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
