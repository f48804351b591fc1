//! Closures as a listener of typed messages, with or without a state.

use alloc::boxed::Box;
use core::fmt;

use super::listener::{IntoListener, IntoOutcome, Listener, Outcome};
use super::typed::{Codec, TypedListener, typed};
use super::typed_socket::TypedSocket;
use crate::protocol::{CloseCode, Error};

/// A [`TypedListener`] made of closures, as [`listener`](crate::listener()) makes a [`Listener`]. The codec comes first,
/// so the closures need no annotation.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Response, typed_listener};
/// # use bellwire::{BoxError, Codec, Message, OwnedMessage};
/// # struct Numbers;
/// # impl Codec for Numbers {
/// #     type In = i64;
/// #     type Out = i64;
/// #     fn decode(&self, message: Message<'_>) -> Result<i64, BoxError> {
/// #         Ok(message.as_text().ok_or("a number is text")?.parse()?)
/// #     }
/// #     fn encode(&self, number: &i64) -> Result<OwnedMessage, BoxError> {
/// #         Ok(number.to_string().into())
/// #     }
/// # }
///
/// // `Numbers` is the codec of the example at `typed`.
/// let response = Response::websocket(
///     typed_listener(Numbers)
///         .on_open(|socket| socket.send(&0))
///         .on_message(|socket, number| socket.send(&number.pow(2)))
///         .on_error(|socket, _| socket.close_with(1007, "Not a number")),
/// );
/// ```
pub fn typed_listener<C: Codec>(codec: C) -> TypedClosures<C> {
    TypedClosures(TypedStateful::new(codec, (), Box::new(Defaults)))
}

type OnOpen<C, T> = Box<dyn FnMut(&mut T, &TypedSocket<C>) -> Outcome + Send>;
type OnMessage<C, T> = Box<dyn FnMut(&mut T, &TypedSocket<C>, <C as Codec>::In) -> Outcome + Send>;
type OnData<C, T> = Box<dyn FnMut(&mut T, &TypedSocket<C>, &[u8]) -> Outcome + Send>;
type OnError<C, T> = Box<dyn FnMut(&mut T, &TypedSocket<C>, &Error) + Send>;
type OnClose<C, T> = Box<dyn FnMut(&mut T, &TypedSocket<C>, CloseCode, &str) + Send>;

/// The builder behind [`typed_listener`].
pub struct TypedClosures<C: Codec>(TypedStateful<C, ()>);

/// [`TypedClosures`] with a state, which each callback gets first: what [`TypedClosures::with_state`] makes.
pub struct TypedStateful<C: Codec, T> {
    codec: C,
    slots: Slots<C, T>,
}

struct Slots<C: Codec, T> {
    state: T,
    /// Gets the events that have no callback here.
    before: Box<dyn TypedListener<C>>,
    open: Option<OnOpen<C, T>>,
    message: Option<OnMessage<C, T>>,
    ping: Option<OnData<C, T>>,
    pong: Option<OnData<C, T>>,
    error: Option<OnError<C, T>>,
    close: Option<OnClose<C, T>>,
}

impl<C: Codec> TypedClosures<C> {
    /// Gives the callbacks that are set from here on a state, as their first argument, as
    /// [`Closures::with_state`](crate::Closures::with_state) does.
    #[must_use]
    pub fn with_state<T: Send + 'static>(self, state: T) -> TypedStateful<C, T> {
        TypedStateful::new(self.0.codec, state, Box::new(self.0.slots))
    }

    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(self, mut callback: impl FnMut(&TypedSocket<C>) -> R + Send + 'static) -> Self {
        Self(self.0.on_open(move |(), socket| callback(socket)))
    }

    /// Called for each message that could be decoded.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, C::In) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_message(move |(), socket, message| callback(socket, message)))
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_ping(move |(), socket, data| callback(socket, data)))
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_pong(move |(), socket, data| callback(socket, data)))
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), and when the connection failed; its result
    /// does not matter.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, &Error) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_error(move |(), socket, error| callback(socket, error)))
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_close(move |(), socket, code, reason| callback(socket, code, reason)))
    }
}

impl<C: Codec, T> TypedStateful<C, T> {
    fn new(codec: C, state: T, before: Box<dyn TypedListener<C>>) -> Self {
        let slots =
            Slots { state, before, open: None, message: None, ping: None, pong: None, error: None, close: None };
        Self { codec, slots }
    }

    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>) -> R + Send + 'static,
    ) -> Self {
        self.slots.open = Some(Box::new(move |state, socket| callback(state, socket).into_outcome()));
        self
    }

    /// Called for each message that could be decoded.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>, C::In) -> R + Send + 'static,
    ) -> Self {
        self.slots.message =
            Some(Box::new(move |state, socket, message| callback(state, socket, message).into_outcome()));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.slots.ping = Some(Box::new(move |state, socket, data| callback(state, socket, data).into_outcome()));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.slots.pong = Some(Box::new(move |state, socket, data| callback(state, socket, data).into_outcome()));
        self
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), and when the connection failed; its result
    /// does not matter.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>, &Error) -> R + Send + 'static,
    ) -> Self {
        self.slots.error =
            Some(Box::new(move |state, socket, error| drop(callback(state, socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&mut T, &TypedSocket<C>, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.slots.close = Some(Box::new(move |state, socket, code, reason| {
            drop(callback(state, socket, code, reason).into_outcome())
        }));
        self
    }
}

impl<C: Codec> IntoListener for TypedClosures<C> {
    fn into_listener(self) -> Box<dyn Listener> {
        self.0.into_listener()
    }
}

impl<C: Codec, T: Send + 'static> IntoListener for TypedStateful<C, T> {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(typed(self.codec, self.slots))
    }
}

impl<C: Codec> fmt::Debug for TypedClosures<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedClosures").finish_non_exhaustive()
    }
}

impl<C: Codec, T> fmt::Debug for TypedStateful<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedStateful").finish_non_exhaustive()
    }
}

/// Without callbacks, there are the defaults.
struct Defaults;

impl<C: Codec> TypedListener<C> for Defaults {}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl<C: Codec, T: Send> TypedListener<C> for Slots<C, T> {
    fn on_open(&mut self, socket: &TypedSocket<C>) -> Outcome {
        match &mut self.open {
            Some(callback) => callback(&mut self.state, socket),
            None => self.before.on_open(socket),
        }
    }

    fn on_message(&mut self, socket: &TypedSocket<C>, message: C::In) -> Outcome {
        match &mut self.message {
            Some(callback) => callback(&mut self.state, socket, message),
            None => self.before.on_message(socket, message),
        }
    }

    fn on_ping(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        match &mut self.ping {
            Some(callback) => callback(&mut self.state, socket, data),
            None => self.before.on_ping(socket, data),
        }
    }

    fn on_pong(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        match &mut self.pong {
            Some(callback) => callback(&mut self.state, socket, data),
            None => self.before.on_pong(socket, data),
        }
    }

    fn on_error(&mut self, socket: &TypedSocket<C>, error: &Error) {
        match &mut self.error {
            Some(callback) => callback(&mut self.state, socket, error),
            None => self.before.on_error(socket, error),
        }
    }

    fn on_close(&mut self, socket: &TypedSocket<C>, code: CloseCode, reason: &str) {
        match &mut self.close {
            Some(callback) => callback(&mut self.state, socket, code, reason),
            None => self.before.on_close(socket, code, reason),
        }
    }
}
