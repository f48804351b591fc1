//! A client on a runtime that polls: it connects, and its connection is a task.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::io::ErrorKind;

use super::Transport;
use super::connecting::{Opening, open};
use super::reaching::reach;
use super::runtime::{Adopt, Resolve, Runtime};
use crate::api::{IntoAnyListener, WebSocket};
use crate::drive::{MessageStream, Opened, stream};
use crate::handshake::client::Response;
use crate::handshake::{ConnectError, IntoTarget, Redirects, Target};
use crate::observe::no_connection;
use crate::protocol::{Closed, ClosedBy, Connection};
use crate::serve::Registry;

/// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305), and makes the
/// opening handshake, all within [`Config::open_timeout`](crate::Config::open_timeout). `target` is a `ws://` or `wss://` URL, or a
/// [`Target`](crate::Target), which has options. When this returns, `on_open` has run; that of an asynchronous listener
/// has begun.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
///
/// # Cancel safety
/// Dropping the future drops the transport; no callback has run then, and none will.
pub async fn connect<R: Resolve<(String, u16)>>(
    runtime: R,
    target: impl IntoTarget,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let mut target = target.into_target()?;
    let mut opening = Opening::new(&target, runtime.timer());
    let mut redirects = Redirects::new();
    loop {
        let mut way = reach(&runtime, &target, &mut opening).await.map_err(|error| told(&target, error))?;
        match way.shake_hands(&mut opening).await {
            Ok(established) => return way.open(&runtime, opening, established, listener.into_any_listener()),
            Err(error) => target = redirects.follow(&target, error).map_err(|error| told(&target, error))?,
        }
        opening.turn_to(&target);
    }
}

/// Makes the opening handshake over a stream that the caller has: a Unix socket, memory, TLS that was made elsewhere.
/// When this returns, `on_open` has run; that of an asynchronous listener has begun.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream; no callback has run then, and none will.
pub async fn connect_over<S, R: Adopt<S, Transport: Send + 'static>>(
    runtime: R,
    target: impl IntoTarget,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    let mut opening = Opening::new(&target, runtime.timer());
    let mut transport = runtime.adopt(stream);
    let established = opening.shake_hands(&mut transport).await.map_err(|error| told(&target, error))?;
    opening.spawn(&runtime, established, transport, listener.into_any_listener())
}

/// As [`connect`], and the connection is a [`MessageStream`]: a `Stream` of messages and a `Sink` for them.
///
/// # Errors
/// As [`connect`].
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
pub async fn connect_stream<R: Resolve<(String, u16)>>(
    runtime: R,
    target: impl IntoTarget,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect(runtime, target, listener).await?, opened).await
}

/// As [`connect_over`], and the connection is a [`MessageStream`].
///
/// # Errors
/// As [`connect_over`].
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
pub async fn connect_stream_over<S, R: Adopt<S, Transport: Send + 'static>>(
    runtime: R,
    target: impl IntoTarget,
    transport: S,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect_over(runtime, target, transport, listener).await?, opened).await
}

/// Tells, and returns, that nothing came of connecting.
pub fn told(target: &Target, error: ConnectError) -> ConnectError {
    no_connection(target, &error);
    error
}

/// Opens the connection of a handshake that another library's HTTP has made, and lets a task of its own drive it. The timer is
/// the one by which the connection was made. `on_open` has run when this returns; that of an asynchronous listener has begun.
///
/// # Errors
/// [`ConnectError::Io`] if the connection cannot be opened.
pub fn connected<R: Runtime>(
    runtime: &R,
    timer: R::Timer,
    (mut connection, response): (Connection, Response),
    transport: impl Transport + Send + 'static,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    connection.set_opened(R::unix_time());
    let established = (connection, response, Vec::new());
    let (client, task) = open(timer, established, transport, listener.into_any_listener())?;
    runtime.spawn(task);
    Ok(client)
}

/// Turns a client whose listener is that of [`stream`] into a stream.
///
/// # Errors
/// [`ConnectError::Io`] if the listener was dropped.
///
/// # Cancel safety
/// Dropping the future closes the connection.
pub async fn streamed(client: Client, opened: Opened) -> Result<(MessageStream, Response), ConnectError> {
    // `on_open` has been called.
    let messages = opened.await.ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
    Ok((messages, client.response))
}

/// The client's end of a connection: what [`connect`] returns.
///
/// **Who drives it**: a task of its own on the runtime that connected, which runs the listener's callbacks.
/// Dropping the `Client` lets that task go on: the connection lives until one side closes it
/// ([`WebSocket::close`]), or the runtime ends. A runtime that ends drops the task, and `on_close` runs
/// with 1006.
///
/// **Before the program ends**, call [`close`](Self::close): it writes what was sent, shakes hands, and waits for
/// that. Without it, a message that was just sent may be lost: async-std and smol end without dropping their tasks.
/// Tokio's runtime drops them, and a task that is dropped gives the transport what that takes without waiting.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket,
    response: Response,
    /// Of one task.
    registry: Arc<Registry>,
}

impl Client {
    pub(super) fn new(socket: WebSocket, response: Response, registry: Arc<Registry>) -> Self {
        Self { socket, response, registry }
    }

    /// Returns the connection's handle.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// Returns the server's answer to the handshake.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// Returns the subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.response.protocol()
    }

    /// Closes with 1000 "Normal Closure" after what was sent, and waits as [`closed`](Self::closed) does: nothing that
    /// was sent is lost if the program ends then. For another code, call [`WebSocket::close_with`] and then
    /// [`closed`](Self::closed).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the connection closing; it may be called again.
    pub async fn close(&mut self) -> Closed {
        // Closed already: that is what is wanted.
        let _ = self.socket.close();
        self.closed().await
    }

    /// Waits until the connection has ended and its transport is closed, and says how it ended. Not to be
    /// awaited by its own callbacks, which run on the task that is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; it may be called again, also after it has returned.
    pub async fn closed(&mut self) -> Closed {
        self.registry.wait_for_end().await;
        self.socket.closed().unwrap_or_else(|| Closed::abnormal(ClosedBy::Local))
    }
}
