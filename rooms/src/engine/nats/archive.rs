//! The history of rooms, in a stream of JetStream.
//!
//! Messages that are kept are published to subjects of their own, which the stream takes. It publishes them again to
//! where the members listen, with their places in the stream: so they come once, and numbered.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishErrorKind,
};
use async_nats::jetstream::stream::{Config, Info, Republish};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_core::Stream;

use crate::builder::History;
use crate::engine::{Dropped, Excerpt, Kept, most_kept};
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// What to do without JetStream.
const SWITCH_ON: &str = "start it with JetStream, as `nats-server -js` does, and allow it for this account";
/// The least age that a stream takes, and about the greatest: it counts nanoseconds.
const LEAST_AGE: Duration = Duration::from_millis(100);
const GREATEST_AGE: Duration = Duration::from_secs(200 * 365 * 24 * 3600);
/// How many messages are asked for at a time.
const CHUNK: u64 = 1000;
/// After so long the server says that there is nothing. It does not, otherwise, when a message that it has counted becomes
/// too old before it is asked for.
const QUIET: Duration = Duration::from_secs(1);

/// The stream of an application.
pub(super) struct Archive {
    context: Context,
    stream: String,
    prefix: String,
    history: History,
    /// Which of all streams of this name it is: positions in another say nothing about this one.
    era: u64,
}

/// What was read of a room.
#[derive(Default)]
struct Read {
    kept: Vec<Kept>,
    /// How many have come since, and were not read.
    newer: u64,
    /// Some that were there did not come, after others that did.
    is_torn: bool,
}

/// What the stream answers to a message.
pub(super) struct Ack(PublishAckFuture);

impl Archive {
    /// Creates the stream, or changes it to what is wanted now: nothing but that, the rest is its owner's.
    pub(super) async fn open(client: &Client, prefix: &str, history: History) -> Result<Self, BrokerError> {
        let context = jetstream::new(client.clone());
        let stream = format!("rooms-{prefix}");
        let info = match context.get_stream(&stream).await {
            Ok(found) => {
                let (before, mut after) = (found.cached_info(), found.cached_info().config.clone());
                wanted(&mut after, prefix, history);
                if before.config == after {
                    before.clone()
                } else {
                    context.update_stream(&after).await.map_err(failed)?
                }
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => {
                    let mut config = Config { name: stream.clone(), ..Config::default() };
                    wanted(&mut config, prefix, history);
                    context.create_stream(&config).await.map_err(failed)?.cached_info().clone()
                }
                GetStreamErrorKind::JetStream(error) => {
                    return Err(BrokerError::History(format!("{error}: {SWITCH_ON}")));
                }
                _ => return Err(BrokerError::History(format!("the server has no JetStream: {SWITCH_ON}"))),
            },
        };
        if info.config.republish.is_none() {
            return Err(BrokerError::History("the server does not republish: 2.9 is the oldest that does".into()));
        }
        Ok(Self { context, stream, prefix: prefix.into(), history, era: era(&info) })
    }

    /// Sends a message to the stream.
    pub(super) async fn keep(&self, subject: Subject, payload: Bytes) -> Result<Ack, BrokerError> {
        let ack = self.context.publish(subject, payload).await;
        ack.map(Ack).map_err(|_| BrokerError::Lost("the client was closed".into()))
    }

    /// Returns the position of the newest message of all.
    pub(super) async fn now(&self) -> Result<Position, BrokerError> {
        let stream = self.context.get_stream(&self.stream).await;
        let stream = stream.map_err(|error| BrokerError::History(error.to_string()))?;
        let info = stream.cached_info();
        if era(info) != self.era {
            return Err(BrokerError::History("the stream for it was replaced by another".into()));
        }
        Ok(Position::new(self.era, info.state.last_sequence))
    }

    /// Returns the first number of all positions in it.
    pub(super) fn era(&self) -> u64 {
        self.era
    }

