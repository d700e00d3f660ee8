//! The endpoints that want no token, for they hold no secret: health, metrics
//! and the API's own description.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rekey_protocol::ErrorBody;

use super::App;
use super::error::ApiError;
use crate::engine::Serve;
use crate::metrics;

/// Whether the process runs. It says nothing about the database, so that nothing kills
/// a store that only waits for room on its disk. On both listeners.
#[utoipa::path(
    get, path = "/livez", tag = "open",
    responses(
        (status = 200, description = "The process answers", body = String,
            content_type = "text/plain"),
    )
)]
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// Whether keys can be resolved and a rotation can commit. The body says what is in the
/// way. Where nobody has changed anything for three seconds, a small change is made to
/// find out. On both listeners.
#[utoipa::path(
    get, path = "/readyz", tag = "open",
    responses(
        (status = 200, description = "Keys can be resolved, and a rotation can commit",
            body = String, content_type = "text/plain"),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.store.ready().await?;
    Ok("ok\n")
}

/// As `/readyz`. On both listeners.
#[utoipa::path(
    get, path = "/healthz", tag = "open",
    responses(
        (status = 200, description = "Keys can be resolved, and a rotation can commit",
            body = String, content_type = "text/plain"),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub(super) async fn healthz(state: State<App>) -> Result<&'static str, ApiError> {
    readyz(state).await
}

/// Metrics, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "open",
    responses(
        (status = 200, description = "OpenMetrics 1.0", body = String,
            content_type = "application/openmetrics-text"),
    )
)]
pub(super) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    if let Some(used) = app.store.engine().disk_use() {
        app.metrics.set_disk(used);
    }
    let ahead = app.store.moment().ahead_seconds();
    app.metrics.set_clock_ahead(ahead);
    let headers = [(header::CONTENT_TYPE, metrics::CONTENT_TYPE)];
    (headers, app.metrics.render())
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", tag = "open",
    responses(
        (status = 200, description = "OpenAPI 3.1", body = Object,
            content_type = "application/json"),
    )
)]
pub(super) async fn openapi(State(app): State<App>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, app.document)
}
