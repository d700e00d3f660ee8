//! Envoy's dynamic configuration by file: what a test changes while a gateway
//! runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rekey_testbed::GatewayOptions;
use serde_json::{Value, json};

/// A file of one resource that an Envoy watches.
#[derive(Debug, Clone)]
pub(crate) struct ResourceFile {
    path: PathBuf,
    type_url: &'static str,
}

impl ResourceFile {
    /// A file in `folder` for a listener.
    pub(crate) fn listener(folder: &Path) -> Self {
        Self {
            path: folder.join("lds.json"),
            type_url: "type.googleapis.com/envoy.config.listener.v3.Listener",
        }
    }

    /// A file in `folder` for the endpoints of a cluster.
    pub(crate) fn endpoints(folder: &Path) -> Self {
        Self {
            path: folder.join("eds.json"),
            type_url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        }
    }

    /// Puts a resource in place of the one that is there.
    pub(crate) fn write(&self, resource: &Value) {
        let mut resource = resource.clone();
        resource["@type"] = self.type_url.into();
        let new = self.path.with_extension("new");
        fs::write(&new, json!({ "resources": [resource] }).to_string()).unwrap();
        // Envoy notices only a file that is moved into place.
        fs::rename(new, &self.path).unwrap();
    }

    /// The `ConfigSource` that names the file.
    pub(crate) fn source(&self) -> Value {
        json!({ "path_config_source": { "path": self.path } })
    }
}

/// Gives an Envoy the name that it must have for any dynamic configuration.
pub(crate) fn name_node(envoy: &mut Value) {
    envoy["node"] = json!({ "id": "test", "cluster": "test" });
}

/// A gateway's listener in a file that the gateway watches, so that it can be
/// changed while the gateway serves.
pub(crate) struct WatchedListener {
    file: ResourceFile,
    /// As it was at the start.
    first: Arc<Mutex<Value>>,
}

impl WatchedListener {
    /// Has a gateway, which is still to be started, watch a file in `folder`.
    pub(crate) fn of(gateway: &mut GatewayOptions, folder: &Path) -> Self {
        let watched = Self {
            file: ResourceFile::listener(folder),
            first: Arc::default(),
        };
        let (file, first) = (watched.file.clone(), watched.first.clone());
        let before = gateway.edit.take();
        gateway.edit = Some(Arc::new(move |envoy: &mut Value| {
            if let Some(edit) = &before {
                edit(envoy)?;
            }
            let listener = envoy["static_resources"]["listeners"][0].take();
            file.write(&listener);
            *first.lock().unwrap() = listener;
            envoy["static_resources"]["listeners"] = json!([]);
            envoy["dynamic_resources"] = json!({ "lds_config": file.source() });
            name_node(envoy);
            Ok(())
        }));
        watched
    }

    /// Puts a changed copy of the first listener in place: `change` is given
    /// the filter's part of it (its `config`).
    pub(crate) fn update(&self, change: impl FnOnce(&mut Value)) {
        let mut listener = self.first.lock().unwrap().clone();
        let manager = &mut listener["filter_chains"][0]["filters"][0]["typed_config"];
        let filters = manager["http_filters"].as_array_mut().unwrap();
        let rekey = filters.iter_mut().find(|filter| filter["name"] == "rekey");
        change(&mut rekey.expect("the filter")["typed_config"]["config"]);
        self.file.write(&listener);
    }
}