    /// Reads what is kept of a room after a position.
    pub(super) async fn read(&self, room: &str, since: Option<Position>) -> Result<Excerpt, HistoryError> {
        if since.is_some_and(|since| since.parts().0 != self.era) {
            return Err(HistoryError::Gone);
        }
        let mut read = Read::default();
        while !self.read_on(room, since, &mut read).await? {}
        let dropped = self.dropped(&read, since).await?;
        Ok(Excerpt { kept: read.kept, dropped })
    }

    /// Reads what there is now after what was read, and says whether all of it came.
    async fn read_on(&self, room: &str, since: Option<Position>, read: &mut Read) -> Result<bool, HistoryError> {
        let consumer = self.consumer(room, read.last().or(since)).await?;
        let outcome = read.add(self.era, &consumer).await;
        let name = &consumer.cached_info().name;
        let _ = self.context.delete_consumer_from_stream(name, &self.stream).await;
        outcome
    }

    async fn consumer(&self, room: &str, since: Option<Position>) -> Result<Consumer<pull::Config>, HistoryError> {
        let config = pull::Config {
            filter_subject: format!("{}.keep.{room}", self.prefix),
            deliver_policy: match since {
                None => DeliverPolicy::All,
                Some(since) => DeliverPolicy::ByStartSequence { start_sequence: since.parts().1.saturating_add(1) },
            },
            ack_policy: AckPolicy::None,
            memory_storage: true,
            num_replicas: 1,
            inactive_threshold: Duration::from_secs(30),
            ..pull::Config::default()
        };
        self.context.create_consumer_on_stream(config, &self.stream).await.map_err(unread)
    }

    /// What may have been dropped after a position before the rest was read.
    async fn dropped(&self, read: &Read, since: Option<Position>) -> Result<Dropped, HistoryError> {
        match since {
            None if read.is_torn => Ok(Dropped::TooMany),
            None => Ok(Dropped::Nothing),
            Some(since) => match self.context.get_stream(&self.stream).await {
                Ok(stream) if era(stream.cached_info()) != self.era => Err(HistoryError::Gone),
                Ok(stream) => {
                    let state = &stream.cached_info().state;
                    let stream = (state.first_sequence, state.last_sequence);
                    dropped(since.parts().1, read.count(), self.history.messages, stream)
                }
                // It is all that could be read, and nobody knows of what.
                Err(_) => Ok(Dropped::TooOld),
            },
        }
    }
}

