//! Connects.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use bellwire_core::client::{Handshake, HandshakeError, Response};
use bellwire_core::uri::Uri;
use bellwire_core::{
    Closed, ConnectError, Connection, Driver, IntoListener, IntoTarget, Side, Target, Time, WebSocket,
};

use crate::drive::Drive;
use crate::stream::Stream;
use crate::writer::is_timeout;

/// How much is read at once during the handshake.
const READ_BUFFER: usize = 4 * 1024;

/// Connects: resolves the host, tries its addresses in turn, and makes the opening handshake, all within
/// [`Config::open_timeout`](bellwire_core::Config::open_timeout), except that the system's resolver cannot be
/// interrupted. `target` is a `ws://` URL, or a [`Target`](bellwire_core::Target), which has options.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
pub fn connect(target: impl IntoTarget, listener: impl IntoListener) -> Result<Client, ConnectError> {
    let target = target.into_target()?;
    if target.uri().secure() {
        return Err(ConnectError::Tls);
    }
    let mut opening = Opening::new(&target);
    let stream = connect_any(target.uri(), opening.deadline())?;
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    opening.peer = stream.peer_addr().ok();
    opening.finish(stream, listener)
}

/// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket, memory.
///
/// # Errors
/// Those [`ConnectError`]s that come after connecting.
pub fn connect_over(
    target: impl IntoTarget,
    stream: impl Stream,
    listener: impl IntoListener,
) -> Result<Client, ConnectError> {
    Opening::new(&target.into_target()?).finish(stream, listener)
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
    /// called from its own callbacks, which run on the thread that is waited for.
    pub fn closed(&mut self) -> Closed {
        if let Some(thread) = self.thread.take() {
            // However it ended: the driver has seen to `on_close`.
            let _ = thread.join();
        }
        self.socket.closed().unwrap_or_else(|| Closed::abnormal(Side::Local))
    }
}

/// A handshake and the instant that its deadline counts from, before the host was resolved.
struct Opening {
    handshake: Handshake,
    /// Where the other end of the transport is.
    peer: Option<SocketAddr>,
    start: Instant,
}

impl Opening {
    fn new(target: &Target) -> Self {
        Self { handshake: target.handshake(Time::ZERO), peer: None, start: Instant::now() }
    }

    fn deadline(&self) -> Option<Instant> {
        self.handshake.poll_timeout().and_then(|deadline| self.start.checked_add(deadline))
    }

    /// Shakes hands, and lets a thread of its own drive the connection.
    fn finish(&mut self, stream: impl Stream, listener: impl IntoListener) -> Result<Client, ConnectError> {
        let (mut connection, response, mut leftover) = self.shake_hands(&stream)?;
        connection.set_peer_addr(self.peer);
        let driver = Driver::connected(connection, listener.into_listener());
        let socket = driver.socket().cloned().ok_or_else(|| ConnectError::Io(ErrorKind::NotConnected.into()))?;
        let drive = Drive::new(Arc::new(stream), driver, self.start);
        let thread = thread::Builder::new()
            .name("bellwire-client".into())
            .spawn(move || drive.run(&mut leftover, &AtomicBool::new(true)))
            .map_err(ConnectError::Thread)?;
        Ok(Client { socket, response, thread: Some(thread) })
    }

    /// Writes the request, reads the answer, and returns what was read behind it.
    fn shake_hands(&mut self, stream: &impl Stream) -> Result<(Connection, Response, Vec<u8>), ConnectError> {
        while !self.handshake.output().is_empty() {
            stream.set_write_timeout(self.time_left()?).map_err(ConnectError::Io)?;
            match stream.write(self.handshake.output()) {
                Ok(0) => return Err(ConnectError::Io(ErrorKind::WriteZero.into())),
                Ok(count) => self.handshake.wrote(count),
                Err(error) => self.check(error)?,
            }
        }
        let mut buffer = [0; READ_BUFFER];
        loop {
            stream.set_read_timeout(self.time_left()?).map_err(ConnectError::Io)?;
            match stream.read(&mut buffer) {
                Ok(0) => return Err(ConnectError::Handshake(self.handshake.receive_eof())),
                Ok(count) => {
                    let mut input = &mut buffer[..count];
                    if let Some(result) = self.handshake.receive(&mut input, self.start.elapsed()) {
                        let (connection, response) = result.map_err(ConnectError::Handshake)?;
                        return Ok((connection, response, input.to_vec()));
                    }
                }
                Err(error) => self.check(error)?,
            }
        }
    }

    /// How long the handshake may still take; never zero.
    fn time_left(&mut self) -> Result<Option<Time>, ConnectError> {
        let Some(deadline) = self.handshake.poll_timeout() else { return Ok(None) };
        match deadline.saturating_sub(self.start.elapsed()) {
            Time::ZERO => Err(match self.handshake.handle_timeout(self.start.elapsed()) {
                None | Some(HandshakeError::Timeout) => ConnectError::Timeout,
                Some(error) => ConnectError::Handshake(error),
            }),
            left => Ok(Some(left)),
        }
    }

    /// Whether to go on after an error of the transport.
    fn check(&mut self, error: io::Error) -> Result<(), ConnectError> {
        if is_timeout(&error) || error.kind() == ErrorKind::Interrupted {
            return Ok(());
        }
        // A refusal whose body broke off tells more than the reset that broke it.
        Err(match self.handshake.receive_eof() {
            refused @ HandshakeError::Refused(_) => ConnectError::Handshake(refused),
            _ => ConnectError::Io(error),
        })
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
