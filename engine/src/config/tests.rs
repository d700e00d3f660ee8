//! The configuration: what is taken, what is refused, and what the refusal says.

use super::*;

const SECRET: Option<&str> = Some("0123456789abcdef");
const DOCUMENTED: &str = r#"{"store":{"cluster":"rekey_store","rotation_cluster":"rekey_store","feed_clusters":["rekey_store"],
    "authority":"rekey-store","resolve_timeout_ms":1000},"checksum":"required",
    "public_paths":[],"lease_ms":3000,"cache_slots":4096,"max_streams":65536,
    "unknown_keys_per_second":100}"#;

fn load(json: &str) -> Result<Config, ConfigError> {
    Config::load(json.as_bytes(), SECRET, None)
}

fn refusal(json: &str) -> String {
    load(json).err().expect("must be refused").to_string()
}

#[test]
fn the_documented_configuration_is_the_default() {
    let documented = load(DOCUMENTED).unwrap();
    let short = load(r#"{"store":{"cluster":"rekey_store"}}"#).unwrap();
    assert_eq!(documented.store.feed_clusters, short.store.feed_clusters);
    assert_eq!(
        documented.store.for_rotations(),
        short.store.for_rotations()
    );
    assert_eq!(
        (
            documented.store.authority,
            documented.store.resolve_timeout_ms
        ),
        (short.store.authority, short.store.resolve_timeout_ms)
    );
    assert_eq!(documented.checksum, short.checksum);
    assert_eq!(documented.public_paths, short.public_paths);
    assert_eq!(
        (
            documented.lease_ms,
            documented.cache_slots,
            documented.max_streams
        ),
        (short.lease_ms, short.cache_slots, short.max_streams)
    );
    assert_eq!(
        documented.unknown_keys_per_second,
        short.unknown_keys_per_second
    );
}

#[test]
fn refusals_name_the_field() {
    for (json, named) in [
        ("", "plugin configuration"),
        ("[]", "plugin configuration"),
        ("{}", "missing field `store`"),
        (r#"{"store":{}}"#, "missing field `cluster`"),
        (
            r#"{"store":{"cluster":"c"},"chekcsum":"off"}"#,
            "unknown field `chekcsum`",
        ),
        (
            r#"{"store":{"cluster":"c","timeout":1}}"#,
            "unknown field `timeout`",
        ),
        (
            r#"{"store":{"cluster":"c"},"checksum":"maybe"}"#,
            "checksum: unknown variant",
        ),
        (
            r#"{"store":{"cluster":"c"},"lease_ms":"3"}"#,
            "lease_ms: invalid type",
        ),
        (
            r#"{"store":{"cluster":"c"},"lease_ms":-3}"#,
            "lease_ms: invalid value",
        ),
        (
            r#"{"store":{"cluster":"c"},"lease_ms":30001}"#,
            "lease_ms: takes 100 to 30000",
        ),
        (
            r#"{"store":{"cluster":"c"},"cache_slots":0}"#,
            "cache_slots: takes 1 to",
        ),
        (
            r#"{"store":{"cluster":"c"},"unknown_keys_per_second":0}"#,
            "unknown_keys_per_second: takes 1 to 100000",
        ),
        (r#"{"store":{"cluster":""}}"#, "store.cluster: takes"),
        (
            r#"{"store":{"cluster":"c","rotation_cluster":""}}"#,
            "store.rotation_cluster: takes",
        ),
        (
            r#"{"store":{"cluster":"c","rotation_cluster":["d"]}}"#,
            "store.rotation_cluster: invalid type",
        ),
        (
            r#"{"store":{"cluster":"c","feed_clusters":["a b"]}}"#,
            "store.feed_clusters[0]",
        ),
        (
            r#"{"store":{"cluster":"c","resolve_timeout_ms":0}}"#,
            "store.resolve_timeout_ms",
        ),
        (
            r#"{"store":{"cluster":"c"},"public_paths":["x"]}"#,
            "public_paths[0]",
        ),
        (
            r#"{"store":{"cluster":"c"},"lease_ms":300,"lease_ms":400}"#,
            "duplicate field",
        ),
        (r#"{"store":{"cluster":"c"}} {}"#, "trailing characters"),
    ] {
        let said = refusal(json);
        assert!(said.contains(named), "{json}: {said}");
    }
}

#[test]
fn secrets_are_required_and_never_shown() {
    let json = br#"{"store":{"cluster":"c"}}"#;
    let said = Config::load(json, None, None).err().unwrap().to_string();
    assert!(
        said.contains("REKEY_CHECKSUM_SECRET") && said.contains("host_env_keys"),
        "{said}"
    );
    let said = Config::load(json, SECRET, Some("sh0rt"))
        .err()
        .unwrap()
        .to_string();
    assert!(
        said.contains("REKEY_STORE_TOKEN") && !said.contains("sh0rt"),
        "{said}"
    );
    assert!(
        Config::load(json, SECRET, Some(" "))
            .unwrap()
            .store_token
            .is_none()
    );
}