/// When a stream was created, in milliseconds since 1970.
fn era(stream: &Info) -> u64 {
    u64::try_from(stream.created.unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// What may have been dropped after a position, if so many messages of the room came after it, so many are wanted, and these
/// are the ends of the stream. Messages that are too old go from its beginning on, whatever rooms they are of.
fn dropped(since: u64, found: usize, wanted: usize, (first, last): (u64, u64)) -> Result<Dropped, HistoryError> {
    if last < since {
        Err(HistoryError::Gone)
    } else if found > wanted {
        Ok(Dropped::TooMany)
    } else if first > since.saturating_add(1) {
        Ok(Dropped::TooOld)
    } else {
        Ok(Dropped::Nothing)
    }
}

impl Read {
    /// How many there are of the room after where it was read from.
    fn count(&self) -> usize {
        self.kept.len().saturating_add(usize::try_from(self.newer).unwrap_or(usize::MAX))
    }

    fn last(&self) -> Option<Position> {
        self.kept.last().map(|kept| kept.position)
    }

    /// Reads what there was when the consumer was created, and says whether all of it came.
    async fn add(&mut self, era: u64, consumer: &Consumer<pull::Config>) -> Result<bool, HistoryError> {
        let mut left = consumer.cached_info().num_pending;
        while left > 0 {
            let added = self.add_chunk(era, consumer, usize::try_from(left.min(CHUNK)).unwrap_or(1)).await?;
            if added == 0 {
                self.is_torn |= !self.kept.is_empty();
                return Ok(false);
            }
            left = left.saturating_sub(added);
        }
        Ok(true)
    }

    async fn add_chunk(
        &mut self,
        era: u64,
        consumer: &Consumer<pull::Config>,
        most: usize,
    ) -> Result<u64, HistoryError> {
        let mut messages = consumer.fetch().max_messages(most).expires(QUIET).messages().await.map_err(unread)?;
        let mut added = 0;
        while let Some(message) = next(&mut messages).await {
            let message = message.map_err(|error| HistoryError::Failed(error.to_string()))?;
            let info = message.info().map_err(|error| HistoryError::Failed(error.to_string()))?;
            let position = Position::new(era, info.stream_sequence);
            self.newer = info.pending;
            self.kept.push(Kept { position, bytes: message.message.payload });
            added += 1;
        }
        Ok(added)
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|context| std::pin::Pin::new(&mut *stream).poll_next(context)).await
}

/// What a stream has to be like.
fn wanted(config: &mut Config, prefix: &str, history: History) {
    config.subjects = vec![format!("{prefix}.keep.>")];
    config.republish = Some(Republish {
        source: format!("{prefix}.keep.>"),
        destination: format!("{prefix}.room.>"),
        headers_only: false,
    });
    config.max_messages_per_subject = most_kept(history);
    config.max_age = history.age.clamp(LEAST_AGE, GREATEST_AGE);
    // The server wants no longer one.
    config.duplicate_window = config.duplicate_window.min(config.max_age);
}

impl Ack {
    /// Waits for it. An error means that the connection is of no more use.
    pub(super) async fn given(self) -> Result<Result<(), PublishError>, BrokerError> {
        let Err(error) = self.0.await else { return Ok(Ok(())) };
        match error.kind() {
            PublishErrorKind::TimedOut => Err(BrokerError::Lost("the stream did not answer".into())),
            PublishErrorKind::BrokenPipe => Err(BrokerError::Lost("the client was closed".into())),
            PublishErrorKind::StreamNotFound => Ok(Err(PublishError::Refused("the stream for it is gone".into()))),
            _ => Ok(Err(PublishError::Refused(error.to_string()))),
        }
    }
}

fn failed(error: CreateStreamError) -> BrokerError {
    BrokerError::History(match error.kind() {
        CreateStreamErrorKind::JetStream(error) => error.to_string(),
        CreateStreamErrorKind::JetStreamUnavailable => format!("the server has no JetStream: {SWITCH_ON}"),
        _ => error.to_string(),
    })
}

fn unread(error: impl std::error::Error) -> HistoryError {
    HistoryError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_known_by_what_is_there() {
        use Dropped::{Nothing, TooMany, TooOld};
        for (since, found, stream, expected) in [
            // It begins before that, so nothing was too old.
            (7, 0, (1, 9), Ok(Nothing)),
            (7, 0, (7, 7), Ok(Nothing)),
            (7, 2, (8, 9), Ok(Nothing)),
            (0, 2, (1, 9), Ok(Nothing)),
            // If more came than are wanted, what was there is gone, and others may be.
            (7, 3, (1, 20), Ok(TooMany)),
            (7, 3, (18, 20), Ok(TooMany)),
            // What it begins after may have been of this room.
            (7, 0, (9, 9), Ok(TooOld)),
            (7, 2, (9, 20), Ok(TooOld)),
            // One of which nothing is left begins with what comes next.
            (7, 0, (8, 7), Ok(Nothing)),
            (7, 0, (10, 9), Ok(TooOld)),
            // It has not got so far.
            (7, 0, (1, 6), Err(HistoryError::Gone)),
            (u64::MAX, 0, (1, 6), Err(HistoryError::Gone)),
            (7, 0, (0, 0), Err(HistoryError::Gone)),
            (0, 0, (0, 0), Ok(Nothing)),
            (u64::MAX, 0, (1, u64::MAX), Ok(Nothing)),
        ] {
            assert_eq!(dropped(since, found, 2, stream), expected, "{found} after {since} of {stream:?}");
        }
    }
}
