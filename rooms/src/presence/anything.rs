//! Whatever is done and whatever comes: nothing panics, bounds hold, and what is told is who is present. Tests and the fuzz
//! target `presence` share this.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::message::{Message, State};
use super::{Limits, Presence};
use crate::node::NodeId;

const LIMITS: Limits = Limits { message: 200, nodes: 3, names: 4 };
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Data that says what happens.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte() % 32).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    fn node(&mut self) -> NodeId {
        NodeId::from_bytes([self.below(6); 8])
    }

    fn one_of(&mut self, items: &[&'static str]) -> &'static str {
        let index = usize::from(self.byte()) % items.len();
        items.get(index).copied().unwrap_or_default()
    }

    fn room(&mut self) -> Arc<str> {
        self.one_of(&["a", "b"]).into()
    }

    fn name(&mut self) -> &'static str {
        self.one_of(&["ann", "bob", "cem", "dan", "eva", "flo", "gus", "hal"])
    }

    fn names(&mut self) -> Vec<&'static str> {
        (0..self.below(7)).map(|_| self.name()).collect()
    }

    /// Numbers that are likely to meet.
    fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => u64::MAX,
            small => small.into(),
        }
    }

    fn state(&mut self) -> State {
        State { version: self.number(), connections: self.number(), digest: self.number() }
    }

    fn message(&mut self) -> Message<'static> {
        let (version, connections, part) = (self.number(), self.number(), self.number().saturating_sub(1));
        match self.below(9) {
            0 => Message::Beat { heartbeat: Duration::from_millis(version), round: part },
            1 => Message::Bye,
            2 => Message::State(self.state()),
            3 | 4 => Message::Diff { version, connections, joined: self.names(), left: self.names() },
            5 | 6 => Message::List { version, connections, part, is_last: connections % 2 == 0, names: self.names() },
            7 => Message::Ask { state: self.state(), known: vec![(self.node(), version)] },
            _ => Message::Gone,
        }
    }
}

/// Does what the data says.
pub(crate) fn anything(data: &[u8]) {
    let mut script = Script(data);
    let own = NodeId::from_bytes([0; 8]);
    let mut presence = Presence::new(own, HEARTBEAT, 0).limits(LIMITS);
    let (mut now, mut told) = (Duration::ZERO, Names::new());
    while !script.0.is_empty() {
        match script.below(12) {
            0 => presence.connected(now, usize::MAX),
            1 => presence.disconnected(now),
            2 => presence.join(now, &script.room(), Some(&script.name().into())),
            3 => presence.leave(now, &script.room(), Some(&script.name().into())),
            4 => presence.join(now, &script.room(), None),
            5 => presence.leave(now, &script.room(), None),
            6 => now += Duration::from_millis(u64::from(script.byte()).pow(2)),
            7 => {
                let (room, is_in_room) = (script.room(), script.below(2) == 0);
                let _ = presence.receive(now, Some(&*room).filter(|_| is_in_room), script.node(), script.bytes());
            }
            8 => presence.missed(now, &script.room()),
            _ => {
                let (message, room) = (script.message(), script.room());
                let room = Some(&*room).filter(|_| !is_for_nodes(&message));
                let heard = presence.receive(now, room, script.node(), &message.encode());
                assert!(heard.is_ok(), "{message:?}");
            }
        }
        presence.handle_timeout(now);
        check(&mut presence, &mut told);
    }
}

type Names = BTreeSet<(Arc<str>, Arc<str>)>;

/// What is said can be read, and what was told and is still to be told is who is present.
fn check(presence: &mut Presence, told: &mut Names) {
    while let Some(output) = presence.poll_output() {
        assert!(output.bytes.len() <= LIMITS.message);
        let said = Message::decode(&output.bytes);
        assert!(said.is_ok_and(|said| is_for_nodes(&said) == output.room.is_none()));
    }
    while let Some(change) = presence.poll_change() {
        change.left.iter().for_each(|who| assert!(told.remove(&(change.room.clone(), who.clone()))));
        change.joined.iter().for_each(|who| assert!(told.insert((change.room.clone(), who.clone()))));
    }
    check_rooms(presence, told.clone());
}

fn check_rooms(presence: &Presence, mut told: Names) {
    assert!(presence.rooms.len() <= 2);
    let mut present = BTreeSet::new();
    for (name, room) in &presence.rooms {
        assert!(room.others.len() <= LIMITS.nodes);
        assert!(room.present().len() <= room.own.names().count() + LIMITS.nodes * LIMITS.names);
        assert!(room.own.names().all(|who| room.present().contains(who)));
        let (joined, left) = room.crowd.untold();
        left.into_iter().for_each(|who| assert!(told.remove(&(name.clone(), who))));
        joined.into_iter().for_each(|who| assert!(told.insert((name.clone(), who))));
        present.extend(room.present().into_iter().map(|who| (name.clone(), who)));
    }
    assert_eq!(told, present);
}

/// Bytes that a node says of presence can be read in one way, or are malformed, and then nothing has happened. The fuzz
/// target `packet` has this, too.
pub(crate) fn said(bytes: &[u8]) {
    let message = Message::decode(bytes);
    if let Ok(message) = &message {
        assert_eq!(message.encode(), bytes);
    }
    for room in [None, Some("a")] {
        let mut presence = Presence::new(NodeId::from_bytes([0; 8]), HEARTBEAT, 0).limits(LIMITS);
        presence.connected(Duration::ZERO, usize::MAX);
        presence.join(Duration::ZERO, &"a".into(), None);
        let before = (presence.poll_timeout(), presence.output.len(), presence.count("a"));
        let heard = presence.receive(Duration::ZERO, room, NodeId::from_bytes([1; 8]), bytes);
        let is_sound = message.as_ref().is_ok_and(|message| is_for_nodes(message) == room.is_none());
        assert_eq!(heard.is_ok(), is_sound);
        assert!(is_sound || before == (presence.poll_timeout(), presence.output.len(), presence.count("a")));
        check(&mut presence, &mut Names::new());
    }
}

fn is_for_nodes(message: &Message<'_>) -> bool {
    matches!(message, Message::Beat { .. } | Message::Bye)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_comes_bounds_hold_and_what_is_told_is_who_is_present(data in vec(any::<u8>(), 0..400)) {
            anything(&data);
        }

        #[test]
        fn what_is_said_is_read_in_one_way_or_nothing_happens(kind in 0x10_u8..0x18, rest in vec(any::<u8>(), 0..60)) {
            said(&[&[kind][..], &rest].concat());
        }
    }
}
