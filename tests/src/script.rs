//! A transport that plays the other end of a conversation by script, and goes wrong where a test wants it to.
//!
//! [`Script`] is the test's side of it, [`Scripted`] the transport: for tokio, for futures-io and for threads. Its
//! calls are counted; at the n-th it does what its [`Fault`] says.

use std::io::{self, Cursor, ErrorKind, IoSlice};
use std::mem;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bellwire::blocking;
use tokio::io::ReadBuf;

use crate::{PATIENCE, Raw};

/// A connection that calls its transport more often than this does not end.
const MAX_CALLS: usize = 100_000;

/// What is asked of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// To read.
    Read,
    /// To write.
    Write,
    /// To send on what it holds back.
    Flush,
    /// To close the sending side.
    Shutdown,
}

/// What goes wrong at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One byte is read or written, though there is more.
    Short,
    /// Not ready, and ready at once.
    NotYet,
    /// Not ready until everything else has been done: see [`Script::release`].
    Late,
    /// Not ready; woken at once, and still not ready; then as [`Late`](Self::Late).
    Spurious,
    /// A signal came.
    Interrupted,
    /// The timeout has passed, says a transport of threads.
    TimedOut,
    /// A read finds the connection reset, anything else finds the pipe broken. So do those that follow.
    Error,
    /// 0 bytes are written.
    Zero,
    /// The peer's bytes end here.
    Eof,
    /// Never ready again.
    Stall,
}

impl Fault {
    /// Whether nobody may notice.
    pub fn is_harmless(self) -> bool {
        match self {
            Self::Short | Self::NotYet | Self::Late | Self::Spurious | Self::Interrupted | Self::TimedOut => true,
            Self::Error | Self::Zero | Self::Eof | Self::Stall => false,
        }
    }
}

/// Something that the peer says, when what is before it was read.
#[derive(Debug, Clone)]
pub struct Line {
    /// When it arrives.
    pub when: When,
    /// What it is.
    pub what: What,
}

/// When something arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    AtOnce,
    /// When so many bytes have come here, not counting an HTTP head.
    Written(usize),
    /// When nothing more comes here.
    Shutdown,
}

/// What the peer says. One read gives at most one of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Bytes.
    Bytes(Vec<u8>),
    /// The 101 that accepts the request that has come here.
    Switching,
    /// Its end.
    End,
}

/// What a peer says by script, and what it was told.
#[derive(Debug, Clone)]
pub struct Script(Arc<Inner>);

/// The transport on which that happens. Dropping it is seen by its [`Script`].
#[derive(Debug)]
pub struct Scripted(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// Which of them is next, and how much of it was read.
    next: (usize, usize),
    /// Whether an HTTP head comes here first.
    head: bool,
    /// Whether the peer sees what was written only when it is flushed.
    holds_back: bool,
    written: Vec<u8>,
    flushed: usize,
    /// The sending side was closed, the reading side, the whole.
    shut: bool,
    deaf: bool,
    dropped: bool,
    calls: Vec<Call>,
    fault: Option<(usize, Fault)>,
    struck: Option<(Call, Fault)>,
    gates: [Gate; 4],
    /// The transport has failed: nothing can be written any more.
    broken: bool,
    /// What was read last was an end.
    over: bool,
    misuse: Vec<&'static str>,
    /// Who waits for the peer.
    reader: Option<Waker>,
    /// Who waits for a release.
    late: Vec<Waker>,
    timeouts: [Option<Duration>; 2],
}

/// What keeps one kind of call from being done.
#[derive(Debug, Clone, Copy, Default)]
enum Gate {
    #[default]
    Open,
    Late,
    Never,
    Eof,
    Error(ErrorKind),
}

/// Why a call is not done.
enum Obstacle {
    Error(ErrorKind),
    /// The peer has said nothing.
    Peer,
    NotYet,
    Late,
    Never,
}

impl Script {
    /// A peer that says these lines in this order.
    pub fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        let state = State { lines: lines.into_iter().collect(), ..State::default() };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// An HTTP head comes first from the other side.
    #[must_use]
    pub fn behind_a_head(self) -> Self {
        self.0.lock().head = true;
        self
    }

    /// The peer sees what was written only when it is flushed: as with TLS.
    #[must_use]
    pub fn holding_back(self) -> Self {
        self.0.lock().holds_back = true;
        self
    }

