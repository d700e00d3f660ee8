//! What one configuration has in one VM: the engine, the calls in flight, and
//! the way from the engine's effects to hostcalls.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use proxy_wasm::types::Action;
use rekey_engine::{
    ApiRefusal, CallId, CallOutcome, Counter, Effect, Engine, Env, Gauge, LogLevel, Reply,
    RequestId, StoreRequest,
};
use rekey_protocol::{MARKER_HEADER, MARKER_VALUE, UserId};
use zeroize::Zeroizing;

use crate::host;

/// Filter state that carries the user to the route (`wasm.` is the host's).
const USER_STATE: &str = "rekey.user";

/// Which callback is running, and so what the host's calls refer to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Callback {
    /// A callback of the root.
    Root,
    /// A request's header callback, which lets it go on by its return value.
    Headers(RequestId),
    /// Another callback of a request.
    Request(RequestId),
}

pub(crate) struct Worker {
    root: u32,
    engine: RefCell<Engine>,
    /// Calls in flight by the host's token.
    calls: RefCell<BTreeMap<u32, CallId>>,
    doorbell: Cell<Option<u32>>,
    counters: BTreeMap<Counter, u32>,
    gauges: BTreeMap<Gauge, u32>,
}

impl Worker {
    pub(crate) fn new(root: u32, engine: Engine) -> Self {
        let counters = Counter::ALL.iter();
        let counters = counters.filter_map(|it| Some((*it, host::define_counter(it.name())?)));
        let gauges = Gauge::ALL.iter();
        let gauges = gauges.filter_map(|it| Some((*it, host::define_gauge(it.name())?)));
        Self {
            root,
            engine: RefCell::new(engine),
            calls: RefCell::default(),
            doorbell: Cell::new(None),
            counters: counters.collect(),
            gauges: gauges.collect(),
        }
    }

