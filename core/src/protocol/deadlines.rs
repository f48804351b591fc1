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
//!   While a callback is pending it goes on: one that closes and then waits for long gives the rest up.

use core::time::Duration;

use super::error::Timeout;
use crate::config::Config;
use crate::time::{SHORTEST, Time};

#[derive(Debug)]
pub(super) struct Deadlines {
    /// When the last byte was received.
    received: Time,
    /// When the last byte was written.
    wrote: Time,
    /// Since when nothing has answered a keepalive ping: when it left, or when a part of what is in front of it did.
    pinged: Option<Time>,
    /// Since when the closing handshake waits. `None` also when it has begun at a time that is not known yet: `close`
    /// takes no time, so that it can be called from anywhere.
    closing: Option<Time>,
    /// Whether a callback is pending, so that the peer is not read.
    suspended: bool,
}

/// What the deadlines have to know about a connection's bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    /// Our close frame was sent, and the peer's is awaited.
    pub(super) closing: bool,
    /// Output waits for the peer.
    pub(super) unsent: bool,
    /// The peer is not read until it has taken some of it.
    pub(super) paused: bool,
}

/// What a deadline asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    Fail(Timeout),
}

impl Deadlines {
    pub(super) fn new(now: Time) -> Self {
        Self { received: now, wrote: now, pinged: None, closing: None, suspended: false }
    }

    pub(super) fn received(&mut self, now: Time) {
        if now > self.received {
            self.received = now;
        }
        self.pinged = None;
    }

    /// Output has left. `ping_unsent`: a ping was part of it, or is still to leave after it.
    pub(super) fn wrote(&mut self, now: Time, ping_unsent: bool, flow: Flow) {
        self.wrote = self.wrote.max(now);
        if self.suspended {
            // While reading is suspended no pong can reach us; that output is taken is proof enough of life.
            self.pinged = None;
        } else if ping_unsent {
            self.pinged = self.pinged.max(self.pinged.map(|_| now));
        }
        // The close frame is the last: until it has left the deadline starts anew, and then nothing is written.
        if flow.closing {
            self.closing = Some(now);
        }
    }

    /// A callback is pending: the peer is not read from now on.
    #[cfg(feature = "std")]
    pub(super) fn suspend_liveness(&mut self) {
        self.suspended = true;
    }

    /// The peer is read again: what it has to say for itself is about to be seen.
    #[cfg(feature = "std")]
    pub(super) fn resume_liveness(&mut self, now: Time, flow: Flow) {
        self.suspended = false;
        self.received(now);
        if flow.closing {
            self.closing = self.closing.map(|_| now);
        }
    }

    /// Returns the deadline of the closing handshake, which counts from now if its beginning has no time yet.
    #[cfg(feature = "std")]
    pub(super) fn close_by(&mut self, now: Time, flow: Flow, config: &Config) -> Option<Time> {
        if !flow.closing {
            return None;
        }
        self.closing.get_or_insert(now);
        self.next(flow, config)
    }

    /// Returns when [`due`](Self::due) has something to say. Zero: at once.
    pub(super) fn next(&self, flow: Flow, config: &Config) -> Option<Time> {
        if flow.closing {
            return self.closing.map_or(Some(Time::ZERO), |since| after(since, config.close_timeout));
        }
        let (idle, pong) = (self.idle(flow, config), self.pong(flow, config));
        [idle, pong, self.ping(flow, config)].into_iter().flatten().min()
    }

    /// Returns what was due then. What begins with that counts from now. To be asked until it says `None`.
    pub(super) fn due(&mut self, judged: Time, now: Time, flow: Flow, config: &Config) -> Option<Due> {
        let has_come = |deadline: Option<Time>| deadline.is_some_and(|deadline| deadline <= judged);
        if flow.closing {
            self.closing.get_or_insert(now);
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
        !self.suspended && !flow.paused
    }

    /// Returns since when a peer is silent: while it is not read, since when it takes nothing. `None`: that cannot be
    /// told.
    fn silent_since(&self, since: Time, flow: Flow) -> Option<Time> {
        if self.is_read(flow) { Some(since) } else { flow.unsent.then_some(since.max(self.wrote)) }
    }

    fn idle(&self, flow: Flow, config: &Config) -> Option<Time> {
        // While a callback is pending, output that is not taken is the keepalive's affair.
        if self.suspended {
            return None;
        }
        after(self.silent_since(self.received, flow)?, at_least(config.idle_timeout))
    }

    fn pong(&self, flow: Flow, config: &Config) -> Option<Time> {
        after(self.silent_since(self.pinged?, flow)?, at_least(config.pong_timeout))
    }

    /// Returns when to send the next ping.
    fn ping(&self, flow: Flow, config: &Config) -> Option<Time> {
        let heard = if self.suspended { self.received.max(self.wrote) } else { self.received };
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
