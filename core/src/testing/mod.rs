//! Tests without any I/O: a socket that records what is done with it, for listeners ([`Recorder`]), and a client and a
//! server in memory, for handlers with their listeners ([`connect`]).

mod connect;
mod server;

pub use connect::{TestClient, connect, connect_async, connect_service, connect_to};

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use crate::api::{AtEnd, Done, Socket, WebSocket, WriteWaiter};
use crate::context::{SocketContext, SocketId};
use crate::protocol::{
    CloseCode, Closed, MAX_CONTROL_PAYLOAD, Outgoing, OwnedMessage, SendError, Stats, StreamOffset, Traffic, truncated,
};
use crate::sync::{Mutex, MutexGuard};

/// Records what a listener sends.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::testing::{Recorder, Sent};
/// use bellwire::{Listener, Message, listener};
/// use bellwire::listener::IntoListener;
///
/// let recorder = Recorder::new();
/// let mut greeter = listener()
///     .on_message(|socket, message| if message == "exit" { socket.close() } else { socket.send(message) })
///     .into_listener();
/// greeter.on_message(&recorder.socket(), Message::Text("hi")).unwrap();
/// greeter.on_message(&recorder.socket(), Message::Text("exit")).unwrap();
/// assert_eq!(recorder.sent(), [Sent::text("hi"), Sent::close(1000, "Normal Closure")]);
/// assert!(!recorder.socket().is_open());
/// ```
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Recording>);

/// One thing that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sent {
    /// A message.
    Message(OwnedMessage),
    /// A ping with its data.
    Ping(Vec<u8>),
    /// A pong with its data, the answer to a ping or not.
    Pong(Vec<u8>),
    /// A close with its code and reason.
    Close(CloseCode, String),
    /// The connection was dropped.
    Abort,
}

#[derive(Debug)]
struct Recording {
    id: SocketId,
    context: SocketContext,
    state: Mutex<Recorded>,
}

#[derive(Debug, Default)]
struct Recorded {
    sent: Vec<Sent>,
    full: bool,
    ended: bool,
    closed: Option<Closed>,
    at_end: AtEnds,
}

/// Who is to be called at the end.
#[derive(Default)]
struct AtEnds(Vec<AtEnd>);

debug!(AtEnds => |this| count: this.0.len());

impl Recorder {
    /// Creates a recorder whose socket is open.
    pub fn new() -> Self {
        Self::with_context(SocketContext::new())
    }

    /// Creates a recorder whose socket is open, and says this of its connection.
    pub fn with_context(context: SocketContext) -> Self {
        Self(Arc::new(Recording { id: SocketId::unique(), context, state: Mutex::default() }))
    }

    /// Returns the socket to hand to a listener.
    pub fn socket(&self) -> WebSocket {
        WebSocket::from_arc(self.0.clone())
    }

    /// Returns what was sent so far, in order.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.lock().sent.clone()
    }

    /// Returns what was sent since this was called last.
    pub fn take_sent(&self) -> Vec<Sent> {
        core::mem::take(&mut self.0.lock().sent)
    }

    /// Pretends that the peer reads too slowly, or reads again: sends are refused with [`SendError::Full`].
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }

    /// Pretends that the connection has ended: sends are refused with [`SendError::Closed`], and who waits for the end
    /// ([`WebSocket::when_closed`]) is told. Both are so, too, when a close or an abort was sent: there is no peer that
    /// would have to answer.
    pub fn end(&self) {
        self.0.end(|_| ());
    }

    /// Pretends that the connection has ended like this: what a listener sees that asks [`WebSocket::closed`] in its
    /// `on_close`.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::testing::Recorder;
    /// use bellwire::{Closed, ClosedBy};
    ///
    /// let recorder = Recorder::new();
    /// recorder.end_with(Closed::abnormal(ClosedBy::Peer));
    /// assert!(!recorder.socket().closed().unwrap().clean);
    /// ```
    pub fn end_with(&self, closed: Closed) {
        self.0.end(|state| state.closed = Some(closed));
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl Sent {
    /// Creates a text message.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Message(OwnedMessage::Text(text.into()))
    }

    /// Creates a binary message.
    pub fn binary(bytes: impl AsRef<[u8]>) -> Self {
        Self::Message(OwnedMessage::Binary(bytes::Bytes::copy_from_slice(bytes.as_ref())))
    }

    /// Creates a close.
    pub fn close(code: impl Into<CloseCode>, reason: impl Into<String>) -> Self {
        Self::Close(code.into(), reason.into())
    }
}

impl Recording {
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock()
    }

    fn end(&self, how: impl FnOnce(&mut Recorded)) {
        let mut state = self.lock();
        how(&mut state);
        state.ended = true;
        let AtEnds(at_end) = core::mem::take(&mut state.at_end);
        drop(state);
        at_end.into_iter().for_each(|done| done());
    }

    fn record(&self, sent: Sent) -> Result<StreamOffset, SendError> {
        let mut state = self.lock();
        if state.ended {
            return Err(SendError::Closed);
        }
        if state.full && !matches!(sent, Sent::Close(..)) {
            return Err(SendError::Full);
        }
        let is_last = matches!(sent, Sent::Close(..) | Sent::Abort);
        state.sent.push(sent);
        let position = StreamOffset::new(state.sent.len() as u64);
        drop(state);
        if is_last {
            self.end(|_| ());
        }
        Ok(position)
    }
}

