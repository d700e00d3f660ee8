//! `envoy.yaml` for this machine: an operator's file with other addresses, and
//! everything else as it is.
//!
//! The parts that are changed are found by name. A file without them is
//! refused, with the name: started as it is, it would seem to work and talk to
//! somebody else.

use std::{fs, net::SocketAddr, path::Path};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

/// The listener that clients connect to.
pub const LISTENER: &str = "edge";
/// The cluster of the key store.
pub const STORE_CLUSTER: &str = "rekey_store";
/// The cluster of the key store for rotations, where a file has one of its own.
pub const ROTATION_CLUSTER: &str = "rekey_store_rotations";
/// The cluster of the key store's change feed, where a file has one of its own.
pub const FEED_CLUSTER: &str = "rekey_store_feed";
/// The cluster of the API behind the gateway.
pub const API_CLUSTER: &str = "api";
/// The cluster of the same API for gRPC calls, where a file has one of its own.
pub(crate) const GRPC_CLUSTER: &str = "api_grpc";

const FILTER_FILE: &str = "rekey.wasm";
const WASM_FILTER: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";
const STDOUT_LOG: &str =
    "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";
const FILE_LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";

/// An Envoy's bootstrap configuration.
#[derive(Debug, Clone)]
pub struct EnvoyConfig {
    root: Value,
}

impl EnvoyConfig {
    /// Reads YAML (or JSON, which is YAML).
    ///
    /// # Errors
    /// The file cannot be read, or is no YAML.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let root =
            serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("not YAML: {error}"))?;
        Ok(Self { root })
    }

    /// Writes it as JSON, which Envoy reads too.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(&self.root)?;
        fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The whole configuration, for whatever has no method here.
    pub fn value_mut(&mut self) -> &mut Value {
        &mut self.root
    }

    /// Where the administration interface listens.
    ///
    /// # Errors
    /// The configuration is not a mapping.
    pub fn set_admin(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let root = self.root.as_object_mut();
        let root = root.context("the Envoy configuration is not a mapping")?;
        root.insert("admin".to_owned(), json!({ "address": socket(address) }));
        Ok(())
    }

    /// Where the listener [`LISTENER`] listens.
    ///
    /// # Errors
    /// There is none.
    pub fn set_listener(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        self.named("listeners", LISTENER)?
            .insert("address".to_owned(), socket(address));
        Ok(())
    }

    /// Where the one endpoint of a cluster is. It is spoken to in clear text:
    /// there is no certificate for this machine.
    ///
    /// # Errors
    /// There is no cluster of that name.
    pub fn set_cluster(&mut self, name: &str, address: SocketAddr) -> anyhow::Result<()> {
        let cluster = self.named("clusters", name)?;
        for replaced in ["cluster_type", "transport_socket", "dns_lookup_family"] {
            cluster.remove(replaced);
        }
        cluster.insert("type".to_owned(), "STATIC".into());
        let endpoint = json!({ "endpoint": { "address": socket(address) } });
        let load_assignment =
            json!({ "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] });
        cluster.insert("load_assignment".to_owned(), load_assignment);
        Ok(())
    }

    /// As [`set_cluster`](Self::set_cluster), for a cluster that need not be there.
    ///
    /// # Errors
    /// None of its own.
    pub fn set_cluster_if_any(&mut self, name: &str, address: SocketAddr) -> anyhow::Result<()> {
        match self.named("clusters", name) {
            Ok(_) => self.set_cluster(name, address),
            Err(_) => Ok(()),
        }
    }

    /// Which .wasm is loaded, wherever the configuration loads a `rekey.wasm`.
    ///
    /// # Errors
    /// It loads none.
    pub fn set_filter(&mut self, filter: &Path) -> anyhow::Result<()> {
        let filter = filter.to_str().context("the filter's path is not UTF-8")?;
        self.change_filters(|config| {
            config["vm_config"]["code"]["local"]["filename"] = filter.into();
            Ok(())
        })
    }

    /// Changes the filter's own configuration by a JSON merge patch (RFC 7396:
    /// null removes a field).
    ///
    /// # Errors
    /// There is no `rekey.wasm`, or its configuration is not JSON in a
    /// `StringValue`.
    pub fn patch_plugin(&mut self, patch: &Value) -> anyhow::Result<()> {
        self.change_filters(|config| {
            let text = config.pointer_mut("/configuration/value");
            let text = text.context("the filter has no configuration.value")?;
            let plugin = text.as_str().map(serde_json::from_str::<Value>);
            let mut plugin = plugin.and_then(Result::ok).context(
                "the filter's configuration is not JSON in a google.protobuf.StringValue",
            )?;
            merge(&mut plugin, patch);
            *text = plugin.to_string().into();
            Ok(())
        })
    }

    /// Sends access logs that go to standard output into a file.
    pub fn set_access_log(&mut self, path: &Path) {
        visit(&mut self.root, &mut |object| {
            if is_type(object, STDOUT_LOG) {
                object["@type"] = FILE_LOG.into();
                object.insert("path".to_owned(), path.to_string_lossy().into());
            }
        });
    }

    /// Changes the `config` of every Wasm filter that loads a `rekey.wasm`.
    fn change_filters(
        &mut self,
        mut change: impl FnMut(&mut Value) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut changed = Vec::new();
        visit(&mut self.root, &mut |object| {
            if is_type(object, WASM_FILTER) {
                let config = object.get_mut("config");
                changed.extend(
                    config
                        .filter(|config| loads_filter(config))
                        .map(&mut change),
                );
            }
        });
        ensure!(
            !changed.is_empty(),
            "the Envoy configuration has no HTTP filter that loads a local file `{FILTER_FILE}`"
        );
        changed.into_iter().collect()
    }

    /// The entry of `static_resources` with that name.
    fn named(&mut self, kind: &str, name: &str) -> anyhow::Result<&mut Map<String, Value>> {
        let resources = self.root.get_mut("static_resources");
        let entries = resources.and_then(|resources| resources.get_mut(kind)?.as_array_mut());
        let entry = entries
            .into_iter()
            .flatten()
            .find(|entry| entry["name"] == name);
        match entry.and_then(Value::as_object_mut) {
            Some(entry) => Ok(entry),
            None => {
                bail!("the Envoy configuration has none named `{name}` in static_resources.{kind}")
            }
        }
    }
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } })
}

