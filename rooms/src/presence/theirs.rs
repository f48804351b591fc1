//! What is known of another node's members in a room.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::crowd::Crowd;
use super::digest;
use super::message::State;
use super::pace::Pace;

/// What is known of another node's members in a room: always what they were at one time, names and connections.
#[derive(Default)]
pub(super) struct Theirs {
    /// The version that this is; `None` if something is known to be missing.
    pub(super) version: Option<u64>,
    pub(super) connections: u64,
    names: BTreeSet<Arc<str>>,
    digest: u64,
    /// There are more names than are remembered.
    is_cut: bool,
    coming: Option<Coming>,
    /// When the node was last heard in this room, and in which of its rounds.
    pub(super) heard: Duration,
    pub(super) round: u64,
}

/// A list of which not all has come.
struct Coming {
    version: u64,
    parts: u64,
    names: BTreeSet<Arc<str>>,
    is_cut: bool,
}

/// A change.
pub(super) struct Change<'a> {
    pub(super) version: u64,
    pub(super) connections: u64,
    pub(super) joined: &'a [&'a str],
    pub(super) left: &'a [&'a str],
}

/// A part of a list.
pub(super) struct Part<'a> {
    pub(super) version: u64,
    pub(super) connections: u64,
    pub(super) index: u64,
    pub(super) is_last: bool,
    pub(super) names: &'a [&'a str],
}

/// What names are added to and taken from, and how.
pub(super) struct Place<'a> {
    pub(super) now: Duration,
    pub(super) pace: &'a Pace,
    /// How many names of a node are remembered.
    pub(super) most: usize,
    pub(super) crowd: &'a mut Crowd,
}

impl Theirs {
    /// Compares with what the node says of itself.
    pub(super) fn compare(&mut self, state: State) {
        let has_names = self.digest == state.digest || self.is_cut;
        if self.version != Some(state.version) || self.connections != state.connections || !has_names {
            self.version = None;
        }
    }

    /// Whether more of a list is to come.
    pub(super) fn is_coming(&self) -> bool {
        self.coming.is_some()
    }

    /// Follows a change, if it is the next one.
    pub(super) fn follow(&mut self, place: &mut Place<'_>, change: &Change<'_>) {
        if self.version.is_none_or(|before| before.wrapping_add(1) != change.version) {
            self.version = None;
            return;
        }
        (self.version, self.connections) = (Some(change.version), change.connections);
        for name in change.left {
            if let Some(name) = self.names.take(*name) {
                self.remove(place, &name);
            }
        }
        for name in change.joined {
            self.add(place, name);
        }
    }

    /// Takes a part of a list. When the last one has come, in order, the list is what is known.
    pub(super) fn list(&mut self, place: &mut Place<'_>, part: &Part<'_>) {
        if self.version == Some(part.version) {
            return;
        }
        self.version = None;
        if part.index == 0 {
            let (version, names) = (part.version, BTreeSet::new());
            self.coming = Some(Coming { version, parts: 0, names, is_cut: false });
        }
        let fits = |coming: &Coming| coming.version == part.version && coming.parts == part.index;
        let Some(mut coming) = self.coming.take().filter(fits) else { return };
        coming.add(place, part.names);
        if part.is_last {
            self.connections = part.connections;
            self.replace(place, coming);
        } else {
            self.coming = Some(coming);
        }
    }

    fn replace(&mut self, place: &mut Place<'_>, coming: Coming) {
        for name in std::mem::take(&mut self.names) {
            if coming.names.contains(&name) {
                self.names.insert(name);
            } else {
                self.remove(place, &name);
            }
        }
        for name in &coming.names {
            self.add(place, name);
        }
        (self.version, self.is_cut) = (Some(coming.version), coming.is_cut);
    }

    /// The node is gone, or has left the room.
    pub(super) fn disperse(self, place: &mut Place<'_>) {
        for name in &self.names {
            place.crowd.exit(place.now, place.pace, name);
        }
    }

    fn add(&mut self, place: &mut Place<'_>, name: &str) {
        if self.names.contains(name) {
            return;
        }
        if self.names.len() >= place.most {
            self.is_cut = true;
            return;
        }
        self.names.insert(place.crowd.enter(name));
        self.digest = self.digest.wrapping_add(digest::of(name));
    }

    fn remove(&mut self, place: &mut Place<'_>, name: &Arc<str>) {
        place.crowd.exit(place.now, place.pace, name);
        self.digest = self.digest.wrapping_sub(digest::of(name));
    }
}

impl Coming {
    fn add(&mut self, place: &Place<'_>, names: &[&str]) {
        self.parts += 1;
        for name in names {
            if self.names.len() >= place.most {
                self.is_cut = true;
                return;
            }
            self.names.insert(place.crowd.shared(name));
        }
    }
}
