//! Users at the dashboard: they open the page, send its form, now and then
//! twice, and read the new key. What the store does about it is `rekey-store`'s.

use rekey_protocol::{Client, Digest, RotationId, UserId};
use rekey_store::clock::UnixMillis;
use rekey_store::engine::Impossible;
use rekey_store::operations::keys::ActiveKeyOf;
use rekey_store::operations::keys::own_key::{OwnRefusal, RotateOwn, Wish};

use crate::fleet::people::clients::{Attempt, Ending, Key};
use crate::fleet::store::millis;
use crate::fleet::store::tasks::{Say, Task, Waiter};
use crate::fleet::world::{Event, World};

/// A form under way.
#[derive(Debug, Clone)]
pub struct Form {
    /// Whose.
    user: usize,
    /// The key that the page was about.
    old: Key,
    /// The key that the store draws for it.
    new: Key,
    ticket: RotationId,
    /// Which key the page was about, in the store's words.
    shown: u64,
    /// Restores so far when the page was opened.
    restores: u32,
}

impl Form {
    /// What the store is asked for.
    pub fn wish(id: UserId, new_digest: Digest, ticket: RotationId) -> Wish {
        Wish {
            user: id,
            ticket,
            new_digest,
            hint: "hint".into(),
            client: Client::default(),
        }
    }
}

impl World {
    /// Names a form.
    pub fn draw_ticket(&mut self) -> RotationId {
        let mut ticket = [0; 16];
        self.rng.fill(&mut ticket);
        RotationId(ticket)
    }

    /// A user opens the page to regenerate the key.
    pub fn open_page(&mut self, index: usize) {
        if self.store.life.is_none() || self.store.is_restored() {
            return;
        }
        let user = &self.users[index];
        let (id, old) = (user.id.clone(), user.key.clone());
        let time = millis(self.store.clock.moment(self.now).wall);
        let shown = match self.store.data.read(&ActiveKeyOf(id.clone()), time) {
            Ok(Some(key)) if key.digest == old.digest => key.revision,
            // Not the key that the user has: there is nothing to be sure about.
            Ok(_) => return,
            Err(error) => return self.violate(format!("the store's database: {error}")),
        };
        let new = match self.draw_key() {
            Ok(key) => key,
            Err(error) => return self.violate(error.to_string()),
        };
        let form = Form {
            user: index,
            old,
            new,
            ticket: self.draw_ticket(),
            shown,
            restores: self.restores,
        };
        self.forms_so_far += 1;
        let number = self.forms_so_far;
        self.forms.insert(number, form);
        let user = &mut self.users[index];
        user.regenerating += 1;
        user.group += 1;
        // It is read, or lies open for a while.
        let delay = self.rng.u64(1_000..1_500_000);
        self.after(delay, Event::SendForm(number));
        if self.rng.f64() < 0.3 {
            let second = delay + self.rng.u64(1_000..200_000);
            self.after(second, Event::SendForm(number));
        }
    }

    /// The form is on its way to the store.
    pub fn send_form(&mut self, number: u64) {
        if !self.forms.contains_key(&number) {
            return;
        }
        match self.store.life {
            Some(_) => self.store_task(500..5_000, Task::Form(number)),
            None => self.form_broken(number),
        }
    }

    /// The form has arrived.
    pub fn form_arrives(&mut self, number: u64, time: UnixMillis) -> Result<(), Impossible> {
        let Some(form) = self.forms.get(&number).cloned() else {
            return Ok(());
        };
        if self.store.is_restored() {
            // That says nothing of the first one, if it is the second: it may have been
            // sent to the life before this one.
            let ending = match self.waits_for(number) || self.lost.is_some() {
                true => Ending::Nothing,
                false => Ending::Refused(503, String::new()),
            };
            self.form_heard(number, ending);
            return Ok(());
        }
        let id = self.users[form.user].id.clone();
        let wish = Form::wish(id.clone(), form.new.digest, form.ticket);
        let rotate = RotateOwn {
            wish,
            shown: form.shown,
        };
        let done = self.store.data.run(&rotate, time)?;
        match done.result {
            Ok(made) => {
                self.rotation_committed(id.clone(), time);
                self.oracle.owners.insert(form.new.digest, id);
                let waiter = Waiter {
                    revision: Some(made.revision),
                    say: Say::NewKey(number),
                };
                self.tell_feed(done.revision, done.revoked, waiter);
            }
            // The first one's answer is waited for; if that got lost with an
            // earlier life of the store, so did the key.
            Err(OwnRefusal::TicketUsed) if self.waits_for(number) => {}
            Err(OwnRefusal::TicketUsed) => self.form_heard(number, Ending::Nothing),
            Err(_) => self.form_heard(number, Ending::Refused(409, String::new())),
        }
        Ok(())
    }

    /// The page with the new key leaves: what it says is true from now on.
    pub fn page_leaves(&mut self, number: u64) {
        let Some(form) = self.forms.get(&number) else {
            return;
        };
        if form.restores == self.restores {
            self.oracle.dead.insert(form.old.digest);
        }
        let key = form.new.clone();
        self.stats.rotations += 1;
        self.stats.read_in_dashboard += 1;
        let lost = !self.healed && !self.plan.calm && self.rng.f64() < 0.01;
        let ending = if lost {
            Ending::Nothing
        } else {
            Ending::NewKey(key)
        };
        let delay = self.rng.u64(50..2_000);
        self.after(delay, Event::FormHeard(number, ending));
    }

    /// The store has died over it: some users send it again, some give up.
    pub fn form_broken(&mut self, number: u64) {
        match self.rng.bool() {
            true => {
                let pause = self.rng.u64(100_000..3_000_000);
                self.after(pause, Event::SendForm(number));
            }
            false => self.form_heard(number, Ending::Nothing),
        }
    }

    /// The user sees what came of it.
    pub fn form_heard(&mut self, number: u64, ending: Ending) {
        let Some(form) = self.forms.remove(&number) else {
            return;
        };
        self.rotation_ends(
            &Attempt {
                user: form.user,
                key: form.old,
                restores: form.restores,
            },
            ending,
        );
    }
}
