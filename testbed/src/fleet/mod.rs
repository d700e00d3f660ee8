//! All together: gateways, the key store, the upstream.

pub(crate) mod envoy_config;
pub mod etcd;
pub(crate) mod gateway;
pub(crate) mod run_dir;
pub(crate) mod secrets;
pub(crate) mod store;
pub(crate) mod upstream;

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::{
    Edit, Gateway, GatewayOptions, HttpVersions, Process, RunDir, Secrets, Shutdown, Store,
    StoreBinary, StoreOptions, Upstream,
};

/// How a fleet is started. The defaults suit most tests.
#[derive(Clone)]
pub struct FleetOptions {
    /// How many gateways; more can be added later.
    pub gateways: usize,
    /// Envoy's worker threads in each.
    pub concurrency: u32,
    /// The first gateway's port; 0 takes a free one.
    pub port: u16,
    /// See [`StoreOptions::dashboard_port`].
    pub dashboard_port: u16,
    /// The time that a user must wait between two rotations.
    pub rotation_interval: String,
    /// See [`GatewayOptions::component_log_level`].
    pub component_log_level: Option<String>,
    /// See [`GatewayOptions::shutdown`].
    pub shutdown: Shutdown,
    /// See [`GatewayOptions::config`].
    pub envoy_config: Option<PathBuf>,
    /// See [`GatewayOptions::plugin`].
    pub plugin: Value,
    /// See [`GatewayOptions::edit`].
    pub edit: Option<Edit>,
    /// See [`StoreOptions::binary`].
    pub store_binary: StoreBinary,
    /// See [`StoreOptions::env`].
    pub store_env: Vec<(String, String)>,
    /// See [`StoreOptions::args`].
    pub store_args: Vec<String>,
    /// What the upstream speaks.
    pub upstream: HttpVersions,
    /// Shared by all parts; new ones if none.
    pub secrets: Option<Secrets>,
    /// Where logs and database are kept; a temporary folder if none.
    pub folder: Option<PathBuf>,
}

impl Default for FleetOptions {
    fn default() -> Self {
        Self {
            gateways: 1,
            concurrency: 2,
            port: 0,
            dashboard_port: 0,
            rotation_interval: "1h".to_owned(),
            component_log_level: None,
            shutdown: Shutdown::AtOnce,
            envoy_config: None,
            plugin: json!({}),
            edit: None,
            store_binary: StoreBinary::Plain,
            store_env: Vec::new(),
            store_args: Vec::new(),
            upstream: HttpVersions::default(),
            secrets: None,
            folder: None,
        }
    }
}

/// A running fleet. Dropping it kills all of it, gateways first.
#[derive(Debug)]
pub struct Fleet {
    /// In the order in which they were started.
    pub gateways: Vec<Gateway>,
    /// The key store.
    pub store: Store,
    /// The API behind the gateways.
    pub upstream: Upstream,
    /// What all parts share.
    pub secrets: Secrets,
    /// Where logs and database are. Last, so that it goes last.
    pub run_dir: RunDir,
}

impl Fleet {
    /// Starts the key store, the upstream and the gateways, and waits until
    /// all of them serve.
    ///
    /// # Errors
    /// As the parts' own `start`; what has been started is stopped.
    pub fn start(options: FleetOptions) -> anyhow::Result<Self> {
        let run_dir = match &options.folder {
            Some(folder) => RunDir::kept(folder)?,
            None => RunDir::temporary()?,
        };
        let secrets = match &options.secrets {
            Some(secrets) => secrets.clone(),
            None => Secrets::random()?,
        };
        let store = StoreOptions {
            binary: options.store_binary.clone(),
            rotation_interval: options.rotation_interval.clone(),
            env: options.store_env.clone(),
            args: options.store_args.clone(),
            dashboard_port: options.dashboard_port,
            secrets: secrets.clone(),
        };
        let mut fleet = Self {
            gateways: Vec::new(),
            store: Store::start(run_dir.path(), store)?,
            upstream: Upstream::start(run_dir.path(), options.upstream)?,
            secrets,
            run_dir,
        };
        for number in 0..options.gateways {
            let mut gateway = fleet.gateway_options(&options);
            gateway.port = if number == 0 { options.port } else { 0 };
            fleet.add_gateway(gateway)?;
        }
        Ok(fleet)
    }

    /// What the next gateway of this fleet is started with: change what is to
    /// be different, such as `store`, and give it to
    /// [`add_gateway`](Self::add_gateway).
    pub fn gateway_options(&self, options: &FleetOptions) -> GatewayOptions {
        GatewayOptions {
            name: format!("gateway-{}", self.gateways.len() + 1),
            port: 0,
            concurrency: options.concurrency,
            component_log_level: options.component_log_level.clone(),
            envoy_args: Vec::new(),
            shutdown: options.shutdown,
            config: options.envoy_config.clone(),
            plugin: options.plugin.clone(),
            edit: options.edit.clone(),
            store: self.store.address(),
            upstream: self.upstream.address(),
            secrets: self.secrets.clone(),
        }
    }

    /// Starts one more gateway.
    ///
    /// # Errors
    /// As [`Gateway::start`].
    pub fn add_gateway(&mut self, options: GatewayOptions) -> anyhow::Result<&mut Gateway> {
        let gateway = Gateway::start(self.run_dir.path(), options)?;
        self.gateways.push(gateway);
        let last = self.gateways.len() - 1;
        Ok(&mut self.gateways[last])
    }

    /// Every process of it.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let gateways = self.gateways.iter().map(|gateway| &gateway.process);
        gateways.chain([&self.store.process, &self.upstream.process])
    }

    /// Stops all by SIGTERM, gateways first, so that the key store sees their
    /// last calls; what does not stop is killed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn stop(self) -> anyhow::Result<()> {
        for process in self.processes() {
            process.terminate()?;
        }
        Ok(())
    }
}
