//! Turns events into callbacks, from the first byte of a transport to its last: what every backend drives.
//!
//! ```text
//! Handshake ──► Asked ──► Open ──────────► Ending: Flush ──► Linger ──► Leave ──► Done
//!     │           │                          ▲
//!     └───────────┴── plain HTTP, a refusal ─┘
//! ```
//!
//! A backend reads, writes, sleeps, and does what [`Driver::next_step`] says. Everything else is decided here,
//! so that the same listener behaves the same on every runtime:
//!
//! - callbacks run serially, in wire order, never under a lock (see `callbacks`);
//! - `on_close` runs exactly once if `on_open` ran, also if the driver itself is dropped;
//! - **the end is gentle**: closing a TCP socket while unread bytes are in it makes the kernel send a reset,
//!   which can destroy the close frame or the HTTP response on its way. So what is queued is written, then
//!   the sending side is closed, then the peer is read for a moment, and only then the transport dropped.

mod asking;
mod ending;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::net::SocketAddr;
use core::sync::atomic::AtomicBool;
use core::task::{Poll, Waker};
use core::time::Duration;

use self::ending::{Ending, Gone, Sending, Then};
use super::announced::Announced;
use super::callbacks::Dispatcher;
use super::grace::{Grace, READ_ON};
use super::shared::{Busy, Shared};
use crate::api::{AnyListener, WebSocket};
use crate::handshake::{Request, server};
use crate::protocol::{BoxError, Connection, Output};
use crate::serve::{PendingAnswer, Service};
use crate::time::Time;

/// Drives one transport, from the handshake to the last byte.
pub struct Driver {
    /// Who answers requests, on a server.
    service: Option<Arc<Service>>,
    phase: Phase,
    ending: Option<Ending>,
    grace: Grace,
    /// How many callbacks may run in one turn of the thread: also of a connection that opens in the midst of it.
    granted: u32,
    /// The peer has sent its last byte.
    eof: bool,
    /// The transport was written to since it was flushed.
    unflushed: bool,
}

/// Boxed, each: a connection lives in one of them only, and longest in one that is small.
enum Phase {
    Handshake(Box<Opening>),
    /// The handler has not answered yet.
    Asked(Box<Question>),
    /// A plain HTTP response is on its way.
    Answer(Box<Answer>),
    Open(Box<Dispatcher>),
}

struct Opening {
    handshake: server::Handshake,
    /// Where the transport comes from.
    peer: Option<SocketAddr>,
    /// Where it comes from in truth, if a proxy is to announce that.
    announced: Option<Announced>,
    /// Set when the request is answered, before that can be seen.
    answered: Option<Arc<AtomicBool>>,
}

impl Opening {
    /// Returns the address of the client, or of a proxy that has not announced it.
    fn peer(&self) -> Option<SocketAddr> {
        self.announced.as_ref().and_then(Announced::get).flatten().or(self.peer)
    }

    /// Returns `true` if a proxy has yet to announce its client.
    fn is_unannounced(&self) -> bool {
        self.announced.as_ref().is_some_and(|announced| announced.get().is_none())
    }
}

#[derive(Default)]
struct Answer {
    output: Output,
    /// How much of it is not written.
    left: usize,
}

/// A request that waits for its answer.
struct Question {
    request: Request,
    answer: PendingAnswer,
    answered: Option<Arc<AtomicBool>>,
    /// What came after the request: it belongs to the connection.
    input: Vec<u8>,
    /// Whether the answer was looked for: one that is there at once is given, also to a peer that has ended its
    /// sending side.
    sought: bool,
    /// Until when the handler may think.
    deadline: Option<Time>,
}

/// While a handler thinks the peer is read on, so that its end is noticed, as long as fewer bytes than this wait for
/// the answer.
const MAX_AHEAD: usize = 64 * 1024;

/// What a backend is to do with its transport when all output is written that can be.
///
/// Exhaustive: a step that a backend does not know would leave its connections hanging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read, then wait.
    Read,
    /// Wait without reading: for the output to be written, for the handler's answer, or for the timeout. If the driver
    /// [is done](Driver::is_done), it is for who has the connection as a stream: the transport is to be dropped before.
    Wait,
    /// Close the sending side, then say so with [`Driver::shut_down`], whether that has failed or not.
    Shutdown,
    /// Drop the transport.
    Done,
}

