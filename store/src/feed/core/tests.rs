//! What a poll is answered, and what it holds up, in times of our own.

use super::*;
use crate::feed::history::{self, Life};
use rekey_protocol::{Digest, FeedRequest, GatewayId, Incarnation, LEASE_CAP_MS};

const NOW: Incarnation = Incarnation([2; 16]);
const LEASE: u32 = 3000;

fn at(revision: u64) -> Head {
    Head {
        incarnation: NOW,
        revision,
    }
}

fn core() -> Core {
    core_after(0, false)
}

fn core_after(held_lease_ms: u32, restored: bool) -> Core {
    let life = Life {
        incarnation: NOW,
        first: 100,
        last: None,
    };
    let start = Start {
        history: History::new(vec![life], at(100)),
        longest_lease_ms: 0,
        held_lease_ms,
        accepted_before: 0,
        restored,
    };
    Core::new(0, start)
}

fn poll(cursor: Option<Head>) -> Poll {
    Poll::new(&FeedRequest {
        gateway: GatewayId([1; 16]),
        cursor,
        lease_ms: LEASE,
        poll: 7,
        refused: vec![],
        secrets: None,
        used: vec![],
    })
    .unwrap()
}

fn change(revision: u64) -> Revocation {
    Revocation {
        digest: Digest::of(&revision.to_be_bytes()),
        revision,
        replayable: false,
    }
}

fn answer(step: Step) -> FeedResponse {
    match step {
        Step::Answer(answer) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn s9_a_longer_lease_is_on_record_before_the_poll_counts() {
    let (mut core, mut poll) = (core(), poll(None));
    assert_eq!(core.step(0, &mut poll), Step::RecordLease(LEASE));
    assert_eq!(core.step(1, &mut poll), Step::RecordLease(LEASE));
    assert_eq!(core.following(), 0);
    core.lease_recorded(LEASE);
    let answer = answer(core.step(2, &mut poll));
    assert_eq!((answer.granted_ms, answer.reset), (LEASE, true));
    assert_eq!(core.following(), 1);
}

#[test]
fn s3_what_is_committed_while_a_poll_is_held_is_in_its_answer() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let mut poll = poll(Some(at(100)));
    let hold = Step::Hold {
        newer_than: 100,
        until: 10 + 375,
    };
    assert_eq!(core.step(10, &mut poll), hold);
    assert_eq!(core.step(350, &mut poll), hold, "asked again, no change");
    core.committed(101, [change(101)]);
    let closed = Barrier::Closed {
        recheck_at: 10 + 3080,
    };
    assert_eq!(core.barrier(360, 101), closed);
    let answer = answer(core.step(360, &mut poll));
    assert_eq!(
        (answer.changes, answer.cursor, answer.granted_ms),
        (vec![change(101)], at(101), LEASE)
    );
    assert_eq!(core.barrier(361, 101), closed, "sent is not acknowledged");
    assert_eq!(core.barrier(10 + 3080, 101), Barrier::Open);
}

#[test]
fn a_poll_with_nothing_to_tell_is_answered_in_time() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let mut poll = poll(Some(at(100)));
    let _ = core.step(0, &mut poll);
    let answer = answer(core.step(375, &mut poll));
    assert_eq!((answer.changes.len(), answer.granted_ms), (0, LEASE));
}

/// Commits more than memory keeps, a change each; returns the head.
fn commit_too_many(core: &mut Core) -> u64 {
    let last = 100 + history::KEPT as u64 + 300;
    core.committed(last, (101..=last).map(change));
    last
}

#[test]
fn s4_changes_from_disk_grant_only_at_the_head() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let last = commit_too_many(&mut core);
    for (count, granted) in [(history::PAGE + 1, 0), (3, LEASE)] {
        let mut poll = poll(Some(at(105)));
        assert_eq!(core.step(0, &mut poll), Step::ReadAfter(105));
        let changes: Vec<_> = (106..106 + count as u64).map(change).collect();
        poll.read(changes, at(last));
        let answer = answer(core.step(1, &mut poll));
        assert_eq!(answer.granted_ms, granted);
        assert!(answer.changes.len() <= history::PAGE);
        // Without this S6 would refuse the next one, which acknowledges nothing.
        core.leases = Leases::new(0, 0);
    }
}

