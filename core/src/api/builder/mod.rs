//! What the builders of listeners have in common. There are four: of plain and of async closures, for messages as they
//! are and for [typed](super::typed) ones. Their difference is a [`Flavour`]; callbacks, state, setters and defaults
//! are here, once.

#[cfg(feature = "std")]
mod async_closures;
mod closures;

use alloc::boxed::Box;
use core::borrow::Borrow;

#[cfg(feature = "std")]
pub(super) use async_closures::Async;
#[cfg(feature = "std")]
pub use async_closures::{AsyncListenerBuilder, async_listener};
pub(super) use closures::Plain;
pub(crate) use closures::outcome;
pub use closures::{ListenerBuilder, listener};

use super::listener::Outcome;
use super::socket::WebSocket;
use crate::protocol::{CloseCode, Error, Message};

/// What the callbacks of one kind of builder get and return.
pub(super) trait Flavour: 'static {
    type Socket: Borrow<WebSocket>;
    type Message<'a>;
    type Data<'a>: AsRef<[u8]>;
    /// An outcome, or its future.
    type Output;

    fn output(outcome: Outcome) -> Self::Output;
}

/// A flavour of messages as they are, which a codec can decode.
pub(super) trait Raw: Flavour<Socket = WebSocket> {
    fn as_message<'a>(message: &'a Self::Message<'_>) -> Message<'a>;
}

