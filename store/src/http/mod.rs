//! The store's two HTTP APIs: one for gateways, one for the operator. The third
//! listener, for people, is [`crate::dashboard`]'s.
//!
//! Knows no SQL. Every answer, also the framework's own, carries the marker
//! header and one shape of errors; only what is no HTTP at all gets hyper's
//! bare 400, which a gateway takes for a proxy's word.

mod admin;
mod auth;
mod body;
mod error;
mod gateway;
mod import;
mod keys;
mod open;
mod people;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use rekey_protocol::{ErrorCode, MARKER_HEADER, MARKER_VALUE};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::accounts::password::Passwords;
use crate::keystore::Store;
use crate::keystore::issue::Issuer;
use crate::metrics::Metrics;

pub use auth::BearerToken;
use auth::Demand;
#[cfg(feature = "fuzzing")]
pub use body::explain;
pub(crate) use body::{discard, read_body};
use error::ApiError;

/// What all listeners of a store work with. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The key store.
    pub store: Store,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Makes keys.
    pub issuer: Issuer,
    /// Hashes passwords.
    pub passwords: Passwords,
}

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct App {
    store: Store,
    metrics: Arc<Metrics>,
    issuer: Issuer,
    passwords: Passwords,
    /// A place for each rotation that is under way.
    rotations: Arc<Semaphore>,
    document: Bytes,
}

/// What each listener demands of its callers.
#[derive(Clone, Copy)]
pub struct ListenerTokens {
    /// `None`: the caller was checked before us, by mTLS or the like.
    pub gateway: Option<BearerToken>,
    /// The operator's.
    pub admin: BearerToken,
}

/// The services of the two listeners.
pub struct Routers {
    /// For gateways.
    pub gateway: Router,
    /// For the operator.
    pub admin: Router,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "rekey-store",
        description = "Rekey's key store. Operations tagged `gateway` and `open` are on the \
            gateway listener, those tagged `admin` on the admin listener, with another token. \
            Every answer carries `rekey-store: 1`; one without it is a proxy's own."
    ),
    modifiers(&SecuritySchemes)
)]
struct Document;

struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        for (name, variable) in [
            ("gateway", "REKEY_STORE_TOKEN"),
            ("admin", "REKEY_ADMIN_TOKEN"),
        ] {
            let mut http = Http::new(HttpAuthScheme::Bearer);
            http.description = Some(format!("The text of {variable}"));
            components.add_security_scheme(name, SecurityScheme::Http(http));
        }
    }
}

/// Builds both listeners' services and the document that describes them.
pub fn routers(services: Services, tokens: ListenerTokens) -> Result<Routers, serde_json::Error> {
    let guarded =
        |token, variable| middleware::from_fn_with_state(Demand { token, variable }, auth::check);
    let (gateway, gateway_document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(gateway::resolve))
        .routes(routes!(gateway::rotate))
        .routes(routes!(gateway::feed))
        .route_layer(guarded(tokens.gateway, "REKEY_STORE_TOKEN"))
        .routes(routes!(open::livez))
        .routes(routes!(open::readyz))
        .routes(routes!(open::healthz))
        .routes(routes!(open::metrics))
        .routes(routes!(open::openapi))
        .split_for_parts();
    let (admin, admin_document) = OpenApiRouter::new()
        .routes(routes!(admin::add_user, admin::list_users))
        .routes(routes!(admin::set_password))
        .routes(routes!(people::set_email))
        .routes(routes!(people::remove_user))
        .routes(routes!(keys::show_key))
        .routes(routes!(admin::revoke))
        .routes(routes!(keys::revoke_many))
        .routes(routes!(admin::issue))
        .routes(routes!(admin::audit))
        .routes(routes!(import::import))
        .route_layer(guarded(Some(tokens.admin), "REKEY_ADMIN_TOKEN"))
        .routes(routes!(open::livez))
        .routes(routes!(open::readyz))
        .routes(routes!(open::healthz))
        .split_for_parts();
    let document = gateway_document.merge_from(admin_document);
    let Services {
        store,
        metrics,
        issuer,
        passwords,
    } = services;
    let app = App {
        store,
        metrics,
        issuer,
        passwords,
        rotations: Arc::new(Semaphore::new(gateway::most_rotations())),
        document: serde_json::to_vec_pretty(&document)?.into(),
    };
    Ok(Routers {
        gateway: finish(gateway, &app, "gateway"),
        admin: finish(admin, &app, "admin"),
    })
}

