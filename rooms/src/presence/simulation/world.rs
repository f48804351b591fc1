//! Nodes and their broker, and what befalls them.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use super::super::Output;
use super::super::random::Random;
use super::node::{Came, HEARTBEAT, LIMITS, Node, ROOMS, Sent, Way};

/// The most that something is on its way to the broker, or from there.
pub(super) const DELAY: Duration = Duration::from_millis(20);
pub(super) const NODES: usize = 4;
/// So long that few of them fit into a message.
pub(super) const NAMES: [&str; 6] = [
    "ann of the many names, and many more",
    "bob of the many names, and many more",
    "cem of the many names, and many more",
    "dan of the many names, and many more",
    "eva of the many names, and many more",
    "flo",
];

pub(super) struct World {
    pub(super) now: Duration,
    pub(super) random: Random,
    pub(super) nodes: Vec<Node>,
    pub(super) is_lossy: bool,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = (0..NODES).map(|_| Node::new(&mut random)).collect();
        let mut world = Self { now: Duration::from_secs(1000), random, nodes, is_lossy: false };
        (0..NODES).for_each(|index| world.reconnect(index));
        world
    }

    pub(super) fn chance(&mut self, one_in: u64) -> bool {
        self.random.number() % one_in == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.random.number() as usize % items.len()]
    }

    pub(super) fn send(&mut self, index: usize, sent: Sent) {
        let at = self.now + self.random.below(DELAY);
        self.nodes[index].to_broker.push(at, sent);
    }

    /// Hands over what a node wants to say, and hears what it tells.
    pub(super) fn pump(&mut self, index: usize) {
        while let Some(output) = self.nodes[index].presence.poll_output() {
            assert!(output.bytes.len() <= LIMITS.message, "{output:?}");
            match self.nodes[index].way {
                Way::Up => self.send(index, Sent::Publish(output)),
                Way::Cut(_) => {}
                Way::Away | Way::Coming => panic!("there is no connection"),
            }
        }
        self.nodes[index].listen();
    }

    pub(super) fn join(&mut self, index: usize, room: &'static str, who: Option<&'static str>) {
        let is_first = !self.nodes[index].is_in(room);
        self.nodes[index].members.push((room, who));
        if is_first && matches!(self.nodes[index].way, Way::Up | Way::Coming) {
            self.send(index, Sent::Subscribe(room.into()));
        }
        let who = who.map(Arc::from);
        self.nodes[index].presence.join(self.now, &room.into(), who.as_ref());
        self.pump(index);
    }

    pub(super) fn leave(&mut self, index: usize, member: usize) {
        let (room, who) = self.nodes[index].members.swap_remove(member);
        if !self.nodes[index].is_in(room) && matches!(self.nodes[index].way, Way::Up | Way::Coming) {
            self.send(index, Sent::Unsubscribe(room.into()));
        }
        let who = who.map(Arc::from);
        self.nodes[index].presence.leave(self.now, &room.into(), who.as_ref());
        self.pump(index);
    }

    /// Somebody joins or leaves somewhere.
    pub(super) fn stir(&mut self) {
        let index = self.random.number() as usize % NODES;
        if self.nodes[index].is_paused {
            return;
        }
        let members = self.nodes[index].members.len();
        if members > 0 && self.random.number() % 12 < members as u64 {
            let member = self.random.number() as usize % members;
            self.leave(index, member);
        } else {
            let (room, who) = (self.pick(&ROOMS), self.pick(&NAMES));
            let who = if self.chance(4) { None } else { Some(who) };
            self.join(index, room, who);
        }
    }

    /// The connection is gone: some of what was on its way is lost. The node may notice that later.
    pub(super) fn cut(&mut self, index: usize) {
        let kept = self.random.number() as usize % 4;
        let notices = self.now + self.random.below(HEARTBEAT * 2);
        let node = &mut self.nodes[index];
        if node.way != Way::Up && node.way != Way::Coming {
            return;
        }
        node.to_broker.0.retain(|(_, sent)| !matches!(sent, Sent::Ready));
        node.to_broker.0.truncate(kept);
        node.from_broker.0.clear();
        // It hears nothing more, and what is kept above is the last that the broker gets.
        node.subscribed.clear();
        node.to_broker.0.retain(|(_, sent)| matches!(sent, Sent::Publish(..)));
        node.way = if node.way == Way::Coming { Way::Away } else { Way::Cut(notices) };
    }

    pub(super) fn notice(&mut self, index: usize) {
        self.nodes[index].way = Way::Away;
        self.nodes[index].presence.disconnected(self.now);
        self.pump(index);
    }

    pub(super) fn reconnect(&mut self, index: usize) {
        if let Way::Cut(_) = self.nodes[index].way {
            self.notice(index);
        }
        if self.nodes[index].way != Way::Away {
            return;
        }
        self.nodes[index].way = Way::Coming;
        for room in ROOMS {
            if self.nodes[index].is_in(room) {
                self.send(index, Sent::Subscribe(room.into()));
            }
        }
        self.send(index, Sent::Ready);
    }

    /// The process ends, and another one begins.
    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index] = Node::new(&mut self.random);
        self.reconnect(index);
    }

    /// It is shut down as it should be, and another one begins.
    pub(super) fn restart(&mut self, index: usize) {
        self.nodes[index].presence.farewell();
        self.pump(index);
        while self.nodes[index].to_broker.next().is_some() {
            self.step();
        }
        self.kill(index);
    }

    pub(super) fn fault(&mut self) {
        let index = self.random.number() as usize % NODES;
        match self.random.number() % 8 {
            0 | 1 => self.cut(index),
            2..=4 if !self.nodes[index].is_paused => self.reconnect(index),
            5 => self.kill(index),
            6 if !self.nodes[index].is_paused && self.nodes[index].way == Way::Up => self.restart(index),
            7 => self.nodes[index].is_paused = !self.nodes[index].is_paused,
            _ => {}
        }
    }

    pub(super) fn heal(&mut self) {
        self.is_lossy = false;
        for index in 0..NODES {
            self.nodes[index].is_paused = false;
            self.reconnect(index);
        }
    }

    /// Does what happens next.
    pub(super) fn step(&mut self) {
        let next = (0..NODES).filter_map(|index| self.nodes[index].next().map(|at| (at, index)));
        let Some((at, index)) = next.min() else { return };
        self.now = self.now.max(at);
        if let Some(sent) = self.nodes[index].to_broker.pop(self.now) {
            return self.serve(index, sent);
        }
        if let Way::Cut(at) = self.nodes[index].way {
            if at <= self.now {
                return self.notice(index);
            }
        }
        let now = self.now;
        match self.nodes[index].from_broker.pop(now) {
            Some(Came::Message(from, Output { room, bytes })) => {
                self.nodes[index].presence.receive(now, room.as_deref(), from, &bytes).unwrap();
            }
            Some(Came::Ready) => {
                self.nodes[index].way = Way::Up;
                self.nodes[index].presence.connected(now, usize::MAX);
            }
            None => self.nodes[index].presence.handle_timeout(now),
        }
        self.pump(index);
    }

    /// What the broker does.
    pub(super) fn serve(&mut self, index: usize, sent: Sent) {
        match sent {
            Sent::Subscribe(room) => drop(self.nodes[index].subscribed.insert(room)),
            Sent::Unsubscribe(room) => drop(self.nodes[index].subscribed.remove(&room)),
            Sent::Ready => self.deliver(index, Came::Ready),
            Sent::Publish(output) => {
                let from = self.nodes[index].id;
                for to in 0..NODES {
                    let is_subscribed = match &output.room {
                        Some(room) => self.nodes[to].subscribed.contains(room),
                        None => self.nodes[to].way == Way::Up,
                    };
                    if is_subscribed && !(self.is_lossy && self.chance(4)) {
                        self.deliver(to, Came::Message(from, output.clone()));
                    }
                }
            }
        }
    }

    pub(super) fn deliver(&mut self, to: usize, came: Came) {
        let at = self.now + self.random.below(DELAY);
        self.nodes[to].from_broker.push(at, came);
    }

    pub(super) fn run(&mut self, time: Duration, mut meanwhile: impl FnMut(&mut Self)) {
        let end = self.now + time;
        let mut next = self.now;
        while next < end {
            while self.nodes.iter().filter_map(Node::next).min().is_some_and(|at| at <= next) {
                self.step();
            }
            self.now = self.now.max(next);
            meanwhile(self);
            next = self.now + self.random.below(Duration::from_millis(400));
        }
        while self.nodes.iter().filter_map(Node::next).min().is_some_and(|at| at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Who is in a room, and how many connections, in truth.
    pub(super) fn truth(&self, room: &str) -> (Vec<&'static str>, usize) {
        let members = || self.nodes.iter().flat_map(|node| &node.members).filter(|(in_room, _)| *in_room == room);
        let names: BTreeSet<_> = members().filter_map(|(_, who)| *who).collect();
        (names.into_iter().collect(), members().count())
    }

    /// What is not as it should be.
    pub(super) fn errors(&self) -> Vec<impl Debug + use<>> {
        let mut errors = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            for room in ROOMS.into_iter().filter(|room| node.is_in(room)) {
                let (names, count) = self.truth(room);
                let present = node.presence.present(room);
                if present.iter().map(|name| &**name).ne(names.iter().copied()) || node.presence.count(room) != count {
                    errors.push((index, node.id, room, present, node.presence.count(room), names, count));
                }
            }
            for room in ROOMS.into_iter().filter(|room| !node.is_in(room)) {
                assert_eq!((node.presence.present(room).len(), node.presence.count(room)), (0, 0));
            }
        }
        errors
    }
}