/// An event, and what its callback gets beside the socket.
pub(super) enum Event<'a, F: Flavour> {
    Open,
    Message(F::Message<'a>),
    Ping(F::Data<'a>),
    Pong(F::Data<'a>),
    Error(&'a Error),
    Close(CloseCode, &'a str),
}

/// What receives the events of one flavour.
pub(super) trait Receive<F: Flavour>: Send {
    fn receive(&mut self, socket: &F::Socket, event: Event<'_, F>) -> F::Output;
}

/// Stands for no state, in the type of a builder.
#[derive(Debug)]
pub struct Stateless;

/// The state of a builder, which its callbacks get first.
#[derive(Debug)]
pub struct State<T>(pub(super) T);

type OnOpen<F, S> = Box<dyn FnMut(&mut S, &<F as Flavour>::Socket) -> <F as Flavour>::Output + Send>;
type OnMessage<F, S> = Box<
    dyn for<'a> FnMut(&mut S, &<F as Flavour>::Socket, <F as Flavour>::Message<'a>) -> <F as Flavour>::Output + Send,
>;
type OnData<F, S> =
    Box<dyn for<'a> FnMut(&mut S, &<F as Flavour>::Socket, <F as Flavour>::Data<'a>) -> <F as Flavour>::Output + Send>;
type OnError<F, S> = Box<dyn FnMut(&mut S, &<F as Flavour>::Socket, &Error) -> Outcome + Send>;
type OnClose<F, S> = Box<dyn FnMut(&mut S, &<F as Flavour>::Socket, CloseCode, &str) -> Outcome + Send>;

/// A builder's callbacks. They are not in the builder itself, on which `on_open` sets a callback: here, it is the
/// event.
pub(super) struct Slots<F: Flavour, S> {
    state: S,
    /// Gets the events that have no callback here.
    before: Option<Box<dyn Receive<F>>>,
    pub(super) open: Option<OnOpen<F, S>>,
    pub(super) message: Option<OnMessage<F, S>>,
    pub(super) ping: Option<OnData<F, S>>,
    pub(super) pong: Option<OnData<F, S>>,
    pub(super) error: Option<OnError<F, S>>,
    pub(super) close: Option<OnClose<F, S>>,
}

impl<F: Flavour, S: Send + 'static> Slots<F, S> {
    fn new(state: S, before: Option<Box<dyn Receive<F>>>) -> Self {
        Self { state, before, open: None, message: None, ping: None, pong: None, error: None, close: None }
    }

    pub(super) fn with_state<T: Send + 'static>(self, state: T) -> Slots<F, State<T>> {
        Slots::new(State(state), Some(Box::new(self)))
    }
}

impl<F: Flavour> Default for Slots<F, Stateless> {
    fn default() -> Self {
        Self::new(Stateless, None)
    }
}

impl<F: Flavour, S: Send> Receive<F> for Slots<F, S> {
    // Where the event is known, only its own arm is left.
    #[inline(always)]
    fn receive(&mut self, socket: &F::Socket, event: Event<'_, F>) -> F::Output {
        match (event, self) {
            (Event::Open, Self { state, open: Some(callback), .. }) => return callback(state, socket),
            (Event::Message(message), Self { state, message: Some(callback), .. }) => {
                return callback(state, socket, message);
            }
            (Event::Ping(data), Self { state, ping: Some(callback), .. }) => return callback(state, socket, data),
            (Event::Pong(data), Self { state, pong: Some(callback), .. }) => return callback(state, socket, data),
            (Event::Error(error), Self { state, error: Some(callback), .. }) => drop(callback(state, socket, error)),
            (Event::Close(code, reason), Self { state, close: Some(callback), .. }) => {
                drop(callback(state, socket, code, reason));
            }
            (event, Self { before: Some(before), .. }) => return before.receive(socket, event),
            (Event::Ping(data), _) => socket.borrow().as_socket().answer_ping(data.as_ref()),
            _ => {}
        }
        F::output(Ok(()))
    }
}

/// Receives the events of a connection, whichever trait they come by.
pub(super) struct Built<L>(pub(super) L);

/// The setters of a builder: `setters! { setter [state: T = value] socket, own socket, message, data }`, the state only
/// if there is one. Their callbacks are made by `setter!` or `async_setter!`, and get the socket as the own one says.
macro_rules! setters {
    ($setter:ident $state:tt $socket:ty, $own:ty, $message:ty, $data:ty) => {
        $setter! {
            /// Sets what is called when the connection is open.
            on_open(open), $state, $own
        }
        $setter! {
            /// Sets what is called for each whole message; a typed one is decoded.
            on_message(message), $state, $own, message: $message
        }
        $setter! {
            /// Sets what is called for each ping, and owes the pong from now on.
            on_ping(ping), $state, $own, data: $data
        }
        $setter! {
            /// Sets what is called for each pong, asked for or not.
            on_pong(pong), $state, $own, data: $data
        }
        setter! {
            /// Sets what is called when the connection has failed, or a message could not be decoded
            /// ([`Error::Decode`]): a plain closure, whose result does not matter.
            on_error(error), $state, $socket, error: &Error
        }
        setter! {
            /// Sets what is called once, when the connection has ended: a plain closure, whose result does not matter.
            on_close(close), $state, $socket, code: CloseCode, reason: &str
        }
    };
}

/// A setter of a callback that returns its outcome.
macro_rules! setter {
    (
        $(#[$doc:meta])* $name:ident($slot:ident),
        [$($state:ident: $State:ty = $value:expr)?], $socket:ty $(, $argument:ident: $Argument:ty)*
    ) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name<R: IntoOutcome>(
            mut self,
            mut callback: impl FnMut($($State,)? $socket $(, $Argument)*) -> R + Send + 'static,
        ) -> Self {
            self.slots.$slot = Some(Box::new(move |_state, socket $(, $argument)*| {
                $(let $state = _state;)?
                outcome(callback($($value,)? socket $(, $argument)*))
            }));
            self
        }
    };
}

/// A setter of a callback that returns the future of its outcome. rustc shows the comments beside the bounds to those
/// who do not keep them.
#[cfg(feature = "std")]
macro_rules! async_setter {
    (
        $(#[$doc:meta])* $name:ident($slot:ident),
        [$($state:ident: $State:ty = $value:expr)?], $socket:ty $(, $argument:ident: $Argument:ty)*
    ) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name<F>(
            mut self,
            mut callback: impl FnMut($($State,)? $socket $(, $Argument)*) -> F + Send + 'static, // captures: `with_state`
        ) -> Self
        where
            F: Future<Output: IntoOutcome> + Send + 'static, // plain: `listener()`, `typed_listener(..)`
        {
            self.slots.$slot = Some(Box::new(move |_state, socket $(, $argument)*| {
                $(let $state = _state;)?
                Called::of(callback($($value,)? socket.clone() $(, $argument)*))
            }));
            self
        }
    };
}

#[cfg(feature = "std")]
pub(super) use async_setter;
pub(super) use {setter, setters};
