//! One room: its members, and the order of what they get.
//!
//! Several threads may deliver at the same time, and every member sees one order nevertheless: what is delivered is queued,
//! and whoever finds nobody at it sends what is in the queue, its own and what others add meanwhile. So nothing is sent
//! under a lock, and a socket whose own code delivers to the same room does not wait for itself.
//!
//! Messages that wait together are sent together, member by member: a connection is looked for once for all of them, and
//! writes them in one go.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwire_core::{Outgoing, Prepared, SendError, SocketId, WebSocket};

use super::catching_up::CatchingUp;
use super::members::Members;
use crate::core::contain;
use crate::position::Position;

/// How many messages, and how many bytes of them, may wait while another thread sends those before them.
const MOST_QUEUED: usize = 4096;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// How many messages, and how many bytes of them, are sent to one member before the next has its turn: little beside
/// what a connection queues, and nobody waits for long.
const MOST_TOGETHER: usize = 64;
const MOST_BYTES_TOGETHER: usize = 64 * 1024;

/// A room that has members on this node.
pub(crate) struct Room {
    token: Arc<str>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    members: Members,
    catching_up: CatchingUp,
    queue: VecDeque<Turn>,
    /// The bytes of the messages in the queue, and of those that bridging holds.
    bytes: usize,
    is_delivering: bool,
    /// There was no room for a message since the queue was last empty.
    has_overflowed: bool,
    /// Where the newest message is in the history.
    last: Option<Position>,
    /// Where the history was when this node began to listen. What was there before may come nevertheless, late.
    #[cfg(feature = "__broker")]
    start: Option<Position>,
    /// What was read from the history: it may come once more as new.
    floor: Option<Position>,
    /// What is new while what was missed before it is read from the history.
    bridging: Option<Vec<Delivery>>,
}

/// What members get.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) message: Prepared,
    pub(crate) position: Option<Position>,
    pub(crate) length: usize,
}

enum Turn {
    Everybody(Delivery),
    /// One of so many bytes that is made when its turn has come, since that runs code of the program's.
    Made(usize, Box<dyn FnOnce() -> Delivery + Send>),
    CaughtUp(CaughtUp),
}

/// What is kept, for one that catches up.
struct CaughtUp {
    socket: SocketId,
    number: u64,
    /// What it has got elsewhere. That may come here after it.
    since: Option<Position>,
    kept: Vec<Delivery>,
    /// Whom to tell if it misses some of that, or of what was held meanwhile.
    missed: Box<dyn FnOnce() + Send>,
}

/// The message was not delivered to anybody: too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// It is the first since the last of those who wait had none before it.
    pub(crate) is_first: bool,
}

impl Room {
    pub(super) fn new(token: Arc<str>) -> Self {
        Self { token, state: Mutex::default() }
    }

    pub(crate) fn token(&self) -> &Arc<str> {
        &self.token
    }

    /// Returns the members, in no order.
    pub(crate) fn members(&self) -> Vec<WebSocket> {
        let state = self.lock();
        let members = state.members.snapshot();
        members.iter().chain(state.catching_up.sockets()).cloned().collect()
    }

    /// Adds a socket that is not in it.
    pub(super) fn add(&self, socket: &WebSocket, catches_up: bool) -> Option<u64> {
        let mut state = self.lock();
        if catches_up {
            Some(state.catching_up.add(socket.clone()))
        } else {
            state.members.add(socket.clone());
            None
        }
    }

    /// Removes a socket, and says whether it was the last.
    pub(super) fn remove(&self, socket: SocketId) -> bool {
        let mut state = self.lock();
        state.members.remove(socket);
        state.catching_up.remove(socket);
        state.members.is_empty() && state.catching_up.is_empty()
    }

    /// Sends a message to all members, after those that were delivered before; or has another thread do so that is at it.
    ///
    /// # Errors
    /// [`Full`] if that thread has too much to send.
    pub(crate) fn deliver(&self, delivery: Delivery) -> Result<(), Full> {
        let mut state = self.admit()?;
        state.add(delivery);
        self.run_from(state);
        Ok(())
    }

    /// Gives a message its place behind those that were delivered before, to be sent by [`run`](Self::run) with what
    /// comes until then. Returns whether that is enough.
    ///
    /// # Errors
    /// [`Full`] as [`deliver`](Self::deliver).
    #[cfg(feature = "__broker")]
    pub(crate) fn gather(&self, delivery: Delivery) -> Result<bool, Full> {
        let mut state = self.admit()?;
        state.add(delivery);
        Ok(state.queue.len() >= MOST_TOGETHER || state.bytes >= MOST_BYTES_TOGETHER)
    }

