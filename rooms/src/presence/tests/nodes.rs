//! Nodes at a broker in memory, in virtual time.

pub(super) use super::super::message::State;
use super::super::*;

pub(super) const H: Duration = Duration::from_secs(5);
pub(super) const BATCH: Duration = Duration::from_millis(100);
pub(super) const LINGER: Duration = Duration::from_secs(1);
pub(super) const ROOM: &str = "room";

pub(super) fn node(number: usize) -> NodeId {
    NodeId::from_bytes((number as u64 + 1).to_be_bytes())
}

pub(super) fn who(name: &str) -> Arc<str> {
    name.into()
}

/// Those who have joined, or left.
pub(super) type Names = Vec<Arc<str>>;

/// Nodes at a broker that takes no time. What is published is kept, too.
pub(super) struct Nodes {
    pub(super) now: Duration,
    pub(super) all: Vec<Presence>,
    /// What was published, when, and by which node.
    pub(super) published: Vec<(Duration, usize, Option<Arc<str>>, Bytes)>,
    /// What nobody gets.
    pub(super) lose: fn(usize, &Message<'_>) -> bool,
}

impl Nodes {
    pub(super) fn new(count: usize) -> Self {
        let all = (0..count).map(|number| Presence::new(node(number), H, number as u64)).collect();
        let mut nodes = Self { now: Duration::from_secs(100), all, published: Vec::new(), lose: |_, _| false };
        (0..count).for_each(|number| nodes.connect(number));
        nodes
    }

    pub(super) fn connect(&mut self, number: usize) {
        self.all[number].connected(self.now, usize::MAX);
        self.exchange();
    }

    pub(super) fn join(&mut self, number: usize, name: &str) {
        self.all[number].join(self.now, &who(ROOM), Some(&who(name)));
        self.run(Duration::ZERO);
    }

    pub(super) fn leave(&mut self, number: usize, name: &str) {
        self.all[number].leave(self.now, &who(ROOM), Some(&who(name)));
        self.run(Duration::ZERO);
    }

    /// Delivers what is published to all who are connected, as long as there is something.
    pub(super) fn exchange(&mut self) {
        while let Some((from, Output { room, bytes })) =
            self.all.iter_mut().enumerate().find_map(|(number, node)| Some((number, node.poll_output()?)))
        {
            self.published.push((self.now, from, room.clone(), bytes.clone()));
            if (self.lose)(from, &Message::decode(&bytes).unwrap()) {
                continue;
            }
            for to in (0..self.all.len()).filter(|to| *to != from) {
                if self.all[to].link == Link::Up {
                    self.all[to].receive(self.now, room.as_deref(), node(from), &bytes).unwrap();
                }
            }
        }
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let timeout = |node: &Presence| node.poll_timeout();
            let next = self.all.iter().enumerate().filter_map(|(number, node)| Some((timeout(node)?, number))).min();
            let Some((at, number)) = next.filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.all[number].handle_timeout(self.now);
            self.exchange();
        }
        self.now = end;
    }

    pub(super) fn changes(&mut self, number: usize) -> Vec<(Names, Names)> {
        std::iter::from_fn(|| self.all[number].poll_change()).map(|change| (change.joined, change.left)).collect()
    }

    pub(super) fn present(&self, number: usize) -> Vec<Arc<str>> {
        self.all[number].present(ROOM)
    }

    /// Forgets what was published before, and who was told what.
    pub(super) fn settle(&mut self) {
        self.run(2 * H);
        self.published.clear();
        (0..self.all.len()).for_each(|number| drop(self.changes(number)));
    }

    pub(super) fn published(&self, is_wanted: impl Fn(&Message<'_>) -> bool) -> usize {
        let messages = self.published.iter().filter(|(.., bytes)| is_wanted(&Message::decode(bytes).unwrap()));
        messages.count()
    }
}

/// Ann on one node and Bob on another, which they all know.
pub(super) fn ann_and_bob() -> Nodes {
    with_members(["ann", "bob"])
}

/// Ann on two nodes, which both know.
pub(super) fn ann_twice() -> Nodes {
    with_members(["ann", "ann"])
}

fn with_members(names: [&str; 2]) -> Nodes {
    let mut nodes = Nodes::new(2);
    (0..2).for_each(|number| nodes.join(number, names[number]));
    nodes.settle();
    nodes
}

pub(super) fn is_list(message: &Message<'_>) -> bool {
    matches!(message, Message::List { .. })
}

pub(super) fn is_diff(message: &Message<'_>) -> bool {
    matches!(message, Message::Diff { .. })
}

pub(super) fn is_ask(message: &Message<'_>) -> bool {
    matches!(message, Message::Ask { .. })
}

/// A node in a room, and bytes that somebody publishes there.
pub(super) fn hear(presence: &mut Presence, from: NodeId, message: &Message<'_>) {
    presence.receive(H, Some(ROOM), from, &message.encode()).unwrap();
}

pub(super) fn alone() -> Presence {
    let mut presence = Presence::new(node(0), H, 0).limits(Limits { nodes: 3, names: 2, ..Limits::default() });
    presence.connected(H, usize::MAX);
    presence.join(H, &who(ROOM), Some(&who("ann")));
    presence
}

pub(super) fn list<'a>(version: u64, names: &[&'a str]) -> Message<'a> {
    Message::List { version, connections: names.len() as u64, part: 0, is_last: true, names: names.to_vec() }
}
