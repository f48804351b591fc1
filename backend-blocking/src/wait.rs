//! A thread that waits for what tasks await.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use bellwire_core::backend::Timer;
use bellwire_core::proto::Time;

/// The clock of one wait.
pub(crate) struct Clock {
    start: Instant,
    deadline: Time,
    /// Until when to sleep, if the future has asked for that.
    alarm: Rc<Cell<Option<Time>>>,
}

impl Timer for Clock {
    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn set(&mut self, deadline: Time) {
        self.deadline = deadline;
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
        if self.now() >= self.deadline {
            return Poll::Ready(());
        }
        self.alarm.set(Some(self.deadline));
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

std::thread_local! {
    static UNPARK: Waker = unpark_current();
}

fn unpark_current() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// What wakes this thread.
fn waker() -> Waker {
    UNPARK.try_with(Waker::clone).unwrap_or_else(|_| unpark_current())
}

/// Waits on this thread for a future, at the latest until `deadline`: then it returns `None`, and the future is dropped.
pub(crate) fn wait_until<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    let (mut future, waker) = (pin!(future), waker());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        let Some(deadline) = deadline else {
            thread::park();
            continue;
        };
        match deadline.saturating_duration_since(Instant::now()) {
            Duration::ZERO => return None,
            left => thread::park_timeout(left),
        }
    }
}

/// Waits on this thread for a future, which sleeps by the clock that it gets.
pub(crate) fn block_on<F: Future>(future: impl FnOnce(Clock) -> F) -> F::Output {
    let (start, alarm) = (Instant::now(), Rc::new(Cell::new(None)));
    let mut future = pin!(future(Clock { start, deadline: Time::ZERO, alarm: alarm.clone() }));
    let waker = waker();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        match alarm.take() {
            Some(deadline) => thread::park_timeout(deadline.since_start().saturating_sub(start.elapsed())),
            None => thread::park(),
        }
    }
}
