//! The handle of a client that reconnects.

use alloc::sync::Arc;

use super::ended::Ended;
use super::link::Link;
use crate::api::WebSocket;
use crate::protocol::{Outgoing, SendError};

/// A handle to a client that reconnects: it sends by whichever connection there is. Cheap to clone, and usable from any
/// thread or task.
///
/// **Nothing is sent twice, and nothing is lost in silence.** A message that was accepted is in the end
///
/// - *written*: the transport has taken its last byte. Whether it arrives is between the system and the peer: if the
///   connection is lost right then, nobody here can know. A peer that has to be sure answers;
/// - or *handed back*, in [`Disconnected::unsent`](super::Disconnected::unsent) or [`Ended::unsent`]: at least its last byte
///   never left, so the peer does not have it;
/// - or, with [`Offline::Keep`](super::Offline::Keep), *sent again* by the next connection in place of being handed back,
///   before everything that was sent later.
///
/// To keep that promise each message is held in memory until it is written: one copy more than a plain connection makes.
///
/// Dropping all handles lets it go on, as dropping a [`Client`](crate::backend::Client) does: it ends when
/// [`close`](Self::close) is called, when a failure is final, or when the runtime ends.
#[derive(Debug, Clone)]
pub struct Reconnecting(pub(crate) Arc<Link>);

impl Reconnecting {
    /// Sends a text or binary message by the connection that there is. Without one it is refused or kept, as
    /// [`Policy::offline`](super::Policy::offline) says. `Ok` means accepted, in order.
    ///
    /// What is kept leaves when there is a connection and its `on_open` is done (in the stream form, when `recv` is called
    /// again after [`Event::Connected`](super::Event::Connected)), and what is sent here meanwhile waits for that, too: so what
    /// `on_open` sends by the connection's own socket, a login say, goes first. If messages are refused without a
    /// connection, they are sent as soon as there is one: a task that must not speak before the login waits for it.
    ///
    /// # Errors
    /// [`SendError::Offline`] if there is no connection and messages are refused then; [`SendError::Full`] if too many are
    /// kept, or if the peer reads too slowly; [`SendError::Closed`] after the end.
    pub fn send<'m>(&self, message: impl Into<Outgoing<'m>>) -> Result<(), SendError> {
        self.0.send(message.into())
    }

    /// Returns the handle of the connection that there is: for pings, for how much is queued, and for what concerns this
    /// connection only. What is sent there is never sent by another; if it is lost before it is written, it is handed back.
    ///
    /// Closing it with a code decides what comes: with 1012 there is another try, with 1000 there is none.
    pub fn socket(&self) -> Option<WebSocket> {
        self.0.socket()
    }

    /// Returns `true` if there is a connection, and it is open.
    pub fn is_connected(&self) -> bool {
        self.0.socket().is_some()
    }

    /// Waits until there is a connection, and what is sent leaves at once: its `on_open` is done, and what was kept is sent.
    /// (If messages are refused without a connection, `on_open` has begun.) Returns its [socket](Self::socket), which
    /// [`writable`](WebSocket::writable) may be asked of besides.
    ///
    /// # Errors
    /// [`SendError::Closed`] if there will be no connection any more.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub fn connected(&self) -> impl Future<Output = Result<WebSocket, SendError>> + Send + use<> {
        self.0.wait_connected()
    }

    /// Ends everything, and waits for that: closes the connection with 1000 "Normal Closure" after what was sent, or gives
    /// up waiting and trying. It begins to end when this is called, not when the future is first polled.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing: it ends.
    pub fn close(&self) -> impl Future<Output = Arc<Ended>> + Send + use<> {
        self.0.close();
        self.wait()
    }

    /// Waits until nothing more will happen, and says why.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing; it may be called again, also after it has returned.
    pub fn wait(&self) -> impl Future<Output = Arc<Ended>> + Send + use<> {
        self.0.wait_ended()
    }

    /// Returns why nothing more will happen; `None` as long as it goes on.
    pub fn ended(&self) -> Option<Arc<Ended>> {
        self.0.ended()
    }
}
