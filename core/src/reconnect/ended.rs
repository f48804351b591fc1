//! What is told: that there is a connection, that there is none any more, and that there will be none.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::failure::Failure;
use crate::handshake::client::Response;
use crate::protocol::{Error, OwnedMessage};

/// There is a connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Connected {
    /// The server's answer to the handshake.
    pub response: Response,
    /// Which connection this is: 1 is the first.
    pub number: u64,
}

/// There is no connection any more, or another try to connect has failed.
#[non_exhaustive]
pub struct Disconnected {
    /// Why.
    pub failure: Arc<Failure>,
    /// What the connection has failed with, if there was one, and it has failed: what `on_error` was told.
    pub error: Option<Error>,
    /// What the connection had accepted and not written, in order, and that is not sent again: the peer does not have
    /// it.
    pub unsent: Vec<OwnedMessage>,
    /// How long it takes until the next try; `None` if there is none.
    pub retry_in: Option<Duration>,
    /// How many tries in a row have come to nothing.
    pub tries: u32,
}

/// Nothing more will happen.
#[non_exhaustive]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// What has failed last, if something has.
    pub failure: Option<Arc<Failure>>,
    /// What was still kept for a next connection, in order.
    pub unsent: Vec<OwnedMessage>,
}

/// The reason why no other try is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// This side has closed: `close` was called, or the stream was dropped.
    Closed,
    /// It would not help: see [`Failure::is_retryable`].
    Final,
    /// There were as many as [`Policy::max_tries`](super::Policy::max_tries) allows.
    GaveUp,
    /// The task that connects was dropped: its runtime has ended, or a function that it was given has panicked. If there is
    /// a connection then, what that has accepted is not handed back: its own task writes it as far as it can, as that of a
    /// [`Client`](crate::backend::Client) does.
    Abandoned,
}

impl fmt::Display for Disconnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.retry_in {
            Some(delay) => write!(f, "{}: another try in {:.1} s", self.failure, delay.as_secs_f64()),
            None => write!(f, "{}: no other try", self.failure),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)?;
        match &self.failure {
            Some(failure) if matches!(self.reason, EndReason::Final | EndReason::GaveUp) => write!(f, ": {failure}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed by this side",
            Self::Final => "not worth another try",
            Self::GaveUp => "gave up",
            Self::Abandoned => "the task that connects was dropped",
        })
    }
}

// How many messages, not what they say: what was to be sent may be a login, and what is printed ends up in logs.
debug!(Disconnected => |this|
    failure: this.failure,
    error: this.error,
    unsent: this.unsent.len(),
    retry_in: this.retry_in,
    tries: this.tries
);
debug!(Ended => |this| reason: this.reason, failure: this.failure, unsent: this.unsent.len());
