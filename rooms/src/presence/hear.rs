//! What other nodes say.

use std::sync::Arc;
use std::time::Duration;

use super::message::Message;
use super::room::{Answer, Task};
use super::theirs::{Change, Part, Place};
use super::{Link, Malformed, Presence};
use crate::node::NodeId;

impl Presence {
    /// Something came from a node in a room's channel, or without a room, in that of the nodes.
    ///
    /// # Errors
    /// [`Malformed`] if that is nothing that a node says there. Nothing has happened.
    pub(crate) fn receive(
        &mut self,
        now: Duration,
        room: Option<&str>,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<(), Malformed> {
        if from == self.node || !matches!(self.link, Link::Up | Link::Away) {
            return Ok(());
        }
        let message = Message::decode(bytes)?;
        let is_for_nodes = matches!(message, Message::Beat { .. } | Message::Bye);
        if is_for_nodes != room.is_none() {
            return Err(Malformed);
        }
        self.wake(now);
        if self.peers.hear(now, &self.pace, from) {
            match room {
                None => self.hear(now, from, &message),
                Some(room) => self.hear_in(now, room, from, &message),
            }
        }
        Ok(())
    }

    fn hear(&mut self, now: Duration, from: NodeId, message: &Message<'_>) {
        match message {
            Message::Beat { heartbeat, round } => self.peers.beat(&self.pace, from, *heartbeat, *round),
            _ => {
                self.peers.forget(from);
                self.lose(now, from);
            }
        }
    }

    fn hear_in(&mut self, now: Duration, room: &str, from: NodeId, message: &Message<'_>) {
        let Some((name, room)) = self.rooms.get_key_value(room) else { return };
        let name = &name.clone();
        // It is being left.
        if room.own.is_empty() {
            return;
        }
        match message {
            Message::Gone => return self.lose_in(now, name, from),
            Message::Ask { state, known } => {
                self.learn(now, name, from, &Message::State(*state));
                self.asked(now, name, from, known);
            }
            _ => self.learn(now, name, from, message),
        }
        self.tell(now, name);
    }

    /// Takes over what a node says of its members, and asks if something is missing.
    fn learn(&mut self, now: Duration, name: &Arc<str>, from: NodeId, message: &Message<'_>) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let theirs = room.others.entry(from).or_default();
        (theirs.heard, theirs.round) = (now, self.peers.round(from));
        let place = &mut Place { now, pace: &self.pace, most: self.limits.names, crowd: &mut room.crowd };
        match message {
            Message::State(state) => theirs.compare(*state),
            &Message::Diff { version, connections, ref joined, ref left } => {
                theirs.follow(place, &Change { version, connections, joined, left });
            }
            &Message::List { version, connections, part, is_last, ref names } => {
                theirs.list(place, &Part { version, connections, index: part, is_last, names });
            }
            _ => {}
        }
        if theirs.version.is_some() {
            return;
        }
        if theirs.is_coming() {
            self.plan(now + self.pace.heartbeat, name, Task::Review);
        } else {
            self.ask_soon(now, name);
        }
    }

    /// Somebody asks. What this node wanted to ask may be answered with it.
    fn asked(&mut self, now: Duration, name: &Arc<str>, from: NodeId, known: &[(NodeId, u64)]) {
        let Some(room) = self.rooms.get_mut(name) else { return };
        let version = room.own.state().version;
        let is_known = room.own.is_announced() && known.contains(&(self.node, version));
        room.answer = room.answer.max(if is_known { Answer::State } else { Answer::List });
        if room.is_asked_by(from, self.node, known) && self.agenda.cancel(name, Task::Ask) {
            self.expect_answers(now, name);
        }
        let at = now + self.random.below(2 * self.pace.batch);
        self.plan(at, name, Task::Answer);
    }
}