fn is_type(object: &Map<String, Value>, name: &str) -> bool {
    object.get("@type").is_some_and(|found| found == name)
}

/// Whether the `config` of a Wasm filter loads our file.
fn loads_filter(config: &Value) -> bool {
    let file = &config["vm_config"]["code"]["local"]["filename"];
    let file = file.as_str().map(Path::new).and_then(Path::file_name);
    file.is_some_and(|file| file == FILTER_FILE)
}

fn visit(value: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, change)),
        Value::Object(object) => {
            change(object);
            object.values_mut().for_each(|item| visit(item, change));
        }
        _ => {}
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (name, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|target| target.remove(name));
        } else {
            merge(&mut target[name], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    fn shipped() -> EnvoyConfig {
        EnvoyConfig::read(&workspace::root().join("envoy.yaml")).unwrap()
    }

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    #[test]
    fn the_shipped_file_has_every_named_part() {
        let mut config = shipped();
        config.set_admin(address(1)).unwrap();
        config.set_listener(address(2)).unwrap();
        config.set_cluster(STORE_CLUSTER, address(3)).unwrap();
        config.set_cluster(API_CLUSTER, address(4)).unwrap();
        config.set_cluster(FEED_CLUSTER, address(5)).unwrap();
        config.set_cluster(ROTATION_CLUSTER, address(7)).unwrap();
        config.set_cluster(GRPC_CLUSTER, address(6)).unwrap();
        config.set_filter(Path::new("/there/rekey.wasm")).unwrap();
        config.set_access_log(Path::new("/there/access.log"));
        let text = config.root.to_string();
        for port in 1..=7 {
            let expected = json!({ "address": "127.0.0.1", "port_value": port }).to_string();
            assert_eq!(text.matches(&expected).count(), 1, "{expected}");
        }
        for path in ["/there/rekey.wasm", "/there/access.log"] {
            assert_eq!(text.matches(path).count(), 1, "{path}");
        }
        assert!(!text.contains("STRICT_DNS") && !text.contains("StdoutAccessLog"));
    }

    #[test]
    fn a_missing_part_is_named() {
        let mut config = EnvoyConfig {
            root: json!({ "static_resources": { "clusters": [{ "name": "other" }] } }),
        };
        let error = |result: anyhow::Result<()>| result.unwrap_err().to_string();
        assert!(error(config.set_listener(address(1))).contains("`edge`"));
        let mut odd = EnvoyConfig {
            root: json!({ "static_resources": [] }),
        };
        assert!(error(odd.set_listener(address(1))).contains("`edge`"));
        assert!(error(config.set_cluster(API_CLUSTER, address(1))).contains("`api`"));
        assert!(error(config.set_filter(Path::new("x"))).contains("`rekey.wasm`"));
    }

    #[test]
    fn the_plugin_is_patched_by_merging() {
        let mut config = shipped();
        config
            .patch_plugin(&json!({
                "checksum": "off", "store": { "resolve_timeout_ms": 50 },
                "lease_ms": null, "bogus": 1,
            }))
            .unwrap();
        let mut plugin = Value::Null;
        let read = |config: &mut Value| {
            plugin = serde_json::from_str(config["configuration"]["value"].as_str().unwrap())?;
            Ok(())
        };
        config.change_filters(read).unwrap();
        assert_eq!(plugin["checksum"], "off");
        assert_eq!(plugin["store"]["resolve_timeout_ms"], 50);
        assert_eq!(plugin["store"]["cluster"], "rekey_store");
        assert_eq!(plugin["bogus"], 1);
        assert_eq!(plugin.get("lease_ms"), None);
    }

    /// RFC 7396, appendix A.
    #[test]
    fn merging_follows_the_rfc() {
        for (target, patch, expected) in [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b"}), json!({"a":null}), json!({})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (
                json!({"a":{"b":"c"}}),
                json!({"a":{"b":"d","c":null}}),
                json!({"a":{"b":"d"}}),
            ),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a":"foo"}), json!("bar"), json!("bar")),
            (json!([1, 2]), json!({"a":"b","c":null}), json!({"a":"b"})),
            (
                json!({}),
                json!({"a":{"bb":{"ccc":null}}}),
                json!({"a":{"bb":{}}}),
            ),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, expected, "{target} + {patch}");
        }
    }
}
