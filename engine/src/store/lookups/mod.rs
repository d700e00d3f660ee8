//! Requests that wait for the store's word on their key, and the calls that
//! they share: one in flight for each key.
//!
//! Who may take whose answer is the waiter rule (G7), [`SentCall::may_serve`].

use std::collections::BTreeMap;

use rekey_protocol::Digest;

use crate::RequestId;
use crate::cache::control::Control;
use crate::cache::lease::Moment;
use crate::limits::token_bucket::BucketToken;
use crate::rotation::lifecycle::Requester;
use crate::store::calls::CallId;

/// How often a request asks again because the answer was too old to decide on.
const MOST_TRIES: u8 = 3;

/// What a request wants with its key.
pub enum Purpose {
    /// To go on to the upstream.
    Authenticate,
    /// To have it replaced.
    Regenerate(Box<Requester>),
}

/// When a request arrived, and what this gateway could trust then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Place in the order of arrivals and sendings of this worker.
    order: u64,
    /// None if there was no lease.
    trusted: Option<Trusted>,
}

/// What the lease of a gateway covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trusted {
    generation: u64,
    applied_revision: u64,
}

/// When a call was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SentCall {
    order: u64,
    /// When the host's word on it is overdue, in monotonic milliseconds.
    lost_at: u64,
    /// The generation of that moment (G5); none if nothing could be cached.
    pub generation: Option<u64>,
}

/// How the store's answer to a call was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerRead {
    /// The revision of the store's snapshot.
    pub revision: u64,
    /// Whether the answer could be cached, which needs the generation that its call
    /// was sent in (G5).
    pub is_cached: bool,
}

impl SentCall {
    /// Whether it was sent after the request arrived.
    pub fn is_after(&self, arrival: &Arrival) -> bool {
        arrival.order < self.order
    }

    /// The waiter rule (G7): whether a request that arrived then may take an
    /// "active" that was read so. Of a call sent after it arrived
    /// always: the store's snapshot is younger than the request (S1). Of an
    /// earlier one only where a cached yes would have done as well.
    pub fn may_serve(&self, arrival: &Arrival, read: AnswerRead) -> bool {
        if self.is_after(arrival) {
            return true;
        }
        match (arrival.trusted, self.generation) {
            (Some(trusted), Some(sent_in)) if read.is_cached => {
                trusted.generation == sent_in && read.revision >= trusted.applied_revision
            }
            _ => false,
        }
    }
}

/// A request that waits.
pub struct Waiter {
    /// The request that waits.
    pub request: RequestId,
    /// What it wants with its key.
    pub purpose: Purpose,
    /// When it came.
    pub arrival: Arrival,
    tries: u8,
}

/// Which call a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// A new one, which is to be sent.
    NewCall,
    /// One that other requests with its key wait for.
    CallInFlight,
}

/// Which way to the store a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClusterChoice {
    /// With the lookups of all requests.
    Lookup,
    /// With rotations: one waits for it.
    Rotation,
}

/// A call that is to be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The id under which it is sent.
    pub call: CallId,
    /// The key that the store is asked about.
    pub digest: Digest,
    /// The cluster that it goes to.
    pub way: ClusterChoice,
}

/// A call that was answered, and who waited for it.
pub struct Answered {
    /// The key that the store was asked about.
    pub digest: Digest,
    /// When it was sent.
    pub sent: SentCall,
    /// What it has cost.
    pub token: Option<BucketToken>,
    /// Those who still wait.
    pub waiters: Vec<Waiter>,
}

struct Lookup {
    digest: Digest,
    /// None where it costs none.
    token: Option<BucketToken>,
    /// None until the root has sent it.
    sent: Option<SentCall>,
    waiters: Vec<Waiter>,
}

impl Lookup {
    fn way(&self) -> ClusterChoice {
        let mut purposes = self.waiters.iter().map(|waiter| &waiter.purpose);
        match purposes.any(|purpose| matches!(purpose, Purpose::Regenerate(_))) {
            true => ClusterChoice::Rotation,
            false => ClusterChoice::Lookup,
        }
    }
}

/// All lookups of one worker.
#[derive(Default)]
pub struct Lookups {
    order: u64,
    calls: BTreeMap<CallId, Lookup>,
    by_digest: BTreeMap<Digest, CallId>,
    by_request: BTreeMap<RequestId, CallId>,
}

impl Lookups {
    /// A request with this key came.
    pub fn arrival(&mut self, control: Option<&Control>, now: Moment) -> Arrival {
        self.order += 1;
        let trusted = control.filter(|control| control.trusts(now));
        let trusted = trusted.and_then(|control| {
            Some(Trusted {
                generation: control.generation.number,
                applied_revision: control.applied?.revision,
            })
        });
        Arrival {
            order: self.order,
            trusted,
        }
    }

