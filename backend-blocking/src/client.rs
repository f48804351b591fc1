//! Connects.

use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bellwire_core::client::{Handshake, HandshakeError, Request, Response};
use bellwire_core::entropy::SystemEntropy;
use bellwire_core::uri::Uri;
use bellwire_core::{Closed, Config, ConnectError, Connection, Driver, IntoListener, Side, Time, WebSocket};

use crate::drive::Drive;
use crate::stream::Stream;
use crate::writer::is_timeout;

/// How much is read at once during the handshake.
const READ_BUFFER: usize = 4 * 1024;

/// Connects to a `ws://` URL. [`Connector`] has options.
///
/// # Errors
/// As [`Connector::connect`].
pub fn connect(url: &str, listener: impl IntoListener) -> Result<Client, ConnectError> {
    Connector::new(url)?.connect(listener)
}

/// A connection to be made: where to, with which headers and subprotocols.
#[derive(Debug, Clone)]
pub struct Connector {
    request: Request,
    config: Config,
}

/// An open connection, seen from the client.
///
/// **Who drives it**: a thread of its own, which runs the listener's callbacks. Dropping the `Client` lets
/// that thread go on: the connection lives until one side closes it ([`WebSocket::close`]), or the process ends.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket,
    response: Response,
    /// `None` once it has ended.
    thread: Option<JoinHandle<()>>,
}

impl Connector {
    /// A connection to this URL, with the default configuration.
    ///
    /// # Errors
    /// [`ConnectError::Url`], which says what is wrong with it.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Ok(Self { request: Request::new(url).map_err(ConnectError::Url)?, config: Config::default() })
    }

    /// Adds a header to the request.
    ///
    /// # Errors
    /// [`ConnectError::Header`] for a malformed one, and for those of the handshake itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.request = self.request.header(name, value).map_err(ConnectError::Header)?;
        Ok(self)
    }

    /// Offers a subprotocol; the first offered is the most wanted.
    ///
    /// # Errors
    /// [`ConnectError::Protocol`] for one that is no token or was offered before.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Result<Self, ConnectError> {
        self.request = self.request.protocol(protocol).map_err(ConnectError::Protocol)?;
        Ok(self)
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Resolves the host, tries its addresses in turn, and makes the opening handshake, all within
    /// [`Config::open_timeout`] (except that the system's resolver cannot be interrupted).
    ///
    /// # Errors
    /// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
    pub fn connect(self, listener: impl IntoListener) -> Result<Client, ConnectError> {
        let uri = self.request.uri();
        if uri.secure() {
            return Err(ConnectError::Tls);
        }
        let start = Instant::now();
        let deadline = self.config.open_timeout.and_then(|timeout| start.checked_add(timeout));
        let stream = connect_any(uri, deadline)?;
        let _ = stream.set_nodelay(true);
        self.handshake(stream, listener, start)
    }

    /// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix
    /// socket, memory.
    ///
    /// # Errors
    /// Those [`ConnectError`]s that come after connecting.
    pub fn connect_over(self, stream: impl Stream, listener: impl IntoListener) -> Result<Client, ConnectError> {
        self.handshake(stream, listener, Instant::now())
    }

    fn handshake(
        self,
        stream: impl Stream,
        listener: impl IntoListener,
        start: Instant,
    ) -> Result<Client, ConnectError> {
        let mut handshake = Handshake::new(&self.request, Arc::new(self.config), Box::new(SystemEntropy), Time::ZERO);
        let (connection, response, leftover) = shake_hands(&mut handshake, &stream, start)?;
        let driver = Driver::connected(connection, listener.into_listener());
        Client::start(driver, response, stream, start, leftover)
    }
}

impl Client {
    fn start(
        driver: Driver,
        response: Response,
        stream: impl Stream,
        start: Instant,
        mut leftover: Vec<u8>,
    ) -> Result<Self, ConnectError> {
        let socket = driver.socket().cloned().ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
        let drive = Drive::new(Arc::new(stream), driver, start);
        let thread = thread::Builder::new()
            .name("bellwire-client".into())
            .spawn(move || drive.run(&mut leftover, &AtomicBool::new(true)))
            .map_err(ConnectError::Thread)?;
        Ok(Self { socket, response, thread: Some(thread) })
    }

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
    /// called from its own callbacks, which run on the thread that is waited for.
    pub fn closed(&mut self) -> Closed {
        if let Some(thread) = self.thread.take() {
            // However it ended: the driver has seen to `on_close`.
            let _ = thread.join();
        }
        self.socket.closed().unwrap_or_else(|| Closed::abnormal(Side::Local))
    }
}

/// Tries the host's addresses in turn. Each has an equal share of the time that is left, so that one which
/// swallows everything does not hide the next.
fn connect_any(uri: &Uri, deadline: Option<Instant>) -> Result<TcpStream, ConnectError> {
    let addrs = (uri.host(), uri.port()).to_socket_addrs().map_err(ConnectError::Resolve)?;
    let Some(deadline) = deadline else {
        return TcpStream::connect(&*addrs.collect::<Vec<_>>()).map_err(ConnectError::Connect);
    };
    let mut last = ConnectError::Connect(io::Error::new(ErrorKind::NotFound, "the host has no address"));
    for (addr, count) in addrs.as_slice().iter().zip((1..=addrs.len()).rev()) {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(count).unwrap_or(u32::MAX);
        if share.is_zero() {
            return Err(ConnectError::Timeout);
        }
        match TcpStream::connect_timeout(addr, share) {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(&error) => last = ConnectError::Timeout,
            Err(error) => last = ConnectError::Connect(error),
        }
    }
    Err(last)
}

/// Writes the request, reads the answer, and returns what was read behind it.
fn shake_hands(
    handshake: &mut Handshake,
    stream: &impl Stream,
    start: Instant,
) -> Result<(Connection, Response, Vec<u8>), ConnectError> {
    let mut buffer = [0; READ_BUFFER];
    loop {
        let timeout = match handshake.poll_timeout().map(|deadline| deadline.saturating_sub(start.elapsed())) {
            Some(Time::ZERO) => return Err(timed_out(handshake, start)),
            timeout => timeout,
        };
        let result = if handshake.output().is_empty() {
            stream.set_read_timeout(timeout).and_then(|()| stream.read(&mut buffer))
        } else {
            stream.set_write_timeout(timeout).and_then(|()| stream.write(handshake.output())).and_then(|count| {
                handshake.wrote(count);
                if count == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(usize::MAX) }
            })
        };
        match result {
            Ok(usize::MAX) => {}
            Ok(0) => return Err(ConnectError::Handshake(handshake.receive_eof())),
            Ok(count) => {
                let mut input = &mut buffer[..count];
                if let Some(result) = handshake.receive(&mut input, start.elapsed()) {
                    let (connection, response) = result.map_err(ConnectError::Handshake)?;
                    return Ok((connection, response, input.to_vec()));
                }
            }
            Err(error) if is_timeout(&error) || error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(transport_failed(handshake, error)),
        }
    }
}

/// A refusal whose body broke off tells more than the reset that broke it.
fn transport_failed(handshake: &mut Handshake, error: io::Error) -> ConnectError {
    match handshake.receive_eof() {
        refused @ HandshakeError::Refused(_) => ConnectError::Handshake(refused),
        _ => ConnectError::Io(error),
    }
}

fn timed_out(handshake: &mut Handshake, start: Instant) -> ConnectError {
    match handshake.handle_timeout(start.elapsed()) {
        None | Some(HandshakeError::Timeout) => ConnectError::Timeout,
        Some(error) => ConnectError::Handshake(error),
    }
}
