//! Streams: what is open when its key is revoked ends, in every worker of the
//! process, and nothing else does.

mod doubt;

use super::lease::{LEASE_MS, LIFE, NEXT_LIFE, active_at, change, head, revoked_at};
use super::*;

/// Questions about keys that are in flight at a time.
const MOST_ASKED: usize = 4;

impl Worker {
    /// A request that was let through and stays open.
    pub(super) fn stream(&mut self, key: &str) -> RequestId {
        let request = self.get(key);
        if !self.ends.contains_key(&request) {
            self.answer(200, active_at(LIFE, 10));
        }
        assert!(matches!(self.ends[&request], End::Upstream(Some(_))));
        request
    }

    fn is_open(&self, request: RequestId) -> bool {
        !self.resets.contains(&request)
    }

    /// Does something as another worker of the same process.
    pub(super) fn beside<T>(&mut self, other: &mut Self, act: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.memory, &mut other.memory);
        other.now = self.now;
        let done = act(other);
        std::mem::swap(&mut self.memory, &mut other.memory);
        done
    }

    /// The store's history starts over for this gateway.
    fn starts_over(&mut self, life: u8, revision: u64) {
        self.fed(
            json!({"changes": [], "cursor": head(life, revision), "granted_ms": LEASE_MS,
            "reset": true}),
        );
    }
}

/// The store's "revoked" by a change before this one, its newest.
fn revoked_before(life: u8, revision: u64) -> Value {
    let mut answer = revoked_at(life, revision - 1);
    answer["head"] = head(life, revision);
    answer
}

#[test]
fn streams_of_a_revoked_key_end_and_no_others() {
    let mut worker = Worker::trusting();
    let dying = [worker.stream(&key(1)), worker.stream(&key(1))];
    let other = worker.stream(&key(2));
    let over = worker.stream(&key(1));
    worker.leave(over);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert_eq!(worker.resets, BTreeSet::from(dying));
    assert_eq!(worker.counts[&Counter::StreamEnded], 2);
    // Once.
    worker.pass(100);
    assert!(worker.is_open(other));
}

#[test]
fn the_request_that_rotates_is_not_ended_and_what_waits_is_refused() {
    let mut worker = Worker::trusting();
    let stream = worker.stream(&key(1));
    worker.now += LEASE_MS;
    let waits = worker.get(&key(1));
    worker.fed_changes(&[change(&key(1), 11)], 11);
    worker.answer(200, revoked_at(LIFE, 11));
    assert_eq!(worker.refused(waits), (401, "api_key_revoked".into()));
    assert_eq!(worker.resets, BTreeSet::from([stream]));
}

#[test]
fn a_public_path_and_a_refused_request_are_no_streams() {
    let mut worker = Worker::trusting();
    let public = worker.request("GET", "/status", vec![bearer(&key(1))]);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    worker.get(&key(1));
    worker.pass(100);
    assert!(worker.is_open(public) && worker.resets.is_empty());
}

#[test]
fn the_other_workers_are_rung_and_end_theirs() {
    let mut feeder = Worker::trusting();
    let mut others = [Worker::new(), Worker::new()];
    let streams = others.each_mut().map(|other| {
        feeder.beside(other, |other| {
            other.pass(0);
            other.stream(&key(1))
        })
    });
    feeder.fed_changes(&[change(&key(1), 11)], 11);
    let bells: Vec<_> = feeder
        .rung
        .iter()
        .map(|name| name.rsplit('.').next())
        .collect();
    assert_eq!(bells, [Some("1"), Some("2")]);
    let [first, second] = &mut others;
    feeder.beside(first, Worker::ring);
    assert!(!first.is_open(streams[0]));
    // A ring that was lost costs a tick.
    feeder.beside(second, |second| second.pass(100));
    assert!(!second.is_open(streams[1]));
}

