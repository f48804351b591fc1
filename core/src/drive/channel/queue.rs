//! Messages in their order. One that is alone, as nearly always, costs no memory beside its own. What several need is the
//! thread's, which has it back when they are taken.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;

use crate::protocol::OwnedMessage;

/// A thread keeps memory for so many batches, each of so many messages: 128 KiB.
const MOST: usize = 64;
const BATCH: usize = 64;

std::thread_local! {
    static SPARE: RefCell<Vec<VecDeque<OwnedMessage>>> = const { RefCell::new(Vec::new()) };
}

/// Memory for several messages.
fn spare() -> VecDeque<OwnedMessage> {
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| VecDeque::with_capacity(BATCH))
}

/// Takes it back, when they are taken.
fn keep(empty: VecDeque<OwnedMessage>) {
    // A thread that is about to end has no use for it.
    let _ = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if empty.capacity() <= BATCH && spare.len() < MOST {
            spare.push(empty);
        }
    });
}

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
            self.rest = spare();
        }
        self.rest.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<OwnedMessage> {
        let message = self.first.take()?;
        self.bytes -= message.as_bytes().len();
        if self.rest.capacity() > 0 {
            self.first = self.rest.pop_front();
            if self.first.is_none() {
                keep(mem::take(&mut self.rest));
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
            assert!(!queue.is_empty() || queue.rest.capacity() == 0);
        }
    }
}
