//! Typed messages: a [`Codec`] between a listener and its connection, for any format.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::error::Error as StdError;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::net::SocketAddr;

use crate::close::{CloseCode, Closed};
use crate::context::SocketId;
use crate::error::{BoxError, Error, SendError};
use crate::event::{Message, OwnedMessage};
use crate::listener::{IntoListener, IntoOutcome, Listener, Outcome};
use crate::socket::WebSocket;

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
/// that does not want such a peer closes it there. To write the listener as closures, see [`typed_listener`].
///
/// ```
/// use bellwire_core::{BoxError, Codec, Message, Outcome, OwnedMessage, Response, TypedListener, TypedSocket, typed};
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
/// use bellwire_core::{Listener, testing::{Recorder, Sent}};
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

/// A [`TypedListener`] made of closures, as [`listener`](crate::listener()) makes a [`Listener`]. The codec comes first,
/// so the closures need no annotation.
///
/// ```
/// use bellwire_core::{Response, typed_listener};
/// # use bellwire_core::{BoxError, Codec, Message, OwnedMessage};
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
    let slots = Slots { open: None, message: None, ping: None, pong: None, error: None, close: None };
    TypedClosures { codec, slots }
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

/// A [`WebSocket`] that sends values: each is encoded first.
///
/// A handle like that one: cheap to clone, and equal to others of the same connection. It does not turn into a
/// `WebSocket` by itself (`Deref`): nothing should be sent past the codec by accident. [`socket`](Self::socket) is for
/// doing so on purpose.
pub struct TypedSocket<C> {
    socket: WebSocket,
    codec: Arc<C>,
}

impl<C: Codec> TypedSocket<C> {
    /// A typed handle to a connection: to the one that a client's `connect` returned, for example.
    pub fn new(socket: WebSocket, codec: C) -> Self {
        Self { socket, codec: Arc::new(codec) }
    }

    /// Encodes a value and sends it. What `Ok` means, [`WebSocket::send`] says.
    ///
    /// # Errors
    /// The codec's, and those of [`WebSocket::send`]. Nothing was sent.
    pub fn send(&self, value: &C::Out) -> Result<(), TypedSendError> {
        let message = self.codec.encode(value).map_err(TypedSendError::Encode)?;
        Ok(self.socket.send(message)?)
    }

    /// Encodes a value and sends it, and calls `done` once: with `Ok` when its bytes were handed to the transport, with
    /// `Err` if it could not be encoded, was refused, or the connection ended before.
    pub fn send_with(&self, value: &C::Out, done: impl FnOnce(Result<(), TypedSendError>) + Send + 'static) {
        match self.codec.encode(value) {
            Ok(message) => self.socket.send_with(message, |result| done(result.map_err(Into::into))),
            Err(error) => done(Err(TypedSendError::Encode(error))),
        }
    }
}

/// As those of [`WebSocket`].
impl<C> TypedSocket<C> {
    /// The socket beneath, whose `send` takes messages as they are.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// [`WebSocket::ping`].
    ///
    /// # Errors
    /// As there.
    pub fn ping(&self, data: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.socket.ping(data)
    }

    /// [`WebSocket::pong`].
    ///
    /// # Errors
    /// As there.
    pub fn pong(&self, data: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.socket.pong(data)
    }

    /// [`WebSocket::close`].
    ///
    /// # Errors
    /// As there.
    pub fn close(&self) -> Result<(), SendError> {
        self.socket.close()
    }

    /// [`WebSocket::close_with`].
    ///
    /// # Errors
    /// As there.
    pub fn close_with(&self, code: impl Into<CloseCode>, reason: &str) -> Result<(), SendError> {
        self.socket.close_with(code, reason)
    }

    /// [`WebSocket::abort`].
    pub fn abort(&self) {
        self.socket.abort();
    }

    /// [`WebSocket::is_open`].
    pub fn is_open(&self) -> bool {
        self.socket.is_open()
    }

    /// [`WebSocket::buffered`], in bytes.
    pub fn buffered(&self) -> usize {
        self.socket.buffered()
    }

    /// [`WebSocket::closed`].
    pub fn closed(&self) -> Option<Closed> {
        self.socket.closed()
    }

    /// [`WebSocket::id`].
    pub fn id(&self) -> SocketId {
        self.socket.id()
    }

    /// [`WebSocket::peer_addr`].
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.socket.peer_addr()
    }

    /// [`WebSocket::path`].
    pub fn path(&self) -> Option<&str> {
        self.socket.path()
    }

    /// [`WebSocket::protocol`].
    pub fn protocol(&self) -> Option<&str> {
        self.socket.protocol()
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

impl<C> fmt::Debug for TypedSocket<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedSocket").field(&self.id()).finish()
    }
}

