//! Envoy's dynamic configuration by file: what a test changes while a gateway
//! runs.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A file of one resource that an Envoy watches.
#[derive(Debug, Clone)]
pub struct ResourceFile {
    path: PathBuf,
    type_url: &'static str,
}

impl ResourceFile {
    /// A file in `folder` for a listener.
    pub fn listener(folder: &Path) -> Self {
        Self {
            path: folder.join("lds.json"),
            type_url: "type.googleapis.com/envoy.config.listener.v3.Listener",
        }
    }

    /// A file in `folder` for the endpoints of a cluster.
    pub fn endpoints(folder: &Path) -> Self {
        Self {
            path: folder.join("eds.json"),
            type_url: "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        }
    }

    /// Puts a resource in place of the one that is there.
    pub fn write(&self, resource: &Value) {
        let mut resource = resource.clone();
        resource["@type"] = self.type_url.into();
        let new = self.path.with_extension("new");
        fs::write(&new, json!({ "resources": [resource] }).to_string()).unwrap();
        // Envoy notices only a file that is moved into place.
        fs::rename(new, &self.path).unwrap();
    }

    /// The `ConfigSource` that names the file.
    pub fn source(&self) -> Value {
        json!({ "path_config_source": { "path": self.path } })
    }
}

/// Gives an Envoy the name that it must have for any dynamic configuration.
pub fn name_node(envoy: &mut Value) {
    envoy["node"] = json!({ "id": "test", "cluster": "test" });
}
