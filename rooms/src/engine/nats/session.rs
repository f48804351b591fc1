//! One connection to a NATS server.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use async_nats::{Client, Subject};
use bytes::{Bytes, BytesMut};
use tokio::task::{JoinError, JoinHandle};
use tokio::time;

use super::archive::{Ack, Archive};
use super::dial::Dial;
use super::health::{Denial, Health, MOST_EVENTS, Pulse};
use super::order::Ordered;
use super::reactor::{Reactor, Spawner};
use super::reader::Reader;
use crate::builder::History;
use crate::engine::{Channel, Excerpt, Inbox, Publication, Session};
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// One connection to a NATS server. What is published and subscribed is confirmed by a marker that is sent after it and
/// comes back: a server does what a connection wants in order.
pub(crate) struct NatsSession {
    prefix: Arc<str>,
    line: Line,
    inbox: Inbox,
    readers: Arc<Readers>,
    subjects: Subjects,
    /// The last marker that was sent.
    marker: u64,
    reactor: Reactor,
}

/// What a session is made of.
struct Line {
    client: Client,
    health: Arc<Health>,
    archive: Option<Arc<Archive>>,
    /// Where markers are sent to, and what takes them when they come back.
    echo: Subject,
    _echoes: Reader,
    max_payload: usize,
}

/// What has become of a publication.
enum Sent {
    Not(PublishError),
    To(Subject),
    /// The history answers for it by itself.
    Kept(Subject, Ack),
}

impl NatsSession {
    pub(super) async fn open(
        dial: Arc<Dial>,
        prefix: Arc<str>,
        history: Option<History>,
        inbox: Inbox,
    ) -> Result<Self, BrokerError> {
        let reactor = Reactor::start(dial.grace())
            .map_err(|error| BrokerError::Unreachable(format!("no thread for the connection: {error}")))?;
        let (of, on, patience) = (prefix.clone(), reactor.spawner().clone(), dial.patience());
        let opening = reactor.spawner().spawn(async move { Line::open(&dial, &of, history, on).await });
        let line = opening.await.map_err(gave_up)??;
        let readers = Arc::new(Readers::default());
        reactor.spawner().spawn(tell_of_missed(line.health.clone(), readers.clone(), inbox.clone()));
        let subjects = Subjects { prefix: prefix.clone(), buffer: BytesMut::new() };
        let mut session = Self { prefix, line, inbox, readers, subjects, marker: 0, reactor };
        let spawner = session.reactor.spawner().clone();
        spawner.within(time::timeout(patience, session.confirm())).await.map_err(|_| no_echo())??;
        Ok(session)
    }

    /// Begins something new. A client that is not ours would take it after its connection has ended, too.
    fn begin(&self) -> Result<(), BrokerError> {
        self.line.health.take_denials();
        self.line.health.check()
    }

    /// Waits until the server has done all that was sent so far.
    async fn confirm(&mut self) -> Result<(), BrokerError> {
        self.marker += 1;
        let payload = Bytes::copy_from_slice(&self.marker.to_be_bytes());
        self.line.client.publish(self.line.echo.clone(), payload).await.map_err(closed)?;
        self.line.health.echoed(self.marker).await?;
        self.line.health.check()
    }

    async fn send(&mut self, publication: &Publication) -> Result<Sent, BrokerError> {
        let (length, limit) = (publication.bytes.len(), self.line.max_payload);
        if length > limit {
            return Ok(Sent::Not(PublishError::TooLong { length, limit }));
        }
        let payload = publication.bytes.clone();
        if let (true, Channel::Room(token), Some(archive)) =
            (publication.keep, &publication.channel, &self.line.archive)
        {
            let subject = self.subjects.kept(token);
            let ack = self.reactor.spawner().within(archive.keep(subject.clone(), payload)).await?;
            return Ok(Sent::Kept(subject, ack));
        }
        let subject = self.subjects.of(&publication.channel);
        self.line.client.publish(subject.clone(), payload).await.map_err(closed)?;
        Ok(Sent::To(subject))
    }

