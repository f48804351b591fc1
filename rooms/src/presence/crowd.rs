//! The names in a room, over all nodes, and what of them is to be told.
//!
//! Names that come are told at once, but not more often than once in a batch. Names that go are told when they have been
//! away for a while: somebody whose phone connects to another node is told to nobody, in whatever order the nodes hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::pace::Pace;

/// The names in a room, over all nodes, and what of them is to be told.
#[derive(Default)]
pub(super) struct Crowd {
    /// On how many nodes each name is.
    names: BTreeMap<Arc<str>, u32>,
    joined: BTreeSet<Arc<str>>,
    /// Those who left, and when that is told.
    left: BTreeMap<Arc<str>, Duration>,
    left_by_time: BTreeSet<(Duration, Arc<str>)>,
    told: Option<Duration>,
}

impl Crowd {
    /// A name is on one more node. Returns how it is kept.
    pub(super) fn enter(&mut self, name: &str) -> Arc<str> {
        let name = self.shared(name);
        let nodes = self.names.entry(name.clone()).or_default();
        *nodes += 1;
        if *nodes == 1 {
            match self.left.remove_entry(&name) {
                Some((name, due)) => {
                    self.left_by_time.remove(&(due, name));
                }
                None => {
                    self.joined.insert(name.clone());
                }
            }
        }
        name
    }

    /// A name is on one node less.
    pub(super) fn exit(&mut self, now: Duration, pace: &Pace, name: &Arc<str>) {
        let Some(nodes) = self.names.get_mut(name) else { return };
        *nodes -= 1;
        if *nodes > 0 {
            return;
        }
        self.names.remove(name);
        if !self.joined.remove(name) {
            let due = now + pace.linger;
            self.left.insert(name.clone(), due);
            self.left_by_time.insert((due, name.clone()));
        }
    }

    /// The name as it is kept already, or is to be kept.
    pub(super) fn shared(&self, name: &str) -> Arc<str> {
        self.names.get_key_value(name).map_or_else(|| name.into(), |(name, _)| name.clone())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// When there is something to tell.
    pub(super) fn next(&self, now: Duration, pace: &Pace) -> Option<Duration> {
        let left = self.left_by_time.first().map(|(due, _)| *due);
        let due = if self.joined.is_empty() { left? } else { now };
        Some(self.told.map_or(due, |told| due.max(told + pace.batch)))
    }

    /// Takes what is to be told now: who joined and who left.
    pub(super) fn tell(&mut self, now: Duration) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        self.told = Some(now);
        let mut left = Vec::new();
        while self.left_by_time.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, name)) = self.left_by_time.pop_first() else { break };
            self.left.remove(&name);
            left.push(name);
        }
        (std::mem::take(&mut self.joined).into_iter().collect(), left)
    }

    /// Whatever is to be told is to be told now.
    pub(super) fn hurry(&mut self, now: Duration) {
        self.told = None;
        self.left.values_mut().for_each(|due| *due = now);
        self.left_by_time = self.left.keys().map(|name| (now, name.clone())).collect();
    }

    /// Everybody who was told to be there, for a room that is left.
    pub(super) fn disperse(&mut self) -> Vec<Arc<str>> {
        let gone = std::mem::take(self);
        let there = gone.names.into_keys().filter(|name| !gone.joined.contains(name));
        there.chain(gone.left.into_keys()).collect()
    }

    /// What will have been told when nothing changes any more.
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(super) fn untold(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        (self.joined.iter().cloned().collect(), self.left.keys().cloned().collect())
    }
}
