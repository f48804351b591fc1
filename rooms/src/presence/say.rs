//! What a node publishes about its rooms, and when.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::message::Message;
use super::pace::{BURST, BURST_BYTES, QUESTIONS, ROOMS_PER_BEAT};
use super::room::{Answer, Task};
use super::rounds::Rounds;
use super::theirs::Place;
use super::{Link, Output, Presence, Room};
use crate::node::NodeId;

/// Another node that has not been heard in a room for so many of its rounds, the one that it is in among them, may have
/// left it.
const ROUNDS: u64 = 3;

impl Presence {
    /// Has a message published in a room; without one for all nodes.
    pub(super) fn say(&mut self, room: Option<&Arc<str>>, message: &Message<'_>) {
        self.output.push_back(Output { room: room.cloned(), bytes: message.encode() });
    }

    fn say_all(&mut self, name: &Arc<str>, messages: Vec<Bytes>) {
        self.said += messages.iter().map(Bytes::len).sum::<usize>();
        self.output.extend(messages.into_iter().map(|bytes| Output { room: Some(name.clone()), bytes }));
    }

    /// Asks in all rooms, over some time.
    pub(super) fn ask_all(&mut self, now: Duration) {
        (self.sweep, self.sweep_at) = (Some(Rounds::default()), now);
    }

    /// Plans questions for some more rooms, until all are asked about.
    pub(super) fn sweep(&mut self, now: Duration) {
        let Some(sweep) = &mut self.sweep else { return };
        let names = sweep.next(&self.rooms, QUESTIONS);
        self.sweep_at = now + self.pace.batch;
        if names.len() < QUESTIONS {
            self.sweep = None;
        }
        for name in names {
            if let Some(room) = self.rooms.get_mut(&name) {
                (room.asked, room.attempts) = (None, 0);
            }
            let at = now + self.random.below(self.pace.heartbeat / 10);
            self.plan(at, &name, Task::Ask);
        }
    }

    /// Says that this node lives, and the state of some of its rooms.
    pub(super) fn beat(&mut self, now: Duration) {
        let (heartbeat, round) = (self.pace.heartbeat, self.rounds.done);
        self.tick = Some(now + heartbeat);
        if self.link != Link::Up || self.rooms.is_empty() || self.output.len() >= BURST {
            return;
        }
        self.say(None, &Message::Beat { heartbeat, round });
        for name in self.rounds.next(&self.rooms, ROOMS_PER_BEAT) {
            self.visit(now, &name);
        }
    }

    fn visit(&mut self, now: Duration, name: &Arc<str>) {
        let is_announced = self.rooms.get(name).is_some_and(|room| !room.own.is_empty() && room.own.is_announced());
        if !is_announced {
            return;
        }
        self.announce(now, name);
        let Some(room) = self.rooms.get(name) else { return };
        let state = room.own.state();
        let is_overdue = |node, round: u64| self.peers.round(node).saturating_sub(round) >= ROUNDS;
        let is_somebody_overdue = room.others.iter().any(|(node, theirs)| is_overdue(*node, theirs.round));
        self.say(Some(name), &Message::State(state));
        if is_somebody_overdue {
            self.ask_soon(now, name);
        }
    }

    pub(super) fn ask_soon(&mut self, now: Duration, name: &Arc<str>) {
        let at = now + self.random.below(2 * self.pace.batch);
        self.plan(at, name, Task::Ask);
    }

    /// Does what is due, up to so many messages and bytes.
    pub(super) fn work(&mut self, now: Duration) {
        self.said = 0;
        while self.output.len() < BURST && self.said < BURST_BYTES {
            let Some((name, task)) = self.agenda.pop(now) else { return };
            match task {
                Task::Announce => drop(self.announce(now, &name)),
                Task::Answer => self.answer(now, &name),
                Task::Ask => self.ask(now, &name),
                Task::Review => self.review(now, &name),
            }
        }
        self.resume = now + self.pace.batch;
    }

    /// Says what has changed since it was said last. True if that is everything.
    fn announce(&mut self, now: Duration, name: &Arc<str>) -> bool {
        let Some(room) = self.rooms.get_mut(name) else { return false };
        if room.own.is_empty() {
            self.forget(now, name);
            self.say(Some(name), &Message::Gone);
            return false;
        }
        if !room.own.is_announced() {
            // With 32 random bits, nobody takes it for what this node has announced in the room before.
            room.own.begin(self.random.number() >> 32);
            room.announced = Some(now);
            self.list(now, name);
            return true;
        }
        if room.own.has_changed() {
            room.announced = Some(now);
            let messages = room.diff(self.max_message);
            self.say_all(name, messages);
        }
        false
    }

    fn list(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let messages = room.list(self.max_message);
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        room.busy = now + self.pace.batch.saturating_mul(count);
        self.say_all(name, messages);
    }

    fn answer(&mut self, now: Duration, name: &Arc<str>) {
        let has_listed = self.announce(now, name);
        let Some(room) = self.rooms.get_mut(name) else { return };
        let (answer, busy, state) = (std::mem::take(&mut room.answer), room.busy, room.own.state());
        match answer {
            _ if has_listed => {}
            Answer::Nothing => {}
            Answer::State => self.say(Some(name), &Message::State(state)),
            Answer::List if now < busy => {
                room.answer = answer;
                self.plan(busy, name, Task::Answer);
            }
            Answer::List => self.list(now, name),
        }
    }

    fn ask(&mut self, now: Duration, name: &Arc<str>) {
        self.announce(now, name);
        let Some(room) = self.rooms.get_mut(name) else { return };
        let question = room.ask(self.max_message);
        self.say_all(name, vec![question]);
        self.expect_answers(now, name);
    }

    /// All were asked: they have a heartbeat's time to answer.
    pub(super) fn expect_answers(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        if room.asked.is_none() {
            room.asked = Some(now);
            room.attempts += 1;
            self.agenda.cancel(name, Task::Review);
            self.plan(now + self.pace.heartbeat, name, Task::Review);
        }
    }

    /// Drops those who do not answer any more, and asks again if something is missing.
    fn review(&mut self, now: Duration, name: &Arc<str>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        for node in room.lost() {
            self.lose_in(now, name, node);
        }
        let Some(room) = self.rooms.get_mut(name) else { return };
        let is_answered = room.is_answered();
        room.asked = None;
        if is_answered {
            room.attempts = 0;
        } else {
            self.ask_soon(now, name);
        }
    }

    /// A node is gone.
    pub(super) fn lose(&mut self, now: Duration, node: NodeId) {
        let is_there = |(name, room): (&Arc<str>, &Room)| room.others.contains_key(&node).then(|| name.clone());
        for name in self.rooms.iter().filter_map(is_there).collect::<Vec<_>>() {
            self.lose_in(now, &name, node);
        }
    }

    /// A node has no members in a room any more.
    pub(super) fn lose_in(&mut self, now: Duration, name: &Arc<str>, node: NodeId) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let Some(theirs) = room.others.remove(&node) else { return };
        theirs.disperse(&mut Place { now, pace: &self.pace, most: self.limits.names, crowd: &mut room.crowd });
        self.tell(now, name);
    }
}
