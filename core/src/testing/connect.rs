//! For tests of handlers together with their listeners: a client and a server's connection in memory.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Poll, Waker};
use core::time::Duration;

use super::Sent;
use super::server::ServerEnd;
use crate::api::{IntoAsyncResponse, IntoResponse, WebSocket};
use crate::config::Config;
use crate::handshake::client::{Handshake, Phase, Response};
use crate::handshake::{ConnectError, IntoTarget, Request};
use crate::protocol::{CloseCode, Closed, Connection, Event, Outgoing, OwnedMessage, SendError};
use crate::serve::{ServerError, Service};
use crate::time::Time;

/// Connects to a handler in memory, at `ws://localhost/`: the whole handshake, frames, and deadlines on both ends,
/// without a port, a thread or a runtime. What a server's error hook would be told is printed on stderr.
///
/// Everything that a method of [`TestClient`] causes has happened when it returns, callbacks included. Time is virtual:
/// only [`advance`](TestClient::advance) moves it.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::testing::{self, Sent};
/// use bellwire::{Request, Response, listener};
/// use std::time::Duration;
///
/// fn app(_: &Request) -> Response {
///     Response::websocket(
///         listener()
///             .on_open(|socket| socket.send("welcome"))
///             .on_message(|socket, message| {
///                 if message == "bye" { socket.close_with(4000, "as you like") } else { socket.send(message) }
///             }),
///     )
/// }
///
/// let mut client = testing::connect(app)?;
/// assert_eq!(client.try_recv().unwrap(), "welcome");
/// client.send("hello")?;
/// assert_eq!(client.try_recv().unwrap(), "hello");
/// // An hour passes in no time: keepalive pings come, and are answered.
/// client.advance(Duration::from_secs(3600));
/// client.take_received();
/// client.send("bye")?;
/// assert_eq!(client.take_received(), [Sent::close(4000, "as you like")]);
/// assert!(client.closed().unwrap().clean);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ConnectError::Handshake`] with the response of a handler that refuses.
pub fn connect<R: IntoResponse>(
    handler: impl Fn(&Request) -> R + Send + Sync + 'static,
) -> Result<TestClient, ConnectError> {
    connect_to("ws://localhost/", handler)
}

/// As [`connect`], with a URL, or with a [`Target`](crate::Target) that has headers, subprotocols and a configuration.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::client::HandshakeError;
/// use bellwire::{ConnectError, Request, Response, Target, listener, testing};
///
/// fn app(request: &Request) -> Response {
///     match request.header("Authorization").as_deref() {
///         Some("Bearer 42") => Response::websocket(listener()),
///         _ => Response::new(401).with_body("who are you?"),
///     }
/// }
///
/// let target = Target::new("ws://localhost/chat")?.header("Authorization", "Bearer 42")?;
/// assert!(testing::connect_to(target, app).is_ok());
/// match testing::connect_to("ws://localhost/chat", app) {
///     Err(ConnectError::Handshake(HandshakeError::Refused(response))) => {
///         assert_eq!((response.status(), response.body()), (401, &b"who are you?"[..]));
///     }
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), ConnectError>(())
/// ```
///
/// # Errors
/// As [`connect`], and [`ConnectError::Url`].
pub fn connect_to<R: IntoResponse>(
    target: impl IntoTarget,
    handler: impl Fn(&Request) -> R + Send + Sync + 'static,
) -> Result<TestClient, ConnectError> {
    let service = Arc::new(Service::new(Config::default(), handler, tell));
    let mut opening = Opening::new(target, service)?;
    // Such a handler has answered when it returns.
    opening.go_on(Waker::noop()).unwrap_or(Err(ConnectError::Timeout(Phase::Handshake)))
}

