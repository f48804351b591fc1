//! How a transport ends: what is left is written, the sending side is closed, the peer is read for a moment.

use alloc::boxed::Box;
use core::time::Duration;
use std::io::{self, ErrorKind};

use super::{Driver, Phase};
use crate::config::Config;
use crate::protocol::{BoxError, Role};
use crate::time::Time;

/// How far the transport's end is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// So much is left to be written, the lower half of it. If it is the same by then, the peer does not read, and the
    /// rest is dropped.
    Flush(u32, Option<Time>),
    /// All is written: the peer is read until it closes, at the latest until then.
    Linger(Time, Sending),
    /// Our sending side is to be closed, at the latest by then.
    Shutdown(Time, Then),
    /// The transport is of no use any more, but a conversation goes on.
    Rest,
    Done,
}

/// For a flush: its time counts from when the driver is asked next. The callback or the handler whose end it is may have
/// taken long since the time that is known. Until then it is due at once.
const NOT_YET: Option<Time> = Some(Time::ZERO);

/// What comes when the sending side is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// The peer is read until it closes.
    Linger,
    /// The transport is dropped.
    Leave,
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
            Self::Linger(until, _) | Self::Shutdown(until, _) => Some(until),
            Self::Rest => None,
            Self::Done => Some(Time::ZERO),
        }
    }
}

impl Driver {
    /// Returns how far the end is now.
    pub(super) fn ending_at(&self, now: Time) -> Option<Ending> {
        let ending = self.ending?;
        Some(match ending {
            Ending::Flush(..) if self.is_lost() => self.leave(now),
            Ending::Flush(..) if self.unwritten() == 0 => self.linger(now),
            Ending::Flush(_, NOT_YET) => self.flush(now),
            Ending::Linger(_, Sending::Closed) if self.eof => Ending::Done,
            Ending::Linger(_, Sending::Open) if self.eof => self.leave(now),
            ending => ending,
        })
    }

    /// The transport is of no use any more: a conversation may go on.
    pub(super) fn rest(&mut self) {
        let (Some(ending @ (Ending::Rest | Ending::Done)), Phase::Open(dispatcher)) = (self.ending, &mut self.phase)
        else {
            return;
        };
        self.ending = Some(match (ending, dispatcher.is_conversing()) {
            (Ending::Done, true) => {
                // It may wait for the end.
                dispatcher.shared.finish();
                Ending::Rest
            }
            (Ending::Rest, false) => Ending::Done,
            (ending, _) => ending,
        });
    }

    /// Nothing more is to be read. RFC 8446 §6.1: "Each party MUST send a "close_notify" alert before closing its write
    /// side of the connection, unless it has already sent some error alert", and a plain transport has its FIN. One
    /// that was aborted does not wait for that.
    pub(super) fn leave(&self, now: Time) -> Ending {
        if self.dispatcher().is_some_and(|dispatcher| dispatcher.shared.lock().is_aborted()) {
            return Ending::Done;
        }
        Ending::Shutdown(now + self.timeouts().1, Then::Leave)
    }

    /// All is written. RFC 6455 §7.1.1: "in most normal cases [...] the server closes first"; a client that has
    /// said goodbye properly waits for that.
    fn linger(&self, now: Time) -> Ending {
        let leaves_first = self.dispatcher().is_none_or(|dispatcher| {
            let clean = dispatcher.socket.closed().is_some_and(|closed| closed.clean);
            !clean || dispatcher.shared.lock().role() == Role::Server
        });
        let until = now + self.timeouts().1;
        if leaves_first {
            Ending::Shutdown(until, Then::Linger)
        } else if self.eof {
            self.leave(now)
        } else {
            Ending::Linger(until, Sending::Open)
        }
    }

    pub(super) fn end(&mut self) {
        if let Phase::Open(dispatcher) = &mut self.phase {
            dispatcher.leave(self.service.as_deref());
        }
        self.ending = Some(Ending::Flush(self.unwritten() as u32, NOT_YET));
    }

    fn flush(&self, now: Time) -> Ending {
        Ending::Flush(self.unwritten() as u32, self.timeouts().0.map(|timeout| now + timeout))
    }

    /// How long the peer may take to read what is left, and to close.
    fn timeouts(&self) -> (Option<Duration>, Duration) {
        let of = |config: &Config| (config.close_timeout, config.linger_timeout);
        match (&self.phase, &self.service) {
            (Phase::Open(dispatcher), _) => of(dispatcher.shared.lock().config()),
            (_, Some(service)) => of(service.config()),
            (_, None) => (None, Duration::ZERO),
        }
    }

    /// The request has not come in time. Over TLS the answer perhaps cannot leave at all, and the peer has had its time.
    pub(super) fn answered_late(&mut self, now: Time) {
        if let Some(Ending::Flush(left, _)) = self.ending {
            self.ending = Some(Ending::Flush(left, Some(now + self.timeouts().1)));
        }
    }

    /// The end has taken too long: it goes on only while the peer takes what is left.
    pub(super) fn end_late(&mut self, now: Time) {
        self.ending = Some(match self.ending {
            Some(Ending::Flush(left, until)) if until == NOT_YET || self.unwritten() as u32 != left => self.flush(now),
            Some(Ending::Linger(_, Sending::Open)) => self.leave(now),
            _ => Ending::Done,
        });
    }

    /// The peer has left before there was an answer.
    pub(super) fn hang_up(&mut self) {
        self.phase = Phase::Answer(Box::default());
        self.end();
    }

    /// The transport is gone: there is no one to answer.
    pub(super) fn transport_gone(&mut self) {
        if let Phase::Asked(_) = self.phase {
            self.phase = Phase::Answer(Box::default());
        }
        self.ending = Some(Ending::Done);
    }
}
