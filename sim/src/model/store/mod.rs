//! The store's steps: commits, the feed, the barrier.
//! Leases and barrier are the store's own code, and so is which cursor it can
//! serve; a mutant bends what goes into it or comes out.

pub mod starts;

use rekey_protocol::{GatewayId, Head, Incarnation};
use rekey_store::feed::history::{History, Life, Reach};
use rekey_store::feed::leases::Leases;

use crate::model::state::{
    Cursor, Disk, Feeder, Key, MOST, Page, Revision, Rotation, Stage, State, Store, Tick,
};
use crate::model::world::World;

/// A tick of a lease, in the milliseconds of the store's own code, that has a
/// margin of 50 ms and a hundredth of the lease.
const LEASE_TICK_MS: u32 = 50;
/// A tick of the store's clock. Just more than that of a lease, so that lease
/// and margin of one or two ticks end with a tick.
const CLOCK_TICK_MS: u64 = 51;

/// The first revision and the first life, of store and gateways.
pub const FIRST: Cursor = Cursor {
    life: 1,
    revision: 1,
};

pub(in crate::model) fn lease_ms(lease: Tick) -> u32 {
    u32::from(lease) * LEASE_TICK_MS
}

pub(in crate::model) fn millis(now: Tick) -> u64 {
    u64::from(now) * CLOCK_TICK_MS
}

/// An incarnation as the real code wants it.
pub fn incarnation(life: u8) -> Incarnation {
    Incarnation([life; 16])
}

/// A gateway's id as the store's own code wants it.
pub fn gateway_id(id: u8) -> GatewayId {
    GatewayId([id; 16])
}

/// A point of the history as the real code wants it.
pub fn head(cursor: Cursor) -> Head {
    Head {
        incarnation: incarnation(cursor.life),
        revision: cursor.revision.into(),
    }
}

impl Disk {
    /// The file at the beginning; also the backup.
    pub fn first(longest: Tick) -> Self {
        Self {
            revoked: [0; MOST],
            revision: FIRST.revision,
            lives: [Some((FIRST.life, FIRST.revision, None)), None, None, None],
            longest,
            accepted_before: 0,
        }
    }

    fn life(&self) -> u8 {
        let last = self.lives.iter().flatten().last();
        last.map_or(0, |(life, ..)| *life)
    }

    fn history(&self, head: Revision) -> History {
        let lives = self.lives.iter().flatten();
        let lives = lives.map(|(life, first, last)| Life {
            incarnation: incarnation(*life),
            first: (*first).into(),
            last: last.map(u64::from),
        });
        let at = Head {
            incarnation: incarnation(self.life()),
            revision: head.into(),
        };
        History::new(lives.collect(), at)
    }
}

impl Store {
    /// A store in its first life; `followed_by` are gateways that have just
    /// polled at its head, under a lease of so many ticks.
    pub fn first(followed_by: &[u8], lease: Tick) -> Self {
        let mut leases = Leases::new(0, 0);
        for id in followed_by {
            let at = Some(FIRST.revision.into());
            let registered = leases.register(0, gateway_id(*id), lease_ms(lease), at);
            let _ = leases.answer(registered, FIRST.revision.into(), Reach::Head);
        }
        Self {
            disk: Disk::first(lease),
            head: FIRST.revision,
            early: None,
            is_restored: false,
            mark: FIRST.revision,
            lease_beside: lease,
            is_behind: false,
            leases,
            lives: FIRST.life,
            highest: FIRST.revision,
            ghost: None,
        }
    }

    /// A store in its second life, when all leases of the first are over.
    pub fn second(lease: Tick) -> Self {
        let mut store = Self::first(&[], lease);
        let (life, revision) = (FIRST.life + 1, FIRST.revision + 1);
        let past = Some((FIRST.life, FIRST.revision, Some(FIRST.revision)));
        store.disk.lives = [past, Some((life, revision, None)), None, None];
        store.disk.revision = revision;
        (store.lives, store.head, store.highest) = (life, revision, revision);
        store.mark = revision;
        store
    }

    /// Without S2: the feed tells a revocation that is not on disk yet.
    pub fn publish_early(&mut self, key: Key) {
        self.early = Some(key);
        self.head += 1;
        self.highest = self.highest.max(self.head);
    }

    /// The head of what is on disk.
    pub fn on_disk(&self) -> Cursor {
        Cursor {
            life: self.disk.life(),
            revision: self.disk.revision,
        }
    }
}

impl World {
    /// S11, in short: the key dies in one transaction, once.
    pub fn can_commit(&self, state: &State, key: Key) -> bool {
        let store = &state.store;
        let is_known = self.revocable[usize::from(key)];
        is_known && store.disk.revoked[usize::from(key)] == 0 && !store.is_restored
    }

    /// The commit.
    pub fn commit(&self, state: &mut State, key: Key) {
        let store = &mut state.store;
        store.disk.revision += 1;
        store.highest = store.highest.max(store.disk.revision);
        store.disk.revoked[usize::from(key)] = store.disk.revision;
        store.early = None;
        // A step of its own only where it matters when it comes.
        if !self.unaccepted {
            store.mark = store.disk.revision;
        }
        state.rotations[usize::from(key)] = Rotation {
            waits: true,
            since: self.prompt.then_some(state.now),
            told: false,
        };
    }

