//! The reading side of a shared connection: bytes become events.
//!
//! It belongs to the driver alone. So while the connection is open, what is read takes no lock: whether it still is
//! says its [`Status`](super::shared::Status), which each guard leaves.

use alloc::sync::Arc;

use super::shared::{Arrived, Shared};
use crate::config::Config;
use crate::protocol::{Connection, Event, Inbound, Incoming, Message};

pub(super) struct Reader {
    inbound: Inbound,
    config: Arc<Config>,
    pub(super) arrived: Arrived,
}

impl Reader {
    /// Takes the reading side out of a connection that is to be shared.
    pub(super) fn of(connection: &mut Connection) -> Self {
        let (inbound, config) = (connection.take_inbound(), connection.shared_config());
        Self { inbound, config, arrived: Arrived::default() }
    }

    /// Takes what most input is: a small message on an open connection. The first step of
    /// [`next_event`](Self::next_event), for a caller that has a short way for it.
    #[inline(always)]
    pub(super) fn next_small<'a>(&mut self, shared: &Shared, input: &mut &'a mut [u8]) -> Option<Message<'a>> {
        if !shared.status().is_open() {
            return None;
        }
        self.inbound.next_small(input, &self.config).unwrap_or_else(|violation| {
            shared.lock().fail(violation.into());
            None
        })
    }

    /// [`Connection::next_event`], when it was [received](Connection::received) is for the caller to tell. How the
    /// connection ended is [remembered](crate::Socket::closed).
    pub(super) fn next_event<'a>(&mut self, shared: &Shared, input: &mut &'a mut [u8]) -> Option<Event<'a>> {
        while shared.status().is_open() {
            match self.inbound.next(input, &self.config) {
                Ok(None) => return None,
                Ok(Some(Incoming::Text(text))) => return Some(Event::Text(text)),
                Ok(Some(Incoming::Binary(bytes))) => return Some(Event::Binary(bytes)),
                Ok(Some(Incoming::Ping(data))) => return Some(Event::Ping(data)),
                Ok(Some(Incoming::Pong(data))) => return Some(Event::Pong(data)),
                Ok(Some(Incoming::Close(payload))) => shared.lock().receive_close(&payload),
                Err(violation) => shared.lock().fail(violation.into()),
            }
        }
        shared.last_events(&mut self.inbound, &mut self.arrived, input)
    }

    /// While the connection is open, leaves the peer's close frame in the input, from where
    /// [`next_event`](Self::next_event) returns `None`.
    pub(super) fn stop_at_close(&mut self) {
        self.inbound.stop_at_close();
    }

    /// Receives the peer's close frame from now on, like any other.
    pub(super) fn pass_close(&mut self) {
        self.inbound.pass_close();
    }
}
