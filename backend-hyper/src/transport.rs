//! What is left of an HTTP connection when it is a WebSocket's: hyper's stream, or the TCP connection under it.

use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll};

use bellwire_core::backend::{self, Adopt, Runtime};
use bellwire_tokio::Tokio;
use bytes::Bytes;
use hyper::upgrade::{Parts, Upgraded};
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;

pub(crate) enum Transport {
    /// Read and written as a server's own: no buffer, no indirection, several slices at once.
    Tcp(<Tokio as Runtime>::Stream),
    /// Boxed: the other one is smaller, and is what nearly all connections are.
    Upgraded(Box<<Tokio as Adopt<TokioIo<Upgraded>>>::Transport>),
}

impl Transport {
    /// Takes the connection over, and returns what hyper has read of it already.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Bytes) {
        // Who serves HTTP/1.1 and HTTP/2 on one port (axum does) has the stream in another stream.
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return (Self::tcp(parts.io), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(Parts { io, read_buf, .. }) => (Self::tcp(io), read_buf),
            Err(upgraded) => (Self::upgraded(upgraded), Bytes::new()),
        }
    }

    /// Keeps hyper's stream, which is one of many in an HTTP/2 connection.
    pub(crate) fn upgraded(upgraded: Upgraded) -> Self {
        Self::Upgraded(Box::new(Tokio.adopt(TokioIo::new(upgraded))))
    }

    fn tcp(io: TokioIo<TcpStream>) -> Self {
        Self::Tcp(Tokio::adopt_tcp(io.into_inner()))
    }
}

impl backend::Transport for Transport {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_read(cx, buffer),
            Self::Upgraded(stream) => stream.poll_read(cx, buffer),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => stream.poll_write(cx, slices),
            Self::Upgraded(stream) => stream.poll_write(cx, slices).map_err(gone),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_flush(cx),
            Self::Upgraded(stream) => stream.poll_flush(cx).map_err(gone),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_shutdown(cx),
            Self::Upgraded(stream) => stream.poll_shutdown(cx).map_err(gone),
        }
    }
}

/// hyper has no kind for what cannot be written any more since the client has reset its stream of HTTP/2, or has left.
fn gone(error: io::Error) -> io::Error {
    match error.get_ref() {
        Some(cause) if cause.is::<hyper::Error>() => io::Error::new(ErrorKind::ConnectionReset, error),
        _ => error,
    }
}
