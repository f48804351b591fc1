//! A connection's handle for users, which notes what is sent and how this side closes.

use alloc::sync::Arc;

use super::link::Link;
use super::queues::Accepted;
use crate::api::{Socket, WebSocket};
use crate::protocol::{CloseCode, Outgoing, SendError, StreamOffset};

/// A connection's handle for users: what it sends is handed back if the connection is lost before it is written.
pub(super) struct Tracked {
    inner: WebSocket,
    link: Arc<Link>,
    /// Which of its connections this is.
    life: u64,
}

impl Tracked {
    pub(super) fn new(inner: WebSocket, link: Arc<Link>, life: u64) -> Self {
        Self { inner, link, life }
    }

    fn note(&self, end: StreamOffset, message: Outgoing<'static>) -> Result<StreamOffset, SendError> {
        let accepted = Accepted { end, number: None, message };
        // The connection has ended, and has not written it.
        self.link.accepted(&self.inner, self.life, accepted).map(|()| end).map_err(|_| SendError::Closed)
    }
}

impl Socket for Tracked {
    fn inner(&self) -> Option<&dyn Socket> {
        Some(self.inner.as_socket())
    }

    fn send(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let message = message.into_shared();
        let end = self.inner.as_socket().send(message.again())?;
        self.note(end, message)
    }

    fn send_if_room(&self, message: Outgoing<'_>) -> Option<Result<StreamOffset, SendError>> {
        let message = message.into_shared();
        let sent = self.inner.as_socket().send_if_room(message.again())?;
        Some(sent.and_then(|end| self.note(end, message)))
    }

    fn send_last(&self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        let message = message.into_shared();
        let end = self.inner.as_socket().send_last(message.again())?;
        self.note(end, message)
    }

    fn close(&self, code: CloseCode, reason: &str) -> Result<(), SendError> {
        // Before: who connects again may ask as soon as it has ended.
        let is_first = self.link.closes(self.life, Some(code));
        let closed = self.inner.as_socket().close(code, reason);
        if is_first && closed.is_err() {
            self.link.closes(self.life, None);
        }
        closed
    }

    fn abort(&self) {
        self.link.closes(self.life, Some(CloseCode::ABNORMAL));
        self.inner.as_socket().abort();
    }
}
