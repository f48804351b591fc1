//! What members may have got, and what they must.

use std::collections::{BTreeMap, BTreeSet};

use bellwire_rooms::Position;
use bellwire_rooms_tests::Random;

#[derive(Default)]
pub(super) struct Model {
    /// There is one order of messages for all members of a room.
    pub(super) one_order: bool,
    history: bool,
    clock: usize,
    lives: usize,
    pub(super) members: Vec<Member>,
    pub(super) messages: Vec<Message>,
    /// The rooms on a node that it gets everything of.
    sure: BTreeSet<(usize, usize)>,
    /// The rooms on a node of which nobody knows whether the broker means those before or those after.
    murky: BTreeSet<(usize, usize)>,
    /// Those that were left by their last member.
    left: BTreeSet<(usize, usize)>,
    /// Those that were new to a node when it lost its connection, or later.
    begun: BTreeSet<(usize, usize)>,
    /// The nodes that have no connection.
    down: BTreeSet<usize>,
}

pub(super) struct Member {
    pub(super) slot: usize,
    pub(super) room: usize,
    pub(super) left_at: Option<usize>,
    pub(super) got: Vec<(Option<Position>, usize)>,
    /// What must come.
    owed: BTreeSet<usize>,
}

pub(super) struct Message {
    slot: usize,
    pub(super) life: usize,
    pub(super) room: usize,
    pub(super) at: usize,
    outcome: Option<Outcome>,
    /// There is no reason for it not to be published.
    calm: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Lost,
    Unavailable,
    /// Its node was killed.
    Unknown,
}

impl Model {
    pub(super) fn new(one_order: bool, history: bool) -> Self {
        Self { one_order, history, ..Self::default() }
    }

    pub(super) fn new_life(&mut self) -> usize {
        self.lives += 1;
        self.lives - 1
    }

    pub(super) fn join(&mut self, slot: usize, room: usize) -> usize {
        self.clock += 1;
        if !self.has_room(slot, room) {
            if self.left.contains(&(slot, room)) {
                self.murky.insert((slot, room));
            }
            if self.down.contains(&slot) {
                self.begun.insert((slot, room));
            }
        }
        self.members.push(Member { slot, room, left_at: None, got: Vec::new(), owed: BTreeSet::new() });
        self.members.len() - 1
    }

    pub(super) fn some_member(&self, random: &mut Random) -> Option<usize> {
        let there: Vec<_> = (0..self.members.len()).filter(|&member| self.members[member].is_there()).collect();
        if there.is_empty() { None } else { Some(*random.one(&there)) }
    }

    /// Returns its node and its room.
    pub(super) fn place(&self, member: usize) -> (usize, usize) {
        (self.members[member].slot, self.members[member].room)
    }

    pub(super) fn leave(&mut self, member: usize) {
        self.clock += 1;
        let at = self.clock;
        let member = &mut self.members[member];
        member.left_at = Some(at);
        member.owed.clear();
        let place = (member.slot, member.room);
        if !self.has_room(place.0, place.1) {
            self.sure.remove(&place);
            self.begun.remove(&place);
            self.left.insert(place);
        }
    }

    pub(super) fn publish(&mut self, slot: usize, life: usize, room: usize) -> usize {
        self.clock += 1;
        let number = self.messages.len();
        let calm = !self.down.contains(&slot);
        self.messages.push(Message { slot, life, room, at: self.clock, outcome: None, calm });
        for member in self.members.iter_mut().filter(|member| member.is_there() && member.room == room) {
            if self.sure.contains(&(member.slot, room)) {
                member.owed.insert(number);
            }
        }
        number
    }

    /// `MEMBER NUMBER`, or with a history `MEMBER POSITION NUMBER`.
    pub(super) fn got(&mut self, line: &str, numbered: bool) {
        let words: Vec<_> = line.split(' ').collect();
        let member: usize = words[0].strip_prefix('m').unwrap().parse().unwrap();
        let position = numbered.then(|| words[1].parse().unwrap());
        let number: usize = words.last().unwrap().parse().unwrap();
        let member = &mut self.members[member];
        member.owed.remove(&number);
        member.got.push((position, number));
    }

    /// `NUMBER OUTCOME`
    pub(super) fn outcome(&mut self, line: &str) {
        let (number, outcome) = line.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        let outcome = match outcome {
            "ok" => Outcome::Ok,
            "lost" => Outcome::Lost,
            "unavailable" => Outcome::Unavailable,
            // A stream that ends before its broker does.
            _ if outcome.starts_with("refused") => Outcome::Unavailable,
            _ => panic!("an outcome: {line}"),
        };
        let message = &mut self.messages[number];
        assert_eq!(message.outcome, None, "{number} has two outcomes");
        assert!(
            outcome == Outcome::Ok || !message.calm,
            "{number} was not published, and nothing was wrong: {outcome:?}"
        );
        message.outcome = Some(outcome);
        if outcome != Outcome::Ok {
            self.forgive(number);
        }
    }

    fn forgive(&mut self, number: usize) {
        for member in &mut self.members {
            member.owed.remove(&number);
        }
    }

