//! Who is in which room, over all nodes, from nothing but what the nodes tell each other through the broker.
//!
//! # What is said
//!
//! In a room's channel each node that has members there announces how they change ([`Diff`](Message::Diff)), at most once
//! in a *batch*, with a version that grows by one each time. Who misses a version asks, and so does who comes: a question
//! ([`Ask`](Message::Ask)) names the versions that are known, and every node in the room answers it, by its state if that
//! is the version that it has, and by its list if not. Answers are spread over two batches, and one serves all who asked.
//! In the nodes' channel each node says once in a *heartbeat* that it lives.
//!
//! A node is drawn anew for each process, so a node that comes back is another one. A room that a node comes back to
//! begins with a random version. Versions are only ever compared for being the same, or the next one: whatever else
//! comes, forged or out of order, ends in a question.
//!
//! # When it is right
//!
//! With a heartbeat *h*, a batch *b* of 100 ms or *h*/10 if that is less, and *s*, the time over which a node spreads
//! questions about its *R* rooms: *h*/10, and *b* for each 128 of them.
//!
//! - A change is known everywhere after *b*; 2 *b* where the room has just been entered by its first member on a node,
//!   and 5 *b* until that node knows all others. Lists of more than one message are said at most once for each *b* and
//!   message.
//! - A node that dies is gone with its members after 3 *h*. One that says goodbye is gone at once.
//! - A connection that was lost: after the reconnect all is right again in 3 *h* + 2 *s* + 6 *b*; most of it is in
//!   *s* + 5 *b*, and the rest are members of nodes that have left a room meanwhile.
//! - What was lost on a connection that stayed: in each heartbeat a node says the state of 64 of its rooms. With a round of
//!   *r* = ⌈*R* / 64⌉ *h* it is noticed within *r*, and asked for again in each heartbeat until it has come; that somebody is
//!   no longer there is noticed within 5 *r* + 3 *h*.
//!
//! # What is told
//!
//! Names: who joins is told at once, but at most once in a batch for a room; who leaves is told after having been away for
//! the *linger* time, 1 s or *h*/2. Somebody who comes back before that, on whatever node, is not told at all. What is
//! [present](Presence::present) is not delayed: to apply what is told to it, in the order in which it is told, is always
//! right, since it says of each name what has become of it.
//!
//! # What others can do
//!
//! Whoever may publish at the broker may say anything. What is malformed is an error, what comes in this node's own name
//! is ignored, only rooms that this node is in are remembered, and [`Limits`] are for the rest.

mod agenda;
#[cfg(any(test, feature = "__fuzzing"))]
pub(crate) mod anything;
mod crowd;
mod digest;
mod hear;
mod message;
mod own;
mod pace;
mod peers;
mod random;
mod room;
mod rounds;
mod say;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod theirs;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::agenda::Agenda;
use self::message::Message;
use self::pace::Pace;
use self::peers::Peers;
use self::random::Random;
use self::room::{Answer, Room, Task};
use self::rounds::{Departed, Rounds};
use self::theirs::Place;
use crate::node::NodeId;

/// The longest name of who is in a room, in bytes.
pub const MAX_WHO: usize = 128;

/// Who has joined a room, and who has left it, on any node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// The room.
    pub room: Arc<str>,
    /// Those who were in it with no connection before.
    pub joined: Vec<Arc<str>>,
    /// Those whose last connection has left it.
    pub left: Vec<Arc<str>>,
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// In the channel of this room; without one in that of the nodes.
    pub(crate) room: Option<Arc<str>>,
    pub(crate) bytes: Bytes,
}

/// It is nothing that a node says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// How much of others is remembered, and how long messages are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a message that is published. A question in a room of very many nodes names fewer of them, and a name always
    /// fits.
    pub(crate) message: usize,
    /// Other nodes. More are as if they were not there.
    pub(crate) nodes: usize,
    /// Names of one other node in one room. More are not present, but counted.
    pub(crate) names: usize,
}

impl Default for Limits {
    /// Messages that every broker takes, more nodes than there are, and as many names as a room is likely to have.
    fn default() -> Self {
        Self { message: 32 * 1024, nodes: 1024, names: 100_000 }
    }
}

/// Who is in which room. Rooms are known by their tokens, and `now` is the time since any start, the same for all calls.
///
/// Whatever was called, what there is to be [published](Self::poll_output) and [told](Self::poll_change) is polled, and
/// [`handle_timeout`](Self::handle_timeout) is called when [`poll_timeout`](Self::poll_timeout) says so.
pub(crate) struct Presence {
    node: NodeId,
    pace: Pace,
    limits: Limits,
    max_message: usize,
    random: Random,
    link: Link,
    rooms: BTreeMap<Arc<str>, Room>,
    peers: Peers,
    /// What is to be published.
    agenda: Agenda<Task>,
    /// What is to be told.
    tells: Agenda<()>,
    rounds: Rounds,
    /// Going through all rooms to ask, and when that goes on.
    sweep: Option<Rounds>,
    sweep_at: Duration,
    departed: Departed,
    /// When the next heartbeat is due, once there has been a connection.
    tick: Option<Duration>,
    /// Nothing of the agenda is done before this.
    resume: Duration,
    /// How many bytes were said since it was looked.
    said: usize,
    output: VecDeque<Output>,
    changes: VecDeque<Change>,
}

