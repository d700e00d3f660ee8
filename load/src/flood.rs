//! Guessed keys: as many as a gateway refuses, or at a rate that does not wait
//! for its answers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail, ensure};

use rekey_testbed::http1::{Head, WholeHead};

use super::{Connection, get, random_key};

/// Connections of a flood: as many as requests are sent and answered in a few
/// turns.
const CONNECTIONS: usize = 128;
/// Threads and connections of each that find out what a gateway refuses.
const CLOSED_THREADS: usize = 2;
const CLOSED_CONNECTIONS: usize = 16;
/// How often what is due is sent.
const TURN: Duration = Duration::from_millis(1);
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is guessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guess {
    /// No key: too short by a character.
    Malformed,
    /// It could be one. Without a checksum: a gateway asks about it only where
    /// `"checksum"` is `"off"`.
    WellFormed,
}

impl Guess {
    fn request(self, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut key = random_key(random);
        if self == Self::Malformed {
            key.pop();
        }
        get(&key)
    }
}

/// What came of guesses.
#[derive(Debug, Clone, Copy, Default)]
pub struct Refused {
    /// 401s.
    pub refused: u64,
    /// 503s.
    pub unavailable: u64,
}

impl Refused {
    /// Both.
    pub fn all(self) -> u64 {
        self.refused + self.unavailable
    }

    fn add(&mut self, status: u16) -> anyhow::Result<()> {
        match status {
            401 => self.refused += 1,
            503 => self.unavailable += 1,
            // No word of the key.
            _ => bail!("a guess was answered {status}"),
        }
        Ok(())
    }
}

/// How many guesses a second a gateway refuses if each client waits for its
/// answer.
///
/// # Errors
/// A guess was answered otherwise, or a connection broke.
pub fn refused_per_second(
    gateway: SocketAddr,
    guess: Guess,
    lasts: Duration,
) -> anyhow::Result<f64> {
    let began = Instant::now();
    let work = || -> anyhow::Result<Refused> {
        let mut random = fastrand::Rng::new();
        let mut connections: Vec<_> = (0..CLOSED_CONNECTIONS)
            .map(|_| Connection::to(gateway))
            .collect();
        let mut seen = Refused::default();
        while began.elapsed() < lasts {
            for connection in &mut connections {
                connection.send(&guess.request(&mut random))?;
            }
            for connection in &mut connections {
                seen.add(connection.receive()?.status)?;
            }
        }
        Ok(seen)
    };
    let all = thread::scope(|scope| {
        let workers: Vec<_> = (0..CLOSED_THREADS).map(|_| scope.spawn(work)).collect();
        let ended = workers.into_iter().map(joined);
        ended.sum::<anyhow::Result<u64>>()
    })?;
    Ok(all as f64 / began.elapsed().as_secs_f64())
}

fn joined(worker: thread::ScopedJoinHandle<'_, anyhow::Result<Refused>>) -> anyhow::Result<u64> {
    let ended = worker.join();
    Ok(ended.map_err(|_| anyhow!("a guesser panicked"))??.all())
}

/// A flood at a fixed rate, until it is ended.
#[derive(Debug)]
pub struct Flood {
    rate: f64,
    ended: Arc<AtomicBool>,
    sender: JoinHandle<anyhow::Result<Flooded>>,
}

/// What a flood was.
#[derive(Debug, Clone, Copy)]
pub struct Flooded {
    /// All of its answers.
    pub seen: Refused,
    /// From its first request to its last.
    pub lasted: Duration,
}

impl Flood {
    /// Sends so many guesses a second, over as many connections as that takes.
    ///
    /// # Errors
    /// There are no connections or threads.
    pub fn start(gateway: SocketAddr, guess: Guess, rate: f64) -> anyhow::Result<Self> {
        let ended = Arc::<AtomicBool>::default();
        let lanes = (0..CONNECTIONS).map(|_| Lane::open(gateway));
        let lanes: Vec<_> = lanes.collect::<anyhow::Result<_>>().context("a flood")?;
        let over = Arc::clone(&ended);
        let send = move || send_all(lanes, guess, rate, &over).context("a flood");
        Ok(Self {
            rate,
            ended,
            sender: thread::Builder::new().spawn(send)?,
        })
    }

    /// Ends it, and returns when all is answered.
    ///
    /// # Errors
    /// Something was not answered, or otherwise than by a refusal, or the rate was
    /// not held: then nothing was measured.
    pub fn end(self) -> anyhow::Result<Flooded> {
        self.ended.store(true, Ordering::Relaxed);
        let sent = self.sender.join();
        let flooded = sent.map_err(|_| anyhow!("a thread of the flood panicked"))??;
        let held = flooded.seen.all() as f64 / flooded.lasted.as_secs_f64() / self.rate;
        ensure!(
            held > 0.9,
            "only {:.0} % of the flood's rate was held",
            100.0 * held
        );
        Ok(flooded)
    }
}

/// A connection of a flood. It has one request under way at most: of several,
/// Envoy ends it when more than two answers of HTTP/1.1 wait to be written.
struct Lane {
    stream: TcpStream,
    waits: bool,
    held: Vec<u8>,
}

fn send_all(
    mut lanes: Vec<Lane>,
    guess: Guess,
    rate: f64,
    ended: &AtomicBool,
) -> anyhow::Result<Flooded> {
    let mut random = fastrand::Rng::new();
    let began = Instant::now();
    let (mut sent, mut seen) = (0, Refused::default());
    let mut lasted = None;
    loop {
        if ended.load(Ordering::Relaxed) {
            lasted.get_or_insert_with(|| began.elapsed());
        }
        let due = (rate * began.elapsed().as_secs_f64()) as u64;
        for lane in &mut lanes {
            if lane.waits {
                lane.receive(&mut seen)?;
            }
            if !lane.waits && sent < due && lasted.is_none() {
                lane.send(&guess.request(&mut random))?;
                sent += 1;
            }
        }
        if let Some(lasted) = lasted {
            if seen.all() == sent {
                return Ok(Flooded { seen, lasted });
            }
            ensure!(
                began.elapsed() - lasted < PATIENCE,
                "a guess without an answer"
            );
        }
        thread::sleep(TURN);
    }
}

impl Lane {
    fn open(gateway: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(gateway)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            waits: false,
            held: Vec::new(),
        })
    }

    fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        self.waits = true;
        Ok(self.stream.write_all(request)?)
    }

    /// Takes the answer, if it is there.
    fn receive(&mut self, seen: &mut Refused) -> anyhow::Result<()> {
        let mut piece = [0; 4096];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the gateway closed a connection"),
            Ok(read) => self.held.extend(piece.iter().take(read)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if let Some(WholeHead { head, length: at }) = Head::of_answer(&self.held)?
            && self.held.len()
                >= at
                    + head
                        .content_length()
                        .context("an answer without a length")?
        {
            seen.add(head.status)?;
            self.held.clear();
            self.waits = false;
        }
        Ok(())
    }
}
