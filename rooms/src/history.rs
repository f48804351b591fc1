//! What is kept of rooms in this process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bellwire_core::OwnedMessage;

use crate::builder::History;
use crate::position::Position;

/// A message that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Past {
    /// Where it is in the history of its room.
    pub position: Position,
    /// The message as it was published.
    pub message: OwnedMessage,
}

/// What is kept of a room after a position: see [`Rooms::history`](crate::Rooms::history).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Backlog {
    /// The messages, oldest first.
    pub messages: Vec<Past>,
    /// Whether there may have been others after that position that are not kept any more, as for
    /// [`on_gap`](crate::Builder::on_gap). Without a position it is only if some were dropped while it was read.
    pub has_gap: bool,
}

/// How many bytes all rooms together keep in this process.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// What a message costs beside its bytes.
const OVERHEAD: usize = 64;

/// What a room costs beside its token and its messages: its places in tables, and the least space for messages.
const ROOM_OVERHEAD: usize = 400;

/// What is kept of all rooms. `now` is the time since any start.
pub(crate) struct Histories {
    limits: History,
    /// The number of this history: positions of another are not of this.
    era: u64,
    last: u64,
    rooms: HashMap<Arc<str>, Kept>,
    /// Each room once, and when it was last looked for what is too old in it.
    looked: VecDeque<(Duration, Arc<str>)>,
    bytes: usize,
    /// The newest of what was kept in rooms of which nothing is kept any more.
    forgotten: u64,
}

#[derive(Default)]
struct Kept {
    messages: VecDeque<Aged>,
    /// The newest of what is not kept any more.
    forgotten: u64,
}

struct Aged {
    since: Duration,
    past: Past,
}

impl Aged {
    fn cost(&self) -> usize {
        self.past.message.as_bytes().len() + OVERHEAD
    }
}

/// What is kept of a room after a position, oldest first.
pub(crate) struct Found {
    pub(crate) past: Vec<Past>,
    /// There may have been more, which is not kept any more.
    pub(crate) lacks: bool,
    /// The position is of another history.
    pub(crate) is_foreign: bool,
}

impl Histories {
    /// Creates one without messages. `era` should be another in each process, and a greater one later: the time.
    pub(crate) fn new(limits: History, era: u64) -> Self {
        Self { limits, era, last: 0, rooms: HashMap::new(), looked: VecDeque::new(), bytes: 0, forgotten: 0 }
    }

    pub(crate) fn add(&mut self, now: Duration, token: &str, message: OwnedMessage) -> Position {
        self.forget(now);
        self.last += 1;
        let position = Position::new(self.era, self.last);
        if self.limits.messages == 0 {
            self.forgotten = self.last;
            return position;
        }
        let aged = Aged { since: now, past: Past { position, message } };
        self.bytes += aged.cost();
        match self.rooms.get_mut(token) {
            Some(kept) => {
                kept.messages.push_back(aged);
                if kept.messages.len() > self.limits.messages {
                    self.bytes -= kept.forget_first();
                }
            }
            None => {
                let token: Arc<str> = token.into();
                self.bytes += ROOM_OVERHEAD + token.len();
                self.rooms.insert(token.clone(), Kept { messages: VecDeque::from([aged]), forgotten: self.forgotten });
                self.looked.push_back((now, token));
            }
        }
        while self.bytes > MOST_BYTES && self.forget_a_room() {}
        position
    }

    pub(crate) fn since(&mut self, now: Duration, token: &str, since: Option<Position>) -> Found {
        self.forget(now);
        let kept = self.rooms.get(token);
        let messages = kept.into_iter().flat_map(|kept| &kept.messages);
        let is_too_old = |aged: &&Aged| now.saturating_sub(aged.since) >= self.limits.age;
        let newest_too_old = messages.clone().filter(is_too_old).map(|aged| aged.past.position.parts().1).max();
        let forgotten = kept.map_or(self.forgotten, |kept| kept.forgotten).max(newest_too_old.unwrap_or(0));
        let is_foreign = since.is_some_and(|since| since.parts().0 != self.era || since.parts().1 > self.last);
        let lacks = is_foreign || since.is_some_and(|since| since.parts().1 < forgotten);
        // What is after a position of another history cannot be told.
        let since = since.filter(|_| !is_foreign);
        let fresh = messages.filter(|aged| !is_too_old(aged)).map(|aged| &aged.past);
        let past = fresh.filter(|past| since.is_none_or(|since| past.position > since)).cloned().collect();
        Found { past, lacks, is_foreign }
    }

