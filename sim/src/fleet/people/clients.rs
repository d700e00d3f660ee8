//! The users and their clients: who they are, and what they send.

use rekey_protocol::{ChecksumSecrets, Digest, RANDOM_BYTES, UserId};
use rekey_store::clock::UnixMillis;
use rekey_store::operations::users::{AddUser, NewUser};

use crate::fleet::gateway::WorkerRef;
use crate::fleet::gateway::port::{Happening, SECRET};
use crate::fleet::people::errands::Errand;
use crate::fleet::world::{Event, World};

/// A rotation is answered within that, in microseconds: the gateway's patience
/// and what a frozen gateway and a slow clock add.
pub(in crate::fleet) const PATIENCE: u64 = 60_000_000;

/// Chance that a request stays open when it is let through.
const STAYS: f64 = 0.15;

/// A key in plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The text.
    pub text: String,
    /// Its digest.
    pub digest: Digest,
}

/// A user.
#[derive(Debug)]
pub struct User {
    /// In the store.
    pub id: UserId,
    /// The key that the user believes to be the right one.
    pub key: Key,
    /// Whether it must be.
    pub certain: bool,
    /// Replaced keys, the newest last.
    pub old: Vec<Key>,
    /// Rotations under way.
    pub regenerating: u32,
    /// How many rotations there were since none was under way.
    pub group: u32,
    /// The new key, if one of them was answered with it.
    pub won: Option<Key>,
    /// Whether the end of one of them is not known.
    pub unclear: bool,
    /// Whether the operator is changing the key.
    pub operating: bool,
    /// How often the operator has begun to.
    pub operations: u64,
    /// The key that the operator is about to give.
    pub next: Option<Key>,
    /// Whether a restore has come into it.
    pub torn: bool,
}

/// A request under way.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whose.
    pub user: usize,
    /// With which key.
    pub key: Key,
    /// What for, if it is for the endpoint.
    pub errand: Option<Errand>,
    /// When it was sent.
    pub sent: u64,
    /// Whether the key was dead everywhere when the headers came (I2).
    pub dead: bool,
    /// Whether this gateway had refused it when the headers came (I1).
    pub refused: bool,
    /// Who serves it.
    pub to: WorkerRef,
    /// Restores so far when it was sent.
    pub restores: u32,
    /// Whether it stays open when it is let through.
    pub stays: bool,
    /// Whether the gateway has decided.
    pub(in crate::fleet) decided: bool,
    /// Whether the client has gone.
    pub(in crate::fleet) left: bool,
}

/// An attempt to replace a key, by whichever way.
#[derive(Debug)]
pub struct Attempt {
    /// Whose.
    pub user: usize,
    /// Which key.
    pub key: Key,
    /// Restores so far when it was begun.
    pub restores: u32,
}

/// What became of a request, as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was served.
    Served,
    /// An answer of the gateway's own: status and `error.code`.
    Refused(u16, String),
    /// A new key.
    NewKey(Key),
    /// No answer.
    Nothing,
}

impl User {
    /// Whether the operator is at this change of the key.
    pub fn is_in(&self, operation: u64) -> bool {
        self.operating && self.operations == operation
    }
}

impl World {
    /// Adds the users and their first keys.
    pub fn populate(&mut self) -> anyhow::Result<()> {
        for index in 0..self.plan.users {
            let key = self.draw_key()?;
            let id: UserId = format!("u_{index}").parse()?;
            let new = NewUser {
                id: id.clone(),
                email: format!("{index}@example.com").parse()?,
                digest: key.digest,
                hint: "hint".into(),
                phc: None,
            };
            let wall = self.store.clock.moment(0).wall;
            let time = UnixMillis(i64::try_from(wall)?);
            let added = self.store.data.run(&AddUser(new), time)?;
            self.store.told(added.revision);
            self.oracle.owners.insert(key.digest, id.clone());
            self.users.push(User {
                id,
                key,
                certain: true,
                old: Vec::new(),
                regenerating: 0,
                group: 0,
                won: None,
                unclear: false,
                operating: false,
                operations: 0,
                next: None,
                torn: false,
            });
            let first = self.rng.u64(0..self.plan.act_every);
            self.after(first, Event::Act(index));
        }
        Ok(())
    }