#[test]
fn s8_every_cursor_that_is_given_out_can_be_served() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let last = commit_too_many(&mut core);
    let (mut cursor, mut pages) = (at(100), 0);
    while cursor != at(last) {
        let mut poll = poll(Some(cursor));
        let mut step = core.step(0, &mut poll);
        if let Step::ReadAfter(after) = step {
            let page = (after + 1..=last).take(history::PAGE + 1);
            poll.read(page.map(change).collect(), at(last));
            step = core.step(0, &mut poll);
        }
        let answer = answer(step);
        assert!(!answer.reset);
        assert_eq!(answer.changes[0].revision, cursor.revision + 1);
        (cursor, pages) = (answer.cursor, pages + 1);
    }
    assert_eq!(pages, (last - 100).div_ceil(history::PAGE as u64));
}

#[test]
fn s2_what_is_on_disk_and_not_told_yet_is_in_no_answer() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let last = commit_too_many(&mut core);
    let mut early = poll(Some(at(last - 1)));
    early.phase = Phase::Reading(Followed {
        registered: core
            .leases
            .register(0, early.gateway, LEASE, Some(last - 1)),
        cursor: at(last - 1),
    });
    assert_eq!(core.step(0, &mut early), Step::ReadAfter(last - 1));
    early.read([last, last + 1].map(change).into(), at(last + 1));
    let told = answer(core.step(0, &mut early));
    assert_eq!(
        (told.changes, told.cursor, told.granted_ms),
        (vec![change(last)], at(last), LEASE)
    );
    assert_eq!(core.head(), at(last), "told by a commit only");
    // It can be gone on from, before the commit is told and after it.
    let mut next = poll(Some(told.cursor));
    assert!(matches!(core.step(1, &mut next), Step::Hold { .. }));
    core.committed(last + 1, [change(last + 1)]);
    assert_eq!(answer(core.step(2, &mut next)).changes, [change(last + 1)]);
}

/// A core in its second life.
fn core_restarted() -> (Core, Incarnation) {
    let mut core = core();
    core.lease_recorded(LEASE);
    let past = Life {
        incarnation: Incarnation([1; 16]),
        first: 1,
        last: Some(50),
    };
    let present = Life {
        incarnation: NOW,
        first: 100,
        last: None,
    };
    core.history = History::new(vec![past, present], at(100));
    (core, past.incarnation)
}

#[test]
fn s8_a_cursor_of_an_earlier_life_begins_anew_at_the_head() {
    // However far behind it was: up to all that the earlier life did.
    for revision in [1, 5, 50] {
        let (mut core, incarnation) = core_restarted();
        core.committed(101, [change(101)]);
        let behind = Head {
            incarnation,
            revision,
        };
        let first = answer(core.step(0, &mut poll(Some(behind))));
        assert_eq!(
            (first.reset, first.cursor, first.changes, first.granted_ms),
            (true, at(101), vec![], LEASE)
        );
        // What it has acknowledged counts, and no more than that (S7).
        assert_eq!(core.barrier(1, revision), Barrier::Open);
        assert_ne!(core.barrier(1, revision + 1), Barrier::Open);
        // It goes on with what it was given.
        core.committed(102, [change(102)]);
        let next = answer(core.step(2, &mut poll(Some(first.cursor))));
        assert_eq!((next.reset, next.changes), (false, vec![change(102)]));
        assert!(!core.is_restored());
    }
}

