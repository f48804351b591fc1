//! A connection as a task, for runtimes that poll: the loop that reads, writes, and sleeps until the core's
//! deadline.
//!
//! What differs between such runtimes is how bytes are read and written, and how one sleeps: a backend says so in
//! a [`Transport`] and a [`Timer`]. Everything that is easy to get wrong around them is here, once.
//!
//! [`Task`] is a hand-written future, not an `async fn`: nothing is borrowed across an await, so that the read
//! buffer can belong to the thread, and a task stays small.

mod acceptor;
mod asking;
mod client;
mod connecting;
mod drain;
#[cfg(all(test, not(loom)))]
mod guards;
mod held;
mod incoming;
#[cfg(all(loom, test))]
mod models;
mod reaching;
mod reconnecting;
mod reconnector;
mod runtime;
mod server;
mod shutdown;
mod timer;
mod tls;

pub use self::acceptor::{Acceptor, accept_stream, stream_service, upgraded};
pub use self::client::{Client, connect, connect_over, connect_stream, connect_stream_over, connected, streamed, told};
pub use self::connecting::Opening;
pub use self::reconnecting::ReconnectBuilder;
pub use self::reconnector::{Reconnector, Running};
pub use self::runtime::{Adopt, Resolve, Runtime, named_runtime};
pub use self::server::{Server, ServerHandle};
pub use self::shutdown::accept_failed;
pub use self::timer::Timer;
pub use self::tls::Tls;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::Cell;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::io::{self, ErrorKind, IoSlice};
use std::panic::{self, AssertUnwindSafe};

use self::held::Held;
use self::timer::Alarm;
use crate::drive::limits::{READ_BUFFER, gather};
use crate::drive::{Busy, Driver, ONCE_MORE, READ_ON, Step, spare};
use crate::protocol::Output;
use crate::serve::{Registration, Registry, Stage};
use crate::time::Time;

/// A byte stream of a runtime that polls.
///
/// As with a future, `Pending` means that the task of `cx` will be woken.
pub trait Transport: Unpin {
    /// Reads some bytes into the front of `buffer`; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream. Nothing is read from it after one.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes some bytes of `slices`, of which there is at least one, and none is empty.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>>;

    /// Sends on what the stream itself holds back, as those of TLS do.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Closes the sending side: the peer reads its end.
    ///
    /// # Errors
    /// Those of the stream.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

/// After so many turns, or so many bytes, or so many callbacks, others may run.
const MAX_TURNS: usize = 256;
const MAX_READ: usize = 256 * 1024;
const MAX_CALLBACKS: u32 = 64;
const MAX_LAST_WRITES: usize = 16;

/// Drives one transport to its end.
///
/// Dropping it drops the connection without a closing handshake: the transport is given what is queued, as far as it
/// takes that without waiting. If `on_open` ran, `on_close` does so at once, with 1006.
#[must_use = "a task does nothing unless it is polled"]
pub struct Task<T: Transport, C: Timer> {
    // Dropped in this order: the peer sees the end first, and who waits for this task finds its callbacks done.
    transport: Held<T>,
    driver: Driver,
    alarm: Alarm<C>,
    /// Output that was taken and is not written: the transport is full.
    stalled: Output,
    registration: Registration,
}

debug!(Task<T: Transport, C: Timer> => |this| driver: this.driver);

/// What a turn of the loop has come to.
enum Turn {
    /// There is more to do.
    Again,
    /// Nothing is to be done: the transport is being waited for.
    Idle(Settled),
    /// It is others' turn.
    Spent,
    Done,
}

/// When it was known that nothing is to be done, and what [`Driver::settle`] has said, if it was asked.
#[derive(Clone, Copy)]
struct Settled {
    now: Time,
    deadline: Result<Option<Time>, Busy>,
}

impl Settled {
    /// It was not.
    fn not_yet(now: Time) -> Self {
        Self { now, deadline: Err(Busy) }
    }
}

impl<T: Transport, C: Timer> Task<T, C> {
    /// Creates a task for a driver. `timer` is what the driver's time counts by, and `registry` that of its server; a
    /// client has one of its own.
    pub fn new(transport: T, driver: Driver, timer: C, registry: &Arc<Registry>) -> Self {
        let registration = Registration::new(registry.clone());
        let transport = Held::new(transport);
        Self { transport, driver, alarm: Alarm::new(timer), stalled: Output::new(), registration }
    }

    /// Opens a connection whose handshake is done. `leftover` was read after it.
    pub fn start(&mut self, leftover: &mut [u8]) {
        let now = self.alarm.now();
        self.driver.grant(MAX_CALLBACKS);
        self.driver.start(now);
        if !leftover.is_empty() {
            self.driver.receive(now, leftover);
        }
    }

