//! Sockets that the program has set up, connected without blocking.

use std::io;
use std::net::{SocketAddr, TcpStream};

use async_io::Async;

/// Connects a socket.
#[cfg(feature = "socket2")]
pub(crate) async fn connected(socket: TcpStream, addr: SocketAddr) -> io::Result<Async<TcpStream>> {
    let stream = Async::new(socket)?;
    let Err(error) = socket2::SockRef::from(stream.get_ref()).connect(&addr.into()) else { return Ok(stream) };
    // That it has only begun is an error, too, and not on every system one with a name.
    stream.writable().await?;
    match stream.get_ref().take_error()? {
        Some(error) => Err(error),
        None if stream.get_ref().peer_addr().is_ok() => Ok(stream),
        None => Err(error),
    }
}

/// There is no hook for sockets, or the features do not fit.
#[cfg(not(feature = "socket2"))]
pub(crate) async fn connected(_: TcpStream, _: SocketAddr) -> io::Result<Async<TcpStream>> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "turn on the feature `socket2` of bellwire-async-std"))
}