#[test]
fn workers_that_have_gone_are_not_rung() {
    let mut feeder = Worker::trusting();
    let mut gone = Worker::new();
    feeder.beside(&mut gone, |gone| gone.pass(0));
    for _ in 0..100 {
        feeder.pass(100);
    }
    feeder.polls.drain(..feeder.polls.len() - 1);
    feeder.fed_changes(&[change(&key(1), 11)], 11);
    assert!(feeder.rung.is_empty(), "I8: nobody empties its queue");
}

#[test]
fn what_a_call_says_of_a_key_ends_its_streams_too() {
    let mut worker = Worker::trusting();
    let mut other = Worker::new();
    let stream = worker.beside(&mut other, |other| {
        other.pass(0);
        other.stream(&key(1))
    });
    // The feed is silent: the lease is over.
    worker.now += LEASE_MS;
    worker.get(&key(1));
    worker.answer(200, revoked_at(LIFE, 11));
    assert_eq!(worker.rung.len(), 1);
    worker.beside(&mut other, Worker::ring);
    assert!(!other.is_open(stream));
}

/// A restored store gives a key back, which is revoked once more.
#[test]
fn what_was_told_in_an_earlier_generation_is_told_again() {
    let mut worker = Worker::trusting();
    worker.get(&key(1));
    worker.answer(200, revoked_at(LIFE, 10));
    worker.starts_over(NEXT_LIFE, 5);
    let stream = worker.get(&key(1));
    worker.answer(200, active_at(NEXT_LIFE, 5));
    assert!(matches!(worker.ends[&stream], End::Upstream(Some(_))));
    // The feed is silent: the lease is over.
    worker.now += LEASE_MS;
    worker.get(&key(1));
    worker.answer(200, revoked_at(NEXT_LIFE, 6));
    assert!(!worker.is_open(stream));
}

/// By an answer that could not be cached, it would have a stream that nobody ends:
/// the worker has read of the revocation before.
#[test]
fn a_late_yes_to_who_waits_overlooks_no_tombstone() {
    let mut worker = Worker::new();
    let mut other = Worker::new();
    worker.pass(100);
    let waiting = worker.beside(&mut other, |other| {
        other.pass(0);
        other.get(&key(1))
    });
    worker.get(&key(1));
    worker.answer(200, revoked_at(LIFE, 11));
    worker.beside(&mut other, |other| {
        other.ring();
        other.answer(200, active_at(LIFE, 10));
    });
    let refusal = (401, "api_key_revoked".to_owned());
    assert_eq!(other.refused(waiting), refusal);
}

/// A worker under a lease with room for so many streams.
fn with_room_for(max_streams: u32) -> Worker {
    let config = json!({"store": {"cluster": "store"}, "max_streams": max_streams});
    Worker::trusting_with(&config.to_string())
}

#[test]
fn i8_beyond_its_share_a_key_is_refused_and_the_others_are_not() {
    let mut worker = with_room_for(32);
    let streams = [worker.stream(&key(1)), worker.stream(&key(1))];
    let third = worker.get(&key(1));
    let too_many = (429, "too_many_open_requests".to_owned());
    assert_eq!(worker.refused(third), too_many);
    let comes_back = ("retry-after", "1".to_owned());
    assert!(worker.headers[&third].contains(&comes_back));
    assert_eq!(worker.counts[&Counter::TooManyOpenRequests], 1);
    let other = worker.stream(&key(2));
    worker.leave(streams[0]);
    let fourth = worker.stream(&key(1));
    let fifth = worker.get(&key(1));
    assert_eq!(worker.refused(fifth), too_many);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert_eq!(worker.resets, BTreeSet::from([streams[1], fourth]));
    assert!(worker.is_open(other));
    let dead = worker.get(&key(1));
    assert_eq!(worker.refused(dead), (401, "api_key_revoked".into()));
}

