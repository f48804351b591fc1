//! Many nodes and a broker, in virtual time, with whatever can happen to them. The same seed does the same.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::pace::Pace;
use super::random::Random;
use super::{Limits, Output, Presence};
use crate::node::NodeId;

const HEARTBEAT: Duration = Duration::from_secs(5);
/// The most that something is on its way to the broker, or from there.
const DELAY: Duration = Duration::from_millis(20);
const NODES: usize = 4;
const ROOMS: [&str; 3] = ["a", "b", "c"];
/// So long that few of them fit into a message.
const NAMES: [&str; 6] = [
    "ann of the many names, and many more",
    "bob of the many names, and many more",
    "cem of the many names, and many more",
    "dan of the many names, and many more",
    "eva of the many names, and many more",
    "flo",
];
const LIMITS: Limits = Limits { message: 160, nodes: 32, names: 100 };

/// What can be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Losses {
    /// Only what is on its way on a connection that ends.
    WithConnection,
    /// Anything, while there are faults.
    Anywhere,
}

/// What goes to the broker.
#[derive(Debug)]
enum Sent {
    Subscribe(Arc<str>),
    Unsubscribe(Arc<str>),
    Publish(Output),
    /// All that came before has been done.
    Ready,
}

/// What comes from the broker.
#[derive(Debug, Clone)]
enum Came {
    Message(NodeId, Output),
    Ready,
}

/// One way of a connection: everything arrives in order, each at its time.
#[derive(Debug)]
struct Pipe<T>(VecDeque<(Duration, T)>);

impl<T> Pipe<T> {
    fn push(&mut self, at: Duration, item: T) {
        let at = self.0.back().map_or(at, |(last, _)| at.max(*last));
        self.0.push_back((at, item));
    }

    fn next(&self) -> Option<Duration> {
        self.0.front().map(|(at, _)| *at)
    }

    fn pop(&mut self, now: Duration) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_front().map(|(_, item)| item)
    }
}

struct Node {
    id: NodeId,
    presence: Presence,
    members: Vec<(&'static str, Option<&'static str>)>,
    /// What has been told, put together.
    told: BTreeMap<Arc<str>, BTreeSet<Arc<str>>>,
    to_broker: Pipe<Sent>,
    from_broker: Pipe<Came>,
    subscribed: BTreeSet<Arc<str>>,
    way: Way,
    is_paused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    /// Nothing gets through, and the node notices it then.
    Cut(Duration),
    /// The node knows it.
    Away,
    /// It subscribes once more.
    Coming,
}

struct World {
    now: Duration,
    random: Random,
    nodes: Vec<Node>,
    is_lossy: bool,
}

impl Node {
    fn new(random: &mut Random) -> Self {
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

    fn is_in(&self, room: &str) -> bool {
        self.members.iter().any(|(in_room, _)| *in_room == room)
    }

    fn next(&self) -> Option<Duration> {
        let cut = if let Way::Cut(at) = self.way { Some(at) } else { None };
        let awake = [cut, self.from_broker.next(), self.presence.poll_timeout()];
        let awake = awake.into_iter().flatten().min().filter(|_| !self.is_paused);
        [self.to_broker.next(), awake].into_iter().flatten().min()
    }

    /// Applies what is told. At any time, that and what is still to be told is who is present.
    fn listen(&mut self) {
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

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nodes = (0..NODES).map(|_| Node::new(&mut random)).collect();
        let mut world = Self { now: Duration::from_secs(1000), random, nodes, is_lossy: false };
        (0..NODES).for_each(|index| world.reconnect(index));
        world
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.number() % one_in == 0
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.random.number() as usize % items.len()]
    }

    fn send(&mut self, index: usize, sent: Sent) {
        let at = self.now + self.random.below(DELAY);
        self.nodes[index].to_broker.push(at, sent);
    }

