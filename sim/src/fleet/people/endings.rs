//! How requests and rotations end, and what their clients make of it.

use rekey_protocol::ApiKey;

use crate::fleet::gateway::WorkerRef;
use crate::fleet::gateway::port::{Happening, Reply};
use crate::fleet::people::clients::{Attempt, Ending, Key, PATIENCE, Request};
use crate::fleet::world::{Event, World};

/// Old keys that a user goes on trying.
const MOST_OLD: usize = 4;

impl World {
    /// A request went to the upstream.
    pub fn request_passed(&mut self, id: u32, from: WorkerRef, user: &str) {
        if let Some(request) = self.decide(id, from) {
            self.stats.passed += 1;
            self.check_passed(&request, user);
            match request.stays {
                true => self.stream_opens(id, &request),
                false => self.done(id, from),
            }
            self.client_hears(id, Ending::Served);
        }
    }

    /// A request got an answer of the gateway's own.
    pub fn request_answered(&mut self, id: u32, from: WorkerRef, reply: &Reply) {
        let Some(request) = self.decide(id, from) else {
            return;
        };
        self.done(id, from);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let code = body["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let status = reply.status;
        let ending = match status {
            200 => match body["data"]["api_key"].as_str().map(str::as_bytes) {
                Some(text) => match ApiKey::parse(text) {
                    Ok(key) => Ending::NewKey(Key {
                        text: key.expose().to_owned(),
                        digest: key.digest(),
                    }),
                    Err(error) => return self.violate(error.to_string()),
                },
                None => return self.violate("a 200 without a key".to_owned()),
            },
            401 => {
                self.check_refused(&request, &code);
                if request.dead {
                    self.stats.refused += 1;
                }
                Ending::Refused(status, code)
            }
            503 => {
                self.check_unavailable(&request, &code);
                Ending::Refused(status, code)
            }
            429 => Ending::Refused(status, code),
            other => return self.violate(format!("status {other}: {request:?}")),
        };
        if let Ending::NewKey(key) = &ending {
            match reply.is_replayed {
                true => self.stats.replayed += 1,
                false => self.stats.rotations += 1,
            }
            let owner = self.users[request.user].id.clone();
            self.oracle.owners.insert(key.digest, owner);
            // What the 200 says is true when it leaves, before it is read.
            if request.restores == self.restores {
                self.oracle.dead.insert(request.key.digest);
                self.old_key_is_out(request.user, &request.key);
            }
        }
        self.client_hears(id, ending);
    }

    /// A gateway decides, once.
    fn decide(&mut self, id: u32, from: WorkerRef) -> Option<Request> {
        let request = self.requests.get_mut(&id)?;
        // The gateway may not know yet that the client has gone.
        if request.left {
            return None;
        }
        if request.to != from || request.decided {
            self.violate(format!("request {id} was decided twice"));
            return None;
        }
        request.decided = true;
        let request = request.clone();
        self.stats.requests += 1;
        Some(request)
    }

    /// A worker learns in a moment that a request is over.
    pub fn done(&mut self, id: u32, at: WorkerRef) {
        let delay = self.rng.u64(10..200);
        self.after(delay, Event::Worker(at, Happening::Done(id)));
    }

    fn client_hears(&mut self, id: u32, ending: Ending) {
        let delay = self.rng.u64(50..2_000);
        let lost = !self.healed && !self.plan.calm && self.rng.f64() < 0.01;
        let ending = if lost { Ending::Nothing } else { ending };
        self.after(delay, Event::Heard(id, ending));
    }

    /// All requests of a worker that has gone come to nothing.
    pub fn requests_lost(&mut self, at: WorkerRef) {
        self.streams.retain(|_, stream| stream.at != at);
        let open = self.requests.iter();
        let open = open.filter(|(_, request)| request.to == at && !request.decided);
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        for id in open {
            if let Some(request) = self.requests.get_mut(&id) {
                request.decided = true;
            }
            let delay = self.rng.u64(50..2_000);
            self.after(delay, Event::Heard(id, Ending::Nothing));
        }
    }

    /// A client gives up.
    pub fn leave(&mut self, id: u32) {
        let Some(request) = self
            .requests
            .get_mut(&id)
            .filter(|request| !request.decided)
        else {
            return;
        };
        let waited = self.now - request.sent;
        request.decided = true;
        request.left = true;
        let (to, regenerate) = (request.to, request.errand.is_some());
        if waited >= PATIENCE / 2 && (!regenerate || waited >= PATIENCE) && self.lives(to) {
            let request = self.requests.get(&id).cloned();
            return self.violate(format!("never answered: {request:?}"));
        }
        self.at(self.now, Event::Worker(to, Happening::Done(id)));
        self.at(self.now, Event::Heard(id, Ending::Nothing));
    }

    /// A client learns what became of a request.
    pub fn heard(&mut self, id: u32, ending: Ending) {
        let Some(request) = self.requests.remove(&id) else {
            return;
        };
        self.oracle_hears(id, &request, &ending);
        let Some(ending) = self.errand_ends(&request, ending) else {
            return;
        };
        self.rotation_ends(
            &Attempt {
                user: request.user,
                key: request.key,
                restores: request.restores,
            },
            ending,
        );
    }

    /// An attempt to replace a key has come to its end.
    pub fn rotation_ends(&mut self, attempt: &Attempt, ending: Ending) {
        let index = attempt.user;
        let same_history = attempt.restores == self.restores;
        let user = &mut self.users[index];
        user.regenerating = user.regenerating.saturating_sub(1);
        match ending {
            Ending::NewKey(key) if same_history => {
                if user.won.is_some() {
                    let text = format!("I3: two rotations of one key won: {attempt:?}");
                    return self.violate(text);
                }
                user.won = Some(key);
                // Now the old key is tried everywhere.
                let tries = if self.healed { 0 } else { self.rng.u32(0..8) };
                for _ in 0..tries {
                    self.request_anywhere(index, attempt.key.clone(), None);
                }
            }
            Ending::NewKey(_) | Ending::Nothing | Ending::Served => user.unclear = true,
            Ending::Refused(503, code) if code == "rotation_unconfirmed" => user.unclear = true,
            Ending::Refused(..) => {}
        }
        if self.users[index].regenerating == 0 {
            self.group_is_over(index, attempt);
        }
    }

    fn group_is_over(&mut self, index: usize, last: &Attempt) {
        let user = &mut self.users[index];
        let (won, unclear) = (user.won.take(), std::mem::take(&mut user.unclear));
        user.group = 0;
        if user.operating {
            return;
        }
        match won {
            Some(key) => {
                let old = std::mem::replace(&mut user.key, key);
                self.retire(index, old);
                self.users[index].certain = !self.users[index].torn;
                if self.users[index].torn {
                    self.user_is_uncertain(index);
                }
            }
            None if unclear => self.user_is_uncertain(index),
            // All were refused: the key is what it was.
            None => self.note(|_| format!("no rotation of {last:?}")),
        }
    }

    /// A key has been replaced; it is tried now and then.
    pub fn retire(&mut self, index: usize, key: Key) {
        let user = &mut self.users[index];
        user.old.push(key);
        if user.old.len() > MOST_OLD {
            user.old.remove(0);
        }
    }
}
