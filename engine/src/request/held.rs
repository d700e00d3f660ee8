//! Refusals that wait a moment, because the body of their request is still on its
//! way. Answered earlier, it costs the client its connection over HTTP/1.1. Over
//! HTTP/2 the answer is followed by an `RST_STREAM` (RFC 9113, 8.1), at which curl
//! 7.88 shows nothing of the answer. A small body has come by then.

use std::collections::BTreeMap;

use crate::host::outbox::{Effect, Outbox, RequestId};
use crate::request::reply::Reply;

/// How many refusals wait at a time (I8); more are sent at once.
const MOST: usize = 1_024;
/// How long each waits at least, in milliseconds: the body of a client that waits
/// for the confirmation of its headers comes a round trip behind them.
const WAIT_MS: u64 = 150;

/// The refusals that wait.
#[derive(Default)]
pub(crate) struct Held(BTreeMap<RequestId, HeldReply>);

struct HeldReply {
    reply: Reply,
    /// In monotonic milliseconds.
    since: u64,
}

impl Held {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.0.len() < MOST
    }

    /// Lets the answer to this request wait from now on.
    pub(crate) fn hold(&mut self, request: RequestId, reply: Reply, now: u64) {
        self.0.insert(request, HeldReply { reply, since: now });
    }

    /// The request is over.
    pub(crate) fn leave(&mut self, request: RequestId) {
        self.0.remove(&request);
    }

    /// Sends what has waited for long enough.
    pub(crate) fn send_due(&mut self, now: u64, out: &mut Outbox) {
        let is_due = |waiting: &HeldReply| now.saturating_sub(waiting.since) >= WAIT_MS;
        for (request, waiting) in self.0.extract_if(.., |_, waiting| is_due(waiting)) {
            let reply = waiting.reply;
            out.push(Effect::Reply { request, reply });
        }
    }
}
