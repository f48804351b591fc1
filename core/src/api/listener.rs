//! Ring's listener: the [`Listener`] trait, and closures as a listener.

use alloc::boxed::Box;
use core::fmt;

use super::socket::WebSocket;
use crate::protocol::{BoxError, CloseCode, Error, Message};

/// What a callback returns: an error fails the connection with 1011.
pub type Outcome = Result<(), BoxError>;

/// The end of a closure that uses `?`: `Ok(())`, with the type that it needs.
///
/// A callback may return any error, so behind `?` rustc cannot tell which one is meant by a mere `Ok(())`:
/// "type annotations needed". This says that it is [`BoxError`], into which all others turn.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{done, listener};
///
/// let doubling = listener().on_message(|socket, message| {
///     let number: i32 = message.as_text().ok_or("a number is text")?.parse()?;
///     socket.send((2 * number).to_string())?;
///     done()
/// });
/// ```
///
/// The same in a closure of any other kind, also an `async` one. To name the type, write `|socket, message| -> Outcome`.
pub fn done() -> Outcome {
    Ok(())
}

/// Receives the events of one connection: Ring's `Listener` and `PingListener` in one.
///
/// Every method has a default. Events come serially, in wire order: `on_open` first, `on_close` exactly
/// once and last, and if `on_open` ran then `on_close` will, whatever died. `on_error` is followed by
/// `on_close`, unless a wrapper called it. An error or a panic in a callback closes the connection with 1011 and
/// comes back in `on_error`.
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

    /// The connection failed; `on_close` is next. Only an [`Error::Decode`] leaves it open.
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
/// # use bellwire_core as bellwire;
/// use bellwire::{Listener, Message, listener};
/// use bellwire::listener::IntoListener;
/// use bellwire::testing::{Recorder, Sent};
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

type OnOpen<T> = Box<dyn FnMut(&mut T, &WebSocket) -> Outcome + Send>;
type OnMessage<T> = Box<dyn FnMut(&mut T, &WebSocket, Message<'_>) -> Outcome + Send>;
type OnData<T> = Box<dyn FnMut(&mut T, &WebSocket, &[u8]) -> Outcome + Send>;
type OnError<T> = Box<dyn FnMut(&mut T, &WebSocket, &Error) + Send>;
type OnClose<T> = Box<dyn FnMut(&mut T, &WebSocket, CloseCode, &str) + Send>;

/// The builder behind [`listener`]. [`into_listener`](IntoListener::into_listener) makes a [`Listener`] of
/// it, for tests that call its events by hand.
pub struct Closures(Stateful<()>);

impl Closures {
    /// Gives the callbacks that are set from here on a state, as their first argument. Those that were set
    /// before stay as they are.
    ///
    /// The state is of one connection, and is dropped with its listener: what connections share is shared by a
    /// clone of its [`Arc`](alloc::sync::Arc).
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, WebSocket, listener};
    /// use std::{collections::HashSet, sync::{Arc, Mutex}};
    ///
    /// type Room = Arc<Mutex<HashSet<WebSocket>>>;
    ///
    /// fn join(room: &Room) -> Response {
    ///     Response::websocket(
    ///         listener()
    ///             .with_state(room.clone())
    ///             .on_open(|room, socket| {
    ///                 room.lock().unwrap().insert(socket.clone());
    ///             })
    ///             .on_message(|room, _, message| {
    ///                 // Sends under no lock, and a member that has left is not the sender's failure.
    ///                 let members = room.lock().unwrap().clone();
    ///                 members.iter().for_each(|member| drop(member.send(message)));
    ///             })
    ///             .on_close(|room, socket, _, _| {
    ///                 room.lock().unwrap().remove(socket);
    ///             }),
    ///     )
    /// }
    ///
    /// let room = Room::default();
    /// let handler = move |_: &Request| join(&room);
    /// # drop(handler);
    /// ```
    #[must_use]
    pub fn with_state<T: Send + 'static>(self, state: T) -> Stateful<T> {
        Stateful::new(state, self.into_listener())
    }

    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(self, mut callback: impl FnMut(&WebSocket) -> R + Send + 'static) -> Self {
        Self(self.0.on_open(move |_, socket| callback(socket)))
    }

    /// Called for each whole message.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&WebSocket, Message<'_>) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_message(move |_, socket, message| callback(socket, message)))
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(self, mut callback: impl FnMut(&WebSocket, &[u8]) -> R + Send + 'static) -> Self {
        Self(self.0.on_ping(move |_, socket, data| callback(socket, data)))
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(self, mut callback: impl FnMut(&WebSocket, &[u8]) -> R + Send + 'static) -> Self {
        Self(self.0.on_pong(move |_, socket, data| callback(socket, data)))
    }

    /// Called when the connection failed, or could not make sense of a message ([`Error::Decode`]); its result does not
    /// matter any more.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(self, mut callback: impl FnMut(&WebSocket, &Error) -> R + Send + 'static) -> Self {
        Self(self.0.on_error(move |_, socket, error| callback(socket, error)))
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&WebSocket, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_close(move |_, socket, code, reason| callback(socket, code, reason)))
    }
}

