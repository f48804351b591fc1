//! The other nodes, and whether they live.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pace::Pace;
use crate::node::NodeId;

/// The other nodes, and whether they live.
pub(super) struct Peers {
    known: BTreeMap<NodeId, Peer>,
    most: usize,
    /// Nobody is silent for too long before this.
    next: Option<Duration>,
}

struct Peer {
    heard: Duration,
    silence: Duration,
    round: u64,
}

impl Peers {
    pub(super) fn new(most: usize) -> Self {
        Self { known: BTreeMap::new(), most, next: None }
    }

    /// Something came from a node. False if there are too many to remember this one.
    pub(super) fn hear(&mut self, now: Duration, pace: &Pace, node: NodeId) -> bool {
        if let Some(peer) = self.known.get_mut(&node) {
            peer.heard = now;
            return true;
        }
        if self.known.len() >= self.most {
            return false;
        }
        let silence = pace.silence(pace.heartbeat);
        self.known.insert(node, Peer { heard: now, silence, round: 0 });
        self.expect(now + silence);
        true
    }

    /// What a known node says of itself.
    pub(super) fn beat(&mut self, pace: &Pace, node: NodeId, heartbeat: Duration, round: u64) {
        let Some(peer) = self.known.get_mut(&node) else { return };
        (peer.silence, peer.round) = (pace.silence(heartbeat), round);
        let end = peer.heard + peer.silence;
        self.expect(end);
    }

    /// How often a node has said the state of all its rooms.
    pub(super) fn round(&self, node: NodeId) -> u64 {
        self.known.get(&node).map_or(0, |peer| peer.round)
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.known.remove(&node);
    }

    /// This node was asleep for so long: it could not have heard anybody.
    pub(super) fn excuse(&mut self, asleep: Duration) {
        self.known.values_mut().for_each(|peer| peer.heard += asleep);
    }

    /// When somebody may have been silent for too long.
    pub(super) fn next(&self) -> Option<Duration> {
        self.next
    }

    /// Forgets those that have been silent for too long.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<NodeId> {
        if self.next.is_none_or(|next| now < next) {
            return Vec::new();
        }
        let is_silent = |peer: &Peer| peer.heard + peer.silence <= now;
        let gone = self.known.iter().filter(|(_, peer)| is_silent(peer)).map(|(node, _)| *node).collect();
        self.known.retain(|_, peer| !is_silent(peer));
        self.next = self.known.values().map(|peer| peer.heard + peer.silence).min();
        gone
    }

    fn expect(&mut self, end: Duration) {
        self.next = Some(self.next.map_or(end, |next| next.min(end)));
    }
}
