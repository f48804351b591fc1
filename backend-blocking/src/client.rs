//! Connects.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_core::backend::limits::HANDSHAKE_BUFFER;
use bellwire_core::backend::{Driver, READ_ON, Shared};
use bellwire_core::listener::{AnyListener, IntoAnyListener, IntoListener};
use bellwire_core::proto::client::IntoTarget;
use bellwire_core::proto::client::{Handshake, Phase, Response};
use bellwire_core::proto::{Connection, Time, Uri};
use bellwire_core::stream::Opened;
use bellwire_core::{Closed, ConnectError, Target, TlsError, WebSocket, stream};

use crate::drive::{Drive, SHORTEST};
use crate::end::End;
use crate::message_stream::MessageStream;
use crate::pause::Pause;
use crate::race::race;
use crate::resolve::resolve;
use crate::stream::Stream;
use crate::wait::wait_until;
use crate::writer::is_timeout;

/// Connects: resolves the host, tries its addresses, 250 ms apart, until the first answers (RFC 8305, a thread for each
/// attempt if there are several), and makes the opening handshake, all within
/// [`Config::open_timeout`](bellwire_core::Config::open_timeout). `target` is a `ws://` URL, or a
/// [`Target`](bellwire_core::Target), which has options. When this returns, `on_open` has run, however long that takes.
///
/// # Errors
/// Every [`ConnectError`]. A refusal carries status, headers and the start of the body.
pub fn connect(target: impl IntoTarget, listener: impl IntoListener) -> Result<Client, ConnectError> {
    open(target, listener.into_listener().into()).map(Client)
}

fn open(target: impl IntoTarget, listener: AnyListener) -> Result<Connected, ConnectError> {
    let target = target.into_target()?;
    if target.uri().is_secure() {
        return Err(ConnectError::Tls(TlsError::NotBuiltIn));
    }
    let mut opening = Opening::new(&target);
    let stream = connect_any(target.uri(), opening.deadline())?;
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    opening.handshake.set_peer_addr(stream.peer_addr().ok());
    opening.finish(stream, listener)
}

/// Makes the opening handshake over a stream that the caller has: TLS for a `wss://` URL, a Unix socket, memory.
/// When this returns, `on_open` has run.
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
    Opening::new(&target.into_target()?).finish(stream, listener)
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

/// A connection that has opened.
#[derive(Debug)]
struct Connected {
    end: End,
    shared: Arc<Shared>,
    response: Response,
}

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

/// A handshake and the instant that its deadline counts from, before the host was resolved.
struct Opening {
    handshake: Handshake,
    /// When it was noticed that the deadline has come.
    late: Option<Time>,
    start: Instant,
}

impl Opening {
    fn new(target: &Target) -> Self {
        Self { handshake: target.handshake(Time::ZERO), late: None, start: Instant::now() }
    }

