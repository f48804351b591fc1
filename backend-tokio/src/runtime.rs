//! What tokio has to offer: tasks, sockets, bytes that are read and written, and one sleep.

use std::io::{self, ErrorKind, IoSlice, Write as _};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bellwire_core::backend::{self as task, Adopt, Resolve, Runtime, Sockets};
use bellwire_core::proto::Time;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, ToSocketAddrs, lookup_host};
use tokio::task::{unconstrained, yield_now};
use tokio::time::{Instant, Sleep, sleep_until};

/// The runtime that is current where a server or a client is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokio;

impl Tokio {
    /// Takes a TCP connection over that somebody else has accepted, without Nagle's delay (`TCP_NODELAY`). For backends.
    #[doc(hidden)]
    pub fn adopt_tcp(stream: TcpStream) -> Tcp {
        without_delay(stream)
    }
}

impl Runtime for Tokio {
    type Timer = Timer;
    type Listener = TcpListener;
    type Stream = Tcp;

    fn timer(&self) -> Timer {
        Timer { start: Instant::now(), sleep: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn bind(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(addr).await
    }

    fn local_addr(&self, listener: &TcpListener) -> io::Result<SocketAddr> {
        listener.local_addr()
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = listener.accept().await?;
        Ok((without_delay(stream), Some(peer)))
    }

    async fn connect(&self, addr: SocketAddr, sockets: &Sockets) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let stream = match sockets.open(addr)? {
            None => without_delay(TcpStream::connect(addr).await?),
            Some(socket) => {
                socket.set_nonblocking(true)?;
                Tcp(TcpSocket::from_std_stream(socket).connect(addr).await?)
            }
        };
        let peer = stream.0.peer_addr().ok();
        Ok((stream, peer))
    }

    fn unix_time() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn print(line: &str) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl<A: ToSocketAddrs> Resolve<A> for Tokio {
    async fn resolve(&self, addr: A) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(addr).await?.collect())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Adopt<S> for Tokio {
    type Transport = Stream<S>;

    fn adopt(&self, stream: S) -> Stream<S> {
        Stream(stream)
    }
}

fn without_delay(stream: TcpStream) -> Tcp {
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    Tcp(stream)
}

/// A TCP stream of tokio's. It is tried before it is polled, which costs less: a task has its own bounds for what it does
/// at once, and needs no budget.
#[derive(Debug)]
pub struct Tcp(TcpStream);

/// Whether a read that leaves room shows that there is no more: the system tells of what comes then. As in tokio's own
/// `poll_read`.
#[allow(unexpected_cfgs)]
const TELLS_OF_NEWS: bool = cfg!(all(
    any(target_os = "linux", target_os = "android", target_vendor = "apple"),
    not(mio_unsupported_force_poll_poll)
));

impl Tcp {
    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        let result = self.0.try_io(Interest::READABLE, || {
            count = self.0.try_read(buffer)?;
            // So tokio need not ask again to know that there is nothing.
            let is_drained = TELLS_OF_NEWS && (1..buffer.len()).contains(&count);
            if is_drained { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        if count > 0 { Ok(count) } else { result.map(|()| 0) }
    }
}

impl task::Transport for Tcp {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.try_read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.0.poll_read_ready(cx))?,
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        loop {
            let result = match slices {
                [slice] => self.0.try_write(slice),
                _ => self.0.try_write_vectored(slices),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.0.poll_write_ready(cx))?,
                result => return Poll::Ready(result),
            }
        }
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A stream of tokio's that somebody else has made.
#[derive(Debug)]
pub struct Stream<S>(S);

impl<S: AsyncRead + AsyncWrite + Unpin> task::Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.0);
        match slices {
            [slice] => stream.poll_write(cx, slice),
            // Streams that cannot write several at once would write the first, and that as a record or a frame of its own.
            [first, ..] if !stream.is_write_vectored() && first.len() < JOINED => {
                stream.poll_write(cx, &joined(slices))
            }
            [first, ..] if !stream.is_write_vectored() => stream.poll_write(cx, first),
            _ => stream.poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// So many bytes are copied together for a stream that takes one slice at a time.
const JOINED: usize = 16 * 1024;

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(slices.iter().map(|slice| slice.len()).sum::<usize>().min(JOINED));
    for slice in slices {
        let room = JOINED - joined.len();
        joined.extend_from_slice(slice.get(..room).unwrap_or(slice));
    }
    joined
}

/// Tokio's clock and sleep: its clock, so that tests may pause it.
#[derive(Debug)]
pub struct Timer {
    start: Instant,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl task::Timer for Timer {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn set(&mut self, deadline: Time) {
        match (self.start.checked_add(deadline.since_start()), &mut self.sleep) {
            (Some(instant), Some(sleep)) => sleep.as_mut().reset(instant),
            (Some(instant), None) => self.sleep = Some(Box::pin(sleep_until(instant))),
            (None, _) => self.sleep = None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        // Outside of tokio's budget: with it, a sleep that was not even looked at would seem to be pending.
        pin!(unconstrained(sleep.as_mut())).poll(cx)
    }

    /// A task that wakes itself is polled up to 61 times before tokio asks the system what has arrived. Its own
    /// `yield_now` wakes the task after that, when it is polled first.
    fn yield_now(&mut self, cx: &mut Context<'_>) {
        if pin!(yield_now()).poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use bellwire_core::backend::Transport as _;

    use super::*;

    /// Takes one slice at a time, and notes each write.
    #[derive(Default)]
    struct OneByOne(Vec<Vec<u8>>);

    impl AsyncRead for OneByOne {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for OneByOne {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_stream_that_takes_one_slice_at_a_time_gets_small_ones_together() {
        let (small, large) = (vec![1; 1000], vec![2; 2 * JOINED]);
        for (slices, expected) in [
            (vec![&small; 3], small.repeat(3)),
            (vec![&small, &large], [&small[..], &large[..JOINED - 1000]].concat()),
            (vec![&large, &small], large.clone()),
        ] {
            let slices: Vec<_> = slices.into_iter().map(|slice| IoSlice::new(slice)).collect();
            let mut stream = Stream(OneByOne::default());
            let written = stream.poll_write(&mut Context::from_waker(Waker::noop()), &slices);
            assert!(matches!(written, Poll::Ready(Ok(count)) if count == expected.len()));
            assert!(stream.0.0 == [expected]);
        }
    }
}
