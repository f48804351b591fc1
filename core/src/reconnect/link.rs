//! What the handles and the connections of a client that reconnects share: where a message goes that is sent now, and what
//! became of those that were sent before.
//!
//! A message that was sent is in one of three places. With a connection it is queued there, and noted here until the
//! transport has taken its last byte: if the connection ends before, the peer cannot have it whole, and it is sent again,
//! or handed back. Without one it is kept here, if the policy says so. Everything is numbered, so that what comes back
//! finds its place among what was kept since.
//!
//! **Nothing is locked while a connection is told to send**: that calls wakers. So a connection may end between the sending
//! and the noting, and then who sends finds out by itself what became of its message.

#[cfg(all(loom, test))]
mod models;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};

use super::ended::{EndReason, Ended};
use super::failure::Failure;
use super::policy::Offline;
use super::queues::{Accepted, Kept, Numbered, Unwritten};
use super::tracked::Tracked;
use super::waiting::Waiting;
use crate::api::WebSocket;
use crate::protocol::{CloseCode, Error, Outgoing, OwnedMessage, SendError, StreamOffset};
use crate::sync::{Mutex, MutexGuard, WakerSlot};

/// What the handles and the connections of a client that reconnects share.
pub(crate) struct Link {
    offline: Offline,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The connection that there is. One that has ended stays here until it is [lost](Link::lost).
    connection: Option<Connection>,
    /// How many connections there were.
    life: u64,
    /// How many messages were sent here.
    numbered: u64,
    /// What the connection has accepted and not written.
    unwritten: Unwritten,
    /// The connection will say when it has written some of that.
    watched: bool,
    /// What waits for a connection.
    kept: Kept,
    /// One of these is being sent.
    flushing: bool,
    /// It is to end, whatever happens.
    closing: bool,
    /// It has ended: nothing is accepted any more.
    over: bool,
    /// How it has ended, when everybody may know.
    ended: Option<Arc<Ended>>,
    /// Who connects, and waits for something else.
    runner: WakerSlot,
    /// Those who wait for a connection, or for the end.
    waiting: Waiting,
}

struct Connection {
    socket: WebSocket,
    /// The same, for users.
    tracked: WebSocket,
    /// What was kept is sent, so that what is sent now may follow.
    flushed: bool,
    /// It was seen to be closed: nothing more is sent there.
    closed: bool,
    /// This side closes it, with this code.
    closed_with: Option<CloseCode>,
    error: Option<Error>,
}

impl State {
    /// Takes out those who wait, if there is a connection that sends at once: to be woken when nothing is locked.
    fn take_waiting_if_ready(&mut self) -> Vec<Waker> {
        let is_ready = self.connection.as_ref().is_some_and(Connection::is_ready);
        if is_ready { self.waiting.take() } else { Vec::new() }
    }
}

impl Connection {
    fn is_ready(&self) -> bool {
        self.flushed && !self.closed
    }
}

/// What is left of a connection.
#[derive(Default)]
pub(crate) struct Lost {
    /// What it had accepted and not written, and that is not sent again.
    pub(crate) unsent: Vec<OwnedMessage>,
    /// The code with which this side has closed it.
    pub(crate) closed_with: Option<CloseCode>,
    /// What it has failed with.
    pub(crate) error: Option<Error>,
}

