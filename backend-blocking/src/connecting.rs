//! The way from a client to its server, on the caller's thread: addresses, proxies, TLS, and the opening handshake.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bellwire_core::backend::limits::HANDSHAKE_BUFFER;
use bellwire_core::backend::{Driver, Redirects, Session, Shared, no_connection};
use bellwire_core::listener::AnyListener;
use bellwire_core::proto::client::{Handshake, Phase, Response};
use bellwire_core::proto::{Connection, Time};
use bellwire_core::{ConnectError, Target, TlsError};

use crate::deadline::{Deadline, Fault};
use crate::drive::{Drive, SHORTEST};
use crate::end::End;
use crate::owner::Owner;
use crate::race::{Connect, race};
use crate::resolve::resolve;
use crate::server::unix_time;
use crate::socket;
use crate::stream::Stream;
use crate::tls::TlsStream;
use crate::writer::is_timeout;

/// A connection that has opened.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) end: End,
    pub(crate) shared: Arc<Shared>,
    pub(crate) response: Response,
}

/// What a handshake has come to: the connection, the server's answer, and what was read after it.
type Established = (Connection, Response, Vec<u8>);

/// An opening handshake, and the deadline of all that leads to it.
pub(crate) struct Opening {
    pub(crate) handshake: Handshake,
    pub(crate) deadline: Deadline,
    /// Until the connection has it.
    listener: Option<AnyListener>,
}

impl Opening {
    /// Begins: the deadline counts from now.
    pub(crate) fn new(target: &Target, listener: AnyListener) -> Self {
        let handshake = target.handshake(Time::ZERO);
        let deadline = Deadline::new(handshake.poll_timeout());
        Self { handshake, deadline, listener: Some(listener) }
    }

    /// Goes to the server of a target, and from there to where it redirects.
    pub(crate) fn connect(mut self, mut target: Target) -> Result<Connected, ConnectError> {
        let mut redirects = Redirects::new();
        loop {
            match self.ask(&target) {
                Err(error) => {
                    target = redirects.follow(&target, error).inspect_err(|error| no_connection(&target, error))?
                }
                connected => return connected,
            }
            self.handshake = target.handshake(Time::ZERO);
        }
    }

    /// Asks the server of one target.
    fn ask(&mut self, target: &Target) -> Result<Connected, ConnectError> {
        let uri = target.uri();
        // Before anything is sent: without TLS there is no way.
        let session = uri.is_secure().then(|| Session::client(target.client_tls(), uri.host())).transpose();
        let session = session.map_err(ConnectError::Tls)?;
        match target.proxy_for() {
            Some(proxy) => self.ask_through(proxy, target, session),
            None => {
                let tcp = self.reach(target, uri.host(), uri.port())?;
                self.enter(tcp, session)
            }
        }
    }

    /// Resolves a host, and connects to the first of its addresses that answers. One alone needs no thread.
    pub(crate) fn reach(&mut self, target: &Target, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let deadline = self.deadline.instant();
        let addrs = resolve(host, port, deadline)?;
        let sockets = target.sockets().clone();
        let connect = move |addr, timeout| socket::connect(&sockets, addr, timeout);
        let tcp = match addrs.as_slice() {
            &[addr] => connect_alone(addr, deadline, connect)?,
            _ => race(addrs, deadline, connect)?,
        };
        self.handshake.set_peer_addr(tcp.peer_addr().ok());
        Ok(tcp)
    }

    /// Agrees on TLS over a stream, if there is to be any, and makes the opening handshake.
    pub(crate) fn enter(&mut self, stream: impl Stream, session: Option<Session>) -> Result<Connected, ConnectError> {
        match session {
            None => self.finish(stream),
            Some(session) => {
                let stream = self.secure(stream, session)?;
                self.finish(stream)
            }
        }
    }

    /// Agrees on TLS over a stream.
    pub(crate) fn secure<S: Stream>(&mut self, stream: S, session: Session) -> Result<TlsStream<S>, ConnectError> {
        stream.set_blocking().map_err(ConnectError::Io)?;
        let tls = TlsStream::new(stream, session);
        self.deadline.call(|timeout| tls.set_timeouts(timeout), || tls.shake_hands()).map_err(|fault| match fault {
            Fault::Late => ConnectError::Timeout(Phase::Tls),
            Fault::Io(error) => tls_failed(error),
        })?;
        Ok(tls)
    }