#[test]
fn s8_more_of_a_known_life_stops_the_store_and_counts_for_nothing() {
    let (core, past) = core_restarted();
    for (incarnation, revision) in [(past, 51), (NOW, 101)] {
        let mut core = core.clone();
        let lost = Head {
            incarnation,
            revision,
        };
        assert_eq!(core.step(0, &mut poll(Some(lost))), Step::Restored);
        assert!(core.is_restored());
        assert_eq!(core.following(), 0);
        // Not even for those whose cursor is known.
        assert_eq!(core.step(0, &mut poll(Some(at(100)))), Step::Restored);
    }
}

#[test]
fn s8_a_poll_that_is_held_meanwhile_is_not_answered_either() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let mut held = poll(Some(at(100)));
    assert!(matches!(core.step(0, &mut held), Step::Hold { .. }));
    let mut lost = poll(Some(at(101)));
    lost.gateway = GatewayId([8; 16]);
    assert_eq!(core.step(1, &mut lost), Step::Restored);
    assert_eq!(core.step(60_000, &mut held), Step::Restored);
}

const FOREIGN: Head = Head {
    incarnation: Incarnation([9; 16]),
    revision: 5_000,
};

#[test]
fn s8_a_cursor_of_an_unknown_life_costs_nobody_else() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let mut stray = poll(Some(FOREIGN));
    stray.gateway = GatewayId([8; 16]);
    let anew = answer(core.step(0, &mut stray));
    assert_eq!(
        (anew.reset, anew.cursor, anew.granted_ms),
        (true, at(100), LEASE)
    );
    assert_eq!(stray.take_foreign(), Some(FOREIGN));
    assert_eq!(stray.take_foreign(), None, "said once");
    assert!(!core.is_restored());
    let mut ours = poll(Some(at(100)));
    assert!(matches!(core.step(1, &mut ours), Step::Hold { .. }));
    assert_eq!(ours.take_foreign(), None);
}

#[test]
fn i2_a_gateway_of_an_unknown_life_has_acknowledged_nothing_and_is_waited_for() {
    let mut core = core();
    core.lease_recorded(LEASE);
    let _ = answer(core.step(10, &mut poll(Some(FOREIGN))));
    let closed = Barrier::Closed {
        recheck_at: 10 + 3080,
    };
    // Its own revision is beyond this one, of another counter.
    for revision in [1, 100, 101] {
        assert_eq!(core.barrier(11, revision), closed);
    }
    // It comes with that cursor for ever, and holds up nobody for longer (S6).
    for now in [500, 1_000, 3_000] {
        let again = answer(core.step(now, &mut poll(Some(FOREIGN))));
        assert_eq!(again.granted_ms, 0);
    }
    assert_eq!(core.barrier(10 + 3080, 101), Barrier::Open);
}

#[test]
fn s8_what_was_accepted_is_reset_without_a_word() {
    let (core, past) = core_restarted();
    let lost = Head {
        incarnation: past,
        revision: 99,
    };
    for (accepted_before, cursor) in [(100, lost), (u64::MAX, lost), (u64::MAX, FOREIGN)] {
        let mut core = core.clone();
        core.accepted_before = accepted_before;
        let mut poll = poll(Some(cursor));
        let answer = answer(core.step(0, &mut poll));
        assert_eq!((answer.reset, answer.cursor), (true, at(100)));
        assert_eq!(poll.take_foreign(), None);
    }
}

#[test]
fn s9_a_lease_that_was_only_supposed_is_not_on_record() {
    let mut core = core_after(LEASE_CAP_MS, false);
    assert_eq!(core.step(0, &mut poll(None)), Step::RecordLease(LEASE));
    let closed = core.barrier(u64::from(LEASE_CAP_MS), 101);
    assert!(matches!(closed, Barrier::Closed { .. }), "{closed:?}");
}

#[test]
fn s8_a_start_on_an_older_history_grants_and_records_nothing() {
    let mut core = core_after(0, true);
    assert!(core.is_restored());
    for cursor in [None, Some(at(100))] {
        assert_eq!(core.step(0, &mut poll(cursor)), Step::Restored);
    }
}
