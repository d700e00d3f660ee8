//! The answers that the gateway gives itself, to the byte.

use std::borrow::Cow;

use rekey_protocol::contract::{REGENERATED, REPLAYED_HEADER};
use rekey_protocol::{ApiKey, CreatedAt};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::request::refusal::{ApiRefusal, Header, RefusalRow};

/// What `WWW-Authenticate` begins with.
const CHALLENGE: &str = r#"Bearer realm="api""#;

/// More than any body here takes, so that the buffer is never moved: a
/// moved buffer would leave a copy of the new key behind (I6).
const BODY_CAPACITY: usize = 1024;

/// An answer that the gateway gives itself.
pub struct Reply {
    /// The HTTP status of the answer.
    pub status: u16,
    /// The headers besides the host's own, with lower-case names.
    pub headers: Vec<(&'static str, String)>,
    /// JSON. Zeroized when dropped, because it may hold a new key.
    pub body: Zeroizing<Vec<u8>>,
    /// The reason in the access log.
    pub details: &'static str,
}

#[derive(Serialize)]
struct Success<'a> {
    success: bool,
    data: SuccessData<'a>,
    message: &'static str,
}

#[derive(Serialize)]
struct SuccessData<'a> {
    api_key: &'a str,
    created_at: &'a str,
    previous_key_invalidated: bool,
}

#[derive(Serialize)]
struct FailureBody {
    success: bool,
    error: FailureDetail,
}

#[derive(Serialize)]
struct FailureDetail {
    code: &'static str,
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Reply {
    /// The 200 of the endpoint: the documented object, in its order.
    pub fn rotated(key: &ApiKey, created_at: &CreatedAt) -> Self {
        let body = Success {
            success: true,
            data: SuccessData {
                api_key: key.expose(),
                created_at: created_at.as_str(),
                previous_key_invalidated: true,
            },
            message: REGENERATED,
        };
        Self::json(200, &body, "rekey_rotated")
    }

    /// The same 200 once more, for a repeated request.
    pub fn replayed(key: &ApiKey, created_at: &CreatedAt) -> Self {
        let mut reply = Self::rotated(key, created_at);
        reply.headers.push((REPLAYED_HEADER, "true".to_owned()));
        reply.details = "rekey_replayed";
        reply
    }

    /// The answer to a refused request.
    pub fn refused(refusal: ApiRefusal) -> Self {
        Self::of(refusal.row())
    }

    /// A refusal as an answer.
    pub fn of(row: RefusalRow) -> Self {
        let header = match &row.header {
            Header::Plain => None,
            Header::Challenge => Some(("www-authenticate", CHALLENGE.to_owned())),
            Header::InvalidToken => Some(("www-authenticate", invalid_token(&row.message))),
            Header::Allow(method) => Some(("allow", (*method).to_owned())),
            Header::RetryAfter(seconds) | Header::RetryAfterInBody(seconds) => {
                Some(("retry-after", seconds.to_string()))
            }
        };
        let error = FailureDetail {
            code: row.code,
            message: row.message,
            retry_after: match row.header {
                Header::RetryAfterInBody(seconds) => Some(seconds),
                _ => None,
            },
        };
        let body = FailureBody {
            success: false,
            error,
        };
        let mut reply = Self::json(row.status, &body, row.details);
        reply.headers.extend(header);
        reply
    }

    fn json(status: u16, body: &impl Serialize, details: &'static str) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_CAPACITY));
        // Strings and integers into memory: this cannot fail.
        let _ = serde_json::to_writer(&mut *bytes, body);
        debug_assert!(bytes.capacity() == BODY_CAPACITY);
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        Self {
            status,
            headers,
            body: bytes,
            details,
        }
    }
}

/// `WWW-Authenticate` for a key that is not good (RFC 6750, 3).
fn invalid_token(description: &str) -> String {
    format!(r#"{CHALLENGE}, error="invalid_token", error_description="{description}""#)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::credentials::BadIdempotencyKey;
    use crate::request::presented::Presented;
    use rekey_protocol::RotationInterval;

    fn text(reply: &Reply) -> &str {
        std::str::from_utf8(&reply.body).unwrap()
    }

    #[test]
    fn the_200_is_the_documented_object_in_its_order() {
        let key = ApiKey::parse(format!("sb_live_{}", "x".repeat(32)).as_bytes()).unwrap();
        let at = CreatedAt::try_from("2025-01-31T16:00:00Z".to_owned()).unwrap();
        let reply = Reply::rotated(&key, &at);
        assert_eq!(reply.status, 200);
        assert_eq!(
            text(&reply),
            r#"{"success":true,"data":{"api_key":"sb_live_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx","created_at":"2025-01-31T16:00:00Z","previous_key_invalidated":true},"message":"API key regenerated successfully. Your old key is now invalid."}"#
        );
    }

    #[test]
    fn the_429_is_the_documented_object_and_agrees_with_its_header() {
        let reply = Reply::refused(ApiRefusal::RateLimited {
            retry_after: 2400,
            interval: RotationInterval::HOUR,
        });
        assert_eq!(reply.status, 429);
        assert_eq!(
            text(&reply),
            r#"{"success":false,"error":{"code":"rate_limited","message":"You can only regenerate your API key once per hour. Please try again later.","retry_after":2400}}"#
        );
        assert!(reply.headers.contains(&("retry-after", "2400".to_owned())));
    }

    #[test]
    fn every_refusal_has_one_shape_and_no_store() {
        for refusal in [
            ApiRefusal::MissingApiKey(Presented::Subprotocol),
            ApiRefusal::InvalidApiKey,
            ApiRefusal::ApiKeyRevoked,
            ApiRefusal::MethodNotAllowed,
            ApiRefusal::InvalidIdempotencyKey(BadIdempotencyKey::Length(1 << 16)),
            ApiRefusal::RateLimited {
                retry_after: 1,
                interval: 90.into(),
            },
            ApiRefusal::TooManyOpenRequests,
            ApiRefusal::InvalidConnectionHeader,
            ApiRefusal::KeyStoreUnavailable,
            ApiRefusal::RotationUnconfirmed,
            ApiRefusal::GatewayBusy,
        ] {
            let RefusalRow { code, counter, .. } = refusal.row();
            let reply = Reply::refused(refusal);
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(body["success"], false);
            assert_eq!(body["error"]["code"], code);
            let metric = format!("rekey.requests.outcome.{code}");
            assert_eq!(counter.name(), metric);
            assert!(
                reply
                    .headers
                    .contains(&("cache-control", "no-store".to_owned()))
            );
            assert_eq!(reply.details, format!("rekey_{code}"));
            let challenged = reply
                .headers
                .iter()
                .any(|(name, _)| *name == "www-authenticate");
            assert_eq!(challenged, reply.status == 401);
            // The documented refusal by the hour alone has it in its body, too.
            let is_limited = matches!(refusal, ApiRefusal::RateLimited { .. });
            assert_eq!(body["error"]["retry_after"].is_u64(), is_limited);
        }
    }
}
