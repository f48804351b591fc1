//! Connects.

use bellwire_core::backend::{Client, IntoTarget, Opening};
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::client::Response;
use bellwire_core::stream::Opened;
use bellwire_core::{ConnectError, MessageStream, stream};
use std::io::ErrorKind;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};

use crate::runtime::{Timer, Transport};

/// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305), and makes the
/// opening handshake, all within
/// [`Config::open_timeout`](bellwire_core::Config::open_timeout). `target` is a `ws://` URL, or a
/// [`Target`](bellwire_core::Target), which has options. When this returns, `on_open` has run; that of an
/// asynchronous listener has begun.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
///
/// # Cancel safety
/// Dropping the future drops the transport; no callback has run then, and none will.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its drivers of I/O and time.
pub async fn connect(target: impl IntoTarget, listener: impl IntoAnyListener) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    if target.uri().is_secure() {
        return Err(ConnectError::Tls);
    }
    let mut opening = Opening::new(&target, Timer::start());
    let (host, port) = (target.uri().host(), target.uri().port());
    let resolving = async { Ok(lookup_host((host, port)).await?.collect()) };
    let stream = opening.connect(resolving, TcpStream::connect).await?;
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().ok();
    finish(opening.peer_addr(peer), stream, listener).await
}

/// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket, memory.
/// When this returns, `on_open` has run; that of an asynchronous listener has begun.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream; no callback has run then, and none will.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    target: impl IntoTarget,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    finish(Opening::new(&target.into_target()?, Timer::start()), stream, listener).await
}

/// Shakes hands, and lets a task of its own drive the connection.
async fn finish<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    opening: Opening<Timer>,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let (client, task) = opening.finish(Transport(stream), listener.into_any_listener()).await?;
    tokio::spawn(task);
    Ok(client)
}

/// As [`connect`], and the connection is a [`MessageStream`]: a `Stream` of messages and a `Sink` for them.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (mut messages, _response) = bellwire::tokio::connect_stream("ws://127.0.0.1:9001/").await?;
/// messages.send("hello").await?;
/// while let Some(message) = messages.recv().await {
///     println!("{:?}", message?);
/// }
/// println!("{:?}", messages.closed());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`].
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
///
/// # Panics
/// As [`connect`].
pub async fn connect_stream(target: impl IntoTarget) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect(target, listener).await?, opened).await
}

/// As [`connect_over`], and the connection is a [`MessageStream`].
///
/// # Errors
/// As [`connect_over`].
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
///
/// # Panics
/// As [`connect_over`].
pub async fn connect_stream_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    target: impl IntoTarget,
    transport: S,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect_over(target, transport, listener).await?, opened).await
}

async fn streamed(client: Client, opened: Opened) -> Result<(MessageStream, Response), ConnectError> {
    // `on_open` has been called.
    let messages = opened.await.ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
    Ok((messages, client.response().clone()))
}
