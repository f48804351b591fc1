//! What a runtime has to offer: tasks, bytes that are read and written, and one sleep.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use bellwire_core::backend as task;
use bellwire_core::proto::Time;
use futures_io::{AsyncRead, AsyncWrite};

/// A runtime: how connections get a task of their own, and how they sleep. TCP is async-io's, which works on all.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// The clock and the one sleep of a connection: [`Timer`], unless the runtime has its own.
    type Timer: task::Timer + Send + 'static;

    /// A timer that counts from now.
    fn timer(&self) -> Self::Timer;

    /// Runs a task to its end, in the background.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);
}

/// The runtime of async-std, if the feature `async-std` is on.
#[derive(Debug, Clone, Copy, Default)]
pub struct AsyncStd;

#[cfg(feature = "async-std")]
impl Runtime for AsyncStd {
    type Timer = Timer;

    fn timer(&self) -> Timer {
        Timer::start()
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        async_std::task::spawn(task);
    }
}

/// async-io's timer, which is that of async-std and of smol.
pub struct Timer {
    start: Instant,
    timer: async_io::Timer,
}

impl Timer {
    /// A timer that counts from now.
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

/// A stream that speaks futures-io.
pub(crate) struct Transport<S>(pub(crate) S);

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> task::Transport for Transport<S> {
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
    if let Some(tcp) = stream.downcast_ref::<async_std::net::TcpStream>() {
        return Some(tcp.shutdown(Shutdown::Write));
    }
    #[cfg(all(feature = "async-std", unix))]
    if let Some(unix) = stream.downcast_ref::<async_std::os::unix::net::UnixStream>() {
        return Some(unix.shutdown(Shutdown::Write));
    }
    None
}
