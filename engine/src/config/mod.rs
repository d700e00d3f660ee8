//! The plugin configuration: strict JSON, checked whole before it is used.
//!
//! Every refusal names the field and says what it may be, because the log line
//! that carries it is all that an operator gets to see.

use rekey_protocol::{
    BadToken, ChecksumSecrets, LEASE_CAP_MS, LEASE_LEAST_MS, SecretsError, TokenText,
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::request::route;

/// The environment variable with the checksum's secrets.
pub const CHECKSUM_SECRET_VARIABLE: &str = "REKEY_CHECKSUM_SECRET";
/// The environment variable with the gateway's bearer token for the store.
pub const STORE_TOKEN_VARIABLE: &str = "REKEY_STORE_TOKEN";

/// A configuration that has been checked.
#[derive(Clone)]
pub struct Config {
    /// Where the key store is.
    pub store: StoreConfig,
    /// Whether a key must bear a valid checksum.
    pub checksum: ChecksumPolicy,
    /// Paths that need no key: exact, or a prefix if it ends in `/`.
    pub public_paths: Vec<String>,
    /// How long a gateway that lost the store goes on trusting its cache.
    pub lease_ms: u32,
    /// Slots of the shared table; each holds a few keys.
    pub cache_slots: u32,
    /// Open requests of each worker, all of which end with their keys; more are
    /// refused. With 0 none ends, and none is refused.
    pub max_streams: u32,
    /// How often a second the store is asked about keys that it turns out not to
    /// know, by all workers of the process together.
    pub unknown_keys_per_second: u32,
    /// The checksum's secrets, newest first.
    pub secrets: ChecksumSecrets,
    /// The bearer token for the store; none where mTLS does its work.
    pub store_token: Option<Zeroizing<String>>,
}

/// Where the key store is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Name of the gateway's cluster.
    pub cluster: String,
    /// Name of the cluster for rotations, which may each hold a connection for as
    /// long as a lease lasts; the same one if there is none.
    #[serde(default)]
    pub rotation_cluster: Option<String>,
    /// Clusters to poll for changes, in order of preference; the cluster
    /// itself if there are none.
    #[serde(default)]
    pub feed_clusters: Vec<String>,
    /// The `:authority` of calls.
    #[serde(default = "default_authority")]
    pub authority: String,
    /// How long a request may wait for the store to say whose key it bears.
    #[serde(default = "default_resolve_timeout_ms")]
    pub resolve_timeout_ms: u32,
}

impl StoreConfig {
    /// Name of the cluster that rotations go to.
    pub fn for_rotations(&self) -> &str {
        self.rotation_cluster.as_ref().unwrap_or(&self.cluster)
    }
}

/// Whether a key must bear a valid checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumPolicy {
    /// A key without a valid checksum is refused without asking the store.
    Required,
    /// Keys that were issued before Rekey are accepted too.
    Off,
}

/// Why a configuration was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON, a field of the wrong type, an unknown or a missing one.
    #[error("{at}: {problem}")]
    Json {
        /// The field's path; `plugin configuration` for the whole.
        at: String,
        /// What is wrong with it, and where.
        problem: String,
    },
    /// A value outside of what the field takes.
    #[error("{field}: {problem}")]
    Field {
        /// The path of the field, as `store.cluster`.
        field: String,
        /// The range or the form that the field takes.
        problem: String,
    },
    /// The checksum's secret is missing or too short.
    #[error(
        "{0}. Set it in the gateway's environment and name it in \
         vm_config.environment_variables.host_env_keys"
    )]
    Secret(#[from] SecretsError),
    /// The token for the store cannot be used.
    #[error("REKEY_STORE_TOKEN: {0}")]
    Token(#[from] BadToken),
}

/// The JSON as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    store: StoreConfig,
    #[serde(default = "default_checksum")]
    checksum: ChecksumPolicy,
    #[serde(default)]
    public_paths: Vec<String>,
    #[serde(default = "default_lease_ms")]
    lease_ms: u32,
    #[serde(default = "default_slots")]
    cache_slots: u32,
    #[serde(default = "default_streams")]
    max_streams: u32,
    #[serde(default = "default_unknown_keys")]
    unknown_keys_per_second: u32,
}

