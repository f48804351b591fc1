//! Streams that speak futures-io: bytes that are read and written, and a last word to the peer.

use std::any::Any;
use std::io::{self, IoSlice};
use std::mem;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use bellwire_core::backend::Transport;
use futures_io::{AsyncRead, AsyncWrite};

/// A stream that speaks futures-io.
#[derive(Debug)]
pub struct Stream<S> {
    stream: S,
    /// The last read came back short: there was no more.
    drained: bool,
}

impl<S> Stream<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, drained: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if mem::take(&mut self.drained) {
            ready!(poll_arrival(&self.stream, cx))?;
        }
        let count = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.drained = (1..buffer.len()).contains(&count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = match slices {
            [slice] => Pin::new(&mut self.stream).poll_write(cx, slice),
            _ => Pin::new(&mut self.stream).poll_write_vectored(cx, slices),
        };
        if let Poll::Ready(Err(_)) = written {
            // What the peer has said meanwhile is to be read now, or never.
            self.drained = false;
        }
        written
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match shutdown(&self.stream) {
            Some(result) => Poll::Ready(result),
            None => Pin::new(&mut self.stream).poll_close(cx),
        }
    }
}

/// Has the reactor call when there is something to read, on the sockets of async-io: it looks at what is there, not only
/// for what is new, so no read has to fail first. Ready for all other streams, which are read to know.
fn poll_arrival(stream: &dyn Any, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    if let Some(tcp) = stream.downcast_ref::<Async<std::net::TcpStream>>() {
        return poll_anew(|| tcp.poll_readable(cx));
    }
    #[cfg(unix)]
    if let Some(unix) = stream.downcast_ref::<Async<std::os::unix::net::UnixStream>>() {
        return poll_anew(|| unix.poll_readable(cx));
    }
    Poll::Ready(Ok(()))
}

/// The first that the reactor says may be of what was read since. It says that once.
fn poll_anew(mut poll: impl FnMut() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
    ready!(poll())?;
    poll()
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::task::Waker;

    use super::*;

    fn pair() -> (Stream<Async<TcpStream>>, TcpStream) {
        let listening = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listening.local_addr().unwrap()).unwrap();
        (Stream::new(Async::new(listening.accept().unwrap().0).unwrap()), peer)
    }

    /// Waits for what the peer has sent, and reads it.
    fn read(stream: &mut Stream<Async<TcpStream>>) -> Vec<u8> {
        let mut buffer = [0; 8];
        let count = async_io::block_on(poll_fn(|cx| stream.poll_read(cx, &mut buffer))).unwrap();
        buffer[..count].to_vec()
    }

    /// Reads without waiting.
    fn read_now(stream: &mut Stream<Async<TcpStream>>) -> Poll<io::Result<usize>> {
        stream.poll_read(&mut Context::from_waker(Waker::noop()), &mut [0; 8])
    }

    #[test]
    fn after_a_short_read_the_reactor_says_what_is_there_each_time_anew() {
        let (mut stream, mut peer) = pair();
        for _ in 0..3 {
            assert!(read_now(&mut stream).is_pending());
            peer.write_all(b"some").unwrap();
            async_io::block_on(stream.stream.readable()).unwrap();
            assert_eq!(read(&mut stream), b"some");
            // It has arrived, but only the reactor is asked, which has last spoken of what was read.
            peer.write_all(b"more").unwrap();
            assert!(read_now(&mut stream).is_pending());
            assert_eq!(read(&mut stream), b"more");
        }
        drop(peer);
        assert_eq!(read(&mut stream), b"");
    }

    #[test]
    fn a_read_that_was_full_is_followed_by_another() {
        let (mut stream, mut peer) = pair();
        peer.write_all(b"8 octets8 octets").unwrap();
        assert_eq!(read(&mut stream), b"8 octets");
        assert!(matches!(read_now(&mut stream), Poll::Ready(Ok(8))));
    }

    #[test]
    fn the_last_words_of_a_peer_that_takes_no_more_are_read_at_once() {
        let (mut stream, mut peer) = pair();
        peer.write_all(b"some").unwrap();
        assert_eq!(read(&mut stream), b"some");
        peer.write_all(b"last").unwrap();
        stream.stream.get_ref().shutdown(Shutdown::Write).unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(matches!(stream.poll_write(cx, &[IoSlice::new(b"word")]), Poll::Ready(Err(_))));
        assert!(matches!(read_now(&mut stream), Poll::Ready(Ok(4))));
    }
}
