//! The store's change feed, with gateways that follow it as the filter does,
//! answers that are late or lost, restarts of the store, and a stranger with the
//! token who polls with any cursor. When the store says that a revocation has
//! reached the fleet, no gateway may trust what came before it (S3 to
//! S9, I2).

use arbitrary::{Result, Unstructured};
use rekey_engine::Moment;
use rekey_engine::control::{self, Control};
use rekey_protocol::{
    Digest, FeedRequest, FeedResponse, GatewayId, Head, Incarnation, LEASE_CAP_MS, LEASE_LEAST_MS,
    Revocation,
};
use rekey_store::feed::core::{Barrier, Core, Poll, Start, Step};
use rekey_store::feed::history::{History, Life, PAGE};

/// Gateways that do as they should.
const GATEWAYS: usize = 3;
const STRANGER: GatewayId = GatewayId([9; 16]);
const MOST_EVENTS: usize = 200;
/// More than the store keeps in memory.
const MANY: u64 = 8_300;

/// Runs a story of polls and commits.
pub fn feed(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new();
    for _ in 0..MOST_EVENTS {
        if input.is_empty() || world.event(&mut input).is_err() {
            break;
        }
        world.check();
    }
}

struct World {
    now: u64,
    core: Core,
    lives: Vec<Life>,
    head: Head,
    /// All revocations there ever were.
    changes: Vec<Revocation>,
    /// Where keys were imported, and in which life.
    imports: Vec<Head>,
    /// The longest lease on record.
    recorded: u32,
    gateways: Vec<Control>,
    /// Polls that the store holds: whose, as it was sent, and as it stands.
    polls: Vec<(Option<Sent>, Poll)>,
    /// Answers on their way.
    answers: Vec<(Sent, FeedResponse)>,
    /// No gateway may trust what was revoked up to it.
    opened: u64,
}

/// Which gateway's poll, as it was sent.
type Sent = (usize, control::SentPoll);

impl World {
    fn new() -> Self {
        let incarnation = Incarnation([1; 16]);
        let (life, head) = (life(incarnation, 100), at(incarnation, 100));
        let id = |index| GatewayId([u8::try_from(index).unwrap_or_default(); 16]);
        Self {
            now: 0,
            core: start(0, vec![life], head, 0),
            lives: vec![life],
            head,
            changes: Vec::new(),
            imports: Vec::new(),
            recorded: 0,
            gateways: (0..GATEWAYS).map(|index| Control::new(id(index))).collect(),
            polls: Vec::new(),
            answers: Vec::new(),
            opened: 0,
        }
    }

