//! What runtimes that speak futures-io have to offer: tasks, the sockets of async-io, and one sleep.

use std::fmt;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_io::Async;
use async_net::{AsyncToSocketAddrs, resolve};
use bellwire_core::backend::{self as task, Adopt, Resolve, Runtime, Sockets};
use bellwire_core::proto::Time;
use futures_io::{AsyncRead, AsyncWrite};

use crate::socket::connected;
use crate::stream::Stream;

/// What differs between the runtimes that speak futures-io: how connections get a task of their own, and how they
/// sleep.
pub trait Executor: Clone + Send + Sync + 'static {
    /// The clock and the one sleep of a connection: [`Timer`], unless the executor has its own.
    type Timer: task::Timer + Send + 'static;

    /// Makes a timer that counts from now.
    fn timer(&self) -> Self::Timer;

    /// Runs a task to its end, in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// A runtime of an executor and the sockets of async-io, which work on all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct FuturesIo<E>(pub E);

impl<E: Executor> Runtime for FuturesIo<E> {
    type Timer = E::Timer;
    type Listener = Async<TcpListener>;
    type Stream = Stream<Async<TcpStream>>;

    fn timer(&self) -> E::Timer {
        self.0.timer()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(task);
    }

    async fn bind(&self, addr: SocketAddr) -> io::Result<Async<TcpListener>> {
        Async::<TcpListener>::bind(addr)
    }

    fn local_addr(&self, listener: &Async<TcpListener>) -> io::Result<SocketAddr> {
        listener.get_ref().local_addr()
    }

    async fn accept(&self, listener: &Async<TcpListener>) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        let (stream, peer) = listener.accept().await?;
        Ok((without_delay(stream), Some(peer)))
    }

    async fn connect(&self, addr: SocketAddr, sockets: &Sockets) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
        if let Some(socket) = sockets.open(addr)? {
            return Ok((Stream::new(connected(socket, addr).await?), Some(addr)));
        }
        let stream = Async::<TcpStream>::connect(addr).await?;
        let peer = stream.get_ref().peer_addr().ok();
        Ok((without_delay(stream), peer))
    }

    fn unix_time() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn print(line: &str) {
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

impl<E: Executor, A: AsyncToSocketAddrs> Resolve<A> for FuturesIo<E> {
    fn resolve(&self, addr: A) -> impl Future<Output = io::Result<Vec<SocketAddr>>> {
        resolve(addr)
    }
}

impl<E: Executor, S: AsyncRead + AsyncWrite + Unpin + 'static> Adopt<S> for FuturesIo<E> {
    type Transport = Stream<S>;

    fn adopt(&self, stream: S) -> Stream<S> {
        Stream::new(stream)
    }
}

fn without_delay(stream: Async<TcpStream>) -> Stream<Async<TcpStream>> {
    // A peer that is gone already is found out soon enough.
    let _ = stream.get_ref().set_nodelay(true);
    Stream::new(stream)
}

/// async-io's timer, which is that of async-std and of smol.
pub struct Timer {
    start: Instant,
    timer: async_io::Timer,
}

impl Timer {
    /// Makes a timer that counts from now.
    pub fn start() -> Self {
        Self { start: Instant::now(), timer: async_io::Timer::never() }
    }
}

impl task::Timer for Timer {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn set(&mut self, deadline: Time) {
        match self.start.checked_add(deadline.since_start()) {
            Some(instant) => self.timer.set_at(instant),
            None => self.timer = async_io::Timer::never(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.timer).poll(cx).map(drop)
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timer").finish_non_exhaustive()
    }
}
