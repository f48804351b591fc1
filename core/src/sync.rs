//! What threads share: a mutex, and a place for a waker. Models take the mutex from loom, which runs them in every
//! order that threads can have.

use core::task::Waker;

#[cfg(all(loom, test))]
mod model;

#[cfg(all(loom, test))]
use loom::sync as imp;
#[cfg(not(all(loom, test)))]
use std::sync as imp;

pub(crate) use imp::MutexGuard;
pub(crate) use imp::atomic::{AtomicBool, AtomicU8, Ordering};
#[cfg(all(loom, test))]
pub(crate) use model::{Sleep, block_on, wait_for};
#[cfg(not(all(loom, test)))]
pub(crate) use std::thread_local;

/// A mutex that a panic does not poison. Under a lock nothing runs that is not ours: only what an entropy source or a
/// waker's `clone` does could panic there, and the state is whole nevertheless.
#[derive(Default)]
pub(crate) struct Mutex<T>(imp::Mutex<T>);

impl<T> Mutex<T> {
    #[cfg(not(all(loom, test)))]
    pub(crate) const fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    /// Loom's is not `const`.
    #[cfg(all(loom, test))]
    pub(crate) fn new(value: T) -> Self {
        Self(imp::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

debug!(Mutex<T>);

/// The waker of the task that polled last.
///
/// A waker may do anything when it is dropped: the last one of a task may take the task with it, which may hold what
/// the lock is about. So what is taken out is handed to the caller, who drops it when nothing is locked.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// Keeps a waker, unless the one that is kept wakes the same task. Returns the one that it replaces.
    #[must_use = "to be dropped when nothing is locked"]
    pub(crate) fn register(&mut self, waker: &Waker) -> Option<Waker> {
        match &self.0 {
            Some(known) if known.will_wake(waker) => None,
            _ => self.0.replace(waker.clone()),
        }
    }

    /// Takes the waker out: to be called, or dropped, when nothing is locked.
    #[must_use = "to be called or dropped when nothing is locked"]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }

    /// The waker, to be cloned and called when nothing is locked.
    pub(crate) fn get(&self) -> Option<&Waker> {
        self.0.as_ref()
    }
}

/// Loom's takes no `const` block.
#[cfg(all(loom, test))]
macro_rules! model_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
    };
}
#[cfg(all(loom, test))]
pub(crate) use model_thread_local as thread_local;
