//! Ring's listener: the [`Listener`] trait, and closures as a listener.

use alloc::boxed::Box;
use core::fmt;

use crate::close::CloseCode;
use crate::error::{BoxError, Error};
use crate::event::Message;
use crate::socket::WebSocket;

/// What a callback returns: an error fails the connection with 1011.
pub type Outcome = Result<(), BoxError>;

/// Receives the events of one connection: Ring's `Listener` and `PingListener` in one.
///
/// Every method has a default. Events come serially, in wire order: `on_open` first, `on_close` exactly
/// once and last, and if `on_open` ran then `on_close` will, whatever died. `on_error` is followed by
/// `on_close`. An error or a panic in a callback closes the connection with 1011 and comes back in `on_error`.
pub trait Listener: Send {
    /// What a wrapper wraps: the events that it does not override go there, the choice about pings included.
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        None
    }

    /// The connection is open; messages may be sent.
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_open(socket))
    }

    /// A whole message arrived.
    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_message(socket, message))
    }

    /// A ping arrived. The default answers with a pong that carries the same data; whoever overrides this
    /// takes the duty over (Ring's `PingListener`).
    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        match self.inner() {
            Some(inner) => inner.on_ping(socket, data),
            None => {
                socket.as_socket().answer_ping(data);
                Ok(())
            }
        }
    }

    /// A pong arrived, asked for or not.
    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.inner().map_or(Ok(()), |inner| inner.on_pong(socket, data))
    }

    /// The connection failed; `on_close` is next.
    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        if let Some(inner) = self.inner() {
            inner.on_error(socket, error);
        }
    }

    /// The connection ended. [`WebSocket::closed`] says more.
    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(inner) = self.inner() {
            inner.on_close(socket, code, reason);
        }
    }
}

impl<L: Listener + ?Sized> Listener for Box<L> {
    fn inner(&mut self) -> Option<&mut dyn Listener> {
        (**self).inner()
    }

    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        (**self).on_open(socket)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        (**self).on_message(socket, message)
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        (**self).on_ping(socket, data)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        (**self).on_pong(socket, data)
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        (**self).on_error(socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        (**self).on_close(socket, code, reason);
    }
}

/// A listener made of closures, as Ring's map of functions; events without one are ignored, and pings
/// are answered.
///
/// ```
/// use bellwire_core::{listener, testing::{Recorder, Sent}, IntoListener, Listener, Message};
///
/// let recorder = Recorder::new();
/// let mut echo = listener()
///     .on_open(|socket| socket.send("hello"))
///     .on_message(|socket, message| socket.send(message))
///     .into_listener();
/// echo.on_open(&recorder.socket()).unwrap();
/// echo.on_message(&recorder.socket(), Message::Binary(b"\x01")).unwrap();
/// assert_eq!(recorder.sent(), [Sent::text("hello"), Sent::binary(b"\x01")]);
/// ```
pub fn listener() -> Closures {
    Closures::default()
}

type OnSocket = Box<dyn FnMut(&WebSocket) -> Outcome + Send>;
type OnMessage = Box<dyn FnMut(&WebSocket, Message<'_>) -> Outcome + Send>;
type OnData = Box<dyn FnMut(&WebSocket, &[u8]) -> Outcome + Send>;
type OnError = Box<dyn FnMut(&WebSocket, &Error) + Send>;
type OnClose = Box<dyn FnMut(&WebSocket, CloseCode, &str) + Send>;

/// The builder behind [`listener`]. [`into_listener`](IntoListener::into_listener) makes a [`Listener`] of
/// it, for tests that call its events by hand.
#[derive(Default)]
pub struct Closures(Slots);

#[derive(Default)]
struct Slots {
    open: Option<OnSocket>,
    message: Option<OnMessage>,
    ping: Option<OnData>,
    pong: Option<OnData>,
    error: Option<OnError>,
    close: Option<OnClose>,
}

impl Closures {
    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(mut self, mut callback: impl FnMut(&WebSocket) -> R + Send + 'static) -> Self {
        self.0.open = Some(Box::new(move |socket| callback(socket).into_outcome()));
        self
    }

    /// Called for each whole message.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&WebSocket, Message<'_>) -> R + Send + 'static,
    ) -> Self {
        self.0.message = Some(Box::new(move |socket, message| callback(socket, message).into_outcome()));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&WebSocket, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.0.ping = Some(Box::new(move |socket, data| callback(socket, data).into_outcome()));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&WebSocket, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.0.pong = Some(Box::new(move |socket, data| callback(socket, data).into_outcome()));
        self
    }

    /// Called when the connection failed; its result does not matter any more.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&WebSocket, &Error) -> R + Send + 'static,
    ) -> Self {
        self.0.error = Some(Box::new(move |socket, error| drop(callback(socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&WebSocket, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.0.close = Some(Box::new(move |socket, code, reason| drop(callback(socket, code, reason).into_outcome())));
        self
    }
}

impl fmt::Debug for Closures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closures").finish_non_exhaustive()
    }
}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl Listener for Slots {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.open.as_mut().map_or(Ok(()), |callback| callback(socket))
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.message.as_mut().map_or(Ok(()), |callback| callback(socket, message))
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        match &mut self.ping {
            Some(callback) => callback(socket, data),
            None => {
                socket.as_socket().answer_ping(data);
                Ok(())
            }
        }
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.pong.as_mut().map_or(Ok(()), |callback| callback(socket, data))
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        if let Some(callback) = &mut self.error {
            callback(socket, error);
        }
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        if let Some(callback) = &mut self.close {
            callback(socket, code, reason);
        }
    }
}

/// What a response can carry: every [`Listener`], and the builder of [`listener`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "implement `Listener` for it, or build one with `listener().on_message(|socket, message| ..)`"
)]
pub trait IntoListener {
    /// The listener, ready to receive events.
    fn into_listener(self) -> Box<dyn Listener>;
}

impl<L: Listener + 'static> IntoListener for L {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(self)
    }
}

impl IntoListener for Closures {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(self.0)
    }
}

/// What a callback may return: `()`, a `Result`, or nothing at all because it never returns.
#[diagnostic::on_unimplemented(
    message = "a callback returns `()` or `Result<(), E>`, not `{Self}`",
    note = "end it with `;` to drop the value, or annotate `|..| -> Outcome {{ .. Ok(()) }}`"
)]
pub trait IntoOutcome {
    /// The outcome.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Ok(())
    }
}

impl<E: Into<BoxError>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Outcome {
        self.map_err(Into::into)
    }
}

/// The type `!`, by the only name that stable Rust has for it: edition 2024 gives it to `|_| panic!()`.
#[doc(hidden)]
pub trait Returns {
    /// What the function returns.
    type Output;
}

impl<T> Returns for fn() -> T {
    type Output = T;
}

impl IntoOutcome for <fn() -> ! as Returns>::Output {
    fn into_outcome(self) -> Outcome {
        self
    }
}
