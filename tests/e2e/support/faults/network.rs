//! A network of its own (Linux's namespaces) with one cable to this one, which
//! can be pulled: packets are lost without a word, as between two machines.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs, process, thread};

use nix::sched::{CloneFlags, setns};

/// A namespace with a cable; it goes when dropped.
pub(crate) struct Network {
    name: String,
    /// This end of the cable.
    cable: String,
    address: Ipv4Addr,
}

impl Network {
    /// Makes one.
    ///
    /// # Errors
    /// Why it cannot be made here: it takes `ip`, and the right to configure
    /// networks.
    pub(crate) fn make() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        // Names of interfaces are short; the addresses are those for
        // documentation and tests of two machines (RFC 2544).
        let id = process::id() % 10_000;
        let (third, fourth) = ((id / 60) % 256, (id % 60) * 4);
        let network = Self {
            name: format!("rk{id}n{number}"),
            cable: format!("rk{id}c{number}"),
            address: Ipv4Addr::new(198, 18, third as u8, fourth as u8 + 2),
        };
        network.set_up(fourth, third)?;
        Ok(network)
    }

    fn set_up(&self, fourth: u32, third: u32) -> Result<(), String> {
        let (name, cable) = (&self.name, &self.cable);
        let (near, far) = (fourth + 1, fourth + 2);
        let peer = format!("{cable}p");
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {cable} type veth peer name {peer} netns {name}"
        ))?;
        ip(&format!("address add 198.18.{third}.{near}/30 dev {cable}"))?;
        ip(&format!("link set {cable} up"))?;
        ip(&format!(
            "-n {name} address add 198.18.{third}.{far}/30 dev {peer}"
        ))?;
        ip(&format!("-n {name} link set {peer} up"))
    }

    /// A listener in it, at a free port; it is reached over the cable.
    pub(crate) fn listen(&self) -> TcpListener {
        let namespace = fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
        let address = SocketAddr::from((self.address, 0));
        // A thread enters a namespace alone and for its whole life; a socket
        // stays where it was made.
        let enter = move || {
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("the namespace can be entered");
            TcpListener::bind(address).expect("a listener in the namespace")
        };
        thread::spawn(enter).join().unwrap()
    }

    /// Pulls the cable at its far end: this side goes on sending, into nothing.
    pub(crate) fn pull(&self) {
        self.far_end("down");
    }

    /// Puts it back.
    pub(crate) fn plug(&self) {
        self.far_end("up");
    }

    fn far_end(&self, state: &str) {
        let (name, cable) = (&self.name, &self.cable);
        ip(&format!("-n {name} link set {cable}p {state}")).unwrap();
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cable goes with the namespace that holds its other end.
        let _ = ip(&format!("link delete {}", self.cable));
        let _ = ip(&format!("netns delete {}", self.name));
    }
}

fn ip(arguments: &str) -> Result<(), String> {
    let run = Command::new("ip").args(arguments.split(' ')).output();
    let output = run.map_err(|error| format!("there is no `ip`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("`ip {arguments}`: {}", why.trim()))
}
