//! What is seen from outside: spans and events for subscribers of `tracing`, numbers for recorders of `metrics`. Without
//! those features nothing is, and nothing costs anything: what stands for them is empty.
//!
//! What happens is told here, in one place each, and never while a connection is locked:
//!
//! - a connection [opens](Watch::open), [fails](Watch::fail) and [closes](Watch::close);
//! - a turn of its loop [is over](Watch::turn): what has come and gone since the last one, and whether the peer reads;
//! - the answer to a ping [has come](Watch::answer);
//! - its callbacks run [within](Watch::enter) its span;
//! - something goes wrong where there is no connection: a server [fails or refuses](server), a client gets
//!   [no connection](no_connection), or tries [again](again).
//!
//! **What is never shown**: payloads, queries, cookies, credentials, header fields, and the texts of errors that the
//! program's own functions return, since those may quote what a peer has sent. Who wants these has `on_error`.

#[cfg(feature = "metrics")]
#[path = "metrics.rs"]
mod numbers;
#[cfg(not(feature = "metrics"))]
#[path = "no_metrics.rs"]
mod numbers;
mod problem;
#[cfg(feature = "tracing")]
#[path = "tracing.rs"]
mod events;
#[cfg(not(feature = "tracing"))]
#[path = "no_tracing.rs"]
mod events;
mod seen;

use core::time::Duration;

pub(crate) use self::events::Entered;
pub(crate) use self::numbers::Peak;
#[cfg(feature = "metrics")]
pub use self::numbers::describe as describe_metrics;
pub(crate) use self::problem::{Problem, Severity};
pub(crate) use self::seen::Seen;
use crate::context::{SocketContext, SocketId};
use crate::handshake::{ConnectError, Target};
#[cfg(any(feature = "tracing", feature = "metrics"))]
use crate::protocol::ClosedBy;
use crate::protocol::{Closed, Error, Role};

/// Who watches a connection.
pub(crate) struct Watch {
    events: events::Watch,
    numbers: numbers::Watch,
}

/// Which connection it is that opens.
#[derive(Clone, Copy)]
#[cfg_attr(not(all(feature = "tracing", feature = "metrics")), allow(dead_code, reason = "each looks at a part"))]
pub(crate) struct Opened<'a> {
    pub(crate) id: SocketId,
    pub(crate) context: Option<&'a SocketContext>,
}

impl Watch {
    /// Watches a connection that has not opened yet.
    pub(crate) fn new(role: Role) -> Self {
        Self { events: events::Watch::new(role), numbers: numbers::Watch::new(role) }
    }

    /// Before `on_open`.
    pub(crate) fn open(&mut self, opened: Opened<'_>) {
        self.events.open(opened);
        self.numbers.open();
    }

    /// Callbacks run until what this returns is dropped.
    #[inline(always)]
    pub(crate) fn enter(&self) -> Entered {
        self.events.enter()
    }

    /// A turn is over, and the connection looked like this in it.
    #[inline(always)]
    pub(crate) fn turn(&mut self, seen: &Seen) {
        self.events.turn(seen);
        self.numbers.turn(seen);
    }

    /// A ping was answered after so long.
    pub(crate) fn answer(&self, round_trip: Duration) {
        self.numbers.answer(round_trip);
    }

    /// Before `on_error`.
    pub(crate) fn fail(&mut self, error: &Error, seen: &Seen) {
        self.turn(seen);
        let problem = Problem::of_connection(error);
        self.events.fail(&problem);
        self.numbers.fail(&problem);
    }

    /// Before `on_close`.
    pub(crate) fn close(&mut self, closed: &Closed, seen: &Seen) {
        self.turn(seen);
        self.events.close(closed, seen);
        self.numbers.close(closed, seen);
    }
}

/// Something goes wrong on a server, or a request is refused.
pub(crate) fn server(problem: &Problem<'_>) {
    events::server(problem);
    numbers::server(problem);
}

/// A client gets no connection. For backends.
pub fn no_connection(target: &Target, error: &ConnectError) {
    let problem = Problem::of_connect(error);
    events::no_connection(target.uri(), &problem);
    numbers::no_connection(&problem);
}

/// A client that reconnects has failed so often in a row, and tries again after this time, or not at all.
pub(crate) fn again(problem: &Problem<'_>, tries: u32, retry_in: Option<Duration>) {
    events::again(problem, tries, retry_in);
    numbers::again(problem, retry_in);
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

#[cfg(any(feature = "tracing", feature = "metrics"))]
fn by(by: ClosedBy) -> &'static str {
    match by {
        ClosedBy::Local => "local",
        ClosedBy::Peer => "peer",
    }
}
