//! Connects.

use std::io::ErrorKind;

use bellwire_core::backend::no_connection;
use bellwire_core::listener::{AnyListener, IntoAnyListener, IntoListener};
use bellwire_core::proto::client::{IntoTarget, Response};
use bellwire_core::stream::Opened;
use bellwire_core::{Closed, ConnectError, WebSocket, stream};

use crate::connecting::{Connected, Opening};
use crate::message_stream::MessageStream;
use crate::stream::Stream;
use crate::wait::wait_until;

/// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305, a thread for each
/// attempt if there are several), and makes the opening handshake, all within
/// [`Config::open_timeout`](bellwire_core::Config::open_timeout). `target` is a `ws://` or `wss://` URL, or a
/// [`Target`](bellwire_core::Target), which has options. When this returns, `on_open` has run, however long that takes.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
pub fn connect(target: impl IntoTarget, listener: impl IntoListener) -> Result<Client, ConnectError> {
    open(target, listener.into_listener().into()).map(Client)
}

pub(crate) fn open(target: impl IntoTarget, listener: AnyListener) -> Result<Connected, ConnectError> {
    let target = target.into_target()?;
    Opening::new(&target, listener).connect(target)
}

/// Makes the opening handshake over a stream that the caller has: a Unix socket, memory, TLS that was made elsewhere or
/// with a [`TlsStream`](crate::TlsStream). When this returns, `on_open` has run.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
pub fn connect_over(
    target: impl IntoTarget,
    stream: impl Stream,
    listener: impl IntoListener,
) -> Result<Client, ConnectError> {
    open_over(target, stream, listener.into_listener().into()).map(Client)
}

fn open_over(target: impl IntoTarget, stream: impl Stream, listener: AnyListener) -> Result<Connected, ConnectError> {
    let target = target.into_target()?;
    Opening::new(&target, listener).finish(stream).inspect_err(|error| no_connection(&target, error))
}

/// As [`connect`], and the connection is a [`MessageStream`]: `recv` and `send` without callbacks.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::blocking::connect_stream;
/// use std::time::Duration;
///
/// let (mut messages, _response) = connect_stream("ws://127.0.0.1:9001/")?;
/// messages.send("hello")?;
/// if let Some(answer) = messages.recv_timeout(Duration::from_secs(2)) {
///     println!("{:?}", answer?);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`connect`].
pub fn connect_stream(target: impl IntoTarget) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(open(target, listener.into_any_listener())?, opened)
}

/// As [`connect_over`], and the connection is a [`MessageStream`].
///
/// # Errors
/// As [`connect_over`].
pub fn connect_stream_over(
    target: impl IntoTarget,
    transport: impl Stream,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(open_over(target, transport, listener.into_any_listener())?, opened)
}

fn streamed(connected: Connected, opened: Opened) -> Result<(MessageStream, Response), ConnectError> {
    // `on_open` has been called.
    let messages =
        wait_until(None, opened).flatten().ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
    Ok((MessageStream::new(messages, connected.end), connected.response))
}

/// The client's end of a connection: what [`connect`] returns.
///
/// **Who drives it**: a thread of its own, which runs the listener's callbacks. Dropping the `Client` lets
/// that thread go on: the connection lives until one side closes it ([`WebSocket::close`]), or the process ends.
///
/// **Before the program ends**: dropping the `Client` waits until what was sent is written, at most as long as
/// [`Config::close_timeout`](bellwire_core::Config::close_timeout) says, so that no last message is lost when `main`
/// returns (10 s if there is none). [`close`](Self::close) says goodbye besides, and how that went. A socket that is
/// kept longer than its `Client`, and [`std::process::exit`], wait for nothing.
#[derive(Debug)]
pub struct Client(Connected);

impl Client {
    /// Returns the connection's handle.
    pub fn socket(&self) -> &WebSocket {
        self.0.end.socket()
    }

    /// Returns the server's answer to the handshake.
    pub fn response(&self) -> &Response {
        &self.0.response
    }

    /// Returns the subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.0.response.protocol()
    }

    /// Closes with 1000 "Normal Closure" after what was sent, and waits as [`closed`](Self::closed) does: nothing that
    /// was sent is lost if the program ends then. For another code, call [`WebSocket::close_with`] and then
    /// [`closed`](Self::closed).
    pub fn close(&mut self) -> Closed {
        // Closed already: that is what is wanted.
        let _ = self.socket().close();
        self.closed()
    }

    /// Waits until the connection has ended and its transport is closed, and says how it ended. Not to be called from
    /// its own callbacks, nor from what [`WebSocket::send_with`] calls, which run on the threads that would be waited
    /// for: there it does not wait.
    pub fn closed(&mut self) -> Closed {
        self.0.end.wait()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if !self.0.shared.discards_output() {
            self.0.end.drain();
        }
    }
}
