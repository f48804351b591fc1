//! Whatever is done and whatever comes: nothing panics, bounds hold, and what is told is who is present.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

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

    fn room(&mut self) -> Arc<str> {
        ["a", "b"][usize::from(self.below(2))].into()
    }

    fn name(&mut self) -> &'static str {
        ["ann", "bob", "cem", "dan", "eva", "flo", "gus", "hal"][usize::from(self.below(8))]
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

    fn message(&mut self) -> Vec<u8> {
        let (version, connections, part) = (self.number(), self.number(), self.number().saturating_sub(1));
        let message = match self.below(9) {
            0 => Message::Beat { heartbeat: Duration::from_millis(version), round: part },
            1 => Message::Bye,
            2 => Message::State(self.state()),
            3 | 4 => Message::Diff { version, connections, joined: self.names(), left: self.names() },
            5 | 6 => Message::List { version, connections, part, is_last: connections % 2 == 0, names: self.names() },
            7 => Message::Ask { state: self.state(), known: vec![(self.node(), version)] },
            _ => Message::Gone,
        };
        message.encode().to_vec()
    }
}

/// Does what the data says.
fn anything(data: &[u8]) {
    let mut script = Script(data);
    let own = NodeId::from_bytes([0; 8]);
    let mut presence = Presence::new(own, HEARTBEAT, 0).limits(LIMITS);
    let (mut now, mut told) = (Duration::ZERO, BTreeSet::new());
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
                let room = script.room();
                let _ = presence.receive(
                    now,
                    Some(&*room).filter(|_| now.as_nanos() % 2 == 0),
                    script.node(),
                    script.bytes(),
                );
            }
            8 => presence.missed(now, &script.room()),
            _ => {
                let (message, room) = (script.message(), script.room());
                let is_for_nodes = message[0] & 0xF < 2;
                presence.receive(now, Some(&*room).filter(|_| !is_for_nodes), script.node(), &message).unwrap();
            }
        }
        presence.handle_timeout(now);
        while let Some(output) = presence.poll_output() {
            assert!(output.bytes.len() <= LIMITS.message);
            Message::decode(&output.bytes).unwrap();
        }
        while let Some(change) = presence.poll_change() {
            change.left.iter().for_each(|who| assert!(told.remove(&(change.room.clone(), who.clone()))));
            change.joined.iter().for_each(|who| assert!(told.insert((change.room.clone(), who.clone()))));
        }
        check(&presence, told.clone());
    }
}

fn check(presence: &Presence, mut told: BTreeSet<(Arc<str>, Arc<str>)>) {
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_comes_bounds_hold_and_what_is_told_is_who_is_present(data in vec(any::<u8>(), 0..400)) {
        anything(&data);
    }
}