    /// Returns `true` if there is no room for another message.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// Gives a message of so many bytes its place among the others. It is made when its turn has come, and sent by [`run`](Self::run).
    pub(crate) fn enqueue(&self, length: usize, make: impl FnOnce() -> Delivery + Send + 'static) {
        let mut state = self.lock();
        state.bytes += length;
        state.queue.push_back(Turn::Made(length, Box::new(make)));
    }

    /// Sends what is queued, unless another thread is at it.
    pub(crate) fn run(&self) {
        self.run_from(self.lock());
    }

    /// Gives a socket that catches up what is kept after a position, then what was held for it, and makes it a member like
    /// the others. `missed` is called if some of that is missing, or is more than it reads.
    pub(crate) fn catch_up(
        &self,
        (socket, number): (SocketId, u64),
        since: Option<Position>,
        kept: Vec<Delivery>,
        missed: impl FnOnce() + Send + 'static,
    ) {
        let mut state = self.lock();
        let missed = Box::new(missed);
        state.queue.push_back(Turn::CaughtUp(CaughtUp { socket, number, since, kept, missed }));
        self.run_from(state);
    }

    /// Notes where the history is at: what comes is after this. Returns whether it was further on before, and has begun
    /// anew therefore.
    #[cfg(feature = "__broker")]
    pub(crate) fn starts_at(&self, position: Position) -> bool {
        let mut state = self.lock();
        let begins_anew = state.last.max(state.start).is_some_and(|last| position < last);
        if begins_anew {
            (state.last, state.start, state.floor) = (None, None, None);
            state.catching_up.begin_anew();
        }
        state.start.get_or_insert(position);
        begins_anew
    }

    /// Whether it is noted where the history is at.
    #[cfg(feature = "__broker")]
    pub(crate) fn has_place(&self) -> bool {
        self.lock().start.is_some()
    }

    /// Holds what comes from now on, and returns after which position there may be something missing; `None` if that is
    /// not known, and nothing is held.
    #[cfg(feature = "__broker")]
    pub(crate) fn bridge(&self) -> Option<Position> {
        let mut state = self.lock();
        let last = state.last.max(state.start)?;
        state.bridging.get_or_insert_default();
        Some(last)
    }

    /// Delivers what was missed, and then what was held.
    #[cfg(feature = "__broker")]
    pub(crate) fn bridged(&self, missed: Vec<Delivery>) {
        let mut state = self.lock();
        let held = state.bridging.take().unwrap_or_default();
        state.bytes -= held.iter().map(|delivery| delivery.length).sum::<usize>();
        state.floor = state.floor.max(missed.last().and_then(|delivery| delivery.position));
        let last = state.last.max(state.start);
        for delivery in missed.into_iter().filter(|delivery| delivery.position > last) {
            state.push(delivery);
        }
        for delivery in held {
            state.queue(delivery);
        }
        self.run_from(state);
    }