impl Socket for Recording {
    fn id(&self) -> SocketId {
        self.id
    }

    fn peer_addr(&self) -> Option<SocketAddr> {
        self.context.get_peer_addr()
    }

    fn client_ip(&self) -> Option<IpAddr> {
        self.context.get_client_ip()
    }

    fn path(&self) -> Option<&str> {
        self.context.path.as_deref()
    }

    fn protocol(&self) -> Option<&str> {
        self.context.protocol.as_deref()
    }

    #[cfg(feature = "deflate")]
    fn compression(&self) -> Option<crate::context::Compression> {
        self.context.compression
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        self.record(Sent::Message(message.into_owned()))
    }

    fn ping(&self, data: &[u8]) -> Result<(), SendError> {
        check_control(data)?;
        self.record(Sent::Ping(data.to_vec())).map(drop)
    }

    fn pong(&self, data: &[u8]) -> Result<(), SendError> {
        check_control(data)?;
        self.record(Sent::Pong(data.to_vec())).map(drop)
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        if !code.is_sendable() {
            return Err(SendError::CloseCode(code));
        }
        self.record(Sent::close(code, truncated(reason))).map(drop)
    }

    fn abort(&self) {
        let _ = self.record(Sent::Abort);
    }

    fn is_open(&self) -> bool {
        !self.lock().ended
    }

    fn closed(&self) -> Option<Closed> {
        self.lock().closed.clone()
    }

    fn when_closed(&self, done: AtEnd) {
        let mut state = self.lock();
        if !state.ended {
            return state.at_end.0.push(done);
        }
        drop(state);
        done();
    }

    /// Messages are counted, and bytes are not: nothing is encoded.
    fn stats(&self) -> Stats {
        let messages = self.lock().sent.iter().filter(|sent| matches!(sent, Sent::Message(_))).count();
        Stats { sent: Traffic::new(messages as u64, 0), ..Stats::default() }.about(Some(&self.context))
    }

    fn written(&self) -> StreamOffset {
        StreamOffset::new(self.lock().sent.len() as u64)
    }

    /// What is recorded counts as written.
    fn when_written(&self, _: StreamOffset, done: Done) {
        done(Ok(()));
    }

    fn poll_written(&self, _: &mut WriteWaiter, _: &Waker) -> Poll<Result<(), SendError>> {
        Poll::Ready(Ok(()))
    }
}

fn check_control(data: &[u8]) -> Result<(), SendError> {
    if data.len() > MAX_CONTROL_PAYLOAD { Err(SendError::ControlTooLong(data.len())) } else { Ok(()) }
}

/// Polls a future once: what it returns, or `None` if it waits. Enough to call an asynchronous listener by hand, since
/// what is sent to a [`Recorder`] counts as written at once; one that waits for something else needs a runtime.
pub fn now_or_never<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorder_refuses_as_a_connection_does() {
        let recorder = Recorder::new();
        let socket = recorder.socket();
        recorder.set_full(true);
        assert_eq!(socket.send("a"), Err(SendError::Full));
        recorder.set_full(false);
        socket.send("b").unwrap();
        assert_eq!(socket.ping([0; 126]), Err(SendError::ControlTooLong(126)));
        assert_eq!(socket.close_with(1006, ""), Err(SendError::CloseCode(CloseCode::ABNORMAL)));
        assert!(socket.is_open());
        assert_eq!(socket.closed(), None);
        recorder.end();
        assert_eq!(socket.send("c"), Err(SendError::Closed));
        assert!(!socket.is_open());
        assert_eq!(recorder.take_sent(), [Sent::text("b")]);
        assert_eq!(recorder.sent(), []);
    }

    #[test]
    fn u23_a_recorder_tells_its_end_once_however_that_was_recorded() {
        let ends: [fn(&Recorder); 4] = [
            Recorder::end,
            |recorder| recorder.end_with(Closed::abnormal(crate::protocol::ClosedBy::Peer)),
            |recorder| recorder.socket().close().unwrap(),
            |recorder| recorder.socket().abort(),
        ];
        for end in ends {
            let (recorder, told) = (Recorder::new(), Arc::new(Mutex::new(Vec::new())));
            let socket = recorder.socket();
            let wait = |name: &'static str| {
                let (told, socket) = (told.clone(), socket.clone());
                move || told.lock().push((name, socket.is_open(), socket.closed()))
            };
            socket.when_closed(wait("first"));
            socket.when_closed(wait("second"));
            socket.send("x").unwrap();
            assert_eq!(*told.lock(), []);
            end(&recorder);
            recorder.end();
            let closed = socket.closed();
            assert_eq!(*told.lock(), [("first", false, closed.clone()), ("second", false, closed)]);
            socket.when_closed(wait("late"));
            assert_eq!(told.lock().len(), 3);
        }
    }
}
