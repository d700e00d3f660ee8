//! The settings of `rekey-store serve`: flags for what everybody may see,
//! the environment for secrets (a command line shows in `ps`).

use std::env::VarError;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use rekey_protocol::ChecksumSecrets;
use zeroize::Zeroizing;

use crate::dashboard::DashboardArgs;
use crate::engine::chosen::{Database, Location};
#[cfg(feature = "etcd")]
use crate::engine::etcd::{Access, WRAPPING_LABEL};
use crate::engine::serve::ReplayPlace;
use crate::http::{BearerToken, ListenerTokens};
use crate::operations::incarnation::OlderData;
use crate::rules::rotation::RotationLimit;
use crate::server::published::PublishedSecrets;

/// The gateways' bearer token.
pub const STORE_TOKEN: &str = "REKEY_STORE_TOKEN";
/// The operator's bearer token.
pub const ADMIN_TOKEN: &str = "REKEY_ADMIN_TOKEN";
/// Keys the checksum of new API keys.
pub const CHECKSUM_SECRET: &str = "REKEY_CHECKSUM_SECRET";

/// Flags of `serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// Where gateways call; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Where the operator's commands call; port 0 takes any free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// The SQLite file, as a path or as sqlite:PATH; created if it does not exist
    #[arg(long, value_name = "PATH", default_value = "rekey.db", value_parser = database())]
    pub database: Database,
    /// How long a user waits between two rotations, 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = interval)]
    pub rotation_interval: RotationLimit,
    /// Serve although more was served than this database knows, as its lock
    /// file or gateways say: it is an older backup and meant to be used. Keys rotated or revoked and passwords changed since that backup are valid again
    #[arg(long)]
    pub accept_restore: bool,
    /// Where the keys are kept that wrap what is needed to answer a repeated
    /// rotation again: a folder in memory (tmpfs), so that they outlive a
    /// restart of the store and never reach a disk
    #[arg(long, value_name = "PATH", default_value = "/dev/shm")]
    pub memory_dir: PathBuf,
    /// Answer no rotation again: whoever lost the answer has lost the key, also
    /// with an Idempotency-Key
    #[arg(long)]
    pub no_replay: bool,
    /// The web dashboard.
    #[command(flatten)]
    pub dashboard: DashboardArgs,
    /// Once all listeners accept, write their addresses there, as JSON:
    /// {"listen":"http://…","admin":"http://…"}, and "dashboard" if there is one
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Want no token on the gateway listener: only behind something that
    /// checks the gateways itself, such as mTLS
    #[arg(long)]
    pub no_gateway_token: bool,
    /// This is a demonstration: take secrets that Rekey's documents publish, also where
    /// listeners are not on loopback. Everybody who can reach them can do everything
    #[arg(long)]
    pub demo: bool,
}

impl ServeArgs {
    /// What becomes of a database that is older than what was served.
    pub fn older_data(&self) -> OlderData {
        match self.accept_restore {
            true => OlderData::Accepted,
            false => OlderData::Refused,
        }
    }

    /// What gateways have to show.
    pub fn gateway_token(&self) -> GatewayToken {
        match self.no_gateway_token {
            true => GatewayToken::NotWanted,
            false => GatewayToken::Demanded,
        }
    }

    /// Where the data is, and what is needed to reach it.
    #[cfg_attr(not(feature = "etcd"), allow(unused_variables))]
    pub fn location(&self, secrets: &ServeSecrets) -> Location {
        Location {
            database: self.database.clone(),
            #[cfg(feature = "etcd")]
            etcd: Access {
                wrapping: secrets.checksum.derive(WRAPPING_LABEL),
                ..Access::default()
            },
        }
    }

    /// Where what is kept for replays is.
    pub fn replays(&self) -> ReplayPlace {
        match self.no_replay {
            true => ReplayPlace::Off,
            false => ReplayPlace::Beside {
                memory: self.memory_dir.clone(),
            },
        }
    }
}

/// Also for a path that is not UTF-8.
fn database() -> impl TypedValueParser<Value = Database> {
    OsStringValueParser::new().try_map(Database::from_flag)
}

fn interval(text: &str) -> Result<RotationLimit, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    RotationLimit::new(interval).map_err(|error| error.to_string())
}

/// Whether gateways have to show a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GatewayToken {
    /// They have.
    Demanded,
    /// Something in front of the listener checks them.
    NotWanted,
}

/// The secrets of `serve`.
pub struct ServeSecrets {
    /// What callers have to show.
    pub tokens: ListenerTokens,
    /// For issuing keys.
    pub checksum: ChecksumSecrets,
    /// Which of them everybody knows.
    pub published: PublishedSecrets,
}

impl ServeSecrets {
    /// Reads and checks them.
    pub fn from_env(gateway_token: GatewayToken) -> anyhow::Result<Self> {
        let mut published = PublishedSecrets::default();
        let gateway = match (gateway_token, variable(STORE_TOKEN)?) {
            (GatewayToken::NotWanted, None) => None,
            (GatewayToken::NotWanted, Some(_)) => bail!(
                "{STORE_TOKEN} is set, and --no-gateway-token says that none is wanted: drop one of them"
            ),
            (GatewayToken::Demanded, None) => bail!(
                "{STORE_TOKEN} is not set: the token that gateways show, at least 16 visible ASCII characters (openssl rand -hex 32)"
            ),
            (GatewayToken::Demanded, Some(text)) => {
                published.look(STORE_TOKEN, &text);
                Some(BearerToken::parse(&text).context(STORE_TOKEN)?)
            }
        };
        let admin = variable(ADMIN_TOKEN)?.with_context(|| {
            format!("{ADMIN_TOKEN} is not set: the token of the operator's commands, at least 16 visible ASCII characters (openssl rand -hex 32)")
        })?;
        published.look(ADMIN_TOKEN, &admin);
        let admin = BearerToken::parse(&admin).context(ADMIN_TOKEN)?;
        if gateway == Some(admin) {
            bail!(
                "{STORE_TOKEN} and {ADMIN_TOKEN} are the same: a gateway must not be an operator"
            );
        }
        let checksum = variable(CHECKSUM_SECRET)?.unwrap_or_default();
        published.look(CHECKSUM_SECRET, &checksum);
        let checksum = ChecksumSecrets::parse(&checksum)?;
        Ok(Self {
            tokens: ListenerTokens { gateway, admin },
            checksum,
            published,
        })
    }
}

/// The text of an environment variable; `None` if it is not set or empty.
pub fn variable(name: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => bail!("{name} is not valid UTF-8"),
    }
}
