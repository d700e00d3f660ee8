//! What holds for every page: who may ask, and what a browser may do with the
//! answer.

use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::origin::Origin;
use crate::dashboard::Dashboard;
use crate::dashboard::problem::Problem;
use crate::http::discard;

/// Nothing but our own files, no frames, no forms to elsewhere.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// On every answer. `same-origin`, not `no-referrer`: with that browsers send
/// `Origin: null` even to ourselves (Fetch standard, "append a request Origin
/// header").
const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", CONTENT_SECURITY_POLICY),
    ("x-frame-options", "DENY"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];
/// Two years.
const STRICT_TRANSPORT_SECURITY: &str = "max-age=63072000";

/// Lets a request pass that is for this host and, if it is to change anything,
/// from our own pages; dresses and counts the answer.
pub(crate) async fn guard(
    State(dashboard): State<Dashboard>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = matched.as_ref().map_or("other", MatchedPath::as_str);
    let mut response = match admit(&dashboard, request) {
        Ok(request) => next.run(request).await,
        Err(Rejected { problem, body }) => {
            discard(body).await;
            problem.into_response()
        }
    };
    dress(response.headers_mut(), &dashboard.settings.origin);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    let metrics = &dashboard.metrics;
    metrics.answered("dashboard", endpoint, status, took);
    tracing::debug!(listener = "dashboard", endpoint, status, ?took, "answered");
    response
}

/// A request that no handler sees.
struct Rejected {
    problem: Problem,
    /// It has not been read yet.
    body: Body,
}

fn admit(dashboard: &Dashboard, request: Request) -> Result<Request, Rejected> {
    let (parts, body) = request.into_parts();
    match may_pass(dashboard, &parts) {
        Ok(()) => Ok(Request::from_parts(parts, body)),
        Err(problem) => Err(Rejected { problem, body }),
    }
}

fn may_pass(dashboard: &Dashboard, parts: &Parts) -> Result<(), Problem> {
    let origin = &dashboard.settings.origin;
    if !origin.is_host_of(parts) {
        return Err(Problem::OtherHost(origin.as_str().to_owned()));
    }
    let changes_nothing = matches!(parts.method, Method::GET | Method::HEAD);
    if !changes_nothing && !origin.sent(parts) {
        return Err(Problem::OtherSite);
    }
    if dashboard.store.feed().is_restored() {
        return Err(Problem::Restored);
    }
    Ok(())
}

fn dress(headers: &mut HeaderMap, origin: &Origin) {
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        headers.insert(name, HeaderValue::from_static(value));
    }
    if origin.is_secure() {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(STRICT_TRANSPORT_SECURITY),
        );
    }
    // Also what has no secret in it: a page from before the log-out must not be
    // there to go back to.
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
}
