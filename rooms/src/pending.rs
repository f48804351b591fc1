//! An answer that comes later, for tasks of any runtime and for threads.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// An answer that comes later: a future for tasks of any runtime, which threads [wait](Self::wait) for. What it is the
/// answer to goes on if it is dropped.
#[must_use = "it does nothing but hand over the answer: await it, or call `wait`"]
pub struct Pending<T>(Arc<Cell<T>>);

/// Where the answer is given.
pub(crate) struct Promise<T>(Arc<Cell<T>>);

struct Cell<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// What is the answer unless another is given.
    answer: Option<T>,
    /// No other answer comes any more.
    is_over: bool,
    waker: Option<Waker>,
}

/// Creates both ends. `unanswered` is the answer if the promise is dropped.
pub(crate) fn pending<T>(unanswered: T) -> (Promise<T>, Pending<T>) {
    let state = Mutex::new(State { answer: Some(unanswered), is_over: false, waker: None });
    let cell = Arc::new(Cell { state, changed: Condvar::new() });
    (Promise(cell.clone()), Pending(cell))
}

impl<T> Pending<T> {
    /// Creates one with its answer.
    pub(crate) fn ready(answer: T) -> Self {
        pending(answer).1
    }

    /// Waits for the answer, on a thread that may block.
    pub fn wait(self) -> T {
        let mut state = self.0.lock();
        loop {
            if let Some(answer) = state.take() {
                return answer;
            }
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits for the answer for so long, on a thread that may block. Without one by then, it can be waited for again.
    ///
    /// # Errors
    /// The same `Pending`, if there is no answer yet.
    pub fn wait_timeout(self, timeout: Duration) -> Result<T, Self> {
        let start = Instant::now();
        let mut state = self.0.lock();
        loop {
            if let Some(answer) = state.take() {
                return Ok(answer);
            }
            let Some(left) = timeout.checked_sub(start.elapsed()) else { break };
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        Err(self)
    }
}

impl<T> Future for Pending<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        match state.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                let before = state.waker.replace(context.waker().clone());
                drop(state);
                drop(before);
                Poll::Pending
            }
        }
    }
}

impl<T> Promise<T> {
    /// Returns `true` if anybody could still see the answer.
    #[cfg(feature = "__broker")]
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Gives the answer.
    #[cfg(any(feature = "__broker", test))]
    pub(crate) fn give(self, answer: T) {
        self.0.lock().answer = Some(answer);
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_over = true;
        let waker = state.waker.take();
        drop(state);
        self.0.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Cell<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn take(&mut self) -> Option<T> {
        if self.is_over { self.answer.take() } else { None }
    }
}

impl<T> fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("is_ready", &self.0.lock().is_over).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;
    use std::thread;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_is_woken_when_the_answer_is_there() {
        let (promise, answer) = pending(0_u8);
        let (woken, mut answer) = (Arc::new(Woken::default()), pin!(answer));
        let waker = woken.clone().into();
        assert_eq!(answer.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending);
        promise.give(7);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(answer.poll(&mut Context::from_waker(&waker)), Poll::Ready(7));
    }

    #[test]
    fn a_thread_waits_for_the_answer() {
        let (promise, answer) = pending(0_u8);
        let answer = answer.wait_timeout(Duration::from_millis(1)).unwrap_err();
        let waiting = thread::spawn(|| answer.wait());
        promise.give(7);
        assert_eq!(waiting.join().unwrap(), 7);
        assert_eq!(Pending::ready(8_u8).wait_timeout(Duration::ZERO).unwrap(), 8);
    }

    #[test]
    fn without_an_answer_nobody_waits_for_ever() {
        let (promise, answer) = pending(0_u8);
        drop(promise);
        assert_eq!(answer.wait(), 0);
    }
}
