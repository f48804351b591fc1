//! Async closures as a listener, with or without a state.

use alloc::boxed::Box;

use bytes::Bytes;

use super::{Built, Event, Flavour, Raw, Receive, Slots, State, Stateless, async_setter, outcome, setter, setters};
use crate::api::any_listener::{AnyListener, IntoAnyListener};
use crate::api::async_listener::{BoxAsyncListener, Call, Callbacks, IntoAsyncListener};
use crate::api::called::Called;
use crate::api::listener::{IntoOutcome, Outcome};
use crate::api::socket::WebSocket;
use crate::protocol::{CloseCode, Error, Message, OwnedMessage};

/// Creates a listener of async closures. Events without one are ignored, and pings are answered.
///
/// Closures get a handle and a message of their own, so that their futures may live as long as they like. What they
/// share is given to [`with_state`](AsyncListenerBuilder::with_state): an async closure cannot use what it captures by
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
pub fn async_listener() -> AsyncListenerBuilder {
    AsyncListenerBuilder { slots: Slots::default() }
}

/// Builds an [`AsyncListener`](crate::AsyncListener) of closures, for [`async_listener`]. The output of their futures
/// is `()` or a `Result`; with [a state](Self::with_state) they get a clone of that first.
pub struct AsyncListenerBuilder<S = Stateless> {
    slots: Slots<Async, S>,
}

impl AsyncListenerBuilder {
    /// Gives the callbacks that are set from here on a state, as their first argument. Those that were set before stay
    /// as they are.
    ///
    /// As with [`listener`](crate::listener::ListenerBuilder::with_state), but each call gets a clone of it, which its
    /// future owns: what callbacks change is shared by an [`Arc`](alloc::sync::Arc), an `Arc<Mutex<..>>` for example.
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
    pub fn with_state<T: Clone + Send + 'static>(self, state: T) -> AsyncListenerBuilder<State<T>> {
        AsyncListenerBuilder { slots: self.slots.with_state(state) }
    }

    setters! { async_setter [] &WebSocket, WebSocket, OwnedMessage, Bytes }
}

/// With a state.
impl<T: Clone> AsyncListenerBuilder<State<T>> {
    setters! { async_setter [state: T = state.0.clone()] &WebSocket, WebSocket, OwnedMessage, Bytes }
}

impl<S: Send + 'static> IntoAsyncListener for AsyncListenerBuilder<S> {
    fn into_async_listener(self) -> BoxAsyncListener {
        BoxAsyncListener(Box::new(Built(self.slots)))
    }
}

impl<S: Send + 'static> IntoAnyListener for AsyncListenerBuilder<S> {
    fn into_any_listener(self) -> AnyListener {
        self.into_async_listener().into()
    }
}

debug!(AsyncListenerBuilder<S>);

/// Async closures, and messages as they are.
pub(in crate::api) enum Async {}

impl Flavour for Async {
    type Socket = WebSocket;
    type Message<'a> = OwnedMessage;
    type Data<'a> = Bytes;
    type Output = Called;

    fn output(outcome: Outcome) -> Called {
        Called::Done(outcome)
    }
}

impl Raw for Async {
    fn as_message<'a>(message: &'a OwnedMessage) -> Message<'a> {
        message.as_message()
    }
}

impl<L: Receive<Async>> Callbacks for Built<L> {
    fn call(&mut self, socket: &WebSocket, call: Call) -> Called {
        let event = match call {
            Call::Open => Event::Open,
            Call::Message(message) => Event::Message(message),
            Call::Ping(data) => Event::Ping(data),
            Call::Pong(data) => Event::Pong(data),
            Call::Closing => return Async::output(Ok(())),
        };
        self.0.receive(socket, event)
    }

    fn on_error(&mut self, socket: &WebSocket, error: Error) {
        drop(self.0.receive(socket, Event::Error(&error)));
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        drop(self.0.receive(socket, Event::Close(code, reason)));
    }
}