    /// Hands over what a node wants to say, and hears what it tells.
    fn pump(&mut self, index: usize) {
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

    fn join(&mut self, index: usize, room: &'static str, who: Option<&'static str>) {
        let is_first = !self.nodes[index].is_in(room);
        self.nodes[index].members.push((room, who));
        if is_first && matches!(self.nodes[index].way, Way::Up | Way::Coming) {
            self.send(index, Sent::Subscribe(room.into()));
        }
        let who = who.map(Arc::from);
        self.nodes[index].presence.join(self.now, &room.into(), who.as_ref());
        self.pump(index);
    }

    fn leave(&mut self, index: usize, member: usize) {
        let (room, who) = self.nodes[index].members.swap_remove(member);
        if !self.nodes[index].is_in(room) && matches!(self.nodes[index].way, Way::Up | Way::Coming) {
            self.send(index, Sent::Unsubscribe(room.into()));
        }
        let who = who.map(Arc::from);
        self.nodes[index].presence.leave(self.now, &room.into(), who.as_ref());
        self.pump(index);
    }

    /// Somebody joins or leaves somewhere.
    fn stir(&mut self) {
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
    fn cut(&mut self, index: usize) {
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

    fn notice(&mut self, index: usize) {
        self.nodes[index].way = Way::Away;
        self.nodes[index].presence.disconnected(self.now);
        self.pump(index);
    }

    fn reconnect(&mut self, index: usize) {
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
    fn kill(&mut self, index: usize) {
        self.nodes[index] = Node::new(&mut self.random);
        self.reconnect(index);
    }

    /// It is shut down as it should be, and another one begins.
    fn restart(&mut self, index: usize) {
        self.nodes[index].presence.farewell();
        self.pump(index);
        while self.nodes[index].to_broker.next().is_some() {
            self.step();
        }
        self.kill(index);
    }

    fn fault(&mut self) {
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

    fn heal(&mut self) {
        self.is_lossy = false;
        for index in 0..NODES {
            self.nodes[index].is_paused = false;
            self.reconnect(index);
        }
    }

    /// Does what happens next.
    fn step(&mut self) {
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
    fn serve(&mut self, index: usize, sent: Sent) {
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

    fn deliver(&mut self, to: usize, came: Came) {
        let at = self.now + self.random.below(DELAY);
        self.nodes[to].from_broker.push(at, came);
    }

    fn run(&mut self, time: Duration, mut meanwhile: impl FnMut(&mut Self)) {
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
    fn truth(&self, room: &str) -> (Vec<&'static str>, usize) {
        let members = || self.nodes.iter().flat_map(|node| &node.members).filter(|(in_room, _)| *in_room == room);
        let names: BTreeSet<_> = members().filter_map(|(_, who)| *who).collect();
        (names.into_iter().collect(), members().count())
    }

    /// What is not as it should be.
    fn errors(&self) -> Vec<impl Debug + use<>> {
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

/// How long it may take until all is right, by what `presence` promises, and what messages take on their way.
fn documented(losses: Losses) -> Duration {
    let pace = Pace::new(HEARTBEAT);
    let (spread, batch, trips) = (pace.spread(ROOMS.len()), pace.batch, 10 * DELAY);
    trips
        + match losses {
            Losses::WithConnection => 3 * HEARTBEAT + 2 * spread + 6 * batch,
            Losses::Anywhere => 8 * HEARTBEAT + 2 * spread + 6 * batch,
        }
}

fn simulate(seed: u64, losses: Losses) {
    let mut world = World::new(seed);
    let faults = Duration::from_secs(world.random.number() % 60);
    world.is_lossy = losses == Losses::Anywhere;
    world.run(faults, |world| {
        if world.chance(4) {
            world.fault();
        } else {
            world.stir();
        }
    });
    world.heal();
    // Life goes on until shortly before it is looked at.
    let last = 5 * Pace::new(HEARTBEAT).batch + 6 * DELAY;
    world.run(documented(losses) - last, |world| {
        if world.chance(8) {
            world.stir();
        }
    });
    world.run(last, |_| {});
    let errors = world.errors();
    assert!(errors.is_empty(), "{losses:?} {seed}: {errors:#?}");
    // And when nothing changes any more, everything has been told.
    world.run(Duration::from_secs(2), |_| {});
    for node in &world.nodes {
        for room in ROOMS {
            let told = node.told.get(room).into_iter().flatten().cloned().collect::<Vec<_>>();
            assert_eq!(told, node.presence.present(room));
        }
    }
}

#[test]
fn all_is_right_in_time_after_connections_were_lost() {
    (0..100).for_each(|seed| simulate(seed, Losses::WithConnection));
}

#[test]
fn all_is_right_in_time_after_anything_was_lost() {
    (0..100).for_each(|seed| simulate(seed, Losses::Anywhere));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn all_is_right_in_time_whatever_happens(seed: u64, anything_is_lost: bool) {
        simulate(seed, if anything_is_lost { Losses::Anywhere } else { Losses::WithConnection });
    }
}
