//! A broker in memory, which tests can take away.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{Arrivals, Broker, Channel, Dropped, Excerpt, Inbox, Kept, Publication, Session};
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::position::Position;

/// A broker in memory, and what it has seen.
#[derive(Clone, Default)]
pub(crate) struct Memory(Arc<State>);

#[derive(Default)]
struct State {
    inner: Mutex<Seen>,
    /// The number of the newest connection.
    newest: AtomicUsize,
    changed: Notify,
}

#[derive(Default)]
pub(crate) struct Seen {
    /// It takes no connections.
    pub(crate) is_away: bool,
    /// It takes what is published, and says nothing.
    pub(crate) is_silent: bool,
    /// It does not confirm that rooms are subscribed to.
    pub(crate) is_deaf: bool,
    /// It does not say what it has kept.
    pub(crate) is_forgetful: bool,
    /// It ends a connection that subscribes to a room.
    pub(crate) refuses_rooms: bool,
    /// What is published comes later.
    pub(crate) is_slow: bool,
    late: VecDeque<Late>,
    /// It ends each connection as soon as it has subscribed.
    pub(crate) ends_at_once: bool,
    /// The connections that it has.
    sessions: Vec<(usize, Inbox, HashSet<String>)>,
    /// Which history it keeps.
    era: u64,
    kept: Vec<(String, Kept)>,
    /// How many of a room it keeps; all, if this is not said.
    pub(crate) keeps: Option<usize>,
    /// The newest of what gave way to others on a channel.
    dropped: HashMap<String, Position>,
    /// The newest of what was too old, whatever room it was of.
    aged: Option<Position>,
    /// How many messages were published in rooms: all but what nodes tell each other.
    pub(crate) published: usize,
}

/// What is on its way to a connection.
struct Late {
    inbox: Inbox,
    channel: String,
    position: Option<Position>,
    bytes: bytes::Bytes,
}

impl Memory {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loses all connections, and takes no more until it is back.
    pub(crate) fn stop(&self) {
        let mut seen = self.lock();
        seen.is_away = true;
        let _inboxes = std::mem::take(&mut seen.sessions);
        drop(seen);
        self.0.changed.notify_waiters();
    }

    /// Whether there is any connection.
    pub(crate) fn is_used(&self) -> bool {
        !self.lock().sessions.is_empty()
    }

    /// Loses the oldest connection.
    pub(crate) fn lose_oldest(&self) {
        let mut seen = self.lock();
        let _oldest = seen.sessions.remove(0);
        drop(seen);
        self.0.changed.notify_waiters();
    }

    /// Has the newest connection count as the oldest.
    pub(crate) fn renumber(&self) {
        self.lock().sessions.rotate_right(1);
    }

    /// Loses what it has kept, and counts from the beginning.
    pub(crate) fn forget(&self) {
        let mut seen = self.lock();
        seen.kept.clear();
        seen.dropped.clear();
        seen.aged = None;
        seen.published = 0;
    }

    /// What it has kept so far becomes too old.
    pub(crate) fn age(&self) {
        let mut seen = self.lock();
        seen.aged = seen.kept.drain(..).map(|(_, kept)| kept.position).max().max(seen.aged);
    }

    /// Keeps what comes in another history, with greater positions.
    pub(crate) fn replace(&self) {
        self.forget();
        self.lock().era += 1;
    }

    pub(crate) fn start(&self) {
        self.lock().is_away = false;
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.0.newest.load(Ordering::Relaxed)
    }

    pub(crate) fn kept(&self) -> Vec<Kept> {
        self.lock().kept.iter().map(|(_, kept)| kept.clone()).collect()
    }

    pub(crate) fn subscribed(&self) -> usize {
        self.lock().sessions.iter().map(|(.., channels)| channels.len()).sum()
    }

    /// Has every subscriber of a channel get this.
    pub(crate) fn send(&self, channel: &str, bytes: &'static [u8]) {
        self.lock().deliver(channel, None, &bytes::Bytes::from_static(bytes));
    }
}

impl Seen {
    /// Keeps what is sent to nobody yet.
    pub(crate) fn keep(&mut self, channel: &str, bytes: bytes::Bytes) -> Position {
        self.published += 1;
        let position = Position::new(self.era, self.published as u64);
        self.kept.push((channel.into(), Kept { position, bytes }));
        let count = self.kept.iter().filter(|(name, _)| name == channel).count();
        // As the others do: one more than was wanted.
        if self.keeps.is_some_and(|most| count > most + 1) {
            let first = self.kept.iter().position(|(name, _)| name == channel).unwrap();
            let (_, first) = self.kept.remove(first);
            self.dropped.insert(channel.into(), first.position);
        }
        position
    }

    fn dropped(&self, channel: &str, since: Option<Position>) -> Dropped {
        if since.is_some() && since < self.dropped.get(channel).copied() {
            Dropped::TooMany
        } else if since.is_some() && since < self.aged {
            Dropped::TooOld
        } else {
            Dropped::Nothing
        }
    }