impl Driver {
    /// Creates a server's end of a transport that was just accepted.
    pub fn server(service: Arc<Service>, peer: Option<SocketAddr>, now: Time) -> Self {
        let handshake = server::Handshake::new(service.config().clone(), now);
        Self::new(
            Some(service),
            Phase::Handshake(Box::new(Opening { handshake, peer, announced: None, answered: None })),
        )
    }

    /// Creates either end of a connection whose handshake is done. No callback runs before [`start`](Self::start).
    pub fn connected(connection: Connection, listener: impl Into<AnyListener>) -> Self {
        Self::new(None, Phase::Open(Box::new(Dispatcher::new(connection, listener.into()))))
    }

    /// The same for a connection of a server whose HTTP is another library's.
    pub fn accepted(service: Arc<Service>, connection: Connection, listener: impl Into<AnyListener>) -> Self {
        Self::new(Some(service), Phase::Open(Box::new(Dispatcher::new(connection, listener.into()))))
    }

    fn new(service: Option<Arc<Service>>, phase: Phase) -> Self {
        let (ending, grace, granted) = (None, Grace::default(), u32::MAX);
        Self { service, phase, ending, grace, granted, eof: false, unflushed: false }
    }

    /// Sets a flag that is to be set when the request is answered, before `on_open`: for a server that shuts down on
    /// another thread and drops those that are not.
    pub fn tell_answered(&mut self, answered: Arc<AtomicBool>) {
        if let Phase::Handshake(opening) = &mut self.phase {
            opening.answered = Some(answered);
        }
    }

    /// Sets where a proxy announces whose connection this is, by the PROXY protocol, beneath TLS. Until it has, a
    /// failure is told as the proxy's.
    pub fn await_announcement(&mut self, announced: Announced) {
        if let Phase::Handshake(opening) = &mut self.phase {
            opening.announced = Some(announced);
        }
    }

    /// Returns the connection's handle, once there is one.
    pub fn socket(&self) -> Option<&WebSocket> {
        self.dispatcher().map(|dispatcher| &dispatcher.socket)
    }

    /// Returns what the connection shares with its handles, once there is one: for a backend whose writes are not
    /// all made by the thread that reads.
    pub fn shared(&self) -> Option<&Arc<Shared>> {
        self.dispatcher().map(|dispatcher| &dispatcher.shared)
    }

    /// Returns `true` if it reads at all now: not while a callback is pending, nor while too much output waits, or too
    /// much input for a handler that is pending.
    pub fn is_reading(&self) -> bool {
        match &self.phase {
            Phase::Handshake(_) | Phase::Answer(_) => true,
            Phase::Asked(question) => !self.eof && question.input.len() < MAX_AHEAD,
            Phase::Open(dispatcher) => !dispatcher.is_waiting() && dispatcher.shared.status().wants_read(),
        }
    }

    /// Returns `true` if a callback is pending: nothing is read until it is done.
    pub fn is_suspended(&self) -> bool {
        self.dispatcher().is_some_and(Dispatcher::is_waiting)
    }

    /// Returns `true` if no request has been answered yet.
    pub fn is_handshaking(&self) -> bool {
        matches!(self.phase, Phase::Handshake(_) | Phase::Asked(_))
    }

    /// Returns `true` if the connection has ended, and what is left is to say so; or a plain answer is on its way.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Returns `true` if a handler has not answered yet.
    pub fn is_asking(&self) -> bool {
        matches!(self.phase, Phase::Asked(_))
    }

    /// Returns `true` if the connection has ended and its last output is being written: for transports that hold back
    /// what they have taken until they are flushed, and for a backend whose other thread writes it.
    pub fn is_flushing(&self) -> bool {
        matches!(self.ending, Some(Ending::Flush(..))) && !self.is_lost()
    }

    /// Returns `true` if the transport is of no use any more.
    pub fn is_done(&self) -> bool {
        matches!(self.ending, Some(Ending::Rest | Ending::Done))
    }

    /// Returns `true` if the connection ends without another word to the peer: what was taken and is not written yet is
    /// to be dropped.
    pub fn discards_output(&self) -> bool {
        self.dispatcher().is_some_and(|dispatcher| dispatcher.shared.discards_output())
    }

    /// Runs `on_open` of a [connected](Self::connected) or [accepted](Self::accepted) driver. Before the first
    /// [`receive`](Self::receive).
    pub fn start(&mut self, now: Time) {
        match (&mut self.phase, &self.service) {
            (Phase::Open(dispatcher), Some(service)) => dispatcher.enter(service.registry(), || ()),
            (Phase::Open(dispatcher), None) => dispatcher.start(),
            _ => {}
        }
        self.dispatch(now, &mut []);
    }

