//! The connection as its driver and all its handles share it: Ring's socket for every runtime.
//!
//! [`Socket`](crate::Socket) is implemented here once, not in each backend: all that differs between runtimes is how a
//! driver that sleeps is woken, and for that the standard library has a word, [`Waker`]. A backend leaves
//! its waker when it [parks](Shared::park).
//!
//! **No lock is held while user code runs**: callbacks, completions and wakers are called after unlocking.
//! A send from inside one of the connection's own callbacks does not wake the driver: it writes all that was queued
//! during one read in one go. Any other calls the waker that was left, once until the output is taken: the
//! driver may be asleep, or busy with a callback that takes long.
//!
//! A turn of a driver locks once for what the callbacks have sent, and once when that is [written](Shared::wrote), which
//! [settles](Shared::park) at the same time whether it may sleep, and until when; each send locks once, too. Reading does
//! not, while the connection is open (see `reader`). What a driver asks in between is in the [`Status`] that each guard
//! leaves.

mod guard;
#[cfg(all(loom, test))]
mod models;
mod socket;
mod waiters;
mod waking;

use alloc::boxed::Box;
use core::cell::Cell;
use core::fmt;
use core::task::Waker;

use self::guard::State;
pub(super) use self::guard::{Arrived, Guard, Status};
use self::waiters::{Waiters, tell_end};
use crate::context::{SocketContext, SocketId};
use crate::observe::{Opened, Peak};
use crate::protocol::{Connection, Event, Inbound, Output};
use crate::sync::{AtomicBool, AtomicU8, Mutex, Ordering, WakerSlot, thread_local};
use crate::time::Time;

/// A connection that is shared between its driver and the handles to it.
pub struct Shared {
    id: SocketId,
    /// What never changes needs no lock. `None` if nothing is known.
    context: Option<Box<SocketContext>>,
    status: AtomicU8,
    /// Whether the driver sleeps.
    parked: AtomicBool,
    /// Whether what the driver polls beside the callbacks was woken.
    due: AtomicBool,
    state: Mutex<State>,
}

thread_local! {
    /// The connection whose callback this thread is in: its address, or zero.
    static CALLING: Cell<usize> = const { Cell::new(0) };
}

#[cfg(all(test, not(loom)))]
std::thread_local! {
    /// How many guards this thread has taken.
    pub(crate) static GUARDS: Cell<usize> = const { Cell::new(0) };
}

