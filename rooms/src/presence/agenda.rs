//! What is to be done in which room, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// What is to be done in rooms; each task at most once in each.
pub(super) struct Agenda<T> {
    by_time: BTreeSet<(Duration, Arc<str>, T)>,
    by_room: BTreeMap<(Arc<str>, T), Duration>,
}

impl<T: Copy + Ord> Agenda<T> {
    pub(super) const fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_room: BTreeMap::new() }
    }

    /// Plans a task for some time, or leaves it where it is if that is earlier.
    pub(super) fn plan(&mut self, at: Duration, room: &Arc<str>, task: T) {
        let key = (room.clone(), task);
        match self.by_room.get(&key) {
            Some(planned) if *planned <= at => return,
            Some(planned) => {
                self.by_time.remove(&(*planned, key.0.clone(), task));
            }
            None => {}
        }
        self.by_time.insert((at, key.0.clone(), task));
        self.by_room.insert(key, at);
    }

    pub(super) fn cancel(&mut self, room: &Arc<str>, task: T) -> bool {
        let key = (room.clone(), task);
        let planned = self.by_room.remove(&key);
        planned.is_some_and(|at| self.by_time.remove(&(at, key.0, task)))
    }

    pub(super) fn clear(&mut self) {
        self.by_time.clear();
        self.by_room.clear();
    }

    /// When something is to be done next.
    pub(super) fn next(&self) -> Option<Duration> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    /// Takes what is due first.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Arc<str>, T)> {
        if self.next()? > now {
            return None;
        }
        let (_, room, task) = self.by_time.pop_first()?;
        self.by_room.remove(&(room.clone(), task));
        Some((room, task))
    }
}
