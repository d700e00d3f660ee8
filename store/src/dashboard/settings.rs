//! The settings of the dashboard: its flags of `serve`, checked.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::access::origin::Origin;
use crate::operations::users::sessions::{SESSION_LONGEST, SessionLimits};
use crate::server::published::Secrecy;

/// Flags of `serve` about the dashboard.
#[derive(Debug, Clone, Args)]
pub struct DashboardArgs {
    /// Serve the web dashboard there; port 0 takes any free one [default: no
    /// dashboard]
    #[arg(long, value_name = "ADDR")]
    pub dashboard_listen: Option<SocketAddr>,
    /// Where browsers reach the dashboard, such as https://keys.example.com: behind
    /// something that speaks TLS, but on loopback [default: the address of
    /// --dashboard-listen, if that is loopback]
    #[arg(long, value_name = "URL", requires = "dashboard_listen")]
    pub dashboard_origin: Option<String>,
    /// How many proxies of yours stand before the dashboard, each adding the address
    /// of its client to x-forwarded-for: log-ins are throttled by the one found there.
    /// Nobody else may be able to reach the listener, or they choose their address
    /// [default: 0, where browsers reach it by http]
    #[arg(long, value_name = "N", requires = "dashboard_listen")]
    pub dashboard_trusted_proxies: Option<usize>,
    /// A log-in to the dashboard ends after so long without a request, 1s to 7days
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = lasting)]
    pub session_idle: Duration,
    /// A log-in to the dashboard ends so long after it began, 1s to 7days
    #[arg(long, value_name = "TIME", default_value = "12h", value_parser = lasting)]
    pub session_max: Duration,
}

fn lasting(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    let allowed = Duration::from_secs(1)..=SESSION_LONGEST;
    let fits = allowed.contains(&time);
    fits.then_some(time)
        .ok_or_else(|| "a log-in lasts 1s to 7days".to_owned())
}

/// The settings of a dashboard that is served.
#[derive(Debug, Clone)]
pub struct DashboardSettings {
    /// Where browsers reach it.
    pub origin: Origin,
    /// How many proxies are believed about who the client is.
    pub trusted_proxies: usize,
    /// How long a log-in lasts.
    pub limits: SessionLimits,
    /// What the store's secrets are worth, which its users are told.
    pub secrecy: Secrecy,
}

impl DashboardSettings {
    /// `listening`: where the listener is in fact.
    pub fn new(
        args: &DashboardArgs,
        listening: SocketAddr,
        secrecy: Secrecy,
    ) -> anyhow::Result<Self> {
        let origin = match &args.dashboard_origin {
            Some(text) => {
                Origin::parse(text).with_context(|| format!("--dashboard-origin {text}"))?
            }
            None if listening.ip().is_loopback() => Origin::of_loopback(listening),
            None => bail!(
                "--dashboard-listen {listening} is no loopback address: say with --dashboard-origin how browsers reach it, such as https://keys.example.com"
            ),
        };
        let trusted_proxies = match args.dashboard_trusted_proxies {
            Some(count) => count,
            None if !origin.is_secure() => 0,
            // What speaks TLS is a proxy: throttled by its address, all log-ins
            // of the world would share one budget.
            None => bail!(
                "--dashboard-origin {} means that something speaks TLS before the dashboard: say with --dashboard-trusted-proxies how many proxies add the client's address to x-forwarded-for (1 for one; 0 if none does)",
                origin.as_str()
            ),
        };
        Ok(Self {
            origin,
            trusted_proxies,
            limits: SessionLimits {
                idle: args.session_idle,
                max: args.session_max,
            },
            secrecy,
        })
    }
}