#[test]
fn i8_a_full_registry_refuses_and_finds_every_stream_of_a_dead_key() {
    let mut worker = with_room_for(2);
    let first = worker.stream(&key(1));
    let second = worker.stream(&key(2));
    // By the store's word, and by the table's.
    let busy = (503, "gateway_busy".to_owned());
    let waited = worker.get(&key(3));
    worker.answer(200, active_at(LIFE, 10));
    let at_once = worker.get(&key(3));
    for request in [waited, at_once] {
        assert_eq!(worker.refused(request), busy);
        let comes_back = ("retry-after", "1".to_owned());
        assert!(worker.headers[&request].contains(&comes_back));
    }
    assert_eq!(worker.counts[&Counter::GatewayBusy], 2);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert_eq!(worker.resets, BTreeSet::from([first]));
    // What is being ended takes its place until it is over.
    let early = worker.get(&key(3));
    assert_eq!(worker.refused(early), busy);
    worker.leave(first);
    let third = worker.stream(&key(3));
    assert!(worker.is_open(second) && worker.is_open(third));
    assert_eq!(worker.engine.open_requests(), 2);
}

#[test]
fn what_is_refused_or_waits_or_rotates_takes_no_place() {
    let mut worker = with_room_for(1);
    let rotates = worker.regenerate(&key(1));
    worker.answer(200, active_at(LIFE, 10));
    assert_eq!(worker.calls.len(), 1, "it rotates");
    worker.calls.clear();
    let waits = worker.get(&key(2));
    assert_eq!(worker.engine.open_requests(), 0);
    worker.leave(waits);
    worker.leave(rotates);
    worker.calls.clear();
    worker.stream(&key(3));
    let refused = worker.get(&key(3));
    assert_eq!(worker.refused(refused).0, 429);
    worker.leave(refused);
    assert_eq!(worker.engine.open_requests(), 1);
}

#[test]
fn it_can_be_switched_off() {
    let mut worker = with_room_for(0);
    let streams: Vec<_> = (0..100).map(|_| worker.stream(&key(1))).collect();
    worker.fed_changes(&[change(&key(1), 11)], 11);
    worker.pass(100);
    assert!(streams.iter().all(|stream| worker.is_open(*stream)));
    assert_eq!(worker.engine.open_requests(), 0);
}

#[test]
fn many_streams_end_a_few_at_a_time() {
    let mut worker = Worker::trusting();
    let streams: Vec<_> = (0..100).map(|_| worker.stream(&key(1))).collect();
    worker.bell_is_lost = true;
    let mut ended = 0;
    worker.fed_changes(&[change(&key(1), 11)], 11);
    // One leaves by itself meanwhile.
    worker.leave(streams[99]);
    while worker.resets.len() > ended {
        assert!(
            worker.resets.len() - ended <= 32,
            "a depth of the host's stack"
        );
        ended = worker.resets.len();
        worker.ring();
    }
    assert_eq!(worker.resets, streams[..99].iter().copied().collect());
}

#[test]
fn g3_what_cannot_be_told_is_neither_acknowledged_nor_trusted() {
    let mut worker = Worker::trusting();
    let stream = worker.stream(&key(1));
    worker.memory.refuse_log = true;
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert!(worker.polls.is_empty() && worker.is_open(stream));
    assert_eq!(worker.counts[&Counter::FeedUnwritten], 1);
    worker.memory.refuse_log = false;
    worker.pass(1_000);
    assert_eq!(worker.poll().cursor.unwrap().revision, 10);
    worker.fed_changes(&[change(&key(1), 11)], 11);
    assert!(!worker.is_open(stream));
}

/// Who is told first could let a request in, whose stream nobody would end.
#[test]
fn g3_only_what_is_buried_is_told() {
    let mut feeder = Worker::trusting();
    let mut other = Worker::new();
    let stream = feeder.beside(&mut other, |other| {
        other.pass(0);
        other.stream(&key(1))
    });
    feeder.memory.refuse_slots = true;
    feeder.fed_changes(&[change(&key(1), 11)], 11);
    feeder.beside(&mut other, |other| other.pass(100));
    assert!(other.is_open(stream));
    feeder.memory.refuse_slots = false;
    feeder.pass(1_000);
    feeder.fed_changes(&[change(&key(1), 11)], 11);
    feeder.beside(&mut other, |other| other.pass(100));
    assert!(!other.is_open(stream));
}
