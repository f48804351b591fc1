//! The connection as its driver and all its handles share it: Ring's socket for every runtime.
//!
//! [`Socket`] is implemented here once, not in each backend: all that differs between runtimes is how a
//! driver that sleeps is woken, and for that the standard library has a word, [`Waker`]. A backend leaves
//! its waker when it [parks](Shared::park).
//!
//! **No lock is held while user code runs**: callbacks, completions and wakers are called after unlocking.
//! A send from inside one of the connection's own callbacks wakes nobody: the driver writes all that was queued
//! during one read in one go. Any other wakes whoever left a waker, once until somebody takes the output: the
//! driver may be asleep, or busy with a callback that takes long.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::mem;
use core::net::SocketAddr;
use core::ops::{Deref, DerefMut};
use core::task::{Poll, Waker};
use std::panic::{self, AssertUnwindSafe};

use crate::api::{Done, Socket, WriteWaiter};
use crate::context::{SocketContext, SocketId};
use crate::protocol::{
    BoxError, CloseCode, Closed, Connection, Error, Event, Garbage, Outgoing, Output, SendError, StreamOffset,
};
use crate::sync::{Mutex, MutexGuard, WakerSlot, thread_local};
use crate::time::Time;

#[cfg(all(loom, test))]
mod models;

/// A connection that is shared between its driver and the handles to it.
pub struct Shared {
    id: SocketId,
    /// What never changes needs no lock. `None` if nothing is known.
    context: Option<Box<SocketContext>>,
    state: Mutex<State>,
}

struct State {
    connection: Connection,
    /// How to wake whoever writes.
    waker: WakerSlot,
    /// Whether that was called and nobody has taken output since.
    woken: bool,
    /// Whether the driver sleeps.
    parked: bool,
    /// Who waits for bytes to be written, in the order of their positions.
    waiting: VecDeque<(StreamOffset, Waiter)>,
    /// How many tasks have waited: the newest one's number.
    waiters: u64,
    closed: Option<Box<Closed>>,
    /// Nothing will be written any more.
    gone: bool,
}

/// Who waits for bytes to be written.
enum Waiter {
    Done(Done),
    /// The task that waits as this number.
    Task(u64, Waker),
}

thread_local! {
    /// The connection whose callback this thread is in: its address, or zero.
    static CALLING: Cell<usize> = const { Cell::new(0) };
}

/// The lock, and what is thrown away under it: dropped in this order.
struct Locked<'a> {
    state: MutexGuard<'a, State>,
    garbage: Option<Box<Garbage>>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.garbage = self.state.connection.take_garbage();
    }
}

