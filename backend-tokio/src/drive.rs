//! The loop of a connection's task: reads, writes, and sleeps until the core's deadline.
//!
//! A hand-written future, not an `async fn`: nothing is borrowed across an await, so that the read buffer
//! can belong to the thread, and a task stays small.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bellwire_core::entropy::SystemEntropy;
use bellwire_core::{Config, Connection, Driver, IntoListener, Output, Role, Step, Time};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::{Alarm, Clock};

/// The read buffer of a thread.
const READ_BUFFER: usize = 64 * 1024;

/// The most memory that a thread keeps for output between two turns.
const SPARE_OUTPUT: usize = 64 * 1024;

/// After so many turns others may run. Tokio's own transports ask for that sooner.
const MAX_TURNS: usize = 256;

/// So often completions may send more before the peer is read.
const MAX_WRITES: usize = 8;

/// How many slices leave in one write, and how many bytes: a write that ends now and then lets a connection be
/// aborted while a large message is on its way.
const MAX_SLICES: usize = 16;
const MAX_WRITE: usize = 1024 * 1024;

/// Drives a stream that somebody else upgraded, until it ends. `leftover` is what was read behind the
/// handshake.
///
/// The listener's `on_open` runs when the future is first polled.
///
/// # Cancel safety
/// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
/// so at once, with 1006.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub fn upgraded(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    leftover: impl Into<Vec<u8>>,
    role: Role,
    config: Config,
    listener: impl IntoListener,
) -> impl Future<Output = ()> {
    let clock = Clock::start();
    let config = Arc::new(config);
    let connection = match role {
        Role::Server => Connection::server(config, clock.now()),
        Role::Client => Connection::client(config, Box::new(SystemEntropy), clock.now()),
    };
    let driver = Driver::connected(connection, listener.into_listener());
    let (mut drive, mut leftover) = (Drive::new(stream, driver, clock), Some(leftover.into()));
    std::future::poll_fn(move |cx| {
        if let Some(mut leftover) = leftover.take() {
            drive.start(&mut leftover);
        }
        Pin::new(&mut drive).poll(cx)
    })
}

/// A driver and its transport.
pub(crate) struct Drive<S> {
    stream: S,
    driver: Driver,
    clock: Clock,
    alarm: Alarm,
    /// What a write has left over: the transport is full.
    stalled: Option<Box<Output>>,
    transport: Transport,
}

/// What the transport still owes us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Clean,
    /// It was written to since it was last flushed.
    Written,
    /// Its sending side is being closed.
    Closing,
}

