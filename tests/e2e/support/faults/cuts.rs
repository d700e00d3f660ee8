//! Which exchanges between gateway and store are cut, and where, to the byte.
//!
//! A plan is for the calls of one path that hold a given text, such as a digest:
//! so many users are served by one proxy at a time, and only the one of the plan
//! meets it.

use std::sync::{Condvar, Mutex, MutexGuard};

use rekey_testbed::http1::Message;

use crate::support::fleet::SOON;

/// Where an exchange is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// So many bytes of the request reach the store, and it may do what they say
    /// only if those are all.
    Request(usize),
    /// The store has answered, and so many bytes of that reach the gateway.
    Answer(usize),
}

/// How the connections end, to the gateway and to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order (FIN).
    Close,
    /// Torn down (RST).
    Reset,
}

/// One exchange, as far as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Exchange {
    /// What the gateway sent.
    pub request: Vec<u8>,
    /// What the store sent; empty where the request was cut.
    pub answer: Vec<u8>,
}

/// Exchanges to be cut.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The path of the request.
    pub path: &'static str,
    /// What its body holds.
    pub text: String,
    /// Where.
    pub place: Place,
    /// How.
    pub end: End,
    /// How many of them, from the next on; `u32::MAX` for all.
    pub times: u32,
}

/// What is cut, and what has been.
#[derive(Default)]
pub(crate) struct Cuts {
    planned: Mutex<Vec<Planned>>,
    /// A cut was made.
    made: Condvar,
}

struct Planned {
    plan: Plan,
    made: u32,
    last: Exchange,
}

impl Cuts {
    /// From now on.
    pub(crate) fn plan(&self, plan: Plan) {
        let (made, last) = (0, Exchange::default());
        self.lock().push(Planned { plan, made, last });
    }

    /// Ends the plan for this text. Returns how many exchanges it has cut.
    ///
    /// # Panics
    /// There is none.
    pub(crate) fn end(&self, text: &str) -> u32 {
        let mut planned = self.lock();
        let found = planned.iter().position(|planned| planned.plan.text == text);
        planned.swap_remove(found.expect("a plan")).made
    }

    /// Waits until so many exchanges of this plan were cut.
    ///
    /// # Panics
    /// They are not in good time.
    pub(crate) fn wait(&self, text: &str, times: u32) {
        let to_come = |planned: &mut Vec<Planned>| {
            let of_text = |planned: &&Planned| planned.plan.text == text;
            planned.iter().find(of_text).expect("a plan").made < times
        };
        let (_planned, wait) = self
            .made
            .wait_timeout_while(self.lock(), SOON, to_come)
            .unwrap();
        assert!(!wait.timed_out(), "still waiting for cut {times}");
    }

    /// The last exchange that the plan met, whether or not it was cut.
    ///
    /// # Panics
    /// There is no such plan.
    pub(crate) fn last(&self, text: &str) -> Exchange {
        let planned = self.lock();
        let found = planned.iter().find(|planned| planned.plan.text == text);
        found.expect("a plan").last.clone()
    }

    /// Where this exchange is to be cut in its request, if it is.
    pub(super) fn of_request(&self, request: &Message) -> Option<(usize, End)> {
        let mut planned = self.lock();
        let planned = find(&mut planned, request)?;
        planned.last = Exchange {
            request: request.bytes.clone(),
            answer: Vec::new(),
        };
        let Place::Request(after) = planned.plan.place else {
            return None;
        };
        self.cut(planned, after)
    }

    /// Where it is to be cut in its answer, if it is.
    pub(super) fn of_answer(&self, request: &Message, answer: &Message) -> Option<(usize, End)> {
        let mut planned = self.lock();
        let planned = find(&mut planned, request)?;
        planned.last.answer.clone_from(&answer.bytes);
        let Place::Answer(after) = planned.plan.place else {
            return None;
        };
        self.cut(planned, after)
    }

    fn cut(&self, planned: &mut Planned, after: usize) -> Option<(usize, End)> {
        if planned.made >= planned.plan.times {
            return None;
        }
        planned.made += 1;
        self.made.notify_all();
        Some((after, planned.plan.end))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Planned>> {
        self.planned.lock().unwrap()
    }
}

fn find<'a>(planned: &'a mut [Planned], request: &Message) -> Option<&'a mut Planned> {
    let body = String::from_utf8_lossy(request.body());
    planned
        .iter_mut()
        .find(|planned| planned.plan.path == request.head.path && body.contains(&planned.plan.text))
}

/// Ends of everything that a message of HTTP/1.1 consists of: not a byte of it,
/// its first line, each header, the head, half of the body, all of it.
pub(crate) fn boundaries(message: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    let mut at = 0;
    while let Some(line) = message[at..].windows(2).position(|two| two == b"\r\n") {
        at += line + 2;
        ends.push(at);
        if line == 0 {
            break;
        }
    }
    ends.extend([at.midpoint(message.len()), message.len()]);
    ends.sort_unstable();
    ends.dedup();
    ends
}
