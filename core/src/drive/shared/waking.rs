//! The connection as a waker: for a future that its driver polls beside the callbacks.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::cell::Cell;

use super::{CALLING, Shared};
use crate::sync::Ordering;

impl Shared {
    /// What the driver polls beside the callbacks is to be polled. It looks before it sleeps.
    pub(in crate::drive) fn set_due(&self) {
        self.due.store(true, Ordering::Release);
    }

    /// Returns `true` if that is to be polled.
    pub(in crate::drive) fn is_due(&self) -> bool {
        self.due.load(Ordering::Relaxed)
    }

    /// The same, once.
    #[inline]
    pub(in crate::drive) fn take_due(&self) -> bool {
        self.is_due() && self.due.swap(false, Ordering::Acquire)
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set_due();
        if CALLING.with(Cell::get) == self.address() {
            return;
        }
        let guard = self.lock();
        // A driver that is awake looks before it sleeps.
        let waker = if self.parked.load(Ordering::Relaxed) { guard.state.waker.get().cloned() } else { None };
        drop(guard);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
