//! The key store's data in etcd: as many stores before it as anybody likes (R1 to R8).
//!
//! - [`cluster`] speaks to etcd.
//! - [`transaction`] runs operations.
//! - [`replica`] is this process as one of several stores.

pub mod cluster;
mod imports;
mod records;
mod replica;
mod rows;
mod serve;
mod transaction;
mod upkeep;
mod wrap;

pub use cluster::address;
pub use imports::EtcdStaging;
pub(crate) use wrap::LABEL as WRAPPING_LABEL;

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::engine::etcd::cluster::address::Address;
use crate::engine::etcd::replica::Replica;
use crate::engine::etcd::transaction::slots::Slots;
use crate::engine::etcd::wrap::Wrapping;
use crate::engine::keyspace::Wrap;
use crate::rules::rotation::RotationLimit;

/// The engine on etcd. Cheap to clone.
#[derive(Clone)]
pub struct Etcd {
    replica: Replica,
    slots: Slots,
    interval: RotationLimit,
    /// None: nothing is kept for replays.
    wrapping: Option<Arc<Wrapping>>,
}

impl Etcd {
    fn wrap(&self) -> Option<&dyn Wrap> {
        let wrapping = self.wrapping.as_deref();
        wrapping.map(|wrapping| wrapping as &dyn Wrap)
    }
}

/// Where etcd is, and how this store proves who it is.
#[derive(Debug, Clone)]
pub struct Location {
    /// The members.
    pub address: Address,
    /// How they are reached.
    pub access: Access,
}

/// What a store needs beside the address of etcd.
#[derive(Clone, Default)]
pub struct Access {
    /// The files for TLS.
    pub tls: TlsFiles,
    /// Of the address's user.
    pub password: Option<Zeroizing<String>>,
    /// The wrapping keys of replays, the newest first.
    pub wrapping: Vec<Zeroizing<[u8; 32]>>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Access")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Files in PEM, for TLS.
#[derive(Debug, Clone, Default)]
pub struct TlsFiles {
    /// The authorities that members' certificates are signed by; none: those of the
    /// system.
    pub authorities: Option<Vec<u8>>,
    /// This store's certificate and key.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Clone)]
pub struct Identity {
    /// With those of the authorities between, if there are any.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Identity")
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // Nothing can go on without.
        tracing::error!(%error, "the system gives no random bytes");
        std::process::abort();
    }
    bytes
}