/// There is something to do: the driver must not sleep yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Shared {
    /// Shares a connection. Pings are left to the listener from now on.
    pub fn new(mut connection: Connection) -> Self {
        connection.set_auto_pong(false);
        let context = connection.take_context();
        let state = State {
            connection,
            waker: WakerSlot::new(),
            woken: false,
            waiters: Waiters::default(),
            closed: None,
            peak: Peak::default(),
        };
        let shared = Self {
            id: SocketId::unique(),
            context,
            status: AtomicU8::new(0),
            parked: AtomicBool::new(false),
            due: AtomicBool::new(false),
            state: Mutex::new(state),
        };
        // Stores the first status.
        drop(shared.lock());
        shared
    }

    /// Locks the connection, for a moment in which no user code may run.
    pub(super) fn lock(&self) -> Guard<'_> {
        #[cfg(all(test, not(loom)))]
        GUARDS.with(|guards| guards.set(guards.get() + 1));
        Guard::new(self.state.lock(), &self.status)
    }

    /// Returns which connection this is, for who watches it.
    pub(super) fn opened(&self) -> Opened<'_> {
        Opened { id: self.id, context: self.context.as_deref() }
    }

    /// Runs `act` on the connection, under its lock: it must call no user code. Does not wake the driver.
    pub fn with<T>(&self, act: impl FnOnce(&mut Connection) -> T) -> T {
        act(&mut self.lock())
    }

    /// Returns what was true of the connection when it was last unlocked.
    pub(super) fn status(&self) -> Status {
        Status::load(&self.status)
    }

    /// What an open connection does not need: what its peer still says while it closes, and its last events. Who waits
    /// for the end is told before the listener is.
    #[cold]
    pub(super) fn last_events<'a>(
        &self,
        inbound: &mut Inbound,
        arrived: &mut Arrived,
        input: &mut &'a mut [u8],
    ) -> Option<Event<'a>> {
        let mut guard = self.lock();
        guard.note(arrived);
        let event = guard.read(inbound, input);
        if let Some(Event::Closed(closed)) = &event {
            guard.state.closed = Some(Box::new(closed.clone()));
            let at_end = guard.state.waiters.take_at_end();
            drop(guard);
            tell_end(at_end);
        }
        event
    }

    /// The driver is awake.
    pub(super) fn unpark(&self) {
        self.parked.store(false, Ordering::Relaxed);
    }

    /// The driver is about to sleep, until the deadline that this returns or until `waker` is called: when there is
    /// output to write, an event to handle, or another deadline.
    ///
    /// # Errors
    /// [`Busy`] if there is output or an event already.
    pub fn park(&self, waker: &Waker) -> Result<Option<Time>, Busy> {
        self.park_with(self.lock(), waker)
    }

    /// The same, and first notes what has arrived.
    #[inline(never)]
    pub(super) fn park_after(&self, arrived: &mut Arrived, waker: &Waker) -> Result<Option<Time>, Busy> {
        let mut guard = self.lock();
        guard.note(arrived);
        self.park_with(guard, waker)
    }

    /// The same after a write that nothing was left of: [`wrote`](Self::wrote) under the same lock. Most turns end so.
    pub(super) fn park_after_write(
        &self,
        arrived: &mut Arrived,
        now: Time,
        count: usize,
        waker: &Waker,
    ) -> Result<Option<Time>, Busy> {
        let mut guard = self.lock();
        guard.note(arrived);
        guard.wrote(now, count);
        if guard.has_completed() {
            complete(guard);
            return Err(Busy);
        }
        self.park_with(guard, waker)
    }

    #[inline(always)]
    fn park_with(&self, mut guard: Guard<'_>, waker: &Waker) -> Result<Option<Time>, Busy> {
        if guard.has_event() || guard.has_output() || self.due.load(Ordering::Acquire) {
            return Err(Busy);
        }
        let old = guard.state.waker.register(waker);
        guard.state.woken = false;
        self.parked.store(true, Ordering::Relaxed);
        let deadline = guard.poll_timeout();
        drop(guard);
        drop(old);
        Ok(deadline)
    }

    /// Takes what is to be written; `None` also while another thread is writing. A wake-up counts as heard then.
    #[inline]
    pub fn take_output(&self) -> Option<Output> {
        if self.status().has_output() { self.take_output_now() } else { None }
    }

    fn take_output_now(&self) -> Option<Output> {
        let mut guard = self.lock();
        guard.state.woken = false;
        guard.take_output()
    }

    /// Notes that the transport has taken the first `count` bytes of what was taken, and completes what waited for
    /// that.
    pub fn wrote(&self, now: Time, count: usize) {
        let mut guard = self.lock();
        guard.wrote(now, count);
        if guard.has_completed() {
            complete(guard);
        }
    }

    /// Returns when a close that was called for while the driver sleeps is due; it may sleep longer than that. `None`
    /// while it is awake: it has its deadlines for itself, and judges them after what it has read.
    pub fn parked_close(&self, now: Time) -> Option<Time> {
        let mut guard = self.lock();
        if self.parked.load(Ordering::Relaxed) { guard.close_by(now) } else { None }
    }

    /// Returns `true` if the driver sleeps while an event waits for it.
    pub fn is_awaited(&self) -> bool {
        let guard = self.lock();
        self.parked.load(Ordering::Relaxed) && guard.has_event()
    }

    /// Returns `true` if the connection ends without another word to the peer: what was taken need not be written any
    /// more.
    pub fn discards_output(&self) -> bool {
        self.lock().discards_output()
    }

    /// Ends a connection whose transport is gone: what still waits for bytes to be written is told that they were not.
    pub fn finish(&self) {
        let mut guard = self.lock();
        guard.abort();
        let waiters = guard.state.waiters.give_up();
        // Handles may live on: what a waker holds (a task, a transport) must not.
        let waker = guard.state.waker.take();
        drop(guard);
        drop(waker);
        waiters.complete();
    }

    /// Runs a callback of this connection: what it sends is written after it has returned.
    pub(super) fn during<T>(&self, callback: impl FnOnce() -> T) -> T {
        let _calling = self.calling();
        callback()
    }

    /// The same for all callbacks until what this returns is dropped.
    pub(super) fn calling(&self) -> Calling {
        Calling(CALLING.with(|calling| calling.replace(self.address())))
    }

    fn address(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }
}

/// Tells those who waited for what is now written.
#[cold]
fn complete(mut guard: Guard<'_>) {
    let completed = guard.completed();
    drop(guard);
    for waiter in completed {
        waiter.complete(Ok(()));
    }
}

/// A callback may drive another connection; then this one's goes on.
pub(super) struct Calling(usize);

impl Drop for Calling {
    fn drop(&mut self) {
        CALLING.with(|calling| calling.set(self.0));
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self.lock()).fmt(f)
    }
}
