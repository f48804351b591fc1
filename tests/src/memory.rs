//! A transport in memory: what somebody may write who has no socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bellwire::blocking::Stream;

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

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
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

impl Stream for MemoryEnd {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let [timeout, _] = *self.timeouts();
        let mut state = self.input.wait(timeout, |state| !state.bytes.is_empty() || state.ended || state.unread)?;
        let count = state.bytes.read(buffer)?;
        drop(state);
        self.input.changed.notify_all();
        Ok(count)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let [_, timeout] = *self.timeouts();
        let capacity = self.output.capacity;
        let ready = |state: &State| state.bytes.len() < capacity || state.ended || state.unread;
        let mut state = self.output.wait(timeout, ready)?;
        if state.ended || state.unread {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(capacity - state.bytes.len());
        state.bytes.extend(&bytes[..count]);
        drop(state);
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.output.changed.notify_all();
        Ok(count)
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&slices.iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>())
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
