//! The core's time in terms of tokio's, and a connection's one sleep.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bellwire_core::Time;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Where a connection's [`Time`] counts from. By tokio's clock, so that tests may pause it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Time {
        self.0.elapsed()
    }

    /// `None` if it is beyond what the system can express: never.
    pub(crate) fn instant(self, time: Time) -> Option<Instant> {
        self.0.checked_add(time)
    }
}

/// A sleep that is re-armed lazily. Most deadlines move on with every message: then the sleep is left
/// where it is, and is set to the new deadline only when it fires too early.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the sleep wakes: while that does not change there is no need to poll it.
    waker: Option<Waker>,
}

impl Alarm {
    /// Ready at the deadline; otherwise the task is woken then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        match &mut self.sleep {
            Some(sleep) if sleep.deadline() <= deadline => {
                if known && !sleep.is_elapsed() {
                    return Poll::Pending;
                }
            }
            Some(sleep) => sleep.as_mut().reset(deadline),
            None => self.sleep = Some(Box::pin(sleep_until(deadline))),
        }
        if !known {
            self.waker = Some(cx.waker().clone());
        }
        self.poll_sleep(cx, deadline)
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        // Outside of tokio's budget: with it, a sleep that was not even looked at would seem to be pending.
        while pin!(unconstrained(sleep.as_mut())).poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}
