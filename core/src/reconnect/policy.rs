//! When another try is made, and what becomes of messages meanwhile.

use alloc::sync::Arc;
use core::fmt;
use core::time::Duration;

use super::failure::Failure;
use crate::time::SHORTEST;

type RetryIf = dyn Fn(&Failure) -> Option<bool> + Send + Sync;

/// When to connect again, how often, and what to do with messages while there is no connection.
///
/// RFC 6455 §7.2.3: "The first reconnect attempt SHOULD be delayed by a random amount of time. [..] a value chosen randomly
/// between 0 and 5 seconds is a reasonable initial delay [..] Should the first reconnect attempt fail, subsequent reconnect
/// attempts SHOULD be delayed by increasingly longer amounts of time, using a method such as truncated binary exponential
/// backoff."
///
/// So each delay is drawn at random from zero up to a ceiling (full jitter): first [`first_delay`](Self::first_delay),
/// then for each further try [`factor`](Self::factor) times as much, up to [`max_delay`](Self::max_delay). Of many clients
/// that lose a server at once, hardly two come back at the same time.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::reconnect::{Failure, Offline, Policy};
/// use std::time::Duration;
///
/// let policy = Policy::new()
///     .first_delay(Duration::from_secs(1))
///     .max_delay(Duration::from_secs(30))
///     .offline(Offline::Keep { messages: 100, bytes: 64 * 1024 })
///     // A login that expires is renewed before the next try.
///     .retry_if(|failure| failure.connect_error()?.response().map(|answer| answer.status() == 401));
/// ```
#[derive(Clone)]
pub struct Policy {
    pub(super) first_delay: Duration,
    factor: f64,
    pub(super) max_delay: Duration,
    pub(super) reset_after: Duration,
    pub(super) max_tries: Option<u32>,
    pub(super) max_retry_after: Duration,
    offline: Offline,
    retry_if: Option<Arc<RetryIf>>,
}

/// What becomes of messages that are sent while there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Offline {
    /// They are refused, with [`SendError::Offline`](crate::SendError::Offline). What a lost connection had accepted and
    /// not written is handed back. This is the default.
    #[default]
    Refuse,
    /// They are kept, in order, until there is a connection, as far as both bounds allow; what is beyond is refused, with
    /// [`SendError::Full`](crate::SendError::Full). What a lost connection had accepted and not written is kept as well,
    /// in front of them, and beyond the bounds.
    Keep {
        /// How many messages are kept.
        messages: usize,
        /// How many bytes they may have in all.
        bytes: usize,
    },
}

impl Policy {
    /// Creates the default policy: delays of up to 5 s, then twice as much each time, up to 60 s; without an end; messages
    /// are refused while there is no connection.
    pub fn new() -> Self {
        Self {
            first_delay: Duration::from_secs(5),
            factor: 2.0,
            max_delay: Duration::from_secs(60),
            reset_after: Duration::from_secs(60),
            max_tries: None,
            max_retry_after: Duration::from_secs(3600),
            offline: Offline::Refuse,
            retry_if: None,
        }
    }

    /// Sets the longest delay before the first try after a loss or a failure; 5 s by default. With zero it is made at
    /// once, by all clients of a server that restarts.
    #[must_use]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// Sets by how much the longest delay grows from try to try; 2 by default. Less than 1, or what is no number, counts
    /// as 1.
    #[must_use]
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }

    /// Sets the longest delay of all; 60 s by default.
    #[must_use]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Sets how long a connection has to live until it counts as a success: then delays begin with the first again, and
    /// tries are counted anew; 60 s by default. A server that takes connections only to drop them is not asked more and
    /// more often.
    #[must_use]
    pub fn reset_after(mut self, lifetime: Duration) -> Self {
        self.reset_after = lifetime;
        self
    }

    /// Sets after how many tries in a row it gives up: those that failed, and those whose connection was lost before
    /// [`reset_after`](Self::reset_after); the first one counts. 0: a connection that is lost is not made again. Without
    /// this it never gives up.
    #[must_use]
    pub fn max_tries(mut self, tries: u32) -> Self {
        self.max_tries = Some(tries);
        self
    }

    /// Sets the longest time for which a `Retry-After` of the server's is obeyed; one hour by default. For one that says
    /// more this time is waited.
    #[must_use]
    pub fn max_retry_after(mut self, delay: Duration) -> Self {
        self.max_retry_after = delay;
        self
    }

    /// Sets what becomes of messages that are sent while there is no connection; they are refused by default.
    #[must_use]
    pub fn offline(mut self, offline: Offline) -> Self {
        self.offline = offline;
        self
    }

    /// Sets a function that says of a failure whether another try is worth while; `None` leaves that to
    /// [`Failure::is_retryable`].
    #[must_use]
    pub fn retry_if(mut self, decide: impl Fn(&Failure) -> Option<bool> + Send + Sync + 'static) -> Self {
        self.retry_if = Some(Arc::new(decide));
        self
    }

    #[cfg(feature = "std")]
    pub(crate) fn when_offline(&self) -> Offline {
        self.offline
    }

    /// Returns `true` if another try is worth while.
    pub(super) fn retries(&self, failure: &Failure) -> bool {
        let decided = self.retry_if.as_ref().and_then(|decide| decide(failure));
        decided.unwrap_or_else(|| failure.is_retryable())
    }

    /// Returns the longest delay after that with this one.
    pub(super) fn ceiling_after(&self, ceiling: Duration) -> Duration {
        let factor = if self.factor >= 1.0 { self.factor } else { 1.0 };
        // Zero would stay zero.
        let seconds = ceiling.max(SHORTEST).as_secs_f64() * factor;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(self.max_delay)
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("first_delay", &self.first_delay)
            .field("factor", &self.factor)
            .field("max_delay", &self.max_delay)
            .field("reset_after", &self.reset_after)
            .field("max_tries", &self.max_tries)
            .field("max_retry_after", &self.max_retry_after)
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}
