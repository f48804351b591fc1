//! Plain closures as a listener, with or without a state.

use alloc::boxed::Box;

use super::{Built, Event, Flavour, Raw, Receive, Slots, State, Stateless, setter, setters};
use crate::api::listener::{IntoListener, IntoOutcome, Listener, Outcome};
use crate::api::socket::WebSocket;
use crate::api::typed::untyped;
use crate::protocol::{CloseCode, Error, Message};

/// Creates a listener of closures. Events without one are ignored, and pings are answered.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Listener, Message, listener};
/// use bellwire::listener::IntoListener;
/// use bellwire::testing::{Recorder, Sent};
///
/// let recorder = Recorder::new();
/// let mut echo = listener()
///     .on_open(|socket| socket.send("hello"))
///     .on_message(|socket, message| socket.send(message))
///     .into_listener();
/// echo.on_open(&recorder.socket()).unwrap();
/// echo.on_message(&recorder.socket(), Message::Binary(b"\x01")).unwrap();
/// assert_eq!(recorder.sent(), [Sent::text("hello"), Sent::binary(b"\x01")]);
/// ```
pub fn listener() -> ListenerBuilder {
    ListenerBuilder { slots: Slots::default() }
}

/// Builds a [`Listener`] of closures, for [`listener`]. Callbacks return `()` or a `Result`; with
/// [a state](Self::with_state) they get that first.
///
/// [`into_listener`](IntoListener::into_listener) makes the listener, for tests that call its events by hand.
pub struct ListenerBuilder<S = Stateless> {
    slots: Slots<Plain, S>,
}

impl ListenerBuilder {
    /// Gives the callbacks that are set from here on a state, as their first argument. Those that were set
    /// before stay as they are.
    ///
    /// The state is of one connection, and is dropped with its listener: what connections share is shared by a
    /// clone of its [`Arc`](alloc::sync::Arc).
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, WebSocket, listener};
    /// use std::{collections::HashSet, sync::{Arc, Mutex}};
    ///
    /// type Room = Arc<Mutex<HashSet<WebSocket>>>;
    ///
    /// fn join(room: &Room) -> Response {
    ///     Response::websocket(
    ///         listener()
    ///             .with_state(room.clone())
    ///             .on_open(|room, socket| {
    ///                 room.lock().unwrap().insert(socket.clone());
    ///             })
    ///             .on_message(|room, _, message| {
    ///                 // Sends under no lock, and a member that has left is not the sender's failure.
    ///                 let members = room.lock().unwrap().clone();
    ///                 members.iter().for_each(|member| drop(member.send(message)));
    ///             })
    ///             .on_close(|room, socket, _, _| {
    ///                 room.lock().unwrap().remove(socket);
    ///             }),
    ///     )
    /// }
    ///
    /// let room = Room::default();
    /// let handler = move |_: &Request| join(&room);
    /// # drop(handler);
    /// ```
    #[must_use]
    pub fn with_state<T: Send + 'static>(self, state: T) -> ListenerBuilder<State<T>> {
        ListenerBuilder { slots: self.slots.with_state(state) }
    }

    setters! { setter [] &WebSocket, &WebSocket, Message<'_>, &[u8] }
}

/// With a state.
impl<T> ListenerBuilder<State<T>> {
    setters! { setter [state: &mut T = &mut state.0] &WebSocket, &WebSocket, Message<'_>, &[u8] }
}

impl<S: Send + 'static> IntoListener for ListenerBuilder<S> {
    fn into_listener(self) -> Box<dyn Listener> {
        Box::new(Built(self.slots))
    }
}

debug!(ListenerBuilder<S>);

/// Plain closures, and messages as they are.
pub(in crate::api) enum Plain {}

impl Flavour for Plain {
    type Socket = WebSocket;
    type Message<'a> = Message<'a>;
    type Data<'a> = &'a [u8];
    type Output = Outcome;

    fn output(outcome: Outcome) -> Outcome {
        outcome
    }
}

impl Raw for Plain {
    fn as_message<'a>(message: &'a Message<'_>) -> Message<'a> {
        *message
    }
}

/// Returns the outcome of a callback.
pub(crate) fn outcome(returned: impl IntoOutcome) -> Outcome {
    returned.into_outcome().map_err(untyped)
}

impl<L: Receive<Plain>> Listener for Built<L> {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.0.receive(socket, Event::Open)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.0.receive(socket, Event::Message(message))
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.0.receive(socket, Event::Ping(data))
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.0.receive(socket, Event::Pong(data))
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        drop(self.0.receive(socket, Event::Error(error)));
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        drop(self.0.receive(socket, Event::Close(code, reason)));
    }
}
