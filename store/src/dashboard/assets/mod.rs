//! The files that pages refer to, from within the program.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use rekey_protocol::Digest;

use super::Dashboard;

/// Path, type, content. A path is matched whole: there is no folder to leave.
const FILES: [(&str, &str, &[u8]); 3] = [
    (
        "/assets/style.css",
        "text/css; charset=utf-8",
        include_bytes!("assets/style.css"),
    ),
    (
        "/assets/dashboard.js",
        "text/javascript; charset=utf-8",
        include_bytes!("assets/dashboard.js"),
    ),
    (
        "/assets/favicon.svg",
        "image/svg+xml",
        include_bytes!("assets/favicon.svg"),
    ),
];

/// Serves them, for ever: their addresses change with them, see [`version`].
pub(super) fn router() -> Router<Dashboard> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        let (path, kind, content) = file;
        let headers = [
            (header::CONTENT_TYPE, kind),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ];
        router.route(path, get(move || async move { (headers, content) }))
    })
}

/// Goes into their addresses as a query.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let all: Vec<u8> = FILES.iter().flat_map(|file| file.2).copied().collect();
        Digest::of(&all).to_hex().chars().take(12).collect()
    });
    &VERSION
}
