//! A TCP proxy between the gateway and the real key store that fails as it is
//! told: it refuses, cuts exchanges short, holds some of them back, or falls
//! silent altogether.
//!
//! It knows where messages of HTTP/1.1 begin and end, which path was asked, and
//! whether a text is in them (`cuts`); it does not know what they say.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::Duration;

use rekey_testbed::http1::{Head, Message};
use rekey_testbed::{GatewayOptions, Port};
use socket2::SockRef;

use crate::support::faults::cuts::{Cuts, End};

/// How much of an answer is passed on before both connections are closed. The
/// store has answered by then, so what it was asked to do is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not a byte.
    Before,
    /// The head, and nothing of the body.
    AfterHead,
    /// The head, and half of the body.
    InBody,
}

/// What is not passed on. All connections stay open, and whatever was held
/// back is passed on, late, when the silence ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Everything is passed on.
    #[default]
    None,
    /// Requests arrive, answers do not.
    Answers,
    /// Neither.
    Both,
}

/// The proxy; it goes, with all its connections, when dropped.
pub(crate) struct TcpProxy {
    /// Kept while connections to it are refused.
    port: Option<Port>,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: SocketAddr,
    state: Mutex<State>,
    /// The state has changed.
    changed: Condvar,
    cuts: Cuts,
}

#[derive(Default)]
struct State {
    listener: Option<TcpListener>,
    /// Of both sides; whoever passes on by them holds them.
    connections: Vec<Weak<TcpStream>>,
    cut: Option<PlannedCut>,
    cuts_made: u32,
    silence: Silence,
    /// Answers to this path wait.
    held_path: Option<&'static str>,
    held: u32,
    /// Dropped: nobody waits any more.
    over: bool,
}

struct PlannedCut {
    path: &'static str,
    cut: Cut,
    left: u32,
}

impl TcpProxy {
    /// Listens on a free port and passes everything on to `target`.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let port = Port::free().unwrap();
        let proxy = Self {
            address: port.address(),
            port: Some(port),
            shared: Shared::new(target),
        };
        proxy.accept();
        proxy
    }

    /// The same with a listener of the caller's making, in whatever network
    /// that is.
    pub(crate) fn start_at(listener: TcpListener, target: SocketAddr) -> Self {
        let proxy = Self {
            address: listener.local_addr().unwrap(),
            port: None,
            shared: Shared::new(target),
        };
        proxy.accept_from(listener);
        proxy
    }

    /// Puts one between a gateway and its key store.
    pub(crate) fn before_store_of(gateway: &mut GatewayOptions) -> Self {
        let proxy = Self::start(gateway.store);
        gateway.store = proxy.address();
        proxy
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections, and refuses new ones.
    pub(crate) fn refuse(&self) {
        let mut state = self.shared.lock();
        if let Some(listener) = state.listener.take() {
            // Wakes the accepting thread, whose copy would listen on.
            let _ = SockRef::from(&listener).shutdown(Shutdown::Both);
        }
        for connection in state.connections.drain(..).filter_map(|one| one.upgrade()) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Accepts connections again after [`Self::refuse`].
    pub(crate) fn accept(&self) {
        assert!(self.port.is_some(), "the port is not kept");
        self.accept_from(TcpListener::bind(self.address()).unwrap());
    }

    fn accept_from(&self, listener: TcpListener) {
        let accepting = listener.try_clone().unwrap();
        self.shared.lock().listener = Some(listener);
        let shared = self.shared.clone();
        thread::spawn(move || accept(&accepting, &shared));
    }

    /// Cuts the next answers to requests of this path, so many times.
    pub(crate) fn cut_answers(&self, path: &'static str, cut: Cut, times: u32) {
        let left = times;
        self.shared.lock().cut = Some(PlannedCut { path, cut, left });
    }

    /// Cuts to the byte, for calls that hold a given text.
    pub(crate) fn cuts(&self) -> &Cuts {
        &self.shared.cuts
    }

    /// How many answers were cut.
    pub(crate) fn cuts_made(&self) -> u32 {
        self.shared.lock().cuts_made
    }

    /// Passes on what it may from now on.
    pub(crate) fn fall_silent(&self, silence: Silence) {
        self.shared.change(|state| state.silence = silence);
    }

    /// Holds all answers to requests of this path back, until
    /// [`Self::release`]. The store has answered them by then.
    pub(crate) fn hold_answers(&self, path: &'static str) {
        self.shared.change(|state| state.held_path = Some(path));
    }

    /// How many answers are held back.
    pub(crate) fn held(&self) -> u32 {
        self.shared.lock().held
    }

    /// Passes on, late, what was held back, and what comes from now on.
    pub(crate) fn release(&self) {
        self.shared.change(|state| state.held_path = None);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.over = true);
        self.refuse();
    }
}

