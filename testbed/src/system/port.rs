//! A port that stays with a part of the fleet, through every restart.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context as _;
use socket2::{Domain, Socket, Type};

/// A port on loopback that nobody else gets as long as this value lives.
///
/// The socket that holds it is bound and does not listen. Linux lets another
/// one bind the same port and listen if both have `SO_REUSEADDR`, as servers
/// do, but gives such a port to nobody who asks for any free one, nor to an
/// outgoing connection: without that, a restart would now and then find its
/// port taken.
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _held: Socket,
}

impl Port {
    /// Any free one.
    ///
    /// # Errors
    /// The machine has none left.
    pub fn free() -> anyhow::Result<Self> {
        Self::numbered(0)
    }

    /// This one, or any free one if 0.
    ///
    /// # Errors
    /// It is in use.
    pub fn numbered(port: u16) -> anyhow::Result<Self> {
        let reserve = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
            Ok(socket)
        };
        let held: Socket = reserve().map_err(|error: std::io::Error| {
            anyhow::Error::new(error).context(format!("port {port} cannot be had"))
        })?;
        let address = held.local_addr()?.as_socket();
        Ok(Self {
            address: address.context("a socket without an address")?,
            _held: held,
        })
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_server_listens_on_a_held_port_and_comes_back_to_it() {
        let port = Port::free().unwrap();
        for _ in 0..2 {
            // The standard library's listeners have SO_REUSEADDR.
            let server = TcpListener::bind(port.address()).unwrap();
            let mut client = TcpStream::connect(port.address()).unwrap();
            let (mut served, _) = server.accept().unwrap();
            served.write_all(b"x").unwrap();
            client.read_exact(&mut [0]).unwrap();
            // Closed first by the server: its side stays in TIME_WAIT.
        }
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_refused_by_number() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let error = Port::numbered(number).unwrap_err();
        assert!(error.to_string().contains(&number.to_string()), "{error:#}");
    }

    #[test]
    fn nobody_else_gets_it() {
        let held: Vec<_> = (0..200).map(|_| Port::free().unwrap()).collect();
        let mut numbers: Vec<_> = held.iter().map(|port| port.address().port()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), held.len());
    }
}