/// The connection to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// There is no broker.
    Local,
    Away,
    Up,
    /// Goodbye was said.
    Over,
}

impl Presence {
    /// For rooms on one node: nothing is published, everything is told at once, and no timer is needed.
    pub(crate) fn local() -> Self {
        Self::with(NodeId::from_bytes([0; 8]), Pace::AT_ONCE, Link::Local, 0)
    }

    /// For rooms on many nodes, of which this is one. It is not connected yet. `seed` should differ from node to node.
    pub(crate) fn new(node: NodeId, heartbeat: Duration, seed: u64) -> Self {
        Self::with(node, Pace::new(heartbeat), Link::Away, seed)
    }

    /// Sets limits other than the default.
    #[cfg(any(test, feature = "__fuzzing"))]
    pub(crate) fn limits(self, limits: Limits) -> Self {
        Self { limits, peers: Peers::new(limits.nodes), ..self }
    }

    fn with(node: NodeId, pace: Pace, link: Link, seed: u64) -> Self {
        let limits = Limits::default();
        Self {
            node,
            pace,
            limits,
            max_message: limits.message,
            random: Random::new(seed),
            link,
            rooms: BTreeMap::new(),
            peers: Peers::new(limits.nodes),
            agenda: Agenda::new(),
            tells: Agenda::new(),
            rounds: Rounds::default(),
            sweep: None,
            sweep_at: Duration::ZERO,
            departed: Departed::default(),
            tick: None,
            resume: Duration::ZERO,
            said: 0,
            output: VecDeque::new(),
            changes: VecDeque::new(),
        }
    }

    /// A connection has joined a room of this node, as somebody or as nobody.
    pub(crate) fn join(&mut self, now: Duration, name: &Arc<str>, who: Option<&Arc<str>>) {
        if self.rooms.is_empty() && self.link == Link::Up {
            // A node without rooms says nothing. Now the others are to know how often they hear from this one.
            self.tick = self.tick.map(|tick| tick.min(now + self.pace.batch));
        }
        let room = self.rooms.entry(name.clone()).or_default();
        let is_first = room.own.is_empty();
        if room.own.join(who) {
            who.map(|who| room.crowd.enter(who));
        }
        if is_first {
            // By then this node has subscribed to the channel.
            let at = now + self.pace.batch + self.random.below(self.pace.batch);
            self.plan(at, name, Task::Ask);
        }
        self.changed(now, name);
    }

    /// A connection has left. If it was not there, nothing happens.
    pub(crate) fn leave(&mut self, now: Duration, name: &Arc<str>, who: Option<&Arc<str>>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(is_last) = room.own.leave(who) else { return };
        if let (true, Some(who)) = (is_last, who) {
            room.crowd.exit(now, &self.pace, who);
        }
        if room.own.is_empty() {
            self.vacate(now, name);
        } else {
            self.changed(now, name);
        }
    }

    /// The members of this node have changed.
    fn changed(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get(name) else { return };
        if room.own.has_changed() {
            self.plan(room.next_announcement(now, self.pace.batch), name, Task::Announce);
        }
        self.tell(now, name);
    }

    /// The last member has left: what was known of others is forgotten, for nothing is heard of them any more.
    fn vacate(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let left = room.crowd.disperse();
        room.others.clear();
        (room.answer, room.asked, room.attempts) = (Answer::Nothing, None, 0);
        let next = room.next_announcement(now, self.pace.batch);
        if !left.is_empty() {
            self.changes.push_back(Change { room: name.clone(), joined: Vec::new(), left });
        }
        self.tells.cancel(name, ());
        for task in [Task::Announce, Task::Answer, Task::Ask, Task::Review] {
            self.agenda.cancel(name, task);
        }
        if room.own.is_announced() && self.link == Link::Up {
            // The others are told unless somebody comes back before that.
            self.plan(next, name, Task::Announce);
        } else {
            self.forget(now, name);
        }
    }

    /// Removes a room without members.
    fn forget(&mut self, now: Duration, name: &Arc<str>) {
        let room = self.rooms.remove(name);
        if room.is_some_and(|room| room.own.is_announced()) {
            self.departed.add(now, name);
        }
    }