    /// Makes a key, as the store's command line does.
    pub fn draw_key(&mut self) -> anyhow::Result<Key> {
        let mut random = [0; RANDOM_BYTES];
        self.rng.fill(&mut random);
        let key = ChecksumSecrets::parse(SECRET)?.issue(&random);
        let key = key.ok_or_else(|| anyhow::anyhow!("64 bytes were too few"))?;
        Ok(Key {
            text: key.expose().to_owned(),
            digest: key.digest(),
        })
    }

    /// A user does something.
    pub fn act(&mut self, index: usize) {
        if self.healed {
            return;
        }
        let pause = self
            .rng
            .u64(self.plan.act_every / 4..self.plan.act_every * 2);
        self.after(pause, Event::Act(index));
        let roll = self.rng.f64();
        let user = &self.users[index];
        if roll < self.plan.regenerate {
            if !user.operating && user.regenerating < 3 {
                let key = user.key.clone();
                match self.rng.f64() < self.plan.dashboard {
                    true => self.open_page(index),
                    false => {
                        let errand = self.draw_errand(index);
                        self.request_anywhere(index, key.clone(), Some(errand));
                    }
                }
                // Others use the key that is about to die.
                for _ in 0..self.rng.u32(0..6) {
                    self.request_anywhere(index, key.clone(), None);
                }
            }
        } else {
            let old = user.old.len();
            let key = match self.rng.usize(0..old + 2) {
                place if place < old => self.users[index].old[place].clone(),
                _ => self.users[index].key.clone(),
            };
            self.request_anywhere(index, key, None);
        }
    }

    /// Sends a request to any worker of any gateway; none if it does not run.
    pub fn request_anywhere(
        &mut self,
        user: usize,
        key: Key,
        errand: Option<Errand>,
    ) -> Option<u32> {
        let process = self.rng.usize(0..self.gateways());
        let serving = self.process(process).serving();
        if serving.is_empty() {
            return None;
        }
        let worker = serving[self.rng.usize(0..serving.len())];
        let delay = self.rng.u64(0..30_000);
        let to = self.worker_ref(process, worker)?;
        Some(self.request(user, key, errand, (to, delay)))
    }

    /// Sends a request.
    pub fn request(
        &mut self,
        user: usize,
        key: Key,
        errand: Option<Errand>,
        (to, delay): (WorkerRef, u64),
    ) -> u32 {
        self.order_of_requests += 1;
        let id = self.order_of_requests;
        if errand.as_ref().is_some_and(Errand::is_new) {
            let user = &mut self.users[user];
            user.regenerating += 1;
            user.group += 1;
        }
        let headers = Happening::Headers {
            request: id,
            key: key.text.clone(),
            errand: errand.clone(),
        };
        let regenerate = errand.is_some();
        let stays = !regenerate && !self.healed && self.rng.f64() < STAYS;
        let request = Request {
            user,
            key,
            errand,
            sent: self.now,
            dead: false,
            refused: false,
            to,
            restores: self.restores,
            stays,
            decided: false,
            left: false,
        };
        self.requests.insert(id, request);
        self.after(delay, Event::Worker(to, headers));
        if !self.healed && !self.plan.calm && self.rng.f64() < self.plan.impatience {
            let patience = self.rng.u64(0..50_000);
            self.after(delay + patience, Event::Leave(id));
        } else if regenerate {
            self.after(delay + PATIENCE, Event::Leave(id));
        } else {
            self.after(delay + PATIENCE / 2, Event::Leave(id));
        }
        id
    }
}
