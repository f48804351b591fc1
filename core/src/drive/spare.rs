//! Memory for output. Each thread keeps one buffer, which whatever is sent there next is written to: so a connection
//! that is idle holds none, and one that answers what it reads allocates none. And it keeps small ones, for what is
//! sent to many connections before the first of them is written.

use alloc::vec::Vec;
use core::cell::RefCell;
use core::mem;

use crate::protocol::{Connection, Output};

/// The most memory that a thread keeps in one buffer.
const MOST: usize = 64 * 1024;

/// The most memory of a small buffer: many messages, and the answers to a read that had a hundred small ones, are smaller
/// than this.
const MOST_IN_SMALL: usize = 4 * 1024;

/// The most memory of all the small ones: those of a thousand messages of 64 bytes, or of the answers of 64 connections.
const MOST_IN_ALL_SMALL: usize = 256 * 1024;

std::thread_local! {
    static SPARE: RefCell<Spare> =
        const { RefCell::new(Spare { large: Output::new(), small: Vec::new(), memory: 0 }) };
}

/// What a thread keeps.
struct Spare {
    large: Output,
    small: Vec<Output>,
    /// How much memory the small ones have in all.
    memory: usize,
}

/// Keeps the memory of what was written, unless it is too large, or there is enough already.
pub fn keep(mut written: Output) {
    written.clear();
    // A thread that is about to end has no use for it.
    let _ = SPARE.try_with(|spare| spare.borrow_mut().keep(written));
}

/// Lends memory of the thread to a connection that has none, while `act` sends something with it.
#[inline(always)]
pub(super) fn lend<T>(connection: &mut Connection, act: impl FnOnce(&mut Connection) -> T) -> T {
    if connection.output().has_memory() {
        return act(connection);
    }
    let mut spare = SPARE.try_with(|spare| spare.borrow_mut().take()).unwrap_or_default();
    connection.lend_output(&mut spare);
    let result = act(connection);
    if connection.output().is_empty() {
        take_back(connection);
    }
    result
}

/// It has sent nothing.
#[cold]
fn take_back(connection: &mut Connection) {
    let mut spare = Output::new();
    connection.lend_output(&mut spare);
    keep(spare);
}

impl Spare {
    #[inline]
    fn keep(&mut self, mut written: Output) {
        if (self.large.capacity()..=MOST).contains(&written.capacity()) {
            mem::swap(&mut self.large, &mut written);
        }
        if written.capacity() > 0 {
            self.keep_small(written);
        }
    }

    fn keep_small(&mut self, written: Output) {
        let memory = self.memory + memory(&written);
        if written.capacity() <= MOST_IN_SMALL && memory <= MOST_IN_ALL_SMALL {
            self.memory = memory;
            self.small.push(written);
        }
    }

    #[inline]
    fn take(&mut self) -> Output {
        if self.large.has_memory() {
            return mem::take(&mut self.large);
        }
        let Some(small) = self.small.pop() else { return Output::new() };
        self.memory -= memory(&small);
        small
    }
}

/// How much it takes, its place among the others included: they have up to twice the places that they need.
fn memory(small: &Output) -> usize {
    2 * size_of::<Output>() + small.memory()
}