    fn event(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=15)? {
            0..=3 => {
                let index = input.choose_index(GATEWAYS)?;
                let sent = Moment {
                    monotonic: self.now,
                    wall: self.now,
                };
                let lease_ms = *input.choose(&[300, 3_000, 30_000])?;
                let poll = self.gateways[index].poll(sent, lease_ms);
                self.ask(Some((index, poll)), poll.gateway, poll.cursor, lease_ms);
            }
            4 => {
                let cursor = at(
                    Incarnation([input.int_in_range(0..=3)?; 16]),
                    input.int_in_range(90..=400)?,
                );
                let cursor = input.arbitrary::<bool>()?.then_some(cursor);
                self.ask(None, STRANGER, cursor, input.arbitrary()?);
            }
            5 => self.commit(input.int_in_range(0..=3)?),
            6 => {
                self.head.revision += 1;
                self.imports.push(self.head);
                self.core.imported(self.head.revision);
            }
            7 if input.arbitrary::<u8>()? == 0 && self.changes.is_empty() => self.commit(MANY),
            7..=8 => self.now += u64::from(input.arbitrary::<u16>()?) % 5_000,
            9..=10 if !self.polls.is_empty() => {
                let place = input.choose_index(self.polls.len())?;
                self.step(place);
            }
            11..=13 if !self.answers.is_empty() => {
                let place = input.choose_index(self.answers.len())?;
                let (sent, answer) = self.answers.swap_remove(place);
                if !input.ratio(1, 5)? {
                    self.deliver(sent, &answer);
                }
            }
            14 => {
                let revision = input.int_in_range(90..=self.head.revision)?;
                if self.core.barrier(self.now, revision) == Barrier::Open {
                    self.opened = self.opened.max(revision);
                    assert!(self.core.floor(self.now) >= revision);
                }
            }
            15 if input.ratio(1, 4)? => self.restart(),
            _ => {}
        }
        Ok(())
    }

    fn ask(&mut self, sent: Option<Sent>, gateway: GatewayId, cursor: Option<Head>, lease_ms: u32) {
        let poll = Poll::new(&FeedRequest {
            gateway,
            cursor,
            lease_ms,
            poll: 1,
            refused: Vec::new(),
            secrets: None,
            used: Vec::new(),
        });
        let fits = (LEASE_LEAST_MS..=LEASE_CAP_MS).contains(&lease_ms);
        assert_eq!(poll.is_ok(), fits);
        if let Ok(poll) = poll {
            self.polls.push((sent, poll));
            self.step(self.polls.len() - 1);
        }
    }

    /// Takes a poll as far as it goes.
    fn step(&mut self, place: usize) {
        for _ in 0..4 {
            let (sent, poll) = &mut self.polls[place];
            let sent = *sent;
            match self.core.step(self.now, poll) {
                Step::RecordLease(lease_ms) => {
                    assert!(lease_ms > self.recorded && lease_ms <= LEASE_CAP_MS);
                    self.recorded = lease_ms;
                    self.core.lease_recorded(lease_ms);
                }
                Step::Hold { newer_than, until } => {
                    assert!(self.head.revision <= newer_than && self.now < until);
                    return;
                }
                Step::ReadAfter(revision) => {
                    let after = self.changes.iter().filter(|it| it.revision > revision);
                    let page = after.take(PAGE + 1).copied().collect();
                    poll.read(page, self.head);
                }
                Step::Answer(answer) => {
                    self.polls.swap_remove(place);
                    return self.answered(sent, answer);
                }
                Step::Restored => {
                    assert!(self.core.is_restored());
                    self.polls.swap_remove(place);
                    return;
                }
            }
        }
        panic!("a poll that comes to no end");
    }

    fn answered(&mut self, sent: Option<Sent>, answer: FeedResponse) {
        assert!(!self.core.is_restored(), "S8: nothing is served");
        assert!(answer.changes.len() <= PAGE && answer.granted_ms <= self.recorded);
        assert!(answer.cursor.revision <= self.head.revision, "S2");
        let Some((index, poll)) = sent else {
            return;
        };
        assert!(answer.granted_ms <= poll.lease_ms);
        // S4: only the head grants.
        assert!(answer.granted_ms == 0 || answer.cursor == self.head);
        self.answers.push(((index, poll), answer));
    }

    fn deliver(&mut self, (index, poll): Sent, answer: &FeedResponse) {
        let before = self.gateways[index];
        let Some(after) = before.after(&poll, answer) else {
            return;
        };
        if !before.starts_over(answer) {
            // Nothing that was revoked in between is missing.
            let from = before.applied.map_or(0, |applied| applied.revision);
            let between = from + 1..answer.cursor.revision + 1;
            let all = self
                .changes
                .iter()
                .filter(|it| between.contains(&it.revision));
            assert!(all.eq(&answer.changes), "after {from}: {answer:?}");
        }
        self.gateways[index] = after;
    }

    fn commit(&mut self, count: u64) {
        let first = self.head.revision + 1;
        self.head.revision += count.max(1);
        let changes: Vec<_> = (first..first + count).map(change).collect();
        self.changes.extend(&changes);
        self.core.committed(self.head.revision, changes);
    }

    /// S8, S9: another life, which goes on where the last one ended.
    fn restart(&mut self) {
        let Some(number) = u8::try_from(self.lives.len() + 1).ok() else {
            return;
        };
        if let Some(last) = self.lives.last_mut() {
            last.last = Some(self.head.revision);
        }
        let incarnation = Incarnation([number; 16]);
        self.head = at(incarnation, self.head.revision + 10);
        self.lives.push(life(incarnation, self.head.revision));
        self.polls.clear();
        self.core = start(self.now, self.lives.clone(), self.head, self.recorded);
    }

    /// I2: what was said to be revoked everywhere is.
    fn check(&self) {
        let now = Moment {
            monotonic: self.now,
            wall: self.now,
        };
        for control in self.gateways.iter().filter(|control| control.trusts(now)) {
            let applied = control.applied.expect("there is no trust without");
            assert!(applied.revision >= self.opened, "{applied:?}");
            // What the store did not know before an import is asked for again.
            let mut imports = self.imports.iter().filter(|import| {
                import.incarnation == applied.incarnation && import.revision <= applied.revision
            });
            assert!(imports.all(|import| import.revision <= control.keys_imported_at));
        }
    }
}

fn start(now: u64, lives: Vec<Life>, head: Head, recorded: u32) -> Core {
    let start = Start {
        history: History::new(lives, head),
        longest_lease_ms: recorded,
        held_lease_ms: recorded,
        accepted_before: 0,
        restored: false,
    };
    Core::new(now, start)
}

fn life(incarnation: Incarnation, first: u64) -> Life {
    Life {
        incarnation,
        first,
        last: None,
    }
}

fn at(incarnation: Incarnation, revision: u64) -> Head {
    Head {
        incarnation,
        revision,
    }
}

fn change(revision: u64) -> Revocation {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&revision.to_be_bytes());
    Revocation {
        digest: Digest::from_bytes(bytes),
        revision,
        replayable: false,
    }
}
