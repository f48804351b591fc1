//! The order of messages that a stream publishes again.
//!
//! The server does so after it has let go of the stream: messages of two connections overtake each other now and then.
//! Each names the one before it on its subject, and waits here until that has come.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::Message;
use async_nats::header::{HeaderName, NATS_LAST_SEQUENCE, NATS_SEQUENCE};

use super::reactor::Spawner;
use crate::engine::{Arrivals, Inbox};
use crate::position::Position;

/// Nobody waits longer for a message: the client has dropped it.
const PATIENCE: Duration = Duration::from_secs(1);

/// More messages do not wait, and no more bytes of them.
const MOST_WAITING: usize = 1024;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Hands over what comes on one channel, in the order of the stream.
pub(super) struct Ordered {
    order: Mutex<Order<Message>>,
    inbox: Inbox,
    on: Spawner,
    /// Which stream it is: the first number of all positions.
    era: u64,
}

/// Where a message is in the stream, and which one of its subject is before it.
#[derive(Debug, Clone, Copy)]
struct Place {
    sequence: u64,
    before: u64,
}

/// Puts messages in order. `start` is where the stream was when it was clear that all that is after that comes.
struct Order<T> {
    start: Option<u64>,
    last: u64,
    waiting: BTreeMap<u64, Waiting<T>>,
    /// The bytes of those that wait.
    bytes: usize,
}

struct Waiting<T> {
    before: u64,
    length: usize,
    message: T,
}

impl Ordered {
    pub(super) fn new(inbox: Inbox, on: Spawner, era: u64) -> Arc<Self> {
        Arc::new(Self { order: Mutex::new(Order::new()), inbox, on, era })
    }

    /// A message has come.
    pub(super) fn take(self: &Arc<Self>, message: Message, batch: &mut Arrivals) {
        let Some(place) = Place::of(&message) else {
            return self.inbox.receive(&message.subject, None, &message.payload, batch);
        };
        let mut order = self.lock();
        let length = message.payload.len();
        order.take(place, length, message, |sequence, message| self.hand_over(sequence, &message, batch));
        if order.waiting.contains_key(&place.sequence) {
            let late = Arc::downgrade(self);
            self.on.spawn(async move {
                tokio::time::sleep(PATIENCE).await;
                if let Some(ordered) = late.upgrade() {
                    ordered.give_up(place.sequence);
                }
            });
        }
    }

    /// All that is after this place in the stream comes.
    pub(super) fn starts(&self, at: Position) {
        let mut batch = Arrivals::default();
        self.lock().starts(at.parts().1, |sequence, message| self.hand_over(sequence, &message, &mut batch));
    }

    /// What is before this one does not come any more.
    fn give_up(&self, sequence: u64) {
        let (mut channel, mut batch) = (None, Arrivals::default());
        let mut order = self.lock();
        order.give_up(sequence, |sequence, message| {
            self.hand_over(sequence, &message, &mut batch);
            channel = Some(message.subject);
        });
        drop(order);
        batch.deliver();
        if let Some(channel) = channel {
            self.inbox.missed(&channel);
        }
    }

    fn hand_over(&self, sequence: u64, message: &Message, batch: &mut Arrivals) {
        self.inbox.receive(&message.subject, Some(Position::new(self.era, sequence)), &message.payload, batch);
    }

    fn lock(&self) -> MutexGuard<'_, Order<Message>> {
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// `None` if the message has not come by way of a stream.
    fn of(message: &Message) -> Option<Self> {
        let number = |name: HeaderName| message.headers.as_ref()?.get(name)?.as_str().parse().ok();
        Some(Self { sequence: number(NATS_SEQUENCE)?, before: number(NATS_LAST_SEQUENCE).unwrap_or(0) })
    }
}

impl<T> Order<T> {
    fn new() -> Self {
        Self { start: None, last: 0, waiting: BTreeMap::new(), bytes: 0 }
    }

    fn take(&mut self, place: Place, length: usize, message: T, hand_over: impl FnMut(u64, T)) {
        let replaced = self.waiting.insert(place.sequence, Waiting { before: place.before, length, message });
        self.bytes = self.bytes + length - replaced.map_or(0, |replaced| replaced.length);
        self.go_on(hand_over);
    }

    fn starts(&mut self, at: u64, hand_over: impl FnMut(u64, T)) {
        self.start = Some(at);
        self.go_on(hand_over);
    }

