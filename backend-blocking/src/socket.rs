//! A client's sockets: those of the standard library, and those that the program has set up.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bellwire_core::backend::Sockets;

/// Connects to an address. Without Nagle's delay, unless the program wants it otherwise.
pub(crate) fn connect(sockets: &Sockets, addr: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
    if let Some(socket) = sockets.open(addr)? {
        return connected(socket, addr, timeout);
    }
    let tcp = match timeout {
        Some(timeout) => TcpStream::connect_timeout(&addr, timeout)?,
        None => TcpStream::connect(addr)?,
    };
    // A peer that is gone already is found out soon enough.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

#[cfg(feature = "socket2")]
fn connected(socket: TcpStream, addr: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
    let socket = socket2::Socket::from(socket);
    match timeout {
        Some(timeout) => socket.connect_timeout(&addr.into(), timeout)?,
        None => socket.connect(&addr.into())?,
    }
    Ok(socket.into())
}

/// There is no hook for sockets, or the features do not fit.
#[cfg(not(feature = "socket2"))]
fn connected(_: TcpStream, _: SocketAddr, _: Option<Duration>) -> io::Result<TcpStream> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "turn on the feature `socket2` of bellwire-blocking"))
}