    fn run(&mut self, cx: &mut Context<'_>, memory: &mut Memory) -> Poll<()> {
        self.driver.grant(MAX_CALLBACKS);
        for _ in 0..MAX_TURNS {
            match self.turn(cx, memory) {
                Turn::Again => {}
                Turn::Idle(settled) => ready!(self.sleep(cx, settled)),
                Turn::Spent => break,
                Turn::Done => return Poll::Ready(()),
            }
        }
        // A transport that never makes us wait must not keep deadlines from passing, nor others from running.
        self.driver.handle_timeout_amid(self.alarm.now());
        self.alarm.yield_now(cx);
        Poll::Pending
    }

    /// Writes what there is to write, and then does what the driver says.
    fn turn(&mut self, cx: &mut Context<'_>, memory: &mut Memory) -> Turn {
        let read = memory.read_at.take();
        let wrote = match self.write(cx, read) {
            Ok(wrote) => wrote,
            Err(error) => {
                self.write_failed(cx, memory, error);
                None
            }
        };
        if memory.read >= MAX_READ || self.driver.is_spent() {
            return Turn::Spent;
        }
        if self.driver.is_ending() {
            let now = wrote.map_or_else(|| self.alarm.now(), |wrote| wrote.now);
            if let Some(turn) = self.end(cx, now) {
                return turn;
            }
        } else if !self.driver.is_reading() {
            return Turn::Idle(wrote.unwrap_or_else(|| Settled::not_yet(self.since(read))));
        }
        match self.read(cx, memory) {
            Poll::Pending => return Turn::Idle(wrote.unwrap_or_else(|| Settled::not_yet(self.since(read)))),
            Poll::Ready(Ok(0)) => self.driver.receive_eof(self.alarm.now()),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => self.driver.transport_failed(self.alarm.now(), error),
        }
        Turn::Again
    }

    /// Returns the time, or when bytes were read just before. The clock is asked once in a turn if that will do, since a
    /// reading costs as much as a small message: an open connection that is read has no deadline that begins in between.
    #[inline]
    fn since(&self, read: Option<Time>) -> Time {
        read.filter(|_| self.driver.is_open() && self.driver.is_reading()).unwrap_or_else(|| self.alarm.now())
    }

    /// What a transport needs that ends: `None` if it is to be read.
    #[cold]
    fn end(&mut self, cx: &mut Context<'_>, now: Time) -> Option<Turn> {
        if self.driver.is_unflushed() && self.driver.is_flushing() {
            // What the stream itself holds back has as long to leave as the rest of the output.
            return Some(Turn::Idle(Settled::not_yet(now)));
        }
        match self.driver.next_step(now) {
            Step::Read => None,
            Step::Wait => {
                if self.driver.is_done() {
                    self.transport.release();
                }
                Some(Turn::Idle(Settled::not_yet(now)))
            }
            Step::Shutdown => {
                // Whether that fails or not: there is nothing more to say.
                let Poll::Ready(_) = self.transport.poll_shutdown(cx) else {
                    return Some(Turn::Idle(Settled::not_yet(now)));
                };
                self.driver.shut_down();
                Some(Turn::Again)
            }
            Step::Done => Some(Turn::Done),
        }
    }

    /// Sleeps until the driver's deadline, or until a handle has sent or closed: ready if there is something to do.
    fn sleep(&mut self, cx: &mut Context<'_>, settled: Settled) -> Poll<()> {
        let Settled { now, deadline } = settled;
        let deadline = deadline.or_else(|Busy| {
            self.driver.poll_pending(now, cx.waker())?;
            self.driver.settle(cx.waker())
        });
        let Ok(deadline) = deadline else { return Poll::Ready(()) };
        let Some(deadline) = deadline else {
            self.alarm.stop();
            return Poll::Pending;
        };
        ready!(self.alarm.poll(cx, deadline, now));
        // It has come since then: the process was perhaps stopped meanwhile.
        let now = if deadline > now { self.alarm.now() } else { now };
        let grace = if self.driver.is_yielding() { READ_ON } else { ONCE_MORE };
        let judged = self.driver.judged_at(deadline, now, grace);
        ready!(self.alarm.poll(cx, judged, now));
        if deadline == Time::ZERO {
            self.driver.handle_timeout(self.alarm.now());
        } else if judged <= now {
            // As of then: what has arrived since has perhaps not been read.
            self.driver.handle_timeout_as_of(judged, self.alarm.now());
        }
        Poll::Ready(())
    }

    /// Writes until nothing is left, or the transport is full. Returns what that has settled, if anything was written.
    /// `read`: when bytes were read just before.
    #[inline(always)]
    fn write(&mut self, cx: &mut Context<'_>, read: Option<Time>) -> io::Result<Option<Settled>> {
        if !self.stalled.is_empty() || self.driver.is_unflushed() || self.driver.has_output() {
            self.write_now(cx, read)
        } else {
            Ok(None)
        }
    }

