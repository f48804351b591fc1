//! Connects.

use std::io::ErrorKind;
use std::net::TcpStream;

use async_io::Async;
use bellwire_core::backend::{Client, IntoTarget, Opening};
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::client::Response;
use bellwire_core::stream::Opened;
use bellwire_core::{ConnectError, MessageStream, stream};
use futures_io::{AsyncRead, AsyncWrite};

#[cfg(feature = "async-std")]
use crate::runtime::AsyncStd;
use crate::runtime::{Runtime, Transport};

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
#[cfg(feature = "async-std")]
pub async fn connect(target: impl IntoTarget, listener: impl IntoAnyListener) -> Result<Client, ConnectError> {
    connect_on(AsyncStd, target, listener).await
}

/// As `connect`, on another runtime than async-std.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
///
/// # Cancel safety
/// Dropping the future drops the transport; no callback has run then, and none will.
pub async fn connect_on<R: Runtime>(
    runtime: R,
    target: impl IntoTarget,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    if target.uri().is_secure() {
        return Err(ConnectError::Tls);
    }
    let mut opening = Opening::new(&target, runtime.timer());
    let resolving = async_net::resolve((target.uri().host(), target.uri().port()));
    let stream = opening.connect(resolving, Async::<TcpStream>::connect).await?;
    // A peer that is gone already is found out soon enough.
    let _ = stream.get_ref().set_nodelay(true);
    let peer = stream.get_ref().peer_addr().ok();
    finish(&runtime, opening.peer_addr(peer), stream, listener).await
}

/// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket, memory.
/// When this returns, `on_open` has run; that of an asynchronous listener has begun.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream; no callback has run then, and none will.
#[cfg(feature = "async-std")]
pub async fn connect_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    target: impl IntoTarget,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    connect_over_on(AsyncStd, target, stream, listener).await
}

/// As `connect_over`, on another runtime than async-std.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
///
/// # Cancel safety
/// Dropping the future drops the stream; no callback has run then, and none will.
pub async fn connect_over_on<R: Runtime, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    runtime: R,
    target: impl IntoTarget,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let opening = Opening::new(&target.into_target()?, runtime.timer());
    finish(&runtime, opening, stream, listener).await
}

/// Shakes hands, and lets a task of its own drive the connection.
async fn finish<R: Runtime, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    runtime: &R,
    opening: Opening<R::Timer>,
    stream: S,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let (client, task) = opening.finish(Transport(stream), listener.into_any_listener()).await?;
    runtime.spawn(task);
    Ok(client)
}

/// As `connect`, and the connection is a [`MessageStream`]: a `Stream` of messages and a `Sink` for them.
///
/// # Errors
/// As `connect`.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
#[cfg(feature = "async-std")]
pub async fn connect_stream(target: impl IntoTarget) -> Result<(MessageStream, Response), ConnectError> {
    connect_stream_on(AsyncStd, target).await
}

/// As `connect_stream`, on another runtime than async-std.
///
/// # Errors
/// As `connect`.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
pub async fn connect_stream_on<R: Runtime>(
    runtime: R,
    target: impl IntoTarget,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect_on(runtime, target, listener).await?, opened).await
}

/// As `connect_over`, and the connection is a [`MessageStream`].
///
/// # Errors
/// As `connect_over`.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
#[cfg(feature = "async-std")]
pub async fn connect_stream_over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    target: impl IntoTarget,
    transport: S,
) -> Result<(MessageStream, Response), ConnectError> {
    connect_stream_over_on(AsyncStd, target, transport).await
}

/// As `connect_stream_over`, on another runtime than async-std.
///
/// # Errors
/// As `connect_over`.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
pub async fn connect_stream_over_on<R: Runtime, S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    runtime: R,
    target: impl IntoTarget,
    transport: S,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect_over_on(runtime, target, transport, listener).await?, opened).await
}

async fn streamed(client: Client, opened: Opened) -> Result<(MessageStream, Response), ConnectError> {
    // `on_open` has been called.
    let messages = opened.await.ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
    Ok((messages, client.response().clone()))
}