    async fn result(&self, sent: Sent, denials: &[Denial]) -> Result<Result<(), PublishError>, BrokerError> {
        match sent {
            Sent::Not(error) => Ok(Err(error)),
            Sent::To(subject) => Ok(allowed(&subject, denials, &self.prefix)),
            Sent::Kept(subject, ack) => match allowed(&subject, denials, &self.prefix) {
                Err(error @ PublishError::Refused(_)) => Ok(Err(error)),
                _ => tokio::select! {
                    given = self.reactor.spawner().within(ack.given()) => given,
                    error = self.line.health.ended() => Err(error),
                },
            },
        }
    }
}

impl Session for NatsSession {
    fn max_payload(&self) -> usize {
        self.line.max_payload
    }

    async fn subscribe(&mut self, channels: &[Channel]) -> Result<(), BrokerError> {
        self.begin()?;
        let mut begun = Vec::new();
        for channel in channels {
            let subject = self.subjects.of(channel);
            if self.readers.lock().contains_key(subject.as_str()) {
                continue;
            }
            let subscriber = self.line.client.subscribe(subject.clone()).await.map_err(closed)?;
            let (inbox, on) = (self.inbox.clone(), self.reactor.spawner());
            let reader = if let Some(archive) = &self.line.archive {
                let ordered = Ordered::new(inbox, on.clone(), archive.era());
                begun.push(ordered.clone());
                Reader::start(on, subscriber, move |message, batch| ordered.take(message, batch))
            } else {
                Reader::start(on, subscriber, move |message, batch| {
                    inbox.receive(&message.subject, None, &message.payload, batch);
                })
            };
            self.readers.lock().insert(subject.to_string(), reader);
        }
        self.confirm().await?;
        if let Some(denial) = self.line.health.take_denials().first() {
            return Err(BrokerError::Denied(advice(denial, &self.prefix)));
        }
        if !begun.is_empty() {
            let now = self.now().await?;
            begun.iter().for_each(|ordered| ordered.starts(now));
        }
        Ok(())
    }

    async fn unsubscribe(&mut self, channels: &[Channel]) -> Result<(), BrokerError> {
        self.begin()?;
        let names = channels.iter().map(|channel| channel.name(&self.prefix));
        let stopped = names.filter_map(|name| self.readers.lock().remove(&name)).map(Reader::stop);
        for reading in stopped.collect::<Vec<_>>() {
            let _ = reading.await;
        }
        self.confirm().await
    }

    async fn publish(&mut self, batch: &[Publication]) -> Result<Vec<Result<(), PublishError>>, BrokerError> {
        self.begin()?;
        let mut sent = Vec::with_capacity(batch.len());
        for publication in batch {
            sent.push(self.send(publication).await?);
        }
        self.confirm().await?;
        let denials = self.line.health.take_denials();
        let mut results = Vec::with_capacity(sent.len());
        for sent in sent {
            results.push(self.result(sent, &denials).await?);
        }
        Ok(results)
    }

    async fn now(&mut self) -> Result<Position, BrokerError> {
        let Some(archive) = &self.line.archive else { return Ok(Position::default()) };
        tokio::select! {
            now = self.reactor.spawner().within(archive.now()) => now,
            error = self.line.health.ended() => Err(error),
        }
    }

    fn history(
        &self,
        room: Arc<str>,
        since: Option<Position>,
    ) -> impl Future<Output = Result<Excerpt, HistoryError>> + Send + 'static {
        let (archive, health, on) =
            (self.line.archive.clone(), self.line.health.clone(), self.reactor.spawner().handle());
        async move {
            let Some(archive) = archive else { return Err(HistoryError::NotKept) };
            let reading = on.spawn(async move {
                tokio::select! {
                    kept = archive.read(&room, since) => kept,
                    _ = health.ended() => Err(HistoryError::Unavailable),
                }
            });
            match AbortOnDrop(reading).await {
                Ok(kept) => kept,
                // The room must not wait for the next connection: this one may last.
                Err(error) if error.is_panic() => Err(HistoryError::Failed("the client has panicked".into())),
                Err(_) => Err(HistoryError::Unavailable),
            }
        }
    }

    async fn ended(&mut self) -> BrokerError {
        self.line.health.ended().await
    }
}

