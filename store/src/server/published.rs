//! Secrets that Rekey's own documents publish, so that a demonstration starts by one
//! command. Everybody can read them, so they protect nothing.
//!
//! The list is here and nowhere else; a test compares it with the documents.

use std::net::{IpAddr, SocketAddr};

use anyhow::bail;

/// All of them.
pub const PUBLISHED: &[&str] = &[
    // docker-compose.yml
    "demo-only-store-token",
    "demo-only-admin-token",
    "demo-only-checksum-secret",
];

/// Whether this is one, or a list with one in it.
pub fn is_published(secret: &str) -> bool {
    let mut parts = secret.split(',').map(str::trim);
    parts.any(|part| PUBLISHED.contains(&part))
}

/// What the secrets of a store are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// Nobody else knows them, as far as can be told.
    Own,
    /// One of them at least is published.
    Published,
}

/// The settings that hold a published secret, by their names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishedSecrets(Vec<&'static str>);

impl PublishedSecrets {
    /// Looks at one setting.
    pub fn look(&mut self, name: &'static str, secret: &str) {
        if is_published(secret) {
            self.0.push(name);
        }
    }

    /// What that makes of all of them.
    pub fn secrecy(&self) -> Secrecy {
        match self.0.is_empty() {
            true => Secrecy::Own,
            false => Secrecy::Published,
        }
    }

    /// Refuses a listener that can be reached from elsewhere.
    pub fn check(&self, flag: &str, listener: SocketAddr) -> anyhow::Result<()> {
        let ip: IpAddr = listener.ip().to_canonical();
        if self.secrecy() == Secrecy::Own || ip.is_loopback() {
            return Ok(());
        }
        bail!(
            "{} is a secret of Rekey's own documents, which everybody can read, and {flag} {listener} is no loopback address: set another one (openssl rand -hex 32), or say --demo if nobody else can reach this machine",
            self.0.join(" and ")
        )
    }

    /// Says it, at every start.
    pub fn warn(&self) {
        for name in &self.0 {
            tracing::warn!(
                "{name} is a secret of Rekey's own documents, which everybody can read: for \
                 anything but a demonstration set another one (openssl rand -hex 32)"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_the_documents_are_all_on_the_list() {
        let compose = include_str!("../../../docker-compose.yml");
        let defaults: Vec<_> = compose
            .split("${REKEY_")
            .filter_map(|rest| rest.split_once('}').map(|(variable, _)| variable))
            .filter(|variable| variable.contains("TOKEN") || variable.contains("SECRET"))
            .filter_map(|variable| variable.split_once(":-"))
            .collect();
        assert_eq!(defaults.len(), 3, "{defaults:?}");
        for (name, default) in defaults {
            assert!(is_published(default), "{name}");
        }
        for known in PUBLISHED {
            assert!(compose.contains(known), "{known} is in no document");
        }
    }

    #[test]
    fn a_published_secret_is_found_in_a_list_and_beside_spaces() {
        for secret in [
            "demo-only-admin-token",
            "another-one-of-our-own,demo-only-checksum-secret",
            "demo-only-checksum-secret , another-one-of-our-own",
        ] {
            assert!(is_published(secret), "{secret}");
        }
        for secret in ["", "demo-only", "demo-only-admin-token-2"] {
            assert!(!is_published(secret), "{secret}");
        }
    }

    #[test]
    fn a_listener_is_refused_unless_it_is_on_loopback() {
        let mut found = PublishedSecrets::default();
        let check = |found: &PublishedSecrets, address: &str| {
            found.check("--listen", address.parse().unwrap())
        };
        assert!(check(&found, "0.0.0.0:8080").is_ok());
        found.look("REKEY_ADMIN_TOKEN", "demo-only-admin-token");
        for loopback in [
            "127.0.0.1:0",
            "127.8.8.8:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert!(check(&found, loopback).is_ok(), "{loopback}");
        }
        for open in [
            "0.0.0.0:8080",
            "[::]:8080",
            "192.0.2.1:1",
            "[::ffff:192.0.2.1]:1",
        ] {
            let refused = check(&found, open).unwrap_err().to_string();
            assert!(refused.contains("REKEY_ADMIN_TOKEN"), "{refused}");
            assert!(refused.contains("openssl rand -hex 32"), "{refused}");
            assert!(!refused.contains("demo-only"), "{refused}");
        }
    }
}
