//! Those who wait for bytes to be written, or for the end.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::task::Waker;
use std::panic::{self, AssertUnwindSafe};

use crate::api::{AtEnd, Done, WriteWaiter};
use crate::protocol::{SendError, StreamOffset};

#[derive(Default)]
pub(super) struct Waiters {
    /// Of most connections nobody ever waits for anything.
    waiting: Option<Box<Waiting>>,
    /// Nothing will be written any more.
    gone: bool,
}

#[derive(Default)]
struct Waiting {
    /// In the order of their positions.
    queue: VecDeque<(StreamOffset, Waiter)>,
    /// How many tasks have waited: the newest one's number.
    tasks: u64,
    /// To be called when the connection has ended.
    at_end: Vec<AtEnd>,
}

pub(super) enum Waiter {
    Done(Done),
    /// The task that waits as this number.
    Task(u64, Waker),
}

impl Waiters {
    /// Returns `true` if someone waited for what is now written.
    #[inline]
    pub(super) fn has_completed(&self, written: StreamOffset) -> bool {
        let first = self.waiting.as_ref().and_then(|waiting| waiting.queue.front());
        first.is_some_and(|(position, _)| *position <= written)
    }

    /// Takes them out.
    pub(super) fn completed(&mut self, written: StreamOffset) -> Vec<Waiter> {
        let Some(Waiting { queue, .. }) = self.waiting.as_deref_mut() else { return Vec::new() };
        let count = queue.iter().take_while(|(position, _)| *position <= written).count();
        queue.drain(..count).map(|(_, waiter)| waiter).collect()
    }

    pub(super) fn push(&mut self, position: StreamOffset, waiter: Waiter) {
        let Waiting { queue, .. } = &mut **self.waiting.get_or_insert_default();
        // Several threads may come in another order than their sends.
        let at = queue.partition_point(|(other, _)| *other <= position);
        queue.insert(at, (position, waiter));
    }

    /// Has a task wait. Returns what it waited with before.
    pub(super) fn push_task(&mut self, waiter: &mut WriteWaiter, waker: &Waker) -> Option<Waiter> {
        let before = self.remove(waiter);
        if waiter.id() == 0 {
            let Waiting { tasks, .. } = &mut **self.waiting.get_or_insert_default();
            *tasks += 1;
            waiter.set_id(*tasks);
        }
        self.push(waiter.position(), Waiter::Task(waiter.id(), waker.clone()));
        before
    }

    /// Takes out the task that waits as this one.
    pub(super) fn remove(&mut self, waiter: &WriteWaiter) -> Option<Waiter> {
        let Waiting { queue, .. } = self.waiting.as_deref_mut()?;
        let start = queue.partition_point(|(other, _)| *other < waiter.position());
        let same = queue.range(start..).take_while(|(other, _)| *other == waiter.position());
        let at = same.into_iter().position(|(_, other)| matches!(other, Waiter::Task(id, _) if *id == waiter.id()))?;
        queue.remove(start + at).map(|(_, waiter)| waiter)
    }

    pub(super) fn push_at_end(&mut self, done: AtEnd) {
        self.waiting.get_or_insert_default().at_end.push(done);
    }

    /// The connection has ended. Takes out those who wait for that, and leaves those who wait for what is still written.
    pub(super) fn take_at_end(&mut self) -> Vec<AtEnd> {
        self.waiting.as_mut().map(|waiting| mem::take(&mut waiting.at_end)).unwrap_or_default()
    }

    /// The transport is gone. Takes out all that wait.
    pub(super) fn give_up(&mut self) -> Abandoned {
        self.gone = true;
        Abandoned(self.waiting.take())
    }

    /// Returns `true` if the transport is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// What is already known about a position: `None` if it has to wait.
    pub(super) fn outcome(&self, position: StreamOffset, written: StreamOffset) -> Option<Result<(), SendError>> {
        if position <= written {
            Some(Ok(()))
        } else if self.gone {
            Some(Err(SendError::Closed))
        } else {
            None
        }
    }
}

impl Waiter {
    pub(super) fn complete(self, outcome: Result<(), SendError>) {
        contained(|| match self {
            Self::Done(done) => done(outcome),
            // It asks again, and finds the outcome.
            Self::Task(_, waker) => waker.wake(),
        });
    }
}

/// Those who waited when the transport was gone.
#[must_use]
pub(super) struct Abandoned(Option<Box<Waiting>>);

impl Abandoned {
    /// Tells them.
    pub(super) fn complete(self) {
        let Some(waiting) = self.0 else { return };
        let Waiting { queue, at_end, .. } = *waiting;
        tell_end(at_end);
        for (_, waiter) in queue {
            waiter.complete(Err(SendError::Closed));
        }
    }
}

/// Tells those who wait for the end, in the order in which they have come.
pub(super) fn tell_end(at_end: Vec<AtEnd>) {
    at_end.into_iter().for_each(contained);
}

/// As in Ring, the panic of a completion is its own affair, and not that of the thread that happened to write.
fn contained(complete: impl FnOnce()) {
    let _ = panic::catch_unwind(AssertUnwindSafe(complete));
}
