//! `/v1/report`: an answer that takes its time, or is large, or both, as reports of
//! real APIs are.
//!
//! | query | what |
//! | --- | --- |
//! | `bytes=N` | so many bytes, with a `content-length`; 0 if it is not said |
//! | `after=MS` | silence for so long before the head, in milliseconds |

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::Query,
    http::{HeaderValue, header::CONTENT_LENGTH},
    response::Response,
};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::sleep;

use crate::api::Charge;

/// The largest answer, in bytes.
const MOST_BYTES: usize = 100_000_000;
/// The longest silence.
const MOST_SILENCE: Duration = Duration::from_secs(300);
/// A piece of the answer, in bytes.
const PIECE: usize = 16 * 1024;

/// What is asked for.
#[derive(Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    bytes: usize,
    #[serde(default)]
    after: u64,
}

/// `GET /v1/report`.
pub(crate) async fn report(_: Charge, Query(wanted): Query<Wanted>) -> Response {
    sleep(Duration::from_millis(wanted.after).min(MOST_SILENCE)).await;
    let length = wanted.bytes.min(MOST_BYTES);
    let pieces = stream::unfold(length, |left| async move {
        let piece = Bytes::from_static(&[b'.'; PIECE]).slice(..PIECE.min(left));
        (left > 0).then(|| {
            (
                Ok::<_, std::convert::Infallible>(piece),
                left - PIECE.min(left),
            )
        })
    });
    let mut response = Response::new(Body::from_stream(pieces));
    response
        .headers_mut()
        .insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, http::Request};
    use tokio::sync::watch;
    use tower::ServiceExt as _;

    use crate::api::router;

    #[tokio::test]
    async fn a_report_has_the_length_that_was_asked_for() {
        for length in [0_usize, 1, 16 * 1024, 100_001] {
            let request = Request::builder().uri(format!("/v1/report?bytes={length}&after=1"));
            let request = request.body(axum::body::Body::empty()).unwrap();
            let response = router(watch::channel(false).1)
                .oneshot(request)
                .await
                .unwrap();
            assert_eq!(response.headers()["content-length"], length.to_string());
            let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
            assert_eq!(body.len(), length);
        }
    }
}