    /// If this one still waits, it has waited enough, and so have those before it.
    fn give_up(&mut self, sequence: u64, hand_over: impl FnMut(u64, T)) {
        if let Some(&Waiting { before, .. }) = self.waiting.get(&sequence) {
            self.last = self.last.max(before);
            self.start.get_or_insert(before);
            self.go_on(hand_over);
        }
    }

    /// Hands over all that need not wait.
    fn go_on(&mut self, mut hand_over: impl FnMut(u64, T)) {
        while let Some(first) = self.waiting.first_entry() {
            let before = first.get().before;
            let is_next = self.start.is_some_and(|start| before <= start.max(self.last));
            if !is_next && self.waiting.len() <= MOST_WAITING && self.bytes <= MOST_BYTES {
                return;
            }
            let Some((sequence, Waiting { length, message, .. })) = self.waiting.pop_first() else { return };
            self.bytes -= length;
            self.last = self.last.max(sequence);
            hand_over(sequence, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places of a room's messages, among those of others.
    const PLACES: [(u64, u64); 5] = [(3, 0), (4, 3), (7, 4), (9, 7), (10, 9)];

    fn taken(order: &mut Order<()>, (sequence, before): (u64, u64)) -> Vec<u64> {
        let mut handed_over = Vec::new();
        order.take(Place { sequence, before }, 1, (), |sequence, ()| handed_over.push(sequence));
        handed_over
    }

    fn started(at: u64) -> Order<()> {
        let mut order = Order::new();
        order.starts(at, |_, ()| unreachable!());
        order
    }

    #[test]
    fn in_whatever_order_messages_come_they_are_handed_over_in_that_of_the_stream() {
        let mut orders = vec![Vec::new()];
        for place in PLACES {
            orders = orders
                .into_iter()
                .flat_map(|order| {
                    (0..=order.len()).map(move |at| {
                        let mut order = order.clone();
                        order.insert(at, place);
                        order
                    })
                })
                .collect();
        }
        assert_eq!(orders.len(), 120);
        for coming in orders {
            let mut order = started(2);
            let handed_over: Vec<_> = coming.iter().flat_map(|&place| taken(&mut order, place)).collect();
            assert_eq!(handed_over, [3, 4, 7, 9, 10], "{coming:?}");
        }
    }

    #[test]
    fn what_is_in_order_does_not_wait() {
        let mut order = started(2);
        for place in PLACES {
            assert_eq!(taken(&mut order, place), [place.0]);
        }
    }

    #[test]
    fn nobody_waits_for_what_was_before_the_start() {
        let mut order = started(5);
        assert_eq!(taken(&mut order, (7, 4)), [7]);
        assert!(taken(&mut order, (10, 9)).is_empty());
        assert_eq!(taken(&mut order, (9, 7)), [9, 10]);
    }

    #[test]
    fn before_the_start_is_known_all_wait() {
        let mut order = Order::new();
        assert!(taken(&mut order, (7, 4)).is_empty());
        assert!(taken(&mut order, (4, 3)).is_empty());
        let mut handed_over = Vec::new();
        order.starts(3, |sequence, ()| handed_over.push(sequence));
        assert_eq!(handed_over, [4, 7]);
    }

    #[test]
    fn what_does_not_come_is_given_up() {
        let mut order = started(2);
        assert!(taken(&mut order, (9, 7)).is_empty());
        assert!(taken(&mut order, (7, 4)).is_empty());
        let mut handed_over = Vec::new();
        order.give_up(9, |sequence, ()| handed_over.push(sequence));
        assert_eq!(handed_over, [7, 9]);
        order.give_up(9, |_, ()| unreachable!());
        assert_eq!(taken(&mut order, (10, 9)), [10]);
    }

    #[test]
    fn no_more_bytes_wait_than_may() {
        let (mut order, length) = (started(0), MOST_BYTES / 4 + 1);
        let mut handed_over = Vec::new();
        for sequence in [2, 3, 4, 4, 4, 5] {
            let place = Place { sequence, before: sequence - 1 };
            order.take(place, length, (), |sequence, ()| handed_over.push(sequence));
        }
        assert_eq!((handed_over, order.waiting.len(), order.bytes), (vec![2, 3, 4, 5], 0, 0));
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut order = started(0);
        let most = MOST_WAITING as u64;
        assert!((2..most + 2).all(|sequence| taken(&mut order, (sequence, sequence - 1)).is_empty()));
        let handed_over = taken(&mut order, (most + 2, most + 1));
        assert!(handed_over.into_iter().eq(2..most + 3));
        assert!(order.waiting.is_empty());
    }
}
