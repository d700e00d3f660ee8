//! Requests that wait until another rotation of the same key has ended.
//!
//! A rotation may wait for half a minute, and holds a call to the store all the
//! while. With one call for each key, a client that repeats a request without end holds
//! no more of the ways to the store than others do. Nobody loses by it: of the
//! rotations of one key the store lets one win, and a replay that comes after it
//! finds the barrier open.

use std::collections::{BTreeMap, VecDeque};

use rekey_protocol::Digest;

use crate::host::outbox::RequestId;
use crate::request::refusal::ApiRefusal;
use crate::rotation::lifecycle::{KeyToReplace, PATIENCE_MS, Requester};

/// Requests that wait in one worker (I8).
const MOST: usize = 4_096;
/// Those of one key.
const MOST_OF_A_KEY: usize = MOST / 16;

/// A request for the replacement of a key.
pub(crate) struct Queued {
    pub request: RequestId,
    /// The key that it bore, as it was known when the request came.
    pub old: KeyToReplace,
    /// What it is after.
    pub requester: Box<Requester>,
    /// When it came, in monotonic milliseconds.
    pub since: u64,
}

/// All of one worker, by their keys, each in the order in which they came.
#[derive(Default)]
pub(crate) struct Queue {
    by_key: BTreeMap<Digest, VecDeque<Queued>>,
    by_request: BTreeMap<RequestId, Digest>,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.by_request.len()
    }

    /// Whether any waits for this key.
    pub(crate) fn has(&self, key: &Digest) -> bool {
        self.by_key.contains_key(key)
    }

    /// Lets a request wait; if there is no place for it, what to tell it. Nothing
    /// was done for it then.
    pub(crate) fn join(&mut self, queued: Queued) -> Result<(), ApiRefusal> {
        if self.len() >= MOST {
            return Err(ApiRefusal::GatewayBusy);
        }
        let of_key = self.by_key.entry(queued.old.digest).or_default();
        if of_key.len() >= MOST_OF_A_KEY {
            return Err(ApiRefusal::TooManyOpenRequests);
        }
        self.by_request.insert(queued.request, queued.old.digest);
        of_key.push_back(queued);
        Ok(())
    }

    /// The keys that requests wait for.
    pub(crate) fn keys(&self) -> Vec<Digest> {
        self.by_key.keys().copied().collect()
    }

    /// The request of this key that has waited longest.
    pub(crate) fn next(&mut self, key: &Digest) -> Option<Queued> {
        let next = self.by_key.get_mut(key)?.pop_front();
        if let Some(queued) = &next {
            self.by_request.remove(&queued.request);
        }
        self.forget_if_empty(key);
        next
    }

    /// Those of this key that ask for no earlier answer: they need not wait any
    /// longer once the key is known to be dead.
    pub(crate) fn take_plain(&mut self, key: &Digest) -> Vec<Queued> {
        self.take(key, |queued| queued.requester.pair.is_none())
    }

    /// Those whose time is over.
    pub(crate) fn take_late(&mut self, now: u64) -> Vec<Queued> {
        let is_late = |queued: &Queued| now >= queued.since + PATIENCE_MS;
        let keys = self.keys().into_iter();
        keys.flat_map(|key| self.take(&key, is_late)).collect()
    }

    /// A request is over.
    pub(crate) fn leave(&mut self, request: RequestId) {
        if let Some(key) = self.by_request.get(&request).copied() {
            self.take(&key, |queued| queued.request == request);
        }
    }

    fn take(&mut self, key: &Digest, is_meant: impl Fn(&Queued) -> bool) -> Vec<Queued> {
        let Some(of_key) = self.by_key.get_mut(key) else {
            return Vec::new();
        };
        let mut taken = Vec::new();
        for queued in std::mem::take(of_key) {
            if is_meant(&queued) {
                taken.push(queued);
            } else {
                of_key.push_back(queued);
            }
        }
        for queued in &taken {
            self.by_request.remove(&queued.request);
        }
        self.forget_if_empty(key);
        taken
    }

    fn forget_if_empty(&mut self, key: &Digest) {
        if self.by_key.get(key).is_some_and(VecDeque::is_empty) {
            self.by_key.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rekey_protocol::Client;

    fn queued(request: u32, key: &[u8]) -> Queued {
        Queued {
            request: RequestId(request),
            old: KeyToReplace {
                digest: Digest::of(key),
                was_dead: true,
            },
            requester: Box::new(Requester {
                client: Client::default(),
                pair: None,
            }),
            since: u64::from(request),
        }
    }

    #[test]
    fn i8_one_key_has_a_share_and_all_have_a_bound() {
        let mut queue = Queue::default();
        let mut refusals = Vec::new();
        for request in 0..5_000 {
            let key = [u8::try_from(request % 20).unwrap()];
            refusals.extend(queue.join(queued(request, &key)).err());
        }
        assert_eq!(queue.len(), MOST);
        assert_eq!(refusals[0], ApiRefusal::GatewayBusy);
        let mut queue = Queue::default();
        for request in 0..MOST_OF_A_KEY {
            let request = u32::try_from(request).unwrap();
            queue.join(queued(request, b"a")).unwrap();
        }
        let refused = queue.join(queued(9_999, b"a"));
        assert_eq!(refused, Err(ApiRefusal::TooManyOpenRequests));
        assert_eq!(queue.join(queued(10_000, b"b")), Ok(()));
    }

    #[test]
    fn who_leaves_or_is_late_leaves_no_trace() {
        let mut queue = Queue::default();
        for request in 1..=4 {
            queue.join(queued(request, b"a")).unwrap();
        }
        queue.leave(RequestId(2));
        queue.leave(RequestId(2));
        let late = queue.take_late(PATIENCE_MS + 1);
        let late: Vec<_> = late.iter().map(|queued| queued.request).collect();
        assert_eq!(late, [RequestId(1)]);
        let key = Digest::of(b"a");
        assert_eq!(queue.next(&key).unwrap().request, RequestId(3));
        assert_eq!(queue.take_plain(&key).len(), 1);
        assert!(!queue.has(&key) && queue.len() == 0 && queue.by_key.is_empty());
    }
}