    fn deliver(&mut self, channel: &str, position: Option<Position>, bytes: &bytes::Bytes) {
        let is_slow = self.is_slow || !self.late.is_empty();
        for (_, inbox, channels) in &self.sessions {
            if !channels.contains(channel) {
                continue;
            }
            if is_slow {
                let (inbox, channel, bytes) = (inbox.clone(), channel.into(), bytes.clone());
                self.late.push_back(Late { inbox, channel, position, bytes });
            } else {
                inbox.receive(channel, position, bytes, &mut Arrivals::default());
            }
        }
    }

    /// Has some of what is late come.
    pub(crate) fn come(&mut self, count: usize) {
        for _ in 0..count {
            let Some(Late { inbox, channel, position, bytes }) = self.late.pop_front() else { return };
            inbox.receive(&channel, position, &bytes, &mut Arrivals::default());
        }
    }
}

impl Broker for Memory {
    type Session = Connection;

    async fn connect(&self, inbox: Inbox) -> Result<Connection, BrokerError> {
        let mut seen = self.lock();
        if seen.is_away {
            return Err(BrokerError::Unreachable("nobody is there".into()));
        }
        let id = self.0.newest.fetch_add(1, Ordering::Relaxed);
        seen.sessions.push((id, inbox, HashSet::new()));
        Ok(Connection { broker: self.clone(), id })
    }
}

pub(crate) struct Connection {
    broker: Memory,
    id: usize,
}

impl Connection {
    fn change<T>(&self, change: impl FnOnce(&mut HashSet<String>) -> T) -> Result<T, BrokerError> {
        let mut seen = self.broker.lock();
        let session = seen.sessions.iter_mut().find(|(id, ..)| *id == self.id);
        session.map(|(.., channels)| change(channels)).ok_or(BrokerError::Lost("it has ended".into()))
    }

    async fn answered(&self) {
        if self.broker.lock().is_silent {
            std::future::pending().await
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.broker.lock().sessions.retain(|(id, ..)| *id != self.id);
    }
}

impl Session for Connection {
    fn max_payload(&self) -> usize {
        1024
    }

    async fn subscribe(&mut self, added: &[Channel]) -> Result<(), BrokerError> {
        if self.broker.lock().is_deaf && added.iter().any(|channel| *channel != Channel::Nodes) {
            std::future::pending().await
        }
        if self.broker.lock().refuses_rooms && added.iter().any(|channel| *channel != Channel::Nodes) {
            return Err(BrokerError::Lost("it does not like rooms".into()));
        }
        self.change(|channels| channels.extend(added.iter().map(|channel| channel.name("bellwire"))))
    }

    async fn unsubscribe(&mut self, removed: &[Channel]) -> Result<(), BrokerError> {
        self.change(|channels| removed.iter().for_each(|channel| _ = channels.remove(&channel.name("bellwire"))))
    }

    async fn publish(&mut self, batch: &[Publication]) -> Result<Vec<Result<(), PublishError>>, BrokerError> {
        self.answered().await;
        self.change(|_| ())?;
        let mut seen = self.broker.lock();
        let mut outcomes = Vec::new();
        for publication in batch {
            let (length, limit) = (publication.bytes.len(), self.max_payload());
            if length > limit {
                outcomes.push(Err(PublishError::TooLong { length, limit }));
                continue;
            }
            outcomes.push(Ok(()));
            let channel = publication.channel.name("bellwire");
            let position = publication.keep.then(|| seen.keep(&channel, publication.bytes.clone()));
            seen.deliver(&channel, position, &publication.bytes);
        }
        Ok(outcomes)
    }

    async fn now(&mut self) -> Result<Position, BrokerError> {
        let seen = self.broker.lock();
        Ok(Position::new(seen.era, seen.published as u64))
    }

    fn history(
        &self,
        room: Arc<str>,
        since: Option<Position>,
    ) -> impl Future<Output = Result<Excerpt, HistoryError>> + Send + 'static {
        let channel = Channel::Room(room).name("bellwire");
        let seen = self.broker.lock();
        let kept = seen.kept.iter().filter(|(name, kept)| *name == channel && Some(kept.position) > since);
        let kept = kept.map(|(_, kept)| kept.clone()).collect();
        let is_gone = since.is_some_and(|since| since.parts().0 != seen.era);
        let excerpt = Excerpt { kept, dropped: seen.dropped(&channel, since) };
        let read = if is_gone { Err(HistoryError::Gone) } else { Ok(excerpt) };
        let is_forgetful = seen.is_forgetful;
        async move { if is_forgetful { std::future::pending().await } else { read } }
    }

    async fn ended(&mut self) -> BrokerError {
        if self.broker.lock().ends_at_once {
            return BrokerError::Lost("it has ended".into());
        }
        loop {
            let changed = self.broker.0.changed.notified();
            if let Err(why) = self.change(|_| ()) {
                return why;
            }
            changed.await;
        }
    }
}
