//! A type as a listener of typed messages.

use super::{Codec, Typed, TypedSocket, untyped};
use crate::api::listener::{Listener, Outcome};
use crate::api::socket::WebSocket;
use crate::protocol::{CloseCode, Error, Message};

/// Makes a [`Listener`] of a [`TypedListener`]: messages are decoded before `on_message`, and encoded by
/// [`TypedSocket::send`].
///
/// A message that cannot be decoded goes to `on_error` as [`Error::Decode`]. The connection stays open: a listener that
/// does not want such a peer closes it there. To write the listener as closures, see
/// [`typed_listener`](crate::typed_listener()).
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
    Typed::new(codec, listener)
}

/// Receives the events of one connection, with decoded messages. Every method has a default; all but `on_message` and
/// `on_error` are those of [`Listener`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a typed listener for the codec `{C}`",
    note = "implement `TypedListener<{C}>` for it, or build one with `typed_listener(codec).on_message(..)`"
)]
pub trait TypedListener<C: Codec>: Send {
    /// Called when the connection is open; messages may be sent.
    fn on_open(&mut self, _socket: &TypedSocket<C>) -> Outcome {
        Ok(())
    }

    /// Called for each whole message that could be decoded.
    fn on_message(&mut self, _socket: &TypedSocket<C>, _message: C::In) -> Outcome {
        Ok(())
    }

    /// Called for each ping. The default answers with a pong that carries the same data; a listener that overrides this
    /// takes that duty over.
    fn on_ping(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        socket.socket().as_socket().answer_ping(data);
        Ok(())
    }

    /// Called for each pong, asked for or not.
    fn on_pong(&mut self, _socket: &TypedSocket<C>, _data: &[u8]) -> Outcome {
        Ok(())
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), or when the connection has failed and `on_close`
    /// is next.
    fn on_error(&mut self, _socket: &TypedSocket<C>, _error: &Error) {}

    /// Called once, when the connection has ended. [`TypedSocket::closed`] says more.
    fn on_close(&mut self, _socket: &TypedSocket<C>, _code: CloseCode, _reason: &str) {}
}

impl<C: Codec, L: TypedListener<C>> Listener for Typed<C, L> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_open(socket).map_err(untyped)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        let (listener, socket) = self.parts(socket);
        match socket.codec().decode(message) {
            Ok(value) => listener.on_message(socket, value).map_err(untyped),
            Err(error) => {
                listener.on_error(socket, &Error::Decode(error.into()));
                Ok(())
            }
        }
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_ping(socket, data).map_err(untyped)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_pong(socket, data).map_err(untyped)
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
