//! Typed messages: a [`Codec`] between a listener and its connection, for any format.

#[cfg(feature = "std")]
mod async_closures;
#[cfg(feature = "std")]
mod async_listener;
mod closures;
#[cfg(feature = "serde")]
mod json;
mod listener;
mod socket;

use alloc::sync::Arc;
use core::marker::PhantomData;

#[cfg(feature = "std")]
pub use async_closures::{TypedAsyncListenerBuilder, typed_async_listener};
#[cfg(feature = "std")]
pub use async_listener::{TypedAsyncListener, typed_async};
pub use closures::{TypedListenerBuilder, typed_listener};
#[cfg(feature = "serde")]
pub use json::Json;
pub use listener::{TypedListener, typed};
pub(crate) use socket::untyped;
pub use socket::{TypedSendError, TypedSocket};

use super::builder::{Event, Flavour, Raw, Receive};
use super::listener::Outcome;
use super::socket::WebSocket;
use crate::protocol::{BoxError, Error, Message, OwnedMessage};

/// Turns messages into values and back: JSON, MessagePack, a format of your own.
///
/// [`typed`] is an example.
pub trait Codec: Send + Sync + 'static {
    /// The type of what is received.
    type In;

    /// The type of what is sent. It is only borrowed, as formats need no more: so one value can be sent to many, and
    /// the type may be unsized, as `str` is.
    type Out: ?Sized;

    /// Returns the value of a message that was received.
    ///
    /// # Errors
    /// The message is not one of this format. The listener gets the error in `on_error`, and no `on_message`.
    fn decode(&self, message: Message<'_>) -> Result<Self::In, BoxError>;

    /// Returns the message for a value; `into()` makes it of a text or of bytes.
    ///
    /// # Errors
    /// The value cannot be expressed in this format. The sender gets [`TypedSendError::Encode`].
    fn encode(&self, value: &Self::Out) -> Result<OwnedMessage, BoxError>;
}

/// A listener that decodes messages for a typed one: what [`typed`] and `typed_async` make.
pub struct Typed<C, L> {
    codec: Arc<C>,
    /// Made by the first event.
    socket: Option<TypedSocket<C>>,
    listener: L,
}

impl<C, L> Typed<C, L> {
    fn new(codec: C, listener: L) -> Self {
        Self { codec: Arc::new(codec), socket: None, listener }
    }

    fn parts(&mut self, socket: &WebSocket) -> (&mut L, &TypedSocket<C>) {
        let Self { codec, socket: typed, listener } = self;
        let typed = typed.get_or_insert_with(|| TypedSocket::shared(socket.clone(), codec.clone()));
        (listener, typed)
    }
}

debug!(Typed<C, L> => |this| socket: this.socket);

/// A flavour of messages that a codec has decoded.
pub(super) struct Decoded<C, F>(PhantomData<(C, F)>);

impl<C: Codec, F: Raw> Flavour for Decoded<C, F> {
    type Socket = TypedSocket<C>;
    type Message<'a> = C::In;
    type Data<'a> = F::Data<'a>;
    type Output = F::Output;

    fn output(outcome: Outcome) -> F::Output {
        F::output(outcome)
    }
}

/// Closures.
impl<C: Codec, F: Raw, L: Receive<Decoded<C, F>>> Receive<F> for Typed<C, L> {
    fn receive(&mut self, socket: &WebSocket, event: Event<'_, F>) -> F::Output {
        let (listener, socket) = self.parts(socket);
        let event = match event {
            Event::Open => Event::Open,
            Event::Message(message) => match socket.codec().decode(F::as_message(&message)) {
                Ok(value) => Event::Message(value),
                Err(error) => return listener.receive(socket, Event::Error(&Error::Decode(error.into()))),
            },
            Event::Ping(data) => Event::Ping(data),
            Event::Pong(data) => Event::Pong(data),
            Event::Error(error) => Event::Error(error),
            Event::Close(code, reason) => Event::Close(code, reason),
        };
        listener.receive(socket, event)
    }
}
