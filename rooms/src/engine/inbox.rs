//! Where a session hands over what came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::channel::{Named, named};
use crate::core::Core;
use crate::position::Position;
use crate::wire::{self, Packet};

/// Where a session hands over what came. It does nothing once the session is over: what is still on its way then would
/// come after what the next one brings.
#[derive(Clone)]
pub(crate) struct Inbox {
    core: Arc<Core>,
    is_open: Arc<AtomicBool>,
}

impl Inbox {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { core, is_open: Arc::new(AtomicBool::new(true)) }
    }

    /// Hands over what came on a channel. Members have it when this returns, unless another thread is sending to them.
    pub(crate) fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes) {
        if !self.is_open.load(Ordering::Acquire) {
            return;
        }
        let Some(channel) = named(&self.core.settings.prefix, channel) else { return self.core.ignore() };
        match (wire::decode(bytes), channel) {
            (Ok((from, Packet::Message(message))), Named::Room(token)) => {
                self.core.receive(token, from, position, message);
            }
            (Ok((_, Packet::Presence(_))), _) => {}
            (Ok(_), Named::Nodes) | (Err(_), _) => self.core.ignore(),
        }
    }

    /// The library of the broker has dropped what came on a channel, since it could not keep up.
    pub(crate) fn missed(&self, channel: &str) {
        if !self.is_open.load(Ordering::Acquire) {
            return;
        }
        if let Some(Named::Room(token)) = named(&self.core.settings.prefix, channel) {
            self.core.missed(token);
        }
    }

    /// The session is over.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }
}
