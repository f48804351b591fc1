//! Sockets that get what is kept of a room before they get what is new.

use std::collections::HashMap;

use bellwire_core::{SocketId, WebSocket};

use super::room::Delivery;
use crate::position::Position;

/// How many new messages wait for one that catches up.
const MOST_HELD: usize = 4096;

/// The sockets that wait for what is kept, and how far those are who have got it.
#[derive(Default)]
pub(super) struct CatchingUp {
    waiting: HashMap<SocketId, Waiting>,
    /// What these have got from the history may come once more as new.
    floors: HashMap<SocketId, Position>,
    /// The number of the newest that waits.
    newest: u64,
}

struct Waiting {
    number: u64,
    socket: WebSocket,
    held: Vec<Delivery>,
    /// More came than could be held.
    missed: bool,
}

impl CatchingUp {
    /// Returns its number: what is read for it is not for the same socket when it has left and joined again.
    pub(super) fn add(&mut self, socket: WebSocket) -> u64 {
        self.newest += 1;
        self.waiting.insert(socket.id(), Waiting { number: self.newest, socket, held: Vec::new(), missed: false });
        self.newest
    }

    pub(super) fn remove(&mut self, socket: SocketId) {
        self.waiting.remove(&socket);
        self.floors.remove(&socket);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &WebSocket> {
        self.waiting.values().map(|waiting| &waiting.socket)
    }

    /// Positions say nothing about those before.
    #[cfg(feature = "__broker")]
    pub(super) fn begin_anew(&mut self) {
        self.floors.clear();
    }

    /// Holds what is new for those who wait.
    pub(super) fn hold(&mut self, delivery: &Delivery) {
        for waiting in self.waiting.values_mut() {
            if waiting.held.len() < MOST_HELD {
                waiting.held.push(delivery.clone());
            } else {
                waiting.missed = true;
            }
        }
    }

    /// Takes what was held for a socket, which goes on waiting; and whether some of it is missing.
    pub(super) fn take_held(&mut self, socket: SocketId, number: u64) -> Option<(WebSocket, Vec<Delivery>, bool)> {
        let waiting = self.waiting.get_mut(&socket).filter(|waiting| waiting.number == number)?;
        Some((waiting.socket.clone(), std::mem::take(&mut waiting.held), waiting.missed))
    }

    /// A socket has got everything up to a position. `None` if it has left.
    pub(super) fn caught_up(&mut self, socket: SocketId, number: u64, last: Option<Position>) -> Option<WebSocket> {
        self.waiting.get(&socket).filter(|waiting| waiting.number == number)?;
        let waiting = self.waiting.remove(&socket)?;
        if let Some(last) = last {
            self.floors.insert(socket, last);
        }
        Some(waiting.socket)
    }

    /// Returns those who have got the message at this position already.
    pub(super) fn have_got(&mut self, position: Option<Position>) -> Vec<SocketId> {
        let Some(position) = position else { return Vec::new() };
        self.floors.retain(|_, floor| position <= *floor);
        self.floors.keys().copied().collect()
    }
}