fn default_authority() -> String {
    "rekey-store".into()
}

fn default_resolve_timeout_ms() -> u32 {
    1000
}

fn default_checksum() -> ChecksumPolicy {
    ChecksumPolicy::Required
}

fn default_lease_ms() -> u32 {
    3000
}

fn default_slots() -> u32 {
    4096
}

fn default_streams() -> u32 {
    65_536
}

fn default_unknown_keys() -> u32 {
    100
}

impl Config {
    /// Checks the plugin configuration and the two variables of the
    /// environment ([`CHECKSUM_SECRET_VARIABLE`], [`STORE_TOKEN_VARIABLE`]).
    pub fn load(
        json: &[u8],
        checksum_secret: Option<&str>,
        store_token: Option<&str>,
    ) -> Result<Self, ConfigError> {
        let mut written = parse(json)?;
        check(&written)?;
        if written.store.feed_clusters.is_empty() {
            written.store.feed_clusters = vec![written.store.cluster.clone()];
        }
        let store_token = store_token.map(str::trim).filter(|token| !token.is_empty());
        let store_token = store_token.map(TokenText::parse).transpose()?;
        Ok(Self {
            secrets: ChecksumSecrets::parse(checksum_secret.unwrap_or_default())?,
            store_token: store_token.map(|token| Zeroizing::new(token.as_str().to_owned())),
            store: written.store,
            checksum: written.checksum,
            public_paths: written.public_paths,
            lease_ms: written.lease_ms,
            cache_slots: written.cache_slots,
            max_streams: written.max_streams,
            unknown_keys_per_second: written.unknown_keys_per_second,
        })
    }
}

fn parse(json: &[u8]) -> Result<RawConfig, ConfigError> {
    let refuse = |at: String, problem: String| {
        let whole = at.is_empty() || at == ".";
        let at = if whole {
            "plugin configuration".to_owned()
        } else {
            at
        };
        ConfigError::Json { at, problem }
    };
    let mut reader = serde_json::Deserializer::from_slice(json);
    let written = serde_path_to_error::deserialize(&mut reader)
        .map_err(|error| refuse(error.path().to_string(), error.inner().to_string()))?;
    reader
        .end()
        .map_err(|error| refuse(String::new(), error.to_string()))?;
    Ok(written)
}

fn check(written: &RawConfig) -> Result<(), ConfigError> {
    let store = &written.store;
    name("store.cluster", &store.cluster)?;
    if let Some(cluster) = &store.rotation_cluster {
        name("store.rotation_cluster", cluster)?;
    }
    name("store.authority", &store.authority)?;
    for (index, cluster) in store.feed_clusters.iter().enumerate() {
        name(&format!("store.feed_clusters[{index}]"), cluster)?;
    }
    range(
        "store.resolve_timeout_ms",
        store.resolve_timeout_ms,
        10,
        30_000,
    )?;
    range("lease_ms", written.lease_ms, LEASE_LEAST_MS, LEASE_CAP_MS)?;
    range("cache_slots", written.cache_slots, 1, 1 << 20)?;
    range("max_streams", written.max_streams, 0, 1 << 20)?;
    range(
        "unknown_keys_per_second",
        written.unknown_keys_per_second,
        1,
        100_000,
    )?;
    for (index, path) in written.public_paths.iter().enumerate() {
        if let Err(problem) = route::check_public_path(path) {
            let field = format!("public_paths[{index}]");
            return Err(ConfigError::Field {
                field,
                problem: problem.to_owned(),
            });
        }
    }
    Ok(())
}

fn name(field: &str, value: &str) -> Result<(), ConfigError> {
    if !value.is_empty() && value.len() <= 255 && value.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let problem = "takes 1 to 255 visible ASCII characters".to_owned();
    Err(ConfigError::Field {
        field: field.to_owned(),
        problem,
    })
}

fn range(field: &str, value: u32, least: u32, most: u32) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let problem = format!("takes {least} to {most}, not {value}");
    Err(ConfigError::Field {
        field: field.to_owned(),
        problem,
    })
}

#[cfg(test)]
mod tests;