/// [`Closures`] with a state, which each callback gets first: what [`Closures::with_state`] makes.
pub struct Stateful<T>(Slots<T>);

struct Slots<T> {
    state: T,
    /// Gets the events that have no callback here.
    before: Box<dyn Listener>,
    open: Option<OnOpen<T>>,
    message: Option<OnMessage<T>>,
    ping: Option<OnData<T>>,
    pong: Option<OnData<T>>,
    error: Option<OnError<T>>,
    close: Option<OnClose<T>>,
}

impl<T> Stateful<T> {
    fn new(state: T, before: Box<dyn Listener>) -> Self {
        Self(Slots { state, before, open: None, message: None, ping: None, pong: None, error: None, close: None })
    }

    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket) -> R + Send + 'static,
    ) -> Self {
        self.0.open = Some(Box::new(move |state, socket| callback(state, socket).into_outcome()));
        self
    }

    /// Called for each whole message.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket, Message<'_>) -> R + Send + 'static,
    ) -> Self {
        self.0.message = Some(Box::new(move |state, socket, message| callback(state, socket, message).into_outcome()));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.0.ping = Some(Box::new(move |state, socket, data| callback(state, socket, data).into_outcome()));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.0.pong = Some(Box::new(move |state, socket, data| callback(state, socket, data).into_outcome()));
        self
    }

    /// Called when the connection failed, or could not make sense of a message ([`Error::Decode`]); its result does not
    /// matter any more.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket, &Error) -> R + Send + 'static,
    ) -> Self {
        self.0.error = Some(Box::new(move |state, socket, error| drop(callback(state, socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &WebSocket, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.0.close = Some(Box::new(move |state, socket, code, reason| {
            drop(callback(state, socket, code, reason).into_outcome())
        }));
        self
    }
}

/// Without callbacks, there are the defaults.
impl Default for Closures {
    fn default() -> Self {
        struct Defaults;
        impl Listener for Defaults {}
        Self(Stateful::new((), Box::new(Defaults)))
    }
}

impl fmt::Debug for Closures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closures").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Stateful<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stateful").finish_non_exhaustive()
    }
}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl<T: Send> Listener for Slots<T> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        match &mut self.open {
            Some(callback) => callback(&mut self.state, socket),
            None => self.before.on_open(socket),
        }
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        match &mut self.message {
            Some(callback) => callback(&mut self.state, socket, message),
            None => self.before.on_message(socket, message),
        }
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        match &mut self.ping {
            Some(callback) => callback(&mut self.state, socket, data),
            None => self.before.on_ping(socket, data),
        }
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        match &mut self.pong {
            Some(callback) => callback(&mut self.state, socket, data),
            None => self.before.on_pong(socket, data),
        }
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        match &mut self.error {
            Some(callback) => callback(&mut self.state, socket, error),
            None => self.before.on_error(socket, error),
        }
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        match &mut self.close {
            Some(callback) => callback(&mut self.state, socket, code, reason),
            None => self.before.on_close(socket, code, reason),
        }
    }
}

/// What a response can carry: every [`Listener`], and the builders of [`listener`] and [`typed_listener`].
///
/// [`typed_listener`]: crate::typed_listener
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a listener",
    note = "implement `Listener` for it, or build one with `listener().on_message(|socket, message| ..)`",
    note = "an asynchronous listener goes to `AsyncResponse::websocket`, on a backend whose server has `run_async`"
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
        self.0.into_listener()
    }
}

impl<T: Send + 'static> IntoListener for Stateful<T> {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(self.0)
    }
}

/// What a callback may return: `()`, a `Result`, or nothing at all because it never returns.
#[diagnostic::on_unimplemented(
    message = "a callback returns `()` or `Result<(), E>`, not `{Self}`",
    note = "an `async` closure goes to `async_listener()`, for typed messages to `typed_async_listener(..)`",
    note = "a value that is not needed is dropped by `;`, and `?` needs `done()` at the end in place of `Ok(())`"
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