impl Link {
    pub(crate) fn new(offline: Offline) -> Arc<Self> {
        Arc::new(Self { offline, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Sends a message by the connection that there is, or keeps it for the next.
    pub(super) fn send(self: &Arc<Self>, message: Outgoing<'_>) -> Result<(), SendError> {
        let mut message = Numbered::new(message.into_shared());
        while let Some((socket, life, numbered)) = self.route(message)? {
            match socket.as_socket().send(numbered.message.again()) {
                Ok(end) => match self.accepted(&socket, life, numbered.accepted(end)) {
                    Ok(()) => return Ok(()),
                    // Its connection has ended before it was written.
                    Err(accepted) => message = accepted.into(),
                },
                Err(SendError::Closed) => {
                    self.is_closed(life);
                    message = numbered;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns the connection that is to send a message; `None` if that was kept.
    fn route(&self, mut message: Numbered) -> Result<Option<(WebSocket, u64, Numbered)>, SendError> {
        let mut state = self.lock();
        if state.over || state.closing {
            return Err(SendError::Closed);
        }
        if message.number == 0 {
            state.numbered += 1;
            message.number = state.numbered;
        }
        if let Some(connection) = state.connection.as_ref().filter(|connection| connection.is_ready()) {
            return Ok(Some((connection.socket.clone(), state.life, message)));
        }
        let Offline::Keep { messages, bytes } = self.offline else { return Err(SendError::Offline) };
        if !state.kept.has_room(&message, messages, bytes) {
            return Err(SendError::Full);
        }
        state.kept.insert(message);
        Ok(None)
    }

    /// Notes what a connection has accepted, until it is written. Gives it back if that connection is lost, and has not
    /// written it.
    pub(super) fn accepted(
        self: &Arc<Self>,
        socket: &WebSocket,
        life: u64,
        accepted: Accepted,
    ) -> Result<(), Accepted> {
        let end = accepted.end;
        let mut state = self.lock();
        if state.life != life || state.connection.is_none() {
            drop(state);
            return if end <= socket.as_socket().written() { Ok(()) } else { Err(accepted) };
        }
        state.unwritten.insert(accepted);
        let watched = mem::replace(&mut state.watched, true);
        drop(state);
        if !watched {
            self.watch(socket, life, end);
        }
        Ok(())
    }

    /// Has a connection say when it has written so much.
    fn watch(self: &Arc<Self>, socket: &WebSocket, life: u64, end: StreamOffset) {
        let link = Arc::downgrade(self);
        let done = move |outcome: Result<(), SendError>| {
            if let (Ok(()), Some(link)) = (outcome, link.upgrade()) {
                link.written(life, end);
            }
        };
        socket.as_socket().when_written(end, Box::new(done));
    }

    /// Forgets what a connection has written.
    fn written(self: &Arc<Self>, life: u64, end: StreamOffset) {
        let mut state = self.lock();
        if state.life != life {
            return;
        }
        let gone = state.unwritten.take_up_to(end);
        let next = state.unwritten.last().zip(state.connection.as_ref());
        let next = next.map(|(end, connection)| (end, connection.socket.clone()));
        state.watched = next.is_some();
        drop(state);
        // A payload may have an owner, whose code runs now.
        drop(gone);
        if let Some((end, socket)) = next {
            self.watch(&socket, life, end);
        }
    }

    fn is_closed(&self, life: u64) {
        let mut state = self.lock();
        if state.life == life {
            if let Some(connection) = &mut state.connection {
                connection.closed = true;
            }
        }
    }

    /// There is a connection. Returns its handle for users. What was kept waits until it is [flushed](Self::flush).
    pub(super) fn opened(self: &Arc<Self>, socket: &WebSocket) -> WebSocket {
        let mut state = self.lock();
        (state.life, state.watched) = (state.life + 1, false);
        let tracked = WebSocket::new(Tracked::new(socket.clone(), self.clone(), state.life));
        let connection = Connection {
            socket: socket.clone(),
            tracked: tracked.clone(),
            // Who is refused without a connection sends as soon as there is one.
            flushed: self.offline == Offline::Refuse,
            closed: false,
            closed_with: None,
            error: None,
        };
        let before = state.connection.replace(connection);
        let (closing, waiting) = (state.closing, state.take_waiting_if_ready());
        drop(state);
        drop(before);
        waiting.into_iter().for_each(Waker::wake);
        if closing {
            // Closed already: that is what is wanted.
            let _ = socket.close();
        }
        tracked
    }

    /// Returns which connection there is, or was last.
    pub(super) fn life(&self) -> u64 {
        self.lock().life
    }

    /// Sends what was kept by this connection, if it is still there, before anything else is sent. Once for each.
    pub(super) fn flush(self: &Arc<Self>, life: u64) {
        while let Some((socket, numbered)) = self.next_kept(life) {
            let left = match socket.as_socket().send_last(numbered.message.again()) {
                Ok(end) => self.accepted(&socket, life, numbered.accepted(end)).err().map(Numbered::from),
                Err(_) => {
                    self.is_closed(life);
                    Some(numbered)
                }
            };
            if let Some(left) = left {
                self.lock().kept.insert(left);
            }
        }
    }

    /// Takes out what is to be sent next of what was kept.
    fn next_kept(&self, life: u64) -> Option<(WebSocket, Numbered)> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let is_current = state.life == life;
        let connection = state.connection.as_mut().filter(|connection| is_current && !connection.closed);
        let next = connection.and_then(|connection| {
            let next = state.kept.pop();
            connection.flushed = next.is_none();
            Some((connection.socket.clone(), next?))
        });
        state.flushing = next.is_some();
        let runner = if state.flushing { None } else { state.runner.take() };
        let waiting = state.take_waiting_if_ready();
        drop(guard);
        runner.into_iter().chain(waiting).for_each(Waker::wake);
        next
    }

    /// Notes that this side is about to close a connection. Returns `true` if it is the first to do so.
    pub(super) fn closes(&self, life: u64, code: Option<CloseCode>) -> bool {
        let mut state = self.lock();
        let is_current = state.life == life;
        let Some(connection) = state.connection.as_mut().filter(|_| is_current) else { return false };
        let is_first = connection.closed_with.is_none();
        if is_first || code.is_none() {
            connection.closed_with = code;
        }
        is_first
    }

    /// The connection has failed.
    pub(super) fn failed(&self, error: Error) {
        if let Some(connection) = &mut self.lock().connection {
            connection.error = Some(error);
        }
    }

    /// The connection has ended, and writes nothing any more. Waits until a message that another thread has taken out of
    /// those that were kept is in its place.
    pub(crate) async fn lost(&self) -> Lost {
        let taken = core::future::poll_fn(|cx| {
            self.poll_until(cx, |state| {
                let taken = || (state.connection.take(), mem::take(&mut state.unwritten));
                (!state.flushing).then(taken)
            })
        });
        let (Some(connection), mut unwritten) = taken.await else { return Lost::default() };
        drop(unwritten.take_up_to(connection.socket.as_socket().written()));
        let (mut unsent, keeps) = (Vec::new(), matches!(self.offline, Offline::Keep { .. }));
        for accepted in unwritten {
            // What was sent by the connection's own handle is about this connection.
            if keeps && accepted.number.is_some() {
                self.lock().kept.insert(accepted.into());
            } else {
                unsent.push(accepted.message.into_owned());
            }
        }
        Lost { unsent, closed_with: connection.closed_with, error: connection.error }
    }

    /// Returns the handle of the connection that there is.
    pub(super) fn socket(&self) -> Option<WebSocket> {
        let state = self.lock();
        state.connection.as_ref().map(|connection| connection.tracked.clone()).filter(WebSocket::is_open)
    }

    /// Ends everything: the connection after what was sent there.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closing = true;
        let socket = state.connection.as_ref().map(|connection| connection.socket.clone());
        let (runner, waiting) = (state.runner.take(), state.waiting.take());
        drop(state);
        if let Some(socket) = socket {
            // Closed already: that is what is wanted.
            let _ = socket.close();
        }
        runner.into_iter().chain(waiting).for_each(Waker::wake);
    }

    /// Returns `true` if everything is to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Waits for a future, unless everything is to end: `None` then.
    pub(crate) async fn unless_closing<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = core::pin::pin!(future);
        core::future::poll_fn(|cx| {
            if self.poll_until(cx, |state| state.closing.then_some(())).is_ready() {
                return Poll::Ready(None);
            }
            future.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// For who connects: ready when there is something to take.
    fn poll_until<T>(&self, cx: &mut Context<'_>, take: impl FnOnce(&mut State) -> Option<T>) -> Poll<T> {
        let mut state = self.lock();
        if let Some(taken) = take(&mut state) {
            return Poll::Ready(taken);
        }
        let before = state.runner.register(cx.waker());
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }

    /// Nothing more will happen. Tells so first, then those who wait for it.
    pub(crate) fn end(&self, reason: EndReason, failure: Option<Arc<Failure>>, tell: impl FnOnce(&Ended)) {
        let mut state = self.lock();
        state.over = true;
        let (kept, runner) = (mem::take(&mut state.kept), state.runner.take());
        // If this task was dropped there may be one: it still writes what it has accepted, if it can.
        let (connection, unwritten) = (state.connection.take(), mem::take(&mut state.unwritten));
        drop(state);
        drop((connection, unwritten, runner));
        let unsent = kept.into_messages().collect();
        let ended = Arc::new(Ended { reason, failure, unsent });
        tell(&ended);
        let mut state = self.lock();
        state.ended = Some(ended);
        let waiting = state.waiting.take();
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Returns how it has ended, once it has.
    pub(super) fn ended(&self) -> Option<Arc<Ended>> {
        self.lock().ended.clone()
    }

    /// Waits until everybody may know how it has ended.
    pub(super) fn wait_ended(self: &Arc<Self>) -> impl Future<Output = Arc<Ended>> + Send + use<> {
        self.wait_until(|state| state.ended.clone())
    }

    /// Waits until there is a connection that sends at once, or until there will be none.
    pub(super) fn wait_connected(
        self: &Arc<Self>,
    ) -> impl Future<Output = Result<WebSocket, SendError>> + Send + use<> {
        self.wait_until(|state| {
            if state.closing || state.over {
                return Some(Err(SendError::Closed));
            }
            let is_open = |connection: &&Connection| connection.is_ready() && connection.socket.is_open();
            let connection = state.connection.as_ref().filter(is_open)?;
            Some(Ok(connection.tracked.clone()))
        })
    }

    /// For users: waits until there is something to take.
    fn wait_until<T, F>(self: &Arc<Self>, take: F) -> impl Future<Output = T> + Send + use<T, F>
    where
        F: Fn(&State) -> Option<T> + Send,
    {
        let mut waiter = Waiter { link: self.clone(), number: 0 };
        core::future::poll_fn(move |cx| waiter.poll(cx, &take))
    }
}

/// Who waits. It leaves no waker behind.
struct Waiter {
    link: Arc<Link>,
    number: u64,
}

impl Waiter {
    fn poll<T>(&mut self, cx: &mut Context<'_>, take: impl Fn(&State) -> Option<T>) -> Poll<T> {
        let mut state = self.link.lock();
        let taken = take(&state);
        let before = match taken {
            Some(_) => None,
            None => state.waiting.register(&mut self.number, cx.waker()),
        };
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        taken.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let before = self.link.lock().waiting.remove(self.number);
        drop(before);
    }
}

debug!(Link);
