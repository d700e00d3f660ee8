//! A steady load of old and new keys through gateways, each answer judged.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::anyhow;

use super::{Answer, Book, Connection, Key, Verdict, get};

/// Connections of one thread: enough to reach all workers of a gateway.
const CONNECTIONS: usize = 4;
/// Half of the requests are with one of the so many latest entries of the book:
/// those are the keys that have just died, and their successors.
const RECENT: usize = 12;
/// So many wrong answers are kept in words.
const TOLD: usize = 20;

/// How hard the gateways are worked.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Threads for each gateway.
    pub threads: usize,
    /// The pause of a thread between two requests.
    pub pause: Duration,
}

impl Pace {
    /// A thousand requests a second, more or less, through three gateways.
    pub const STEADY: Self = Self {
        threads: 2,
        pause: Duration::from_millis(5),
    };
}

/// What is not as it must be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// Dead keys that were accepted (I2).
    pub accepted_dead: u64,
    /// Live keys that got a 401.
    pub refused_alive: u64,
    /// Answers that are documented for no such request.
    pub odd: u64,
    /// The first of them in words.
    pub told: Vec<String>,
}

/// The 503s of one gateway.
#[derive(Debug, Clone, Copy)]
pub struct Unavailable {
    /// How many.
    pub count: u64,
    /// When the first one was received.
    pub first: Instant,
    /// When the request of the last one was sent.
    pub last: Instant,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// 200s.
    pub served: u64,
    /// 401s.
    pub refused: u64,
    /// Requests without an answer: they were under way when their key died.
    pub cut: u64,
    /// Requests without an answer: the gateway had gone.
    pub broken: u64,
    /// What must not be.
    pub faults: Faults,
    /// The 503s, by gateway.
    pub unavailable: BTreeMap<SocketAddr, Unavailable>,
}

impl Tally {
    /// All 503s together.
    pub fn unavailable_count(&self) -> u64 {
        self.unavailable.values().map(|some| some.count).sum()
    }

    pub(super) fn add(&mut self, gateway: SocketAddr, key: &Key, answer: &Answer) {
        let verdict = key.judge(answer);
        let faults = &mut self.faults;
        match verdict {
            Verdict::AcceptedDead => faults.accepted_dead += 1,
            Verdict::RefusedAlive => faults.refused_alive += 1,
            Verdict::Odd => faults.odd += 1,
            Verdict::Unavailable => {
                let new = Unavailable {
                    count: 1,
                    first: answer.received,
                    last: answer.sent,
                };
                self.add_unavailable(gateway, new);
                return;
            }
            Verdict::Right if answer.status == 200 => {
                self.served += 1;
                return;
            }
            Verdict::Right => {
                self.refused += 1;
                return;
            }
        }
        if faults.told.len() < TOLD {
            // No key in it: a failing test is shown to everybody.
            let (status, user) = (answer.status, &key.user);
            let body = &answer.body;
            let told = format!("{gateway}: a key of {user}: {verdict:?}: {status} {body}");
            faults.told.push(told);
        }
    }

    /// No answer came to a request of that moment, and none will.
    fn add_silence(&mut self, key: &Key, sent: Instant) {
        if key.may_be_cut(sent, Instant::now()) {
            self.cut += 1;
        } else {
            self.broken += 1;
        }
    }

    fn add_unavailable(&mut self, gateway: SocketAddr, new: Unavailable) {
        let known = self.unavailable.entry(gateway);
        let known = known.or_insert(Unavailable { count: 0, ..new });
        known.count += new.count;
        known.first = known.first.min(new.first);
        known.last = known.last.max(new.last);
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.cut += other.cut;
        self.broken += other.broken;
        self.faults.accepted_dead += other.faults.accepted_dead;
        self.faults.refused_alive += other.faults.refused_alive;
        self.faults.odd += other.faults.odd;
        self.faults.told.extend(other.faults.told);
        for (gateway, unavailable) in other.unavailable {
            self.add_unavailable(gateway, unavailable);
        }
    }
}

/// A load that runs until it is ended.
#[derive(Debug)]
pub struct Traffic {
    ended: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

impl Traffic {
    /// Asks these gateways with the keys of the book, with threads of its own
    /// for each, so that a gateway that stands still holds up nobody else.
    ///
    /// # Errors
    /// The machine has no more threads.
    pub fn start(
        gateways: impl IntoIterator<Item = SocketAddr>,
        book: &Book,
        pace: Pace,
    ) -> io::Result<Self> {
        let mut traffic = Self {
            ended: Arc::default(),
            threads: Vec::new(),
        };
        for gateway in gateways {
            for _ in 0..pace.threads {
                traffic.begin(gateway, book, pace)?;
            }
        }
        Ok(traffic)
    }

    fn begin(&mut self, gateway: SocketAddr, book: &Book, pace: Pace) -> io::Result<()> {
        let seed = self.threads.len() as u64 + 1;
        let mut client = Client {
            gateway,
            book: book.clone(),
            pause: pace.pause,
            random: fastrand::Rng::with_seed(seed),
            tally: Tally::default(),
        };
        let ended = Arc::clone(&self.ended);
        let thread = thread::Builder::new().spawn(move || {
            client.work_until(&ended);
            client.tally
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends it and says what came of it.
    ///
    /// # Errors
    /// One of its threads panicked.
    pub fn end(self) -> anyhow::Result<Tally> {
        self.ended.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for thread in self.threads {
            let part = thread.join();
            tally.merge(part.map_err(|_| anyhow!("a thread of the load panicked"))?);
        }
        Ok(tally)
    }
}

/// One thread's work.
struct Client {
    gateway: SocketAddr,
    book: Book,
    pause: Duration,
    random: fastrand::Rng,
    tally: Tally,
}

impl Client {
    fn work_until(&mut self, ended: &AtomicBool) {
        let mut connections: Vec<_> = (0..CONNECTIONS)
            .map(|_| Connection::to(self.gateway))
            .collect();
        for turn in 0.. {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let connection = connections.get_mut(turn % CONNECTIONS);
            if let (Some(key), Some(connection)) = (self.draw(), connection) {
                let sent = Instant::now();
                match connection.exchange(&get(&key.text)) {
                    Ok(answer) => self.tally.add(self.gateway, &key, &answer),
                    Err(_) => self.tally.add_silence(&key, sent),
                }
            }
            thread::sleep(self.pause);
        }
    }

    fn draw(&mut self) -> Option<Arc<Key>> {
        let all = self.book.len();
        let most = if self.random.bool() {
            RECENT.min(all)
        } else {
            all
        };
        (most > 0)
            .then(|| self.random.usize(..most))
            .and_then(|age| self.book.recent(age))
    }
}
