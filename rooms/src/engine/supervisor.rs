//! Keeps a connection to the broker: connects, subscribes to what rooms want, publishes what waits, and when the connection
//! is lost does all that again, and says what may have been missed.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::backoff::Backoff;
use super::outbox::Batch;
use super::present::keep_time;
use super::{Broker, Channel, Dropped, Excerpt, Inbox, Kept, Reader, Reading, Session};
use crate::core::Core;
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::hub::{Delivery, Room};
use crate::position::Position;

/// The most channels that are subscribed to in one go.
const MOST_CHANNELS: usize = 1000;

/// How many histories are read at a time.
const MOST_READINGS: usize = 32;

/// Has rooms over a broker kept connected: in the runtime that this is called in, or else on a thread with one of its own.
///
/// # Errors
/// There is no such thread.
pub(crate) fn spawn<B: Broker>(core: Arc<Core>, broker: B) -> Result<(), BrokerError> {
    let supervisor = run(Over(core), broker);
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(supervisor);
        return Ok(());
    }
    let no_thread = |error: std::io::Error| BrokerError::Unreachable(format!("no thread to connect from: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
    let thread = thread::Builder::new().name("bellwire-rooms".into());
    thread.spawn(move || runtime.block_on(supervisor)).map(drop).map_err(no_thread)
}

async fn run<B: Broker>(over: Over, broker: B) {
    tokio::select! {
        () = keep_connected(&over.0, broker) => {}
        () = keep_time(&over.0) => {}
    }
}

async fn keep_connected<B: Broker>(core: &Arc<Core>, broker: B) {
    let mut backoff = Backoff::new(core.settings.min_backoff, core.settings.max_backoff);
    let mut lost = None;
    while !core.link().is_done() {
        // After `close` there is one more try, for what waits.
        let is_last = core.link().is_closing();
        let inbox = Inbox::new(core.clone());
        let why = match connect(core, &broker, &inbox).await {
            Ok(session) => {
                let mut conversation = Conversation::new(core, session);
                let since = Instant::now();
                let why = conversation.run(&mut lost).await;
                // One that ends at once is no better than none.
                if since.elapsed() >= core.settings.heartbeat {
                    backoff.connected();
                }
                inbox.close();
                core.presence_disconnected();
                let behind = conversation.end().await;
                let lost: &mut Lost = lost.get_or_insert_with(Lost::now);
                lost.since = lost.since.min(behind.unwrap_or(lost.since));
                why
            }
            Err(why) => {
                inbox.close();
                lost.get_or_insert_with(Lost::now);
                why
            }
        };
        if is_last || core.link().is_done() {
            break;
        }
        core.link().away(&why);
        core.tell_away(&why);
        tokio::select! {
            () = tokio::time::sleep(backoff.failed()) => {}
            () = core.link().closing() => {}
        }
    }
}

async fn connect<B: Broker>(core: &Arc<Core>, broker: &B, inbox: &Inbox) -> Result<B::Session, BrokerError> {
    tokio::select! {
        session = within(core.settings.answer_timeout, broker.connect(inbox.clone())) => session,
        () = core.link().closed() => Err(BrokerError::Closed),
    }
}

async fn within<T>(deadline: Duration, answer: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
    let mut answer = pin!(answer);
    // In halves, so that a process that was stopped does not take its own absence for the broker's silence: that ends the
    // first half only, and what has arrived meanwhile is seen in the second.
    for _ in 0..2 {
        if let Ok(answer) = timeout(deadline / 2, answer.as_mut()).await {
            return answer;
        }
    }
    Err(BrokerError::TimedOut(deadline))
}

/// However it ends, also with its runtime, before it has begun: nobody waits for it for ever.
struct Over(Arc<Core>);

impl Drop for Over {
    fn drop(&mut self) {
        if self.0.link().is_closing() {
            self.0.watch.closed();
        } else {
            self.0.watch.begin();
        }
        let unpublished = self.0.link().over();
        self.0.tell_unpublished(unpublished);
        self.0.presence_over();
        self.0.link().tell_closed();
    }
}

/// A connection was lost, or there was none yet.
struct Lost {
    since: Instant,
    /// Rooms with a history that has begun anew, which nobody was told yet.
    begun_anew: HashSet<Arc<str>>,
}

impl Lost {
    fn now() -> Self {
        Self { since: Instant::now(), begun_anew: HashSet::new() }
    }
}

/// One connection, from its beginning to its end.
struct Conversation<'a, S> {
    core: &'a Arc<Core>,
    session: S,
    subscribed: HashSet<Arc<str>>,
    /// What is to be read, and what is read beside the rest.
    to_read: VecDeque<Reading>,
    readings: JoinSet<()>,
    /// Since when rooms lack something that could not be read before the connection was lost, too.
    behind: Arc<OnceLock<Instant>>,
    published: Instant,
}

