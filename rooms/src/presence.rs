//! Who is in which room.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// The longest name of who is in a room, in bytes.
pub const MAX_WHO: usize = 128;

/// Who has joined a room, and who has left it, on any node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The room.
    pub room: Arc<str>,
    /// Those who were in it with no connection before.
    pub joined: Vec<Arc<str>>,
    /// Those whose last connection has left it.
    pub left: Vec<Arc<str>>,
}

/// Who is in which room.
#[derive(Default)]
pub(crate) struct Presence {
    rooms: HashMap<Arc<str>, Here>,
    changes: VecDeque<Change>,
}

#[derive(Default)]
struct Here {
    connections: usize,
    names: HashMap<Arc<str>, usize>,
}

impl Presence {
    pub(crate) fn join(&mut self, room: &Arc<str>, who: Option<&Arc<str>>) {
        let here = self.rooms.entry(room.clone()).or_default();
        here.connections += 1;
        let Some(who) = who else { return };
        let count = here.names.entry(who.clone()).or_default();
        *count += 1;
        if *count == 1 {
            self.changes.push_back(Change { room: room.clone(), joined: vec![who.clone()], left: vec![] });
        }
    }

    pub(crate) fn leave(&mut self, room: &Arc<str>, who: Option<&Arc<str>>) {
        let Some(here) = self.rooms.get_mut(room) else { return };
        here.connections -= 1;
        if let Some(who) = who {
            let count = here.names.entry(who.clone()).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                here.names.remove(who);
                self.changes.push_back(Change { room: room.clone(), joined: vec![], left: vec![who.clone()] });
            }
        }
        if here.connections == 0 {
            self.rooms.remove(room);
        }
    }

    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    pub(crate) fn count(&self, room: &str) -> usize {
        self.rooms.get(room).map_or(0, |here| here.connections)
    }

    pub(crate) fn present(&self, room: &str) -> Vec<Arc<str>> {
        self.rooms.get(room).map_or_else(Vec::new, |here| here.names.keys().cloned().collect())
    }
}
