//! Sends that can be awaited, on any runtime.

use core::pin::Pin;
use core::task::{Context, Poll, ready};

use super::socket::{WebSocket, WriteWaiter};
use crate::protocol::{Outgoing, SendError, StreamOffset};

/// A message on its way: what [`WebSocket::send_and_wait`] returns. Done when the transport has taken its last byte.
///
/// # Cancel safety
/// The message was queued when this was made: dropping it cancels nothing, its outcome is just not heard of.
#[must_use = "the message is on its way already; await this to wait until the transport has taken it"]
pub struct Sending(Written);

/// Waits until output has drained: what [`WebSocket::writable`] returns.
///
/// # Cancel safety
/// Dropping it changes nothing.
#[must_use = "futures do nothing unless they are polled"]
pub struct Writable {
    socket: WebSocket,
    waiting: Option<Written>,
}

/// Waits until the transport has taken everything up to a position.
pub(crate) enum Written {
    Waiting(WebSocket, WriteWaiter),
    Done(Result<(), SendError>),
}

impl WebSocket {
    /// Sends a message, and waits until the transport has taken its last byte. The message is queued when this is
    /// called, not when the future is first polled. It needs no runtime.
    ///
    /// A callback of an asynchronous listener may await it: output is written meanwhile. A callback of a plain
    /// listener has nothing to await it with.
    ///
    /// # Errors
    /// The future's: as [`send`](Self::send), and [`SendError::Closed`] if the connection ended before.
    ///
    /// # Cancel safety
    /// Dropping the future cancels nothing: the message is on its way already.
    pub fn send_and_wait<'m>(&self, message: impl Into<Outgoing<'m>>) -> Sending {
        Sending(match self.as_socket().send(message.into()) {
            Ok(position) => Written::new(self, position),
            Err(error) => Written::Done(Err(error)),
        })
    }

    /// Waits until output has drained, if much is queued: above
    /// [`Config::high_watermark`](crate::Config::high_watermark) it is done when what was queued by then is down to
    /// [`Config::low_watermark`](crate::Config::low_watermark), and otherwise at once. For programs that send without
    /// being asked.
    ///
    /// # Errors
    /// The future's: [`SendError::Closed`] if the connection is closed or ends before.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn writable(&self) -> Writable {
        Writable { socket: self.clone(), waiting: None }
    }
}

impl Future for Sending {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(cx)
    }
}

impl Future for Writable {
    type Output = Result<(), SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { socket, waiting } = &mut *self;
        ready!(poll_room(socket, 0, waiting, cx))?;
        Poll::Ready(if socket.is_open() { Ok(()) } else { Err(SendError::Closed) })
    }
}

/// Ready when there is room for a message of this length. Whether the socket is open is asked only if there is none: a
/// send says that, too.
pub(crate) fn poll_room(
    socket: &WebSocket,
    length: usize,
    waiting: &mut Option<Written>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), SendError>> {
    loop {
        if let Some(written) = waiting {
            ready!(written.poll(cx))?;
            *waiting = None;
        }
        // Others may have sent meanwhile.
        let Some(position) = socket.as_socket().room_at(length) else { return Poll::Ready(Ok(())) };
        if !socket.is_open() {
            return Poll::Ready(Err(SendError::Closed));
        }
        *waiting = Some(Written::new(socket, position));
    }
}

impl Written {
    pub(crate) fn new(socket: &WebSocket, position: StreamOffset) -> Self {
        Self::Waiting(socket.clone(), WriteWaiter::new(position))
    }

    /// Waits until nothing is written any more: the transport is closed.
    pub(crate) async fn ended(socket: &WebSocket) {
        // No connection ever gets so far.
        let mut end = Self::new(socket, StreamOffset::new(u64::MAX));
        let _ = core::future::poll_fn(|cx| end.poll(cx)).await;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        let outcome = match self {
            Self::Waiting(socket, waiter) => ready!(socket.as_socket().poll_written(waiter, cx.waker())),
            Self::Done(outcome) => *outcome,
        };
        *self = Self::Done(outcome);
        Poll::Ready(outcome)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        if let Self::Waiting(socket, waiter) = self {
            socket.as_socket().give_up(waiter);
        }
    }
}

debug!(Sending);

debug!(Writable => |this| socket: this.socket);
