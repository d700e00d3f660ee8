//! What all workers of the process share, in the host's shared data.
//!
//! In: names and values. Out: typed entries that change by compare-and-swap
//! (`entry`, `codec`), under names that only workers with the same configuration and
//! build use (`namespace`), and roles that one worker has at a time (`leader`,
//! `workers`). What an entry means is said where it is used.
//!
//! To add a table, give its value a [`Layout`] and its handle a line in the list
//! below. The list makes the handle and hashes the schema, so that a table cannot
//! share trust with another build by mistake (G10).

pub(crate) mod codec;
pub(crate) mod entry;
pub(crate) mod leader;
pub(crate) mod namespace;
pub(crate) mod workers;

use crate::cache::control::ControlCell;
use crate::cache::key_cache::KeyCache;
use crate::config::Config;
use crate::feed::last_uses::PendingLastUses;
use crate::feed::revoked_uses::PendingRevokedUses;
use crate::limits::seen_keys::SeenKeys;
use crate::limits::token_bucket::TokenBuckets;
use crate::rotation::issuing::Advice;
use crate::streams::revocation_log::RevocationLog;
use entry::{Entries, Layout, Schema};
use leader::Roles;

/// A table of shared data, as its users see it.
pub(crate) trait SharedTable {
    /// What its entries hold.
    type Value: Layout;

    /// The table over these entries, in a configuration.
    fn open(entries: Entries<Self::Value>, config: &Config) -> Self;
}

/// A table that needs no words besides those of its entries.
impl<T: Layout> SharedTable for Entries<T> {
    type Value = T;

    fn open(entries: Self, _: &Config) -> Self {
        entries
    }
}

macro_rules! shared_state {
    ($($(#[$doc:meta])+ $field:ident: $table:ty,)+) => {
        /// All tables of one configuration in one build.
        pub(crate) struct SharedState {
            namespace: String,
            $($(#[$doc])+ pub(crate) $field: $table,)+
        }

        impl SharedState {
            /// The schema of each table, which the namespace is a hash of (G10).
            pub(crate) const SCHEMAS: &[Schema] =
                &[$(<<$table as SharedTable>::Value as Layout>::SCHEMA,)+];

            /// The tables under the namespace of a configuration.
            pub(crate) fn new(config: &Config) -> Self {
                let namespace = namespace::of(config, Self::SCHEMAS);
                Self {
                    $($field: <$table as SharedTable>::open(Entries::under(&namespace), config),)+
                    namespace,
                }
            }
        }
    };
}

shared_state! {
    /// What the gateway may trust, and until when.
    control: ControlCell,
    /// The keys that are known.
    keys: KeyCache,
    /// The last revocations, for other workers' open requests.
    revocations: RevocationLog,
    /// How often the store may be asked about keys that nobody has seen.
    buckets: TokenBuckets,
    /// Keys that the store called good before.
    seen_keys: SeenKeys,
    /// Uses of revoked keys that the store has not been told of.
    revoked_uses: PendingRevokedUses,
    /// Last uses of active keys that the store has not been told of.
    last_uses: PendingLastUses,
    /// Which secret new keys are made with.
    advice: Entries<Advice>,
    /// Which worker has which role.
    roles: Roles,
}

impl SharedState {
    /// The name of the queue that wakes the worker with this number.
    pub(crate) fn doorbell(&self, number: u32) -> String {
        format!("{}doorbell.{number}", self.namespace)
    }
}
