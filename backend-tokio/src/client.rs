//! Connects.

use std::io::{self, ErrorKind};
use std::pin::Pin;

use bellwire_core::client::{Handshake, HandshakeError, Response};
use bellwire_core::uri::Uri;
use bellwire_core::{
    Closed, ConnectError, Connection, Driver, IntoListener, IntoTarget, Listener, Side, Target, WebSocket,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::drive::Drive;

/// How much is read at once during the handshake.
const READ_BUFFER: usize = 4 * 1024;

/// Connects: resolves the host, tries its addresses in turn, and makes the opening handshake, all within
/// [`Config::open_timeout`](bellwire_core::Config::open_timeout). `target` is a `ws://` URL, or a
/// [`Target`](bellwire_core::Target), which has options. When this returns, `on_open` has run.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
///
/// # Cancel safety
/// Dropping the future drops the transport; no callback has run then, and none will.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its drivers of I/O and time.
pub async fn connect(target: impl IntoTarget, listener: impl IntoListener) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    if target.uri().secure() {
        return Err(ConnectError::Tls);
    }
    let opening = Opening::new(&target);
    let stream = connect_any(target.uri(), opening.deadline()).await?;
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    opening.finish(stream, listener.into_listener()).await
}

/// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket, memory.
/// When this returns, `on_open` has run.
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
    listener: impl IntoListener,
) -> Result<Client, ConnectError> {
    Opening::new(&target.into_target()?).finish(stream, listener.into_listener()).await
}

/// An open connection, seen from the client.
///
/// **Who drives it**: a task of its own on the runtime that connected, which runs the listener's callbacks.
/// Dropping the `Client` lets that task go on: the connection lives until one side closes it
/// ([`WebSocket::close`]), or the runtime ends. A runtime that ends drops the task, and `on_close` runs
/// with 1006.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket,
    response: Response,
    /// `None` once it has ended.
    task: Option<JoinHandle<()>>,
}

impl Client {
    /// The connection's handle.
    pub fn socket(&self) -> &WebSocket {
        &self.socket
    }

    /// The server's answer to the handshake.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The subprotocol that the server chose.
    pub fn protocol(&self) -> Option<&str> {
        self.response.protocol()
    }

    /// Waits until the connection has ended and its transport is closed, and says how it ended. Not to be
    /// awaited by its own callbacks, which run on the task that is waited for.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; it may be called again, also after it has returned.
    pub async fn closed(&mut self) -> Closed {
        if let Some(task) = &mut self.task {
            // However it ended: the driver has seen to `on_close`.
            let _ = task.await;
            self.task = None;
        }
        self.socket.closed().unwrap_or_else(|| Closed::abnormal(Side::Local))
    }
}

/// A handshake and the clock that its deadline goes by, from before the host was resolved.
struct Opening {
    handshake: Handshake,
    clock: Clock,
}

impl Opening {
    fn new(target: &Target) -> Self {
        let clock = Clock::start();
        Self { handshake: target.handshake(clock.now()), clock }
    }

    fn deadline(&self) -> Option<Instant> {
        self.handshake.poll_timeout().and_then(|deadline| self.clock.instant(deadline))
    }

    /// Shakes hands, and lets a task of its own drive the connection.
    async fn finish<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        mut self,
        mut stream: S,
        listener: Box<dyn Listener>,
    ) -> Result<Client, ConnectError> {
        let (connection, response, mut leftover) = self.shake_hands(&mut stream).await?;
        let driver = Driver::connected(connection, listener);
        let socket = driver.socket().cloned().ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
        let mut drive = Drive::new(stream, driver, self.clock);
        drive.start(&mut leftover);
        Ok(Client { socket, response, task: Some(tokio::spawn(drive)) })
    }

    /// Writes the request, reads the answer, and returns what was read behind it.
    async fn shake_hands<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
    ) -> Result<(Connection, Response, Vec<u8>), ConnectError> {
        let deadline = self.deadline();
        while !self.handshake.output().is_empty() {
            match in_time(deadline, write(stream, self.handshake.output())).await {
                Some(Ok(0)) => return Err(ConnectError::Io(ErrorKind::WriteZero.into())),
                Some(Ok(count)) => self.handshake.wrote(count),
                Some(Err(error)) => return Err(ConnectError::Io(error)),
                None => self.check_deadline()?,
            }
        }
        let mut buffer = vec![0; READ_BUFFER];
        loop {
            match in_time(deadline, flush_and_read(stream, &mut buffer)).await {
                Some(Ok(0)) => return Err(ConnectError::Handshake(self.handshake.receive_eof())),
                Some(Ok(count)) => {
                    let mut input = &mut buffer[..count];
                    if let Some(result) = self.handshake.receive(&mut input, self.clock.now()) {
                        let (connection, response) = result.map_err(ConnectError::Handshake)?;
                        return Ok((connection, response, input.to_vec()));
                    }
                }
                Some(Err(error)) => return Err(self.transport_failed(error)),
                None => self.check_deadline()?,
            }
        }
    }

    /// A refusal whose body broke off tells more than the reset that broke it.
    fn transport_failed(&mut self, error: io::Error) -> ConnectError {
        match self.handshake.receive_eof() {
            refused @ HandshakeError::Refused(_) => ConnectError::Handshake(refused),
            _ => ConnectError::Io(error),
        }
    }

    fn check_deadline(&mut self) -> Result<(), ConnectError> {
        match self.handshake.handle_timeout(self.clock.now()) {
            None => Ok(()),
            Some(HandshakeError::Timeout) => Err(ConnectError::Timeout),
            Some(error) => Err(ConnectError::Handshake(error)),
        }
    }
}

/// Tries the host's addresses in turn. Each has an equal share of the time that is left, so that one which
/// swallows everything does not hide the next.
async fn connect_any(uri: &Uri, deadline: Option<Instant>) -> Result<TcpStream, ConnectError> {
    let Some(deadline) = deadline else {
        let addrs: Vec<_> = lookup_host((uri.host(), uri.port())).await.map_err(ConnectError::Resolve)?.collect();
        return TcpStream::connect(&addrs[..]).await.map_err(ConnectError::Connect);
    };
    let found = timeout_at(deadline, lookup_host((uri.host(), uri.port()))).await;
    let addrs: Vec<_> = found.map_err(|_| ConnectError::Timeout)?.map_err(ConnectError::Resolve)?.collect();
    let mut last = ConnectError::Connect(io::Error::new(ErrorKind::NotFound, "the host has no address"));
    for (&addr, count) in addrs.iter().zip((1..=addrs.len()).rev()) {
        let now = Instant::now();
        let share = deadline.saturating_duration_since(now) / u32::try_from(count).unwrap_or(u32::MAX);
        match timeout_at(now + share, TcpStream::connect(addr)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = ConnectError::Connect(error),
            Err(_) => last = ConnectError::Timeout,
        }
    }
    Err(last)
}

/// `None` if the deadline comes first.
async fn in_time<T>(deadline: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match deadline {
        None => Some(future.await),
        Some(deadline) => timeout_at(deadline, future).await.ok(),
    }
}

async fn write<S: AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8]) -> io::Result<usize> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await
}

/// Streams that buffer by themselves, such as TLS, hold the request back until they are flushed.
async fn flush_and_read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, buffer: &mut [u8]) -> io::Result<usize> {
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await?;
    let mut buffer = ReadBuf::new(buffer);
    std::future::poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer)).await?;
    Ok(buffer.filled().len())
}
