//! Messages in their order. One that is alone, as nearly always, costs no memory beside its own; nor does what was there.

use alloc::collections::VecDeque;

use crate::protocol::OwnedMessage;

#[derive(Default)]
pub(super) struct Queue {
    first: Option<OwnedMessage>,
    /// What comes after the first.
    rest: VecDeque<OwnedMessage>,
    /// How many bytes all of them have.
    bytes: usize,
}

impl Queue {
    pub(super) fn push(&mut self, message: OwnedMessage) {
        self.bytes += message.as_bytes().len();
        if self.first.is_none() {
            self.first = Some(message);
            return;
        }
        if self.rest.capacity() == 0 {
            self.rest.reserve(64);
        }
        self.rest.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<OwnedMessage> {
        let message = self.first.take()?;
        self.bytes -= message.as_bytes().len();
        if self.rest.capacity() > 0 {
            self.first = self.rest.pop_front();
            if self.first.is_none() {
                self.rest = VecDeque::new();
            }
        }
        Some(message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.rest.len() + usize::from(self.first.is_some())
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