impl<'a, S: Session> Conversation<'a, S> {
    fn new(core: &'a Arc<Core>, session: S) -> Self {
        Self {
            core,
            session,
            subscribed: HashSet::new(),
            to_read: VecDeque::new(),
            readings: JoinSet::new(),
            behind: Arc::default(),
            published: Instant::now(),
        }
    }

    /// Returns why it has ended.
    async fn run(&mut self, lost: &mut Option<Lost>) -> BrokerError {
        match self.converse(lost).await {
            Ok(()) => BrokerError::Closed,
            Err(why) => why,
        }
    }

    async fn converse(&mut self, lost: &mut Option<Lost>) -> Result<(), BrokerError> {
        self.begin(lost).await?;
        loop {
            // No more than can be read soon: what waits in the link is bounded.
            let readings = self.core.link().take_readings(MOST_READINGS.saturating_sub(self.to_read.len()));
            if let Err(why) = self.reconcile().await {
                self.core.link().give_back(readings);
                return Err(why);
            }
            self.to_read.extend(readings);
            self.read();
            let mut batch = self.core.link().take_batch();
            let is_last = batch.is_empty() && self.core.link().is_closing();
            batch.extend(self.core.take_presence(is_last));
            if !batch.is_empty() {
                self.publish(batch).await?;
            } else if is_last {
                return Ok(());
            } else {
                self.wait().await?;
            }
        }
    }

    /// Waits until nothing of it can come any more, and returns since when rooms lack something that the next connection
    /// can get.
    async fn end(mut self) -> Option<Instant> {
        self.to_read.clear();
        self.readings.shutdown().await;
        self.behind.get().copied()
    }

    /// Subscribes to everything, and says what may have been missed before.
    async fn begin(&mut self, lost: &mut Option<Lost>) -> Result<(), BrokerError> {
        self.core.link().follow();
        let rooms = self.core.hub.rooms();
        let bridges = lost.is_some() && self.core.settings.history.is_some();
        let last: Vec<_> = rooms.iter().map(|room| if bridges { room.bridge() } else { None }).collect();
        within(self.core.settings.answer_timeout, self.session.subscribe(&[Channel::Nodes])).await?;
        let begun_anew = lost.as_mut().map(|lost| &mut lost.begun_anew);
        self.subscribe(&rooms, begun_anew.unwrap_or(&mut HashSet::new())).await?;
        self.core.presence_connected(self.session.max_payload());
        self.core.link().open(self.session.max_payload());
        self.core.tell_connected();
        let Some(lost) = lost.take() else { return Ok(()) };
        let mut missed = Vec::new();
        for (room, last) in rooms.into_iter().zip(last) {
            match last {
                Some(last) if !lost.begun_anew.contains(room.token()) => {
                    self.bridge(room, last, lost.since);
                }
                _ => {
                    missed.push(room.token().clone());
                    room.bridged(Vec::new());
                }
            }
        }
        let in_doubt = self.core.link().take_in_doubt();
        if !missed.is_empty() || in_doubt > 0 {
            self.core.tell_gap(&missed, lost.since.elapsed(), in_doubt);
        }
        Ok(())
    }

    /// Subscribes to rooms that have got members, and unsubscribes from those that have lost them.
    async fn reconcile(&mut self) -> Result<(), BrokerError> {
        let mut joined = Vec::new();
        let mut left = Vec::new();
        for token in self.core.link().take_changed() {
            match self.core.hub.room(&token) {
                Some(room) if !self.subscribed.contains(&token) || self.is_without_place(&room) => joined.push(room),
                None if self.subscribed.remove(&token) => left.push(Channel::Room(token)),
                _ => {}
            }
        }
        self.subscribe(&joined, &mut HashSet::new()).await?;
        for channels in left.chunks(MOST_CHANNELS) {
            within(self.core.settings.answer_timeout, self.session.unsubscribe(channels)).await?;
        }
        Ok(())
    }

