//! WebSockets over HTTP/2, on a connection that the program has (RFC 8441).

use std::error::Error;
use std::fmt;
use std::io;

use bellwire_core::backend::{Client, Runtime, Timer, connected, streamed, told};
use bellwire_core::listener::IntoAnyListener;
use bellwire_core::proto::Connection;
use bellwire_core::proto::client::{ExtendedConnect, HandshakeError, IntoTarget, MAX_BODY, Phase, Response};
use bellwire_core::{ConnectError, MessageStream, Target, stream};
use bellwire_tokio::Tokio;
use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use tokio::time::{Instant, timeout_at};

use crate::transport::Transport;

/// Opens a WebSocket in an HTTP/2 connection that the program has, by an extended `CONNECT` (RFC 8441). As many as the server
/// allows may be open in one connection, beside other requests; each has a task of its own. When this returns, `on_open` has
/// run; that of an asynchronous listener has begun.
///
/// Of a [`Target`](bellwire_core::Target) everything counts but what leads to the host: proxies, TLS and redirects. Write
/// `wss://` if the connection runs over TLS: the server is told (RFC 8441 §5).
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod hyper { pub use bellwire_hyper::*; } }
/// use bellwire::{hyper::connect, listener};
/// use http_body_util::Empty;
/// use hyper::body::Bytes;
/// use hyper_util::rt::{TokioExecutor, TokioIo};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let stream = tokio::net::TcpStream::connect("127.0.0.1:9001").await?;
/// let (mut requests, connection) =
///     hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await?;
/// tokio::spawn(connection);
///
/// let printing = listener().on_message(|_, message| println!("{}", message.as_text().unwrap_or("(binary)")));
/// let mut client = connect(&mut requests, "ws://127.0.0.1:9001/chat", printing).await?;
/// client.socket().send("hello")?;
/// println!("{}", client.close().await);
/// # Ok(())
/// # }
/// ```
///
/// RFC 8441 §3: a server that takes part says so by its setting `SETTINGS_ENABLE_CONNECT_PROTOCOL`, which hyper tells the
/// owner of its [`Connection`](hyper::client::conn::http2::Connection::is_extended_connect_protocol_enabled) once the server's
/// settings have come. Without it, most servers reset the request: [`HandshakeError::NoExtendedConnect`].
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting. A refusal carries status, headers and the start of the body; an answer
/// within [`Config::open_timeout`](bellwire_core::Config::open_timeout) is waited for, also while the server allows no more
/// streams. If the HTTP/2 connection has ended, or the server takes no more requests (`GOAWAY`), it is [`ConnectError::Io`].
///
/// # Cancel safety
/// Dropping the future resets the request's stream; no callback has run then, and none will.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub async fn connect<B: Body + Default + 'static>(
    requests: &mut SendRequest<B>,
    target: impl IntoTarget,
    listener: impl IntoAnyListener,
) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    let timer = Tokio.timer();
    let (established, upgraded) = shake_hands(requests, &target, &timer).await.map_err(|error| told(&target, error))?;
    connected(&Tokio, timer, established, Transport::upgraded(upgraded), listener)
}

/// As [`connect`], and the connection is a [`MessageStream`]: a `Stream` of messages and a `Sink` for them.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod hyper { pub use bellwire_hyper::*; } }
/// # use http_body_util::Empty;
/// # use hyper::{body::Bytes, client::conn::http2::SendRequest};
/// # async fn example(mut requests: SendRequest<Empty<Bytes>>) -> Result<(), Box<dyn std::error::Error>> {
/// let (mut messages, _response) = bellwire::hyper::connect_stream(&mut requests, "wss://example.com/chat").await?;
/// messages.send("hello").await?;
/// if let Some(reply) = messages.recv().await {
///     println!("{:?}", reply?);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`connect`].
///
/// # Cancel safety
/// Dropping the future resets the request's stream, or closes the connection.
///
/// # Panics
/// As [`connect`].
pub async fn connect_stream<B: Body + Default + 'static>(
    requests: &mut SendRequest<B>,
    target: impl IntoTarget,
) -> Result<(MessageStream, Response), ConnectError> {
    let (listener, opened) = stream();
    streamed(connect(requests, target, listener).await?, opened).await
}

/// Makes the opening handshake.
async fn shake_hands<B: Body + Default + 'static>(
    requests: &mut SendRequest<B>,
    target: &Target,
    timer: &impl Timer,
) -> Result<((Connection, Response), Upgraded), ConnectError> {
    let connect = target.extended_connect()?;
    let deadline = connect.config().open_timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut answer = within(deadline, ask(requests, connect.request())).await??;
    let upgrade = hyper::upgrade::on(&mut answer);
    let (parts, body) = answer.into_parts();
    let start = match parts.status {
        http::StatusCode::OK => Bytes::new(),
        _ => start_of(body, deadline).await,
    };
    let established = connect.receive(http::Response::from_parts(parts, start), timer.now())?;
    let upgraded = within(deadline, upgrade).await?.map_err(|error| failed(&error))?;
    Ok((established, upgraded))
}

/// Sends the request. The body of a `CONNECT` is never asked for.
async fn ask<B: Body + Default + 'static>(
    requests: &mut SendRequest<B>,
    request: http::Request<()>,
) -> Result<http::Response<Incoming>, ConnectError> {
    let mut request = request.map(|()| B::default());
    request.extensions_mut().insert(Protocol::from_static(ExtendedConnect::PROTOCOL));
    requests.send_request(request).await.map_err(|error| failed(&error))
}

/// Waits, at most until the deadline.
async fn within<F: Future>(deadline: Option<Instant>, future: F) -> Result<F::Output, ConnectError> {
    match deadline {
        None => Ok(future.await),
        Some(deadline) => timeout_at(deadline, future).await.map_err(|_| ConnectError::Timeout(Phase::Handshake)),
    }
}

/// Reads the start of a refusal's body, as far as it comes in time: a refusal whose body does not is told as well.
async fn start_of(mut body: Incoming, deadline: Option<Instant>) -> Bytes {
    let mut start = BytesMut::new();
    while start.len() < MAX_BODY {
        let frame = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx));
        match within(deadline, frame).await {
            Ok(Some(Ok(frame))) => {
                if let Ok(mut data) = frame.into_data() {
                    let count = data.remaining().min(MAX_BODY - start.len());
                    start.extend_from_slice(&data.copy_to_bytes(count));
                }
            }
            Ok(Some(Err(_)) | None) | Err(_) => break,
        }
    }
    start.freeze()
}

/// Says why there was no answer.
fn failed(error: &hyper::Error) -> ConnectError {
    let cause = sources(error).find_map(<dyn Error>::downcast_ref::<h2::Error>);
    match cause {
        // RFC 9113 §8.1.1: "Malformed requests or responses that are detected MUST be treated as a stream error (Section
        // 5.4.2) of type PROTOCOL_ERROR", and a `:protocol` is malformed where it was not announced.
        Some(cause) if cause.is_reset() && cause.is_remote() && cause.reason() == Some(h2::Reason::PROTOCOL_ERROR) => {
            ConnectError::Handshake(HandshakeError::NoExtendedConnect)
        }
        _ => ConnectError::Io(io::Error::other(Failure(chain(error)))),
    }
}

/// The text of an error with those of its sources, which hyper's own leaves out.
fn chain(error: &dyn Error) -> String {
    sources(error).fold(error.to_string(), |text, source| format!("{text}: {source}"))
}

fn sources(error: &dyn Error) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |&error| error.source())
}

#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}
