//! The context of one request.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use rekey_engine::{ApiRefusal, Reply, RequestHead, RequestId};

use crate::host;
use crate::worker::{Callback, Worker};

pub(crate) struct Request {
    id: RequestId,
    worker: Option<Rc<Worker>>,
}

impl Request {
    pub(crate) fn new(id: u32, worker: Option<Rc<Worker>>) -> Self {
        Self {
            id: RequestId(id),
            worker,
        }
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _: usize, end_of_stream: bool) -> Action {
        let Some(worker) = &self.worker else {
            // The host sends no request to a root that refused its
            // configuration; if one did, it is not let through.
            host::send_reply(&Reply::refused(ApiRefusal::KeyStoreUnavailable));
            return Action::Pause;
        };
        let id = self.id;
        // A request that was answered stays paused: not every host makes sure.
        worker.handle(Callback::Headers(id), |engine, env| {
            let body_follows = !end_of_stream;
            engine.on_request_headers(id, &CurrentHeaders { body_follows }, env)
        })
    }
}

impl Context for Request {
    fn on_done(&mut self) -> bool {
        if let Some(worker) = &self.worker {
            worker.request_done(self.id);
        }
        true
    }
}

/// The headers of the request whose callback is running. Made in the header
/// callback alone, for later they cannot be read.
struct CurrentHeaders {
    body_follows: bool,
}

impl RequestHead for CurrentHeaders {
    fn path(&self) -> Vec<u8> {
        host::request_header(":path").unwrap_or_default()
    }

    fn method(&self) -> Vec<u8> {
        host::request_header(":method").unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<Vec<u8>> {
        host::request_header(name)
    }

    fn body_follows(&self) -> bool {
        self.body_follows
    }

    fn client_address(&self) -> Option<String> {
        String::from_utf8(host::property(&["source", "address"])?).ok()
    }
}