    /// There is a connection to the broker, and everything is subscribed to. It takes messages of so many bytes.
    pub(crate) fn connected(&mut self, now: Duration, max_message: usize) {
        self.max_message = self.limits.message.min(max_message);
        self.wake(now);
        if self.link != Link::Away {
            return;
        }
        (self.link, self.tick, self.resume) = (Link::Up, Some(now), now);
        // These may not have been heard by all.
        for name in self.departed.take_since(now.saturating_sub(self.pace.silence(self.pace.heartbeat))) {
            if !self.rooms.contains_key(&name) {
                self.departed.add(now, &name);
                self.say(Some(&name), &Message::Gone);
            }
        }
        self.ask_all(now);
    }

    /// The connection to the broker is lost.
    pub(crate) fn disconnected(&mut self, now: Duration) {
        if self.link != Link::Up {
            return;
        }
        self.link = Link::Away;
        self.output.clear();
        self.agenda.clear();
        self.rooms.values_mut().for_each(|room| room.answer = Answer::Nothing);
        let vacant = |(name, room): (&Arc<str>, &Room)| room.own.is_empty().then(|| name.clone());
        for name in self.rooms.iter().filter_map(vacant).collect::<Vec<_>>() {
            self.forget(now, &name);
        }
    }

    /// The connection has stayed, but what came on a room's channel was dropped.
    pub(crate) fn missed(&mut self, now: Duration, room: &str) {
        let Some((name, _)) = self.rooms.get_key_value(room) else { return };
        self.ask_soon(now, &name.clone());
    }

    /// Says goodbye: it is the last output.
    pub(crate) fn farewell(&mut self) {
        if self.link == Link::Up {
            self.say(None, &Message::Bye);
        }
        if self.link != Link::Local {
            self.link = Link::Over;
        }
    }

    /// Nothing is heard of others any more: they are gone, and from now on it is as if there were no broker.
    pub(crate) fn end(&mut self, now: Duration) {
        (self.link, self.pace) = (Link::Local, Pace::AT_ONCE);
        self.output.clear();
        self.agenda.clear();
        self.tells.clear();
        for name in self.rooms.keys().cloned().collect::<Vec<_>>() {
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            for (_, theirs) in std::mem::take(&mut room.others) {
                theirs.disperse(&mut Place { now, pace: &self.pace, most: self.limits.names, crowd: &mut room.crowd });
            }
            room.crowd.hurry(now);
            if room.own.is_empty() {
                self.forget(now, &name);
            } else {
                self.tell(now, &name);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        if !matches!(self.link, Link::Up | Link::Away) {
            return None;
        }
        let agenda = self.agenda.next().map(|at| at.max(self.resume));
        let sweep = self.sweep.as_ref().map(|_| self.sweep_at).filter(|_| self.link == Link::Up);
        [self.tick, self.peers.next(), self.tells.next(), agenda, sweep].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if !matches!(self.link, Link::Up | Link::Away) {
            return;
        }
        self.wake(now);
        for node in self.peers.expire(now) {
            self.lose(now, node);
        }
        while let Some((name, ())) = self.tells.pop(now) {
            self.tell(now, &name);
        }
        if self.tick.is_some_and(|tick| tick <= now) {
            self.beat(now);
        }
        if self.sweep_at <= now && self.link == Link::Up {
            self.sweep(now);
        }
        if self.resume <= now {
            self.work(now);
        }
    }

    /// Returns what is to be published next.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Whether there is something to be published.
    pub(crate) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Returns what is to be told next.
    pub(crate) fn poll_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Returns how many connections are in a room that this node is in, over all nodes.
    pub(crate) fn count(&self, room: &str) -> usize {
        let count = self.rooms.get(room).map_or(0, Room::connections);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Returns who is in a room that this node is in, over all nodes, in order.
    pub(crate) fn present(&self, room: &str) -> Vec<Arc<str>> {
        self.rooms.get(room).map_or_else(Vec::new, Room::present)
    }

    /// Tells what has changed, or plans to.
    fn tell(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.crowd.next(now, &self.pace).is_some_and(|at| at <= now) {
            let (joined, left) = room.crowd.tell(now);
            self.changes.push_back(Change { room: name.clone(), joined, left });
        }
        if let Some(at) = room.crowd.next(now, &self.pace) {
            self.tells.plan(at, name, ());
        }
    }

    fn plan(&mut self, at: Duration, name: &Arc<str>, task: Task) {
        if self.link == Link::Up {
            self.agenda.plan(at, name, task);
        }
    }

    /// If this process was stopped, it has not heard the others, and they have not heard it.
    fn wake(&mut self, now: Duration) {
        let Some(tick) = self.tick else { return };
        let late = now.saturating_sub(tick);
        if late > self.pace.heartbeat {
            self.tick = Some(now);
            self.peers.excuse(late);
            self.ask_all(now);
        }
    }
}