/// Why a value was not sent.
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
            Self::Encode(error) => Some(&**error),
            Self::Send(error) => Some(error),
        }
    }
}

impl From<SendError> for TypedSendError {
    fn from(error: SendError) -> Self {
        Self::Send(error)
    }
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
        let typed = typed.get_or_insert_with(|| TypedSocket { socket: socket.clone(), codec: codec.clone() });
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
        match socket.codec.decode(message) {
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
fn plain(error: BoxError) -> BoxError {
    match error.downcast().map(|error| *error) {
        Ok(TypedSendError::Send(error)) => error.into(),
        Ok(error @ TypedSendError::Encode(_)) => error.into(),
        Err(error) => error,
    }
}

type OnOpen<C> = Box<dyn FnMut(&TypedSocket<C>) -> Outcome + Send>;
type OnMessage<C> = Box<dyn FnMut(&TypedSocket<C>, <C as Codec>::In) -> Outcome + Send>;
type OnData<C> = Box<dyn FnMut(&TypedSocket<C>, &[u8]) -> Outcome + Send>;
type OnError<C> = Box<dyn FnMut(&TypedSocket<C>, &Error) + Send>;
type OnClose<C> = Box<dyn FnMut(&TypedSocket<C>, CloseCode, &str) + Send>;

/// The builder behind [`typed_listener`].
pub struct TypedClosures<C: Codec> {
    codec: C,
    slots: Slots<C>,
}

struct Slots<C: Codec> {
    open: Option<OnOpen<C>>,
    message: Option<OnMessage<C>>,
    ping: Option<OnData<C>>,
    pong: Option<OnData<C>>,
    error: Option<OnError<C>>,
    close: Option<OnClose<C>>,
}

impl<C: Codec> TypedClosures<C> {
    /// Called when the connection is open. A callback returns `()` or a `Result`.
    #[must_use]
    pub fn on_open<R: IntoOutcome>(mut self, mut callback: impl FnMut(&TypedSocket<C>) -> R + Send + 'static) -> Self {
        self.slots.open = Some(Box::new(move |socket| callback(socket).into_outcome()));
        self
    }

    /// Called for each message that could be decoded.
    #[must_use]
    pub fn on_message<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&TypedSocket<C>, C::In) -> R + Send + 'static,
    ) -> Self {
        self.slots.message = Some(Box::new(move |socket, message| callback(socket, message).into_outcome()));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.slots.ping = Some(Box::new(move |socket, data| callback(socket, data).into_outcome()));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&TypedSocket<C>, &[u8]) -> R + Send + 'static,
    ) -> Self {
        self.slots.pong = Some(Box::new(move |socket, data| callback(socket, data).into_outcome()));
        self
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), and when the connection failed; its result
    /// does not matter.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&TypedSocket<C>, &Error) -> R + Send + 'static,
    ) -> Self {
        self.slots.error = Some(Box::new(move |socket, error| drop(callback(socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended; its result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(&TypedSocket<C>, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.slots.close =
            Some(Box::new(move |socket, code, reason| drop(callback(socket, code, reason).into_outcome())));
        self
    }
}

impl<C: Codec> IntoListener for TypedClosures<C> {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(typed(self.codec, self.slots))
    }
}

impl<C: Codec> fmt::Debug for TypedClosures<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedClosures").finish_non_exhaustive()
    }
}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl<C: Codec> TypedListener<C> for Slots<C> {
    fn on_open(&mut self, socket: &TypedSocket<C>) -> Outcome {
        self.open.as_mut().map_or(Ok(()), |callback| callback(socket))
    }

    fn on_message(&mut self, socket: &TypedSocket<C>, message: C::In) -> Outcome {
        self.message.as_mut().map_or(Ok(()), |callback| callback(socket, message))
    }

    fn on_ping(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        match &mut self.ping {
            Some(callback) => callback(socket, data),
            None => {
                socket.socket().as_socket().answer_ping(data);
                Ok(())
            }
        }
    }

    fn on_pong(&mut self, socket: &TypedSocket<C>, data: &[u8]) -> Outcome {
        self.pong.as_mut().map_or(Ok(()), |callback| callback(socket, data))
    }

    fn on_error(&mut self, socket: &TypedSocket<C>, error: &Error) {
        if let Some(callback) = &mut self.error {
            callback(socket, error);
        }
    }

    fn on_close(&mut self, socket: &TypedSocket<C>, code: CloseCode, reason: &str) {
        if let Some(callback) = &mut self.close {
            callback(socket, code, reason);
        }
    }
}