/// What a turn of the loop has come to.
enum Turn {
    /// There is more to do.
    Again,
    /// The transport is being waited for.
    Idle,
    Done,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drive<S> {
    /// `clock` is what the driver's time counts by.
    pub(crate) fn new(stream: S, driver: Driver, clock: Clock) -> Self {
        Self { stream, driver, clock, alarm: Alarm::default(), stalled: None, transport: Transport::Clean }
    }

    /// Opens a connection whose handshake is done. `leftover` was read behind it.
    pub(crate) fn start(&mut self, leftover: &mut [u8]) {
        let now = self.clock.now();
        self.driver.start(now);
        if !leftover.is_empty() {
            self.driver.receive(now, leftover);
        }
    }

    pub(crate) fn driver(&self) -> &Driver {
        &self.driver
    }

    fn run(&mut self, cx: &mut Context<'_>, memory: &mut Memory) -> Poll<()> {
        for _ in 0..MAX_TURNS {
            // Anew for each turn: a callback may have taken its time.
            let now = self.clock.now();
            match self.turn(cx, now, memory) {
                Turn::Again => continue,
                Turn::Done => return Poll::Ready(()),
                Turn::Idle => {}
            }
            // Somebody has sent meanwhile, or closed: then there is more to do.
            let Ok(deadline) = self.driver.park(now, cx.waker()) else { continue };
            if self.poll_deadline(cx, deadline, now).is_pending() {
                return Poll::Pending;
            }
            if self.transport == Transport::Closing {
                // That has taken too long: the driver is about to say so.
                self.transport = Transport::Clean;
            }
            // What had arrived was read before: it counts as life.
            self.driver.handle_timeout(self.clock.now());
        }
        // A transport that never makes us wait must not keep deadlines from passing, nor others from running.
        self.driver.handle_timeout(self.clock.now());
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what there is to write, and then does what the driver says.
    fn turn(&mut self, cx: &mut Context<'_>, now: Time, memory: &mut Memory) -> Turn {
        if let Err(error) = self.write(cx, now, memory) {
            // Nothing is lost: the peer's last words may have arrived before its end was noticed.
            for _ in 0..MAX_TURNS {
                let Poll::Ready(Ok(1..)) = self.read(cx, now, memory) else { break };
            }
            self.stalled = None;
            self.driver.transport_failed(now, error);
        }
        if self.transport == Transport::Closing {
            // Whether that fails or not: there is nothing more to say.
            let Poll::Ready(_) = Pin::new(&mut self.stream).poll_shutdown(cx) else { return Turn::Idle };
            self.transport = Transport::Clean;
        }
        if self.transport == Transport::Written && self.driver.is_flushing() {
            // What the stream itself holds back has as long to leave as the rest of the output.
            return Turn::Idle;
        }
        match self.driver.step(now) {
            Step::Read => match self.read(cx, now, memory) {
                Poll::Pending => return Turn::Idle,
                Poll::Ready(Ok(0)) => self.driver.receive_eof(now),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => self.driver.transport_failed(now, error),
            },
            Step::Wait => return Turn::Idle,
            Step::Shutdown => self.transport = Transport::Closing,
            Step::Done => return Turn::Done,
        }
        Turn::Again
    }

    /// Writes until nothing is left, or the transport is full.
    fn write(&mut self, cx: &mut Context<'_>, now: Time, memory: &mut Memory) -> io::Result<()> {
        if let Some(mut output) = self.stalled.take() {
            if self.poll_write_all(cx, now, &mut output)?.is_pending() {
                self.stalled = Some(output);
                return Ok(());
            }
            memory.keep(*output);
        }
        // Completions may send without end: after a few rounds it is the peer's turn to be read.
        for _ in 0..MAX_WRITES {
            let Some(mut output) = self.driver.take_output() else { break };
            if self.poll_write_all(cx, now, &mut output)?.is_pending() {
                self.stalled = Some(Box::new(output));
                return Ok(());
            }
            memory.keep(output);
        }
        // Streams that buffer by themselves, such as TLS, hold bytes back until then.
        if self.transport == Transport::Written && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.transport = Transport::Clean;
        }
        Ok(())
    }

    fn poll_write_all(&mut self, cx: &mut Context<'_>, now: Time, output: &mut Output) -> io::Result<Poll<()>> {
        while !output.is_empty() {
            match poll_write(Pin::new(&mut self.stream), cx, output)? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(0) => return Err(ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    output.advance(count);
                    self.transport = Transport::Written;
                    self.driver.wrote(now, count);
                    if !output.is_empty() && self.driver.is_silent() {
                        // A connection that was aborted says no more.
                        output.clear();
                    }
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Reads once, and runs the callbacks that come of it. 0 is the end.
    fn read(&mut self, cx: &mut Context<'_>, now: Time, memory: &mut Memory) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(&mut memory.buffer);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let input = buffer.filled_mut();
        if !input.is_empty() {
            self.driver.lend_output(&mut memory.spare);
            self.driver.receive(now, input);
            // Nothing was sent: the memory comes back at once.
            self.driver.lend_output(&mut memory.spare);
        }
        Poll::Ready(Ok(input.len()))
    }

    /// Ready when the deadline has come; otherwise the task is woken then.
    fn poll_deadline(&mut self, cx: &mut Context<'_>, deadline: Option<Time>, now: Time) -> Poll<()> {
        match deadline {
            None => Poll::Pending,
            Some(deadline) if deadline <= now => Poll::Ready(()),
            Some(deadline) => match self.clock.instant(deadline) {
                None => Poll::Pending,
                Some(instant) => self.alarm.poll(cx, instant),
            },
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for Drive<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut memory = Memory::take();
        let poll = self.get_mut().run(cx, &mut memory);
        memory.give_back();
        poll
    }
}

/// Writes several pieces at once where the transport can.
fn poll_write<S: AsyncWrite>(stream: Pin<&mut S>, cx: &mut Context<'_>, output: &Output) -> Poll<io::Result<usize>> {
    let mut pieces = output.pieces_up_to(MAX_WRITE);
    let (first, second) = (pieces.next().unwrap_or_default(), pieces.next());
    let Some(second) = second.filter(|_| stream.is_write_vectored()) else { return stream.poll_write(cx, first) };
    let mut slices = [IoSlice::new(&[]); MAX_SLICES];
    let mut count = 0;
    for (slice, piece) in slices.iter_mut().zip([first, second].into_iter().chain(pieces)) {
        *slice = IoSlice::new(piece);
        count += 1;
    }
    stream.poll_write_vectored(cx, &slices[..count])
}

/// What all connections of a thread share.
struct Memory {
    /// Filled with zeros once, not before each read: that would cost more than the reading.
    buffer: Vec<u8>,
    /// Lent to a connection while its callbacks run, and back when what they sent is written.
    spare: Output,
}

thread_local! {
    static MEMORY: Cell<Option<Box<Memory>>> = const { Cell::new(None) };
}

impl Memory {
    /// Out of its cell, not borrowed from there: a callback may poll another connection on this thread,
    /// which then makes memory of its own.
    fn take() -> Box<Self> {
        let memory = MEMORY.try_with(Cell::take).ok().flatten();
        memory.unwrap_or_else(|| Box::new(Self { buffer: vec![0; READ_BUFFER], spare: Output::new() }))
    }

    fn give_back(self: Box<Self>) {
        // A thread that is about to end has no use for it.
        let _ = MEMORY.try_with(|memory| memory.set(Some(self)));
    }

    /// Keeps the memory of what was written.
    fn keep(&mut self, output: Output) {
        if (self.spare.capacity()..=SPARE_OUTPUT).contains(&output.capacity()) {
            self.spare = output;
        }
    }
}