    fn deadline(&self) -> Option<Instant> {
        self.handshake.poll_timeout().and_then(|deadline| self.start.checked_add(deadline.since_start()))
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    /// Shakes hands, and lets a thread of its own drive the connection.
    fn finish(&mut self, stream: impl Stream, listener: AnyListener) -> Result<Connected, ConnectError> {
        let (connection, response, mut leftover) = self.shake_hands(&stream).inspect_err(|_| self.hang_up(&stream))?;
        let close_timeout = connection.config().close_timeout;
        let driver = Driver::connected(connection, listener);
        let (Some(socket), Some(shared)) = (driver.socket().cloned(), driver.shared().cloned()) else {
            return Err(ConnectError::Io(ErrorKind::NotConnected.into()));
        };
        let drive = Drive::new(Arc::new(stream), driver, self.start);
        let (opening, opened) = mpsc::channel::<Infallible>();
        let thread = thread::Builder::new()
            .name("bellwire-client".into())
            .spawn(move || drive.run_telling(&mut leftover, || drop(opening)))
            .map_err(ConnectError::Thread)?;
        // What `on_open` sends comes before what the caller sends, and before a close. Nothing comes here but the end.
        let _ = opened.recv();
        Ok(Connected { end: End::new(socket, close_timeout, thread), shared, response })
    }

    /// There is no connection: tells the peer that nothing more comes.
    fn hang_up(&self, stream: &impl Stream) {
        let now = self.now();
        let left = self.handshake.hang_up_by(now).saturating_since(now).max(SHORTEST);
        // Whether that fails or not: there is nothing more to say.
        let _ = stream.set_write_timeout(Some(left)).and_then(|()| stream.shutdown(Shutdown::Write));
    }

    /// Writes the request, reads the answer, and returns what was read after it.
    fn shake_hands(&mut self, stream: &impl Stream) -> Result<(Connection, Response, Vec<u8>), ConnectError> {
        stream.set_blocking().map_err(ConnectError::Io)?;
        let mut pause = Pause::default();
        while !self.handshake.output().is_empty() {
            let timeout = self.time_left()?;
            stream.set_write_timeout(timeout).map_err(ConnectError::Io)?;
            let asked = Instant::now();
            let result = stream.write(self.handshake.output());
            pause.watch(&result, timeout, || asked.elapsed());
            match result {
                Ok(0) => return Err(ConnectError::Io(ErrorKind::WriteZero.into())),
                Ok(count) => self.handshake.wrote(count),
                Err(error) => self.check(error)?,
            }
        }
        let mut buffer = [0; HANDSHAKE_BUFFER];
        loop {
            let timeout = self.time_left()?;
            stream.set_read_timeout(timeout).map_err(ConnectError::Io)?;
            let asked = Instant::now();
            let result = stream.read(&mut buffer);
            pause.watch(&result, timeout, || asked.elapsed());
            match result {
                Ok(0) => return Err(self.handshake.receive_eof().into()),
                Ok(count) => {
                    let mut input = &mut buffer[..count];
                    if let Some(result) = self.handshake.receive(self.now(), &mut input) {
                        let (connection, response) = result?;
                        return Ok((connection, response, input.to_vec()));
                    }
                }
                Err(error) => self.check(error)?,
            }
        }
    }

    /// Returns how long the next call may wait; never zero. When the deadline has come what has arrived by then is
    /// still read.
    fn time_left(&mut self) -> Result<Option<Duration>, ConnectError> {
        let Some(deadline) = self.handshake.poll_timeout() else { return Ok(None) };
        let now = self.now();
        if now >= deadline && now.saturating_since(*self.late.get_or_insert(now)) >= READ_ON {
            return Err(self.timed_out());
        }
        Ok(Some(deadline.saturating_since(now).max(SHORTEST)))
    }

    fn timed_out(&mut self) -> ConnectError {
        self.handshake.handle_timeout(self.now()).map_or(ConnectError::Timeout(Phase::Handshake), ConnectError::from)
    }

    /// Goes on after a timeout or an interruption, and fails with any other error of the transport.
    fn check(&mut self, error: io::Error) -> Result<(), ConnectError> {
        if is_timeout(&error) && self.late.is_some() {
            return Err(self.timed_out());
        }
        if is_timeout(&error) || error.kind() == ErrorKind::Interrupted {
            return Ok(());
        }
        Err(self.handshake.transport_failed(error))
    }
}

/// Resolves the host, and connects to the first of its addresses that answers. One alone needs no thread.
fn connect_any(uri: &Uri, deadline: Option<Instant>) -> Result<TcpStream, ConnectError> {
    let addrs = resolve(uri.host(), uri.port(), deadline)?;
    let &[addr] = addrs.as_slice() else { return race(addrs, deadline, connect_one) };
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match left {
        Some(Duration::ZERO) => Err(ConnectError::Timeout(Phase::Connect)),
        left => connect_one(addr, left).map_err(|error| match is_timeout(&error) {
            true => ConnectError::Timeout(Phase::Connect),
            false => ConnectError::Connect(error),
        }),
    }
}

fn connect_one(addr: SocketAddr, timeout: Option<Duration>) -> io::Result<TcpStream> {
    match timeout {
        Some(timeout) => TcpStream::connect_timeout(&addr, timeout),
        None => TcpStream::connect(addr),
    }
}
