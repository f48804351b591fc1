//! A connection's clock, and its one sleep.

use core::pin::pin;
use core::task::{Context, Poll, Waker};

use crate::deadlines::Time;

/// The clock and the one sleep of a connection, on a runtime that polls.
pub trait Timer: Unpin {
    /// The time since this timer was made.
    fn now(&self) -> Time;

    /// Sleeps until then from now on, in place of what was set before. A time that the system cannot express is
    /// never.
    fn set(&mut self, deadline: Time);

    /// Ready when the time that was set has come; otherwise the task of `cx` is woken then, and not before.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A timer that is re-armed lazily. Most deadlines move on with every message: then the sleep is left where it is,
/// and is set to the new deadline only when it fires too early.
#[derive(Debug)]
pub(crate) struct Alarm<C> {
    timer: C,
    /// What it is set to.
    set: Option<Time>,
    /// Whom it wakes: while that does not change there is no need to poll it.
    waker: Option<Waker>,
}

impl<C: Timer> Alarm<C> {
    pub(crate) fn new(timer: C) -> Self {
        Self { timer, set: None, waker: None }
    }

    pub(crate) fn now(&self) -> Time {
        self.timer.now()
    }

    /// Ready at the deadline; otherwise the task is woken then. `now` may be a little late.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Time, now: Time) -> Poll<()> {
        if deadline <= now {
            return Poll::Ready(());
        }
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        let mut set = match self.set {
            Some(set) if set <= deadline => {
                if known && now < set {
                    return Poll::Pending;
                }
                set
            }
            _ => self.set(deadline),
        };
        if !known {
            self.waker = Some(cx.waker().clone());
        }
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

/// Waits for a future, at most until a deadline: `None` if that comes first. The timer is set anew.
pub(crate) async fn in_time<C: Timer, F: Future>(
    timer: &mut C,
    deadline: Option<Time>,
    future: F,
) -> Option<F::Output> {
    let mut future = pin!(future);
    if let Some(deadline) = deadline {
        timer.set(deadline);
    }
    core::future::poll_fn(|cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        match deadline {
            Some(deadline) if timer.now() >= deadline || timer.poll(cx).is_ready() => Poll::Ready(None),
            _ => Poll::Pending,
        }
    })
    .await
}