impl Line {
    async fn open(dial: &Dial, prefix: &str, history: Option<History>, on: Spawner) -> Result<Self, BrokerError> {
        let vital = format!("{prefix}.echo.");
        let (client, health) = dial.connect(&vital).await?;
        // The last part of this differs from that of everybody else.
        let inbox = client.new_inbox();
        let echo = Subject::from(vital + inbox.rsplit('.').next().unwrap_or(&inbox));
        let subscriber = client.subscribe(echo.clone()).await.map_err(closed)?;
        let pulse = Pulse::of(&health);
        let echoes = Reader::start(&on, subscriber, move |message, _| {
            if let Ok(marker) = (&*message.payload).try_into() {
                pulse.echo(u64::from_be_bytes(marker));
            }
        });
        let archive = match history {
            None => None,
            Some(history) => tokio::select! {
                archive = Archive::open(&client, prefix, history) => Some(Arc::new(archive?)),
                denial = health.denied() => return Err(BrokerError::Denied(denial.text)),
                error = health.ended() => return Err(error),
            },
        };
        let max_payload = client.server_info().max_payload;
        Ok(Self { client, health, archive, echo, _echoes: echoes, max_payload })
    }
}

/// The subscriptions of channels, by their names.
#[derive(Default)]
struct Readers(Mutex<HashMap<String, Reader>>);

impl Readers {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Reader>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes subjects, many to an allocation.
struct Subjects {
    prefix: Arc<str>,
    buffer: BytesMut,
}

impl Subjects {
    fn of(&mut self, channel: &Channel) -> Subject {
        match channel {
            Channel::Room(token) => self.write(".room.", token),
            Channel::Nodes => self.write(".nodes", ""),
        }
    }

    /// Where messages of a room go that its history takes, and publishes again.
    fn kept(&mut self, token: &str) -> Subject {
        self.write(".keep.", token)
    }

    fn write(&mut self, kind: &str, token: &str) -> Subject {
        let length = self.prefix.len() + kind.len() + token.len();
        if self.buffer.capacity() < length {
            self.buffer = BytesMut::with_capacity(length.max(4096));
        }
        for part in [&*self.prefix, kind, token] {
            self.buffer.extend_from_slice(part.as_bytes());
        }
        let written = self.buffer.split().freeze();
        Subject::from_utf8(written).unwrap_or_else(|_| Subject::from(format!("{}{kind}{token}", self.prefix)))
    }
}

/// The client does not say whose messages it has dropped: it may be those of any channel.
async fn tell_of_missed(health: Arc<Health>, readers: Arc<Readers>, inbox: Inbox) {
    while health.missed().await.is_ok() {
        let names: Vec<_> = readers.lock().keys().cloned().collect();
        names.iter().for_each(|name| inbox.missed(name));
    }
}

fn allowed(subject: &Subject, denials: &[Denial], prefix: &str) -> Result<(), PublishError> {
    match denials.iter().find(|denial| denial.subject == subject.as_str()) {
        Some(denial) => Err(PublishError::Refused(advice(denial, prefix))),
        // There were more than the client can tell of.
        None if denials.len() >= MOST_EVENTS => Err(PublishError::Lost),
        None => Ok(()),
    }
}

fn advice(denial: &Denial, prefix: &str) -> String {
    format!("{}: allow the user to publish and to subscribe to \"{prefix}.>\"", denial.text)
}

fn no_echo() -> BrokerError {
    BrokerError::Protocol("what is sent does not come back: the client has to be made without `no_echo`".into())
}

fn closed(_: impl std::error::Error) -> BrokerError {
    BrokerError::Lost("the client was closed".into())
}

/// A task of the client's has ended before its time.
fn gave_up(error: JoinError) -> BrokerError {
    if error.is_panic() {
        BrokerError::Protocol(
            "what it says is nothing that a NATS server says; if it is one, and wants TLS, write tls://HOST".into(),
        )
    } else {
        BrokerError::Closed
    }
}

/// Ends a task when nobody waits for it any more.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