/// What both listeners do around every handler, and where there is none.
fn finish(router: Router<App>, app: &App, listener: &'static str) -> Router {
    let seal = Seal {
        metrics: app.metrics.clone(),
        listener,
    };
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(seal, sealed))
        .with_state(app.clone())
}

/// When a request's head was there: from then on its patience is counted.
#[derive(Debug, Clone, Copy)]
struct Arrived(Instant);

#[derive(Clone)]
struct Seal {
    metrics: Arc<Metrics>,
    listener: &'static str,
}

/// Marks and counts every answer. The path is never logged as it came: a
/// client may have put a key into it.
async fn sealed(State(seal): State<Seal>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    request.extensions_mut().insert(Arrived(started));
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let endpoint = matched.as_ref().map_or("other", MatchedPath::as_str);
    let mut response = next.run(request).await;
    let status = response.status().as_u16();
    response.headers_mut().insert(
        HeaderName::from_static(MARKER_HEADER),
        HeaderValue::from_static(MARKER_VALUE),
    );
    let took = started.elapsed();
    seal.metrics.answered(seal.listener, endpoint, status, took);
    tracing::debug!(
        listener = seal.listener,
        endpoint,
        status,
        ?took,
        "answered"
    );
    response
}

async fn not_found() -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        "no such path on this listener; /openapi.json on the gateway listener lists them",
    )
}

async fn method_not_allowed() -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        "this path does not take this method",
    )
}

/// A handler's panic is a fault of ours: what it had done is not known. The
/// panic hook has logged where.
fn panicked(_panic: Box<dyn Any + Send>) -> Response {
    ApiError::new(
        ErrorCode::Internal,
        "a fault in the store; its log says where",
    )
    .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;
    use rekey_protocol::{ChecksumSecrets, ErrorBody};
    use tower::ServiceExt;

    use super::*;
    use crate::engine::chosen::{Database, Location};
    use crate::engine::serve::{EngineSettings, ReplayPlace};
    use crate::keystore::Running;
    use crate::operations::incarnation::OlderData;
    use crate::rules::rotation::RotationLimit;

    #[tokio::test]
    async fn a_panicking_handler_is_a_marked_500() {
        async fn fault() -> &'static str {
            panic!("on purpose")
        }
        let folder = tempfile::tempdir().unwrap();
        let metrics = Arc::new(Metrics::new());
        let path = folder.path().join("rekey.db");
        let settings = EngineSettings {
            place: Location {
                database: Database::Sqlite(path),
                #[cfg(feature = "etcd")]
                etcd: Default::default(),
            },
            older_data: OlderData::Refused,
            replays: ReplayPlace::Off,
            interval: RotationLimit::HOUR,
            metrics: metrics.clone(),
        };
        let Running { store, ownership } = Store::start(settings).await.unwrap();
        let secrets = ChecksumSecrets::parse("0123456789abcdef").unwrap();
        let issuer = Issuer::new(secrets, store.feed().clone());
        let app = App {
            store,
            passwords: Passwords::new(metrics.clone()).unwrap(),
            rotations: Arc::new(Semaphore::new(1)),
            metrics,
            issuer,
            document: Bytes::new(),
        };
        let router = finish(Router::new().route("/fault", get(fault)), &app, "gateway");
        let request = Request::get("/fault").body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.status(), 500);
        assert_eq!(response.headers()[MARKER_HEADER], MARKER_VALUE);
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: ErrorBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(body.error.code, ErrorCode::Internal);
        assert!(!body.error.message.contains("on purpose"));
        let counted = "endpoint=\"/fault\",status=\"500\"} 1";
        assert!(app.metrics.render().contains(counted));
        drop(ownership);
    }
}
