//! Async closures as a listener, with or without a state.

use alloc::boxed::Box;
use core::fmt;

use bytes::Bytes;

use super::any_listener::{AnyListener, IntoAnyListener};
use super::async_listener::{BoxAsyncListener, Call, Callbacks, IntoAsyncListener, Pending};
use super::listener::IntoOutcome;
use super::socket::WebSocket;
use crate::protocol::{CloseCode, Error, OwnedMessage};

/// A listener made of async closures; events without one are ignored, and pings are answered.
///
/// Closures get a handle and a message of their own, so that their futures may live as long as they like. What they
/// share is given to [`with_state`](AsyncClosures::with_state): an async closure cannot use what it captures by
/// itself.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, async_listener};
///
/// let response = AsyncResponse::websocket(
///     async_listener()
///         .on_open(async |socket| socket.send_and_wait("I will echo your messages").await)
///         .on_message(async |socket, message| {
///             if message == "exit" { socket.close() } else { socket.send_and_wait(message).await }
///         }),
/// );
/// # assert!(response.is_websocket());
/// ```
pub fn async_listener() -> AsyncClosures {
    AsyncClosures::default()
}

type OnSocket<T> = Box<dyn FnMut(T, WebSocket) -> Pending + Send>;
type OnMessage<T> = Box<dyn FnMut(T, WebSocket, OwnedMessage) -> Pending + Send>;
type OnData<T> = Box<dyn FnMut(T, WebSocket, Bytes) -> Pending + Send>;
type OnError<T> = Box<dyn FnMut(T, &WebSocket, &Error) + Send>;
type OnClose<T> = Box<dyn FnMut(T, &WebSocket, CloseCode, &str) + Send>;

/// The builder behind [`async_listener`].
pub struct AsyncClosures(AsyncStateful<()>);

/// [`AsyncClosures`] with a state, of which each callback gets a clone first: what [`AsyncClosures::with_state`] makes.
pub struct AsyncStateful<T>(Slots<T>);

struct Slots<T> {
    state: T,
    /// Gets the events that have no callback here.
    before: Box<dyn Callbacks>,
    open: Option<OnSocket<T>>,
    message: Option<OnMessage<T>>,
    ping: Option<OnData<T>>,
    pong: Option<OnData<T>>,
    error: Option<OnError<T>>,
    close: Option<OnClose<T>>,
}

/// A callback's future, erased.
fn pending<F: Future<Output: IntoOutcome> + Send + 'static>(future: F) -> Pending {
    Box::pin(async move { future.await.into_outcome() })
}

