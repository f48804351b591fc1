//! The delays between tries, without a clock.

use alloc::boxed::Box;
use core::time::Duration;

use super::failure::Failure;
use super::policy::Policy;
use super::retry_after::retry_after;
use crate::entropy::Entropy;
use crate::handshake::ConnectError;
use crate::handshake::client::Response;
use crate::time::Time;

/// Says when to try again, as a [`Policy`] wants it: a state machine without a clock, and without randomness of its own.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::{SystemEntropy, Time};
/// use bellwire::reconnect::{Backoff, Failure, Next, Policy};
/// use bellwire::ConnectError;
/// use std::time::Duration;
///
/// let mut backoff = Backoff::new(Policy::new().max_tries(2), Box::new(SystemEntropy));
/// let (now, unix_time) = (Time::ZERO, Duration::from_secs(1_700_000_000));
/// let failure = Failure::Connect(ConnectError::Io(std::io::ErrorKind::ConnectionRefused.into()));
/// match backoff.failed(now, unix_time, &failure) {
///     Next::RetryAt(at) => assert!(at <= now + Duration::from_secs(5)),
///     next => panic!("{next:?}"),
/// }
/// assert_eq!(backoff.failed(now, unix_time, &failure), Next::GiveUp);
/// ```
pub struct Backoff {
    policy: Policy,
    entropy: Box<dyn Entropy>,
    /// The longest delay before the next try.
    ceiling: Duration,
    /// How many tries in a row have come to nothing.
    tries: u32,
    connected: Option<Time>,
}

/// What comes after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Another try, then.
    RetryAt(Time),
    /// No other try: it would not help.
    Final,
    /// No other try: there were as many as [`Policy::max_tries`] allows.
    GiveUp,
}

impl Backoff {
    /// Creates one that nothing has happened to. `entropy` is where the delays are drawn from; with `std` there is
    /// [`SystemEntropy`](crate::proto::SystemEntropy).
    pub fn new(policy: Policy, mut entropy: Box<dyn Entropy>) -> Self {
        entropy.renew();
        let ceiling = policy.first_delay.min(policy.max_delay);
        Self { policy, entropy, ceiling, tries: 0, connected: None }
    }

    /// Reports that there is a connection.
    pub fn connected(&mut self, now: Time) {
        self.connected = Some(now);
    }

    /// Reports that a try has failed, or that the connection has ended. `unix_time` is the time since the beginning of
    /// 1970, for a `Retry-After` that is a date.
    pub fn failed(&mut self, now: Time, unix_time: Duration, failure: &Failure) -> Next {
        let lived = self.connected.take().map(|since| now.saturating_since(since));
        if lived.is_some_and(|lived| lived >= self.policy.reset_after) {
            self.ceiling = self.policy.first_delay.min(self.policy.max_delay);
            self.tries = 0;
        } else {
            self.tries = self.tries.saturating_add(1);
        }
        if !self.policy.retries(failure) {
            return Next::Final;
        }
        if self.policy.max_tries.is_some_and(|most| self.tries >= most) {
            return Next::GiveUp;
        }
        let answer = failure.connect_error().and_then(refusal);
        let asked = answer.and_then(|answer| retry_after(answer, unix_time));
        let asked = asked.unwrap_or_default().min(self.policy.max_retry_after);
        // Those who were all told the same do not come back all at once.
        Next::RetryAt(now + asked + self.draw())
    }

    /// Returns how many tries in a row have come to nothing: they failed, or their connection was lost before
    /// [`Policy::reset_after`].
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// Draws a delay, from zero to the ceiling, and raises that.
    fn draw(&mut self) -> Duration {
        let mut bytes = [0; 8];
        self.entropy.fill(&mut bytes);
        let random = u128::from(u64::from_le_bytes(bytes));
        let nanos = u64::try_from(self.ceiling.as_nanos()).unwrap_or(u64::MAX);
        // Random 64 bits are a fraction of 2^64.
        let drawn = (random * (u128::from(nanos) + 1)) >> 64;
        self.ceiling = self.policy.ceiling_after(self.ceiling);
        Duration::from_nanos(drawn as u64)
    }
}

/// Returns the answer of who has refused, a server or a proxy.
fn refusal(error: &ConnectError) -> Option<&Response> {
    match error {
        ConnectError::Proxy(error) => error.response(),
        error => error.response(),
    }
}

debug!(Backoff => |this| policy: this.policy, ceiling: this.ceiling, tries: this.tries, connected: this.connected);
