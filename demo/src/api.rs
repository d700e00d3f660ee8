//! The API itself: every request is metered and answered with what arrived.
//!
//! | path | answer |
//! | --- | --- |
//! | `/v1/echo` | as any other path, and all request headers as a list of pairs |
//! | `/v1/events`, `/v1/ws`, `/v1/download`, `/rekey.demo.Live/Watch` | see [`live`] |
//! | `/v1/report` | see [`report`] |
//! | `GET /demo/ledger` | all balances; free, and meant to be asked directly |
//! | anything else | `{"user","credits_left","method","path","query"?,"body_bytes"}` |
//!
//! As every recipient must, it removes what a request's `Connection` nominates
//! before it looks at it (RFC 9110, 7.6.1). Many hops before real APIs do.

use std::convert::Infallible;

use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, Request, State},
    http::{HeaderMap, HeaderName, StatusCode, header::CONNECTION, request::Parts},
    middleware::map_request,
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tokio::sync::watch;

use crate::{ledger::Ledger, live, report};

/// Names the user. The gateway sets it and removes what a client sent.
const USER_HEADER: &str = "x-rekey-user";
/// A request without a user (a public path) is served as this and not metered.
const ANONYMOUS: &str = "anonymous";

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    ledger: Ledger,
    /// Turns true when the process is told to stop.
    pub stopping: watch::Receiver<bool>,
}

/// All routes, with balances of their own.
pub(crate) fn router(stopping: watch::Receiver<bool>) -> Router {
    let ledger = Ledger::default();
    Router::new()
        .route("/v1/echo", any(echo))
        .route("/v1/events", get(live::events))
        .route("/v1/ws", any(live::websocket))
        .route("/v1/download", get(live::download))
        .route("/rekey.demo.Live/Watch", post(live::watch))
        .route("/v1/report", get(report::report))
        .route("/demo/ledger", get(balances))
        .fallback(metered)
        .layer(map_request(remove_nominated))
        .with_state(Shared { ledger, stopping })
}

/// One credit, taken before the handler runs.
#[derive(Serialize)]
pub(crate) struct Charge {
    user: String,
    /// None for [`ANONYMOUS`].
    credits_left: Option<i64>,
}

/// Names and values in the order of arrival.
type Pairs = Vec<(String, String)>;

/// The answer to a metered request: what arrived, and what is left.
#[derive(Serialize)]
struct Receipt {
    #[serde(flatten)]
    charge: Charge,
    method: String,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    body_bytes: usize,
    /// All that arrived; of `/v1/echo` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Pairs>,
    /// All that came behind the body; of `/v1/echo` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    trailers: Option<Pairs>,
}

impl FromRequestParts<Shared> for Charge {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, Infallible> {
        let user = match parts.headers.get(USER_HEADER) {
            Some(user) if !user.is_empty() => String::from_utf8_lossy(user.as_bytes()),
            _ => {
                return Ok(Self {
                    user: ANONYMOUS.to_owned(),
                    credits_left: None,
                });
            }
        };
        Ok(Self {
            credits_left: Some(shared.ledger.charge(&user)),
            user: user.into_owned(),
        })
    }
}

/// Removes what `Connection` names, because that is for the hop before. What the
/// upgrade of the connection itself needs stays.
async fn remove_nominated(mut request: Request) -> Request {
    let headers = request.headers_mut();
    let values = headers.get_all(CONNECTION).iter();
    let nominated: Vec<_> = values
        // As bytes: what else stands there may be in any encoding.
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| name != "upgrade" && name != CONNECTION)
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    request
}

async fn metered(charge: Charge, request: Request) -> Response {
    receipt(charge, request, |_| None).await
}

async fn echo(charge: Charge, request: Request) -> Response {
    receipt(charge, request, |headers| Some(pairs(headers))).await
}

async fn balances(State(shared): State<Shared>) -> Response {
    Json(shared.ledger.balances()).into_response()
}

