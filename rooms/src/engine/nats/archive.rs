//! The history of rooms, in a stream of JetStream.
//!
//! Messages that are kept are published to subjects of their own, which the stream takes. It publishes them again to
//! where the members listen, with their places in the stream: so they come once, and numbered.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Consumer, DeliverPolicy, pull};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind, PublishAckFuture, PublishErrorKind,
};
use async_nats::jetstream::stream::{Config, Republish};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, Subject};
use bytes::Bytes;
use futures_core::Stream;

use crate::builder::History;
use crate::engine::Kept;
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// What to do without JetStream.
const SWITCH_ON: &str = "start it with JetStream, as `nats-server -js` does, and allow it for this account";
/// The least age that a stream takes, and about the greatest: it counts nanoseconds.
const LEAST_AGE: Duration = Duration::from_millis(100);
const GREATEST_AGE: Duration = Duration::from_secs(200 * 365 * 24 * 3600);
/// How many messages are asked for at a time.
const CHUNK: u64 = 1000;

/// The stream of an application.
pub(super) struct Archive {
    context: Context,
    stream: String,
    prefix: String,
}

/// What the stream answers to a message.
pub(super) struct Ack(PublishAckFuture);

impl Archive {
    /// Creates the stream, or changes it to what is wanted now: nothing but that, the rest is its owner's.
    pub(super) async fn open(client: &Client, prefix: &str, history: History) -> Result<Self, BrokerError> {
        let context = jetstream::new(client.clone());
        let stream = format!("rooms-{prefix}");
        let config = match context.get_stream(&stream).await {
            Ok(found) => {
                let (before, mut after) = (&found.cached_info().config, found.cached_info().config.clone());
                wanted(&mut after, prefix, history);
                if *before == after { after } else { context.update_stream(&after).await.map_err(failed)?.config }
            }
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(error) if error.code() == 404 => {
                    let mut config = Config { name: stream.clone(), ..Config::default() };
                    wanted(&mut config, prefix, history);
                    context.create_stream(&config).await.map_err(failed)?.cached_info().config.clone()
                }
                GetStreamErrorKind::JetStream(error) => {
                    return Err(BrokerError::History(format!("{error}: {SWITCH_ON}")));
                }
                _ => return Err(BrokerError::History(format!("the server has no JetStream: {SWITCH_ON}"))),
            },
        };
        if config.republish.is_none() {
            return Err(BrokerError::History("the server does not republish: 2.9 is the oldest that does".into()));
        }
        Ok(Self { context, stream, prefix: prefix.into() })
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
        Ok(Position::new(0, stream.cached_info().state.last_sequence))
    }

    /// Reads what is kept of a room after a position.
    pub(super) async fn read(&self, room: &str, since: Option<Position>) -> Result<Vec<Kept>, HistoryError> {
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
        let consumer = self.context.create_consumer_on_stream(config, &self.stream).await.map_err(unread)?;
        let kept = read_all(&consumer).await;
        let name = &consumer.cached_info().name;
        let _ = self.context.delete_consumer_from_stream(name, &self.stream).await;
        let kept = kept?;
        match since {
            Some(since) if kept.is_empty() && self.now().await.is_ok_and(|now| now < since) => Err(HistoryError::Gone),
            _ => Ok(kept),
        }
    }
}

/// Reads what there was when the consumer was created.
async fn read_all(consumer: &Consumer<pull::Config>) -> Result<Vec<Kept>, HistoryError> {
    let mut left = consumer.cached_info().num_pending;
    let mut kept = Vec::new();
    while left > 0 {
        let before = kept.len();
        let chunk = usize::try_from(left.min(CHUNK)).unwrap_or(1);
        let mut messages = consumer.fetch().max_messages(chunk).messages().await.map_err(unread)?;
        while let Some(message) = next(&mut messages).await {
            let message = message.map_err(|error| HistoryError::Failed(error.to_string()))?;
            let sequence = message.info().map_err(|error| HistoryError::Failed(error.to_string()))?.stream_sequence;
            kept.push(Kept { position: Position::new(0, sequence), bytes: message.message.payload });
        }
        let read = u64::try_from(kept.len() - before).unwrap_or(left);
        if read == 0 {
            // What was there has become too old meanwhile.
            break;
        }
        left = left.saturating_sub(read);
    }
    Ok(kept)
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
    config.max_messages_per_subject = i64::try_from(history.messages.max(1)).unwrap_or(i64::MAX);
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
