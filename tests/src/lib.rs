//! What the backend suite in `tests/` is made of. A test there is written once, generic over [`Backend`],
//! and [`backends!`] makes one test of it for each backend.
//!
//! | file | what it is |
//! |---|---|
//! | `backend` | what a backend must offer so that one test can run on all of them |
//! | `on_blocking`, `on_tokio`, `on_async_std` | the backends, so wrapped |
//! | `tasks` | what a backend offers besides, if its connections are futures |
//! | `ours` | one connection of ours, in either role, for tests of what both roles promise |
//! | `log` | a listener that writes down its events, and checks the invariant 1.13 while it does |
//! | `raw` | a peer made of bytes, which shares no code with bellwire |
//! | `theirs` | tungstenite, the peer that nobody here wrote |
//! | `memory` | a transport in memory, for threads and for futures-io |
//! | `over_tls` | the same tests once more, over TLS |
//! | `over_hyper` | the same tests once more, inside servers of hyper and axum, over HTTP/1.1 and HTTP/2 |
//! | `trust` | certificates, and who trusts them |
//! | `script` | a transport that plays a peer by script, and goes wrong where a test wants it to |
//!
//! Nothing here sleeps to let something happen. What a test waits for has [`PATIENCE`] as its bound, which
//! only a failing test ever reaches.
#![forbid(unsafe_code)]
// Nobody prints them: a test that fails prints what it found.
#![allow(missing_debug_implementations)]

mod backend;
mod log;
mod memory;
mod on_async_std;
mod on_blocking;
mod on_tokio;
mod ours;
mod over_hyper;
mod over_tls;
mod raw;
mod script;
mod tasks;
mod theirs;
mod trust;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

pub use backend::{Acceptor, Backend, Client, Connect, Driven, Over, Reported, Server, Setup};
pub use log::{Event, Handler, Log, Logs, logged, logged_handler};
pub use memory::MemoryEnd;
pub use on_async_std::{AsyncStd, OnFuturesIo, Smol};
pub use on_blocking::Blocking;
pub use on_tokio::{Bridge, CountingDuplex, Flavor, Multi, OnTokio, Single, Tokio, TokioSingle};
pub use ours::Ours;
pub use raw::{BINARY, CLOSE, CONTINUATION, Frame, Http, PING, PONG, Raw, TEXT, http, request, upgrade_request};
pub use script::{Call, Fault, Line, Script, Scripted, What, When};
pub use tasks::{Ending, Shutdown, Task, Tasks};
pub use theirs::Theirs;
pub use trust::{Certified, Trust};

pub use bellwire::Role;
use bellwire::listener::ListenerBuilder;
use bellwire::{Config, listener};

/// How long a test waits for what must happen before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Makes of each generic test one for each backend, and says in its path in which role bellwire is tested there:
///
/// - `server`: a server of ours, and a peer that is not bellwire
/// - `client`: a client of ours, and such a peer
/// - `pair`: both ends are ours
/// - `both`: one test of each role, which takes the role as its argument
///
/// The sections come in this order. A test that is left out is dead code, which clippy finds.
#[macro_export]
macro_rules! backends {
    ($($roles:tt)*) => {
        mod blocking {
            $crate::roles! { $crate::Blocking; $($roles)* }
        }
        $crate::tasks! { $($roles)* }
    };
}

/// As [`backends!`], for what only tasks can do.
#[macro_export]
macro_rules! tasks {
    ($($roles:tt)*) => {
        $crate::runtimes! { $($roles)* }
        mod async_std {
            $crate::roles! { $crate::AsyncStd; $($roles)* }
        }
        mod smol {
            $crate::roles! { $crate::Smol; $($roles)* }
        }
    };
}

/// As [`backends!`], for what only a runtime can do that ends.
#[macro_export]
macro_rules! runtimes {
    ($($roles:tt)*) => {
        mod tokio {
            $crate::roles! { $crate::Tokio; $($roles)* }
        }
        mod tokio_single_threaded {
            $crate::roles! { $crate::TokioSingle; $($roles)* }
        }
    };
}

/// The tests of one backend.
#[doc(hidden)]
#[macro_export]
macro_rules! roles {
    (
        $backend:ty;
        $(server { $($(#[$on_server:meta])* $server:ident),* $(,)? })?
        $(client { $($(#[$on_client:meta])* $client:ident),* $(,)? })?
        $(pair { $($(#[$on_pair:meta])* $pair:ident),* $(,)? })?
        $(both { $($(#[$on_both:meta])* $both:ident),* $(,)? })?
    ) => {
        mod server {
            $($(#[test] $(#[$on_server])* fn $server() { super::super::$server::<$backend>(); })*)?
            $($(#[test] $(#[$on_both])* fn $both() { super::super::$both::<$backend>($crate::Role::Server); })*)?
        }
        mod client {
            $($(#[test] $(#[$on_client])* fn $client() { super::super::$client::<$backend>(); })*)?
            $($(#[test] $(#[$on_both])* fn $both() { super::super::$both::<$backend>($crate::Role::Client); })*)?
        }
        mod pair {
            $($(#[test] $(#[$on_pair])* fn $pair() { super::super::$pair::<$backend>(); })*)?
        }
    };
}

/// Echoes messages.
pub fn echo() -> ListenerBuilder {
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