impl Shared {
    fn new(target: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            target,
            state: Mutex::default(),
            changed: Condvar::new(),
            cuts: Cuts::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Returns when nothing of these silences is kept any more.
    fn wait_for_end_of(&self, silences: &[Silence]) {
        let silent = |state: &mut State| !state.over && silences.contains(&state.silence);
        drop(self.changed.wait_while(self.lock(), silent).unwrap());
    }

    /// Returns when the answer to this path may be passed on.
    fn wait_while_held(&self, path: &str) {
        let is_held = |state: &mut State| !state.over && state.held_path == Some(path);
        let mut state = self.lock();
        if is_held(&mut state) {
            state.held += 1;
            self.changed.wait_while(state, is_held).unwrap().held -= 1;
        }
    }

    /// Whether the answer to this path is to be cut, and how.
    fn next_cut(&self, path: &str) -> Option<Cut> {
        let mut state = self.lock();
        let planned = state.cut.as_mut()?;
        if planned.path != path || planned.left == 0 {
            return None;
        }
        planned.left -= 1;
        let cut = planned.cut;
        state.cuts_made += 1;
        Some(cut)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((gateway, _)) = listener.accept() {
        let Ok(store) = TcpStream::connect(shared.target) else {
            continue;
        };
        let ends = [Arc::new(gateway), Arc::new(store)];
        let mut state = shared.lock();
        state.connections.retain(|one| one.strong_count() > 0);
        state.connections.extend(ends.iter().map(Arc::downgrade));
        drop(state);
        let shared = shared.clone();
        thread::spawn(move || {
            let [gateway, store] = &ends;
            let end = pass_on(gateway, store, &shared);
            for connection in &ends {
                match end {
                    // Sent when it is closed, which is now.
                    Some(End::Reset) => {
                        let _ = SockRef::from(&**connection).set_linger(Some(Duration::ZERO));
                    }
                    _ => drop(connection.shutdown(Shutdown::Both)),
                }
            }
        });
    }
}

/// Passes requests and answers on by turns, until one side has gone or an
/// exchange was cut: then with how.
fn pass_on(mut gateway: &TcpStream, mut store: &TcpStream, shared: &Shared) -> Option<End> {
    let (mut requests, mut answers) = (Vec::new(), Vec::new());
    loop {
        let request = Message::read(gateway, &mut requests, Head::of_request).unwrap()?;
        shared.wait_for_end_of(&[Silence::Both]);
        if let Some((after, end)) = shared.cuts.of_request(&request) {
            let passed_on = request.bytes.get(..after).unwrap_or(&request.bytes);
            store.write_all(passed_on).ok()?;
            return Some(end);
        }
        store.write_all(&request.bytes).ok()?;
        let answer = Message::read(store, &mut answers, Head::of_answer).unwrap()?;
        shared.wait_while_held(&request.head.path);
        shared.wait_for_end_of(&[Silence::Answers, Silence::Both]);
        if let Some((after, end)) = shared.cuts.of_answer(&request, &answer) {
            let passed_on = answer.bytes.get(..after).unwrap_or(&answer.bytes);
            gateway.write_all(passed_on).ok()?;
            return Some(end);
        }
        let cut = shared.next_cut(&request.head.path);
        let end = match cut {
            None => answer.bytes.len(),
            Some(Cut::Before) => 0,
            Some(Cut::AfterHead) => answer.body_at,
            Some(Cut::InBody) => answer.body_at + answer.body().len() / 2,
        };
        gateway.write_all(&answer.bytes[..end]).ok()?;
        if cut.is_some() {
            return Some(End::Close);
        }
    }
}