    /// Whether it is not noted where the history of a room is at: it has lost its members, and has got others since.
    fn is_without_place(&self, room: &Room) -> bool {
        self.core.settings.history.is_some() && !room.has_place()
    }

    /// Subscribes to rooms, and adds those with a history that has begun anew.
    async fn subscribe(&mut self, rooms: &[Arc<Room>], begun_anew: &mut HashSet<Arc<str>>) -> Result<(), BrokerError> {
        for rooms in rooms.chunks(MOST_CHANNELS) {
            if self.core.settings.history.is_some() {
                let now = within(self.core.settings.answer_timeout, self.session.now()).await?;
                begun_anew.extend(rooms.iter().filter(|room| room.starts_at(now)).map(|room| room.token().clone()));
            }
            let channels: Vec<_> = rooms.iter().map(|room| Channel::Room(room.token().clone())).collect();
            within(self.core.settings.answer_timeout, self.session.subscribe(&channels)).await?;
            self.subscribed.extend(rooms.iter().map(|room| room.token().clone()));
        }
        Ok(())
    }

    /// Publishes what waits, and tells what became of it.
    async fn publish(&mut self, batch: Batch) -> Result<(), BrokerError> {
        self.core.link().handed_over(batch.len());
        let outcome = within(self.core.settings.answer_timeout, self.session.publish(&batch.publications)).await;
        self.published = Instant::now();
        match outcome {
            Ok(outcomes) => {
                self.core.link().confirmed(batch.len());
                self.core.tell_unpublished(batch.tell(outcomes));
                Ok(())
            }
            Err(why) => {
                // Those that nobody wants to know of are in the gap.
                batch.tell_all(&PublishError::Lost);
                Err(why)
            }
        }
    }

    /// Waits until there is something to do, and makes sure from time to time that the broker is there.
    async fn wait(&mut self) -> Result<(), BrokerError> {
        let idle = self.core.settings.heartbeat.saturating_sub(self.published.elapsed());
        if idle.is_zero() {
            return self.publish(Batch::default()).await;
        }
        tokio::select! {
            why = self.session.ended() => Err(why),
            () = self.core.link().woken() => Ok(()),
            () = tokio::time::sleep(idle) => Ok(()),
            Some(_) = self.readings.join_next() => Ok(()),
        }
    }

    /// Has a room get what it has missed, before what is new.
    fn bridge(&mut self, room: Arc<Room>, last: Position, since: Instant) {
        let (core, token) = (self.core.clone(), room.token().clone());
        let age = core.settings.history.map_or(Duration::ZERO, |history| history.age);
        // What came first may be too old by now. That the connection was lost may have been seen late.
        let late = core.settings.heartbeat.saturating_add(core.settings.answer_timeout);
        let away = since.elapsed();
        let is_too_late = away.saturating_add(late) >= age;
        let behind = self.behind.clone();
        let read = move |read: Result<Excerpt, HistoryError>| {
            if matches!(read, Err(HistoryError::Unavailable)) {
                // The next connection tries again. Until then the room holds what comes.
                let _ = behind.set(since);
                return;
            }
            // What is too old for the broker came before the connection was lost, unless that is too long ago.
            let missed = is_too_late || read.as_ref().map_or(true, |read| read.dropped == Dropped::TooMany);
            room.bridged(core.deliveries(read.map_or_else(|_| Vec::new(), |read| read.kept)));
            if missed {
                core.tell_gap(&[room.token().clone()], away, 0);
            }
        };
        self.to_read.push_back(Reading { room: token, since: Some(last), read: Reader::new(read) });
    }

    /// Has histories read, and handed over, beside the rest, which does not wait for that.
    fn read(&mut self) {
        while self.readings.try_join_next().is_some() {}
        let deadline = self.core.settings.answer_timeout;
        while self.readings.len() < MOST_READINGS {
            let Some(Reading { room, since, read }) = self.to_read.pop_front() else { return };
            let kept = self.session.history(room, since);
            self.readings.spawn(async move {
                let late = Err(HistoryError::Failed(format!("the broker did not answer within {deadline:?}")));
                read.give(timeout(deadline, kept).await.unwrap_or(late));
            });
        }
    }
}

impl Core {
    /// Makes what members get of what was kept.
    pub(crate) fn deliveries(&self, kept: Vec<Kept>) -> Vec<Delivery> {
        kept.iter().filter_map(|kept| self.delivery_of(kept.position, &kept.bytes)).collect()
    }
}

#[cfg(test)]
mod tests;
