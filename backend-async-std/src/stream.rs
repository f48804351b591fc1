//! Streams that speak futures-io: bytes that are read and written, and a last word to the peer.

use std::any::Any;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use bellwire_core::backend::Transport;
use futures_io::{AsyncRead, AsyncWrite};

/// A stream that speaks futures-io.
#[derive(Debug)]
pub struct Stream<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match slices {
            [slice] => Pin::new(&mut self.0).poll_write(cx, slice),
            _ => Pin::new(&mut self.0).poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(&self.0) {
            Some(result) => Poll::Ready(result),
            None => Pin::new(&mut self.0).poll_close(cx),
        }
    }
}

/// The sockets of async-io and of async-std do not tell the peer when they are closed by `poll_close`, only when they
/// are dropped. They are told here. `None` for all other streams.
fn shutdown(stream: &dyn Any) -> Option<io::Result<()>> {
    if let Some(tcp) = stream.downcast_ref::<Async<std::net::TcpStream>>() {
        return Some(tcp.get_ref().shutdown(Shutdown::Write));
    }
    #[cfg(unix)]
    if let Some(unix) = stream.downcast_ref::<Async<std::os::unix::net::UnixStream>>() {
        return Some(unix.get_ref().shutdown(Shutdown::Write));
    }
    #[cfg(feature = "async-std")]
    if let Some(tcp) = stream.downcast_ref::<::async_std::net::TcpStream>() {
        return Some(tcp.shutdown(Shutdown::Write));
    }
    #[cfg(all(feature = "async-std", unix))]
    if let Some(unix) = stream.downcast_ref::<::async_std::os::unix::net::UnixStream>() {
        return Some(unix.shutdown(Shutdown::Write));
    }
    None
}
