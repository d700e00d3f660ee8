//! The web dashboard: who does not live in a terminal, or has lost the key,
//! logs in and regenerates it here, by the same transactions and behind the
//! same barrier as the API's answer.
//!
//! Pages are rendered here and work without JavaScript (but for the copy
//! button). A new key is shown once, in the answer to the POST that made it;
//! afterwards nobody has it, here or elsewhere.
//!
//! Knows no SQL. A request passes [`access`], which says whether it may and who
//! sent it; [`handlers`] do what it asks for; [`pages`] are what is answered.

mod access;
mod assets;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod handlers;
mod pages;
mod problem;
mod settings;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::middleware;
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::sync::watch;
use tower_http::catch_panic::CatchPanicLayer;

use crate::accounts::password::Passwords;
use crate::keystore::Store;
use crate::keystore::issue::Issuer;
use crate::metrics::Metrics;

use access::guard;
use access::throttle::Throttle;
use handlers::delivery::Deliveries;
use handlers::{key, login, security};
use problem::Problem;
pub use settings::{DashboardArgs, DashboardSettings};

/// Where everybody begins.
const PROFILE: &str = "/settings/profile";
/// Where a password is changed.
const SECURITY: &str = "/settings/security";
/// Where password managers look for that (W3C, "A Well-Known URL for Changing
/// Passwords").
const CHANGE_PASSWORD: &str = "/.well-known/change-password";
/// How long a change may still take when the store is stopped: less than
/// [`crate::server::strangers`] gives an answer.
const LAST_CALL: Duration = Duration::from_secs(1);

/// What the handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Dashboard {
    store: Store,
    metrics: Arc<Metrics>,
    issuer: Issuer,
    passwords: Passwords,
    settings: Arc<DashboardSettings>,
    throttle: Arc<Throttle>,
    deliveries: Deliveries<key::NotMade>,
    /// Whether it was said that the proxy does not name its clients.
    has_warned: Arc<AtomicBool>,
    stopping: watch::Receiver<bool>,
}

impl Dashboard {
    /// Waits for what becomes of a change, and for the gateways with it, which
    /// may take a lease. When the store is stopped meanwhile, a page that says
    /// what to do comes instead, for a cut connection says nothing.
    async fn outcome<T>(&self, change: impl Future<Output = T>) -> Result<T, Problem> {
        let mut stopping = self.stopping.clone();
        // There is no time left for another one.
        if *stopping.borrow() {
            return Err(Problem::Unavailable);
        }
        let too_late = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            tokio::time::sleep(LAST_CALL).await;
        };
        tokio::select! {
            biased;
            outcome = change => Ok(outcome),
            () = too_late => Err(Problem::Unknown),
        }
    }
}

/// What a dashboard is made of.
pub struct DashboardParts {
    /// Where users and keys are.
    pub store: Store,
    /// Where answers and log-ins are counted.
    pub metrics: Arc<Metrics>,
    /// Makes keys.
    pub issuer: Issuer,
    /// Hashes and verifies passwords.
    pub passwords: Passwords,
    /// Its flags, checked.
    pub settings: DashboardSettings,
    /// Turns true when the store is to end.
    pub stopping: watch::Receiver<bool>,
}

/// The service of the dashboard's listener.
pub fn router(parts: DashboardParts) -> Router {
    let dashboard = Dashboard {
        store: parts.store,
        metrics: parts.metrics,
        issuer: parts.issuer,
        passwords: parts.passwords,
        settings: Arc::new(parts.settings),
        throttle: Arc::new(Throttle::new()),
        deliveries: Deliveries::new(),
        has_warned: Arc::default(),
        stopping: parts.stopping,
    };
    Router::new()
        .route("/", get(|| async { Redirect::to(PROFILE) }))
        .route("/login", get(login::page).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/logout-everywhere", post(login::log_out_everywhere))
        .route("/settings", get(|| async { Redirect::to(PROFILE) }))
        .route(PROFILE, get(key::profile))
        .route(
            "/settings/profile/regenerate",
            get(key::confirm_regenerate).post(key::regenerate),
        )
        .route(
            "/settings/profile/revoke",
            get(key::confirm_revoke).post(key::revoke),
        )
        .route("/settings/profile/new-key", post(key::new_key))
        .route(CHANGE_PASSWORD, get(|| async { Redirect::to(SECURITY) }))
        .route(SECURITY, get(security::page))
        .route(
            "/settings/security/password",
            post(security::change_password),
        )
        .merge(assets::router())
        .fallback(|| async { Problem::NotFound })
        .method_not_allowed_fallback(|| async { Problem::Method })
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(
            dashboard.clone(),
            guard::guard,
        ))
        .with_state(dashboard)
}

/// The panic hook has logged where.
fn panicked(_panic: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    axum::response::IntoResponse::into_response(Problem::Unknown)
}
