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

/// What is kept of all rooms. `now` is the time since any start.
pub(crate) struct Histories {
    limits: History,
    last: u64,
    rooms: HashMap<Arc<str>, VecDeque<Aged>>,
    /// Each room once, and when it was last looked for what is too old in it.
    looked: VecDeque<(Duration, Arc<str>)>,
}

struct Aged {
    since: Duration,
    past: Past,
}

impl Histories {
    pub(crate) fn new(limits: History) -> Self {
        Self { limits, last: 0, rooms: HashMap::new(), looked: VecDeque::new() }
    }

    pub(crate) fn add(&mut self, now: Duration, token: &str, message: OwnedMessage) -> Position {
        self.forget(now);
        self.last += 1;
        let position = Position::new(0, self.last);
        if self.limits.messages == 0 {
            return position;
        }
        let aged = Aged { since: now, past: Past { position, message } };
        match self.rooms.get_mut(token) {
            Some(kept) => {
                if kept.len() >= self.limits.messages {
                    kept.pop_front();
                }
                kept.push_back(aged);
            }
            None => {
                let token: Arc<str> = token.into();
                self.rooms.insert(token.clone(), VecDeque::from([aged]));
                self.looked.push_back((now, token));
            }
        }
        position
    }

    /// Returns what is kept of a room after a position, oldest first.
    pub(crate) fn since(&mut self, now: Duration, token: &str, since: Option<Position>) -> Vec<Past> {
        self.forget(now);
        let kept = self.rooms.get(token).into_iter().flatten();
        let fresh = kept.filter(|aged| now.saturating_sub(aged.since) < self.limits.age).map(|aged| &aged.past);
        fresh.filter(|past| since.is_none_or(|since| past.position > since)).cloned().collect()
    }

    /// Forgets what is too old, in rooms that nobody speaks in, too.
    fn forget(&mut self, now: Duration) {
        while self.looked.front().is_some_and(|(looked, _)| now.saturating_sub(*looked) >= self.limits.age) {
            let Some((_, token)) = self.looked.pop_front() else { return };
            let Some(kept) = self.rooms.get_mut(&token) else { continue };
            kept.retain(|aged| now.saturating_sub(aged.since) < self.limits.age);
            if kept.is_empty() {
                self.rooms.remove(&token);
            } else {
                self.looked.push_back((now, token));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn texts(past: Vec<Past>) -> Vec<String> {
        past.into_iter().map(|past| past.message.as_text().unwrap().into()).collect()
    }

    #[test]
    fn the_last_messages_of_each_room_are_kept_in_order() {
        let mut histories = Histories::new(History::last(2));
        let positions: Vec<_> =
            ["1", "2", "3"].map(|text| histories.add(SECOND, "a", OwnedMessage::Text(text.into()))).into();
        histories.add(SECOND, "b", OwnedMessage::Text("other".into()));
        assert!(positions.is_sorted());
        assert_eq!(texts(histories.since(SECOND, "a", None)), ["2", "3"]);
        assert_eq!(texts(histories.since(SECOND, "a", Some(positions[1]))), ["3"]);
        assert_eq!(texts(histories.since(SECOND, "a", Some(positions[2]))), [""; 0]);
        assert_eq!(texts(histories.since(SECOND, "nowhere", None)), [""; 0]);
    }

    #[test]
    fn what_is_too_old_is_forgotten_and_costs_nothing() {
        let mut histories = Histories::new(History::last(10).for_at_most(2 * SECOND));
        for second in 1..=3 {
            histories.add(second * SECOND, "a", OwnedMessage::Text(second.to_string()));
        }
        assert_eq!(texts(histories.since(3 * SECOND, "a", None)), ["2", "3"]);
        assert_eq!(texts(histories.since(5 * SECOND, "a", None)), [""; 0]);
        assert!(histories.rooms.is_empty() && histories.looked.is_empty());
    }
}
