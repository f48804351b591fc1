//! Going through all rooms, some at a time; and the rooms that were left.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::room::Room;

/// Goes through all rooms, some at a time.
#[derive(Default)]
pub(super) struct Rounds {
    /// How often that has been done.
    pub(super) done: u64,
    last: Option<Arc<str>>,
}

impl Rounds {
    /// The next rooms. With fewer than asked for a round ends.
    pub(super) fn next(&mut self, rooms: &BTreeMap<Arc<str>, Room>, most: usize) -> Vec<Arc<str>> {
        let start = self.last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let names: Vec<_> = rooms.range((start, Bound::Unbounded)).map(|(name, _)| name.clone()).take(most).collect();
        if names.len() < most {
            self.done = self.done.wrapping_add(1);
        } else {
            self.last = names.last().cloned();
        }
        names
    }
}

/// That many rooms are remembered after they were left.
const MOST: usize = 256;

/// The rooms that were left last: if the connection is lost, the others may not have been told.
#[derive(Default)]
pub(super) struct Departed(VecDeque<(Duration, Arc<str>)>);

impl Departed {
    pub(super) fn add(&mut self, now: Duration, name: &Arc<str>) {
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back((now, name.clone()));
    }

    /// Takes those that were left since then. Of the others all have forgotten this node meanwhile.
    pub(super) fn take_since(&mut self, since: Duration) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.0.drain(..).filter(|(left, _)| *left >= since).map(|(_, name)| name).collect();
        names.sort();
        names.dedup();
        names
    }
}