impl AsyncClosures {
    /// Gives the callbacks that are set from here on a state, as their first argument. Those that were set before stay
    /// as they are.
    ///
    /// As with [`listener`](crate::Closures::with_state), but each call gets a clone of it, which its future owns: what
    /// callbacks change lies behind an [`Arc`](alloc::sync::Arc), an `Arc<Mutex<..>>` for example.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{AsyncResponse, Request, WebSocket, async_listener, broadcast};
    /// use std::{collections::HashSet, sync::{Arc, Mutex}};
    ///
    /// type Room = Arc<Mutex<HashSet<WebSocket>>>;
    ///
    /// fn join(room: &Room) -> AsyncResponse {
    ///     AsyncResponse::websocket(
    ///         async_listener()
    ///             .with_state(room.clone())
    ///             .on_open(async |room, socket| {
    ///                 room.lock().unwrap().insert(socket.clone());
    ///                 socket.send_and_wait("welcome").await
    ///             })
    ///             .on_message(async |room, _, message| {
    ///                 // Sends under no lock, and a member that has left is not the sender's failure.
    ///                 let members = room.lock().unwrap().clone();
    ///                 broadcast(members, message);
    ///             })
    ///             .on_close(|room, socket, _, _| {
    ///                 room.lock().unwrap().remove(socket);
    ///             }),
    ///     )
    /// }
    ///
    /// let room = Room::default();
    /// let handler = move |_: Request| std::future::ready(join(&room));
    /// # drop(handler);
    /// ```
    #[must_use]
    pub fn with_state<T: Clone + Send + 'static>(self, state: T) -> AsyncStateful<T> {
        AsyncStateful::new(state, Box::new(self.0.0))
    }

    /// Called when the connection is open. The future's output is `()` or a `Result`.
    #[must_use]
    pub fn on_open<F>(
        self,
        mut callback: impl FnMut(WebSocket) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        Self(self.0.on_open(move |(), socket| callback(socket)))
    }

    /// Called for each whole message.
    #[must_use]
    pub fn on_message<F>(
        self,
        mut callback: impl FnMut(WebSocket, OwnedMessage) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        Self(self.0.on_message(move |(), socket, message| callback(socket, message)))
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<F>(
        self,
        mut callback: impl FnMut(WebSocket, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        Self(self.0.on_ping(move |(), socket, data| callback(socket, data)))
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<F>(
        self,
        mut callback: impl FnMut(WebSocket, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        Self(self.0.on_pong(move |(), socket, data| callback(socket, data)))
    }

    /// Called when the connection failed: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(self, mut callback: impl FnMut(&WebSocket, &Error) -> R + Send + 'static) -> Self {
        Self(self.0.on_error(move |(), socket, error| callback(socket, error)))
    }

    /// Called once, when the connection ended: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        self,
        mut callback: impl FnMut(&WebSocket, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        Self(self.0.on_close(move |(), socket, code, reason| callback(socket, code, reason)))
    }
}

impl<T> AsyncStateful<T> {
    fn new(state: T, before: Box<dyn Callbacks>) -> Self {
        Self(Slots { state, before, open: None, message: None, ping: None, pong: None, error: None, close: None })
    }

    /// Called when the connection is open. The future's output is `()` or a `Result`.
    #[must_use]
    pub fn on_open<F>(
        mut self,
        mut callback: impl FnMut(T, WebSocket) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        self.0.open = Some(Box::new(move |state, socket| pending(callback(state, socket))));
        self
    }

    /// Called for each whole message.
    #[must_use]
    pub fn on_message<F>(
        mut self,
        mut callback: impl FnMut(T, WebSocket, OwnedMessage) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        self.0.message = Some(Box::new(move |state, socket, message| pending(callback(state, socket, message))));
        self
    }

    /// Called for each ping, and now owes the pong.
    #[must_use]
    pub fn on_ping<F>(
        mut self,
        mut callback: impl FnMut(T, WebSocket, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        self.0.ping = Some(Box::new(move |state, socket, data| pending(callback(state, socket, data))));
        self
    }

    /// Called for each pong.
    #[must_use]
    pub fn on_pong<F>(
        mut self,
        mut callback: impl FnMut(T, WebSocket, Bytes) -> F + Send + 'static, // what it captures goes to `with_state`
    ) -> Self
    where
        F: Future<Output: IntoOutcome> + Send + 'static, // of a plain closure: `listener()`
    {
        self.0.pong = Some(Box::new(move |state, socket, data| pending(callback(state, socket, data))));
        self
    }

    /// Called when the connection failed: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_error<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(T, &WebSocket, &Error) -> R + Send + 'static,
    ) -> Self {
        self.0.error = Some(Box::new(move |state, socket, error| drop(callback(state, socket, error).into_outcome())));
        self
    }

    /// Called once, when the connection ended: a plain closure, whose result does not matter any more.
    #[must_use]
    pub fn on_close<R: IntoOutcome>(
        mut self,
        mut callback: impl FnMut(T, &WebSocket, CloseCode, &str) -> R + Send + 'static,
    ) -> Self {
        self.0.close = Some(Box::new(move |state, socket, code, reason| {
            drop(callback(state, socket, code, reason).into_outcome())
        }));
        self
    }
}

/// Without callbacks, there are the defaults.
struct Defaults;

impl Callbacks for Defaults {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Pending {
        if let Call::Ping(data) = call {
            socket.as_socket().answer_ping(&data);
        }
        Box::pin(core::future::ready(Ok(())))
    }

    fn on_error(&mut self, _: &WebSocket, _: Error) {}

    fn on_close(&mut self, _: &WebSocket, _: CloseCode, _: &str) {}
}

impl Default for AsyncClosures {
    fn default() -> Self {
        Self(AsyncStateful::new((), Box::new(Defaults)))
    }
}

/// Not public: on the builder, `on_open` sets a callback; on this, it is the event.
impl<T: Clone + Send> Callbacks for Slots<T> {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Pending {
        let own = (self.state.clone(), socket.clone());
        match (call, self) {
            (Call::Open, Self { open: Some(callback), .. }) => callback(own.0, own.1),
            (Call::Message(message), Self { message: Some(callback), .. }) => callback(own.0, own.1, message),
            (Call::Ping(data), Self { ping: Some(callback), .. }) => callback(own.0, own.1, data),
            (Call::Pong(data), Self { pong: Some(callback), .. }) => callback(own.0, own.1, data),
            (call, slots) => slots.before.call(socket, call),
        }
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        match &mut self.error {
            Some(callback) => callback(self.state.clone(), socket, &error),
            None => self.before.on_error(socket, error),
        }
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        match &mut self.close {
            Some(callback) => callback(self.state.clone(), socket, code, reason),
            None => self.before.on_close(socket, code, reason),
        }
    }
}

impl IntoAsyncListener for AsyncClosures {
    fn into_async_listener(self) -> BoxAsyncListener {
        self.0.into_async_listener()
    }
}

impl<T: Clone + Send + 'static> IntoAsyncListener for AsyncStateful<T> {
    fn into_async_listener(self) -> BoxAsyncListener {
        BoxAsyncListener(Box::new(self.0))
    }
}

impl IntoAnyListener for AsyncClosures {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

impl<T: Clone + Send + 'static> IntoAnyListener for AsyncStateful<T> {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

impl fmt::Debug for AsyncClosures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncClosures").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for AsyncStateful<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncStateful").finish_non_exhaustive()
    }
}
