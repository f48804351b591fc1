//! One room: who is in it on this node, who on others, and what is to be said about it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::crowd::Crowd;
use super::message::{Message, most_nodes, parts};
use super::own::Own;
use super::pace::ATTEMPTS;
use super::theirs::Theirs;
use crate::node::NodeId;

/// One room: who is in it on this node, who on others, and what is to be said about it.
#[derive(Default)]
pub(super) struct Room {
    pub(super) own: Own,
    pub(super) others: BTreeMap<NodeId, Theirs>,
    pub(super) crowd: Crowd,
    /// When something was announced last.
    pub(super) announced: Option<Duration>,
    /// Until then no other list is said.
    pub(super) busy: Duration,
    pub(super) answer: Answer,
    /// When all were asked, until it is looked who has answered; and how often in a row.
    pub(super) asked: Option<Duration>,
    pub(super) attempts: u32,
}

/// What somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Answer {
    #[default]
    Nothing,
    State,
    List,
}

/// What is to be done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    /// Says what has changed.
    Announce,
    /// Says what others have asked for.
    Answer,
    /// Asks the others.
    Ask,
    /// Looks who has answered.
    Review,
}

impl Room {
    pub(super) fn connections(&self) -> u64 {
        let others = self.others.values().map(|theirs| theirs.connections);
        others.fold(self.own.connections(), u64::saturating_add)
    }

    /// When the next announcement may be made.
    pub(super) fn next_announcement(&self, now: Duration, batch: Duration) -> Duration {
        self.announced.map_or(now, |announced| now.max(announced + batch))
    }

    /// All names of this node, in messages of at most so many bytes.
    pub(super) fn list(&self, limit: usize) -> Vec<Bytes> {
        let (state, names) = (self.own.state(), self.own.names().map(|name| &**name).collect::<Vec<_>>());
        let parts = parts(&names, limit, |name| name);
        let last = parts.len().saturating_sub(1);
        let messages = parts.iter().enumerate().map(|(index, names)| Message::List {
            version: state.version,
            connections: state.connections,
            part: index as u64,
            is_last: index == last,
            names: names.to_vec(),
        });
        messages.map(|message| message.encode()).collect()
    }

    /// What has changed on this node, in messages of at most so many bytes, each a version.
    pub(super) fn diff(&mut self, limit: usize) -> Vec<Bytes> {
        let (diff, connections) = (self.own.take_diff(), self.own.connections());
        let left = diff.left.iter().map(|name| (&**name, false));
        let names: Vec<_> = left.chain(diff.joined.iter().map(|name| (&**name, true))).collect();
        let mut messages = Vec::new();
        for part in parts(&names, limit, |(name, _)| name) {
            let of = |joined| part.iter().filter(|(_, is)| *is == joined).map(|(name, _)| *name).collect();
            let version = self.own.next_version();
            messages.push(Message::Diff { version, connections, joined: of(true), left: of(false) }.encode());
        }
        messages
    }

    /// A question for all others, with what is known of them.
    pub(super) fn ask(&self, limit: usize) -> Bytes {
        let known = self.others.iter().filter_map(|(node, theirs)| Some((*node, theirs.version?)));
        Message::Ask { state: self.own.state(), known: known.take(most_nodes(limit)).collect() }.encode()
    }

    /// Whether somebody else's question, after which all answer, says as much as this node's own would.
    pub(super) fn is_asked_by(&self, asker: NodeId, node: NodeId, known: &[(NodeId, u64)]) -> bool {
        let version = |node: NodeId| self.others.get(&node).and_then(|theirs| theirs.version);
        version(asker).is_some()
            && known.iter().all(|(other, theirs)| *other == node || version(*other) == Some(*theirs))
    }

    /// Those who have not said anything since they were asked, as often as is enough.
    pub(super) fn lost(&self) -> Vec<NodeId> {
        let Some(asked) = self.asked.filter(|_| self.attempts >= ATTEMPTS) else { return Vec::new() };
        self.others.iter().filter(|(_, theirs)| theirs.heard < asked).map(|(node, _)| *node).collect()
    }

    /// Whether all have answered what they were asked.
    pub(super) fn is_answered(&self) -> bool {
        let has_answered = |theirs: &Theirs| self.asked.is_none_or(|asked| theirs.heard >= asked);
        self.others.values().all(|theirs| theirs.version.is_some() && has_answered(theirs))
    }

    pub(super) fn present(&self) -> Vec<Arc<str>> {
        self.crowd.names().cloned().collect()
    }
}
