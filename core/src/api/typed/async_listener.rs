//! A type as a listener of typed messages with `async` callbacks. Closures as one are in `async_closures`.

use bytes::Bytes;

use super::{Codec, Typed, TypedSocket, untyped};
use crate::api::async_listener::AsyncListener;
use crate::api::listener::Outcome;
use crate::api::socket::WebSocket;
use crate::protocol::{CloseCode, Error, OwnedMessage};

/// Makes an [`AsyncListener`] of a [`TypedAsyncListener`], as [`typed`](crate::typed()) makes a plain one. To write the
/// listener as closures, see [`typed_async_listener`](crate::typed_async_listener()).
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, Codec, Outcome, TypedAsyncListener, TypedSocket, typed_async};
///
/// /// Answers each value with itself.
/// struct Echo;
///
/// impl<T: Send, C: Codec<In = T, Out = T>> TypedAsyncListener<C> for Echo {
///     async fn on_message(&mut self, socket: &TypedSocket<C>, value: T) -> Outcome {
///         Ok(socket.send_and_wait(&value).await?)
///     }
/// }
///
/// fn echo(codec: impl Codec<In = String, Out = String>) -> AsyncResponse {
///     AsyncResponse::websocket(typed_async(codec, Echo))
/// }
/// ```
pub fn typed_async<C: Codec<In: Send>, L: TypedAsyncListener<C>>(codec: C, listener: L) -> Typed<C, L> {
    Typed::new(codec, listener)
}

/// Receives the events of one connection, with decoded messages and `async` callbacks: as [`AsyncListener`], but that
/// `on_error` is also told of messages that cannot be decoded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an asynchronous typed listener for the codec `{C}`",
    note = "implement `TypedAsyncListener<{C}>` for it, or build one with `typed_async_listener(codec).on_message(..)`"
)]
pub trait TypedAsyncListener<C: Codec>: Send {
    /// Called when the connection is open; messages may be sent.
    ///
    /// # Cancel safety
    /// Dropped where it waits if the connection's driver is dropped, as all callbacks.
    fn on_open(&mut self, _socket: &TypedSocket<C>) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Called for each whole message that could be decoded.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_message(&mut self, _socket: &TypedSocket<C>, _message: C::In) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Called for each ping. The default answers with a pong that carries the same data; a listener that overrides this
    /// takes that duty over.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_ping(&mut self, socket: &TypedSocket<C>, data: Bytes) -> impl Future<Output = Outcome> + Send {
        socket.socket().as_socket().answer_ping(&data);
        async { Ok(()) }
    }

    /// Called for each pong, asked for or not.
    ///
    /// # Cancel safety
    /// As [`on_open`](Self::on_open).
    fn on_pong(&mut self, _socket: &TypedSocket<C>, _data: Bytes) -> impl Future<Output = Outcome> + Send {
        async { Ok(()) }
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), or when the connection has failed and `on_close`
    /// is next.
    fn on_error(&mut self, _socket: &TypedSocket<C>, _error: &Error) {}

    /// Called once, when the connection has ended. [`TypedSocket::closed`] says more.
    fn on_close(&mut self, _socket: &TypedSocket<C>, _code: CloseCode, _reason: &str) {}
}

impl<C: Codec<In: Send>, L: TypedAsyncListener<C>> AsyncListener for Typed<C, L> {
    async fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_open(socket).await.map_err(untyped)
    }

    async fn on_message(&mut self, socket: &WebSocket, message: OwnedMessage) -> Outcome {
        let (listener, socket) = self.parts(socket);
        match socket.codec().decode(message.as_message()) {
            Ok(value) => listener.on_message(socket, value).await.map_err(untyped),
            Err(error) => {
                listener.on_error(socket, &Error::Decode(error.into()));
                Ok(())
            }
        }
    }

    async fn on_ping(&mut self, socket: &WebSocket, data: Bytes) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_ping(socket, data).await.map_err(untyped)
    }

    async fn on_pong(&mut self, socket: &WebSocket, data: Bytes) -> Outcome {
        let (listener, socket) = self.parts(socket);
        listener.on_pong(socket, data).await.map_err(untyped)
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
