//! What [`shared`](crate::shared) takes from the standard library to serve several threads. Its models take it from
//! loom, which runs them in every order that threads can have.

#[cfg(not(all(loom, test)))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(all(loom, test)))]
pub(crate) use std::thread_local;

#[cfg(all(loom, test))]
pub(crate) use loom::sync::{Mutex, MutexGuard};

/// Loom's takes no `const` block.
#[cfg(all(loom, test))]
macro_rules! model_thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const { $value:expr };) => {
        loom::thread_local! { $(#[$attribute])* static $name: $type = $value; }
    };
}
#[cfg(all(loom, test))]
pub(crate) use model_thread_local as thread_local;
