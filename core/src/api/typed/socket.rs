//! The socket of typed messages.

use alloc::sync::Arc;
use core::borrow::Borrow;
use core::error::Error as StdError;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::{IpAddr, SocketAddr};

use super::Codec;
#[cfg(feature = "std")]
use crate::api::sending::Writable;
use crate::api::socket::WebSocket;
use crate::context::SocketId;
use crate::protocol::{BoxError, CloseCode, Closed, OwnedMessage, SendError};

/// A [`WebSocket`] that sends values: each is encoded first.
///
/// A handle like that one: cheap to clone, and equal to others of the same connection. It does not turn into a
/// `WebSocket` by itself (`Deref`): nothing should get past the codec by accident.
/// [`socket`](Self::socket) is for doing so on purpose.
pub struct TypedSocket<C> {
    socket: WebSocket,
    codec: Arc<C>,
}

impl<C: Codec> TypedSocket<C> {
    /// Creates a typed handle to a connection: to the one that a client's `connect` returned, for example.
    pub fn new(socket: WebSocket, codec: C) -> Self {
        Self::shared(socket, Arc::new(codec))
    }

    /// Returns the message for a value, to send it to many: `broadcast(room, socket.encode(&value)?)`.
    ///
    /// # Errors
    /// [`TypedSendError::Encode`].
    pub fn encode(&self, value: &C::Out) -> Result<OwnedMessage, TypedSendError> {
        self.codec.encode(value).map_err(TypedSendError::Encode)
    }

    /// Encodes a value and sends it. What `Ok` means, [`WebSocket::send`] says.
    ///
    /// # Errors
    /// The codec's, and those of [`WebSocket::send`]. Nothing was sent.
    pub fn send(&self, value: &C::Out) -> Result<(), TypedSendError> {
        Ok(self.socket.send(self.encode(value)?)?)
    }

    /// Encodes a value and sends it, and calls `done` once: with `Ok` when its bytes were handed to the transport, with
    /// `Err` if it could not be encoded, was refused, or the connection ended before.
    pub fn send_with(&self, value: &C::Out, done: impl FnOnce(Result<(), TypedSendError>) + Send + 'static) {
        match self.encode(value) {
            Ok(message) => self.socket.send_with(message, |result| done(result.map_err(Into::into))),
            Err(error) => done(Err(error)),
        }
    }

    /// Encodes a value and sends it, and waits until the transport has taken it, as [`WebSocket::send_and_wait`]. It is
    /// queued when this is called, not when the future is first polled.
    ///
    /// # Errors
    /// The future's: as [`send`](Self::send).
    ///
    /// # Cancel safety
    /// Dropping the future cancels nothing: the message is on its way already.
    #[cfg(feature = "std")]
    pub fn send_and_wait(&self, value: &C::Out) -> impl Future<Output = Result<(), TypedSendError>> + Send + use<C> {
        let sending = self.encode(value).map(|message| self.socket.send_and_wait(message));
        async move { Ok(sending?.await?) }
    }
}

/// The methods of a [`WebSocket`] that no codec has a part in.
macro_rules! as_websocket {
    ($($method:ident($($argument:ident: $Argument:ty),*) -> $Output:ty;)*) => {
        $(#[doc = concat!("As [`WebSocket::", stringify!($method), "`].")]
        pub fn $method(&self, $($argument: $Argument),*) -> $Output {
            self.socket.$method($($argument),*)
        })*
    };
}

impl<C> TypedSocket<C> {
    pub(crate) fn shared(socket: WebSocket, codec: Arc<C>) -> Self {
        Self { socket, codec }
    }

    pub(super) fn codec(&self) -> &Arc<C> {
        &self.codec
    }

    /// As [`WebSocket::writable`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// As there.
    #[cfg(feature = "std")]
    pub fn writable(&self) -> Writable {
        self.socket.writable()
    }

    /// Returns the socket beneath, whose `send` takes messages as they are.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    as_websocket! {
        ping(data: impl AsRef<[u8]>) -> Result<(), SendError>;
        pong(data: impl AsRef<[u8]>) -> Result<(), SendError>;
        close() -> Result<(), SendError>;
        close_with(code: impl Into<CloseCode>, reason: &str) -> Result<(), SendError>;
        abort() -> ();
        is_open() -> bool;
        buffered() -> usize;
        closed() -> Option<Closed>;
        when_closed(done: impl FnOnce() + Send + 'static) -> ();
        id() -> SocketId;
        peer_addr() -> Option<SocketAddr>;
        client_ip() -> Option<IpAddr>;
        path() -> Option<&str>;
        protocol() -> Option<&str>;
    }
}

// By hand: a derive would ask the same of the codec.

impl<C> Clone for TypedSocket<C> {
    fn clone(&self) -> Self {
        Self { socket: self.socket.clone(), codec: self.codec.clone() }
    }
}

impl<C> PartialEq for TypedSocket<C> {
    fn eq(&self, other: &Self) -> bool {
        self.socket == other.socket
    }
}

impl<C> Eq for TypedSocket<C> {}

impl<C> Hash for TypedSocket<C> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.socket.hash(state);
    }
}

/// For [`broadcast`](crate::broadcast()), and to find it among untyped ones.
impl<C> Borrow<WebSocket> for TypedSocket<C> {
    fn borrow(&self) -> &WebSocket {
        &self.socket
    }
}

impl<C> Borrow<WebSocket> for &TypedSocket<C> {
    fn borrow(&self) -> &WebSocket {
        &self.socket
    }
}

impl<C> fmt::Debug for TypedSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSocket").field(&self.id()).finish()
    }
}

/// The reason why a value was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum TypedSendError {
    /// The codec could not encode it, and returned this.
    Encode(BoxError),
    /// The socket refused it.
    Send(SendError),
}

impl fmt::Display for TypedSendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => write!(f, "the message could not be encoded: {error}"),
            Self::Send(error) => error.fmt(f),
        }
    }
}

impl StdError for TypedSendError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Encode(error) => error.source(),
            Self::Send(_) => None,
        }
    }
}

impl From<SendError> for TypedSendError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
}

/// Returns the error of a callback as one that knows no codec would: by the type of a refused send, one that came too
/// late is told from a failed callback.
pub(crate) fn untyped(error: BoxError) -> BoxError {
    match error.downcast().map(|error| *error) {
        Ok(TypedSendError::Send(error)) => error.into(),
        Ok(error @ TypedSendError::Encode(_)) => error.into(),
        Err(error) => error,
    }
}
