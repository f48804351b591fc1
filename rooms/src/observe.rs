//! What is seen of rooms from outside: events for subscribers of `tracing`, numbers for recorders of `metrics`. Without
//! those features nothing is, and nothing costs anything: what stands for them is empty.
//!
//! **What is never shown**: messages, the names of rooms, and who is in them.

#[cfg(feature = "tracing")]
#[path = "observe/tracing.rs"]
mod events;
#[cfg(not(feature = "tracing"))]
#[path = "observe/no_tracing.rs"]
mod events;
#[cfg(feature = "metrics")]
#[path = "observe/metrics.rs"]
mod numbers;
#[cfg(not(feature = "metrics"))]
#[path = "observe/no_metrics.rs"]
mod numbers;

use std::time::Duration;

#[cfg(feature = "metrics")]
pub use self::numbers::describe as describe_metrics;
use crate::error::PublishError;
#[cfg(feature = "__broker")]
use crate::{engine::Unpublished, error::BrokerError};

/// Who watches rooms.
#[derive(Default)]
pub(crate) struct Watch {
    #[cfg(feature = "__broker")]
    events: events::Watch,
    numbers: numbers::Watch,
}

impl Watch {
    /// A socket has joined a room, which had no members here before if it `is_first`.
    pub(crate) fn joined(&self, is_first: bool) {
        self.numbers.joined(is_first);
    }

    /// A socket has left a room, which has no members here any more if it `is_last`.
    pub(crate) fn left(&self, is_last: bool) {
        self.numbers.left(is_last);
    }

    /// A message was accepted, or was not.
    pub(crate) fn published(&self, outcome: &Result<(), PublishError>) {
        self.numbers.published(outcome);
    }

    /// Members of so many rooms may have missed something.
    pub(crate) fn gap(&self, rooms: usize, away: Duration, in_doubt: usize) {
        events::gap(rooms, away, in_doubt);
        self.numbers.gap(in_doubt);
    }
}

#[cfg(feature = "__broker")]
impl Watch {
    /// There is no connection yet; or none any more, which nobody has asked for.
    pub(crate) fn begin(&self) {
        self.numbers.away();
    }

    /// There is a connection.
    pub(crate) fn connected(&self, now: Duration) {
        self.events.connected(now);
        self.numbers.back();
    }

    /// The connection was lost, or a try to connect has failed.
    pub(crate) fn away(&self, why: &BrokerError, now: Duration) {
        self.events.away(why, now);
        self.numbers.away();
        self.numbers.failed(why);
    }

    /// There will be no connection any more, as was asked for.
    pub(crate) fn closed(&self) {
        self.numbers.back();
    }

    /// A message has come from the broker.
    pub(crate) fn received(&self) {
        self.numbers.received();
    }

    /// Messages that were accepted were not published.
    pub(crate) fn unpublished(&self, unpublished: &[Unpublished]) {
        if let Some(Unpublished { why, .. }) = unpublished.first() {
            events::unpublished(why, unpublished.len());
        }
        unpublished.iter().for_each(|unpublished| self.numbers.unpublished(&unpublished.why));
    }
}

#[cfg(any(feature = "metrics", all(feature = "__broker", feature = "tracing")))]
fn why_unpublished(why: &PublishError) -> &'static str {
    match why {
        PublishError::Room(_) => "room",
        PublishError::TooLong { .. } => "too_long",
        PublishError::Unavailable => "unavailable",
        PublishError::Full => "full",
        PublishError::Lost => "lost",
        PublishError::Refused(_) => "refused",
    }
}

#[cfg(all(feature = "__broker", any(feature = "tracing", feature = "metrics")))]
fn why_away(why: &BrokerError) -> &'static str {
    match why {
        BrokerError::Url(_) => "url",
        BrokerError::Prefix(_) => "prefix",
        BrokerError::Unreachable(_) => "unreachable",
        BrokerError::Credentials(_) => "credentials",
        BrokerError::Denied(_) => "denied",
        BrokerError::Protocol(_) => "protocol",
        BrokerError::TimedOut(_) => "timeout",
        BrokerError::Lost(_) => "lost",
        BrokerError::History(_) => "history",
        BrokerError::Closed => "closed",
    }
}

#[cfg(all(test, feature = "__broker", feature = "tracing", feature = "metrics"))]
mod tests;
