//! Hands a new key to its user once. The key is made by a task of its own, so
//! it does not go with the request that asked: whoever has sent the form twice
//! (a second click, a reload of a page that did not come) waits for the one key,
//! and the last of the requests that are still there takes it: that is the one
//! whose answer a browser shows, and whose connection is surely alive.
//!
//! A key that nobody took is wiped after a while. Then only "Revoke now" helps,
//! and the page that says so says it. So none is made for a form that nobody waits
//! for when the database gets to it: then nothing happens, and the form is as
//! good as before.

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

/// Which form asks for a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct FormId {
    /// Whose.
    pub user: UserId,
    /// A rotation id by another name (S11).
    pub ticket: RotationId,
}

/// The keys that are under way. Cheap to clone.
pub(crate) struct Deliveries<E>(Arc<Mutex<HashMap<FormId, Arc<Delivery<E>>>>>);

struct Delivery<E> {
    outcome: Mutex<Outcome<E>>,
    is_made: watch::Sender<bool>,
    /// The requests that wait, in the order in which they came.
    waiting: Mutex<Vec<u64>>,
    arrivals: AtomicU64,
}

/// A request that waits, for as long as its connection lives.
struct Waiting<E> {
    delivery: Arc<Delivery<E>>,
    number: u64,
}

impl<E> Waiting<E> {
    fn new(delivery: Arc<Delivery<E>>) -> Self {
        let number = delivery.arrivals.fetch_add(1, Ordering::Relaxed);
        lock(&delivery.waiting).push(number);
        Self { delivery, number }
    }

    fn is_last(&self) -> bool {
        let waiting = lock(&self.delivery.waiting);
        waiting.iter().all(|number| *number <= self.number)
    }
}

impl<E> Drop for Waiting<E> {
    fn drop(&mut self) {
        lock(&self.delivery.waiting).retain(|number| *number != self.number);
    }
}

/// Whether any request waits for a key.
pub(crate) type IsAwaited = Arc<dyn Fn() -> bool + Send + Sync>;

enum Outcome<E> {
    Pending,
    Key(ApiKey),
    Taken,
    Refused(E),
}

/// What a request gets.
pub(crate) enum Given<E> {
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
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// Makes a key for this form by `make`, unless that is under way already,
    /// and waits for it. `make` is told whether anybody still does. `fault` is what
    /// is told if it panics.
    pub(crate) async fn give<F>(
        &self,
        form: FormId,
        make: impl FnOnce(IsAwaited) -> F,
        fault: E,
    ) -> Given<E>
    where
        F: Future<Output = Result<ApiKey, E>> + Send + 'static,
    {
        let Some(waiting) = self.begin(form, make, fault) else {
            return Given::Busy;
        };
        let delivery = &waiting.delivery;
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

    fn begin<F>(
        &self,
        form: FormId,
        make: impl FnOnce(IsAwaited) -> F,
        fault: E,
    ) -> Option<Waiting<E>>
    where
        F: Future<Output = Result<ApiKey, E>> + Send + 'static,
    {
        let mut under_way = lock(&self.0);
        if let Some(delivery) = under_way.get(&form) {
            return Some(Waiting::new(delivery.clone()));
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
        // It waits before the work begins, which looks for it.
        let waiting = Waiting::new(delivery.clone());
        let awaited = delivery.clone();
        let make = make(Arc::new(move || !lock(&awaited.waiting).is_empty()));
        let (all, made) = (self.clone(), delivery);
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
        Some(waiting)
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

    fn form(ticket: u8) -> FormId {
        form_of([ticket; 16])
    }

    fn form_of(ticket: [u8; 16]) -> FormId {
        FormId {
            user: "u".parse().unwrap(),
            ticket: RotationId(ticket),
        }
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
            deliveries.give(form(1), |_| make, "fault")
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
            tokio::spawn(async move { told(deliveries.give(form(1), |_| make, "fault").await) })
        };
        while lock(&deliveries.0).is_empty() {
            tokio::task::yield_now().await;
        }
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        let second = deliveries.give(form(1), |_| async { Err("made twice") }, "fault");
        go.send(()).unwrap();
        assert_eq!(told(second.await), "key");
    }

    #[tokio::test]
    async fn the_work_knows_whether_anybody_waits_for_it() {
        let deliveries = Deliveries::new();
        let (looked, looks) = std::sync::mpsc::channel();
        let (go, wait) = oneshot::channel::<()>();
        let begun = deliveries.begin(
            form(1),
            |is_awaited| async move {
                looked.send(is_awaited()).unwrap();
                let _ = wait.await;
                looked.send(is_awaited()).unwrap();
                Err("not begun")
            },
            "fault",
        );
        let first = begun.unwrap();
        let second = deliveries.begin(form(1), |_| async { key() }, "fault");
        tokio::task::yield_now().await;
        assert!(first.delivery.waiting.lock().unwrap().len() == 2);
        drop((first, second));
        go.send(()).unwrap();
        // The form is as good as before.
        while !lock(&deliveries.0).is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(looks.iter().collect::<Vec<_>>(), [true, false]);
        let again = deliveries.give(form(1), |_| async { key() }, "fault");
        assert_eq!(told(again.await), "key");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_nobody_takes_is_wiped() {
        let deliveries = Deliveries::<&str>::new();
        let begun = deliveries.begin(form(1), |_| async { key() }, "fault");
        let delivery = begun.unwrap().delivery.clone();
        tokio::time::sleep(KEPT * 2).await;
        assert!(lock(&deliveries.0).is_empty());
        assert!(matches!(*lock(&delivery.outcome), Outcome::Taken));
    }

    #[tokio::test]
    async fn a_refusal_or_a_fault_is_told_and_forgotten() {
        let deliveries = Deliveries::new();
        let refuse = || deliveries.give(form(1), |_| async { Err("too early") }, "fault");
        let (one, other) = tokio::join!(refuse(), refuse());
        assert_eq!([told(one), told(other)], ["too early"; 2]);
        let fault = deliveries.give(form(2), |_| async { panic!("on purpose") }, "fault");
        assert_eq!(told(fault.await), "fault");
        while !lock(&deliveries.0).is_empty() {
            tokio::task::yield_now().await;
        }
        let again = deliveries.give(form(1), |_| async { key() }, "fault");
        assert_eq!(told(again.await), "key");
    }

    #[tokio::test]
    async fn i8_so_many_at_a_time() {
        let deliveries = Deliveries::<&str>::new();
        for number in 0..MAX as u64 {
            let mut ticket = [0; 16];
            ticket[..8].copy_from_slice(&number.to_be_bytes());
            let begun = deliveries.begin(form_of(ticket), |_| std::future::pending(), "");
            assert!(begun.is_some());
        }
        let one_more = deliveries.give(form(0xff), |_| async { key() }, "fault");
        assert_eq!(told(one_more.await), "busy");
    }
}
