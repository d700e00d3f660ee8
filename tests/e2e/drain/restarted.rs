//! A restart of one of two gateways under load, by clients who pick a gateway
//! as a load balancer does: what fails must have been safe to repeat, and the
//! client must have been able to see that.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use rekey_testbed::http1::{Head, Message};
use rekey_testbed::{FleetOptions, Shutdown};

use super::{NOTICE, SOON, health};
use crate::support::client::SCRAPE;
use crate::support::fleet::{self, eventually};

/// Clients, each with so many requests a second.
const CLIENTS: u32 = 10;
const PER_SECOND: u32 = 10;
/// How long a request takes, so that some are always open.
const UPLOAD: Duration = Duration::from_millis(50);
/// How often a load balancer asks for the health.
const CHECK: Duration = Duration::from_millis(50);
/// Requests that each gateway serves before the restart, and the restarted one
/// after it.
const ENOUGH: u32 = 150;

/// What the load balancer knows of a gateway.
struct Backend {
    address: SocketAddr,
    healthy: AtomicBool,
    served: AtomicU32,
}

/// What all clients saw.
struct Load {
    backends: [Backend; 2],
    over: AtomicBool,
    /// Nothing had been sent.
    safe: AtomicU32,
    /// Something had, and no answer came, or not a good one.
    lost: Mutex<Vec<String>>,
}

impl Load {
    fn check_health(&self) {
        while !self.over.load(Relaxed) {
            for backend in &self.backends {
                let healthy = health(backend.address) == Some(200);
                backend.healthy.store(healthy, Relaxed);
            }
            thread::sleep(CHECK);
        }
    }

    /// One client: the even ones keep their connections.
    fn client(&self, number: u32, request: &str) {
        let mut kept = [None, None];
        let mut turn = number as usize;
        // Not all at once: some request is open at any moment.
        let mut due = Instant::now() + Duration::from_secs(1) / PER_SECOND / CLIENTS * number;
        while !self.over.load(Relaxed) {
            due += Duration::from_secs(1) / PER_SECOND;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            turn += 1;
            let picked = [turn % 2, (turn + 1) % 2]
                .into_iter()
                .find(|backend| self.backends[*backend].healthy.load(Relaxed));
            let Some(picked) = picked else { continue };
            let Some(stream) = kept[picked]
                .take()
                .filter(is_open)
                .or_else(|| self.connect(picked))
            else {
                continue;
            };
            match exchange(&stream, request) {
                Ok(answer) => {
                    self.backends[picked].served.fetch_add(1, Relaxed);
                    let closes = answer.header("connection") == Some("close");
                    if !closes && number.is_multiple_of(2) {
                        kept[picked] = Some(stream);
                    }
                }
                Err(why) => self.lost.lock().unwrap().push(format!("{picked}: {why}")),
            }
        }
    }

    fn connect(&self, picked: usize) -> Option<TcpStream> {
        match TcpStream::connect(self.backends[picked].address) {
            Ok(stream) => return Some(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                self.safe.fetch_add(1, Relaxed);
            }
            Err(error) => self.lost.lock().unwrap().push(error.to_string()),
        }
        None
    }

    fn until_served(&self, backend: usize) {
        let served = &self.backends[backend].served;
        let before = served.load(Relaxed);
        eventually("more requests", || {
            (served.load(Relaxed) - before >= ENOUGH).then_some(())
        });
    }
}

/// Whether the peer has not closed it: nothing is sent on one that has.
fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let peeked = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn exchange(mut stream: &TcpStream, request: &str) -> Result<Head, String> {
    stream.set_read_timeout(Some(SOON)).unwrap();
    let (head, body) = request.split_at(request.len() - 1);
    let mut send = |part: &str| {
        let sent = stream.write_all(part.as_bytes());
        sent.map_err(|error| format!("sending: {error}"))
    };
    send(head)?;
    thread::sleep(UPLOAD);
    send(body)?;
    let answer = Message::read(stream, &mut Vec::new(), Head::of_answer);
    let answer = answer.unwrap().ok_or("no answer")?;
    match answer.head.status {
        200 => Ok(answer.head),
        status => Err(format!(
            "{status}: {}",
            String::from_utf8_lossy(answer.body())
        )),
    }
}

#[test]
fn a_restart_of_one_of_two_gateways_loses_nothing() {
    let options = FleetOptions {
        gateways: 2,
        shutdown: Shutdown::Drain {
            notice: NOTICE,
            grace: SOON,
        },
        ..FleetOptions::default()
    };
    let mut fleet = fleet::start(options);
    let key = fleet.user().api_key;
    let request = format!(
        "POST {SCRAPE} HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer {key}\r\n\
         content-length: 4\r\n\r\nbody"
    );
    let backend = |number: usize| Backend {
        address: fleet.gateways[number].address(),
        healthy: AtomicBool::new(true),
        served: AtomicU32::new(0),
    };
    let load = Load {
        backends: [backend(0), backend(1)],
        over: AtomicBool::new(false),
        safe: AtomicU32::new(0),
        lost: Mutex::default(),
    };
    thread::scope(|scope| {
        scope.spawn(|| load.check_health());
        for number in 0..CLIENTS {
            let (load, request) = (&load, &request);
            scope.spawn(move || load.client(number, request));
        }
        load.until_served(0);
        load.until_served(1);
        let restarted = fleet.gateways[0].restart();
        load.until_served(0);
        load.over.store(true, Relaxed);
        restarted.unwrap();
    });
    let served = load
        .backends
        .each_ref()
        .map(|backend| backend.served.load(Relaxed));
    let lost = load.lost.lock().unwrap();
    println!(
        "{served:?} served, {} refused, {} lost",
        load.safe.load(Relaxed),
        lost.len()
    );
    assert!(lost.is_empty(), "{lost:#?}");
    fleet.assert_no_trap();
}
