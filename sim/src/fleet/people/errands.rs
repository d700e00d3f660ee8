//! Who asks the endpoint for a new key: clients whose answers get lost and who
//! repeat their requests with the same `Idempotency-Key`, and thieves who have
//! the old key only (X1 to X6).

use rekey_protocol::Digest;

use crate::fleet::people::clients::{Attempt, Ending, Key, Request};
use crate::fleet::world::{Event, World};

/// How often a client sends a request before he asks the operator.
const MOST_TRIES: u32 = 30;

/// What a request to the endpoint is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// A rotation that cannot be repeated.
    Plain,
    /// One with an `Idempotency-Key`, and how often it was sent before.
    Repeatable(String, u32),
    /// The same once more, though its client has been told.
    Again(String),
    /// Somebody else's who has the old key, perhaps with an `Idempotency-Key`.
    Thief(Option<String>),
}

impl Errand {
    /// What the header says.
    pub fn idempotency_key(&self) -> Option<&str> {
        match self {
            Self::Plain => None,
            Self::Repeatable(key, _) | Self::Again(key) => Some(key),
            Self::Thief(key) => key.as_deref(),
        }
    }

    /// Whether a rotation begins with it.
    pub fn is_new(&self) -> bool {
        matches!(self, Self::Plain | Self::Repeatable(_, 0))
    }
}

impl World {
    /// What a user sends to get a new key.
    pub fn draw_errand(&mut self, index: usize) -> Errand {
        // One of several at once, so that it is known whose record there is.
        let is_alone = self.users[index].group == 0;
        match is_alone && self.rng.f64() < self.plan.repeats {
            true => Errand::Repeatable(self.draw_idempotency_key(), 0),
            false => Errand::Plain,
        }
    }

    /// Makes an `Idempotency-Key`.
    pub fn draw_idempotency_key(&mut self) -> String {
        format!("{:032x}", self.rng.u128(..))
    }

    /// A rotation was committed with a record for its client.
    pub fn record_kept(&mut self, old: Digest, new: Digest) {
        self.oracle.kept.insert(old, new);
    }

    /// A 200 has left: thieves who have the old key find it dead.
    pub fn old_key_is_out(&mut self, user: usize, key: &Key) {
        if self.healed || self.rng.f64() >= self.plan.thieves {
            return;
        }
        for _ in 0..self.rng.u32(1..8) {
            let delay = self.rng.u64(0..2_000_000);
            self.after(delay, Event::Steal(user, key.clone()));
        }
    }

    /// A thief tries.
    pub fn steal(&mut self, user: usize, key: Key) {
        if self.healed {
            return;
        }
        let guess = self.rng.bool().then(|| self.draw_idempotency_key());
        if guess.is_some() {
            self.oracle.guessed.insert(key.digest);
        }
        self.request_anywhere(user, key, Some(Errand::Thief(guess)));
    }

    /// The client of an errand learns what became of it. Returns how the rotation
    /// ended that began with it, if it did.
    pub fn errand_ends(&mut self, request: &Request, ending: Ending) -> Option<Ending> {
        let errand = request.errand.as_ref()?;
        self.check_errand(request, errand, &ending);
        let Errand::Repeatable(key, tries) = errand else {
            return (*errand == Errand::Plain).then_some(ending);
        };
        let is_unclear = matches!(ending, Ending::Nothing | Ending::Refused(503, _));
        if is_unclear && *tries < MOST_TRIES && request.restores == self.restores {
            let mut again = request.clone();
            again.errand = Some(Errand::Repeatable(key.clone(), tries + 1));
            self.repeat_soon(again);
            return None;
        }
        if matches!(ending, Ending::NewKey(_)) && !self.healed && self.rng.f64() < 0.2 {
            let again = Some(Errand::Again(key.clone()));
            self.request_anywhere(request.user, request.key.clone(), again);
        }
        // A thief has used the tries up: the first one may have been the rotation.
        let is_turned_away = *tries > 0 && matches!(ending, Ending::Refused(..));
        Some(if is_turned_away {
            Ending::Nothing
        } else {
            ending
        })
    }

    fn repeat_soon(&mut self, request: Request) {
        let pause = self.rng.u64(10_000..1_000_000);
        self.after(pause, Event::Repeat(Box::new(request)));
    }

    /// A client sends a request again, to whichever gateway.
    pub fn repeat(&mut self, request: Request) {
        let (user, key) = (request.user, request.key.clone());
        if request.restores != self.restores {
            let attempt = Attempt {
                user,
                key,
                restores: request.restores,
            };
            self.rotation_ends(&attempt, Ending::Nothing);
        } else if self
            .request_anywhere(user, key, request.errand.clone())
            .is_none()
        {
            self.repeat_soon(request);
        }
    }

    fn check_errand(&mut self, request: &Request, errand: &Errand, ending: &Ending) {
        let old = request.key.digest;
        // Where another history says otherwise of the key, nobody is owed anything.
        if request.restores != self.restores || self.oracle.torn.contains(&old) {
            return;
        }
        match (errand, ending) {
            (Errand::Thief(_), Ending::NewKey(_)) if request.dead => {
                self.violate(format!("X2: a thief got the new key: {request:?}"));
            }
            (Errand::Repeatable(..) | Errand::Again(_), Ending::NewKey(key))
                if self.oracle.kept.get(&old) != Some(&key.digest) =>
            {
                self.violate(format!("X3: another key than was made: {request:?}"));
            }
            (Errand::Repeatable(..), Ending::Refused(401, code)) if self.is_owed(&old) => {
                self.violate(format!("I4: a lost answer is gone, {code}: {request:?}"));
            }
            _ => {}
        }
    }

    /// Whether the client of the rotation of this key, who has not been told yet,
    /// has a right to be (X4). No schedule takes ten minutes.
    fn is_owed(&mut self, old: &Digest) -> bool {
        let Some(new) = self.oracle.kept.get(old).copied() else {
            return false;
        };
        self.is_active(&new) && !self.oracle.guessed.contains(old)
    }
}
