//! What the engine wants done: effects for the adapter, in their order.

use std::collections::VecDeque;

use rekey_protocol::UserId;

use crate::host::metrics::{Counter, Gauge};
use crate::request::refusal::ApiRefusal;
use crate::request::reply::Reply;
use crate::store::calls::{CallId, StoreRequest};

/// Names a request between the engine and the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u32);

/// Something for the adapter to do, in the order given.
pub enum Effect {
    /// Let the request go on to the upstream.
    Continue {
        /// The request that was let through.
        request: RequestId,
        /// Whose it is; none on a public path.
        user: Option<UserId>,
    },
    /// Answer the request, which ends here.
    Reply {
        /// The request to answer.
        request: RequestId,
        /// The whole answer.
        reply: Reply,
    },
    /// Send this to the store in the root's name, because the host drops the answer
    /// of a call whose owner has gone, and report
    /// [`Engine::on_call_done`](crate::Engine::on_call_done). Comes in callbacks
    /// of the root only.
    Call {
        /// To be named in the report.
        call: CallId,
        /// The request to the store.
        request: StoreRequest,
    },
    /// End the request, which was let through: its key is dead. Comes in
    /// callbacks of the root only.
    Reset {
        /// The request to end.
        request: RequestId,
    },
    /// Call [`Engine::on_root`](crate::Engine::on_root) from the root soon; the
    /// next tick serves too.
    RingRoot,
    /// The same for another worker of the process, whose root's doorbell is the
    /// queue of this name.
    RingDoorbell(String),
    /// From now on the root's doorbell is the queue of this name.
    OwnDoorbell(String),
    /// Add one to this counter.
    Count(Counter),
    /// Set this gauge to the value.
    Show(Gauge, u64),
    /// Tell the operator. Never holds a secret.
    Log(LogLevel, String),
}

impl Effect {
    /// The request with which the host goes on because of it.
    fn turns_to(&self) -> Option<RequestId> {
        match self {
            Self::Continue { request, .. }
            | Self::Reply { request, .. }
            | Self::Reset { request } => Some(*request),
            _ => None,
        }
    }
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// The operator has to do something.
    Error,
    /// Something is amiss that may pass.
    Warn,
    /// Something that was amiss has passed.
    Info,
}

/// How many requests are let go on, answered or ended in one event of the root. The host ends
/// each inside the end of the one before it, so their number is a depth of its
/// stack: in Envoy 1.40 that is used up, and the VM with it, by some 300 (I9).
#[cfg_attr(
    not(feature = "fuzzing"),
    allow(unreachable_pub, reason = "fuzz targets reach it")
)]
pub const MOST_TURNS: usize = 32;

/// With which requests the host may go on in an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TurnLimit {
    /// With none: the host may be in the midst of the end of another one.
    #[default]
    None,
    /// With this one, whose callback it is.
    Only(RequestId),
    /// With so many more.
    Most(usize),
}

/// The effects that have not been carried out yet.
#[derive(Default)]
pub(crate) struct Outbox {
    effects: VecDeque<Effect>,
    last_call: u64,
    /// What the present event may still do.
    turns: TurnLimit,
    /// Whether the root was rung in it for what is left.
    rung: bool,
}

impl Outbox {
    /// An event begins, in which the host may go on with these requests.
    pub(crate) fn begin(&mut self, turns: TurnLimit) {
        self.turns = turns;
        self.rung = false;
    }

    /// The next effect; none if there is none for this event. For what is left then
    /// the root is rung.
    pub(crate) fn pop(&mut self) -> Option<Effect> {
        let turns = self.turns;
        let is_due = |effect: &Effect| match (effect.turns_to(), turns) {
            (None, _) => true,
            (Some(_), TurnLimit::None) => false,
            (Some(request), TurnLimit::Only(only)) => request == only,
            (Some(_), TurnLimit::Most(left)) => left > 0,
        };
        let Some(place) = self.effects.iter().position(is_due) else {
            let is_root = matches!(turns, TurnLimit::Most(_)) && !self.effects.is_empty();
            let rings = is_root && !std::mem::replace(&mut self.rung, true);
            return rings.then_some(Effect::RingRoot);
        };
        let effect = self.effects.remove(place)?;
        if let (Some(_), TurnLimit::Most(left)) = (effect.turns_to(), turns) {
            self.turns = TurnLimit::Most(left.saturating_sub(1));
        }
        Some(effect)
    }

    /// A request is over: nothing is to be done for it any more.
    pub(crate) fn forget(&mut self, request: RequestId) {
        self.effects
            .retain(|effect| effect.turns_to() != Some(request));
    }

    pub(crate) fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// An id that no call has had.
    pub(crate) fn new_call(&mut self) -> CallId {
        self.last_call += 1;
        CallId(self.last_call)
    }

    pub(crate) fn call(&mut self, call: CallId, request: StoreRequest) {
        self.push(Effect::Call { call, request });
    }

    pub(crate) fn go_on(&mut self, request: RequestId, user: Option<UserId>) {
        self.count(if user.is_some() {
            Counter::Allowed
        } else {
            Counter::Public
        });
        self.push(Effect::Continue { request, user });
    }

    pub(crate) fn refuse(&mut self, request: RequestId, refusal: ApiRefusal) {
        let row = refusal.row();
        self.count(row.counter);
        let reply = Reply::of(row);
        self.push(Effect::Reply { request, reply });
    }

    /// Takes back the answer to this request, if it has one.
    pub(crate) fn take_reply(&mut self, request: RequestId) -> Option<Reply> {
        let is_it =
            |effect: &Effect| matches!(effect, Effect::Reply { request: of, .. } if *of == request);
        let place = self.effects.iter().position(is_it)?;
        match self.effects.remove(place) {
            Some(Effect::Reply { reply, .. }) => Some(reply),
            _ => None,
        }
    }

    pub(crate) fn count(&mut self, counter: Counter) {
        self.push(Effect::Count(counter));
    }

    pub(crate) fn show(&mut self, gauge: Gauge, value: u64) {
        self.push(Effect::Show(gauge, value));
    }

    pub(crate) fn log(&mut self, level: LogLevel, text: String) {
        self.push(Effect::Log(level, text));
    }
}
