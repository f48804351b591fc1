//! Typed messages: a [`Codec`] between a listener and its connection, for any format.

use alloc::sync::Arc;
use core::fmt;

use super::listener::{Listener, Outcome};
use super::socket::WebSocket;
use super::typed_socket::{TypedSendError, TypedSocket};
use crate::protocol::{BoxError, CloseCode, Error, Message, OwnedMessage};

/// Makes values of messages, and messages of values: JSON, MessagePack, a format of your own.
///
/// [`typed`] is an example.
pub trait Codec: Send + Sync + 'static {
    /// What is received.
    type In;

    /// What is sent. It is only borrowed, as formats need no more: so one value can be sent to many, and the type may
    /// be unsized, as `str` is.
    type Out: ?Sized;

    /// The value of a message that was received.
    ///
    /// # Errors
    /// The message is not one of this format. The listener gets the error in `on_error`, and no `on_message`.
    fn decode(&self, message: Message<'_>) -> Result<Self::In, BoxError>;

    /// The message for a value; of its text or its bytes it is made by `into()`.
    ///
    /// # Errors
    /// The value cannot be expressed in this format. Whoever sends it gets [`TypedSendError::Encode`].
    fn encode(&self, value: &Self::Out) -> Result<OwnedMessage, BoxError>;
}

/// A [`Listener`] of typed messages: decoded before `on_message`, encoded by [`TypedSocket::send`] (Ring's
/// `wrap-websocket-transit`, for any format).
///
/// A message that cannot be decoded goes to `on_error` as [`Error::Decode`]. The connection stays open: a listener
/// that does not want such a peer closes it there. To write the listener as closures, see [`typed_listener`](crate::typed_listener()).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{BoxError, Codec, Message, Outcome, OwnedMessage, Response, TypedListener, TypedSocket, typed};
///
/// /// Numbers, as text.
/// struct Numbers;
///
/// impl Codec for Numbers {
///     type In = i64;
///     type Out = i64;
///
///     fn decode(&self, message: Message<'_>) -> Result<i64, BoxError> {
///         let text = message.as_text().ok_or("a number is text")?;
///         Ok(text.parse()?)
///     }
///
///     fn encode(&self, number: &i64) -> Result<OwnedMessage, BoxError> {
///         Ok(number.to_string().into())
///     }
/// }
///
/// /// Answers with the sum so far.
/// #[derive(Default)]
/// struct Sum(i64);
///
/// impl TypedListener<Numbers> for Sum {
///     fn on_message(&mut self, socket: &TypedSocket<Numbers>, number: i64) -> Outcome {
///         self.0 += number;
///         Ok(socket.send(&self.0)?)
///     }
/// }
///
/// let response = Response::websocket(typed(Numbers, Sum::default()));
///
/// // It is tested as any listener.
/// use bellwire::{Listener, testing::{Recorder, Sent}};
/// let recorder = Recorder::new();
/// let mut sum = typed(Numbers, Sum::default());
/// sum.on_message(&recorder.socket(), Message::Text("40"))?;
/// sum.on_message(&recorder.socket(), Message::Text("2"))?;
/// assert_eq!(recorder.sent(), [Sent::text("40"), Sent::text("42")]);
/// # Ok::<(), BoxError>(())
/// ```
pub fn typed<C: Codec, L: TypedListener<C>>(codec: C, listener: L) -> Typed<C, L> {
    Typed { codec: Arc::new(codec), socket: None, listener }
}

/// Receives the events of one connection, with decoded messages. Every method has a default; all but `on_message` and
/// `on_error` are those of [`Listener`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a typed listener for the codec `{C}`",
    note = "implement `TypedListener<{C}>` for it, or build one with `typed_listener(codec).on_message(..)`"
)]
pub trait TypedListener<C: Codec>: Send {
    /// The connection is open; messages may be sent.
    fn on_open(&mut self, _socket: &TypedSocket<C>) -> Outcome {
        Ok(())
    }

    /// A whole message arrived, and was decoded.
    fn on_message(&mut self, _socket: &TypedSocket<C>, _message: C::In) -> Outcome {
        Ok(())
    }

    /// A ping arrived. The default answers with a pong that carries the same data; whoever overrides this takes the
    /// duty over.
    fn on_ping(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        socket.socket().as_socket().answer_ping(data);
        Ok(())
    }

    /// A pong arrived, asked for or not.
    fn on_pong(&mut self, _socket: &TypedSocket<C>, _data: &[u8]) -> Outcome {
        Ok(())
    }

    /// A message could not be decoded ([`Error::Decode`]), or the connection failed and `on_close` is next.
    fn on_error(&mut self, _socket: &TypedSocket<C>, _error: &Error) {}

    /// The connection ended. [`TypedSocket::closed`] says more.
    fn on_close(&mut self, _socket: &TypedSocket<C>, _code: CloseCode, _reason: &str) {}
}

/// The [`Listener`] that [`typed`] makes.
pub struct Typed<C, L> {
    codec: Arc<C>,
    /// Made by the first event.
    socket: Option<TypedSocket<C>>,
    listener: L,
}

impl<C, L> Typed<C, L> {
    fn parts(&mut self, socket: &WebSocket) -> (&mut L, &TypedSocket<C>) {
        let Self { codec, socket: typed, listener } = self;
        let typed = typed.get_or_insert_with(|| TypedSocket::shared(socket.clone(), codec.clone()));
        (listener, typed)
    }
}

impl<C: Codec, L: TypedListener<C>> Listener for Typed<C, L> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_open(socket).map_err(plain)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let (listener, socket) = self.parts(socket);
        match socket.codec().decode(message) {
            Ok(value) => listener.on_message(socket, value).map_err(plain),
            Err(error) => {
                listener.on_error(socket, &Error::Decode(error.into()));
                Ok(())
            }
        }
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_ping(socket, data).map_err(plain)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_pong(socket, data).map_err(plain)
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        let (listener, socket) = self.parts(socket);
        listener.on_error(socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        let (listener, socket) = self.parts(socket);
        listener.on_close(socket, code, reason);
    }
}

impl<C, L> fmt::Debug for Typed<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Typed").field("socket", &self.socket).finish_non_exhaustive()
    }
}

/// A refused send as an untyped listener returns it. A send that came too late is told from a failed callback by that
/// type.
pub(crate) fn plain(error: BoxError) -> BoxError {
    match error.downcast().map(|error| *error) {
        Ok(TypedSendError::Send(error)) => error.into(),
        Ok(error @ TypedSendError::Encode(_)) => error.into(),
        Err(error) => error,
    }
}
