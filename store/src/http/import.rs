//! The admin listener's import: one JSON object per line in, and either a
//! count out or one line per bad row. Neither side is ever held in memory.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use rekey_protocol::{ErrorBody, ErrorCode};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::App;
use super::body::{QueryOf, explain};
use super::error::ApiError;
use crate::api::{BadRow, IMPORT_PATH, ImportDone, ImportQuery, ImportRefused, ImportRow, NDJSON};
use crate::engine::import::{ImportError, Staging};
use crate::keystore::import::{CheckedImport, Import, ImportMode, Imported};

/// The longest line of the body, in bytes.
const LINE_MAX: u64 = 16 * 1024;
/// A client that neither sends nor takes anything for so long is gone; another
/// import may come.
const IDLE: Duration = Duration::from_secs(60);
/// Bytes of answer lines that are sent at a time.
const CHUNK: usize = 32 * 1024;

/// Import users and keys: all rows, or none if any is bad.
///
/// The body is one `ImportRow` as JSON per line, of any length. One import runs
/// at a time; its rows go in by small changes, between which all others go, and count
/// all at once at the end. If the connection is closed before that, none ever does. It
/// is answered when every gateway accepts the keys and the audit log has them all.
#[utoipa::path(
    post, path = IMPORT_PATH, tag = "admin", security(("admin" = [])),
    params(ImportQuery),
    request_body(content = ImportRow<'_>, content_type = NDJSON),
    responses(
        (status = 200, description = "All rows are imported", body = ImportDone),
        (status = 400, description = "bad_request: the body broke off", body = ErrorBody),
        (status = 401, description = "unauthorized", body = ErrorBody),
        (status = 422, description = "Nothing is imported: one BadRow per line, in order; \
            the last line is an ImportRefused", body = BadRow, content_type = NDJSON),
        (status = 500, description = "internal: the outcome is not known", body = ErrorBody),
        (status = 503, description = "unavailable: nothing was changed", body = ErrorBody),
    )
)]
pub(super) async fn import(
    State(app): State<App>,
    QueryOf(query): QueryOf<ImportQuery>,
    body: Body,
) -> Result<Response, ApiError> {
    let permit = app.store.import_permit()?;
    let store = app.store.clone();
    let lines = patient(body);
    let staged = tokio::task::spawn_blocking(move || {
        let mut import = store.begin_import(permit)?;
        let mut lines = BufReader::with_capacity(64 * 1024, SyncIoBridge::new(lines));
        stage(&mut lines, &mut import)?;
        Ok::<_, ApiError>(import)
    });
    let import = staged.await.map_err(|_| ImportError::Failed)??;
    let wish = match query.dry_run {
        true => ImportMode::DryRun,
        false => ImportMode::PutIn,
    };
    match app.store.finish_import(import, wish).await? {
        Imported::Done {
            rows: imported,
            revision,
        } => {
            // S7, for keys that come: a gateway may have heard that it is unknown,
            // and believes that as long as it believes a key that was revoked.
            if let Some(revision) = revision {
                app.store.barrier(revision).await;
            }
            tracing::info!(imported, "import done");
            Ok(Json(ImportDone { imported }).into_response())
        }
        Imported::Refused(CheckedImport { import, bad_rows }) => {
            let rows = import.rows();
            tracing::info!(rows, bad_rows, "import refused");
            let (chunks, answer) = mpsc::channel(2);
            tokio::task::spawn_blocking(move || {
                let mut lines = Chunks::new(chunks);
                let told = import.bad_rows(|row| lines.line(&row));
                // Before this answer ends: its client may begin the next import.
                drop(import);
                match told {
                    // A last line that is missing tells the client.
                    Err(error) => tracing::error!(%error, "bad rows could not be read back"),
                    Ok(()) => {
                        let _ = lines.line(&ImportRefused { bad_rows, rows }) && lines.flush();
                    }
                }
            });
            Ok(streamed(answer))
        }
    }
}

/// The body as a reader that gives up on a silent client.
fn patient(body: Body) -> impl tokio::io::AsyncRead + Unpin + Send {
    let chunks = stream::unfold(body.into_data_stream(), |mut chunks| async {
        let next = tokio::time::timeout(IDLE, chunks.next()).await;
        let next = next.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut));
        let chunk = next.transpose()?;
        let chunk = chunk.and_then(|chunk| chunk.map_err(std::io::Error::other));
        Some((chunk, chunks))
    });
    StreamReader::new(Box::pin(chunks))
}

fn stage(lines: &mut impl BufRead, import: &mut Import<impl Staging>) -> Result<(), ApiError> {
    let broke_off = |_| ApiError::bad_request("the body broke off; nothing was imported");
    let mut text = Vec::with_capacity(512);
    for number in 1.. {
        text.clear();
        let read = lines.take(LINE_MAX).read_until(b'\n', &mut text);
        if read.map_err(broke_off)? == 0 {
            break;
        }
        if text.len() as u64 == LINE_MAX && !text.ends_with(b"\n") {
            return Err(ApiError::new(
                ErrorCode::PayloadTooLarge,
                format!("line {number} of the body is over {LINE_MAX} bytes; nothing was imported"),
            ));
        }
        let noted = match serde_json::from_slice::<ImportRow<'_>>(&text) {
            Ok(row) => import.add(&row),
            Err(error) => import.add_bad(number, &explain(&error)),
        };
        noted?;
    }
    Ok(())
}

/// JSON lines on their way to the client, some at a time.
struct Chunks {
    chunks: mpsc::Sender<Bytes>,
    buffer: Vec<u8>,
}

impl Chunks {
    fn new(chunks: mpsc::Sender<Bytes>) -> Self {
        let buffer = Vec::with_capacity(2 * CHUNK);
        Self { chunks, buffer }
    }

    /// Adds a line; `false` if the client has gone. Blocks while it is slow.
    fn line(&mut self, line: &impl Serialize) -> bool {
        if serde_json::to_writer(&mut self.buffer, line).is_err() {
            return false;
        }
        self.buffer.push(b'\n');
        self.buffer.len() < CHUNK || self.flush()
    }

    /// Sends what there is.
    fn flush(&mut self) -> bool {
        let chunk = Bytes::from(std::mem::take(&mut self.buffer));
        let sending = self.chunks.send_timeout(chunk, IDLE);
        tokio::runtime::Handle::current().block_on(sending).is_ok()
    }
}

fn streamed(mut answer: mpsc::Receiver<Bytes>) -> Response {
    let chunks = stream::poll_fn(move |context| answer.poll_recv(context));
    let body = Body::from_stream(chunks.map(Ok::<_, std::convert::Infallible>));
    let headers = [(header::CONTENT_TYPE, NDJSON)];
    (StatusCode::UNPROCESSABLE_ENTITY, headers, body).into_response()
}