/// As [`connect_to`], with an asynchronous handler. Waits for its answer.
///
/// It needs no runtime, and works on any: only the handler and its callbacks may need one. On tokio's paused clock
/// their sleeps are virtual, too.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{AsyncResponse, Request, async_listener, testing};
///
/// async fn app(_: Request) -> AsyncResponse {
///     AsyncResponse::websocket(
///         async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
///     )
/// }
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut client = testing::connect_async("ws://localhost/", app).await?;
/// client.send("hello")?;
/// assert_eq!(client.recv().await.unwrap(), "hello");
/// # Ok(())
/// # }
/// # futures_util::FutureExt::now_or_never(example()).unwrap().unwrap();
/// ```
///
/// # Errors
/// As [`connect_to`].
///
/// # Cancel safety
/// Dropping the future drops both ends.
pub async fn connect_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
    target: impl IntoTarget,
    handler: impl Fn(Request) -> F + Send + Sync + 'static,
) -> Result<TestClient, ConnectError> {
    connect_service(target, Arc::new(Service::asynchronous(Config::default(), handler, tell))).await
}

/// As [`connect_async`], to any [`Service`]: one whose handler answers later, one with a configuration or a hook of its
/// own.
///
/// # Errors
/// As [`connect_to`].
///
/// # Cancel safety
/// As [`connect_async`].
pub async fn connect_service(target: impl IntoTarget, service: Arc<Service>) -> Result<TestClient, ConnectError> {
    let mut opening = Opening::new(target, service)?;
    core::future::poll_fn(|cx| opening.go_on(cx.waker()).map_or(Poll::Pending, Poll::Ready)).await
}

fn tell(error: &ServerError) {
    std::eprintln!("{error}");
}

/// A client whose server is in memory: see [`connect`].
///
/// Dropping it is as if the peer vanished.
pub struct TestClient {
    connection: Connection,
    response: Response,
    server: ServerEnd,
    received: VecDeque<Sent>,
    closed: Option<Closed>,
}

impl TestClient {
    /// Returns the server's response to the handshake.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Returns the server's handle to this connection.
    pub fn socket(&self) -> Option<&WebSocket> {
        self.server.driver.socket()
    }

