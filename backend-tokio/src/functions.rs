//! What most programs need: one call to serve, and one to connect.

use std::io;

use bellwire_core::backend::{self as task, IntoTarget};
use bellwire_core::listener::{IntoAnyListener, IntoAsyncResponse, IntoResponse};
use bellwire_core::proto::client::Response;
use bellwire_core::{Config, ConnectError, MessageStream, Request, Responder, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::ToSocketAddrs;

use crate::{Client, Server, Tokio};

/// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
/// options, tells its address, and can be shut down.
///
/// Refused requests and failures of the handler are printed on stderr, each kind at most once per minute;
/// [`Server::on_error`](task::Server::on_error) takes another hook.
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// Dropping the future ends the listening, and nothing else.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its drivers of I/O and time.
pub async fn serve<A: IntoResponse>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(&Request) -> A + Send + Sync + 'static, // an `async` one goes to `serve_async`
) -> io::Result<()> {
    Server::bind(addr).await?.run(handler).await
}

/// As [`serve`], with a handler that answers when it likes, and from where it likes: Ring's asynchronous
/// handler. [`Server::run_with`](task::Server::run_with) has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::{Response, listener};
/// use bellwire::tokio::serve_with;
///
/// # async fn example() -> std::io::Result<()> {
/// serve_with("127.0.0.1:9001", |request, responder| {
///     tokio::spawn(async move {
///         // Ask a database, say.
///         match request.path() {
///             "/echo" => responder.respond(Response::websocket(
///                 listener().on_message(|socket, message| socket.send(message)),
///             )),
///             _ => responder.respond(Response::not_found()),
///         }
///     });
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// Dropping the future ends the listening, and nothing else.
///
/// # Panics
/// As [`serve`].
pub async fn serve_with(
    addr: impl ToSocketAddrs,
    handler: impl Fn(Request, Responder) + Send + Sync + 'static,
) -> io::Result<()> {
    Server::bind(addr).await?.run_with(handler).await
}

/// As [`serve`], with an asynchronous handler, whose answer may carry an asynchronous listener.
/// [`Server::run_async`](task::Server::run_async) has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::{AsyncResponse, async_listener};
/// use bellwire::tokio::serve_async;
///
/// # async fn example() -> std::io::Result<()> {
/// serve_async("127.0.0.1:9001", |_request| async {
///     AsyncResponse::websocket(
///         async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
///     )
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// Dropping the future ends the listening, and nothing else.
///
/// # Panics
/// As [`serve`].
pub async fn serve_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `serve`
) -> io::Result<()> {
    Server::bind(addr).await?.run_async(handler).await
}

/// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305), and makes the
/// opening handshake, all within [`Config::open_timeout`]. `target` is a `ws://` URL, or a
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
    task::connect(Tokio, target, listener).await
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
    task::connect_over(Tokio, target, stream, listener).await
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
    task::connect_stream(Tokio, target).await
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
    task::connect_stream_over(Tokio, target, transport).await
}

/// Answers the one request on a stream that the caller has accepted, and makes a [`MessageStream`] of the connection,
/// whatever the path. To look at the request first, return the listener of [`stream`](bellwire_core::stream()) from a
/// handler.
///
/// # Errors
/// What was wrong with the request, in words; the peer was told.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub async fn accept_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    transport: S,
    config: Config,
) -> io::Result<MessageStream> {
    task::accept_stream(Tokio, transport, config).await
}

/// Drives a stream that somebody else upgraded, until it ends. `leftover` is what was read after the handshake.
///
/// Whoever upgrades has checked the request: nothing here looks at its key
/// ([`accept_key`](bellwire_core::proto::server::accept_key) makes the answer to it), its version or its `Origin`.
///
/// For a [`MessageStream`], spawn this with the listener of [`stream`](bellwire_core::stream()), and then await the
/// other end.
///
/// The listener's `on_open` runs when the future is first polled.
///
/// # Cancel safety
/// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
/// so at once, with 1006.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub fn upgraded(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    leftover: impl Into<Vec<u8>>,
    role: Role,
    config: Config,
    listener: impl IntoAnyListener,
) -> impl Future<Output = ()> {
    task::upgraded(Tokio, stream, leftover, role, config, listener)
}
