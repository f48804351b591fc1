//! Which client that connects again a thread belongs to: what waits for that client must not be called on one of its threads.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};

/// Whom a thread belongs to: a client that connects again, or nobody in particular.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Owner(Option<NonZero<u64>>);

std::thread_local! {
    static OWNER: Cell<Owner> = const { Cell::new(Owner(None)) };
}

impl Owner {
    /// Returns a new one.
    pub(crate) fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(NonZero::new(LAST.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Returns whom this thread belongs to.
    pub(crate) fn of_this_thread() -> Self {
        OWNER.get()
    }

    /// From now on this thread belongs to it.
    pub(crate) fn adopt_this_thread(self) {
        OWNER.set(self);
    }

    /// Returns `true` if this thread belongs to it.
    pub(crate) fn owns_this_thread(self) -> bool {
        self.0.is_some() && Self::of_this_thread() == self
    }
}
