//! A network in memory that goes wrong where a test wants it to, and knows which messages a client has written.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};

use bellwire::listener::IntoResponse;
use bellwire::tokio::Acceptor;
use bellwire::{Config, Request};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};

/// What becomes of a try to connect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Try {
    /// Nobody listens.
    Refused,
    /// It connects; the transport fails when the client has written so many bytes, or read so many.
    Connected { writes: usize, reads: usize },
}

impl Try {
    /// It connects, and nothing goes wrong.
    pub(crate) const GOOD: Self = Self::Connected { writes: usize::MAX, reads: usize::MAX };
}

/// Where a client connects to.
#[derive(Clone)]
pub(crate) struct Network {
    acceptor: Acceptor,
    /// How many bytes are on their way, at most.
    capacity: usize,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    tries: VecDeque<Try>,
    made: usize,
    /// What was written on each connection.
    written: Vec<Arc<Mutex<Vec<u8>>>>,
    /// The servers of these connections have fallen silent.
    mute: Arc<AtomicBool>,
}

impl Network {
    pub(crate) fn new<R: IntoResponse>(handler: impl Fn(&Request) -> R + Send + Sync + 'static) -> Self {
        let acceptor = Acceptor::new(handler).config(Config::default()).on_error(|_| {});
        Self { acceptor, capacity: 1024, state: Arc::default() }
    }

    pub(crate) fn capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// What becomes of the next tries. Those after them are good.
    pub(crate) fn plan(&self, tries: impl IntoIterator<Item = Try>) {
        self.lock().tries.extend(tries);
    }

    /// How many tries were made.
    pub(crate) fn tries(&self) -> usize {
        self.lock().made
    }

    /// What servers have not said to the connections that there are, they never will.
    pub(crate) fn mute(&self) {
        std::mem::take(&mut self.lock().mute).store(true, Ordering::Relaxed);
    }

    /// A stream to the server.
    pub(crate) fn connect(&self) -> io::Result<Wire> {
        let mut state = self.lock();
        state.made += 1;
        let Try::Connected { writes, reads } = state.tries.pop_front().unwrap_or(Try::GOOD) else {
            return Err(ErrorKind::ConnectionRefused.into());
        };
        let written = Arc::<Mutex<Vec<u8>>>::default();
        state.written.push(written.clone());
        let (here, there) = duplex(self.capacity);
        tokio::spawn(self.acceptor.accept(there, None));
        Ok(Wire { stream: here, writes, reads, written, mute: state.mute.clone() })
    }

    /// The messages that have left whole on each connection.
    pub(crate) fn messages(&self) -> Vec<Vec<String>> {
        self.lock().written.iter().map(|written| messages(&written.lock().unwrap())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// A client's end of a connection.
pub(crate) struct Wire {
    stream: DuplexStream,
    writes: usize,
    reads: usize,
    written: Arc<Mutex<Vec<u8>>>,
    mute: Arc<AtomicBool>,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.reads == 0 {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if self.mute.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let mut part = buf.take(self.reads);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let count = part.filled().len();
        self.reads -= count;
        // It is the same memory.
        buf.initialize_unfilled_to(count);
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes == 0 || self.reads == 0 {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(self.writes)];
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.writes -= count;
        self.written.lock().unwrap().extend(&bytes[..count]);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The text messages that a client has written whole: after the head of its handshake, each in one frame.
fn messages(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return found };
    let mut rest = &bytes[head + 4..];
    while let Some((opcode, payload, after)) = frame(rest) {
        if opcode == 1 {
            found.push(String::from_utf8(payload).unwrap());
        }
        rest = after;
    }
    found
}

/// A masked frame (RFC 6455 §5.2), if it is whole.
fn frame(bytes: &[u8]) -> Option<(u8, Vec<u8>, &[u8])> {
    let [first, second, rest @ ..] = bytes else { return None };
    let (length, rest) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        127 => (usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).unwrap(), &rest[8..]),
        length => (usize::from(length), rest),
    };
    let (key, rest) = rest.split_first_chunk::<4>()?;
    let payload = rest.get(..length)?.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    Some((first & 0x0f, payload, &rest[length..]))
}