    /// What must come yet: outcomes, and messages, where there is a connection.
    pub(super) fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (number, message) in self.messages.iter().enumerate() {
            if message.outcome.is_none() && !self.down.contains(&message.slot) {
                missing.push(format!("the outcome of {number} on {}", message.slot));
            }
        }
        for (name, member) in self.members.iter().enumerate().filter(|(_, member)| !self.down.contains(&member.slot)) {
            // What waits for a connection comes later.
            let comes = |number: &&usize| {
                let message = &self.messages[**number];
                message.outcome.is_some() || !self.down.contains(&message.slot)
            };
            let owed = member.owed.iter().filter(comes);
            missing.extend(owed.map(|number| format!("{number} for m{name} on {}", member.slot)));
        }
        missing
    }

    /// How many nodes have each room.
    pub(super) fn subscriptions(&self, name: impl Fn(usize) -> String) -> BTreeMap<String, usize> {
        let places: BTreeSet<_> = self.members.iter().filter(|member| member.is_there()).map(Member::place).collect();
        let mut counts = BTreeMap::new();
        for (_, room) in places {
            *counts.entry(name(room)).or_default() += 1;
        }
        counts
    }

    /// The broker has the subscriptions of all nodes.
    pub(super) fn settled(&mut self) {
        let there: BTreeSet<_> = self.members.iter().filter(|member| member.is_there()).map(Member::place).collect();
        self.murky.retain(|place| there.contains(place));
        self.left.retain(|place| there.contains(place));
        self.sure.extend(there.difference(&self.murky));
    }

    /// What was not delivered may be lost, and what was not published.
    pub(super) fn outage_begins(&mut self, slot: usize, life: usize) {
        self.clock += 1;
        self.down.insert(slot);
        let rooms = (0..super::NAMES.len()).filter(|&room| self.has_room(slot, room));
        let begun: Vec<_> = rooms.map(|room| (slot, room)).filter(|place| !self.sure.contains(place)).collect();
        self.begun.extend(begun);
        for message in self.messages.iter_mut().filter(|message| message.life == life) {
            message.calm &= message.outcome.is_some();
        }
        if !self.history {
            self.disturb(slot);
        }
    }

    /// Whoever was told of a gap misses nothing from then on.
    pub(super) fn outage_ends(&mut self, slot: usize) {
        self.clock += 1;
        self.down.remove(&slot);
        let rooms = (0..super::NAMES.len()).filter(|&room| self.has_room(slot, room));
        let places: Vec<_> = rooms.map(|room| (slot, room)).collect();
        self.murky.retain(|place| place.0 != slot);
        self.left.retain(|place| place.0 != slot);
        self.sure.extend(places);
    }

    /// Its members are gone, and nobody hears what became of what it has published.
    pub(super) fn killed(&mut self, slot: usize, life: usize) {
        self.clock += 1;
        self.disturb(slot);
        let at = self.clock;
        for member in self.members.iter_mut().filter(|member| member.slot == slot && member.is_there()) {
            member.left_at = Some(at);
        }
        for places in [&mut self.murky, &mut self.left, &mut self.begun] {
            places.retain(|place| place.0 != slot);
        }
        for number in 0..self.messages.len() {
            let message = &mut self.messages[number];
            if message.life == life && message.outcome.is_none() {
                message.outcome = Some(Outcome::Unknown);
                self.forgive(number);
            }
        }
    }

    /// Whether a gap may be told, although there is a history.
    pub(super) fn may_miss(&self, slot: usize, room: usize) -> bool {
        self.begun.contains(&(slot, room)) || !self.has_room(slot, room)
    }

    /// The members of a node may miss what has not come.
    fn disturb(&mut self, slot: usize) {
        self.members.iter_mut().filter(|member| member.slot == slot).for_each(|member| member.owed.clear());
        self.sure.retain(|place| place.0 != slot);
    }

    pub(super) fn has_rooms(&self, slot: usize) -> bool {
        self.members.iter().any(|member| member.is_there() && member.slot == slot)
    }

    fn has_room(&self, slot: usize, room: usize) -> bool {
        self.members.iter().any(|member| member.is_there() && member.place() == (slot, room))
    }

    /// Returns how many messages of a node have this outcome.
    pub(super) fn count(&self, life: usize, outcome: Outcome) -> usize {
        self.messages.iter().filter(|message| message.life == life && message.outcome == Some(outcome)).count()
    }

    pub(super) fn summary(&self) -> String {
        let with = |outcome| self.messages.iter().filter(|message| message.outcome == Some(outcome)).count();
        let got: usize = self.members.iter().map(|member| member.got.len()).sum();
        format!(
            "{} messages ({} ok, {} lost, {} refused), {} nodes, {} members, {got} deliveries",
            self.messages.len(),
            with(Outcome::Ok),
            with(Outcome::Lost),
            with(Outcome::Unavailable),
            self.lives,
            self.members.len(),
        )
    }
}

impl Message {
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }
}

impl Member {
    fn is_there(&self) -> bool {
        self.left_at.is_none()
    }

    fn place(&self) -> (usize, usize) {
        (self.slot, self.room)
    }
}
