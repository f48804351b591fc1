//! All arithmetic on time of an open or closing connection. Nothing here reads a clock.
//!
//! - Any byte received or written counts as life.
//! - **Keepalive**: after `keepalive_interval` without life a ping is sent. From then on only received bytes
//!   prove that the peer is there; written ones put the deadline off. So the deadline starts when the
//!   ping has reached the transport, a slow peer that still takes bytes is not killed, and one that takes
//!   none for interval + `pong_timeout` is, even while it is not read because of its unread output.
//! - **Idle** (off by default): after `idle_timeout` without life the connection is closed with 1001.
//! - **Close**: `close_timeout` after the close frame has reached the transport; until then, after the
//!   last progress.
//! - **Held**: while a callback is pending the peer is not read, so its silence proves nothing. Pings go out, and
//!   only output that it does not take counts against it. The deadline of a close that this side has begun goes on:
//!   whoever closes and then waits for long gives the rest up.

use core::time::Duration;

use crate::config::Config;
use crate::error::Timeout;

/// How long the answer to the peer's close may wait for whoever still answers messages: well below the time that
/// others wait for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// A point in time: how long after a start that the caller chose, the same for all calls to a connection.
/// Must not go backwards; if it does, deadlines are late, and nothing worse happens.
pub type Time = Duration;

#[derive(Debug)]
pub(crate) struct Deadlines {
    /// When the last byte was received or written.
    life: Time,
    /// When a keepalive ping was sent that nothing has answered.
    pinged: Option<Time>,
    close: Close,
    held: bool,
    /// The close that is waited for is this side's answer to the peer's.
    owed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Close {
    Open,
    /// A close was called for, at a time that nobody has told yet: `close` takes no time, so that it can be
    /// called from anywhere.
    Requested,
    Since(Time),
}

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Ping,
    Fail(Timeout),
}

impl Deadlines {
    pub(crate) fn new(now: Time) -> Self {
        Self { life: now, pinged: None, close: Close::Open, held: false, owed: false }
    }

    pub(crate) fn received(&mut self, now: Time) {
        self.life = self.life.max(now);
        self.pinged = None;
    }

    pub(crate) fn wrote(&mut self, now: Time) {
        self.life = self.life.max(now);
        if self.held {
            // More than that it takes its output cannot be asked of a peer that is not read.
            self.pinged = None;
        }
        // The close frame is the last: until it has left the deadline starts anew, and then nothing is written.
        if !matches!(self.close, Close::Open) && !self.owed {
            self.close = Close::Since(now);
        }
    }

    pub(crate) fn close_requested(&mut self) {
        self.close = Close::Requested;
    }

    /// The peer has closed, and is to be answered.
    pub(crate) fn close_owed(&mut self) {
        self.owed = true;
        self.close = Close::Requested;
    }

    /// The peer is not read from now on.
    #[cfg(feature = "std")]
    pub(crate) fn hold(&mut self) {
        self.held = true;
    }

    /// The peer is read again: what it has to say for itself is about to be seen.
    #[cfg(feature = "std")]
    pub(crate) fn release(&mut self, now: Time) {
        self.held = false;
        self.received(now);
        if matches!(self.close, Close::Since(_)) && !self.owed {
            self.close = Close::Since(now);
        }
    }

    /// When [`due`](Self::due) has something to say. Zero: at once. `unsent`: whether output waits for the peer.
    pub(crate) fn next(&self, unsent: bool, config: &Config) -> Option<Time> {
        match self.close {
            Close::Requested => Some(Time::ZERO),
            Close::Since(since) if self.owed => {
                let timeout = config.close_timeout.map_or(ANSWER_TIMEOUT, |timeout| timeout.min(ANSWER_TIMEOUT));
                Some(since.saturating_add(timeout))
            }
            Close::Since(since) => config.close_timeout.map(|timeout| since.saturating_add(timeout)),
            Close::Open => [self.idle(config), self.keepalive(unsent, config)].into_iter().flatten().min(),
        }
    }

    /// What is due now. To be asked until it says `None`.
    pub(crate) fn due(&mut self, now: Time, unsent: bool, config: &Config) -> Option<Due> {
        if matches!(self.close, Close::Requested) {
            self.close = Close::Since(now);
        }
        if self.next(unsent, config).is_none_or(|deadline| now < deadline) {
            return None;
        }
        if matches!(self.close, Close::Since(_)) {
            return Some(Due::Fail(Timeout::Close));
        }
        if self.idle(config).is_some_and(|deadline| deadline <= now) {
            return Some(Due::Fail(Timeout::Idle));
        }
        if self.pinged.is_some() && self.is_judged(unsent) {
            return Some(Due::Fail(Timeout::Keepalive));
        }
        self.pinged = Some(now);
        Some(Due::Ping)
    }

    /// Whether a peer that is silent may be failed for it.
    fn is_judged(&self, unsent: bool) -> bool {
        !self.held || unsent
    }

    fn idle(&self, config: &Config) -> Option<Time> {
        config.idle_timeout.filter(|_| !self.held).map(|timeout| self.life.saturating_add(timeout))
    }

    fn keepalive(&self, unsent: bool, config: &Config) -> Option<Time> {
        let since = self.life.max(self.pinged.unwrap_or_default());
        let awaited = self.pinged.is_some() && self.is_judged(unsent);
        let timeout = if awaited { config.pong_timeout } else { config.keepalive_interval };
        timeout.map(|timeout| since.saturating_add(timeout))
    }
}
