//! How a transport ends: what is left is written, the sending side is closed, the peer is read for a moment.

use std::io::{self, ErrorKind};

use super::{Driver, Phase, Step};
use crate::protocol::{BoxError, Connection, Output, Role};
use crate::time::Time;

/// How far the transport's end is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// So much is left to be written. If it is no less by then, the peer does not read, and the rest is dropped.
    Flush(usize, Option<Time>),
    /// All is written: the peer is read until it closes, at the latest until then.
    Linger(Time, Sending),
    /// Our sending side is to be closed, and then the transport is dropped.
    Leave,
    /// That is under way, and has until then.
    Leaving(Time),
    Done,
}

/// The sending side of a transport whose last byte is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sending {
    /// The peer closes first.
    Open,
    Closed,
}

/// How a transport's error says that the peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// Over TLS: the TCP stream has ended, without the `close_notify` that should have come before.
    Truncated,
    /// Whatever is written now goes nowhere.
    Reset,
}

impl Gone {
    pub(super) fn of(error: &BoxError) -> Option<Self> {
        match error.downcast_ref::<io::Error>()?.kind() {
            ErrorKind::UnexpectedEof => Some(Self::Truncated),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Some(Self::Reset),
            _ => None,
        }
    }
}

impl Ending {
    pub(super) fn deadline(self) -> Option<Time> {
        match self {
            Self::Flush(_, until) => until,
            Self::Linger(until, _) | Self::Leaving(until) => Some(until),
            Self::Leave | Self::Done => Some(Time::ZERO),
        }
    }
}

impl Driver {
    pub(super) fn done(&mut self) -> Step {
        self.ending = Some(Ending::Done);
        Step::Done
    }

    /// Nothing more is to be read. RFC 8446 §6.1: "Each party MUST send a "close_notify" alert before closing its write
    /// side of the connection, unless it has already sent some error alert", and a plain transport has its FIN. Whoever
    /// aborts does not wait for that.
    pub(super) fn leave(&mut self, now: Time) -> Step {
        if self.open().is_some_and(|open| open.shared.with(Connection::is_aborted)) {
            return self.done();
        }
        self.ending = Some(Ending::Leaving(now + self.linger_timeout));
        Step::Shutdown
    }

    /// All is written. RFC 6455 §7.1.1: "in most normal cases [...] the server closes first"; a client that has
    /// said goodbye properly waits for that.
    pub(super) fn linger(&mut self, now: Time) -> Step {
        let leaves_first = self.open().is_none_or(|open| {
            let clean = open.socket.closed().is_some_and(|closed| closed.clean);
            !clean || open.shared.with(Connection::role) == Role::Server
        });
        let until = now + self.linger_timeout;
        if leaves_first {
            self.ending = Some(Ending::Linger(until, Sending::Closed));
            Step::Shutdown
        } else if self.eof {
            self.leave(now)
        } else {
            self.ending = Some(Ending::Linger(until, Sending::Open));
            Step::Read
        }
    }

    pub(super) fn end(&mut self, now: Time) {
        if let (Some(service), Some(socket)) = (&self.service, self.socket()) {
            service.registry().ended(socket);
        }
        self.ending = Some(self.flush(now));
    }

    pub(super) fn flush(&self, now: Time) -> Ending {
        Ending::Flush(self.unwritten(), self.close_timeout.map(|timeout| now + timeout))
    }

    /// The end has taken too long: it goes on only while the peer takes what is left.
    pub(super) fn end_late(&mut self, now: Time) {
        self.ending = Some(match self.ending {
            Some(Ending::Flush(left, _)) if self.unwritten() < left => self.flush(now),
            Some(Ending::Linger(_, Sending::Open)) => Ending::Leave,
            _ => Ending::Done,
        });
    }

    /// The peer has left before there was an answer.
    pub(super) fn hang_up(&mut self, now: Time) {
        self.phase = Phase::Answer(Output::new(), 0);
        self.end(now);
    }

    /// The transport is gone: there is nobody to answer.
    pub(super) fn vanish(&mut self) {
        if let Phase::Asked(_) = self.phase {
            self.phase = Phase::Answer(Output::new(), 0);
        }
        self.ending = Some(Ending::Done);
    }
}
