//! Sends that can be awaited, on any runtime.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::socket::{Ticket, WebSocket};
use crate::protocol::{Position, SendError};

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
    Waiting(WebSocket, Ticket),
    Done(Result<(), SendError>),
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
        Self::Waiting(socket.clone(), Ticket::new(position))
    }

    /// Waits until nothing is written any more: the transport is closed.
    pub(crate) async fn ended(socket: &WebSocket) {
        // No connection ever gets so far.
        let mut end = Self::new(socket, Position(u64::MAX));
        let _ = core::future::poll_fn(|cx| end.poll(cx)).await;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let outcome = match self {
            Self::Waiting(socket, ticket) => ready!(socket.as_socket().poll_written(ticket, cx.waker())),
            Self::Done(outcome) => *outcome,
        };
        *self = Self::Done(outcome);
        Poll::Ready(outcome)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Self::Waiting(socket, ticket) = self {
            socket.as_socket().give_up(ticket);
        }
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
