//! Requests that stay open at the upstream: they end when their client has enough
//! of them, and with their key.

use rekey_protocol::{Digest, ResolvedState};
use rekey_store::clock::UnixMillis;

use crate::fleet::gateway::WorkerRef;
use crate::fleet::people::clients::Request;
use crate::fleet::world::{Event, World};

/// The longest patience of a client, in microseconds: beyond what a schedule
/// takes, so that some streams see its end.
const LONGEST: u64 = 200_000_000;

/// An open stream.
#[derive(Debug, Clone)]
pub struct Stream {
    /// Who serves it.
    pub at: WorkerRef,
    /// Its key.
    key: Digest,
}

impl World {
    /// A request was let through, and stays.
    pub fn stream_opens(&mut self, id: u32, request: &Request) {
        let stream = Stream {
            at: request.to,
            key: request.key.digest,
        };
        self.streams.insert(id, stream);
        if !self.healed {
            let span = self.rng.u64(0..LONGEST);
            self.after(span, Event::CloseStream(id));
        }
    }

    /// Its client has enough.
    pub fn close_stream(&mut self, id: u32) {
        if let Some(stream) = self.streams.remove(&id) {
            self.done(id, stream.at);
        }
    }

    /// A worker ends it: its key must be dead. What the client has closed before
    /// the worker knows of it is no stream any more.
    pub fn stream_reset(&mut self, id: u32, from: WorkerRef) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        self.stats.streams_ended += 1;
        if stream.at != from {
            self.violate(format!("ended by another worker: {stream:?}"));
        }
        let is_torn = self.oracle.torn.contains(&stream.key);
        if self.is_active(&stream.key) && !is_torn {
            self.violate(format!("the stream of a live key was ended: {stream:?}"));
        }
        self.done(id, from);
    }

    /// The fleet is healthy and has had time: no stream of a dead key is open.
    pub fn check_streams(&mut self) {
        let open: Vec<_> = self.streams.values().cloned().collect();
        for stream in open {
            if !self.is_active(&stream.key) {
                return self.violate(format!("a stream outlived its key: {stream:?}"));
            }
        }
    }

    /// Whether the store says so of a key.
    pub fn is_active(&mut self, key: &Digest) -> bool {
        match self.store.data.resolve(key, UnixMillis(0)) {
            Ok(found) => {
                let mut state = found.ok().map(|found| found.key.state);
                // Until somebody accepts an older history, the lost one is what counts.
                if let Some(lost) = &self.lost {
                    state = lost.get(key).copied().flatten();
                }
                state == Some(ResolvedState::Active)
            }
            Err(error) => {
                self.violate(format!("the store's database: {error}"));
                false
            }
        }
    }
}
