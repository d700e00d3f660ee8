//! What a server asks of its engine, on etcd.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use etcd_client::{Certificate, ConnectOptions, Identity as TlsIdentity, TlsOptions};
use rekey_protocol::{Digest, Head, LEASE_CAP_MS};

use super::replica::{beats, follow};
use super::{Etcd, Location, upkeep};
use crate::clock::{Clock, StoreTime};
use crate::engine::etcd::cluster::Cluster;
use crate::engine::etcd::cluster::address::Transport;
use crate::engine::etcd::replica::Replica;
use crate::engine::etcd::replica::join::{Joined, join};
use crate::engine::etcd::transaction::slots::Slots;
use crate::engine::etcd::wrap::Wrapping;
use crate::engine::serve::{
    EngineEnd, EngineSettings, NotReady, Ownership, ReplayPlace, Serve, Started,
};
use crate::engine::{Engine, Listener, ReadError};
use crate::feed::core::Start;
use crate::feed::history::{History, Life};
use crate::metrics::DiskUse;
use crate::operations::Context;
use crate::operations::imports::UnfinishedImports;
use crate::operations::incarnation::OlderData;

/// How long a start waits for its own first beat to come back.
const BEATS_WITHIN: Duration = Duration::from_secs(15);

impl Serve for Etcd {
    type Location = Location;

    async fn start<L: Listener + Clone>(
        settings: EngineSettings<Location>,
        listen: impl FnOnce(Start) -> L + Send,
    ) -> anyhow::Result<Started<Self, L>> {
        let place = &settings.place;
        let options = options(place)?;
        let cluster = Cluster::new(&place.address, &options).await?;
        let clock = Clock::resume(None);
        let joined = join(&cluster, settings.older_data, clock.now()).await?;
        let clock = Clock::resume(latest(joined.time, clock.now()));
        let listener = listen(feed_start(&joined, settings.older_data));
        let replica = Replica::new(cluster, joined.id, joined.line.clone(), clock);
        replica.know(&joined.lines);
        let wrapping = match settings.replays {
            ReplayPlace::Off => None,
            ReplayPlace::Beside { .. } => {
                let keys = place.access.wrapping.iter().map(|key| &**key);
                Some(Arc::new(Wrapping::new(keys)))
            }
        };
        let engine = Self {
            slots: Slots::new(joined.id, joined.line.made),
            replica: replica.clone(),
            interval: settings.interval,
            wrapping,
        };
        tokio::spawn(beats::beat(replica.clone()));
        tokio::spawn(beats::observe(replica.clone()));
        tokio::spawn(upkeep::tick(engine.clone()));
        tokio::spawn(follow::follow(
            replica.clone(),
            listener.clone(),
            joined.line.made,
        ));
        let current = tokio::time::timeout(BEATS_WITHIN, replica.current()).await;
        current.context("etcd answers, but what this store writes does not come back on its watch; see to the members' health")?;
        let unfinished_imports = engine.read(UnfinishedImports).await?;
        Ok(Started {
            ownership: engine.ownership(),
            engine,
            listener,
            unfinished_imports,
        })
    }

    fn context(&self) -> Context {
        Context {
            now: self.replica.clock().now(),
            interval: self.interval,
        }
    }

    async fn ready(&self) -> Result<(), NotReady> {
        match self.replica.fence_left() {
            0 => Err(ReadError::NotCurrent.into()),
            _ => Ok(()),
        }
    }

    fn disk_use(&self) -> Option<DiskUse> {
        None
    }

    fn takes_first_use(&self, _: &Digest) -> bool {
        // Any store may have made the key, so each first look at a key would have to be
        // noted: the audit of replays is asked for it instead (X4).
        false
    }

    fn await_first_use(&self, _: &Digest) {}

    async fn others_reached(&self, revision: u64) {
        self.replica.others_reached(revision).await;
        self.replica.current().await;
    }

    async fn next_to_tell(&self, told: u64) -> u64 {
        self.replica.next_to_tell(told).await
    }

    fn tell_reached(&self, revision: u64) {
        self.replica.reached(revision);
    }
}

impl Etcd {
    fn ownership(&self) -> Ownership {
        let (ended, released) = (self.replica.clone(), self.replica.clone());
        Ownership {
            ended: Box::pin(async move { EngineEnd::Lost(ended.lost().await.to_string()) }),
            release: Box::pin(async move {
                beats::leave(&released).await;
                Ok(())
            }),
        }
    }
}

fn latest(known: Option<StoreTime>, now: StoreTime) -> Option<StoreTime> {
    // S12: no store's clock is behind what another one has acted upon.
    known.filter(|known| known.limit > now.limit).or(Some(now))
}

fn feed_start(joined: &Joined, older: OlderData) -> Start {
    let head = Head {
        incarnation: joined.incarnation,
        revision: joined.line.made,
    };
    let life = Life {
        incarnation: joined.incarnation,
        first: 0,
        last: None,
    };
    Start {
        history: History::new(vec![life], head),
        // Lines stand for leases: none is on record (R1).
        longest_lease_ms: LEASE_CAP_MS,
        // R8: gateways of the history that was lost may trust it for so long.
        held_lease_ms: match older {
            OlderData::Accepted => LEASE_CAP_MS,
            OlderData::Refused => 0,
        },
        accepted_before: joined.history.accepted_before,
        restored: false,
    }
}

fn options(place: &Location) -> anyhow::Result<ConnectOptions> {
    let mut options = ConnectOptions::new();
    if let Some(user) = &place.address.user {
        let password = place.access.password.as_ref().with_context(|| {
            format!("the address names the user {user:?}, but REKEY_ETCD_PASSWORD is not set")
        })?;
        options = options
            .with_user(user, password.as_str())
            .with_auto_token_refresh(true);
    }
    if place.address.transport == Transport::Tls {
        let mut tls = TlsOptions::new();
        tls = match &place.access.tls.authorities {
            Some(pem) => tls.ca_certificate(Certificate::from_pem(pem)),
            None => tls.with_native_roots(),
        };
        if let Some(identity) = &place.access.tls.identity {
            let key = identity.key.as_slice();
            tls = tls.identity(TlsIdentity::from_pem(&identity.certificate, key));
        }
        options = options.with_tls(tls);
    }
    Ok(options)
}
