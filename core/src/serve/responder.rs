//! Handlers that answer later: Ring's handlers with three arguments.
//!
//! A [`Responder`] is what such a handler gets, an [`Answer`] the other end, where the connection's driver waits.
//! No lock is held while a waker is called, or a response is dropped.

use alloc::sync::Arc;
use core::fmt;
use core::mem;
use core::task::{Poll, Waker};

use super::error::ServerError;
use crate::api::{AsyncResponse, IntoResponse, Response};
use crate::protocol::BoxError;
use crate::sync::{Mutex, MutexGuard, WakerSlot};

/// Answers one request, later and from anywhere. Each call takes the responder, so a request cannot be answered twice.
///
/// Dropped without an answer it is a 500, and [`ServerError::NoAnswer`] for the server's owner. After
/// [`Config::handler_timeout`](crate::Config::handler_timeout) the peer gets 503, and the owner
/// [`ServerError::HandlerTimeout`].
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, Responder, Response, listener};
/// use std::thread;
///
/// fn handler(request: Request, responder: Responder) {
///     thread::spawn(move || match request.path() {
///         "/echo" => responder.respond(Response::websocket(
///             listener().on_message(|socket, message| socket.send(message)),
///         )),
///         "/broken" => responder.raise("out of order"),
///         _ => responder.respond(Response::not_found()),
///     });
/// }
/// ```
pub struct Responder(Arc<Slot>);

/// The other end of a [`Responder`]. Dropping it says that the answer is not wanted any more.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Responder, Response};
///
/// let (responder, answer) = Responder::pair();
/// assert!(answer.take().is_none());
/// responder.respond(Response::text("at last"));
/// assert_eq!(answer.take().unwrap().unwrap().status(), 200);
/// ```
pub struct Answer(Arc<Slot>);

/// Where an answer lies until it is taken.
pub(super) struct Slot(Mutex<AnswerState>);

enum AnswerState {
    /// There is none yet; the waker is called when there is.
    Waiting(WakerSlot),
    Answered(Result<AsyncResponse, ServerError>),
    /// It was taken, or is not wanted any more.
    Done,
}

impl Responder {
    /// Creates a responder and its answer: for tests of handlers, and for drivers of your own.
    pub fn pair() -> (Self, Answer) {
        let slot = Arc::new(Slot(Mutex::new(AnswerState::Waiting(WakerSlot::new()))));
        (Self(slot.clone()), Answer(slot))
    }

    /// Answers. An `Err` of [`IntoResponse`] is [raised](Self::raise).
    ///
    /// If the answer is [not waited for](Self::is_waiting) any more, this does nothing: the response is dropped, and no
    /// callback of its listener runs.
    pub fn respond(self, response: impl IntoResponse) {
        self.answer(response.into_response().map(AsyncResponse::from));
    }

    /// As [`respond`](Self::respond), for asynchronous handlers.
    pub(crate) fn answer(self, response: Result<AsyncResponse, BoxError>) {
        self.0.answer(response.map_err(ServerError::Handler));
    }

    /// Fails: the peer gets 500, and the server's owner [the error](ServerError::Handler).
    ///
    /// If the answer is [not waited for](Self::is_waiting) any more, this does nothing.
    pub fn raise(self, error: impl Into<BoxError>) {
        self.0.answer(Err(ServerError::Handler(error.into())));
    }

    /// Returns `true` if the answer is still waited for. It is not when the peer has left (which includes one that only
    /// ended its sending side), when the handler has taken too long
    /// ([`Config::handler_timeout`](crate::Config::handler_timeout)), and when the server was shut down.
    ///
    /// A peer is read ahead of the answer so that its end is seen: no more than 64 KiB, and a read that goes beyond
    /// that. The end of one that sends more unasked is seen after the answer.
    pub fn is_waiting(&self) -> bool {
        self.0.is_waiting()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        // After an answer this does nothing.
        self.0.answer(Err(ServerError::NoAnswer));
    }
}

impl Answer {
    /// Returns the answer, once; `None` before there is one, and afterwards.
    ///
    /// # Errors
    /// Inside: [`ServerError::Handler`] with what was raised, [`ServerError::NoAnswer`] if the responder was
    /// dropped.
    pub fn take(&self) -> Option<Result<Response, ServerError>> {
        self.take_any().map(|answer| answer.map(|response| response.into_parts().0))
    }

    /// As [`take`](Self::take), if the handler may be an asynchronous one.
    pub(super) fn take_any(&self) -> Option<Result<AsyncResponse, ServerError>> {
        let mut state = self.0.lock();
        match mem::replace(&mut *state, AnswerState::Done) {
            AnswerState::Answered(answer) => Some(answer),
            before => {
                *state = before;
                None
            }
        }
    }

    /// As [`take`](Self::take); if there is no answer yet, `waker` is called once there is, in place of the one
    /// before.
    ///
    /// # Errors
    /// Inside, as [`take`](Self::take).
    pub fn poll(&self, waker: &Waker) -> Poll<Result<Response, ServerError>> {
        self.poll_any(waker).map(|answer| answer.map(|response| response.into_parts().0))
    }

    pub(super) fn poll_any(&self, waker: &Waker) -> Poll<Result<AsyncResponse, ServerError>> {
        self.0.register(waker);
        self.take_any().map_or(Poll::Pending, Poll::Ready)
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.0
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}

impl Slot {
    /// Ends the wait for the answer, and wakes the driver that waits.
    pub(super) fn give_up(&self) {
        self.close().wake();
    }

    fn answer(&self, answer: Result<AsyncResponse, ServerError>) {
        let mut other = AnswerState::Answered(answer);
        let mut state = self.lock();
        if matches!(*state, AnswerState::Waiting(_)) {
            mem::swap(&mut *state, &mut other);
        }
        drop(state);
        other.wake();
    }

    fn register(&self, waker: &Waker) {
        let mut state = self.lock();
        let before = if let AnswerState::Waiting(waiting) = &mut *state { waiting.register(waker) } else { None };
        drop(state);
        drop(before);
    }

    fn is_waiting(&self) -> bool {
        matches!(*self.lock(), AnswerState::Waiting(_))
    }

    /// Returns what was there, to be dropped without the lock.
    fn close(&self) -> AnswerState {
        mem::replace(&mut *self.lock(), AnswerState::Done)
    }

    fn lock(&self) -> MutexGuard<'_, AnswerState> {
        self.0.lock()
    }
}

impl AnswerState {
    /// Wakes the driver that has waited. An answer is dropped.
    fn wake(self) {
        if let Self::Waiting(mut waiting) = self {
            waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("is_waiting", &self.is_waiting()).finish()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("is_waiting", &self.0.is_waiting()).finish()
    }
}
