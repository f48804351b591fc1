//! A node, and its way to the broker and back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::super::random::Random;
use super::super::{Limits, Output, Presence};
use crate::node::NodeId;

pub(super) const HEARTBEAT: Duration = Duration::from_secs(5);
pub(super) const ROOMS: [&str; 3] = ["a", "b", "c"];
pub(super) const LIMITS: Limits = Limits { message: 160, nodes: 32, names: 100 };

/// What goes to the broker.
#[derive(Debug)]
pub(super) enum Sent {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Publish(Output),
    /// All that came before has been done.
    Ready,
}

/// What comes from the broker.
#[derive(Debug, Clone)]
pub(super) enum Came {
    Message(NodeId, Output),
    Ready,
}

/// One way of a connection: everything arrives in order, each at its time.
#[derive(Debug)]
pub(super) struct Pipe<T>(pub(super) VecDeque<(Duration, T)>);

impl<T> Pipe<T> {
    pub(super) fn push(&mut self, at: Duration, item: T) {
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, item));
    }

    pub(super) fn next(&self) -> Option<Duration> {
        self.0.front().map(|(at, _)| *at)
    }

    pub(super) fn pop(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_front().map(|(_, item)| item)
    }
}

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) presence: Presence,
    pub(super) members: Vec<(&'static str, Option<&'static str>)>,
    /// What has been told, put together.
    pub(super) told: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    pub(super) to_broker: Pipe<Sent>,
    pub(super) from_broker: Pipe<Came>,
    pub(super) subscribed: BTreeSet<Arc<str>>,
    pub(super) way: Way,
    pub(super) is_paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    /// Nothing gets through, and the node notices it then.
    Cut(Duration),
    /// The node knows it.
    Away,
    /// It subscribes once more.
    Coming,
}

impl Node {
    pub(super) fn new(random: &mut Random) -> Self {
        let id = NodeId::from_bytes(random.number().to_be_bytes());
        Self {
            id,
            presence: Presence::new(id, HEARTBEAT, random.number()).limits(LIMITS),
            members: Vec::new(),
            told: BTreeMap::new(),
            to_broker: Pipe(VecDeque::new()),
            from_broker: Pipe(VecDeque::new()),
            subscribed: BTreeSet::new(),
            way: Way::Away,
            is_paused: false,
        }
    }

    pub(super) fn is_in(&self, room: &str) -> bool {
        self.members.iter().any(|(in_room, _)| *in_room == room)
    }

    pub(super) fn next(&self) -> Option<Duration> {
        let cut = if let Way::Cut(at) = self.way { Some(at) } else { None };
        let awake = [cut, self.from_broker.next(), self.presence.poll_timeout()];
        let awake = awake.into_iter().flatten().min().filter(|_| !self.is_paused);
        [self.to_broker.next(), awake].into_iter().flatten().min()
    }

    /// Applies what is told. At any time, that and what is still to be told is who is present.
    pub(super) fn listen(&mut self) {
        while let Some(change) = self.presence.poll_change() {
            let told = self.told.entry(change.room).or_default();
            for name in change.left {
                assert!(told.remove(&name), "{name} left without being there");
            }
            for name in change.joined {
                assert!(told.insert(name.clone()), "{name} joined twice");
            }
        }
        for room in ROOMS {
            let mut told = self.told.get(room).cloned().unwrap_or_default();
            if let Some((joined, left)) = self.presence.rooms.get(room).map(|room| room.crowd.untold()) {
                left.iter().for_each(|name| assert!(told.remove(name)));
                joined.into_iter().for_each(|name| assert!(told.insert(name)));
            }
            assert_eq!(told.into_iter().collect::<Vec<_>>(), self.presence.present(room));
        }
    }
}
