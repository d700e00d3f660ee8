//! The prefix of the engine's names in shared data (G10).
//!
//! One process may hold several configurations and builds at once: an update
//! leaves the old ones serving beside the new until their connections have
//! drained. Under one control record the lease of the one would cover the cache
//! of the other, so each has separate names, by a hash of all that makes
//! trust comparable.

use sha2::{Digest as _, Sha256};

use super::entry::Schema;
use crate::config::{ChecksumPolicy, Config};

/// The prefix of all names of a configuration in this build.
pub(crate) fn of(config: &Config, schemas: &[Schema]) -> String {
    let mut hash = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    field(env!("CARGO_PKG_VERSION").as_bytes());
    for schema in schemas {
        field(schema.table.as_bytes());
        field(&[schema.version]);
    }
    field(match config.checksum {
        ChecksumPolicy::Required => b"required",
        ChecksumPolicy::Off => b"off",
    });
    field(&config.cache_slots.to_be_bytes());
    field(&config.lease_ms.to_be_bytes());
    field(config.store.cluster.as_bytes());
    field(config.store.for_rotations().as_bytes());
    field(config.store.authority.as_bytes());
    for cluster in &config.store.feed_clusters {
        field(cluster.as_bytes());
    }
    // Each tells the store what it accepts, under a separate gateway id.
    for print in config.secrets.prints() {
        field(&print.0);
    }
    let hash = hash.finalize();
    // No `/`: other hosts split names there.
    format!(
        "rekey.{}.",
        hex::encode(hash.first_chunk::<8>().copied().unwrap_or_default())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::shared::SharedState;
    use crate::shared::entry::Unreadable;

    fn namespace(json: &str) -> String {
        let config = Config::load(json.as_bytes(), Some("0123456789abcdef"), None).unwrap();
        of(&config, SharedState::SCHEMAS)
    }

    #[test]
    fn g10_what_trusts_differently_shares_nothing() {
        let configurations = [
            r#"{"store":{"cluster":"a"}}"#,
            r#"{"store":{"cluster":"b"}}"#,
            r#"{"store":{"cluster":"a","authority":"b"}}"#,
            r#"{"store":{"cluster":"a","rotation_cluster":"b"}}"#,
            r#"{"store":{"cluster":"a","feed_clusters":["b"]}}"#,
            r#"{"store":{"cluster":"a"},"cache_slots":4095}"#,
            r#"{"store":{"cluster":"a"},"lease_ms":2999}"#,
            r#"{"store":{"cluster":"a"},"checksum":"off"}"#,
        ];
        let names: std::collections::BTreeSet<_> =
            configurations.iter().map(|json| namespace(json)).collect();
        assert_eq!(names.len(), configurations.len());
    }

    #[test]
    fn other_secrets_are_told_under_another_gateway_id() {
        let named = |secrets| {
            let json = br#"{"store":{"cluster":"a"}}"#;
            let config = Config::load(json, Some(secrets), None).unwrap();
            of(&config, SharedState::SCHEMAS)
        };
        let names = [
            named("0123456789abcdef"),
            named("0123456789abcdef,fedcba9876543210"),
            named("fedcba9876543210,0123456789abcdef"),
        ];
        assert!(names[0] != names[1] && names[1] != names[2]);
    }

    #[test]
    fn an_update_that_changes_nothing_of_that_keeps_the_cache() {
        let before = namespace(r#"{"store":{"cluster":"a"}}"#);
        let after = namespace(
            r#"{"store":{"cluster":"a","resolve_timeout_ms":50},"public_paths":["/x"],
                "unknown_keys_per_second":7}"#,
        );
        assert_eq!(before, after);
    }

    #[test]
    fn g10_builds_with_another_layout_share_nothing() {
        let config = br#"{"store":{"cluster":"a"}}"#;
        let config = Config::load(config, Some("0123456789abcdef"), None).unwrap();
        let now = of(&config, SharedState::SCHEMAS);
        for changed in 0..SharedState::SCHEMAS.len() {
            let mut schemas = SharedState::SCHEMAS.to_vec();
            schemas[changed].version += 1;
            assert_ne!(of(&config, &schemas), now, "{:?}", schemas[changed]);
            schemas.remove(changed);
            assert_ne!(of(&config, &schemas), now);
        }
        // No two tables have one name, or they would write over each other.
        let tables = SharedState::SCHEMAS.iter().map(|schema| schema.table);
        let tables: std::collections::BTreeSet<_> = tables.collect();
        assert_eq!(tables.len(), SharedState::SCHEMAS.len());
    }

    #[test]
    fn what_trust_depends_on_is_never_written_over() {
        let left_alone = SharedState::SCHEMAS.iter();
        let left_alone = left_alone.filter(|it| it.unreadable == Unreadable::IsLeftAlone);
        let tables: Vec<_> = left_alone.map(|schema| schema.table).collect();
        assert_eq!(tables, ["control", "slot", "revoked"]);
    }
}
