//! Hands a new key to its user once. The key is made by a task of its own, so
//! it does not go with the request that asked: whoever has sent the form twice
//! (a second click, a reload of a page that did not come) waits for the one key,
//! and the last of the requests that are still there takes it: that is the one
//! whose answer a browser shows, and whose connection is surely alive.
//!
//! A key that nobody took is wiped after a while. Then only "Revoke now" helps,
//! and the page that says so says it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rekey_protocol::{ApiKey, RotationId, UserId};
use tokio::sync::watch;

/// How long a key waits to be taken once it is made: long enough to send the
/// form again after a broken connection.
const KEPT: Duration = Duration::from_secs(30);
/// Keys that are being made or wait at a time.
const MAX: usize = 1024;

type Form = (UserId, RotationId);

/// The keys that are under way. Cheap to clone.
pub struct Deliveries<E>(Arc<Mutex<HashMap<Form, Arc<Delivery<E>>>>>);

struct Delivery<E> {
    outcome: Mutex<Outcome<E>>,
    is_made: watch::Sender<bool>,
    /// The requests that wait, in the order in which they came.
    waiting: Mutex<Vec<u64>>,
    arrivals: AtomicU64,
}

/// A request that waits, for as long as its connection lives.
struct Waiting<'a>(&'a Mutex<Vec<u64>>, u64);

impl<'a> Waiting<'a> {
    fn new<E>(delivery: &'a Delivery<E>) -> Self {
        let number = delivery.arrivals.fetch_add(1, Ordering::Relaxed);
        lock(&delivery.waiting).push(number);
        Self(&delivery.waiting, number)
    }

    fn is_last(&self) -> bool {
        lock(self.0).iter().all(|number| *number <= self.1)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        lock(self.0).retain(|number| *number != self.1);
    }
}

enum Outcome<E> {
    Pending,
    Key(ApiKey),
    Taken,
    Refused(E),
}

/// What a request gets.
pub enum Given<E> {
    /// The key: nobody else gets it.
    Key(ApiKey),
    /// It was given to another request of the same form.
    Taken,
    /// None was made.
    Refused(E),
    /// Too many are under way; nothing was done.
    Busy,
}

