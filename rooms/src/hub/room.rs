//! One room: its members, and the order of what they get.
//!
//! Several threads may deliver at the same time, and every member sees one order nevertheless: what is delivered is queued,
//! and whoever finds nobody at it sends what is in the queue, its own and what others add meanwhile. So nothing is sent
//! under a lock, and a socket whose own code delivers to the same room does not wait for itself.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwire_core::{Outgoing, Prepared, SocketId, WebSocket};

use super::catching_up::CatchingUp;
use super::members::Members;
use crate::position::Position;

/// How many messages may wait while another thread sends those before them.
const MOST_QUEUED: usize = 4096;

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
    is_delivering: bool,
    /// Where the newest message is in the history: what is not after it was there before.
    last: Option<Position>,
    /// What is new while what was missed before it is read from the history.
    bridging: Option<Vec<Delivery>>,
}

/// What members get.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    pub(crate) message: Prepared,
    pub(crate) position: Option<Position>,
}

enum Turn {
    Everybody(Delivery),
    /// What is kept, and what was held meanwhile, for one that catches up; and whom to tell if some of it is missing.
    CaughtUp(SocketId, u64, Vec<Delivery>, Box<dyn FnOnce() + Send>),
}

/// The message was not delivered to anybody: too many wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

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
        let mut state = self.lock();
        if state.is_full() {
            return Err(Full);
        }
        state.add(delivery);
        self.run_from(state);
        Ok(())
    }

    /// Returns `true` if there is no room for another message.
    pub(crate) fn is_full(&self) -> bool {
        self.lock().is_full()
    }

    /// Gives a message its place among the others. It is sent by [`run`](Self::run).
    pub(crate) fn enqueue(&self, delivery: Delivery) {
        self.lock().add(delivery);
    }

    /// Sends what is queued, unless another thread is at it.
    pub(crate) fn run(&self) {
        self.run_from(self.lock());
    }

    /// Gives a socket that catches up what is kept, then what was held for it, and makes it a member like the others.
    /// `missed` is called if some of that is missing.
    pub(crate) fn catch_up(
        &self,
        (socket, number): (SocketId, u64),
        kept: Vec<Delivery>,
        missed: impl FnOnce() + Send + 'static,
    ) {
        let mut state = self.lock();
        state.queue.push_back(Turn::CaughtUp(socket, number, kept, Box::new(missed)));
        self.run_from(state);
    }

    /// Notes where the history is at: what comes is after this. Returns whether it was further on before, and has begun
    /// anew therefore.
    #[cfg(feature = "__broker")]
    pub(crate) fn starts_at(&self, position: Position) -> bool {
        let mut state = self.lock();
        let begins_anew = state.last.is_some_and(|last| position < last);
        if begins_anew {
            state.last = Some(position);
            state.catching_up.begin_anew();
        }
        state.last.get_or_insert(position);
        begins_anew
    }

    /// Holds what comes from now on, and returns after which position there may be something missing; `None` if that is
    /// not known, and nothing is held.
    #[cfg(feature = "__broker")]
    pub(crate) fn bridge(&self) -> Option<Position> {
        let mut state = self.lock();
        let last = state.last?;
        state.bridging.get_or_insert_default();
        Some(last)
    }

    /// Delivers what was missed, and then what was held.
    #[cfg(feature = "__broker")]
    pub(crate) fn bridged(&self, missed: Vec<Delivery>) {
        let mut state = self.lock();
        let held = state.bridging.take().unwrap_or_default();
        for delivery in missed.into_iter().chain(held) {
            state.queue(delivery);
        }
        self.run_from(state);
    }

    fn run_from(&self, mut state: MutexGuard<'_, State>) {
        if state.is_delivering {
            return;
        }
        state.is_delivering = true;
        drop(state);
        let _delivering = Delivering(self);
        while let Some((turn, audience)) = self.next() {
            match turn {
                Turn::Everybody(delivery) => audience.send(&delivery),
                Turn::CaughtUp(socket, number, kept, missed) => self.send_kept(socket, number, kept, missed),
            }
        }
    }

    /// What is to be sent next, and to whom. After `None` another thread may begin.
    fn next(&self) -> Option<(Turn, Audience)> {
        let mut state = self.lock();
        let Some(turn) = state.queue.pop_front() else {
            state.is_delivering = false;
            return None;
        };
        let Turn::Everybody(delivery) = &turn else { return Some((turn, Audience::default())) };
        state.catching_up.hold(delivery);
        let without = state.catching_up.have_got(delivery.position);
        let sockets = state.members.snapshot();
        Some((turn, Audience { sockets, without }))
    }

    fn send_kept(&self, socket: SocketId, number: u64, kept: Vec<Delivery>, missed: Box<dyn FnOnce() + Send>) {
        let held = self.lock().catching_up.take_held(socket, number);
        let Some((handle, held, some_missed)) = held else { return };
        let mut last = None;
        for delivery in kept.into_iter().chain(held) {
            if delivery.position.is_some() && delivery.position <= last {
                continue;
            }
            last = delivery.position.or(last);
            let _ = handle.send(&delivery.message);
        }
        let mut state = self.lock();
        if let Some(handle) = state.catching_up.caught_up(socket, number, last) {
            state.members.add(handle);
        }
        drop(state);
        if some_missed {
            missed();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Delivery {
    /// Creates one of a message that is in no history.
    pub(crate) fn new<'m>(message: impl Into<Outgoing<'m>>) -> Self {
        Self { message: Prepared::new(message), position: None }
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.queue.len() + self.bridging.as_ref().map_or(0, Vec::len) >= MOST_QUEUED
    }

    fn add(&mut self, delivery: Delivery) {
        match &mut self.bridging {
            // What is in no history does not wait for it.
            Some(held) if delivery.position.is_some() => held.push(delivery),
            _ => self.queue(delivery),
        }
    }

    /// Queues a message, unless it was there before.
    fn queue(&mut self, delivery: Delivery) {
        if let Some(position) = delivery.position {
            if self.last.is_some_and(|last| position <= last) {
                return;
            }
            self.last = Some(position);
        }
        self.queue.push_back(Turn::Everybody(delivery));
    }
}

/// Who gets a message.
#[derive(Default)]
struct Audience {
    sockets: Arc<Vec<WebSocket>>,
    without: Vec<SocketId>,
}

impl Audience {
    /// Sends to everybody. Those that are gone, or read too slowly, miss it: what becomes of them is up to their
    /// connections.
    fn send(&self, delivery: &Delivery) {
        for socket in self.sockets.iter() {
            if self.without.is_empty() || !self.without.contains(&socket.id()) {
                let _ = socket.send(&delivery.message);
            }
        }
    }
}

/// If a socket's own code panics, another thread goes on with what is queued.
struct Delivering<'a>(&'a Room);

impl Drop for Delivering<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().is_delivering = false;
        }
    }
}

#[cfg(test)]
mod tests;
