//! What a connection says when it is asked: how far it is, how much is queued, what it has done.

use core::time::Duration;

#[cfg(feature = "std")]
use super::Stage;
use super::{Connection, State};
#[cfg(feature = "std")]
use crate::config::Config;
#[cfg(feature = "std")]
use crate::protocol::CloseCode;
use crate::protocol::StreamOffset;
use crate::protocol::stats::Stats;
#[cfg(feature = "std")]
use crate::protocol::stats::Traffic;
use crate::time::Time;

impl Connection {
    /// Returns `true` if messages may be sent: no close was sent, none was received, nothing failed.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Returns `true` if [`Event::Closed`](crate::protocol::Event::Closed) was handed out. What remains is to write the
    /// output and to close the transport: a server closes first (RFC 6455 §7.1.1), a client waits a moment for the server to
    /// do so.
    pub fn is_finished(&self) -> bool {
        matches!(self.state, State::Ended | State::Lost)
    }

    /// Returns `true` if the transport is to be dropped rather than closed with care: it failed, or the peer is gone.
    pub fn is_lost(&self) -> bool {
        matches!(self.state, State::Lost)
    }

    /// Returns `true` if it was [aborted](Self::abort): the transport is dropped as it is.
    pub fn is_aborted(&self) -> bool {
        self.aborted
    }

    /// Returns `true` if the peer is to be read: not while so much output is queued that the peer seems not to read its
    /// own.
    pub fn wants_read(&self) -> bool {
        !self.paused
    }

    /// Returns how many bytes are queued and not yet handed to the transport.
    pub fn buffered(&self) -> usize {
        self.outbound.buffered()
    }

    /// Returns how far what was sent goes: all of it has left when that is [written](Self::written).
    pub fn queued(&self) -> StreamOffset {
        self.outbound.position()
    }

    /// Returns how far the transport has taken what was sent.
    pub fn written(&self) -> StreamOffset {
        self.outbound.written()
    }

    /// Returns what this connection has done so far.
    pub fn stats(&self) -> Stats {
        Stats {
            received: self.received,
            sent: self.outbound.sent(),
            refused: self.outbound.refused(),
            round_trip: self.pings.round_trip(),
            ..Stats::default()
        }
        .about(self.context.as_deref())
    }

    /// Sets when this connection opened, as the time since the beginning of 1970, for [`Stats::opened`]. The servers and
    /// clients of the backends do so.
    pub fn set_opened(&mut self, unix_time: Duration) {
        self.context.get_or_insert_default().opened = Some(Time::from_start(unix_time));
    }

    /// Notes what was received in all, for a reader that lies elsewhere.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(crate) fn set_received(&mut self, received: Traffic) {
        self.received = received;
    }

    /// A pong has come. Returns how long its ping took, if that was measured.
    pub(crate) fn answered(&mut self, now: Time, data: &[u8]) -> Option<Duration> {
        self.pings.answered(now, self.outbound.taken(), data)
    }

    /// Up to where output must have been written before a message of this length is welcome: until it fits, and until
    /// output that is above the high watermark is below the low one. `None`: it is welcome now.
    #[cfg(feature = "std")]
    pub(crate) fn room_at(&self, length: usize) -> Option<StreamOffset> {
        let Config { low_watermark: low, high_watermark: high, .. } = *self.config;
        let end = self.outbound.position();
        if !self.outbound.has_room(length, &self.config) {
            Some(end)
        } else if self.outbound.buffered() > high {
            Some(StreamOffset::new(end.bytes().saturating_sub(low.min(high) as u64)))
        } else {
            None
        }
    }

    /// Returns `true` if [`next_event`](Self::next_event) has something to say without any input.
    #[cfg(feature = "std")]
    pub(crate) fn has_event(&self) -> bool {
        matches!(self.state, State::Ending(_))
    }

    /// Returns how far the connection is, in one word.
    #[cfg(feature = "std")]
    pub(crate) fn stage(&self) -> Stage {
        match self.state {
            State::Open => Stage::Open,
            State::Closing => Stage::Closing,
            State::Ending(_) => Stage::Ending,
            State::Ended => Stage::Finished,
            State::Lost => Stage::Lost,
        }
    }

    /// Returns `true` if it ends without another word to the peer, what was taken included.
    #[cfg(feature = "std")]
    pub(crate) fn discards_output(&self) -> bool {
        match &self.state {
            State::Ending(last) => last.closed.code == CloseCode::ABNORMAL,
            State::Lost => true,
            State::Open | State::Closing | State::Ended => false,
        }
    }
}