    /// The `number`-th call, from 0, goes wrong.
    #[must_use]
    pub fn fault(self, number: usize, fault: Fault) -> Self {
        self.0.lock().fault = Some((number, fault));
        self
    }

    /// Reads so many bytes of what comes first, which must have arrived: what somebody read behind a handshake.
    ///
    /// # Panics
    /// If there is less.
    pub fn leftover(&self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        if count > 0 {
            assert!(matches!(self.0.lock().read(&mut bytes), Ok(read) if read == count), "the first line is shorter");
        }
        bytes
    }

    /// The transport, of which there is one.
    pub fn transport(&self) -> Scripted {
        Scripted(self.0.clone())
    }

    /// What was called so far.
    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().calls.clone()
    }

    /// At which call the fault struck, if it has.
    pub fn struck(&self) -> Option<(Call, Fault)> {
        self.0.lock().struck
    }

    /// What the peer has said, as far as it was read.
    pub fn said(&self) -> Vec<u8> {
        let state = self.0.lock();
        let (next, part) = state.next;
        let bytes = |line: &Line| if let What::Bytes(bytes) = &line.what { bytes.clone() } else { Vec::new() };
        let mut said: Vec<u8> = state.lines[..next].iter().flat_map(bytes).collect();
        said.extend(state.lines.get(next).map(bytes).unwrap_or_default().into_iter().take(part));
        said
    }

    /// Whether the peer has said something that has arrived and was not read.
    pub fn has_unread(&self) -> bool {
        self.0.lock().arrived().is_some_and(|bytes| !bytes.is_empty())
    }

    /// What was written.
    pub fn written(&self) -> Vec<u8> {
        self.0.lock().written.clone()
    }

    /// Whether the sending side was closed.
    pub fn is_shut(&self) -> bool {
        self.0.lock().shut
    }

    /// What no transport may be asked: to write when it has failed, to read on behind the end.
    pub fn misuse(&self) -> Vec<&'static str> {
        self.0.lock().misuse.clone()
    }

    /// Waits until the transport is dropped.
    ///
    /// # Panics
    /// If it lives on.
    #[track_caller]
    pub fn wait_for_drop(&self) {
        let alive = |state: &mut State| !state.dropped;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), PATIENCE, alive);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(state.dropped, "the transport is still there");
    }

    /// Whether the transport is dropped.
    pub fn is_dropped(&self) -> bool {
        self.0.lock().dropped
    }

    /// Lets what was late happen: to be called when there is nothing else to do. Says whether there was something.
    pub fn release(&self) -> bool {
        let mut state = self.0.lock();
        for gate in &mut state.gates {
            if let Gate::Late = gate {
                *gate = Gate::Open;
            }
        }
        let late = mem::take(&mut state.late);
        drop(state);
        let some = !late.is_empty();
        late.into_iter().for_each(Waker::wake);
        some
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a call for whoever polls.
    fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        call: Call,
        action: impl FnOnce(&mut State, usize) -> Result<T, Obstacle>,
    ) -> Poll<io::Result<T>> {
        let mut state = self.lock();
        let result = state.enter(call).and_then(|most| action(&mut state, most));
        let mut woken = None;
        let poll = match result {
            Ok(value) => {
                if call != Call::Read && state.arrived().is_some() {
                    woken = state.reader.take();
                }
                Poll::Ready(Ok(value))
            }
            Err(Obstacle::Error(kind)) => Poll::Ready(Err(kind.into())),
            Err(obstacle) => {
                match obstacle {
                    Obstacle::Peer => state.reader = Some(cx.waker().clone()),
                    Obstacle::NotYet => woken = Some(cx.waker().clone()),
                    Obstacle::Late => state.late.push(cx.waker().clone()),
                    Obstacle::Never | Obstacle::Error(_) => {}
                }
                Poll::Pending
            }
        };
        drop(state);
        if let Some(waker) = woken {
            waker.wake();
        }
        poll
    }

    /// Does a call for a thread, which waits.
    fn block<T>(
        &self,
        call: Call,
        timeout: impl Fn(&State) -> Option<Duration>,
        mut action: impl FnMut(&mut State, usize) -> Result<T, Obstacle>,
    ) -> io::Result<T> {
        let start = Instant::now();
        let mut state = self.lock();
        let mut result = state.enter(call).and_then(|most| action(&mut state, most));
        loop {
            match result {
                Ok(value) => {
                    drop(state);
                    self.changed.notify_all();
                    return Ok(value);
                }
                Err(Obstacle::Error(kind)) => return Err(kind.into()),
                Err(_) => {}
            }
            let left = timeout(&state).map_or(PATIENCE, |timeout| timeout.saturating_sub(start.elapsed()));
            if left.is_zero() {
                return Err(ErrorKind::WouldBlock.into());
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            result = state.pass(call).and_then(|()| action(&mut state, usize::MAX));
        }
    }
}

