//! Sockets that get what is kept of a room before they get what is new.

use std::collections::{HashMap, VecDeque};

use bellwire_core::{SocketId, WebSocket};

use super::room::Delivery;
use crate::position::Position;

/// How many new messages, and how many bytes of them, wait for those who catch up.
const MOST_HELD: usize = 4096;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The sockets that wait for what is kept, and how far those are who have got it.
#[derive(Default)]
pub(super) struct CatchingUp {
    waiting: HashMap<SocketId, Waiting>,
    /// What is new, for all who wait; the number of the first of it; and its bytes.
    held: VecDeque<Delivery>,
    first: u64,
    bytes: usize,
    /// What these have got from the history may come once more as new.
    floors: HashMap<SocketId, Position>,
    /// The number of the newest that waits.
    newest: u64,
}

struct Waiting {
    number: u64,
    socket: WebSocket,
    /// The number of the first new message that is for it.
    from: u64,
}

impl CatchingUp {
    /// Returns its number: what is read for it is not for the same socket when it has left and joined again.
    pub(super) fn add(&mut self, socket: WebSocket) -> u64 {
        self.newest += 1;
        let from = self.first + self.held.len() as u64;
        self.waiting.insert(socket.id(), Waiting { number: self.newest, socket, from });
        self.newest
    }

    pub(super) fn remove(&mut self, socket: SocketId) {
        self.waiting.remove(&socket);
        self.floors.remove(&socket);
        self.release();
    }

    /// When nobody waits any more, nothing is held.
    fn release(&mut self) {
        if self.waiting.is_empty() {
            self.first += self.held.len() as u64;
            (self.held, self.bytes) = (VecDeque::new(), 0);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &WebSocket> {
        self.waiting.values().map(|waiting| &waiting.socket)
    }

    /// Positions say nothing about those before.
    pub(super) fn begin_anew(&mut self) {
        self.floors.clear();
    }

    /// Holds what is new for those who wait; the oldest of it goes if it is too much.
    pub(super) fn hold(&mut self, delivery: &Delivery) {
        if self.waiting.is_empty() {
            return;
        }
        self.bytes += delivery.length;
        self.held.push_back(delivery.clone());
        while self.held.len() > MOST_HELD || self.bytes > MOST_BYTES {
            let Some(oldest) = self.held.pop_front() else { return };
            self.bytes -= oldest.length;
            self.first += 1;
        }
    }

    /// Returns what was held for a socket, which goes on waiting; and whether some of it is missing.
    pub(super) fn take_held(&mut self, socket: SocketId, number: u64) -> Option<(WebSocket, Vec<Delivery>, bool)> {
        let waiting = self.waiting.get(&socket).filter(|waiting| waiting.number == number)?;
        let skipped = usize::try_from(waiting.from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        let held = self.held.iter().skip(skipped).cloned().collect();
        Some((waiting.socket.clone(), held, waiting.from < self.first))
    }

    /// A socket has got everything up to a position. `None` if it has left.
    pub(super) fn caught_up(&mut self, socket: SocketId, number: u64, last: Option<Position>) -> Option<WebSocket> {
        self.waiting.get(&socket).filter(|waiting| waiting.number == number)?;
        let waiting = self.waiting.remove(&socket)?;
        if let Some(last) = last {
            self.floors.insert(socket, last);
        }
        self.release();
        Some(waiting.socket)
    }

    /// Returns those who have got the message at this position already.
    pub(super) fn have_got(&mut self, position: Option<Position>) -> Vec<SocketId> {
        let Some(position) = position else { return Vec::new() };
        self.floors.retain(|_, floor| position <= *floor);
        self.floors.keys().copied().collect()
    }
}
