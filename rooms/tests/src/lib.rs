//! What the tests of rooms are made of: brokers, nodes and what lies between them.
//!
//! | file | what it is |
//! |---|---|
//! | `broker` | a NATS or Redis server of the test's own, which it stops, kills, pauses and restarts |
//! | `asking` | what a broker is asked: who it is, and which channels are subscribed |
//! | `relay` | a way to the broker that can be cut, held, and filled with rubbish |
//! | `process` | a program that was started, its output, and its end |
//! | `node` | a process with rooms, which a test tells what to do |
//! | `random` | choices from a seed |
//!
//! Nothing here sleeps to let something happen. What a test waits for has [`PATIENCE`] as its bound, which only a
//! failing test ever reaches.
#![forbid(unsafe_code)]
// Nobody prints them: a test that fails prints what it found.
#![allow(missing_debug_implementations)]

mod asking;
mod broker;
mod node;
mod process;
mod random;
mod relay;

use std::thread;
use std::time::{Duration, Instant};

pub use broker::{Broker, Kind};
pub use node::Node;
pub use process::Process;
pub use random::Random;
pub use relay::{Relay, Way};

/// How long a test waits for what must happen.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long to wait until something is looked at again.
const GLANCE: Duration = Duration::from_millis(2);

/// Looks until there is something, and returns it.
///
/// # Panics
/// When there is nothing for too long: with `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    look_for(look).unwrap_or_else(|| panic!("for {PATIENCE:?} in vain: {what}"))
}

/// Looks until something is so.
///
/// # Panics
/// When it is not so for too long: with `what`.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    wait_for(what, || is_so().then_some(()));
}

/// Looks until there is something: `None` if there is nothing for too long.
pub fn look_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look();
        if found.is_some() || Instant::now() > end {
            return found;
        }
        thread::sleep(GLANCE);
    }
}