    /// Whether there is a call for this key already, which costs no other.
    pub fn is_in_flight(&self, digest: &Digest) -> bool {
        self.by_digest.contains_key(digest)
    }

    /// The call for this key costs a token, which is spent if it is never sent.
    pub fn charge(&mut self, digest: &Digest, token: Option<BucketToken>) {
        let call = self.by_digest.get(digest);
        if let Some(lookup) = call.and_then(|call| self.calls.get_mut(call)) {
            lookup.token = token;
        }
    }

    /// Lets a request wait. `call` is the id of a new call, if one is needed.
    pub fn join(
        &mut self,
        digest: Digest,
        request: RequestId,
        purpose: Purpose,
        arrival: Arrival,
        call: CallId,
    ) -> Joined {
        let waiter = Waiter {
            request,
            purpose,
            arrival,
            tries: 0,
        };
        self.wait(digest, waiter, call)
    }

    /// Lets a request wait for another call, because the last one could not serve
    /// it; none if it has asked often enough. Returns it then, to be refused.
    pub fn ask_again(
        &mut self,
        digest: Digest,
        mut waiter: Waiter,
        call: CallId,
    ) -> Option<RequestId> {
        waiter.tries += 1;
        if waiter.tries > MOST_TRIES {
            return Some(waiter.request);
        }
        self.wait(digest, waiter, call);
        None
    }

    /// Asks about a key that no request waits for; to be sent in the same event.
    /// `call` is the id of a new call, if one is needed; one in flight serves.
    pub fn ask(&mut self, digest: Digest, call: CallId) {
        let in_flight = *self.by_digest.entry(digest).or_insert(call);
        self.calls.entry(in_flight).or_insert_with(|| Lookup {
            digest,
            token: None,
            sent: None,
            waiters: Vec::new(),
        });
    }

    fn wait(&mut self, digest: Digest, waiter: Waiter, call: CallId) -> Joined {
        let in_flight = *self.by_digest.entry(digest).or_insert(call);
        let lookup = self.calls.entry(in_flight).or_insert_with(|| Lookup {
            digest,
            token: None,
            sent: None,
            waiters: Vec::new(),
        });
        self.by_request.insert(waiter.request, in_flight);
        lookup.waiters.push(waiter);
        match in_flight == call {
            true => Joined::NewCall,
            false => Joined::CallInFlight,
        }
    }

    /// Gives the calls that are to be sent now, by a root that sees this control
    /// record; they count as sent, and as lost at `lost_at`.
    pub fn send_due(&mut self, control: Option<&Control>, lost_at: u64) -> Vec<Due> {
        let generation = control
            .filter(|control| control.applied.is_some())
            .map(|control| control.generation.number);
        let mut due = Vec::new();
        for (call, lookup) in &mut self.calls {
            if lookup.sent.is_none() {
                self.order += 1;
                lookup.sent = Some(SentCall {
                    order: self.order,
                    lost_at,
                    generation,
                });
                due.push(Due {
                    call: *call,
                    digest: lookup.digest,
                    way: lookup.way(),
                });
            }
        }
        due
    }

    /// Calls on which the host's word is overdue. Requests with their keys would
    /// wait for ever.
    pub fn overdue(&self, now: u64) -> Vec<CallId> {
        let is_overdue = |lookup: &Lookup| lookup.sent.is_some_and(|sent| now >= sent.lost_at);
        let overdue = self.calls.iter().filter(|(_, lookup)| is_overdue(lookup));
        overdue.map(|(call, _)| *call).collect()
    }

    /// A call came to an end.
    pub fn answered(&mut self, call: CallId) -> Option<Answered> {
        let lookup = self.calls.remove(&call)?;
        self.by_digest.remove(&lookup.digest);
        for waiter in &lookup.waiters {
            self.by_request.remove(&waiter.request);
        }
        Some(Answered {
            digest: lookup.digest,
            sent: lookup.sent?,
            token: lookup.token,
            waiters: lookup.waiters,
        })
    }

    /// A request is over. A call that has not been sent for anybody else is
    /// dropped; one that has been goes on, because its answer is worth knowing.
    pub fn leave(&mut self, request: RequestId) {
        let Some(call) = self.by_request.remove(&request) else {
            return;
        };
        let Some(lookup) = self.calls.get_mut(&call) else {
            return;
        };
        lookup.waiters.retain(|waiter| waiter.request != request);
        if lookup.sent.is_none() && lookup.waiters.is_empty() {
            self.by_digest.remove(&lookup.digest);
            self.calls.remove(&call);
        }
    }

    /// How many requests wait.
    pub fn waiting(&self) -> usize {
        self.by_request.len()
    }
}

#[cfg(test)]
mod tests;
