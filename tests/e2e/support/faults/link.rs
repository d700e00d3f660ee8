//! A long way between a client and a gateway: every byte arrives late, and only
//! so many are under way at a time, so that a sender feels the distance as it
//! would on a real line.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

/// Bytes that may be under way in one direction.
const WINDOW: usize = 64 * 1024;
/// What the sockets beside the line hold; small, so that the line is what counts.
const SOCKET_BUFFER: usize = 32 * 1024;

/// The line; connections that are open outlive it.
pub(crate) struct Link {
    address: SocketAddr,
}

impl Link {
    /// A line to `target` with this round-trip time.
    pub(crate) fn start(target: SocketAddr, round_trip: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            while let Ok((near, _)) = listener.accept() {
                let Ok(far) = TcpStream::connect(target) else {
                    continue;
                };
                let _ = SockRef::from(&far).set_recv_buffer_size(SOCKET_BUFFER);
                let _ = SockRef::from(&near).set_send_buffer_size(SOCKET_BUFFER);
                let (near, far) = (Arc::new(near), Arc::new(far));
                for (from, to) in [(&near, &far), (&far, &near)] {
                    carry(from.clone(), to.clone(), round_trip / 2);
                }
            }
        });
        Self { address }
    }

    /// Where clients connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Default)]
struct Line {
    way: Mutex<Way>,
    changed: Condvar,
}

#[derive(Default)]
struct Way {
    /// When a piece arrives, and the piece; an empty one is the end.
    pieces: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes that were sent and not confirmed; when each confirmation arrives.
    confirmations: VecDeque<(Instant, usize)>,
    unconfirmed: usize,
}

fn carry(from: Arc<TcpStream>, to: Arc<TcpStream>, delay: Duration) {
    let line = Arc::new(Line::default());
    let arriving = line.clone();
    thread::spawn(move || deliver(&arriving, &to, delay));
    thread::spawn(move || {
        loop {
            wait_for_room(&line);
            let mut piece = vec![0; 16 * 1024];
            let read = (&*from).read(&mut piece).unwrap_or_default();
            piece.truncate(read);
            let mut way = line.way.lock().unwrap();
            way.unconfirmed += read;
            way.pieces.push_back((Instant::now() + delay, piece));
            line.changed.notify_all();
            if read == 0 {
                return;
            }
        }
    });
}

fn wait_for_room(line: &Line) {
    let mut way = line.way.lock().unwrap();
    loop {
        let now = Instant::now();
        while let Some((at, bytes)) = way.confirmations.front().copied()
            && at <= now
        {
            way.confirmations.pop_front();
            way.unconfirmed -= bytes;
        }
        if way.unconfirmed < WINDOW {
            return;
        }
        let next = way.confirmations.front().map(|(at, _)| *at - now);
        way = match next {
            Some(wait) => line.changed.wait_timeout(way, wait).unwrap().0,
            None => line.changed.wait(way).unwrap(),
        };
    }
}

fn deliver(line: &Line, mut to: &TcpStream, delay: Duration) {
    loop {
        let way = line.way.lock().unwrap();
        let mut way = line
            .changed
            .wait_while(way, |way| way.pieces.is_empty())
            .unwrap();
        let Some((at, piece)) = way.pieces.pop_front() else {
            continue;
        };
        drop(way);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        if piece.is_empty() || to.write_all(&piece).is_err() {
            let _ = to.shutdown(Shutdown::Write);
            return;
        }
        let confirmed = (Instant::now() + delay, piece.len());
        line.way.lock().unwrap().confirmations.push_back(confirmed);
        line.changed.notify_all();
    }
}
