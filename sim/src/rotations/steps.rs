//! What can happen, one step at a time.

use rekey_engine::attempts::{Attempts, FailedAttempt};

use super::rules::Rules;
use super::state::{
    ATTEMPTS, Answer, Attempt, End, GATEWAYS, Key, OLD, OPERATORS, Phase, State, new_key,
};
use super::world::{Who, World};

/// A step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A request comes to its gateway, which decides on its key from the table.
    Arrive(usize),
    /// The same, where the gateway asks the store first.
    Resolve(usize),
    /// The gateway makes the attempt that is due.
    Call(usize),
    /// It is refused on the spot: it is certain that nothing has happened.
    Refuse(usize),
    /// The attempt comes to the store, which decides.
    Decide(usize, usize),
    /// The store dies within that transaction.
    DieWithin(usize, usize),
    /// The call, or its answer, gets lost on the way.
    Lose(usize, usize),
    /// The gateway gives its attempt up.
    GiveUp(usize),
    /// The answer to its attempt comes to the gateway.
    Answer(usize),
    /// The client leaves.
    Leave(usize),
    /// A gateway hears that the old key is dead.
    Hear(usize),
    /// All of them have.
    Open,
    /// The store dies and is started again.
    Crash,
    /// The operator replaces the user's new key.
    Replace,
    /// The records' time is over.
    Expire,
    /// The hour of the rate limit is over.
    Hour,
}

impl World {
    /// The steps that are possible.
    pub fn possible(&self, state: &State, actions: &mut Vec<Action>) {
        for request in 0..self.requests.len() {
            self.possible_of(state, request, actions);
        }
        let is_dead = matches!(state.disk.keys[OLD], Key::Revoked(..));
        let may_hear = |gateway: &usize| is_dead && !state.buried[*gateway];
        actions.extend((0..GATEWAYS).filter(may_hear).map(Action::Hear));
        if state.open < state.disk.revision && state.buried.iter().all(|buried| *buried) {
            actions.push(Action::Open);
        }
        if state.left.crashes > 0 {
            actions.push(Action::Crash);
        }
        let has_new = is_dead && state.disk.keys[OPERATORS] == Key::None;
        if state.left.operator && has_new {
            actions.push(Action::Replace);
        }
        if state.left.expiry && is_dead {
            actions.push(Action::Expire);
        }
        if state.left.hour && state.disk.limited {
            actions.push(Action::Hour);
        }
    }

    fn possible_of(&self, state: &State, request: usize, actions: &mut Vec<Action>) {
        let (who, gateway) = self.who(state, request);
        match state.requests[request].phase {
            Phase::Unsent if self.may_send(state, request, who) => {
                actions.push(Action::Arrive(request));
                if !state.buried[gateway] {
                    actions.push(Action::Resolve(request));
                }
            }
            Phase::Due(_) => actions.extend([Action::Call(request), Action::Leave(request)]),
            Phase::Asked(attempt) => {
                actions.extend([Action::GiveUp(request), Action::Leave(request)]);
                let call = state.requests[request].attempts[attempt];
                if self.refuses && call == Attempt::Sent {
                    actions.push(Action::Refuse(request));
                }
                if let Attempt::Answered(_, waits_for) = call
                    && waits_for <= state.open
                {
                    actions.push(Action::Answer(request));
                }
            }
            _ => {}
        }
        for attempt in 0..ATTEMPTS {
            match state.requests[request].attempts[attempt] {
                Attempt::Sent => {
                    actions.push(Action::Decide(request, attempt));
                    actions.push(Action::Lose(request, attempt));
                    if state.left.crashes > 0 {
                        actions.push(Action::DieWithin(request, attempt));
                    }
                }
                Attempt::Answered(..) => actions.push(Action::Lose(request, attempt)),
                Attempt::None | Attempt::Over => {}
            }
        }
    }

    /// A client sends one request after the other, unless it is in a hurry; it
    /// goes on until it has a key or a clear no. A thief finds the old key when it
    /// has been replaced.
    fn may_send(&self, state: &State, request: usize, who: Who) -> bool {
        let earlier = self.requests[..request].iter().zip(&state.requests);
        let own = earlier.filter(|((other, _), _)| matches!(other, Who::Client(_)));
        match who {
            Who::Thief(_) => matches!(state.disk.keys[OLD], Key::Revoked(..)),
            Who::Client(_) if self.at_once => true,
            Who::Client(_) => own.into_iter().all(|(_, earlier)| {
                let again = [End::Unavailable, End::Unconfirmed].map(Phase::Ended);
                earlier.phase == Phase::Left || again.contains(&earlier.phase)
            }),
        }
    }

