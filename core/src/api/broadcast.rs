//! One message to many sockets.

use alloc::vec::Vec;
use core::borrow::Borrow;

use super::socket::WebSocket;
use crate::protocol::{Outgoing, Prepared, SendError};

/// Sends a message to each of these sockets, encoded once for all of them (see [`Prepared`]).
///
/// Takes any collection of sockets or of references to them: `&HashSet<WebSocket>`, `&[WebSocket]`, the keys or
/// values of a map, an iterator that leaves some out. To send the same message to several collections, prepare
/// it first.
///
/// It only queues, as [`WebSocket::send`] does. So it never waits for a peer, and may be called from a callback
/// and reach that callback's own socket. A peer that is gone, or that reads too slowly and has its queue full, is
/// reported and does not keep the others from getting the message; with
/// [`SlowReader::Close`](crate::config::SlowReader) a slow one is closed, too.
///
/// No lock is held here. If `sockets` borrows from a collection behind a lock of yours, that is held until the
/// last send; to have others not wait for it, collect the sockets first (a clone costs little), then unlock, then
/// send.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{broadcast, testing::Recorder};
/// use std::collections::HashSet;
/// use std::sync::Mutex;
///
/// let (alice, bob) = (Recorder::new(), Recorder::new());
/// let room = Mutex::new(HashSet::from([alice.socket(), bob.socket()]));
/// bob.end();
///
/// let members: Vec<_> = room.lock().unwrap().iter().cloned().collect();
/// let outcome = broadcast(members, "hello");
/// assert_eq!(outcome.sent, 1);
/// for (socket, _) in &outcome.failed {
///     room.lock().unwrap().remove(socket);
/// }
/// # assert_eq!(room.into_inner().unwrap(), HashSet::from([alice.socket()]));
/// ```
pub fn broadcast<'m>(
    sockets: impl IntoIterator<Item: Borrow<WebSocket>>,
    message: impl Into<Outgoing<'m>>,
) -> Broadcast {
    let message = Prepared::new(message);
    let mut outcome = Broadcast::default();
    for socket in sockets {
        let socket = socket.borrow();
        match socket.send(&message) {
            Ok(()) => outcome.sent += 1,
            Err(error) => outcome.failed.push((socket.clone(), error)),
        }
    }
    outcome
}

/// The outcome of a [`broadcast`]. It may be ignored: a listener hears of its own peer's end in `on_close`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Broadcast {
    /// The number of sockets that accepted the message.
    pub sent: usize,
    /// The others, in the order in which they came, each with the reason:
    /// [`Closed`](SendError::Closed) or [`Full`](SendError::Full). No memory is held if there are none.
    pub failed: Vec<(WebSocket, SendError)>,
}