    #[inline(never)]
    fn write_now(&mut self, cx: &mut Context<'_>, read: Option<Time>) -> io::Result<Option<Settled>> {
        let stalled = !self.stalled.is_empty();
        let output = if stalled { Some(mem::take(&mut self.stalled)) } else { self.driver.take_output() };
        let mut output = output.unwrap_or_default();
        let (mut written, mut wrote) = (0, None);
        let result = self.poll_write_all(cx, &mut output, &mut written);
        if written > 0 && matches!(result, Ok(Poll::Ready(()))) {
            let now = self.since(read);
            wrote = Some(Settled { now, deadline: self.driver.wrote_all(now, written, cx.waker()) });
        } else if written > 0 {
            // The time after the write: the process may have been stopped before it.
            let now = self.alarm.now();
            self.driver.wrote(now, written);
            wrote = Some(Settled::not_yet(now));
        }
        match result? {
            Poll::Ready(()) => spare::keep(output),
            Poll::Pending => self.stalled = output,
        }
        if self.driver.is_unflushed() && self.transport.poll_flush(cx)?.is_ready() {
            self.driver.flushed();
        }
        Ok(wrote)
    }

    /// Writes all of `output`, and counts what is written. It is not empty then: [`spare::keep`] takes it as it is.
    #[inline]
    fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut Output,
        written: &mut usize,
    ) -> io::Result<Poll<()>> {
        while !output.is_empty() {
            match gather(output, |slices| self.transport.poll_write(cx, slices))? {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(0) => return Err(ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    *written += count;
                    // A connection that was aborted says no more.
                    if count == output.len() || self.driver.discards_output() {
                        break;
                    }
                    output.advance(count);
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    /// Nothing is lost: the peer's last words may have arrived before its end was noticed.
    #[cold]
    fn write_failed(&mut self, cx: &mut Context<'_>, memory: &mut Memory, error: io::Error) {
        self.driver.hurry(self.alarm.now());
        for _ in 0..MAX_TURNS {
            if !self.driver.is_reading() {
                break;
            }
            let Poll::Ready(Ok(1..)) = self.read(cx, memory) else { break };
            // What is answered goes nowhere.
            drop(self.driver.take_output());
        }
        self.driver.transport_failed(self.alarm.now(), error);
    }

    /// What was queued before this was dropped, as far as the transport takes it at once. A runtime that ends drops
    /// its tasks, perhaps before they had their turn to write what was just sent.
    fn last_words(&mut self) {
        if self.driver.is_done() || self.driver.discards_output() {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        // Behind what had to wait there is perhaps more, and completions may send; but not without end. Whether that fails
        // or not: there is no one left to tell.
        for _ in 0..MAX_LAST_WRITES {
            if self.write(&mut cx, None).is_err() || !self.stalled.is_empty() {
                return;
            }
            if !self.driver.has_output() {
                // Over TLS the peer learns so that nothing was cut off.
                let _ = self.transport.poll_shutdown(&mut cx);
                return;
            }
        }
    }

    /// Reads once, and runs the callbacks that come of it. 0 is the end.
    fn read(&mut self, cx: &mut Context<'_>, memory: &mut Memory) -> Poll<io::Result<usize>> {
        let count = ready!(self.transport.poll_read(cx, &mut memory.buffer))?;
        memory.read += count;
        if let Some(input) = memory.buffer.get_mut(..count).filter(|input| !input.is_empty()) {
            let now = self.alarm.now();
            memory.read_at = Some(now);
            self.driver.receive(now, input);
        }
        Poll::Ready(Ok(count))
    }
}

impl<T: Transport, C: Timer> Future for Task<T, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.registration.knows(cx.waker()) {
            self.alarm.waker_changed();
        }
        match self.registration.register(cx.waker()) {
            Stage::Running | Stage::Refusing => {}
            Stage::Closing if !self.driver.is_handshaking() => {}
            Stage::Closing | Stage::Dropping | Stage::GivenUp => return Poll::Ready(()),
        }
        let mut memory = Memory::take();
        let poll = self.run(cx, &mut memory);
        memory.give_back();
        poll
    }
}

impl<T: Transport, C: Timer> Drop for Task<T, C> {
    fn drop(&mut self) {
        // A transport that panics has perhaps done so before: that is why this is dropped.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| self.last_words()));
    }
}

/// What all connections of a thread share.
struct Memory {
    /// Filled with zeros once, not before each read: that would cost more than the reading.
    buffer: Vec<u8>,
    /// How much was read in this poll.
    read: usize,
    /// When that was, in the turn before.
    read_at: Option<Time>,
}

std::thread_local! {
    static MEMORY: Cell<Option<Box<Memory>>> = const { Cell::new(None) };
}

impl Memory {
    /// Out of its cell, not borrowed from there: a callback may poll another connection on this thread,
    /// which then makes memory of its own.
    fn take() -> Box<Self> {
        let memory = MEMORY.try_with(Cell::take).ok().flatten();
        let mut memory =
            memory.unwrap_or_else(|| Box::new(Self { buffer: vec![0; READ_BUFFER], read: 0, read_at: None }));
        (memory.read, memory.read_at) = (0, None);
        memory
    }

    fn give_back(self: Box<Self>) {
        // A thread that is about to end has no use for it.
        let _ = MEMORY.try_with(|memory| memory.set(Some(self)));
    }
}
