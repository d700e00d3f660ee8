//! The root context: one per configuration and VM. It loads the configuration,
//! ticks, and owns the calls that must outlive a request.

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::ContextType;
use rekey_engine::config::{CHECKSUM_SECRET_VARIABLE, STORE_TOKEN_VARIABLE};
use rekey_engine::{Config, Engine};
use zeroize::Zeroizing;

use crate::host;
use crate::request::Request;
use crate::worker::{Callback, Worker};

/// How often the engine is told that time passed.
const TICK: Duration = Duration::from_millis(100);

pub(crate) struct Root {
    id: u32,
    /// None until a configuration was accepted.
    worker: Option<Rc<Worker>>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Self {
        Self { id, worker: None }
    }
}

impl RootContext for Root {
    /// Runs in every worker, and before that in a canary that is thrown away:
    /// so it only checks and defines, and starts nothing.
    fn on_configure(&mut self, _size: usize) -> bool {
        let json = host::plugin_configuration();
        let secret = variable(CHECKSUM_SECRET_VARIABLE);
        let token = variable(STORE_TOKEN_VARIABLE);
        let secret = secret.as_ref().map(|text| text.as_str());
        let token = token.as_ref().map(|text| text.as_str());
        match Config::load(&json, secret, token) {
            Ok(config) => {
                if config.store_token.is_none() {
                    log::warn!(
                        "{STORE_TOKEN_VARIABLE} is not set: calls to the key store bear no token, \
                         which is right only where mTLS does its work"
                    );
                }
                self.worker = Some(Rc::new(Worker::new(self.id, Engine::new(config))));
                host::set_tick_period(TICK);
                true
            }
            Err(error) => {
                // Nothing else of the reason reaches the operator.
                log::error!("rekey: the configuration is refused: {error}");
                false
            }
        }
    }

    fn on_tick(&mut self) {
        if let Some(worker) = &self.worker {
            worker.handle(Callback::Root, |engine, env| engine.on_tick(env));
        }
    }

    fn on_queue_ready(&mut self, queue: u32) {
        host::empty_queue(queue);
        if let Some(worker) = &self.worker {
            worker.handle(Callback::Root, |engine, env| engine.on_root(env));
        }
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(id, self.worker.clone())))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _: usize) {
        if let Some(worker) = &self.worker {
            worker.call_done(token, headers, body);
        }
    }

    fn on_done(&mut self) -> bool {
        // The host's timer would outlive the context.
        host::set_tick_period(Duration::ZERO);
        true
    }
}

/// A variable that the operator let through by `host_env_keys`.
fn variable(name: &str) -> Option<Zeroizing<String>> {
    std::env::var(name).ok().map(Zeroizing::new)
}