    /// Forgets what is too old, in rooms that nobody speaks in, too.
    fn forget(&mut self, now: Duration) {
        let age = self.limits.age;
        while self.looked.front().is_some_and(|(looked, _)| now.saturating_sub(*looked) >= age) {
            let Some((_, token)) = self.looked.pop_front() else { return };
            let Some(kept) = self.rooms.get_mut(&token) else { continue };
            while kept.messages.front().is_some_and(|aged| now.saturating_sub(aged.since) >= age) {
                self.bytes -= kept.forget_first();
            }
            if kept.messages.is_empty() {
                self.remove(&token);
            } else {
                self.looked.push_back((now, token));
            }
        }
    }

    /// Forgets all of the room that was not looked at for longest; `false` if there is none.
    fn forget_a_room(&mut self) -> bool {
        let Some((_, token)) = self.looked.pop_front() else { return false };
        self.remove(&token);
        true
    }

    fn remove(&mut self, token: &str) {
        let Some(kept) = self.rooms.remove(token) else { return };
        self.bytes -= ROOM_OVERHEAD + token.len() + kept.messages.iter().map(Aged::cost).sum::<usize>();
        let newest = kept.messages.back().map_or(kept.forgotten, |aged| aged.past.position.parts().1);
        self.forgotten = self.forgotten.max(newest);
    }
}

impl Kept {
    /// Forgets the oldest message, and returns what it has cost.
    fn forget_first(&mut self) -> usize {
        let Some(aged) = self.messages.pop_front() else { return 0 };
        self.forgotten = aged.past.position.parts().1;
        aged.cost()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn texts(past: Vec<Past>) -> Vec<String> {
        past.into_iter().map(|past| past.message.as_text().unwrap().into()).collect()
    }

    fn text(text: &str) -> OwnedMessage {
        OwnedMessage::Text(text.into())
    }

    #[test]
    fn the_last_messages_of_each_room_are_kept_in_order() {
        let mut histories = Histories::new(History::last(2), 7);
        let positions: Vec<_> = ["1", "2", "3"].map(|it| histories.add(SECOND, "a", text(it))).into();
        histories.add(SECOND, "b", text("other"));
        assert!(positions.is_sorted());
        let mut since = |room, since| {
            let found = histories.since(SECOND, room, since);
            (texts(found.past), found.lacks)
        };
        assert_eq!(since("a", None), (vec!["2".into(), "3".into()], false));
        assert_eq!(since("a", Some(positions[0])), (vec!["2".into(), "3".into()], false));
        assert_eq!(since("a", Some(positions[1])), (vec!["3".into()], false));
        assert_eq!(since("a", Some(positions[2])), (vec![], false));
        assert_eq!(since("nowhere", None), (vec![], false));
        // The first is gone, and so is what comes after that of another history.
        assert_eq!(since("a", Some(Position::new(7, 0))), (vec!["2".into(), "3".into()], true));
        assert_eq!(since("a", Some(Position::new(6, 500))), (vec!["2".into(), "3".into()], true));
        assert_eq!(since("a", Some(Position::new(7, 500))), (vec!["2".into(), "3".into()], true));
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_costs_nothing() {
        let mut histories = Histories::new(History::last(10).for_at_most(2 * SECOND), 7);
        for second in 1..=3 {
            histories.add(second * SECOND, "a", text(&second.to_string()));
        }
        let first = Some(Position::new(7, 1));
        let found = histories.since(3 * SECOND, "a", first);
        assert_eq!((texts(found.past), found.lacks), (vec!["2".into(), "3".into()], false));
        let found = histories.since(4 * SECOND, "a", first);
        assert_eq!((texts(found.past), found.lacks), (vec!["3".into()], true));
        let found = histories.since(6 * SECOND, "a", first);
        assert_eq!((texts(found.past), found.lacks), (vec![], true));
        assert!(histories.rooms.is_empty() && histories.looked.is_empty() && histories.bytes == 0);
    }

    #[test]
    fn very_many_rooms_are_not_kept_with_however_little_in_them() {
        let mut histories = Histories::new(History::last(1000), 7);
        let rooms = MOST_BYTES / ROOM_OVERHEAD;
        for room in 0..rooms {
            histories.add(SECOND, &room.to_string(), text("x"));
        }
        assert!(histories.bytes <= MOST_BYTES && histories.rooms.len() < rooms, "{}", histories.rooms.len());
        assert_eq!(histories.looked.len(), histories.rooms.len());
    }

    #[test]
    fn very_much_is_not_kept_whatever_rooms_it_is_in() {
        let mut histories = Histories::new(History::last(1000), 7);
        let long = "x".repeat(1024 * 1024);
        for room in 0..100 {
            histories.add(SECOND, &room.to_string(), text(&long));
            assert!(histories.bytes <= MOST_BYTES);
        }
        assert_eq!(histories.rooms.len(), 63);
        assert!(histories.since(SECOND, "0", Some(Position::new(7, 0))).lacks);
        assert_eq!(histories.since(SECOND, "99", None).past.len(), 1);
    }
}
