//! Tasks that wait for the same, and are all told.

use alloc::vec::Vec;
use core::mem;
use core::task::Waker;

/// Tasks that wait. Each has a number, so that it can be forgotten when it does not wait any more: otherwise whoever
/// waits for a moment again and again would leave ever more wakers behind, each of which keeps a task in memory.
#[derive(Default)]
pub(super) struct Waiting {
    last: u64,
    tasks: Vec<(u64, Waker)>,
}

impl Waiting {
    /// Has a task woken. `number` is 0 when it first waits. Returns the waker that this one replaces.
    #[must_use = "to be dropped when nothing is locked"]
    pub(super) fn register(&mut self, number: &mut u64, waker: &Waker) -> Option<Waker> {
        match self.tasks.iter_mut().find(|(other, _)| other == number) {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(mem::replace(known, waker.clone())),
            None => {
                self.last += 1;
                *number = self.last;
                self.tasks.push((self.last, waker.clone()));
                None
            }
        }
    }

    /// Forgets a task, which does not wait any more.
    #[must_use = "to be dropped when nothing is locked"]
    pub(super) fn remove(&mut self, number: u64) -> Option<Waker> {
        let at = self.tasks.iter().position(|(other, _)| *other == number)?;
        Some(self.tasks.swap_remove(at).1)
    }

    /// Takes out all of them: to be woken when nothing is locked.
    #[must_use = "to be woken when nothing is locked"]
    pub(super) fn take(&mut self) -> Vec<Waker> {
        mem::take(&mut self.tasks).into_iter().map(|(_, waker)| waker).collect()
    }
}
