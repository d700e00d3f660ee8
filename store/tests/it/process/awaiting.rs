//! Waiting for what another process brings about: for a condition, never for a time.

use std::time::{Duration, Instant};

use rekey_protocol::Digest;

use super::{PATIENCE, Store};

/// Polls for a condition that another process brings about.
pub(crate) fn await_some<T>(mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Store {
    /// Returns when the key's revocation is on disk.
    pub(crate) fn await_revoked(&self, key: &Digest) {
        await_some(|| {
            let state = &self.resolve(key).json()["state"];
            (state == "revoked").then_some(())
        });
    }

    /// Returns when the key may be rotated.
    pub(crate) fn await_allowed(&self, key: &Digest) {
        await_some(|| {
            let wait = &self.resolve(key).json()["rotation_allowed_in"];
            (wait == 0).then_some(())
        });
    }

    /// Returns when so many requests lie unread on connections to the gateway listener,
    /// as they do while the process stands still.
    pub(crate) fn await_unread(&self, count: usize) {
        let port = self.url.rsplit(':').next().unwrap();
        let port: u16 = port.parse().unwrap();
        await_some(|| {
            let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
            let unread = sockets.lines().filter(|line| is_unread(line, port));
            (unread.count() >= count).then_some(())
        });
    }
}

/// Whether a line of proc_net_tcp(5) is a connection at this local port with bytes that
/// its process has not read.
fn is_unread(line: &str, local: u16) -> bool {
    const ESTABLISHED: &str = "01";
    let mut fields = line.split_whitespace().skip(1);
    let (here, state) = (fields.next(), fields.nth(1));
    let (Some(here), Some(queues)) = (here, fields.next()) else {
        return false;
    };
    let unread = queues.split_once(':').map(|(_, unread)| unread);
    here.ends_with(&format!(":{local:04X}"))
        && state == Some(ESTABLISHED)
        && unread.is_some_and(|unread| u64::from_str_radix(unread, 16).unwrap_or(0) > 0)
}