    /// Takes all of `input`, which was read, and runs the callbacks that come of it. While the handler has not
    /// answered it is kept for later; when much is kept, [`next_step`](Self::next_step) says not to read.
    pub fn receive(&mut self, now: Time, mut input: &mut [u8]) {
        if let Phase::Handshake(opening) = &mut self.phase {
            let Some(request) = opening.handshake.receive(&mut input) else { return };
            self.ask(request, now);
        }
        match &mut self.phase {
            Phase::Asked(question) => question.input.extend_from_slice(input),
            _ => self.dispatch(now, input),
        }
    }

    /// Tells the driver that the peer has sent its last byte. One whose handler still thinks has left: the handler's
    /// future is dropped, or [`Responder::is_waiting`](crate::Responder::is_waiting) false.
    pub fn receive_eof(&mut self, now: Time) {
        self.eof = true;
        match &mut self.phase {
            Phase::Asked(question) if !question.sought => {}
            Phase::Handshake(_) | Phase::Asked(_) => self.hang_up(),
            Phase::Answer(_) => {}
            Phase::Open(dispatcher) => {
                dispatcher.deliver_rest(now, self.service.as_deref());
                dispatcher.shared.lock().receive_eof();
            }
        }
        self.dispatch(now, &mut []);
    }

    /// Tells the driver that reading or writing has failed with this error. If it says that the peer is gone, that is
    /// what the listener hears.
    pub fn transport_failed(&mut self, now: Time, error: impl Into<BoxError>) {
        let error = error.into();
        let gone = Gone::of(&error);
        match (&mut self.phase, &self.service) {
            (Phase::Open(dispatcher), service) => {
                dispatcher.deliver_rest(now, service.as_deref());
                match gone {
                    None => dispatcher.shared.lock().transport_failed(error),
                    Some(_) => dispatcher.shared.lock().vanished(),
                }
                self.dispatch(now, &mut []);
            }
            (Phase::Handshake(opening), Some(service)) => asking::report_failure(service, opening.peer(), error),
            _ => {}
        }
        self.transport_gone();
        if gone == Some(Gone::Truncated) {
            // Our side can still be ended as it should.
            self.ending = Some(self.leave(now));
        }
    }

    /// Does what is due, and runs the callbacks that come of it. Early calls do nothing.
    ///
    /// What has arrived by `now` is to be [received](Self::receive) before: take the time, read until there is nothing,
    /// then call this. A process that was stopped must not take its own absence for the peer's silence.
    pub fn handle_timeout(&mut self, now: Time) {
        self.handle_timeout_as_of(now, now);
    }

    /// As [`handle_timeout`](Self::handle_timeout), for a backend that has perhaps not read what has arrived since
    /// `judged`: what was due then is done, and what begins with that counts from now.
    pub fn handle_timeout_as_of(&mut self, judged: Time, now: Time) {
        match (self.ending, &mut self.phase) {
            (Some(ending), _) => {
                if ending.deadline().is_some_and(|deadline| deadline <= judged) {
                    self.end_late(now);
                }
            }
            (None, Phase::Handshake(opening)) => {
                if let Some(refused) = opening.handshake.handle_timeout(judged) {
                    self.ask(Err(refused), now);
                    self.answered_late(now);
                }
            }
            (None, Phase::Asked(question)) => {
                if question.deadline.is_some_and(|deadline| deadline <= judged) {
                    self.answer_late(now);
                }
            }
            (None, Phase::Answer(_)) => {}
            (None, Phase::Open(dispatcher)) => {
                dispatcher.handle_timeout(judged, now, self.service.as_deref());
                dispatcher.deadlines().handle_timeout_as_of(judged, now);
            }
        }
        self.dispatch(now, &mut []);
    }

    /// As [`handle_timeout`](Self::handle_timeout), for a backend that has perhaps not read all that has arrived: a
    /// deadline that has come is judged when this was called for 100 ms. So a peer that never pauses keeps none from
    /// passing.
    pub fn handle_timeout_amid(&mut self, now: Time) {
        let deadline = self.poll_timeout().filter(|deadline| *deadline <= now);
        if deadline.is_some_and(|deadline| self.judged_at(deadline, now, READ_ON) <= now) {
            self.handle_timeout(now);
        }
    }

