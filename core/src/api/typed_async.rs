//! Async closures as a listener of typed messages, with or without a state.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::fmt;

use bytes::Bytes;

use super::any_listener::{AnyListener, IntoAnyListener};
use super::async_listener::{BoxAsyncListener, Call, Callbacks, IntoAsyncListener, Pending};
use super::listener::IntoOutcome;
use super::socket::WebSocket;
use super::typed::{Codec, plain};
use super::typed_socket::TypedSocket;
use crate::protocol::{CloseCode, Error};

/// A listener of typed messages made of async closures: [`typed_listener`](crate::typed_listener()) and
/// [`async_listener`](crate::async_listener()) in one.
///
/// A message that cannot be decoded goes to `on_error` as [`Error::Decode`], and the connection stays open.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, typed_async_listener};
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
/// let response = AsyncResponse::websocket(
///     typed_async_listener(Numbers)
///         .on_open(async |socket| socket.send_and_wait(&0).await)
///         .on_message(async |socket, number| socket.send_and_wait(&number.pow(2)).await)
///         .on_error(|socket, _| socket.close_with(1007, "Not a number")),
/// );
/// # assert!(response.is_websocket());
/// ```
pub fn typed_async_listener<C: Codec>(codec: C) -> TypedAsyncClosures<C> {
    TypedAsyncClosures(TypedAsyncStateful::new(Arc::new(codec), (), Box::new(Defaults)))
}

type OnSocket<C, T> = Box<dyn FnMut(T, TypedSocket<C>) -> Pending + Send>;
type OnMessage<C, T> = Box<dyn FnMut(T, TypedSocket<C>, <C as Codec>::In) -> Pending + Send>;
type OnData<C, T> = Box<dyn FnMut(T, TypedSocket<C>, Bytes) -> Pending + Send>;
type OnError<C, T> = Box<dyn FnMut(T, &TypedSocket<C>, &Error) + Send>;
type OnClose<C, T> = Box<dyn FnMut(T, &TypedSocket<C>, CloseCode, &str) + Send>;

/// The builder behind [`typed_async_listener`].
pub struct TypedAsyncClosures<C: Codec>(TypedAsyncStateful<C, ()>);

/// [`TypedAsyncClosures`] with a state, of which each callback gets a clone first: what
/// [`TypedAsyncClosures::with_state`] makes.
pub struct TypedAsyncStateful<C: Codec, T> {
    codec: Arc<C>,
    slots: Slots<C, T>,
}

struct Slots<C: Codec, T> {
    state: T,
    /// Gets the events that have no callback here.
    before: Box<dyn TypedCallbacks<C>>,
    open: Option<OnSocket<C, T>>,
    message: Option<OnMessage<C, T>>,
    ping: Option<OnData<C, T>>,
    pong: Option<OnData<C, T>>,
    error: Option<OnError<C, T>>,
    close: Option<OnClose<C, T>>,
}

/// A callback's future, erased.
fn pending<F: Future<Output: IntoOutcome> + Send + 'static>(future: F) -> Pending {
    Box::pin(async move { future.await.into_outcome().map_err(plain) })
}

