//! The tasks of a server, or of a client, and their end.

use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::fmt;
use core::mem;
use core::pin::pin;
use core::sync::atomic::{AtomicU8, Ordering};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::io::{self, ErrorKind};

use super::timer::{Timer, in_time, sleep};
use crate::serve::{ServerError, Service};
use crate::sync::{Mutex, MutexGuard, WakerSlot};

/// How long to wait before accepting again when that has failed: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that is dropped may take to run its last callbacks before shutdown stops waiting.
const LAST_CALLBACKS: Duration = Duration::from_secs(1);

/// How far a server is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Stage {
    Running,
    /// No more connections are accepted, and those that have not been answered yet are dropped.
    Closing,
    /// All connections are dropped.
    Dropping,
    /// Nobody waits any more.
    Over,
}

/// The connections of a server: how many there are, and how they are ended.
#[derive(Default)]
pub struct Tasks {
    /// A [`Stage`].
    stage: AtomicU8,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// How to wake each.
    wakers: BTreeMap<u64, WakerSlot>,
    /// Who waits for somebody to leave, or for the next stage.
    watching: BTreeMap<u64, Waker>,
    /// What is shared by all connections, once a server runs. Its handler may hold a handle of its own server.
    service: Weak<Service>,
}

impl Tasks {
    /// Runs `accepting`, which accepts connections for `service` and never ends, until a [shutdown](Self::shutdown).
    /// Drop the listening socket then, and [wait](Self::wait_for_end).
    ///
    /// # Cancel safety
    /// Dropping the future ends the accepting; connections live on.
    pub async fn run(&self, service: Arc<Service>, accepting: impl Future<Output = ()>) {
        self.lock().service = Arc::downgrade(&service);
        let mut closing = pin!(self.wait_until(|stage, _| stage > Stage::Running));
        let mut accepting = pin!(accepting);
        core::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => accepting.as_mut().poll(cx),
        })
        .await;
    }

    /// When this is dropped, connections whose request is not answered yet are.
    pub fn guard(tasks: &Arc<Self>) -> impl Send + Sync + use<> {
        Guard(tasks.clone())
    }

    /// Waits until there are fewer than so many connections.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_room(&self, max: usize) {
        self.wait_until(|_, count| count < max).await;
    }

    /// Reports that accepting has failed, and waits a moment if it is likely to fail again.
    ///
    /// # Cancel safety
    /// Dropping the future cuts the pause short.
    pub async fn accept_failed(&self, service: &Service, error: io::Error, mut timer: impl Timer) {
        let passing = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
        let pause = !passing.contains(&error.kind());
        service.report(&ServerError::Accept(error));
        if pause {
            let deadline = timer.now() + ACCEPT_PAUSE;
            sleep(&mut timer, deadline).await;
        }
    }

    /// Waits until there are no connections, or a shutdown has given up on them.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn wait_for_end(&self) {
        self.wait_until(|stage, count| count == 0 || stage == Stage::Over).await;
    }

    /// Stops accepting, drops connections whose request is not answered yet, closes the others with 1001, waits at
    /// most `grace` for them, and then drops those that are left; their last callbacks are waited for at most one
    /// second more. Returns how many had to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server closing: nothing is accepted any more.
    pub async fn shutdown(&self, grace: Duration, mut timer: impl Timer) -> usize {
        self.enter(Stage::Closing);
        let service = self.lock().service.upgrade();
        if let Some(service) = &service {
            service.close_all();
        }
        let in_grace = self.wait_until_empty(&mut timer, grace).await;
        let left = if in_grace { 0 } else { self.count() };
        if let Some(service) = &service {
            service.abort_all();
        }
        self.enter(Stage::Dropping);
        // They have nobody to wait for any more but their own callbacks.
        self.wait_until_empty(&mut timer, LAST_CALLBACKS).await;
        self.enter(Stage::Over);
        left
    }

    /// How many connections are open: [`Service::connections`] of the server that runs.
    pub fn connections(&self) -> usize {
        let service = self.lock().service.upgrade();
        service.map_or(0, |service| service.connections())
    }

    async fn wait_until_empty(&self, timer: &mut impl Timer, timeout: Duration) -> bool {
        let deadline = timer.now().checked_add(timeout);
        in_time(timer, deadline, self.wait_until(|_, count| count == 0)).await.is_some()
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Ordering::SeqCst) {
            0 => Stage::Running,
            1 => Stage::Closing,
            2 => Stage::Dropping,
            _ => Stage::Over,
        }
    }

    /// Goes on to a stage, and lets everybody know.
    fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::SeqCst);
        let mut state = self.lock();
        let watching = mem::take(&mut state.watching);
        let wakers: Vec<_> = state.wakers.values().filter_map(WakerSlot::get).cloned().collect();
        drop(state);
        wakers.into_iter().chain(watching.into_values()).for_each(Waker::wake);
    }

    fn count(&self) -> usize {
        self.lock().wakers.len()
    }

    /// Waits until something is so: about the stage, or the number of connections.
    async fn wait_until(&self, condition: impl Fn(Stage, usize) -> bool) {
        let mut watch = Watch { tasks: self, id: None };
        core::future::poll_fn(|cx| watch.poll(cx, &condition)).await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tasks").field("stage", &self.stage()).field("count", &self.count()).finish_non_exhaustive()
    }
}

struct Guard(Arc<Tasks>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.enter(Stage::Closing);
    }
}

/// Who waits; dropped, it leaves nothing behind.
struct Watch<'a> {
    tasks: &'a Tasks,
    id: Option<u64>,
}

impl Watch<'_> {
    fn poll(&mut self, cx: &Context<'_>, condition: impl Fn(Stage, usize) -> bool) -> Poll<()> {
        let mut state = self.tasks.lock();
        if condition(self.tasks.stage(), state.wakers.len()) {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| state.new_id());
        let before = state.watching.insert(id, cx.waker().clone());
        drop(state);
        // A waker may do anything when it is dropped.
        drop(before);
        Poll::Pending
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let waker = self.id.and_then(|id| self.tasks.lock().watching.remove(&id));
        drop(waker);
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}

/// A place among the tasks, until it is dropped.
pub(crate) struct Place {
    tasks: Arc<Tasks>,
    id: u64,
    /// Whom the tasks wake: as long as that does not change they need not be asked.
    waker: WakerSlot,
}

impl Place {
    pub(crate) fn new(tasks: Arc<Tasks>) -> Self {
        let mut state = tasks.lock();
        let id = state.new_id();
        state.wakers.insert(id, WakerSlot::new());
        drop(state);
        Self { tasks, id, waker: WakerSlot::new() }
    }

    /// Registers whom to wake. Returns how far the tasks are on their way to their end.
    pub(crate) fn register(&mut self, waker: &Waker) -> Stage {
        if !self.waker.get().is_some_and(|known| known.will_wake(waker)) {
            let before = self.waker.register(waker);
            let replaced = self.tasks.lock().wakers.get_mut(&self.id).and_then(|slot| slot.register(waker));
            drop((before, replaced));
        }
        self.tasks.stage()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.tasks.lock();
        let waker = state.wakers.remove(&self.id);
        let watching = mem::take(&mut state.watching);
        drop(state);
        drop(waker);
        watching.into_values().for_each(Waker::wake);
    }
}
