//! What is kept, for programs.

use super::Rooms;
use crate::core::{Engine, lock};
use crate::error::HistoryError;
use crate::history::Backlog;
use crate::name::token;
use crate::pending::Pending;
use crate::position::Position;
#[cfg(feature = "__broker")]
use crate::{
    engine::{Dropped, Excerpt, Kept, Reader, Reading},
    history::Past,
    pending::pending,
    wire::{self, Packet},
};

impl Rooms {
    /// Reads what is kept of a room after a position, oldest first, and whether there was more; `None` is all that is kept.
    ///
    /// # Errors
    /// [`HistoryError`]; [`HistoryError::Gone`] if the position is of another history.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub fn history(&self, room: &str, since: Option<Position>) -> Pending<Result<Backlog, HistoryError>> {
        let token = match token(room) {
            Ok(token) => token,
            Err(error) => return Pending::ready(Err(error.into())),
        };
        let core = &self.0.core;
        if core.settings.history.is_none() {
            return Pending::ready(Err(HistoryError::NotKept));
        }
        match &core.engine {
            Engine::Local(None) => Pending::ready(Ok(Backlog::default())),
            Engine::Local(Some(histories)) => {
                let found = lock(histories).since(core.now(), &token, since);
                let backlog = Backlog { messages: found.past, has_gap: found.lacks };
                Pending::ready(if found.is_foreign { Err(HistoryError::Gone) } else { Ok(backlog) })
            }
            #[cfg(feature = "__broker")]
            Engine::Link(link) if !link.is_open() => Pending::ready(Err(HistoryError::Unavailable)),
            #[cfg(feature = "__broker")]
            Engine::Link(link) => {
                let (promise, history) = pending(Err(HistoryError::Unavailable));
                let read = |read: Result<Excerpt, HistoryError>| promise.give(read.map(backlog));
                link.read(Reading { room: token.as_ref().into(), since, read: Reader::new(read) });
                history
            }
        }
    }
}

#[cfg(feature = "__broker")]
fn backlog(Excerpt { kept, dropped }: Excerpt) -> Backlog {
    let past = |kept: Kept| match wire::decode(&kept.bytes) {
        Ok((_, Packet::Message(message))) => Some(Past { position: kept.position, message: message.into_owned() }),
        _ => None,
    };
    Backlog { messages: kept.into_iter().filter_map(past).collect(), has_gap: dropped != Dropped::Nothing }
}
