//! The files that pages refer to, from within the program.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use rekey_protocol::Digest;

use super::Dashboard;

/// A file that is served.
#[derive(Clone, Copy)]
struct Asset {
    /// It is matched whole: there is no folder to leave.
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

const FILES: [Asset; 3] = [
    Asset {
        path: "/assets/style.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("style.css"),
    },
    Asset {
        path: "/assets/dashboard.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("dashboard.js"),
    },
    Asset {
        path: "/assets/favicon.svg",
        content_type: "image/svg+xml",
        content: include_bytes!("favicon.svg"),
    },
];

/// Serves them, for ever: their addresses change with them, see [`version`].
pub(super) fn router() -> Router<Dashboard> {
    FILES.into_iter().fold(Router::new(), |router, file| {
        let headers = [
            (header::CONTENT_TYPE, file.content_type),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ];
        let served = get(move || async move { (headers, file.content) });
        router.route(file.path, served)
    })
}

/// Goes into their addresses as a query.
pub(super) fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let all: Vec<u8> = FILES
            .iter()
            .flat_map(|file| file.content)
            .copied()
            .collect();
        Digest::of(&all).to_hex().chars().take(12).collect()
    });
    &VERSION
}
