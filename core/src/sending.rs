//! Sends that can be awaited, on any runtime.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::SendError;
use crate::socket::{Position, WebSocket};

/// A message on its way: what [`WebSocket::send_and_wait`] returns. Done when the transport has taken its last byte.
///
/// # Cancel safety
/// The message was queued when this was made: dropping it cancels nothing, one just does not hear of the outcome.
#[must_use = "the message is on its way already; await this to wait until the transport has taken it"]
pub struct Sending(Written);

/// Waits until output has drained: what [`WebSocket::writable`] returns.
///
/// # Cancel safety
/// Dropping it changes nothing.
#[must_use = "futures do nothing unless they are polled"]
pub struct Writable {
    socket: WebSocket,
    /// How long a message is to be welcome.
    length: usize,
    waiting: Option<Written>,
}

/// Waits until the transport has taken everything up to a position.
pub(crate) enum Written {
    /// It is not known yet to whoever writes that somebody waits.
    Unasked(WebSocket, Position),
    Asked(Arc<Slot>),
    Done(Result<(), SendError>),
}

/// Where an outcome lies until it is taken.
#[derive(Default)]
pub(crate) struct Slot(Mutex<State>);

#[derive(Default)]
struct State {
    outcome: Option<Result<(), SendError>>,
    waker: Option<Waker>,
}

impl Sending {
    pub(crate) fn new(socket: &WebSocket, queued: Result<Position, SendError>) -> Self {
        Self(match queued {
            Ok(position) => Written::new(socket, position),
            Err(error) => Written::Done(Err(error)),
        })
    }
}

impl Future for Sending {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Writable {
    pub(crate) fn new(socket: &WebSocket, length: usize) -> Self {
        Self { socket: socket.clone(), length, waiting: None }
    }
}

impl Future for Writable {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            if let Some(waiting) = &mut this.waiting {
                ready!(waiting.poll(cx))?;
            }
            // Others may have sent meanwhile.
            match this.socket.as_socket().welcomes_at(this.length) {
                Some(position) if this.socket.is_open() => {
                    this.waiting = Some(Written::new(&this.socket, position));
                }
                _ if this.socket.is_open() => return Poll::Ready(Ok(())),
                _ => return Poll::Ready(Err(SendError::Closed)),
            }
        }
    }
}

impl Written {
    pub(crate) fn new(socket: &WebSocket, position: Position) -> Self {
        Self::Unasked(socket.clone(), position)
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if let Self::Unasked(socket, position) = self {
            let slot = Arc::new(Slot::default());
            let done = slot.clone();
            socket.as_socket().when_written(*position, Box::new(move |outcome| done.set(outcome)));
            *self = Self::Asked(slot);
        }
        if let Self::Asked(slot) = self {
            match slot.poll(cx.waker()) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(outcome) => *self = Self::Done(outcome),
            }
        }
        match self {
            Self::Done(outcome) => Poll::Ready(*outcome),
            Self::Unasked(..) | Self::Asked(_) => Poll::Pending,
        }
    }
}

impl Drop for Written {
    /// Nobody waits any more: what the waker holds is let go, though the completion stays.
    fn drop(&mut self) {
        if let Self::Asked(slot) = self {
            slot.forget();
        }
    }
}

impl Slot {
    fn set(&self, outcome: Result<(), SendError>) {
        let mut state = self.lock();
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll(&self, waker: &Waker) -> Poll<Result<(), SendError>> {
        let mut state = self.lock();
        if let Some(outcome) = state.outcome {
            return Poll::Ready(outcome);
        }
        let before = match &state.waker {
            Some(known) if known.will_wake(waker) => None,
            _ => state.waker.replace(waker.clone()),
        };
        // A waker may do anything when it is dropped.
        drop(state);
        drop(before);
        Poll::Pending
    }

    fn forget(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sending").finish_non_exhaustive()
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").field("socket", &self.socket).finish_non_exhaustive()
    }
}
