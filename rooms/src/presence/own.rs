//! This node's members in a room, and what of them the others have not been told yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::digest;
use super::message::State;

/// This node's members in a room, and what of them the others have not been told yet.
#[derive(Default)]
pub(super) struct Own {
    /// How many connections go by each name.
    names: BTreeMap<Arc<str>, u64>,
    named: u64,
    unnamed: u64,
    digest: u64,
    announced: Option<Announced>,
}

/// What others were told, and what has become of it since then.
struct Announced {
    version: u64,
    connections: u64,
    /// The names that they do not know of, and those that they still believe in.
    changed: BTreeMap<Arc<str>, Changed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Changed {
    Joined,
    Left,
}

/// The names that have joined and left since the last announcement.
#[derive(Default)]
pub(super) struct Diff {
    pub(super) joined: Vec<Arc<str>>,
    pub(super) left: Vec<Arc<str>>,
}

impl Own {
    /// A connection more. True if it is the first of its name.
    pub(super) fn join(&mut self, who: Option<&Arc<str>>) -> bool {
        let Some(who) = who else {
            self.unnamed += 1;
            return false;
        };
        self.named += 1;
        let connections = self.names.entry(who.clone()).or_default();
        *connections += 1;
        if *connections > 1 {
            return false;
        }
        self.digest = self.digest.wrapping_add(digest::of(who));
        self.note(who, Changed::Joined);
        true
    }

    /// A connection less; `None` if there is none. True if it was the last of its name.
    pub(super) fn leave(&mut self, who: Option<&Arc<str>>) -> Option<bool> {
        let Some(who) = who else {
            self.unnamed = self.unnamed.checked_sub(1)?;
            return Some(false);
        };
        let connections = self.names.get_mut(who)?;
        *connections -= 1;
        self.named -= 1;
        if *connections > 0 {
            return Some(false);
        }
        self.names.remove(who);
        self.digest = self.digest.wrapping_sub(digest::of(who));
        self.note(who, Changed::Left);
        Some(true)
    }

    fn note(&mut self, who: &Arc<str>, change: Changed) {
        let Some(announced) = &mut self.announced else { return };
        // Who left and came back, or came and left again, is as the others have been told.
        if announced.changed.get(who).is_some_and(|before| *before != change) {
            announced.changed.remove(who);
        } else {
            announced.changed.insert(who.clone(), change);
        }
    }

    pub(super) fn connections(&self) -> u64 {
        self.named + self.unnamed
    }

    pub(super) fn is_empty(&self) -> bool {
        self.connections() == 0
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.names.keys()
    }

    /// Whether others have been told of this room.
    pub(super) fn is_announced(&self) -> bool {
        self.announced.is_some()
    }

    /// Whether others have yet to be told something.
    pub(super) fn has_changed(&self) -> bool {
        self.announced.as_ref().is_none_or(|told| !told.changed.is_empty() || told.connections != self.connections())
    }

    /// Begins to count versions, all names being announced at once.
    pub(super) fn begin(&mut self, version: u64) {
        let connections = self.connections();
        self.announced = Some(Announced { version, connections, changed: BTreeMap::new() });
    }

    /// Takes what is to be announced as a change.
    pub(super) fn take_diff(&mut self) -> Diff {
        let connections = self.connections();
        let mut diff = Diff::default();
        let Some(announced) = &mut self.announced else { return diff };
        announced.connections = connections;
        for (name, change) in std::mem::take(&mut announced.changed) {
            match change {
                Changed::Joined => diff.joined.push(name),
                Changed::Left => diff.left.push(name),
            }
        }
        diff
    }

    /// The version of the next announcement.
    pub(super) fn next_version(&mut self) -> u64 {
        let Some(announced) = &mut self.announced else { return 0 };
        announced.version = announced.version.wrapping_add(1);
        announced.version
    }

    /// What was announced last, if nothing has changed since then.
    pub(super) fn state(&self) -> State {
        let version = self.announced.as_ref().map_or(0, |announced| announced.version);
        State { version, connections: self.connections(), digest: self.digest }
    }
}