impl<E> Clone for Deliveries<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Clone + Send + Sync + 'static> Deliveries<E> {
    /// None under way.
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Makes a key for this form by `make`, unless that is under way already,
    /// and waits for it. `fault` is what is told if `make` panics.
    pub async fn give<F>(&self, form: Form, make: F, fault: E) -> Given<E>
    where
        F: Future<Output = Result<ApiKey, E>> + Send + 'static,
    {
        let Some(delivery) = self.begin(form, make, fault) else {
            return Given::Busy;
        };
        let waiting = Waiting::new(&delivery);
        let mut is_made = delivery.is_made.subscribe();
        let _ = is_made.wait_for(|is_made| *is_made).await;
        let mut outcome = lock(&delivery.outcome);
        if let Outcome::Refused(refusal) = &*outcome {
            return Given::Refused(refusal.clone());
        }
        if !waiting.is_last() {
            return Given::Taken;
        }
        match std::mem::replace(&mut *outcome, Outcome::Taken) {
            Outcome::Key(key) => Given::Key(key),
            _ => Given::Taken,
        }
    }

    fn begin<F>(&self, form: Form, make: F, fault: E) -> Option<Arc<Delivery<E>>>
    where
        F: Future<Output = Result<ApiKey, E>> + Send + 'static,
    {
        let mut under_way = lock(&self.0);
        if let Some(delivery) = under_way.get(&form) {
            return Some(delivery.clone());
        }
        if under_way.len() >= MAX {
            return None;
        }
        let delivery = Arc::new(Delivery {
            outcome: Mutex::new(Outcome::Pending),
            is_made: watch::Sender::new(false),
            waiting: Mutex::default(),
            arrivals: AtomicU64::new(0),
        });
        under_way.insert(form.clone(), delivery.clone());
        let (all, made) = (self.clone(), delivery.clone());
        tokio::spawn(async move {
            // A task within, so that its panic is told to whoever waits.
            let result = tokio::spawn(make).await.unwrap_or(Err(fault));
            let is_refused = result.is_err();
            *lock(&made.outcome) = result.map_or_else(Outcome::Refused, Outcome::Key);
            made.is_made.send_replace(true);
            if !is_refused {
                tokio::time::sleep(KEPT).await;
                *lock(&made.outcome) = Outcome::Taken;
            }
            lock(&all.0).remove(&form);
        });
        Some(delivery)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use tokio::sync::oneshot;

    use super::*;

    const KEY: &[u8; 40] = b"sb_live_0123456789abcdefghijklmnopqrstuv";

    fn form(ticket: u8) -> Form {
        ("u".parse().unwrap(), RotationId([ticket; 16]))
    }

    fn key() -> Result<ApiKey, &'static str> {
        Ok(ApiKey::parse(KEY).unwrap())
    }

    fn told(given: Given<&'static str>) -> &'static str {
        match given {
            Given::Key(_) => "key",
            Given::Taken => "taken",
            Given::Refused(refusal) => refusal,
            Given::Busy => "busy",
        }
    }

    #[tokio::test]
    async fn of_two_requests_one_gets_the_key_and_it_is_made_once() {
        let deliveries = Deliveries::new();
        let made = Arc::new(AtomicU32::new(0));
        let ask = || {
            let made = made.clone();
            let make = async move {
                tokio::task::yield_now().await;
                made.fetch_add(1, Ordering::Relaxed);
                key()
            };
            deliveries.give(form(1), make, "fault")
        };
        let (one, other) = tokio::join!(ask(), ask());
        assert_eq!([told(one), told(other)], ["taken", "key"]);
        assert_eq!(told(ask().await), "taken");
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_is_still_there_gets_it_when_the_first_has_gone() {
        let deliveries = Deliveries::new();
        let (go, wait) = oneshot::channel::<()>();
        let first = {
            let deliveries = deliveries.clone();
            let make = async move {
                let _ = wait.await;
                key()
            };
            tokio::spawn(async move { told(deliveries.give(form(1), make, "fault").await) })
        };
        while lock(&deliveries.0).is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let second = deliveries.give(form(1), async { Err("made twice") }, "fault");
        go.send(()).unwrap();
        assert_eq!(told(second.await), "key");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_nobody_takes_is_wiped() {
        let deliveries = Deliveries::<&str>::new();
        let delivery = deliveries.begin(form(1), async { key() }, "fault").unwrap();
        tokio::time::sleep(KEPT * 2).await;
        assert!(lock(&deliveries.0).is_empty());
        assert!(matches!(*lock(&delivery.outcome), Outcome::Taken));
    }

    #[tokio::test]
    async fn a_refusal_or_a_fault_is_told_and_forgotten() {
        let deliveries = Deliveries::new();
        let refuse = || deliveries.give(form(1), async { Err("too early") }, "fault");
        let (one, other) = tokio::join!(refuse(), refuse());
        assert_eq!([told(one), told(other)], ["too early"; 2]);
        let fault = deliveries.give(form(2), async { panic!("on purpose") }, "fault");
        assert_eq!(told(fault.await), "fault");
        while !lock(&deliveries.0).is_empty() {
            tokio::task::yield_now().await;
        }
        let again = deliveries.give(form(1), async { key() }, "fault");
        assert_eq!(told(again.await), "key");
    }

    #[tokio::test]
    async fn i8_so_many_at_a_time() {
        let deliveries = Deliveries::<&str>::new();
        for number in 0..MAX as u64 {
            let mut ticket = [0; 16];
            ticket[..8].copy_from_slice(&number.to_be_bytes());
            let form = ("u".parse().unwrap(), RotationId(ticket));
            assert!(deliveries.begin(form, std::future::pending(), "").is_some());
        }
        let one_more = deliveries.give(form(0xff), async { key() }, "fault");
        assert_eq!(told(one_more.await), "busy");
    }
}