impl State {
    /// Counts a call, and lets the fault strike. Says how many bytes it may be about.
    fn enter(&mut self, call: Call) -> Result<usize, Obstacle> {
        let number = self.calls.len();
        assert!(number < MAX_CALLS, "the connection does not end");
        self.calls.push(call);
        self.check(call != Call::Write || !self.broken, "a write to a transport that has failed");
        self.check(call != Call::Read || !self.over, "a read behind the end");
        let strikes = |&(at, fault): &(usize, Fault)| at == number && can_strike(fault, call);
        let Some((_, fault)) = self.fault.filter(strikes) else {
            return self.pass(call).map(|()| usize::MAX);
        };
        self.struck = Some((call, fault));
        self.strike(call, fault)?;
        self.pass(call).map(|()| if fault == Fault::Short { 1 } else { usize::MAX })
    }

    fn strike(&mut self, call: Call, fault: Fault) -> Result<(), Obstacle> {
        let gate = &mut self.gates[call as usize];
        match fault {
            Fault::Short => {}
            Fault::NotYet => return Err(Obstacle::NotYet),
            Fault::Late => *gate = Gate::Late,
            Fault::Spurious => {
                *gate = Gate::Late;
                return Err(Obstacle::NotYet);
            }
            Fault::Interrupted => return Err(Obstacle::Error(ErrorKind::Interrupted)),
            Fault::TimedOut => return Err(Obstacle::Error(ErrorKind::WouldBlock)),
            Fault::Stall => *gate = Gate::Never,
            Fault::Eof | Fault::Zero => *gate = Gate::Eof,
            Fault::Error if call == Call::Read => {
                *gate = Gate::Error(ErrorKind::ConnectionReset);
                self.gates[Call::Write as usize] = Gate::Error(ErrorKind::BrokenPipe);
            }
            Fault::Error => *gate = Gate::Error(ErrorKind::BrokenPipe),
        }
        Ok(())
    }

    fn pass(&mut self, call: Call) -> Result<(), Obstacle> {
        match self.gates[call as usize] {
            Gate::Open | Gate::Eof => Ok(()),
            Gate::Late => Err(Obstacle::Late),
            Gate::Never => Err(Obstacle::Never),
            Gate::Error(kind) => {
                self.over |= call == Call::Read;
                self.broken |= call != Call::Shutdown;
                Err(Obstacle::Error(kind))
            }
        }
    }

    fn check(&mut self, holds: bool, otherwise: &'static str) {
        if !holds {
            self.misuse.push(otherwise);
        }
    }

    /// What the peer has seen.
    fn seen(&self) -> &[u8] {
        if self.holds_back { &self.written[..self.flushed] } else { &self.written }
    }

    fn is_due(&self, when: When) -> bool {
        match when {
            When::AtOnce => true,
            When::Shutdown => self.shut,
            When::Written(count) => {
                let start = if self.head { behind_head(self.seen()) } else { Some(0) };
                start.is_some_and(|start| self.seen().len() >= start + count)
            }
        }
    }