    /// What the feed tells after this cursor, to the head that it knows.
    fn page(&self, state: &State, cursor: Option<Cursor>, head: Revision) -> Page {
        let store = &state.store;
        let life = store.disk.life();
        let mut page = Page {
            revoked: [0; MOST],
            upto: Cursor {
                life,
                revision: head,
            },
            is_head: true,
            is_reset: cursor.is_none(),
            granted: 0,
        };
        let Some(cursor) = cursor else {
            return page;
        };
        let mut left = self.page;
        let mut disk = store.disk.revoked;
        if let Some(key) = store.early {
            disk[usize::from(key)] = head;
        }
        for revision in cursor.revision + 1..=head {
            let Some(key) = disk.iter().position(|revoked| *revoked == revision) else {
                continue;
            };
            if left == 0 {
                page.is_head = false;
                page.upto.revision = revision - 1;
                break;
            }
            page.revoked[key] = revision;
            left -= 1;
        }
        page
    }

    /// The part of a poll's cursor that can be served (S8).
    fn served(&self, state: &State, cursor: Option<Cursor>) -> Option<Cursor> {
        let store = &state.store;
        cursor.filter(|cursor| {
            if self.rules.s8_incarnation {
                store.disk.history(store.head).knows(head(*cursor))
            } else {
                cursor.revision <= store.head
            }
        })
    }

    /// Registers a poll that has arrived; without S3 its answer may have been read
    /// before.
    pub fn register(&self, state: &mut State, poll: usize) {
        let rules = &self.rules;
        let early = match state.polls[poll].stage {
            Stage::ReadTooEarly(page) => Some(page),
            _ => None,
        };
        let (id, lease, cursor) = {
            let poll = &state.polls[poll];
            (poll.id, poll.lease, poll.cursor)
        };
        let served = self.served(state, cursor);
        let lost = cursor.filter(|_| served.is_none());
        let store = &mut state.store;
        if rules.s9_on_record {
            store.disk.longest = store.disk.longest.max(lease);
            store.lease_beside = store.lease_beside.max(lease);
        }
        if lost.is_some_and(|lost| lost.revision >= store.disk.accepted_before) {
            store.is_restored = true;
        }
        if store.is_restored {
            return self.lose_poll(state, poll);
        }
        if !rules.s5_maxima {
            store.leases = Leases::new(0, 0);
        }
        // Without the margin the store believes that a tick has passed already.
        let margin = if rules.margin { 0 } else { CLOCK_TICK_MS };
        let now = (millis(state.now)).saturating_sub(margin);
        let acked = served.map(|cursor| cursor.revision.into());
        let registered = store
            .leases
            .register(now, gateway_id(id), lease_ms(lease), acked);
        let _ = store.leases.floor(millis(state.now));
        state.polls[poll].stage = Stage::Held(registered, served.is_some());
        if let Some(page) = early {
            self.answer_poll(state, poll, page);
        }
    }

    /// Without S3: reads the answer of a poll that is not registered yet.
    pub fn read_too_early(&self, state: &mut State, poll: usize) {
        let served = self.served(state, state.polls[poll].cursor);
        let page = self.page(state, served, state.store.head);
        state.polls[poll].stage = Stage::ReadTooEarly(page);
    }

    /// Reads and sends the answer of a poll that is held.
    pub fn read(&self, state: &mut State, poll: usize) {
        let Stage::Held(_, is_served) = state.polls[poll].stage else {
            return;
        };
        let cursor = state.polls[poll].cursor.filter(|_| is_served);
        let page = self.page(state, cursor, state.store.head);
        self.answer_poll(state, poll, page);
    }

    fn answer_poll(&self, state: &mut State, poll: usize, mut page: Page) {
        let Stage::Held(registered, _) = state.polls[poll].stage else {
            return;
        };
        let rules = &self.rules;
        // Without S6 the store forgets what it has sent.
        let sent = if rules.s6_acknowledged {
            page.upto.revision.into()
        } else {
            0
        };
        let reach = match page.is_head || !rules.s4_head_grants {
            true => Reach::Head,
            false => Reach::Part,
        };
        let granted = state.store.leases.answer(registered, sent, reach);
        page.granted = (granted / LEASE_TICK_MS).try_into().unwrap_or(Tick::MAX);
        self.receive(state, poll, page);
    }

    /// Without S10: a former owner answers from its memory.
    pub fn ghost_answers(&self, state: &mut State, poll: usize) {
        let Some(head) = state.store.ghost else {
            return;
        };
        let mut page = self.page(state, state.polls[poll].cursor, head);
        page.granted = state.polls[poll].lease;
        self.receive(state, poll, page);
    }

    /// A poll or its answer is lost; its feeder learns of that.
    pub fn lose_poll(&self, state: &mut State, poll: usize) {
        let poll = state.polls.remove(poll);
        if let Some(feeder) = poll.feeder {
            let gateway = &mut state.gateways[usize::from(poll.gateway)];
            gateway.feeders[usize::from(feeder)] = Feeder::Idle;
        }
    }

    /// Whether the barrier of a key's revocation is open (S7).
    pub fn is_open(&self, state: &State, key: Key) -> bool {
        let revision = state.store.disk.revoked[usize::from(key)];
        let is_published = state.store.head >= revision || !self.rules.s2_published;
        let is_marked = state.store.mark >= revision || !self.rules.s8_marked_first;
        is_published && is_marked && self.floor(state) >= revision.into()
    }

    /// Up to which revision no gateway accepts what was revoked.
    pub fn floor(&self, state: &State) -> u64 {
        let mut leases = state.store.leases.clone();
        leases.floor(millis(state.now)).revision
    }

    /// The store's clock advances. What has run out is noticed at once, so that
    /// states differ by what matters only.
    pub fn tick_store(&self, state: &mut State) {
        state.now += 1;
        let _ = state.store.leases.floor(millis(state.now));
    }
}
