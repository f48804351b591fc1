//! Who joins a room and leaves it, and how those who come back catch up.

use std::sync::Arc;

use bellwire_core::{SocketId, WebSocket};

use super::Rooms;
use crate::core::{CatchesUp, Core, Engine, lock};
#[cfg(feature = "__broker")]
use crate::engine::{Dropped, Excerpt, Reader, Reading};
#[cfg(feature = "__broker")]
use crate::error::HistoryError;
use crate::error::JoinError;
use crate::history::Past;
use crate::hub::{Delivery, Room};
use crate::name::token;
use crate::position::Position;
use crate::presence::MAX_WHO;

impl Rooms {
    /// Adds a socket to a room: it gets what is published there from now on. When it ends it leaves all its rooms by
    /// itself, before its listener's `on_close`. Joining again changes nothing.
    ///
    /// Over a broker the first member of a room on a node gets what other nodes publish once the broker knows of it,
    /// which takes a round trip.
    ///
    /// # Errors
    /// [`JoinError`] if there can be no such room, or the socket is closed.
    pub fn join(&self, room: &str, socket: &WebSocket) -> Result<(), JoinError> {
        self.enter(&token(room)?, socket, None, false).map(drop)
    }

    /// Adds a socket to a room, and says who it is: [`present`](Self::present) and
    /// [`on_presence`](crate::Builder::on_presence) tell that. Several sockets may be the same person.
    ///
    /// # Errors
    /// As [`join`](Self::join), and [`JoinError::Who`] for an empty name and for one of more than [`MAX_WHO`] bytes.
    pub fn join_as(&self, room: &str, socket: &WebSocket, who: &str) -> Result<(), JoinError> {
        if who.is_empty() || who.len() > MAX_WHO {
            return Err(JoinError::Who(who.len()));
        }
        self.enter(&token(room)?, socket, Some(who.into()), false).map(drop)
    }

    /// Adds a socket to a room, and gives it what was published after this position and is kept, then what is new:
    /// without a gap, and nothing twice. `None` is all that is kept. If some of that cannot be read, is not kept any
    /// more, or is more than may [wait](bellwire_core::Config::max_queued) for the socket,
    /// [`on_gap`](crate::Builder::on_gap) is called, with this [member](crate::Gap::member). Nothing is given to one that is in the room already.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_since(&self, room: &str, socket: &WebSocket, since: Option<Position>) -> Result<(), JoinError> {
        let token = token(room)?;
        let Some((room, id)) = self.enter(&token, socket, None, true)? else { return Ok(()) };
        let core = &self.0.core;
        let latecomer = Latecomer { core: core.clone(), room, id, socket: socket.clone() };
        match &core.engine {
            Engine::Local(None) => latecomer.catch_up(None, Vec::new(), false),
            Engine::Local(Some(histories)) => {
                let found = lock(histories).since(core.now(), &token, since);
                let delivery = |past: &Past| core.delivery(Some(past.position), past.message.as_message());
                let kept = found.past.iter().map(delivery).collect();
                latecomer.catch_up(since.filter(|_| !found.is_foreign), kept, found.lacks);
            }
            #[cfg(feature = "__broker")]
            Engine::Link(link) => link.read(latecomer.reading(since, false)),
        }
        Ok(())
    }

    fn enter(
        &self,
        token: &str,
        socket: &WebSocket,
        who: Option<Arc<str>>,
        catches_up: bool,
    ) -> Result<Option<CatchesUp>, JoinError> {
        if !socket.is_open() {
            return Err(JoinError::Closed);
        }
        let core = &self.0.core;
        let (is_new, catches_up) = core.join(token, socket, who, catches_up);
        if is_new {
            let (core, id) = (Arc::downgrade(core), socket.id());
            socket.when_closed(move || {
                if let Some(core) = core.upgrade() {
                    core.ended(id);
                }
            });
        }
        Ok(catches_up)
    }

    /// Takes a socket out of a room, and returns whether it was in it. What is being sent to the members at that moment
    /// may still come to it.
    pub fn leave(&self, room: &str, socket: &WebSocket) -> bool {
        token(room).is_ok_and(|token| self.0.core.leave(&token, socket.id()))
    }

    /// Takes a socket out of all its rooms, as [`leave`](Self::leave) does, and returns in how many it was. One that ends leaves
    /// them by itself.
    pub fn leave_all(&self, socket: &WebSocket) -> usize {
        self.0.core.leave_all(socket.id())
    }
}

/// A member that gets what is kept before what is new.
struct Latecomer {
    core: Arc<Core>,
    room: Arc<Room>,
    id: (SocketId, u64),
    socket: WebSocket,
}

impl Latecomer {
    /// Gives it what is kept after a position, and tells of a gap if something lacks.
    fn catch_up(self, since: Option<Position>, kept: Vec<Delivery>, lacks: bool) {
        let Self { core, room, id, socket } = self;
        let (missed, token, member) = (core.clone(), room.token().clone(), socket.clone());
        room.catch_up(id, since, kept, move || missed.missed_by(member, &token));
        if lacks {
            core.missed_by(socket, room.token());
        }
    }

    /// Has it catch up with what a broker has kept: by the next connection, if this one is lost meanwhile. If the history has
    /// not got that position, it is all that is there, and that is a gap.
    #[cfg(feature = "__broker")]
    fn reading(self, since: Option<Position>, is_gone: bool) -> Reading {
        let room = self.room.token().clone();
        let read = move |read: Result<Excerpt, HistoryError>| match read {
            Err(HistoryError::Gone) if since.is_some() => {
                let core = self.core.clone();
                core.link().read(self.reading(None, true));
            }
            Ok(Excerpt { kept, dropped }) => {
                let kept = self.core.deliveries(kept);
                self.catch_up(since, kept, is_gone || dropped != Dropped::Nothing);
            }
            Err(HistoryError::Unavailable) if self.core.link().takes_readings() => {
                let core = self.core.clone();
                core.link().read(self.reading(since, is_gone));
            }
            // What it has got elsewhere may still come here.
            Err(_) => self.catch_up(since, Vec::new(), true),
        };
        Reading { room, since, read: Reader::new(read) }
    }
}
