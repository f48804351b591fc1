//! Messages in their order. One that is alone, as nearly always, costs no memory beside its own. What several need is the
//! thread's, which has it back when they are taken.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;

use crate::protocol::OwnedMessage;

/// A thread keeps memory for so many batches, each of so many messages: 128 KiB.
const MOST: usize = 64;
const BATCH: usize = 64;

/// In boxes, as queues have them: an empty one is a pointer.
#[allow(clippy::vec_box)]
type Spare = Vec<Box<Several>>;

std::thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Vec::new()) };
}

/// Messages in memory of the thread.
struct Several(VecDeque<OwnedMessage>);

impl Several {
    fn new() -> Box<Self> {
        let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
        spare.unwrap_or_else(|| Box::new(Self(VecDeque::with_capacity(BATCH))))
    }

    /// They are taken.
    #[cold]
    fn give_back(self: Box<Self>) {
        // A thread that is about to end has no use for it.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if self.0.capacity() <= BATCH && spare.len() < MOST {
                spare.push(self);
            }
        });
    }
}

/// Messages that were taken out of a [`Queue`] together.
#[derive(Default)]
pub(in crate::drive) struct Batch(Option<Box<Several>>);

impl Batch {
    #[inline]
    pub(in crate::drive) fn pop(&mut self) -> Option<OwnedMessage> {
        let message = self.0.as_mut()?.0.pop_front();
        if message.is_none() {
            self.0.take()?.give_back();
        }
        message
    }

    fn push(&mut self, message: OwnedMessage) {
        self.0.get_or_insert_with(Several::new).0.push_back(message);
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |several| several.0.len())
    }
}

#[derive(Default)]
pub(super) struct Queue {
    first: Option<OwnedMessage>,
    /// What comes after the first.
    rest: Batch,
    /// How many bytes all of them have.
    bytes: usize,
}

impl Queue {
    #[inline]
    pub(super) fn push(&mut self, message: OwnedMessage) {
        self.bytes += message.as_bytes().len();
        if self.first.is_none() {
            self.first = Some(message);
        } else {
            self.rest.push(message);
        }
    }

    pub(super) fn pop(&mut self) -> Option<OwnedMessage> {
        let message = self.first.take()?;
        self.bytes -= message.as_bytes().len();
        self.first = self.rest.pop();
        Some(message)
    }

    /// Takes the first, and all that come after it.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(OwnedMessage, Batch)> {
        let message = self.first.take()?;
        self.bytes = 0;
        Some((message, mem::take(&mut self.rest)))
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

#[cfg(all(test, not(loom)))]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn messages_come_out_in_their_order_and_what_was_taken_costs_no_memory() {
        let mut queue = Queue::default();
        let (mut pushed, mut popped) = (0_usize, 0_usize);
        // More and more of them, and all but a few are taken again.
        for batch in 0..100 {
            for _ in 0..batch {
                queue.push(pushed.to_string().into());
                pushed += 1;
            }
            while queue.len() > batch / 10 {
                assert_eq!(queue.pop(), Some(popped.to_string().into()));
                popped += 1;
            }
            assert_eq!((queue.len(), queue.is_empty()), (pushed - popped, pushed == popped));
            let bytes: usize = (popped..pushed).map(|number| number.to_string().len()).sum();
            assert_eq!(queue.bytes(), bytes);
            assert!(!queue.is_empty() || queue.rest.0.is_none());
        }
        while let Some((message, mut batch)) = queue.take() {
            assert_eq!((queue.len(), queue.bytes()), (0, 0));
            for message in core::iter::once(message).chain(core::iter::from_fn(|| batch.pop())) {
                assert_eq!(message, popped.to_string());
                popped += 1;
            }
            assert!(batch.0.is_none());
        }
        assert_eq!(popped, pushed);
    }
}
