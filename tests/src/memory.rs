//! A transport in memory: what somebody may write who has no socket. For threads, and for tasks that speak
//! futures-io.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use bellwire::blocking::Stream;
use futures_io::{AsyncRead, AsyncWrite};

use crate::PATIENCE;

/// One end of a pair of pipes.
#[derive(Debug)]
pub struct MemoryEnd {
    input: Arc<Pipe>,
    output: Arc<Pipe>,
    timeouts: Mutex<[Option<Duration>; 2]>,
    writes: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Pipe {
    state: Mutex<State>,
    changed: Condvar,
    capacity: usize,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more comes.
    ended: bool,
    /// Nobody reads any more.
    unread: bool,
    /// Which tasks wait for a change.
    wakers: Vec<Waker>,
}

impl MemoryEnd {
    /// Two ends, between which `capacity` bytes fit in each direction.
    pub fn pair(capacity: usize) -> (Self, Self) {
        let pipe = || Arc::new(Pipe { state: Mutex::default(), changed: Condvar::new(), capacity });
        let (there, back) = (pipe(), pipe());
        let end = |input: &Arc<Pipe>, output: &Arc<Pipe>| Self {
            input: input.clone(),
            output: output.clone(),
            timeouts: Mutex::new([Some(PATIENCE); 2]),
            writes: Arc::default(),
        };
        (end(&back, &there), end(&there, &back))
    }

    /// How many writes were made here.
    pub fn writes(&self) -> Arc<AtomicUsize> {
        self.writes.clone()
    }

    fn timeouts(&self) -> MutexGuard<'_, [Option<Duration>; 2]> {
        self.timeouts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let wakers = mem::take(&mut state.wakers);
        drop(state);
        self.changed.notify_all();
        wakers.into_iter().for_each(Waker::wake);
        result
    }

    /// Ready when `ready`; otherwise the task is woken by the next change.
    fn poll(&self, cx: &Context<'_>, ready: impl Fn(&State) -> bool) -> Poll<()> {
        let mut state = self.lock();
        if ready(&state) {
            return Poll::Ready(());
        }
        state.wakers.push(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until `ready`.
    fn wait(&self, timeout: Option<Duration>, ready: impl Fn(&State) -> bool) -> io::Result<MutexGuard<'_, State>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let mut state = self.lock();
        while !ready(&state) {
            let left = match deadline {
                None => PATIENCE,
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            };
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }
}

impl State {
    fn is_readable(&self) -> bool {
        !self.bytes.is_empty() || self.ended || self.unread
    }

    fn is_writable(&self, capacity: usize) -> bool {
        self.bytes.len() < capacity || self.ended || self.unread
    }
}

impl MemoryEnd {
    /// Reads what is there.
    fn get(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.change(|state| state.bytes.read(buffer))
    }

    /// Writes what fits.
    fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        let capacity = self.output.capacity;
        self.output.change(|state| {
            if state.ended || state.unread {
                return Err(ErrorKind::BrokenPipe.into());
            }
            self.writes.fetch_add(1, Ordering::Relaxed);
            let count = bytes.len().min(capacity - state.bytes.len());
            state.bytes.extend(&bytes[..count]);
            Ok(count)
        })
    }
}

fn joined(slices: &[IoSlice<'_>]) -> Vec<u8> {
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

impl Stream for MemoryEnd {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let [timeout, _] = *self.timeouts();
        drop(self.input.wait(timeout, State::is_readable)?);
        self.get(buffer)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let [_, timeout] = *self.timeouts();
        drop(self.output.wait(timeout, |state| state.is_writable(self.output.capacity))?);
        self.put(bytes)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        Stream::write(self, &joined(slices))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts()[0] = timeout;
        Ok(())
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.timeouts()[1] = timeout;
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read {
            self.output.change(|state| state.ended = true);
        }
        if how != Shutdown::Write {
            self.input.change(|state| state.unread = true);
        }
        Ok(())
    }
}

impl AsyncRead for MemoryEnd {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(self.input.poll(cx, State::is_readable));
        Poll::Ready(self.get(buffer))
    }
}

impl AsyncWrite for MemoryEnd {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.output.poll(cx, |state| state.is_writable(self.output.capacity)));
        Poll::Ready(self.put(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write(cx, &joined(slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Stream::shutdown(&*self, Shutdown::Write))
    }
}

// As the other end of a test.
impl Read for MemoryEnd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Stream::read(self, buffer)
    }
}

impl Write for MemoryEnd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Stream::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for MemoryEnd {
    fn drop(&mut self) {
        let _ = Stream::shutdown(self, Shutdown::Both);
    }
}
