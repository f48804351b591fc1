//! What the backend suite in `tests/` is made of. A test there is written once, generic over [`Backend`],
//! and [`backends!`] makes one test of it for each backend.
//!
//! | file | what it is |
//! |---|---|
//! | `backend` | what a backend must offer so that one test can run on all of them |
//! | `on_blocking`, `on_tokio` | the backends, so wrapped |
//! | `log` | a listener that writes down its events, and checks the invariant 1.13 while it does |
//! | `raw` | a peer made of bytes, which shares no code with bellwire |
//! | `theirs` | tungstenite, the peer that nobody here wrote |
//! | `memory` | a transport in memory, for the blocking backend |
//!
//! Nothing here sleeps to let something happen. What a test waits for has [`PATIENCE`] as its bound, which
//! only a failing test ever reaches.
#![forbid(unsafe_code)]

mod backend;
mod log;
mod memory;
mod on_blocking;
mod on_tokio;
mod raw;
mod theirs;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

pub use backend::{Acceptor, Backend, Client, Connect, Driven, Over, Reported, Server, Setup};
pub use log::{Event, Handler, Log, Logs, logged, logged_handler};
pub use memory::MemoryEnd;
pub use on_blocking::Blocking;
pub use on_tokio::{Bridge, CountingDuplex, Flavor, Multi, OnTokio, Single, Tokio, TokioSingle};
pub use raw::{BINARY, CLOSE, CONTINUATION, Frame, Http, PING, PONG, Raw, TEXT, http, request, upgrade_request};

pub use theirs::Theirs;

use bellwire::{Closures, Config, listener};

/// How long a test waits for what must happen before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Makes of each generic test one for each backend. A test that is left out is dead code, which clippy finds.
#[macro_export]
macro_rules! backends {
    ($($test:ident),* $(,)?) => {
        mod blocking {
            $(#[test] fn $test() { super::$test::<$crate::Blocking>(); })*
        }
        mod tokio {
            $(#[test] fn $test() { super::$test::<$crate::Tokio>(); })*
        }
        mod tokio_single_threaded {
            $(#[test] fn $test() { super::$test::<$crate::TokioSingle>(); })*
        }
    };
}

/// As [`backends!`], for what only a runtime can do.
#[macro_export]
macro_rules! runtimes {
    ($($test:ident),* $(,)?) => {
        mod tokio {
            $(#[test] fn $test() { super::$test::<$crate::Multi>(); })*
        }
        mod tokio_single_threaded {
            $(#[test] fn $test() { super::$test::<$crate::Single>(); })*
        }
    };
}

/// Echoes messages.
pub fn echo() -> Closures {
    listener().on_message(|socket, message| socket.send(message))
}

/// The default configuration without keepalive: nothing happens but what the test does.
pub fn quiet() -> Config {
    Config::default().keepalive_interval(None)
}

/// Runs `action` on a thread of its own and waits for it.
///
/// # Panics
/// If it takes too long or panics.
pub fn within<T: Send + 'static>(what: &str, action: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || drop(sender.send(action())));
    match receiver.recv_timeout(PATIENCE) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("{what}: still not done"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => panic!("{what}: no result"),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
}

/// What comes next out of a channel.
///
/// # Panics
/// If nothing does.
#[track_caller]
pub fn next<T>(receiver: &Receiver<T>) -> T {
    match receiver.recv_timeout(PATIENCE) {
        Ok(value) => value,
        Err(error) => panic!("nothing came: {error}"),
    }
}