    /// What has arrived and is next to be read, nothing for the end; `None` if nothing has.
    fn arrived(&mut self) -> Option<&[u8]> {
        if let Gate::Eof = self.gates[Call::Read as usize] {
            return Some(&[]);
        }
        let (next, part) = self.next;
        if !self.is_due(self.lines.get(next)?.when) {
            return None;
        }
        if self.lines[next].what == What::Switching {
            let raw = Raw::server_over(Cursor::new(self.seen().to_vec()));
            self.lines[next].what = What::Bytes(raw.switching(&[]));
        }
        match &self.lines[next].what {
            What::Bytes(bytes) => Some(&bytes[part..]),
            What::End | What::Switching => Some(&[]),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Obstacle> {
        let deaf = self.deaf;
        let Some(bytes) = self.arrived().or(if deaf { Some(&[]) } else { None }) else { return Err(Obstacle::Peer) };
        let (count, whole) = (bytes.len().min(buffer.len()), bytes.len() <= buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        self.over = count == 0;
        if whole && count > 0 {
            self.next = (self.next.0 + 1, 0);
        } else {
            self.next.1 += count;
        }
        Ok(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>], most: usize) -> Result<usize, Obstacle> {
        self.check(!slices.is_empty() && slices.iter().all(|slice| !slice.is_empty()), "a write of nothing");
        if self.shut {
            return Err(Obstacle::Error(ErrorKind::BrokenPipe));
        }
        if let Gate::Eof = self.gates[Call::Write as usize] {
            self.broken = true;
            return Ok(0);
        }
        /// Large messages take more than one write.
        const MOST: usize = 8 * 1024;
        let mut room = most.min(MOST);
        for slice in slices {
            let part = &slice[..slice.len().min(room)];
            self.written.extend_from_slice(part);
            room -= part.len();
        }
        Ok(most.min(MOST) - room)
    }

    fn flush(&mut self) {
        self.flushed = self.written.len();
    }

    fn shut_down(&mut self) {
        self.flush();
        self.shut = true;
    }
}

fn can_strike(fault: Fault, call: Call) -> bool {
    match fault {
        Fault::Short => matches!(call, Call::Read | Call::Write),
        Fault::Zero => call == Call::Write,
        Fault::Eof => call == Call::Read,
        _ => true,
    }
}

/// Where an HTTP head ends.
fn behind_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

impl Scripted {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll(cx, Call::Read, |state, most| {
            let most = most.min(buffer.len());
            state.read(&mut buffer[..most])
        })
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        self.0.poll(cx, Call::Write, |state, most| state.write(slices, most))
    }

    fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx, Call::Flush, |state, _| {
            state.flush();
            Ok(())
        })
    }

    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll(cx, Call::Shutdown, |state, _| {
            state.shut_down();
            Ok(())
        })
    }

    fn set_timeout(&self, call: Call, timeout: Option<Duration>) -> io::Result<()> {
        let mut state = self.0.lock();
        state.check(timeout != Some(Duration::ZERO), "a timeout of zero");
        state.timeouts[call as usize] = timeout;
        Ok(())
    }
}

impl tokio::io::AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Scripted::poll_read(&self, cx, buffer.initialize_unfilled()).map_ok(|count| buffer.advance(count))
    }
}

impl tokio::io::AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Scripted::poll_write(&self, cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Scripted::poll_write(&self, cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Scripted::poll_flush(&self, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Scripted::poll_shutdown(&self, cx)
    }
}

impl futures_io::AsyncRead for Scripted {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        Scripted::poll_read(&self, cx, buffer)
    }
}

impl futures_io::AsyncWrite for Scripted {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Scripted::poll_write(&self, cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Scripted::poll_write(&self, cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Scripted::poll_flush(&self, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Scripted::poll_shutdown(&self, cx)
    }
}

impl blocking::Stream for Scripted {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let timeout = |state: &State| state.timeouts[Call::Read as usize];
        self.0.block(Call::Read, timeout, |state, most| {
            let most = most.min(buffer.len());
            state.read(&mut buffer[..most])
        })
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        blocking::Stream::write_vectored(self, &[IoSlice::new(bytes)])
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let timeout = |state: &State| state.timeouts[Call::Write as usize];
        self.0.block(Call::Write, timeout, |state, most| state.write(slices, most))
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_timeout(Call::Read, timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_timeout(Call::Write, timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Write {
            let mut state = self.0.lock();
            state.deaf = true;
            // What waits for ever need not.
            let gate = &mut state.gates[Call::Read as usize];
            if let Gate::Never = gate {
                *gate = Gate::Eof;
            }
            drop(state);
            self.0.changed.notify_all();
        }
        if how == Shutdown::Read {
            return Ok(());
        }
        self.0.block(
            Call::Shutdown,
            |_| None,
            |state, _| {
                state.shut_down();
                Ok(())
            },
        )
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.0.lock().dropped = true;
        self.0.changed.notify_all();
    }
}