impl<C: Codec> TypedAsyncClosures<C> {
    /// Gives the callbacks that are set from here on a state: each call gets a clone of it as its first argument, as with
    /// [`AsyncClosures::with_state`](crate::AsyncClosures::with_state).
    #[must_use]
    pub fn with_state<T: Clone + Send + 'static>(self, state: T) -> TypedAsyncStateful<C, T> {
        TypedAsyncStateful::new(self.0.codec, state, Box::new(self.0.slots))
    }

    /// Called when the connection is open. The future's output is `()` or a `Result`.
    #[must_use]
    pub fn on_open<F>(
        self,
        mut callback: impl FnMut(TypedSocket<C>) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        Self(self.0.on_open(move |(), socket| callback(socket)))
    }

    /// Called for each message that could be decoded.
    #[must_use]
    pub fn on_message<F>(
        self,
        mut callback: impl FnMut(TypedSocket<C>, C::In) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        Self(self.0.on_message(move |(), socket, message| callback(socket, message)))
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<F>(
        self,
        mut callback: impl FnMut(TypedSocket<C>, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        Self(self.0.on_ping(move |(), socket, data| callback(socket, data)))
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<F>(
        self,
        mut callback: impl FnMut(TypedSocket<C>, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        Self(self.0.on_pong(move |(), socket, data| callback(socket, data)))
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), and when the connection failed: a plain
    /// closure, whose result does not matter.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, &Error) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_error(move |(), socket, error| callback(socket, error)))
    }

    /// Called once, when the connection ended: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&TypedSocket<C>, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_close(move |(), socket, code, reason| callback(socket, code, reason)))
    }
}

impl<C: Codec, T> TypedAsyncStateful<C, T> {
    fn new(codec: Arc<C>, state: T, before: Box<dyn TypedCallbacks<C>>) -> Self {
        let slots =
            Slots { state, before, open: None, message: None, ping: None, pong: None, error: None, close: None };
        Self { codec, slots }
    }

    /// Called when the connection is open. The future's output is `()` or a `Result`.
    #[must_use]
    pub fn on_open<F>(
        mut self,
        mut callback: impl FnMut(T, TypedSocket<C>) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        self.slots.open = Some(Box::new(move |state, socket| pending(callback(state, socket))));
        self
    }

    /// Called for each message that could be decoded.
    #[must_use]
    pub fn on_message<F>(
        mut self,
        mut callback: impl FnMut(T, TypedSocket<C>, C::In) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        self.slots.message = Some(Box::new(move |state, socket, message| pending(callback(state, socket, message))));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<F>(
        mut self,
        mut callback: impl FnMut(T, TypedSocket<C>, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        self.slots.ping = Some(Box::new(move |state, socket, data| pending(callback(state, socket, data))));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<F>(
        mut self,
        mut callback: impl FnMut(T, TypedSocket<C>, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `typed_listener(..)`
    {
        self.slots.pong = Some(Box::new(move |state, socket, data| pending(callback(state, socket, data))));
        self
    }

    /// Called when a message could not be decoded ([`Error::Decode`]), and when the connection failed: a plain
    /// closure, whose result does not matter.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(T, &TypedSocket<C>, &Error) -> R + Send + 'static,
    ) -> Self {
        self.slots.error =
            Some(Box::new(move |state, socket, error| drop(callback(state, socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(T, &TypedSocket<C>, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.slots.close = Some(Box::new(move |state, socket, code, reason| {
            drop(callback(state, socket, code, reason).into_outcome())
        }));
        self
    }
}

/// What calls an asynchronous callback, decoded.
enum TypedCall<C: Codec> {
    Open,
    Message(C::In),
    Ping(Bytes),
    Pong(Bytes),
}

/// As [`Callbacks`], with decoded messages.
trait TypedCallbacks<C: Codec>: Send {
    fn call(&mut self, socket: &TypedSocket<C>, call: TypedCall<C>) -> Pending;
    fn on_error(&mut self, socket: &TypedSocket<C>, error: &Error);
    fn on_close(&mut self, socket: &TypedSocket<C>, code: CloseCode, reason: &str);
}

/// Without callbacks, there are the defaults.
struct Defaults;

impl<C: Codec> TypedCallbacks<C> for Defaults {
    fn call(&mut self, socket: &TypedSocket<C>, call: TypedCall<C>) -> Pending {
        if let TypedCall::Ping(data) = call {
            socket.socket().as_socket().answer_ping(&data);
        }
        done()
    }

    fn on_error(&mut self, _: &TypedSocket<C>, _: &Error) {}

    fn on_close(&mut self, _: &TypedSocket<C>, _: CloseCode, _: &str) {}
}

fn done() -> Pending {
    Box::pin(core::future::ready(Ok(())))
}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl<C: Codec, T: Clone + Send> TypedCallbacks<C> for Slots<C, T> {
    fn call(&mut self, socket: &TypedSocket<C>, call: TypedCall<C>) -> Pending {
        let own = (self.state.clone(), socket.clone());
        match (call, self) {
            (TypedCall::Open, Self { open: Some(callback), .. }) => callback(own.0, own.1),
            (TypedCall::Message(value), Self { message: Some(callback), .. }) => callback(own.0, own.1, value),
            (TypedCall::Ping(data), Self { ping: Some(callback), .. }) => callback(own.0, own.1, data),
            (TypedCall::Pong(data), Self { pong: Some(callback), .. }) => callback(own.0, own.1, data),
            (call, slots) => slots.before.call(socket, call),
        }
    }

    fn on_error(&mut self, socket: &TypedSocket<C>, error: &Error) {
        match &mut self.error {
            Some(callback) => callback(self.state.clone(), socket, error),
            None => self.before.on_error(socket, error),
        }
    }

    fn on_close(&mut self, socket: &TypedSocket<C>, code: CloseCode, reason: &str) {
        match &mut self.close {
            Some(callback) => callback(self.state.clone(), socket, code, reason),
            None => self.before.on_close(socket, code, reason),
        }
    }
}

/// Decodes for those callbacks.
struct Decoding<C: Codec> {
    codec: Arc<C>,
    /// Made by the first event.
    socket: Option<TypedSocket<C>>,
    listener: Box<dyn TypedCallbacks<C>>,
}

impl<C: Codec> Decoding<C> {
    fn parts(&mut self, socket: &WebSocket) -> (&mut dyn TypedCallbacks<C>, &TypedSocket<C>) {
        let Self { codec, socket: typed, listener } = self;
        let typed = typed.get_or_insert_with(|| TypedSocket::shared(socket.clone(), codec.clone()));
        (&mut **listener, typed)
    }
}

impl<C: Codec> Callbacks for Decoding<C> {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Pending {
        let (listener, socket) = self.parts(socket);
        let call = match call {
            Call::Open => TypedCall::Open,
            Call::Message(message) => match socket.codec().decode(message.as_message()) {
                Ok(value) => TypedCall::Message(value),
                Err(error) => {
                    listener.on_error(socket, &Error::Decode(error.into()));
                    return done();
                }
            },
            Call::Ping(data) => TypedCall::Ping(data),
            Call::Pong(data) => TypedCall::Pong(data),
            Call::Closing => return done(),
        };
        listener.call(socket, call)
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        let (listener, socket) = self.parts(socket);
        listener.on_error(socket, &error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        let (listener, socket) = self.parts(socket);
        listener.on_close(socket, code, reason);
    }
}

impl<C: Codec> IntoAsyncListener for TypedAsyncClosures<C> {
    fn into_async_listener(self) -> BoxAsyncListener {
        self.0.into_async_listener()
    }
}

impl<C: Codec, T: Clone + Send + 'static> IntoAsyncListener for TypedAsyncStateful<C, T> {
    fn into_async_listener(self) -> BoxAsyncListener {
        BoxAsyncListener(Box::new(Decoding { codec: self.codec, socket: None, listener: Box::new(self.slots) }))
    }
}

impl<C: Codec> IntoAnyListener for TypedAsyncClosures<C> {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

impl<C: Codec, T: Clone + Send + 'static> IntoAnyListener for TypedAsyncStateful<C, T> {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

impl<C: Codec> fmt::Debug for TypedAsyncClosures<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedAsyncClosures").finish_non_exhaustive()
    }
}

impl<C: Codec, T> fmt::Debug for TypedAsyncStateful<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedAsyncStateful").finish_non_exhaustive()
    }
}
