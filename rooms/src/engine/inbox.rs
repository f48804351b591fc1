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
    receiver: Arc<dyn Receive>,
    is_open: Arc<AtomicBool>,
}

/// Who gets what came.
trait Receive: Send + Sync {
    fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes);

    fn missed(&self, channel: &str);
}

impl Inbox {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { receiver: core, is_open: Arc::new(AtomicBool::new(true)) }
    }

    /// Hands over what came on a channel. Members have it when this returns, unless another thread is sending to them.
    pub(crate) fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes) {
        if self.is_open.load(Ordering::Acquire) {
            self.receiver.receive(channel, position, bytes);
        }
    }

    /// The library of the broker has dropped what came on a channel, since it could not keep up. That of Redis never does.
    #[cfg_attr(not(feature = "nats"), expect(dead_code))]
    pub(crate) fn missed(&self, channel: &str) {
        if self.is_open.load(Ordering::Acquire) {
            self.receiver.missed(channel);
        }
    }

    /// The session is over.
    pub(super) fn close(&self) {
        self.is_open.store(false, Ordering::Release);
    }
}

impl Receive for Core {
    fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes) {
        let Some(channel) = named(&self.settings.prefix, channel) else { return self.ignore() };
        match (wire::decode(bytes), channel) {
            (Ok((from, Packet::Message(message))), Named::Room(token)) => {
                Core::receive(self, token, from, position, message);
            }
            (Ok((from, Packet::Presence(bytes))), channel) => self.hear(channel, from, bytes),
            (Ok(_), Named::Nodes) | (Err(_), _) => self.ignore(),
        }
    }

    fn missed(&self, channel: &str) {
        if let Some(Named::Room(token)) = named(&self.settings.prefix, channel) {
            self.missed_presence(token);
            Core::missed(self, token);
        }
    }
}

#[cfg(test)]
mod tap {
    use super::*;

    struct Tap<F>(F);

    impl<F: Fn(&str, Option<Position>, &Bytes) + Send + Sync> Receive for Tap<F> {
        fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes) {
            (self.0)(channel, position, bytes);
        }

        fn missed(&self, channel: &str) {
            panic!("something was missed on {channel}");
        }
    }

    impl Inbox {
        /// One without rooms, for tests of what comes from a broker.
        #[cfg_attr(not(any(feature = "nats", feature = "redis")), allow(dead_code))]
        pub(crate) fn tapped(tap: impl Fn(&str, Option<Position>, &Bytes) + Send + Sync + 'static) -> Self {
            Self { receiver: Arc::new(Tap(tap)), is_open: Arc::new(AtomicBool::new(true)) }
        }
    }
}