    /// Makes the opening handshake over a stream, and lets a thread of its own drive the connection.
    pub(crate) fn finish(&mut self, stream: impl Stream) -> Result<Connected, ConnectError> {
        let (mut connection, response, mut leftover) =
            self.shake_hands(&stream).inspect_err(|_| self.hang_up(&stream))?;
        connection.set_opened(unix_time());
        let close_timeout = connection.config().close_timeout;
        let gone = || ConnectError::Io(ErrorKind::NotConnected.into());
        let mut listener = self.listener.take().ok_or_else(gone)?;
        listener.answered(&response);
        let driver = Driver::connected(connection, listener);
        let (Some(socket), Some(shared)) = (driver.socket().cloned(), driver.shared().cloned()) else {
            return Err(gone());
        };
        let drive = Drive::new(Arc::new(stream), driver, self.deadline.start());
        let (opening, opened) = mpsc::channel::<Infallible>();
        let owner = Owner::of_this_thread();
        let run = move || {
            owner.adopt_this_thread();
            drive.run_telling(&mut leftover, || drop(opening));
        };
        let thread = thread::Builder::new().name("bellwire-client".into()).spawn(run).map_err(ConnectError::Thread)?;
        // What `on_open` sends comes before what the caller sends, and before a close. Nothing comes here but the end.
        let _ = opened.recv();
        Ok(Connected { end: End::new(socket, close_timeout, thread), shared, response })
    }

    /// There is no connection: tells the peer that nothing more comes.
    fn hang_up(&self, stream: &impl Stream) {
        let now = self.deadline.now();
        let left = self.handshake.hang_up_by(now).saturating_since(now).max(SHORTEST);
        // Whether that fails or not: there is nothing more to say.
        let _ = stream.set_write_timeout(Some(left)).and_then(|()| stream.shutdown(Shutdown::Write));
    }

    /// Writes the request, reads the answer, and returns what was read after it.
    fn shake_hands(&mut self, stream: &impl Stream) -> Result<Established, ConnectError> {
        self.converse(stream).map_err(|fault| match fault {
            Fault::Late => {
                let refused = self.handshake.handle_timeout(self.deadline.now());
                refused.map_or(ConnectError::Timeout(Phase::Handshake), ConnectError::from)
            }
            Fault::Io(error) => self.handshake.transport_failed(error),
        })?
    }

    fn converse(&mut self, stream: &impl Stream) -> Result<Result<Established, ConnectError>, Fault> {
        stream.set_blocking().map_err(Fault::Io)?;
        while !self.handshake.output().is_empty() {
            let output = self.handshake.output();
            let count = self.deadline.call(|timeout| stream.set_write_timeout(timeout), || stream.write(output))?;
            if count == 0 {
                return Ok(Err(ConnectError::Io(ErrorKind::WriteZero.into())));
            }
            self.handshake.wrote(count);
        }
        let mut buffer = [0; HANDSHAKE_BUFFER];
        loop {
            let mut input = match self.read(stream, &mut buffer)? {
                0 => return Ok(Err(self.handshake.receive_eof().into())),
                count => &mut buffer[..count],
            };
            if let Some(result) = self.handshake.receive(self.deadline.now(), &mut input) {
                return Ok(result
                    .map(|(connection, response)| (connection, response, input.to_vec()))
                    .map_err(Into::into));
            }
        }
    }

    fn read(&mut self, stream: &impl Stream, buffer: &mut [u8]) -> Result<usize, Fault> {
        self.deadline.call(|timeout| stream.set_read_timeout(timeout), || stream.read(buffer))
    }
}

fn connect_alone(
    addr: SocketAddr,
    deadline: Option<Instant>,
    connect: impl Connect<TcpStream>,
) -> Result<TcpStream, ConnectError> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Err(ConnectError::Timeout(Phase::Connect));
    }
    connect(addr, left).map_err(|error| match is_timeout(&error) {
        true => ConnectError::Timeout(Phase::Connect),
        false => ConnectError::Connect(error),
    })
}

fn tls_failed(error: io::Error) -> ConnectError {
    match TlsError::from_io(error) {
        Ok(error) => ConnectError::Tls(error),
        Err(error) => match error.kind() {
            // The last one is that of a proxy's TLS, around this.
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
                ConnectError::Tls(TlsError::Eof)
            }
            _ => ConnectError::Io(error),
        },
    }
}
