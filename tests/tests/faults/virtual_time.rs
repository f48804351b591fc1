//! A runtime for futures-io whose time passes when there is nothing else to do.

use std::collections::BTreeMap;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bellwire::backend as task;
use bellwire::futures_io::Executor;
use bellwire::proto::Time;
use bellwire_tests::Script;

/// No connection lives longer than this.
const LONGEST: Time = Time::from_start(Duration::from_secs(120));

/// No connection needs more turns than this.
const MAX_TURNS: usize = 100_000;

/// A runtime with a clock of its own.
#[derive(Clone, Default)]
pub(crate) struct VirtualTime(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    now: Time,
    /// Who sleeps, and until when.
    sleeping: BTreeMap<usize, (Time, Waker)>,
    timers: usize,
    spawned: Vec<Task>,
}

/// A timer of that clock.
pub(crate) struct Timer {
    runtime: VirtualTime,
    id: usize,
    start: Time,
    /// Since the clock began.
    deadline: Option<Time>,
}

/// A task that is polled when it was woken, and only then.
struct Task {
    future: Pin<Box<dyn Future<Output = ()> + Send>>,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    /// Polls a future if this was woken. `None` if not.
    fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Option<Poll<F::Output>> {
        let woken = self.0.swap(false, Ordering::Relaxed);
        woken.then(|| future.poll(&mut Context::from_waker(&self.clone().into())))
    }
}

impl VirtualTime {
    /// Runs a future to its end, and what it spawns meanwhile. What is late in the script happens when there is
    /// nothing else to do; time passes when there is not even that.
    ///
    /// # Panics
    /// If it does not end.
    pub(crate) fn run<F: Future>(&self, script: &Script, main: F) -> F::Output {
        let (mut main, woken, mut tasks) = (pin!(main), Woken::new(), Vec::new());
        for _ in 0..MAX_TURNS {
            let polled = woken.poll(main.as_mut());
            let mut busy = polled.is_some();
            if let Some(Poll::Ready(output)) = polled {
                return output;
            }
            tasks.append(&mut self.lock().spawned);
            tasks.retain_mut(|task: &mut Task| {
                let polled = task.woken.poll(task.future.as_mut());
                busy |= polled.is_some();
                !matches!(polled, Some(Poll::Ready(())))
            });
            if !busy && !script.release() {
                self.pass_time();
            }
        }
        panic!("it does not end");
    }

    /// How much time has passed.
    pub(crate) fn now(&self) -> Time {
        self.lock().now
    }

    fn pass_time(&self) {
        let mut state = self.lock();
        let next = state.sleeping.values().map(|(deadline, _)| *deadline).min();
        state.now = next.expect("nothing is left to be waited for");
        assert!(state.now <= LONGEST, "it takes too long");
        let now = state.now;
        let (due, sleeping) = mem::take(&mut state.sleeping).into_iter().partition(|(_, (at, _))| *at <= now);
        state.sleeping = sleeping;
        drop(state);
        let due: BTreeMap<usize, (Time, Waker)> = due;
        due.into_values().for_each(|(_, waker)| waker.wake());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Executor for VirtualTime {
    type Timer = Timer;

    fn timer(&self) -> Timer {
        let mut state = self.lock();
        state.timers += 1;
        let (id, start) = (state.timers, state.now);
        drop(state);
        Timer { runtime: self.clone(), id, start, deadline: None }
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.lock().spawned.push(Task { future: Box::pin(task), woken: Woken::new() });
    }
}

impl task::Timer for Timer {
    fn now(&self) -> Time {
        Time::from_start(self.runtime.lock().now.saturating_since(self.start))
    }

    fn set(&mut self, deadline: Time) {
        self.deadline = self.start.checked_add(deadline.since_start());
        self.runtime.lock().sleeping.remove(&self.id);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.runtime.lock();
        match self.deadline {
            Some(deadline) if deadline <= state.now => Poll::Ready(()),
            Some(deadline) => {
                state.sleeping.insert(self.id, (deadline, cx.waker().clone()));
                Poll::Pending
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.runtime.lock().sleeping.remove(&self.id);
    }
}