/// There is something to do: the driver must not sleep yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Shared {
    /// Shares a connection. Pings are left to the listener from now on.
    pub fn new(mut connection: Connection) -> Self {
        connection.set_auto_pong(false);
        let context = connection.take_context();
        let state = State {
            connection,
            waker: WakerSlot::new(),
            parked: false,
            woken: false,
            waiting: VecDeque::new(),
            waiters: 0,
            closed: None,
            gone: false,
        };
        Self { id: SocketId::unique(), context, state: Mutex::new(state) }
    }

    /// [`Connection::next_event`]. How it ended is [remembered](Socket::closed).
    pub fn next_event<'a>(&self, now: Time, input: &mut &'a mut [u8]) -> Option<Event<'a>> {
        let mut state = self.lock();
        state.parked = false;
        let event = state.connection.next_event(now, input);
        if let Some(Event::Closed(closed)) = &event {
            state.closed = Some(Box::new(closed.clone()));
        }
        event
    }

    /// The driver is about to sleep, until [`poll_timeout`](Self::poll_timeout) or until `waker` is called: when
    /// there is output to write, an event to handle, or another deadline.
    ///
    /// # Errors
    /// [`Busy`] if that is the case already.
    pub fn park(&self, waker: &Waker) -> Result<(), Busy> {
        let mut state = self.lock();
        if state.connection.has_event() || state.connection.has_output() {
            return Err(Busy);
        }
        let old = state.waker.register(waker);
        (state.parked, state.woken) = (true, false);
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes what is to be written; `None` also while somebody else is writing. Whoever calls this has heard the
    /// waker.
    pub fn take_output(&self) -> Option<Output> {
        let mut state = self.lock();
        state.woken = false;
        state.connection.take_output()
    }

    /// [`Connection::lend_output`].
    pub fn lend_output(&self, spare: &mut Output) {
        self.lock().connection.lend_output(spare);
    }

    /// [`Connection::wrote`]; calls those who waited for it.
    pub fn wrote(&self, now: Time, count: usize) {
        let mut state = self.lock();
        state.connection.wrote(now, count);
        let done = state.completed();
        drop(state);
        for waiter in done {
            waiter.complete(Ok(()));
        }
    }

    /// [`Connection::wants_read`].
    pub fn wants_read(&self) -> bool {
        self.lock().connection.wants_read()
    }

    /// [`Connection::poll_timeout`].
    pub fn poll_timeout(&self) -> Option<Time> {
        self.lock().connection.poll_timeout()
    }

    /// [`Connection::handle_timeout`].
    pub fn handle_timeout(&self, now: Time) {
        self.lock().connection.handle_timeout(now);
    }

    /// When a close that was called for while the driver sleeps is due; it may sleep longer than that. `None` while it is
    /// awake: it has its deadlines for itself, and judges them behind what it has read.
    pub fn parked_close(&self, now: Time) -> Option<Time> {
        let mut state = self.lock();
        if state.parked { state.connection.close_by(now) } else { None }
    }

    /// [`Connection::receive_eof`].
    pub fn receive_eof(&self) {
        self.lock().connection.receive_eof();
    }

    /// [`Connection::vanished`].
    pub fn vanished(&self) {
        self.lock().connection.vanished();
    }

    /// [`Connection::transport_failed`].
    pub fn transport_failed(&self, error: impl Into<BoxError>) {
        // Converted before there is a lock.
        let error = error.into();
        self.lock().connection.transport_failed(error);
    }

    /// [`Connection::fail`].
    pub fn fail(&self, error: Error) {
        self.lock().connection.fail(error);
    }

    /// Whether the driver sleeps while an event waits for it.
    pub fn is_awaited(&self) -> bool {
        let state = self.lock();
        state.parked && state.connection.has_event()
    }

    /// Whether [`next_event`](Self::next_event) has something to say without any input.
    pub(crate) fn has_event(&self) -> bool {
        self.lock().connection.has_event()
    }

    /// [`Connection::answer_close_later`].
    pub(crate) fn answer_close_later(&self) {
        self.lock().connection.answer_close_later();
    }

    /// Whether the peer has closed and waits for an answer.
    pub(crate) fn owes_close(&self) -> bool {
        self.lock().connection.owes_close()
    }

    /// [`Connection::answer_close`].
    pub(crate) fn answer_close(&self) {
        self.lock().connection.answer_close();
    }

    /// A callback is pending: the peer is not read.
    pub(crate) fn hold(&self) {
        self.lock().connection.hold();
    }

    /// No callback is pending any more: the peer is about to be read.
    pub(crate) fn release(&self, now: Time) {
        self.lock().connection.release(now);
    }

    /// Whether it ends without another word to the peer: what was taken need not be written any more.
    pub fn is_silent(&self) -> bool {
        self.lock().connection.is_silent()
    }

    /// [`Connection::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.lock().connection.is_finished()
    }

    /// [`Connection::is_lost`].
    pub fn is_lost(&self) -> bool {
        self.lock().connection.is_lost()
    }

    /// Something of the connection, read under the lock.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> T) -> T {
        read(&self.lock().connection)
    }

    /// The transport is gone: whoever still waits for bytes to be written is told that they were not.
    pub fn finish(&self) {
        let mut state = self.lock();
        state.gone = true;
        state.connection.abort();
        let waiting = mem::take(&mut state.waiting);
        // Handles may live on: what a waker holds (a task, a transport) must not.
        let waker = state.waker.take();
        drop(state);
        drop(waker);
        for (_, waiter) in waiting {
            waiter.complete(Err(SendError::Closed));
        }
    }

    fn lock(&self) -> Locked<'_> {
        Locked { state: self.state.lock(), garbage: None }
    }

    /// Runs a callback of this connection: what it sends is written after it has returned.
    pub(crate) fn during<T>(&self, callback: impl FnOnce() -> T) -> T {
        /// A callback may drive another connection; then this one's goes on.
        struct Before(usize);
        impl Drop for Before {
            fn drop(&mut self) {
                CALLING.with(|calling| calling.set(self.0));
            }
        }
        let _before = Before(CALLING.with(|calling| calling.replace(self.address())));
        callback()
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// Changes the connection from a handle, and wakes whoever writes unless that is where this comes from.
    fn change<T>(&self, change: impl FnOnce(&mut Connection) -> T) -> T {
        let outside = CALLING.with(Cell::get) != self.address();
        let mut state = self.lock();
        let reads = state.connection.wants_read();
        let result = change(&mut state.connection);
        // D16: what comes from outside is not caused by what is read, and does not stop the reading.
        if outside && reads {
            state.connection.read_on();
        }
        let wakes = outside && !mem::replace(&mut state.woken, true);
        let waker = if wakes { state.waker.get().cloned() } else { None };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}

impl State {
    /// Those who waited for what is now written.
    fn completed(&mut self) -> Vec<Waiter> {
        let written = self.connection.written();
        let count = self.waiting.iter().take_while(|(position, _)| *position <= written).count();
        self.waiting.drain(..count).map(|(_, waiter)| waiter).collect()
    }

    fn wait(&mut self, position: StreamOffset, waiter: Waiter) {
        // Several threads may come in another order than their sends.
        let at = self.waiting.partition_point(|(other, _)| *other <= position);
        self.waiting.insert(at, (position, waiter));
    }

    /// Takes out the task that waits as this one.
    fn forget(&mut self, waiter: &WriteWaiter) -> Option<(StreamOffset, Waiter)> {
        let start = self.waiting.partition_point(|(other, _)| *other < waiter.position());
        let same = self.waiting.range(start..).take_while(|(other, _)| *other == waiter.position());
        let at = same.into_iter().position(|(_, other)| matches!(other, Waiter::Task(id, _) if *id == waiter.id()))?;
        self.waiting.remove(start + at)
    }

    /// What is already known about a position: `None` if it has to wait.
    fn outcome(&self, position: StreamOffset) -> Option<Result<(), SendError>> {
        if position <= self.connection.written() {
            Some(Ok(()))
        } else if self.gone {
            Some(Err(SendError::Closed))
        } else {
            None
        }
    }
}

impl Socket for Shared {
    fn id(&self) -> SocketId {
        self.id
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.as_ref()?.peer_addr
    }

    fn path(&self) -> Option<&str> {
        self.context.as_ref()?.path.as_deref()
    }

    fn protocol(&self) -> Option<&str> {
        self.context.as_ref()?.protocol.as_deref()
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        // Dropped when nothing is locked: its owner's code may run then.
        let _share = message.share();
        self.change(|connection| connection.send(message))
    }

    fn ping(&self, data: &[u8]) -> Result<(), SendError> {
        self.change(|connection| connection.ping(data))
    }

    fn pong(&self, data: &[u8]) -> Result<(), SendError> {
        self.change(|connection| connection.pong(data))
    }

    fn answer_ping(&self, data: &[u8]) {
        self.change(|connection| connection.answer_ping(data));
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        self.change(|connection| connection.close(code, reason))
    }

    fn abort(&self) {
        self.change(Connection::abort);
    }

    fn is_open(&self) -> bool {
        self.lock().connection.is_open()
    }

    fn buffered(&self) -> usize {
        self.lock().connection.buffered()
    }

    fn queued(&self) -> StreamOffset {
        self.lock().connection.queued()
    }

    fn room_at(&self, length: usize) -> Option<StreamOffset> {
        self.lock().connection.room_at(length)
    }

    fn closed(&self) -> Option<Closed> {
        self.lock().closed.as_deref().cloned()
    }

    fn when_written(&self, position: StreamOffset, done: Done) {
        let mut state = self.lock();
        match state.outcome(position) {
            None => state.wait(position, Waiter::Done(done)),
            Some(outcome) => {
                drop(state);
                Waiter::Done(done).complete(outcome);
            }
        }
    }

    fn poll_written(&self, waiter: &mut WriteWaiter, waker: &Waker) -> Poll<Result<(), SendError>> {
        let mut state = self.lock();
        if let Some(outcome) = state.outcome(waiter.position()) {
            return Poll::Ready(outcome);
        }
        let before = state.forget(waiter);
        if waiter.id() == 0 {
            state.waiters += 1;
            waiter.set_id(state.waiters);
        }
        state.wait(waiter.position(), Waiter::Task(waiter.id(), waker.clone()));
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }

    fn give_up(&self, waiter: &WriteWaiter) {
        let before = self.lock().forget(waiter);
        drop(before);
    }
}

impl Waiter {
    /// As in Ring, what a completion panics with concerns nobody else: not whoever happened to write.
    fn complete(self, outcome: Result<(), SendError>) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| match self {
            Self::Done(done) => done(outcome),
            // It asks again, and finds the outcome.
            Self::Task(_, waker) => waker.wake(),
        }));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().connection.fmt(f)
    }
}