    /// Sends a message.
    ///
    /// # Errors
    /// [`SendError::Closed`] if the connection is closed.
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.connection.send(message)?;
        self.settle(Waker::noop());
        Ok(())
    }

    /// Sends a ping. The pong is among what is [received](Self::take_received).
    ///
    /// # Errors
    /// As [`WebSocket::ping`].
    pub fn ping(&mut self, data: impl AsRef<[u8]>) -> Result<(), SendError> {
        self.connection.ping(data.as_ref())?;
        self.settle(Waker::noop());
        Ok(())
    }

    /// Returns the next message that has come, if there is one. Pings and pongs before it are dropped; the pings have
    /// been answered.
    pub fn try_recv(&mut self) -> Option<OwnedMessage> {
        self.settle(Waker::noop());
        self.next_message()
    }

    /// Returns the next message, and waits for one that asynchronous callbacks or other tasks and threads send. `None`
    /// when the connection has ended. Deadlines do not pass meanwhile.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<OwnedMessage> {
        core::future::poll_fn(|cx| {
            self.settle(cx.waker());
            match self.next_message() {
                None if self.closed.is_none() => Poll::Pending,
                message => Poll::Ready(message),
            }
        })
        .await
    }

    /// Returns everything that has come and was not taken yet, in order: messages, pings, pongs, and the close.
    pub fn take_received(&mut self) -> Vec<Sent> {
        self.settle(Waker::noop());
        mem::take(&mut self.received).into()
    }

    /// Closes with 1000, and returns how the connection has ended: `None` if the server's callbacks are not done yet.
    pub fn close(&mut self) -> Option<Closed> {
        self.close_with(CloseCode::NORMAL, "Normal Closure")
    }

    /// Closes with a code and a reason. After the end, or with a code that must not be sent, nothing happens.
    pub fn close_with(&mut self, code: impl Into<CloseCode>, reason: &str) -> Option<Closed> {
        // Closed already: that is what is wanted.
        let _ = self.connection.close(code, reason);
        self.settle(Waker::noop());
        self.closed()
    }

    /// Returns how the connection has ended, seen from the client.
    pub fn closed(&self) -> Option<Closed> {
        self.closed.clone()
    }

    /// Vanishes without a word, as a client whose network is gone.
    pub fn hang_up(&mut self) {
        self.connection.abort();
        self.server.hung_up = true;
        self.settle(Waker::noop());
    }

    /// Lets time pass, for the deadlines of both ends: keepalive, idleness, closing. Each one on the way is acted on,
    /// so hours take no time to speak of, and `Duration::MAX` never ends.
    pub fn advance(&mut self, time: Duration) {
        let until = self.server.now + time;
        loop {
            self.settle(Waker::noop());
            let due = self.server.deadline().into_iter().chain(self.connection.poll_timeout()).min();
            let now = match due {
                // What is still due after it was done would stop the time.
                Some(due) if due < until => due.max(self.server.now + Duration::from_millis(1)).min(until),
                _ => until,
            };
            self.server.now = now;
            self.server.driver.handle_timeout(now);
            self.connection.handle_timeout(now);
            if now == until {
                return self.settle(Waker::noop());
            }
        }
    }

    fn next_message(&mut self) -> Option<OwnedMessage> {
        while let Some(sent) = self.received.pop_front() {
            match sent {
                Sent::Message(message) => return Some(message),
                // What ended the stream of messages is still to be seen.
                Sent::Close(..) => {
                    self.received.push_front(sent);
                    return None;
                }
                Sent::Ping(_) | Sent::Pong(_) | Sent::Abort => {}
            }
        }
        None
    }

    /// Carries bytes back and forth until both ends sleep; `waker` is what the server wakes.
    fn settle(&mut self, waker: &Waker) {
        self.server.rest();
        loop {
            let output = self.connection.take_output();
            if let Some(output) = &output {
                self.server.unread.extend(output.pieces().flatten());
                self.connection.wrote(self.server.now, output.len());
            }
            if self.connection.is_lost() {
                self.server.hung_up = true;
            }
            let written = self.server.run(waker);
            let (nothing, ended) = (written.is_empty(), self.server.ended);
            self.receive(written);
            if nothing && ended && !self.server.hung_up {
                self.connection.receive_eof();
                self.receive(Vec::new());
                self.server.hung_up = true;
            } else if (nothing && output.is_none()) || self.server.is_tired() {
                return;
            }
        }
    }

    fn receive(&mut self, mut bytes: Vec<u8>) {
        let mut input = &mut bytes[..];
        while let Some(event) = self.connection.next_event(self.server.now, &mut input) {
            match event {
                Event::Text(text) => self.received.push_back(Sent::text(text)),
                Event::Binary(bytes) => self.received.push_back(Sent::binary(bytes)),
                Event::Ping(data) => self.received.push_back(Sent::Ping(data.into())),
                Event::Pong(data) => self.received.push_back(Sent::Pong(data.into())),
                Event::Error(_) => {}
                Event::Closed(closed) => {
                    if closed.clean {
                        self.received.push_back(Sent::close(closed.code, &*closed.reason));
                    }
                    self.closed = Some(closed);
                }
            }
        }
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.hang_up();
    }
}

debug!(TestClient => |this| received: this.received, closed: this.closed);

/// The opening handshake of both ends.
struct Opening {
    handshake: Handshake,
    /// Taken by the client that comes of it.
    server: Option<ServerEnd>,
}

impl Opening {
    fn new(target: impl IntoTarget, service: Arc<Service>) -> Result<Self, ConnectError> {
        let mut handshake = target.into_target()?.handshake(Time::ZERO);
        let unread = handshake.output().to_vec();
        handshake.wrote(unread.len());
        Ok(Self { handshake, server: Some(ServerEnd::new(service, unread)) })
    }

    /// `None` while the handler has not answered.
    fn go_on(&mut self, waker: &Waker) -> Option<Result<TestClient, ConnectError>> {
        let server = self.server.as_mut()?;
        let mut written = server.run(waker);
        let mut input = &mut written[..];
        let (connection, response) = match self.handshake.receive(server.now, &mut input) {
            Some(Ok(connected)) => connected,
            Some(Err(error)) => return Some(Err(error.into())),
            None if server.ended => return Some(Err(self.handshake.receive_eof().into())),
            None => return None,
        };
        let (input, received) = (input.to_vec(), VecDeque::new());
        let mut client = TestClient { connection, response, server: self.server.take()?, received, closed: None };
        client.receive(input);
        client.settle(waker);
        Some(Ok(client))
    }
}
