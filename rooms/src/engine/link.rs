//! What handles leave for whoever has the connection to the broker.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::outbox::{Batch, Done, Outbox, Unpublished};
use super::{Excerpt, Publication};
use crate::builder::Settings;
use crate::error::{BrokerError, HistoryError, PublishError};
use crate::pending::{Pending, Promise, pending};
use crate::position::Position;

/// How many histories may wait to be read: with one each, as many members may join while there is no connection, or while
/// the broker is slow.
const MOST_READINGS: usize = 10_000;

/// What handles leave for whoever has the connection to the broker.
pub(crate) struct Link {
    state: Mutex<State>,
    wake: Notify,
    presence: Notify,
}

struct State {
    outbox: Outbox,
    /// Rooms that have got their first member here, or have lost their last, since somebody [follows](Link::follow).
    changed: Option<HashSet<Arc<str>>>,
    readings: Vec<Reading>,
    /// Who waits for a connection.
    waiting: Vec<Promise<Result<(), BrokerError>>>,
    /// Why there is none, since the last try.
    problem: Option<BrokerError>,
    /// Who waits for the end.
    closing: Vec<Promise<usize>>,
    is_closing: bool,
    is_over: bool,
    /// How many messages were handed over and not confirmed, which no gap has told of.
    in_doubt: usize,
    /// How many messages were accepted, and not confirmed by the broker before the end.
    unconfirmed: usize,
}

impl State {
    fn takes_readings(&self) -> bool {
        !self.is_closing && self.readings.len() < MOST_READINGS
    }
}

/// Somebody wants to read what is kept of a room.
pub(crate) struct Reading {
    pub(crate) room: Arc<str>,
    pub(crate) since: Option<Position>,
    pub(crate) read: Reader,
}

/// Who is told what was read: also if nobody comes to read it.
pub(crate) struct Reader(Option<Read>);

type Read = Box<dyn FnOnce(Result<Excerpt, HistoryError>) + Send>;

impl Reader {
    pub(crate) fn new(read: impl FnOnce(Result<Excerpt, HistoryError>) + Send + 'static) -> Self {
        Self(Some(Box::new(read)))
    }

    pub(crate) fn give(mut self, kept: Result<Excerpt, HistoryError>) {
        if let Some(read) = self.0.take() {
            read(kept);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(read) = self.0.take() {
            read(Err(HistoryError::Unavailable));
        }
    }
}

impl Link {
    pub(crate) fn new(settings: &Settings) -> Self {
        let state = State {
            outbox: Outbox::new(settings),
            changed: None,
            readings: Vec::new(),
            waiting: Vec::new(),
            problem: None,
            closing: Vec::new(),
            is_closing: false,
            is_over: false,
            in_doubt: 0,
            unconfirmed: 0,
        };
        Self { state: Mutex::new(state), wake: Notify::new(), presence: Notify::new() }
    }

    /// Queues what `publication` makes, if a message of this length may be queued.
    ///
    /// # Errors
    /// Why it may not; nobody was told so yet.
    pub(crate) fn publish(
        &self,
        length: usize,
        publication: impl FnOnce() -> Publication,
        done: &mut Option<Done>,
    ) -> Result<(), PublishError> {
        let mut state = self.lock();
        state.outbox.check(length)?;
        state.outbox.push(publication(), done.take());
        drop(state);
        self.wake();
        Ok(())
    }

    /// A room has got its first member here, or has lost its last.
    pub(crate) fn changed(&self, room: Arc<str>) {
        let mut state = self.lock();
        let Some(changed) = &mut state.changed else { return };
        changed.insert(room);
        drop(state);
        self.wake();
    }

    /// Has a room's history read: with the next connection, if there is none, unless too many wait for that.
    pub(crate) fn read(&self, reading: Reading) {
        let mut state = self.lock();
        if !state.takes_readings() {
            drop(state);
            return drop(reading);
        }
        state.readings.push(reading);
        drop(state);
        self.wake();
    }

    /// Whether another may wait to be read.
    pub(crate) fn takes_readings(&self) -> bool {
        self.lock().takes_readings()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().outbox.is_open()
    }

    /// Returns why there is no connection, as of the last try.
    pub(crate) fn problem(&self) -> Option<BrokerError> {
        self.lock().problem.clone()
    }

    /// Waits for a connection.
    pub(crate) fn connected(&self) -> Pending<Result<(), BrokerError>> {
        let mut state = self.lock();
        if state.is_closing {
            return Pending::ready(Err(BrokerError::Closed));
        }
        if state.outbox.is_open() {
            return Pending::ready(Ok(()));
        }
        let (promise, connected) = pending(Err(BrokerError::Closed));
        state.waiting.retain(Promise::is_awaited);
        state.waiting.push(promise);
        connected
    }