    /// Returns when a deadline that has come is judged.
    pub(crate) fn judged_at(&mut self, deadline: Time, now: Time, grace: Duration) -> Time {
        self.grace.end(deadline, now, grace)
    }

    /// So many callbacks may run now, where several connections share a thread. What is left then of what was read
    /// waits: [`poll_pending`](Self::poll_pending) has the task polled again at once, and goes on.
    pub(crate) fn grant(&mut self, callbacks: u32) {
        self.granted = callbacks;
        if let Phase::Open(dispatcher) = &mut self.phase {
            dispatcher.grant(callbacks);
        }
    }

    /// Returns `true` if they have run.
    pub(crate) fn is_spent(&self) -> bool {
        self.dispatcher().is_some_and(Dispatcher::is_spent)
    }

    /// Returns `true` if a part of what was read waits for the turn of others.
    pub(crate) fn is_yielding(&self) -> bool {
        self.dispatcher().is_some_and(Dispatcher::is_yielding)
    }

    /// Handles what waits for the turn of others, and all that comes until the next [`grant`](Self::grant).
    pub(crate) fn hurry(&mut self, now: Time) {
        if let Phase::Open(dispatcher) = &mut self.phase {
            dispatcher.hurry(now, self.service.as_deref());
        }
        self.dispatch(now, &mut []);
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout), if nothing happens before. A time in the past
    /// means at once.
    pub fn poll_timeout(&mut self) -> Option<Time> {
        match (&self.ending, &mut self.phase) {
            (Some(ending), _) => ending.deadline(),
            (None, Phase::Handshake(opening)) => opening.handshake.poll_timeout(),
            (None, Phase::Asked(question)) => question.deadline,
            (None, Phase::Answer(_)) => None,
            (None, Phase::Open(dispatcher)) => {
                let deadline = dispatcher.deadlines().poll_timeout();
                deadline.into_iter().chain(dispatcher.close_by()).min()
            }
        }
    }

    /// Returns `true` if there may be output to be [taken](Self::take_output).
    #[inline]
    pub(crate) fn has_output(&self) -> bool {
        match &self.phase {
            Phase::Handshake(_) | Phase::Asked(_) => false,
            Phase::Answer(answer) => !answer.output.is_empty(),
            Phase::Open(dispatcher) => dispatcher.shared.status().has_output(),
        }
    }

    /// Takes what is to be written; `None` while what was taken before is not written to its end.
    #[inline]
    pub fn take_output(&mut self) -> Option<Output> {
        match &mut self.phase {
            Phase::Handshake(_) | Phase::Asked(_) => None,
            Phase::Answer(answer) => Some(mem::take(&mut answer.output)).filter(|output| !output.is_empty()),
            Phase::Open(dispatcher) => dispatcher.shared.take_output(),
        }
    }

    /// Tells the driver that the transport has taken the first `count` bytes of what was taken.
    pub fn wrote(&mut self, now: Time, count: usize) {
        self.unflushed = true;
        match &mut self.phase {
            Phase::Handshake(_) | Phase::Asked(_) => {}
            Phase::Answer(answer) => answer.left -= count.min(answer.left),
            Phase::Open(dispatcher) => dispatcher.shared.wrote(now, count),
        }
    }

    /// The same for all that was taken, and [settles](Self::settle) if nothing else is to be done. The driver need not
    /// sleep then.
    ///
    /// # Errors
    /// [`Busy`] if that is not settled.
    #[inline]
    pub(crate) fn wrote_all(&mut self, now: Time, count: usize, waker: &Waker) -> Result<Option<Time>, Busy> {
        match &mut self.phase {
            Phase::Open(dispatcher) if self.ending.is_none() && !dispatcher.is_waiting() => {
                self.unflushed = true;
                dispatcher.park_after_write(now, count, waker)
            }
            _ => {
                self.wrote(now, count);
                Err(Busy)
            }
        }
    }

    /// Returns `true` if the connection is open: then no deadline begins with what is written.
    pub(crate) fn is_open(&self) -> bool {
        self.dispatcher().is_some_and(|dispatcher| dispatcher.shared.status().is_open())
    }

    /// Returns `true` if the transport was written to since it was [flushed](Self::flushed).
    pub(crate) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Tells the driver that the transport holds nothing back.
    pub(crate) fn flushed(&mut self) {
        self.unflushed = false;
    }

