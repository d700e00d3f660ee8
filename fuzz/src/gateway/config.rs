//! The plugin configuration: an operator's JSON, and two variables of the
//! environment that no error may repeat.

use arbitrary::{Result, Unstructured};
use rekey_engine::fuzzing::{Route, check_public_path, classify};
use rekey_engine::{Config, Engine};
use rekey_protocol::{LEASE_CAP_MS, LEASE_LEAST_MS};

use crate::holds;

const SECRETS: [Option<&str>; 5] = [
    Some("a-secret-of-the-fuzzer"),
    Some("newest-secret-of-two,older-secret-of-two"),
    Some("good-secret-of-the-fuzzer,short-one"),
    Some(" "),
    None,
];
const TOKENS: [Option<&str>; 5] = [
    Some("a-token-of-the-fuzzer"),
    Some("short-token"),
    Some("a token with spaces in it"),
    Some(""),
    None,
];

/// Which secret and which token, then the JSON.
pub fn config(data: &[u8]) {
    let _ = case(Unstructured::new(data));
}

fn case(mut input: Unstructured<'_>) -> Result<()> {
    let secret = *input.choose(&SECRETS)?;
    let token = *input.choose(&TOKENS)?;
    let json = input.take_rest();
    match Config::load(json, secret, token) {
        Ok(config) => check(config),
        Err(error) => {
            let text = format!("{error} {error:?}");
            let secrets = secret.unwrap_or_default().split(',');
            for part in secrets.chain(token).filter(|part| part.len() > 6) {
                let told = holds(text.as_bytes(), part.as_bytes());
                assert!(!told || holds(json, part.as_bytes()), "{text}");
            }
        }
    }
    Ok(())
}

fn check(config: Config) {
    assert!((LEASE_LEAST_MS..=LEASE_CAP_MS).contains(&config.lease_ms));
    assert!((1..=1 << 20).contains(&config.cache_slots));
    assert!(config.max_streams <= 1 << 20);
    assert!((1..=100_000).contains(&config.unknown_keys_per_second));
    assert!((10..=30_000).contains(&config.store.resolve_timeout_ms));
    // They become a header or the name of a cluster.
    let store = &config.store;
    assert!(!store.feed_clusters.is_empty());
    for name in store
        .feed_clusters
        .iter()
        .chain([&store.cluster, &store.authority])
    {
        let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
        assert!(visible && (1..=255).contains(&name.len()), "{name}");
    }
    for path in &config.public_paths {
        assert!(check_public_path(path).is_ok());
        let route = classify(path.as_bytes(), &config.public_paths);
        assert!(route != Route::Protected, "{path} is public, and is not");
    }
    assert_eq!(Engine::new(config).in_flight(), 0);
}