    fn admit(&self) -> Result<MutexGuard<'_, State>, Full> {
        let mut state = self.lock();
        if state.is_full() {
            return Err(Full { is_first: !std::mem::replace(&mut state.has_overflowed, true) });
        }
        Ok(state)
    }

    fn run_from(&self, mut state: MutexGuard<'_, State>) {
        if state.is_delivering {
            return;
        }
        state.is_delivering = true;
        drop(state);
        let mut delivering = Delivering(Some(self));
        while let Some(turn) = self.next() {
            match turn {
                Turn::Everybody(delivery) => self.send(delivery),
                Turn::Made(_, make) => self.send(make()),
                Turn::CaughtUp(caught_up) => self.send_kept(caught_up),
            }
        }
        // Another thread may be at it by now.
        delivering.0 = None;
    }

    /// What is to be sent next. After `None` another thread may begin.
    fn next(&self) -> Option<Turn> {
        let mut state = self.lock();
        let turn = state.queue.pop_front();
        match &turn {
            Some(Turn::Everybody(Delivery { length, .. }) | Turn::Made(length, _)) => state.bytes -= length,
            Some(Turn::CaughtUp(..)) => {}
            None => (state.is_delivering, state.has_overflowed) = (false, false),
        }
        turn
    }

    /// Sends a message to everybody, and with it those that are next. Members that are gone, or read too slowly, miss
    /// them: what becomes of these is up to their connections. So does a socket of the program's own that panics, and
    /// nobody behind it. Those who catch up get them later.
    fn send(&self, first: Delivery) {
        let mut state = self.lock();
        let sockets = state.members.snapshot();
        let first = state.addressed(first);
        let others = state.take_others(first.delivery.length);
        drop(state);
        let mut sockets = sockets.iter();
        let mut send = || {
            for socket in sockets.by_ref() {
                first.send(socket);
                others.iter().for_each(|addressed| addressed.send(socket));
            }
        };
        while contain(&mut send).is_none() {}
    }

    fn send_kept(&self, CaughtUp { socket, number, since, kept, missed }: CaughtUp) {
        let held = self.lock().catching_up.take_held(socket, number);
        let Some((handle, held, mut lacks)) = held else { return };
        let mut last = since.max(kept.last().and_then(|kept| kept.position));
        let held = not_up_to(last, held);
        for delivery in kept.into_iter().chain(held) {
            last = delivery.position.or(last);
            lacks |= contain(|| handle.send(&delivery.message)).is_none_or(|sent| sent == Err(SendError::Full));
        }
        let mut state = self.lock();
        if let Some(handle) = state.catching_up.caught_up(socket, number, last) {
            state.members.add(handle);
        }
        drop(state);
        if lacks {
            missed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of these is after a position, and all from where positions begin anew, or somebody has made one up.
fn not_up_to(mut floor: Option<Position>, deliveries: Vec<Delivery>) -> impl Iterator<Item = Delivery> {
    let mut before = None;
    deliveries.into_iter().filter(move |Delivery { position, .. }| {
        if position.is_some() && *position < before {
            floor = None;
        }
        before = position.or(before);
        position.is_none() || *position > floor
    })
}

impl Delivery {
    /// Creates one of a message that is in no history.
    pub(crate) fn new<'m>(message: impl Into<Outgoing<'m>>) -> Self {
        Self::at(None, message)
    }

    /// Creates one of a message at a position of the history, if it is in one.
    pub(crate) fn at<'m>(position: Option<Position>, message: impl Into<Outgoing<'m>>) -> Self {
        let message = message.into();
        let length = message.as_bytes().len();
        Self { message: Prepared::new(message), position, length }
    }
}

impl State {
    fn is_full(&self) -> bool {
        let count = self.queue.len() + self.bridging.as_ref().map_or(0, Vec::len);
        count >= MOST_QUEUED || self.bytes >= MOST_BYTES
    }

    /// Takes the messages for everybody that are next, as many as are sent together with one of this length.
    fn take_others(&mut self, length: usize) -> Vec<Addressed> {
        let (mut others, mut together) = (Vec::new(), length);
        while let Some(Turn::Everybody(next)) = self.queue.front() {
            together += next.length;
            if others.len() + 1 == MOST_TOGETHER || together > MOST_BYTES_TOGETHER {
                break;
            }
            let Some(Turn::Everybody(next)) = self.queue.pop_front() else { break };
            self.bytes -= next.length;
            let next = self.addressed(next);
            others.push(next);
        }
        others
    }

    fn addressed(&mut self, delivery: Delivery) -> Addressed {
        self.catching_up.hold(&delivery);
        let without = self.catching_up.have_got(delivery.position);
        Addressed { delivery, without }
    }

    fn add(&mut self, delivery: Delivery) {
        match &mut self.bridging {
            // What is in no history does not wait for it.
            Some(held) if delivery.position.is_some() => {
                self.bytes += delivery.length;
                held.push(delivery);
            }
            _ => self.queue(delivery),
        }
    }

    /// Queues a message, unless it was there already: as the last, or read from the history.
    fn queue(&mut self, delivery: Delivery) {
        if delivery.position.is_some() && delivery.position == self.last {
            return;
        }
        if let (Some(floor), Some(position)) = (self.floor, delivery.position) {
            if position <= floor {
                return;
            }
            self.floor = None;
        }
        self.push(delivery);
    }

    fn push(&mut self, delivery: Delivery) {
        if delivery.position.is_some() && delivery.position < self.last {
            // The history has begun anew, or somebody has made a position up.
            self.catching_up.begin_anew();
        }
        self.last = delivery.position.or(self.last);
        self.bytes += delivery.length;
        self.queue.push_back(Turn::Everybody(delivery));
    }
}

/// A message, and who has got it already.
struct Addressed {
    delivery: Delivery,
    without: Vec<SocketId>,
}

impl Addressed {
    fn send(&self, socket: &WebSocket) {
        if self.without.is_empty() || !self.without.contains(&socket.id()) {
            let _ = socket.send(&self.delivery.message);
        }
    }
}

/// If a socket's own code panics, another thread goes on with what is queued.
struct Delivering<'a>(Option<&'a Room>);

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        if let Some(room) = self.0 {
            room.lock().is_delivering = false;
        }
    }
}

#[cfg(test)]
mod tests;
