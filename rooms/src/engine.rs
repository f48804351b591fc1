//! The way to a broker: what one connection can do, and what keeps there being one.
//!
//! ```text
//! publish ─► outbox ─► link ─► Session (nats, redis) ─► broker
//!                       │                                  │
//!  members ◄── hub ◄── Inbox ◄─────────────────────────────┘
//! ```
//!
//! A [`Session`] is one connection, and ends with it. The [supervisor](supervisor) makes the next one, and knows therefore what
//! may have been missed in between.

mod backoff;
mod channel;
mod inbox;
mod link;
#[cfg(feature = "nats")]
pub(crate) mod nats;
mod outbox;
mod present;
#[cfg(feature = "redis")]
pub(crate) mod redis;
mod supervisor;
#[cfg(test)]
pub(crate) mod testing;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::channel::Channel;
pub(crate) use self::inbox::{Arrivals, Inbox};
pub(crate) use self::link::{Link, Reader, Reading};
pub(crate) use self::outbox::Unpublished;
pub(crate) use self::supervisor::spawn;
use crate::builder::History;
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// A broker that there can be connections to.
pub(crate) trait Broker: Send + Sync + 'static {
    type Session: Session;

    /// Connects once. All that comes is handed to `inbox`, by whatever task reads it.
    fn connect(&self, inbox: Inbox) -> impl Future<Output = Result<Self::Session, BrokerError>> + Send;
}

/// A connection to a broker. An error ends it, and so does dropping it: nothing of it may come or go after that.
pub(crate) trait Session: Send + 'static {
    /// Returns the most bytes of a [`Publication`].
    fn max_payload(&self) -> usize;

    /// Subscribes to channels, and waits until the broker has confirmed that.
    fn subscribe(&mut self, channels: &[Channel]) -> impl Future<Output = Result<(), BrokerError>> + Send;

    fn unsubscribe(&mut self, channels: &[Channel]) -> impl Future<Output = Result<(), BrokerError>> + Send;

    /// Publishes these in order, and waits until the broker has confirmed that: all but those that it has refused one by
    /// one. After an error they are in doubt. Without any it finds out whether the broker is there.
    fn publish(
        &mut self,
        batch: &[Publication],
    ) -> impl Future<Output = Result<Vec<Result<(), PublishError>>, BrokerError>> + Send;

    /// Returns a position that all that is published from now on will be after. Only called if a history is kept.
    fn now(&mut self) -> impl Future<Output = Result<Position, BrokerError>> + Send;

    /// Reads what is kept of a room, after a position, oldest first. Without one nothing is dropped, unless it is dropped
    /// while it is read.
    fn history(
        &self,
        room: Arc<str>,
        since: Option<Position>,
    ) -> impl Future<Output = Result<Excerpt, HistoryError>> + Send + 'static;

    /// Waits for the connection to end, and says why. May be dropped and called again.
    fn ended(&mut self) -> impl Future<Output = BrokerError> + Send;
}

/// What is published on a channel.
#[derive(Debug, Clone)]
pub(crate) struct Publication {
    pub(crate) channel: Channel,
    /// As [`wire`](crate::wire) has encoded it.
    pub(crate) bytes: Bytes,
    /// Whether it belongs to the history of its room, if one is kept.
    pub(crate) keep: bool,
}

/// What was kept of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) position: Position,
    /// As [`wire`](crate::wire) has encoded it.
    pub(crate) bytes: Bytes,
}

/// What is kept of a room after a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) kept: Vec<Kept>,
    pub(crate) dropped: Dropped,
}

/// Whether something that came after a position may not be kept any more. A broker drops the oldest first: while what is at
/// the position is there, nothing after it was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    Nothing,
    /// It would be too old by now.
    TooOld,
    /// More came after it than are kept, or it was dropped while it was read.
    TooMany,
}

/// How many messages of a room a broker keeps: one more than was wanted. So for those who have missed as many as that, the
/// one before them is still there, and shows that they lack nothing.
pub(crate) fn most_kept(history: History) -> i64 {
    i64::try_from(history.messages).unwrap_or(i64::MAX).saturating_add(1)
}

/// What a broker has said, as it can be printed: a line that is not too long. It may come from anyone.
#[cfg(any(feature = "nats", feature = "redis"))]
fn printable(text: &str) -> String {
    const MOST: usize = 600;
    text.chars().filter(|char| !char.is_control()).take(MOST).collect()
}