    /// Carries a step out.
    pub fn step(&self, state: &mut State, action: Action) {
        match action {
            Action::Arrive(request) => self.arrive(state, request),
            Action::Resolve(request) => self.resolve(state, request),
            Action::Call(request) => {
                if let Phase::Due(attempt) = state.requests[request].phase {
                    let request = &mut state.requests[request];
                    request.attempts[attempt] = Attempt::Sent;
                    request.phase = Phase::Asked(attempt);
                }
            }
            Action::Refuse(request) => {
                if let Phase::Asked(attempt) = state.requests[request].phase {
                    state.requests[request].attempts[attempt] = Attempt::Over;
                    self.failed(state, request, true);
                }
            }
            Action::Decide(request, attempt) => self.decide(state, request, attempt),
            Action::DieWithin(request, attempt) => self.die_within(state, request, attempt),
            Action::Lose(request, attempt) => {
                state.requests[request].attempts[attempt] = Attempt::Over;
            }
            Action::GiveUp(request) => self.failed(state, request, false),
            Action::Answer(request) => self.answer(state, request),
            Action::Leave(request) => state.requests[request].phase = Phase::Left,
            Action::Hear(gateway) => state.buried[gateway] = true,
            Action::Open => state.open = state.disk.revision,
            Action::Crash => crash(state),
            Action::Replace => self.replace(state),
            Action::Expire => {
                state.left.expiry = false;
                for record in state.disk.records.iter_mut().flatten() {
                    record.expired = true;
                }
            }
            Action::Hour => {
                state.left.hour = false;
                state.disk.limited = false;
            }
        }
    }

    /// The gateway trusts its table, or has a tombstone there.
    fn arrive(&self, state: &mut State, request: usize) {
        let (who, gateway) = self.who(state, request);
        match state.buried[gateway] {
            true => self.dead_key(state, request, who),
            false => state.requests[request].phase = Phase::Due(0),
        }
    }

    fn resolve(&self, state: &mut State, request: usize) {
        let (who, gateway) = self.who(state, request);
        match state.disk.keys[OLD] {
            Key::Revoked(..) => {
                state.buried[gateway] = true;
                self.dead_key(state, request, who);
            }
            _ => state.requests[request].phase = Phase::Due(0),
        }
    }

    /// X5: not the last word to who may have lost an answer.
    fn dead_key(&self, state: &mut State, request: usize, who: Who) {
        if who.idempotency_key().is_some() && self.rules.x5_not_final {
            state.requests[request].course = Attempts::for_revoked_key();
            state.requests[request].phase = Phase::Due(0);
        } else {
            self.end(state, request, End::Revoked);
        }
    }

    /// The attempt under way came to nothing; `nothing_changed`: that is certain.
    fn failed(&self, state: &mut State, request: usize, nothing_changed: bool) {
        let Phase::Asked(attempt) = state.requests[request].phase else {
            return;
        };
        let rules = &self.rules;
        let asked = &mut state.requests[request];
        // What the rules are about is what goes into the engine's own decision.
        let mut course = asked.course;
        let ended = course.failed(match nothing_changed || !rules.x1_unclear {
            true => FailedAttempt::NothingChanged,
            false => FailedAttempt::Unclear,
        });
        if rules.x1_remembered || !nothing_changed {
            asked.course = course;
        }
        let forgotten = !rules.x1_remembered && nothing_changed;
        let ended = match forgotten {
            true => Some(rekey_engine::ApiRefusal::KeyStoreUnavailable),
            false => ended,
        };
        let out_of_time = (attempt + 1 == self.attempts).then(|| course.out_of_time());
        match ended.or(out_of_time) {
            None => asked.phase = Phase::Due(attempt + 1),
            Some(rekey_engine::ApiRefusal::KeyStoreUnavailable) => {
                self.end(state, request, End::Unavailable);
            }
            Some(_) => self.end(state, request, End::Unconfirmed),
        }
    }

    /// The answer comes to the gateway.
    fn answer(&self, state: &mut State, request: usize) {
        let Phase::Asked(attempt) = state.requests[request].phase else {
            return;
        };
        let Attempt::Answered(answer, _) = state.requests[request].attempts[attempt] else {
            return;
        };
        state.requests[request].attempts[attempt] = Attempt::Over;
        let (who, gateway) = self.who(state, request);
        let end = match answer {
            Answer::Rotated => End::Key(new_key(request)),
            // X2: opens for nobody else, whatever the store believes.
            Answer::Revoked(Some(winner)) if self.opens(state, winner, who) => {
                End::Key(new_key(winner))
            }
            Answer::Revoked(_) => End::Revoked,
            Answer::Limited => End::Limited,
        };
        if answer != Answer::Limited {
            state.buried[gateway] = true;
        }
        self.end(state, request, end);
    }

    fn opens(&self, state: &State, winner: usize, who: Who) -> bool {
        let sealed_for = self.who(state, winner).0.idempotency_key();
        sealed_for.is_some() && sealed_for == who.idempotency_key()
    }

    /// The client is told.
    fn end(&self, state: &mut State, request: usize, end: End) {
        self.hears(state, request, end);
        state.requests[request].phase = Phase::Ended(end);
    }
}

/// What was on its way from the store is lost; what is on disk is not.
fn crash(state: &mut State) {
    state.left.crashes = state.left.crashes.saturating_sub(1);
    for request in &mut state.requests {
        for attempt in &mut request.attempts {
            if matches!(attempt, Attempt::Answered(..)) {
                *attempt = Attempt::Over;
            }
        }
    }
}

impl Rules {
    /// By which place answers of a rotation are on record: that of the attempt's
    /// rotation id.
    pub fn id_of(&self, request: usize, attempt: usize) -> Option<usize> {
        (self.x1_same_id || attempt == 0).then_some(request)
    }
}
