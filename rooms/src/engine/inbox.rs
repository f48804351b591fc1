//! Where a session hands over what came.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::channel::{Named, named};
use crate::core::{Core, contain};
use crate::hub::Room;
use crate::position::Position;
use crate::wire::{self, Packet};

/// Where a session hands over what came. It does nothing once the session is over: what is still on its way then would
/// come after what the next one brings.
#[derive(Clone)]
pub(crate) struct Inbox {
    receiver: Arc<dyn Receive>,
    is_open: Arc<AtomicBool>,
}

/// Rooms with messages that have come together, and that members get when this is [delivered](Self::deliver), or dropped.
#[derive(Default)]
pub(crate) struct Arrivals {
    rooms: Vec<Arc<Room>>,
}

/// As many rooms at most have something in a batch.
const MOST_ROOMS: usize = 64;

/// Who gets what came.
trait Receive: Send + Sync {
    fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes, batch: &mut Arrivals);

    fn missed(&self, channel: &str);
}

impl Inbox {
    pub(super) fn new(core: Arc<Core>) -> Self {
        Self { receiver: core, is_open: Arc::new(AtomicBool::new(true)) }
    }

    /// Hands over what came on a channel, as a part of a batch.
    pub(crate) fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes, batch: &mut Arrivals) {
        if self.is_open.load(Ordering::Acquire) {
            self.receiver.receive(channel, position, bytes, batch);
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

impl Arrivals {
    /// Something in this room is to be delivered: at once if that is `enough`.
    pub(crate) fn add(&mut self, room: Arc<Room>, enough: bool) {
        if self.rooms.last().is_none_or(|last| !Arc::ptr_eq(last, &room)) {
            self.rooms.push(room);
        }
        if enough || self.rooms.len() == MOST_ROOMS {
            self.deliver();
        }
    }

    /// Returns `true` if there is nothing to deliver.
    #[cfg_attr(not(feature = "redis"), expect(dead_code))]
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// Members have all when this returns, unless another thread is sending to them. If a socket's own code panics, it goes
    /// on behind that.
    pub(crate) fn deliver(&mut self) {
        for room in self.rooms.drain(..) {
            while contain(|| room.run()).is_none() {}
        }
    }
}

impl Drop for Arrivals {
    fn drop(&mut self) {
        self.deliver();
    }
}

impl Receive for Core {
    fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes, batch: &mut Arrivals) {
        let Some(channel) = named(&self.settings.prefix, channel) else { return self.ignore() };
        match (wire::decode(bytes), channel) {
            (Ok((from, Packet::Message(message))), Named::Room(token)) => {
                Core::receive(self, token, from, position, message, batch);
            }
            (Ok((from, Packet::Presence(bytes))), channel) => {
                // What was said before somebody left is heard before.
                batch.deliver();
                self.hear(channel, from, bytes);
            }
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
        fn receive(&self, channel: &str, position: Option<Position>, bytes: &Bytes, _: &mut Arrivals) {
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

#[cfg(test)]
mod tests {
    use bellwire_core::proto::StreamOffset;
    use bellwire_core::testing::{Recorder, Sent};
    use bellwire_core::{Outgoing, SendError, Socket, WebSocket};

    use super::*;
    use crate::hub::{Delivery, Hub};

    struct Panics;

    impl Socket for Panics {
        fn send(&self, _: Outgoing<'_>) -> Result<StreamOffset, SendError> {
            panic!("a socket's own code")
        }

        fn is_open(&self) -> bool {
            true
        }
    }

    #[test]
    fn a_batch_is_delivered_to_the_end_whatever_a_socket_of_it_does() {
        let (hub, others) = (Hub::default(), [Recorder::new(), Recorder::new()]);
        let mut batch = Arrivals::default();
        for (name, other) in ["first", "second"].into_iter().zip(&others) {
            hub.join(name, &other.socket(), None, false);
            let room = hub.join(name, &WebSocket::new(Panics), None, false).room;
            assert_eq!(room.gather(Delivery::new(name)), Ok(false));
            batch.add(room, false);
        }
        assert!(others.iter().all(|other| other.take_sent().is_empty()));
        drop(batch);
        for (name, other) in ["first", "second"].into_iter().zip(&others) {
            let sent = other.take_sent();
            assert!(matches!(&sent[..], [Sent::Message(message)] if message.as_text() == Some(name)), "{sent:?}");
        }
    }
}
