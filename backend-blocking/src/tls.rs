//! TLS over another stream, for two threads.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use bellwire_core::backend::Session;
use bellwire_core::proto::Time;
use bellwire_core::{ClientTls, ServerTls, TlsError};

use crate::deadline::{Deadline, Fault};
use crate::stream::Stream;
use crate::writer::is_timeout;

/// A record of TLS has at most so many bytes (RFC 8446 §5.2): 2^14 and 256 of them, and a header.
const RECORD: usize = (1 << 14) + 256 + 5;

/// Memory for encrypted output that is kept while there is none.
const KEPT: usize = 4 * 1024;

/// TLS over another stream: TCP, a Unix socket, or TLS again, in a proxy.
///
/// `wss://` and [`Server::tls`](crate::Server::tls) make it by themselves. This is for streams that the program has: a
/// server hands one to [`Acceptor::accept`](crate::Acceptor::accept), a client to
/// [`connect_over`](crate::connect_over).
///
/// One thread reads while another writes. The state of TLS, which they share, is locked while bytes are encrypted or
/// decrypted, and never while the stream is waited for; so neither waits for the other's peer. What TLS itself has to
/// answer while it reads leaves at once, or with what is being written.
pub struct TlsStream<S> {
    stream: S,
    /// Never locked while the stream is waited for.
    session: Mutex<Session>,
    /// Of the thread that reads.
    incoming: Mutex<Incoming>,
    /// Of the thread that writes: records leave in the order in which they were encrypted. Who reads does not wait for it.
    outgoing: Mutex<Outgoing>,
    read_timeout: Mutex<Option<Duration>>,
    /// What TLS has answered to what was read has not left.
    stuck: AtomicBool,
    /// The reading side was closed here: its end says nothing of the peer.
    shut: AtomicBool,
    /// This side has said `close_notify`.
    closed: AtomicBool,
}

/// What has arrived and is not decrypted yet: a part of the buffer.
#[derive(Default)]
struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// The stream has ended.
    eof: bool,
    /// The session knows.
    told: bool,
    /// Plain bytes were read.
    began: bool,
    /// What is wrong with what has arrived. What came before is read first.
    failure: Option<io::Error>,
}

/// What is encrypted and not written yet: from `start` on.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    start: usize,
    /// How many plain bytes of the last write are in there, of which the caller was told that nothing was written: it comes
    /// again with the same bytes.
    untold: usize,
}

impl<S: Stream> TlsStream<S> {
    /// Agrees on TLS with a server, within `timeout` if there is one. `host` is a name or an address, and what the
    /// server's certificate has to be for.
    ///
    /// # Errors
    /// Those of the stream; `TimedOut`; and with a [`TlsError`] inside if the two do not agree.
    pub fn client(stream: S, tls: &ClientTls, host: &str, timeout: Option<Duration>) -> io::Result<Self> {
        let session = Session::client(Some(tls), host).map_err(io::Error::other)?;
        let (tls, mut deadline) = (Self::new(stream, session), Deadline::new(timeout.map(Time::from_start)));
        tls.set_blocking()?;
        deadline.call(|timeout| tls.set_timeouts(timeout), || tls.shake_hands()).map_err(|fault| match fault {
            Fault::Late => ErrorKind::TimedOut.into(),
            Fault::Io(error) => error,
        })?;
        tls.set_timeouts(None)?;
        Ok(tls)
    }

    /// Makes a server's end. The first read agrees on TLS with the client.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if the configuration does not serve.
    pub fn server(stream: S, tls: &ServerTls) -> Result<Self, TlsError> {
        Ok(Self::new(stream, Session::server(tls)?))
    }

