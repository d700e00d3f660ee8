//! The endpoints that want no token, for they hold no secret: health, metrics
//! and the API's own description.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rekey_protocol::ErrorBody;

use super::App;
use super::error::ApiError;
use crate::metrics;

/// Whether the store can serve. On both listeners.
#[utoipa::path(
    get, path = "/healthz", tag = "open",
    responses(
        (status = 200, description = "The database can be read", body = String,
            content_type = "text/plain"),
        (status = 503, description = "unavailable", body = ErrorBody),
    )
)]
pub async fn healthz(State(app): State<App>) -> Result<&'static str, ApiError> {
    app.database.check().await?;
    Ok("ok\n")
}

/// Metrics, as Prometheus reads them.
#[utoipa::path(
    get, path = "/metrics", tag = "open",
    responses(
        (status = 200, description = "OpenMetrics 1.0", body = String,
            content_type = "application/openmetrics-text"),
    )
)]
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
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
pub async fn openapi(State(app): State<App>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (headers, app.document)
}