    /// Takes nothing more, has what waits published if there is a connection, and ends it.
    pub(crate) fn close(&self) -> Pending<usize> {
        let mut state = self.lock();
        state.outbox.close();
        state.is_closing = true;
        if state.is_over {
            return Pending::ready(state.unconfirmed);
        }
        let (promise, closed) = pending(0);
        state.closing.retain(Promise::is_awaited);
        state.closing.push(promise);
        drop(state);
        self.wake();
        closed
    }

    /// Whoever has the connection looks here again.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// There may be something to do for presence, or earlier than before.
    pub(crate) fn presence_changed(&self) {
        self.presence.notify_one();
    }

    pub(super) async fn presence_has_changed(&self) {
        self.presence.notified().await;
    }

    /// Waits until there may be something to do.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until [`close`](Self::close) was called, and nothing waits to be published.
    pub(super) async fn closed(&self) {
        while !self.is_done() {
            self.woken().await;
        }
    }

    /// Waits until [`close`](Self::close) was called.
    pub(super) async fn closing(&self) {
        while !self.is_closing() {
            self.woken().await;
        }
    }

    /// Whether [`close`](Self::close) was called, and nothing waits to be published.
    pub(super) fn is_done(&self) -> bool {
        let state = self.lock();
        state.is_closing && state.outbox.is_empty()
    }

    /// So many messages are on their way from now on.
    pub(super) fn handed_over(&self, count: usize) {
        self.lock().in_doubt += count;
    }

    /// So many of them have arrived.
    pub(super) fn confirmed(&self, count: usize) {
        let mut state = self.lock();
        state.in_doubt = state.in_doubt.saturating_sub(count);
    }

    /// Returns how many were on their way when the connection was lost, to be told in a gap; after [`close`](Self::close)
    /// they are told there as well.
    pub(super) fn take_in_doubt(&self) -> usize {
        let mut state = self.lock();
        if state.is_closing { state.in_doubt } else { std::mem::take(&mut state.in_doubt) }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.lock().is_closing
    }

    /// Remembers from now on which rooms change.
    pub(super) fn follow(&self) {
        self.lock().changed = Some(HashSet::new());
    }

    pub(super) fn take_changed(&self) -> HashSet<Arc<str>> {
        self.lock().changed.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Takes those that have waited for longest, up to so many. The others go on waiting, up to their bound.
    pub(super) fn take_readings(&self, most: usize) -> Vec<Reading> {
        let readings = &mut self.lock().readings;
        readings.drain(..most.min(readings.len())).collect()
    }

    /// They are read with the next connection.
    pub(super) fn give_back(&self, readings: Vec<Reading>) {
        self.lock().readings.splice(0..0, readings);
    }

    pub(super) fn take_batch(&self) -> Batch {
        self.lock().outbox.take()
    }

    /// There is a connection.
    pub(super) fn open(&self, max_payload: usize) {
        let mut state = self.lock();
        state.outbox.open(max_payload);
        state.problem = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|promise| promise.give(Ok(())));
    }

    /// There is no connection.
    pub(super) fn away(&self, problem: &BrokerError) {
        let mut state = self.lock();
        state.outbox.away();
        state.changed = None;
        state.problem = Some(problem.clone());
    }

    /// There will be no connection any more. Returns what was not published.
    pub(super) fn over(&self) -> Vec<Unpublished> {
        let mut state = self.lock();
        state.outbox.close();
        state.is_closing = true;
        let unpublished = state.outbox.take_all();
        state.unconfirmed = unpublished.len() + state.in_doubt;
        state.problem.get_or_insert(BrokerError::Closed);
        // Nobody looks there any more.
        state.changed = None;
        let readings = std::mem::take(&mut state.readings);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let unpublished = unpublished.tell_all(&PublishError::Unavailable);
        drop((readings, waiting));
        unpublished
    }

    /// Everybody else was told that it is over: the program may end now.
    pub(super) fn tell_closed(&self) {
        let mut state = self.lock();
        state.is_over = true;
        let (closing, unconfirmed) = (std::mem::take(&mut state.closing), state.unconfirmed);
        drop(state);
        closing.into_iter().for_each(|promise| promise.give(unconfirmed));
    }

    /// How much waits: rooms that have changed, histories to be read, and those who wait for a connection.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (state.changed.as_ref().map_or(0, HashSet::len), state.readings.len(), state.waiting.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