    /// Returns what is below.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    pub(crate) fn new(stream: S, session: Session) -> Self {
        Self {
            stream,
            session: Mutex::new(session),
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
            read_timeout: Mutex::default(),
            stuck: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    /// Sets how long reads and writes may wait.
    pub(crate) fn set_timeouts(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.set_read_timeout(timeout)?;
        self.set_write_timeout(timeout)
    }

    /// Makes the handshake, or goes on with it after an error: a timeout of the stream, and `Interrupted` whenever
    /// something has come and there is more to wait for, or a peer that dribbles would set the deadline.
    pub(crate) fn shake_hands(&self) -> io::Result<()> {
        let mut incoming = lock(&self.incoming);
        while self.session().is_handshaking() {
            if incoming.eof {
                return Err(io::Error::new(ErrorKind::UnexpectedEof, TlsError::Eof));
            }
            self.flush(&mut lock(&self.outgoing))?;
            if incoming.rest().is_empty() {
                incoming.fill(&self.stream)?;
            }
            let received = incoming.receive(&mut self.session());
            if received.is_err() {
                // The peer is told what is wrong, if it takes that.
                let _ = self.flush(&mut lock(&self.outgoing));
            }
            received?;
            if incoming.rest().is_empty() && self.session().is_handshaking() {
                self.flush(&mut lock(&self.outgoing))?;
                return Err(ErrorKind::Interrupted.into());
            }
        }
        self.flush(&mut lock(&self.outgoing))
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        lock(&self.session)
    }

    /// Writes what is encrypted.
    fn flush(&self, outgoing: &mut Outgoing) -> io::Result<()> {
        loop {
            if outgoing.rest().is_empty() && !outgoing.take(&mut self.session())? {
                return Ok(());
            }
            match self.stream.write(outgoing.rest())? {
                0 => return Err(ErrorKind::WriteZero.into()),
                count => outgoing.advance(count),
            }
        }
    }

    /// Writes what TLS has to answer to what was read. If somebody is writing it leaves behind that.
    fn answer(&self) {
        let mut outgoing = match self.outgoing.try_lock() {
            Ok(outgoing) => outgoing,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Whether the peer takes it or not: what it has said is read.
        let stuck = self.flush(&mut outgoing).is_err_and(|error| is_timeout(&error));
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    /// Writes what the other thread had to answer while this one was writing.
    fn answer_late(&self) {
        if self.session().wants_write() {
            self.answer();
        }
    }

    /// Whether a read has had its time: a peer that sends a byte now and then, and nothing whole, must not set the
    /// deadline. Half of it will do, since the next wait may take all of it.
    fn is_late(&self, asked: Option<Instant>) -> bool {
        let timeout = *lock(&self.read_timeout);
        asked.zip(timeout).is_some_and(|(asked, timeout)| asked.elapsed() >= timeout / 2)
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    fn write_slices(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut outgoing = lock(&self.outgoing);
        if outgoing.untold == 0 {
            self.flush(&mut outgoing)?;
            let mut session = self.session();
            if session.is_handshaking() {
                return Err(io::Error::new(ErrorKind::NotConnected, "TLS is not agreed on yet"));
            }
            outgoing.untold = session.write(slices)?;
        }
        self.flush(&mut outgoing)?;
        Ok(std::mem::take(&mut outgoing.untold))
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn set_blocking(&self) -> io::Result<()> {
        self.stream.set_blocking()
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (mut incoming, mut asked) = (lock(&self.incoming), None);
        loop {
            let mut session = self.session();
            let (read, answers) = (incoming.read(&mut session, buffer), session.wants_write());
            drop(session);
            if answers || self.is_stuck() {
                self.answer();
            }
            match read {
                // The peer may wait for the end of the handshake before it says more.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_stuck() && !incoming.began => {
                    return Err(error);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.is_late(asked) => return Err(error),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    asked.get_or_insert_with(Instant::now);
                    incoming.fill(&self.stream)?;
                }
                Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.shut.load(Ordering::Relaxed) => {
                    return Ok(0);
                }
                read => return read,
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let written = self.write_slices(slices);
        self.answer_late();
        written
    }

    fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        *lock(&self.read_timeout) = timeout;
        self.stream.set_read_timeout(timeout)
    }

    fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream.set_write_timeout(timeout)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Read | Shutdown::Both => self.shut.store(true, Ordering::Relaxed),
            // RFC 8446 §6.1: "Each party MUST send a "close_notify" alert before closing its write side of the
            // connection, unless it has already sent some error alert."
            Shutdown::Write => {
                if !self.closed.swap(true, Ordering::Relaxed) {
                    self.session().close();
                }
                // If the peer does not take it in time, the end of the stream says as much.
                let _ = self.flush(&mut lock(&self.outgoing));
            }
        }
        self.stream.shutdown(how)
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("session", &*lock(&self.session)).finish_non_exhaustive()
    }
}

impl Incoming {
    /// Reads plain bytes, as many as there are of what has arrived: a read of the stream may bring more than one record.
    fn read(&mut self, session: &mut Session, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = 0;
        loop {
            match session.read(&mut buffer[count..]) {
                Ok(0) => return Ok(count),
                Ok(more) => {
                    count += more;
                    self.began = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.failure.is_none() && self.has_more() => {
                    self.failure = self.receive(session).err();
                }
                // The next read finds it again.
                Err(_) if count > 0 => return Ok(count),
                Err(error) => return Err(self.failure.take().unwrap_or(error)),
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Returns `true` if the session can be told more without reading.
    fn has_more(&self) -> bool {
        self.eof || !self.rest().is_empty()
    }

    /// Hands the session what has arrived: some of it, until there is something to read.
    fn receive(&mut self, session: &mut Session) -> io::Result<()> {
        if self.rest().is_empty() {
            return self.receive_eof(session);
        }
        let (mut rest, before) = (self.rest(), self.start);
        let received = session.receive(&mut rest);
        self.start = self.end - rest.len();
        received.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        if self.start == before {
            return Err(io::Error::new(ErrorKind::InvalidData, "TLS takes no more, and has nothing to read"));
        }
        Ok(())
    }

    fn receive_eof(&mut self, session: &mut Session) -> io::Result<()> {
        if self.eof && std::mem::replace(&mut self.told, true) {
            // Whatever is missing does not come any more.
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if self.eof {
            session.receive_eof();
        }
        Ok(())
    }

    /// Reads encrypted bytes from the stream.
    fn fill(&mut self, stream: &impl Stream) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = vec![0; RECORD];
        }
        (self.start, self.end) = (0, stream.read(&mut self.buffer)?);
        self.eof = self.end == 0;
        Ok(())
    }
}

impl Outgoing {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        if self.start < self.bytes.len() {
            return;
        }
        self.start = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
    }

    /// Takes what the session has encrypted. Returns `false` if that is nothing.
    fn take(&mut self, session: &mut Session) -> io::Result<bool> {
        while session.wants_write() {
            session.write_tls(&mut self.bytes)?;
        }
        Ok(!self.bytes.is_empty())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
