//! The rooms that have members on this node, and who those are.
//!
//! Two kinds of locks: that of the hub, under which sockets join and leave, and that of each [`Room`], which is taken under
//! the first or alone. No socket is sent to under either.

mod catching_up;
mod members;
mod room;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bellwire_core::{SocketId, WebSocket};

pub(crate) use self::room::{Delivery, Full, Room};

/// The rooms that have members here.
#[derive(Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rooms: HashMap<Arc<str>, Arc<Room>>,
    /// The sockets that have ever joined, until they end.
    sockets: HashMap<SocketId, Vec<Membership>>,
}

/// That a socket is in a room.
pub(crate) struct Membership {
    pub(crate) room: Arc<Room>,
    /// Under which name it is present.
    pub(crate) who: Option<Arc<str>>,
}

/// What it meant that a socket has joined.
pub(crate) struct Joined {
    pub(crate) room: Arc<Room>,
    /// The room has no other members here.
    pub(crate) is_first: bool,
    /// The socket was in no room before: somebody has to tell the hub when it ends.
    pub(crate) is_new: bool,
    /// What it was in the room as before, if it was.
    pub(crate) before: Option<Option<Arc<str>>>,
    /// For whom what is kept is to be read.
    pub(crate) catches_up: Option<(SocketId, u64)>,
}

/// What it meant that a socket has left.
pub(crate) struct Left {
    pub(crate) membership: Membership,
    /// The room has no members left here.
    pub(crate) is_last: bool,
}

impl Hub {
    /// Adds a socket to a room: at once, or once it has [caught up](Room::catch_up).
    pub(crate) fn join(&self, token: &str, socket: &WebSocket, who: Option<Arc<str>>, catches_up: bool) -> Joined {
        let mut state = self.lock();
        let (room, is_first) = state.room(token);
        let (memberships, is_new) = match state.sockets.entry(socket.id()) {
            Entry::Occupied(entry) => (entry.into_mut(), false),
            Entry::Vacant(entry) => (entry.insert(Vec::new()), true),
        };
        let before = memberships.iter_mut().find(|membership| Arc::ptr_eq(&membership.room, &room));
        let (before, number) = match before {
            Some(membership) => {
                let before = membership.who.clone();
                membership.who = who.or(before.clone());
                (Some(before), None)
            }
            None => {
                // Most are in one room.
                memberships.reserve_exact(usize::from(memberships.is_empty()));
                memberships.push(Membership { room: room.clone(), who });
                (None, room.add(socket, catches_up))
            }
        };
        Joined { room, is_first, is_new, before, catches_up: number.map(|number| (socket.id(), number)) }
    }

    /// Takes a socket out of a room; `None` if it is not in it.
    pub(crate) fn leave(&self, token: &str, socket: SocketId) -> Option<Left> {
        let mut state = self.lock();
        let memberships = state.sockets.get_mut(&socket)?;
        let index = memberships.iter().position(|membership| **membership.room.token() == *token)?;
        let membership = memberships.swap_remove(index);
        Some(state.left(membership, socket))
    }

    /// Takes a socket out of all its rooms. It is known until it ends.
    pub(crate) fn leave_all(&self, socket: SocketId) -> Vec<Left> {
        let mut state = self.lock();
        let memberships = state.sockets.get_mut(&socket).map(std::mem::take).unwrap_or_default();
        memberships.into_iter().map(|membership| state.left(membership, socket)).collect()
    }

    /// Returns the rooms that a socket is in.
    pub(crate) fn rooms_of(&self, socket: SocketId) -> Vec<Arc<Room>> {
        let state = self.lock();
        let memberships = state.sockets.get(&socket).map_or(&[][..], Vec::as_slice);
        memberships.iter().map(|membership| membership.room.clone()).collect()
    }

    /// Takes a socket that has ended out of all its rooms.
    pub(crate) fn ended(&self, socket: SocketId) -> Vec<Left> {
        let mut state = self.lock();
        let memberships = state.sockets.remove(&socket).unwrap_or_default();
        memberships.into_iter().map(|membership| state.left(membership, socket)).collect()
    }

    /// Returns the room of this token, if it has members here.
    pub(crate) fn room(&self, token: &str) -> Option<Arc<Room>> {
        self.lock().rooms.get(token).cloned()
    }

    /// Returns all rooms that have members here.
    pub(crate) fn rooms(&self) -> Vec<Arc<Room>> {
        self.lock().rooms.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns a room, and whether it is new.
    fn room(&mut self, token: &str) -> (Arc<Room>, bool) {
        if let Some(room) = self.rooms.get(token) {
            return (room.clone(), false);
        }
        let room = Arc::new(Room::new(token.into()));
        self.rooms.insert(room.token().clone(), room.clone());
        (room, true)
    }

    fn left(&mut self, membership: Membership, socket: SocketId) -> Left {
        let is_last = membership.room.remove(socket);
        if is_last {
            self.rooms.remove(membership.room.token());
        }
        Left { membership, is_last }
    }
}