    /// Returns what to do with the transport when its output is written. Asked again it says the same, until something
    /// happens.
    pub fn next_step(&mut self, now: Time) -> Step {
        self.ending = self.ending_at(now);
        self.rest();
        match self.ending {
            None if self.is_reading() => Step::Read,
            None => Step::Wait,
            Some(Ending::Flush(..) | Ending::Linger(..)) if self.eof => Step::Wait,
            Some(Ending::Flush(..) | Ending::Linger(..)) => Step::Read,
            Some(Ending::Shutdown(..)) => Step::Shutdown,
            Some(Ending::Rest) => Step::Wait,
            Some(Ending::Done) => Step::Done,
        }
    }

    /// [`Step::Shutdown`] is done: the sending side is closed, or could not be.
    pub fn shut_down(&mut self) {
        self.ending = match self.ending {
            Some(Ending::Shutdown(until, Then::Linger)) => Some(Ending::Linger(until, Sending::Closed)),
            Some(Ending::Shutdown(_, Then::Leave)) => Some(Ending::Done),
            ending => ending,
        };
    }

    /// Polls the user's code that is pending, a callback or the handler, and handles what has happened to the
    /// connection without any input. `waker` is called when there is more to poll.
    ///
    /// # Errors
    /// [`Busy`] if something came of it: there may be output to write, or another [step](Self::next_step).
    pub fn poll_pending(&mut self, now: Time, waker: &Waker) -> Result<(), Busy> {
        match &mut self.phase {
            Phase::Asked(question) => {
                if let Poll::Ready(answer) = question.answer.poll(waker) {
                    self.answered(answer, now);
                    return Err(Busy);
                }
                question.sought = true;
                if self.eof {
                    self.hang_up();
                    return Err(Busy);
                }
            }
            Phase::Open(dispatcher) => {
                let conversed = dispatcher.converse();
                let resumed = dispatcher.resume(now, waker, self.service.as_deref());
                if conversed || resumed || dispatcher.shared.status().has_event() {
                    self.dispatch(now, &mut []);
                    return Err(Busy);
                }
            }
            Phase::Handshake(_) | Phase::Answer(_) => {}
        }
        Ok(())
    }

    /// Settles a turn: the driver is about to sleep, until the deadline that this returns or until `waker` is called.
    ///
    /// # Errors
    /// [`Busy`] if there is something to do already: output to be written, or an event that
    /// [`poll_pending`](Self::poll_pending) handles.
    pub fn settle(&mut self, waker: &Waker) -> Result<Option<Time>, Busy> {
        match (&mut self.phase, self.ending) {
            (Phase::Open(dispatcher), None) => {
                let deadline = dispatcher.park(waker)?;
                Ok(deadline.into_iter().chain(dispatcher.close_by()).min())
            }
            (Phase::Open(dispatcher), Some(ending)) => dispatcher.park(waker).map(|_| ending.deadline()),
            _ => Ok(self.poll_timeout()),
        }
    }

    fn dispatcher(&self) -> Option<&Dispatcher> {
        if let Phase::Open(dispatcher) = &self.phase { Some(dispatcher) } else { None }
    }

    fn is_lost(&self) -> bool {
        self.dispatcher().is_some_and(|dispatcher| dispatcher.shared.status().is_lost())
    }

    /// Returns how many bytes are left to be written.
    fn unwritten(&self) -> usize {
        match &self.phase {
            Phase::Handshake(_) | Phase::Asked(_) => 0,
            Phase::Answer(answer) => answer.left,
            Phase::Open(dispatcher) => dispatcher.socket.buffered(),
        }
    }

    #[inline]
    fn dispatch(&mut self, now: Time, input: &mut [u8]) {
        let Phase::Open(dispatcher) = &mut self.phase else { return };
        dispatcher.dispatch(now, input, self.service.as_deref());
        if self.ending.is_none() && dispatcher.shared.status().is_finished() {
            self.end();
        }
    }
}

impl Drop for Driver {
    /// Whatever died, `on_close` comes: a dropped future, a runtime that shut down, a backend that panicked.
    fn drop(&mut self) {
        if let Phase::Open(dispatcher) = &mut self.phase {
            dispatcher.abandon(self.service.as_deref());
            dispatcher.leave(self.service.as_deref());
        }
    }
}

debug!(Driver => |this| socket: this.socket(), ending: this.ending);
