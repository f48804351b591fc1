//! A listener that writes down its events.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};

use bellwire::listener::IntoListener;
use bellwire::{CloseCode, Error, Listener, Message, Outcome, Request, Response, WebSocket};

use crate::PATIENCE;

/// What a listener was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `on_open`.
    Open,
    /// `on_message` with text.
    Text(String),
    /// `on_message` with binary data.
    Binary(Vec<u8>),
    /// `on_ping`.
    Ping(Vec<u8>),
    /// `on_pong`.
    Pong(Vec<u8>),
    /// `on_error`, with the error's text.
    Error(String),
    /// `on_close`.
    Close(u16, String),
    /// The invariant 1.13 or a decision does not hold.
    Broken(&'static str),
}

impl Event {
    /// A text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// `on_error`.
    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    /// `on_close`.
    pub fn close(code: u16, reason: &str) -> Self {
        Self::Close(code, reason.into())
    }
}

/// The events of one connection, as they happen.
#[derive(Debug)]
pub struct Log(Receiver<Event>);

impl Log {
    /// The next event.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn next(&self) -> Event {
        match self.0.recv_timeout(PATIENCE) {
            Ok(event) => event,
            Err(error) => panic!("no event: {error}"),
        }
    }

    /// Checks that these events come next.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn expect(&self, events: impl IntoIterator<Item = Event>) {
        for event in events {
            assert_eq!(self.next(), event);
        }
    }

    /// All events up to the end, for which it waits: the listener is dropped, so that nothing can come any more.
    ///
    /// # Panics
    /// If the listener lives on.
    #[track_caller]
    pub fn rest(self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match self.0.recv_timeout(PATIENCE) {
                Ok(event) => events.push(event),
                Err(RecvTimeoutError::Disconnected) => return events,
                Err(RecvTimeoutError::Timeout) => panic!("the listener is still there, after {events:?}"),
            }
        }
    }

    /// Checks that exactly these events come, and then nothing ever.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn ends_with(self, events: impl IntoIterator<Item = Event>) {
        assert_eq!(self.rest(), events.into_iter().collect::<Vec<_>>());
    }
}

/// The logs of a server's connections, in the order in which their requests were answered.
#[derive(Debug)]
pub struct Logs(Receiver<Log>);

impl Logs {
    /// The log of the next connection.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn next(&self) -> Log {
        crate::next(&self.0)
    }
}

/// Writes down the events of a listener.
pub fn logged(listener: impl IntoListener) -> (Box<dyn Listener>, Log) {
    let (events, log) = mpsc::channel();
    (Box::new(Logged { inner: listener.into_listener(), events, stage: Stage::New }), Log(log))
}

/// A request handler.
pub type Handler = Box<dyn Fn(&Request) -> Response + Send + Sync>;

/// A handler that upgrades every request to a listener of its own, whose events are written down.
pub fn logged_handler<L: IntoListener>(make: impl Fn(&Request) -> L + Send + Sync + 'static) -> (Handler, Logs) {
    let (logs, receiver) = mpsc::channel();
    let handler = move |request: &Request| {
        let (listener, log) = logged(make(request));
        // A test that does not look at its logs has dropped them.
        let _ = logs.send(log);
        Response::websocket(listener)
    };
    (Box::new(handler), Logs(receiver))
}

struct Logged {
    inner: Box<dyn Listener>,
    events: Sender<Event>,
    stage: Stage,
}

/// 1.13: `on_open (on_message | on_ping | on_pong)* [on_error] on_close`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    Failed,
    Closed,
}

impl Logged {
    fn log(&self, event: Event) {
        // A test may lose interest.
        let _ = self.events.send(event);
    }

    fn check(&self, holds: bool, otherwise: &'static str) {
        if !holds {
            self.log(Event::Broken(otherwise));
        }
    }

    fn move_on(&mut self, from: &[Stage], to: Stage, otherwise: &'static str) {
        self.check(from.contains(&self.stage), otherwise);
        self.stage = to;
    }
}

impl Listener for Logged {
    fn on_open(&mut self, socket: &WebSocket) -> Outcome {
        self.move_on(&[Stage::New], Stage::Open, "on_open is not first");
        self.log(Event::Open);
        self.inner.on_open(socket)
    }

    fn on_message(&mut self, socket: &WebSocket, message: Message<'_>) -> Outcome {
        self.move_on(&[Stage::Open], Stage::Open, "a message outside of an open connection");
        self.log(match message {
            Message::Text(text) => Event::text(text),
            Message::Binary(bytes) => Event::Binary(bytes.into()),
        });
        self.inner.on_message(socket, message)
    }

    fn on_ping(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.move_on(&[Stage::Open], Stage::Open, "a ping outside of an open connection");
        self.log(Event::Ping(data.into()));
        self.inner.on_ping(socket, data)
    }

    fn on_pong(&mut self, socket: &WebSocket, data: &[u8]) -> Outcome {
        self.move_on(&[Stage::Open], Stage::Open, "a pong outside of an open connection");
        self.log(Event::Pong(data.into()));
        self.inner.on_pong(socket, data)
    }

    fn on_error(&mut self, socket: &WebSocket, error: &Error) {
        self.move_on(&[Stage::Open], Stage::Failed, "on_error twice, or outside of a connection");
        self.check(!socket.is_open(), "D2: open in on_error");
        self.log(Event::error(error.to_string()));
        self.inner.on_error(socket, error);
    }

    fn on_close(&mut self, socket: &WebSocket, code: CloseCode, reason: &str) {
        self.move_on(&[Stage::Open, Stage::Failed], Stage::Closed, "on_close twice, or without on_open");
        self.check(!socket.is_open(), "D2: open in on_close");
        let closed = socket.closed();
        let agrees = closed.is_some_and(|closed| closed.code == code && closed.reason == reason);
        self.check(agrees, "D4: closed() does not say what on_close says");
        self.log(Event::close(code.0, reason));
        self.inner.on_close(socket, code, reason);
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.check(matches!(self.stage, Stage::New | Stage::Closed), "no on_close");
    }
}
