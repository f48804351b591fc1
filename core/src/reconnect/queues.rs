//! Messages that wait: for a connection, or for being written by the one that there is.

use alloc::collections::VecDeque;

use crate::protocol::{Outgoing, OwnedMessage, StreamOffset};

/// A message, and its place among all that were sent.
pub(super) struct Numbered {
    /// 0: it has none yet.
    pub(super) number: u64,
    pub(super) message: Outgoing<'static>,
}

/// A message that a connection has accepted.
pub(super) struct Accepted {
    /// Where it ends among the bytes of that connection.
    pub(super) end: StreamOffset,
    /// Its place among all; `None` if it was sent by the connection's own handle.
    pub(super) number: Option<u64>,
    pub(super) message: Outgoing<'static>,
}

impl Numbered {
    pub(super) fn new(message: Outgoing<'static>) -> Self {
        Self { number: 0, message }
    }

    pub(super) fn accepted(self, end: StreamOffset) -> Accepted {
        Accepted { end, number: Some(self.number), message: self.message }
    }

    fn len(&self) -> usize {
        self.message.as_bytes().len()
    }
}

impl From<Accepted> for Numbered {
    fn from(accepted: Accepted) -> Self {
        Self { number: accepted.number.unwrap_or_default(), message: accepted.message }
    }
}

/// Messages that wait for a connection, by their numbers.
#[derive(Default)]
pub(super) struct Kept {
    messages: VecDeque<Numbered>,
    bytes: usize,
}

impl Kept {
    pub(super) fn has_room(&self, message: &Numbered, messages: usize, bytes: usize) -> bool {
        self.messages.len() < messages && self.bytes.saturating_add(message.len()) <= bytes
    }

    pub(super) fn insert(&mut self, message: Numbered) {
        self.bytes += message.len();
        let at = self.messages.partition_point(|other| other.number < message.number);
        self.messages.insert(at, message);
    }

    pub(super) fn pop(&mut self) -> Option<Numbered> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    pub(super) fn into_messages(self) -> impl Iterator<Item = OwnedMessage> {
        self.messages.into_iter().map(|kept| kept.message.into_owned())
    }
}

/// What a connection has accepted and not written, in the order of its bytes.
#[derive(Default)]
pub(super) struct Unwritten(VecDeque<Accepted>);

impl Unwritten {
    /// Several threads may come in another order than their sends.
    pub(super) fn insert(&mut self, accepted: Accepted) {
        let at = self.0.partition_point(|other| other.end < accepted.end);
        self.0.insert(at, accepted);
    }

    /// Takes out what is written: to be dropped when nothing is locked.
    #[must_use = "to be dropped when nothing is locked"]
    pub(super) fn take_up_to(&mut self, written: StreamOffset) -> VecDeque<Accepted> {
        let left = self.0.split_off(self.0.partition_point(|accepted| accepted.end <= written));
        core::mem::replace(&mut self.0, left)
    }

    /// Returns where the last one ends.
    pub(super) fn last(&self) -> Option<StreamOffset> {
        self.0.back().map(|accepted| accepted.end)
    }
}

impl IntoIterator for Unwritten {
    type Item = Accepted;
    type IntoIter = alloc::collections::vec_deque::IntoIter<Accepted>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
