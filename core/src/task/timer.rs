//! A connection's clock, and its one sleep.

use core::mem;
use core::pin::pin;
use core::task::{Context, Poll};

use crate::drive::ONCE_MORE;
use crate::time::Time;

/// The clock and the one sleep of a connection, on a runtime that polls.
pub trait Timer: Unpin {
    /// Returns the time since this timer was made.
    fn now(&self) -> Time;

    /// Sleeps until then from now on, in place of what was set before. A time that the system cannot express, as
    /// [`Time::MAX`] is, is never: what the sleep holds can be dropped.
    fn set(&mut self, deadline: Time);

    /// Polls the sleep: ready when the time that was set has come; otherwise the task of `cx` is woken then, and not before.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Has the task of `cx` polled again when others have had their turn. The default wakes it at once. A runtime that
    /// then polls it many times before it asks the system what has arrived for the others needs more than that.
    fn yield_now(&mut self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }
}

/// A timer that is re-armed lazily. Most deadlines move on with every message: then the sleep is left where it is,
/// and is set to the new deadline only when it fires too early.
#[derive(Debug)]
pub(super) struct Alarm<C> {
    timer: C,
    /// When it wakes the task that polls: until then, and while that task keeps its waker, there is no need to poll it.
    set: Option<Time>,
}

impl<C: Timer> Alarm<C> {
    pub(super) fn new(timer: C) -> Self {
        Self { timer, set: None }
    }

    pub(super) fn now(&self) -> Time {
        self.timer.now()
    }

    pub(super) fn yield_now(&mut self, cx: &mut Context<'_>) {
        self.timer.yield_now(cx);
    }

    /// Notes that another waker is to be called from now on.
    pub(super) fn waker_changed(&mut self) {
        self.set = None;
    }

    /// Nothing is waited for: a timer that sleeps would only cost memory, and wake the task for nothing.
    pub(super) fn stop(&mut self) {
        if self.set.take().is_some() {
            self.timer.set(Time::MAX);
        }
    }

    /// Ready at the deadline; otherwise the task is woken then. `now` may be a little late.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, deadline: Time, now: Time) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let mut set = match self.set {
            Some(set) if set <= deadline && now < set => return Poll::Pending,
            Some(set) if set <= deadline => set,
            _ => self.set(deadline),
        };
        while self.timer.poll(cx).is_ready() {
            // Whether it stays ready is the timer's own affair.
            self.set = None;
            if set >= deadline {
                return Poll::Ready(());
            }
            set = self.set(deadline);
        }
        Poll::Pending
    }

    fn set(&mut self, deadline: Time) -> Time {
        self.timer.set(deadline);
        self.set = Some(deadline);
        deadline
    }
}

/// The deadline of several futures, one after the other.
#[derive(Debug)]
pub(super) struct Limit {
    deadline: Option<Time>,
    /// Whether it has come: then it was put off [once](ONCE_MORE).
    is_last: bool,
}

impl Limit {
    pub(super) fn new(deadline: Option<Time>) -> Self {
        Self { deadline, is_last: false }
    }

    /// Waits for a future, at most until the deadline: `None` if that comes first. The timer is set anew.
    pub(super) async fn wait<C: Timer, F: Future>(&mut self, timer: &mut C, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        if let Some(deadline) = self.deadline {
            timer.set(deadline);
        }
        let mut has_rung = false;
        core::future::poll_fn(|cx| {
            loop {
                // Before the future is asked: it may take its time, or the process may.
                let now = timer.now();
                if let Poll::Ready(output) = future.as_mut().poll(cx) {
                    return Poll::Ready(Some(output));
                }
                let Some(deadline) = self.deadline else { return Poll::Pending };
                if now < deadline && !has_rung && timer.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                if !self.is_last {
                    let last = deadline.max(now) + ONCE_MORE;
                    (self.deadline, self.is_last) = (Some(last), true);
                    timer.set(last);
                } else if now >= deadline || has_rung {
                    return Poll::Ready(None);
                } else {
                    has_rung = true;
                }
            }
        })
        .await
    }
}

/// Waits for a future, at most until a deadline: `None` if that comes first. The timer is set anew.
pub(super) async fn in_time<C: Timer, F: Future>(
    timer: &mut C,
    deadline: Option<Time>,
    future: F,
) -> Option<F::Output> {
    Limit::new(deadline).wait(timer, future).await
}

/// Waits until then. The timer is set anew.
pub(super) async fn sleep(timer: &mut impl Timer, until: Time) {
    timer.set(until);
    core::future::poll_fn(|cx| if timer.now() >= until { Poll::Ready(()) } else { timer.poll(cx) }).await;
}

/// Lets others have their turn.
pub(super) async fn yield_now(timer: &mut impl Timer) {
    let mut has_yielded = false;
    core::future::poll_fn(|cx| {
        if mem::replace(&mut has_yielded, true) {
            return Poll::Ready(());
        }
        timer.yield_now(cx);
        Poll::Pending
    })
    .await;
}