async fn receipt(
    charge: Charge,
    request: Request,
    show: fn(&HeaderMap) -> Option<Pairs>,
) -> Response {
    let (parts, body) = request.into_parts();
    let Some(rest) = read_to_end(body).await else {
        return (StatusCode::BAD_REQUEST, "the body ended too early\n").into_response();
    };
    let receipt = Receipt {
        charge,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().map(str::to_owned),
        body_bytes: rest.body_bytes,
        headers: show(&parts.headers),
        trailers: show(&rest.trailers),
    };
    Json(receipt).into_response()
}

fn pairs(headers: &HeaderMap) -> Pairs {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.to_string(), value.into_owned())
        })
        .collect()
}

/// What comes behind the head of a request.
#[derive(Default)]
struct Rest {
    body_bytes: usize,
    trailers: HeaderMap,
}

/// Reads the body to its end without keeping it. None if it broke off.
async fn read_to_end(mut body: Body) -> Option<Rest> {
    let mut rest = Rest::default();
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => rest.body_bytes += data.len(),
            Err(frame) => rest
                .trailers
                .extend(frame.into_trailers().unwrap_or_default()),
        }
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};
    use tower::ServiceExt as _;

    use super::*;
    use crate::ledger::FIRST_BALANCE;

    fn api() -> Router {
        router(watch::channel(false).1)
    }

    async fn send(api: &Router, request: Request) -> Value {
        let response = api.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    fn request(method: &str, path: &str, user: Option<&str>, body: &'static str) -> Request {
        let mut builder = Request::builder().method(method).uri(path);
        if let Some(user) = user {
            builder = builder.header(USER_HEADER, user);
        }
        builder.body(Body::from(body)).unwrap()
    }

    #[tokio::test]
    async fn any_request_costs_its_user_one_credit() {
        let api = api();
        let answer = send(
            &api,
            request("PUT", "/v1/scrape?url=x", Some("u_1"), "four"),
        )
        .await;
        let expected = json!({
            "user": "u_1", "method": "PUT", "path": "/v1/scrape", "query": "url=x",
            "credits_left": FIRST_BALANCE - 1, "body_bytes": 4,
        });
        assert_eq!(answer, expected);
        let again = send(&api, request("GET", "/v1/echo", Some("u_1"), "")).await;
        assert_eq!(again["credits_left"], FIRST_BALANCE - 2);
        let ledger = send(&api, request("GET", "/demo/ledger", Some("u_1"), "")).await;
        assert_eq!(
            ledger,
            json!({ "u_1": FIRST_BALANCE - 2 }),
            "the ledger itself is free"
        );
    }

    #[tokio::test]
    async fn without_a_user_nobody_pays() {
        let api = api();
        for user in [None, Some("")] {
            let answer = send(&api, request("GET", "/", user, "")).await;
            assert_eq!(answer["user"], ANONYMOUS);
            assert_eq!(answer["credits_left"], Value::Null);
        }
        assert_eq!(
            send(&api, request("GET", "/demo/ledger", None, "")).await,
            json!({})
        );
    }

    #[tokio::test]
    async fn what_connection_nominates_is_removed() {
        let mut request = request("GET", "/v1/echo", Some("u_1"), "");
        let nominating = "Upgrade, X-Rekey-User".parse().unwrap();
        request.headers_mut().insert("connection", nominating);
        assert_eq!(send(&api(), request).await["user"], ANONYMOUS);
    }

    #[tokio::test]
    async fn echo_shows_every_header_that_arrived() {
        let mut request = request("POST", "/v1/echo", Some("u_1"), "");
        request
            .headers_mut()
            .append("x-twice", "a".parse().unwrap());
        request
            .headers_mut()
            .append("x-twice", "b".parse().unwrap());
        let answer = send(&api(), request).await;
        let expected = json!([["x-rekey-user", "u_1"], ["x-twice", "a"], ["x-twice", "b"]]);
        assert_eq!(answer["headers"], expected);
    }
}