    /// Tells the engine of an event and carries out what it wants. Returns what
    /// becomes of the request whose headers are being handled.
    pub(crate) fn handle(
        &self,
        active: Callback,
        event: impl FnOnce(&mut Engine, &mut Env<'_>),
    ) -> Action {
        self.tell(event);
        self.perform_all(active)
    }

    fn perform_all(&self, active: Callback) -> Action {
        let mut action = Action::Pause;
        while let Some(effect) = self.next_effect() {
            if self.perform(active, effect) == Action::Continue {
                action = Action::Continue;
            }
        }
        action
    }

    /// A call's answer came to the root: `headers` and `body` are its sizes.
    pub(crate) fn call_done(&self, token: u32, headers: usize, body: usize) {
        let known = self.calls.borrow_mut().remove(&token);
        let Some(call) = known else { return };
        // Without headers nothing of an answer may be read.
        if headers == 0 {
            self.handle(Callback::Root, |engine, env| {
                engine.on_call_done(call, CallOutcome::Lost, env);
            });
            return;
        }
        let status = host::call_header(":status")
            .and_then(|status| std::str::from_utf8(&status).ok()?.parse().ok())
            .unwrap_or_default();
        let marked =
            host::call_header(MARKER_HEADER).is_some_and(|value| value == MARKER_VALUE.as_bytes());
        let body = host::call_body(body);
        let outcome = CallOutcome::Answer {
            status,
            marked,
            body: &body,
        };
        self.handle(Callback::Root, |engine, env| {
            engine.on_call_done(call, outcome, env)
        });
    }

    /// A request is over.
    pub(crate) fn request_done(&self, request: RequestId) {
        // Nothing in it depends on the time, and it comes with every request.
        self.engine.borrow_mut().on_request_done(request);
        self.perform_all(Callback::Request(request));
    }

    fn tell(&self, event: impl FnOnce(&mut Engine, &mut Env<'_>)) {
        let mut env = Env {
            now: host::now(),
            sources: &mut host::HostSources,
        };
        event(&mut self.engine.borrow_mut(), &mut env);
    }

    /// The engine is not borrowed while an effect is carried out: the host may
    /// call back from within.
    fn next_effect(&self) -> Option<Effect> {
        self.engine.borrow_mut().poll_effect()
    }

    /// `Continue` if this lets the request of the active header callback go on.
    fn perform(&self, active: Callback, effect: Effect) -> Action {
        match effect {
            Effect::Continue { request, user } => return self.go_on(active, request, user),
            Effect::Reply { request, reply } => self.reply(active, request, &reply),
            Effect::Call { call, request } => self.dispatch(call, &request),
            Effect::RingRoot => {
                if let Some(queue) = self.doorbell.get() {
                    host::ring(queue);
                }
            }
            Effect::Reset { request } => {
                if turn_to(active, request) {
                    host::close_stream();
                }
            }
            Effect::RingDoorbell(name) => host::ring_by_name(&name),
            Effect::OwnDoorbell(name) => self.doorbell.set(host::register_queue(&name)),
            Effect::Count(counter) => {
                if let Some(metric) = self.counters.get(&counter) {
                    host::increment(*metric);
                }
            }
            Effect::Show(gauge, value) => {
                if let Some(metric) = self.gauges.get(&gauge) {
                    host::record(*metric, value);
                }
            }
            Effect::Log(LogLevel::Error, text) => log::error!("rekey: {text}"),
            Effect::Log(LogLevel::Warn, text) => log::warn!("rekey: {text}"),
            Effect::Log(LogLevel::Info, text) => log::info!("rekey: {text}"),
        }
        Action::Pause
    }

    fn go_on(&self, active: Callback, request: RequestId, user: Option<UserId>) -> Action {
        if !turn_to(active, request) {
            return Action::Pause;
        }
        if let Some(user) = user
            && !host::set_property(USER_STATE, user.as_str().as_bytes())
        {
            // Without its user the upstream would serve a nobody.
            log::error!("rekey: the host refused to keep the request's user");
            host::send_reply(&Reply::refused(ApiRefusal::KeyStoreUnavailable));
            return Action::Pause;
        }
        if active == Callback::Headers(request) {
            return Action::Continue;
        }
        host::resume_request();
        Action::Pause
    }

    fn reply(&self, active: Callback, request: RequestId, reply: &Reply) {
        if turn_to(active, request) {
            host::send_reply(reply);
        }
    }

    fn dispatch(&self, call: CallId, request: &StoreRequest) {
        // An earlier effect may have turned the host to a request.
        host::set_effective_context(self.root);
        // Copied, not borrowed: the host may call back from within.
        let (authority, token) = {
            let engine = self.engine.borrow();
            let config = engine.config();
            (config.store.authority.clone(), config.store_token.clone())
        };
        let bearer = token.map(|token| Zeroizing::new(format!("Bearer {}", token.as_str())));
        let mut headers = vec![
            (":method", "POST"),
            (":path", request.path),
            (":authority", authority.as_str()),
            ("content-type", "application/json"),
        ];
        if let Some(bearer) = &bearer {
            headers.push(("authorization", bearer.as_str()));
        }
        if request.idempotent {
            headers.push(("x-envoy-retry-on", "reset,connect-failure,refused-stream"));
            headers.push(("x-envoy-max-retries", "1"));
        }
        let timeout = Duration::from_millis(request.timeout_ms.into());
        let sent = host::dispatch_call(&request.cluster, headers, &request.body, timeout);
        match sent {
            Some(token) => {
                self.calls.borrow_mut().insert(token, call);
            }
            None => self.tell(|engine, env| engine.on_call_done(call, CallOutcome::NotSent, env)),
        }
    }
}

/// Makes the host's calls refer to this request; false if it has gone.
fn turn_to(active: Callback, request: RequestId) -> bool {
    match active {
        Callback::Headers(id) | Callback::Request(id) if id == request => true,
        _ => host::set_effective_context(request.0),
    }
}
