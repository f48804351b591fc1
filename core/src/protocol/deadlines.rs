//! All arithmetic on time of an open or closing connection. Nothing here reads a clock.
//!
//! - **Life** is what was received. What this side writes proves nothing: a kernel takes it for a peer that is gone.
//! - **Keepalive**: a ping is sent after `keepalive_interval` without a received byte, and after the same time without
//!   a written one, since there are proxies that watch one direction only. Then only received bytes end the wait of
//!   `pong_timeout`. It begins when the ping has left: until then each byte that a slow line takes puts it off.
//! - **Idle** (off by default): after `idle_timeout` without a received byte the connection is closed with 1001.
//! - **Not read** is a peer whose unread output stops the reading, or whose callback is pending: it cannot show that
//!   it lives, so only output that it does not take counts against it, from the last byte that it took. Pings go out.
//! - **Close**: `close_timeout` after the close frame has reached the transport; until then, after the last progress.
//!   While a callback is pending it goes on: whoever closes and then waits for long gives the rest up.

use core::time::Duration;

use super::error::Timeout;
use crate::config::Config;
use crate::time::{SHORTEST, Time};

/// How long the answer to the peer's close may wait for whoever still answers messages: well below the time that
/// others wait for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Deadlines {
    /// When the last byte was received.
    received: Time,
    /// When the last byte was written.
    wrote: Time,
    /// Since when nothing has answered a keepalive ping: when it left, or when a part of what is in front of it did.
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

/// What the deadlines have to know about a connection's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    /// Output waits for the peer.
    pub(crate) unsent: bool,
    /// The peer is not read until it has taken some of it.
    pub(crate) paused: bool,
}

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Ping,
    Fail(Timeout),
}

impl Deadlines {
    pub(crate) fn new(now: Time) -> Self {
        Self { received: now, wrote: now, pinged: None, close: Close::Open, held: false, owed: false }
    }

    pub(crate) fn received(&mut self, now: Time) {
        if now > self.received {
            self.received = now;
        }
        self.pinged = None;
    }

    /// Output has left. `ping_unsent`: a ping was part of it, or is still behind it.
    pub(crate) fn wrote(&mut self, now: Time, ping_unsent: bool) {
        self.wrote = self.wrote.max(now);
        if self.held {
            // More than that it takes its output cannot be asked of a peer that is not read.
            self.pinged = None;
        } else if ping_unsent {
            self.pinged = self.pinged.max(self.pinged.map(|_| now));
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

    /// A callback is pending: the peer is not read from now on.
    #[cfg(feature = "std")]
    pub(crate) fn suspend_liveness(&mut self) {
        self.held = true;
    }

    /// The peer is read again: what it has to say for itself is about to be seen.
    #[cfg(feature = "std")]
    pub(crate) fn resume_liveness(&mut self, now: Time) {
        self.held = false;
        self.received(now);
        if matches!(self.close, Close::Since(_)) && !self.owed {
            self.close = Close::Since(now);
        }
    }

    /// The deadline of a close that this side has called for: it counts from now if nobody has told the time before.
    #[cfg(feature = "std")]
    pub(crate) fn close_by(&mut self, now: Time, flow: Flow, config: &Config) -> Option<Time> {
        match self.close {
            Close::Open => return None,
            Close::Requested => self.close = Close::Since(now),
            Close::Since(_) => {}
        }
        self.next(flow, config)
    }

    /// When [`due`](Self::due) has something to say. Zero: at once.
    pub(crate) fn next(&self, flow: Flow, config: &Config) -> Option<Time> {
        match self.close {
            Close::Requested => Some(Time::ZERO),
            Close::Since(since) if self.owed => {
                let timeout = config.close_timeout.map_or(ANSWER_TIMEOUT, |timeout| timeout.min(ANSWER_TIMEOUT));
                Some(since + timeout)
            }
            Close::Since(since) => after(since, config.close_timeout),
            Close::Open => {
                let (idle, pong) = (self.idle(flow, config), self.pong(flow, config));
                [idle, pong, self.ping(flow, config)].into_iter().flatten().min()
            }
        }
    }

    /// What is due now. To be asked until it says `None`.
    pub(crate) fn due(&mut self, now: Time, flow: Flow, config: &Config) -> Option<Due> {
        let has_come = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= now);
        if matches!(self.close, Close::Requested) {
            self.close = Close::Since(now);
        }
        if !matches!(self.close, Close::Open) {
            return has_come(self.next(flow, config)).then_some(Due::Fail(Timeout::Close));
        }
        if has_come(self.idle(flow, config)) {
            return Some(Due::Fail(Timeout::Idle));
        }
        if has_come(self.pong(flow, config)) {
            return Some(Due::Fail(Timeout::Keepalive));
        }
        if !has_come(self.ping(flow, config)) {
            return None;
        }
        // The wait goes on if it is the next ping of one silence.
        self.pinged = self.pinged.or(Some(now));
        Some(Due::Ping)
    }

    fn is_read(&self, flow: Flow) -> bool {
        !self.held && !flow.paused
    }

    /// Since when a peer is silent: while it is not read, since when it takes nothing. `None`: that cannot be told.
    fn silent_since(&self, since: Time, flow: Flow) -> Option<Time> {
        if self.is_read(flow) { Some(since) } else { flow.unsent.then_some(since.max(self.wrote)) }
    }

    fn idle(&self, flow: Flow, config: &Config) -> Option<Time> {
        // While a callback is pending, output that is not taken is the keepalive's affair.
        if self.held {
            return None;
        }
        after(self.silent_since(self.received, flow)?, at_least(config.idle_timeout))
    }

    fn pong(&self, flow: Flow, config: &Config) -> Option<Time> {
        after(self.silent_since(self.pinged?, flow)?, at_least(config.pong_timeout))
    }

    /// When to send the next ping.
    fn ping(&self, flow: Flow, config: &Config) -> Option<Time> {
        let heard = if self.held { self.received.max(self.wrote) } else { self.received };
        let unanswered = self.pinged.is_none().then_some(heard);
        // What waits to be written makes a ping for the sake of the line needless.
        let unwritten = (!flow.unsent).then_some(self.wrote);
        after([unanswered, unwritten].into_iter().flatten().min()?, at_least(config.keepalive_interval))
    }
}

fn after(since: Time, timeout: Option<Duration>) -> Option<Time> {
    timeout.map(|timeout| since + timeout)
}

fn at_least(timeout: Option<Duration>) -> Option<Duration> {
    timeout.map(|timeout| timeout.max(SHORTEST))
}
