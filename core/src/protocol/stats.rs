//! What a connection has done so far, in numbers.

use alloc::boxed::Box;
use core::mem;
use core::time::Duration;
#[cfg(feature = "std")]
use std::time::SystemTime;

use super::output::StreamOffset;
#[cfg(feature = "deflate")]
use crate::context::Compression;
use crate::context::SocketContext;
use crate::time::Time;

/// What a connection has done so far: what [`WebSocket::stats`](crate::WebSocket::stats) returns.
///
/// Bytes are those of WebSocket frames, headers and all: after compression, before TLS, and without the opening handshake.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, Response, listener, testing};
///
/// let echo = |_: &Request| Response::websocket(listener().on_message(|socket, message| socket.send(message)));
/// let mut client = testing::connect(echo)?;
/// client.send("hello")?;
/// assert_eq!(client.try_recv().unwrap(), "hello");
///
/// let stats = client.socket().unwrap().stats();
/// assert_eq!((stats.received.messages, stats.sent.messages), (1, 1));
/// // A client's frame has a mask key of four bytes.
/// assert_eq!((stats.received.bytes, stats.sent.bytes), (11, 7));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// What has come from the peer: messages that were handed to the listener or the reader, and all bytes.
    ///
    /// It is brought up to date at the end of each turn of the connection's loop, and before `on_error` and `on_close`. So a
    /// callback does not find its own message counted yet.
    pub received: Traffic,
    /// What was sent to the peer: messages that were accepted, and bytes that the transport has taken. The bytes that it
    /// has not taken yet are [`WebSocket::buffered`](crate::WebSocket::buffered).
    pub sent: Traffic,
    /// How many messages, pings and pongs were refused with [`SendError::Full`](crate::SendError::Full).
    pub refused: u64,
    /// How long the last ping that was answered took: one of the keepalive's
    /// ([`Config::keepalive_interval`](crate::Config::keepalive_interval)), or one of your own. It counts from when the
    /// transport has taken the ping to when the pong was read. One ping is measured at a time, and not one whose pong is
    /// there before it is known to have left.
    pub round_trip: Option<Duration>,
    /// When the connection opened. `None` if nobody has said so: in memory, and by hand.
    #[cfg(feature = "std")]
    #[cfg_attr(docsrs, doc(cfg(feature = "std")))]
    pub opened: Option<SystemTime>,
    /// The subprotocol that the server has chosen, if it has chosen one.
    pub protocol: Option<Box<str>>,
    /// How both sides have agreed to compress messages, if they have.
    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    pub compression: Option<Compression>,
}

/// What went in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Traffic {
    /// How many messages, without pings, pongs and close frames.
    pub messages: u64,
    /// How many bytes, with everything.
    pub bytes: u64,
}

impl Stats {
    /// Returns the same of a connection that is about this.
    pub(crate) fn about(self, context: Option<&SocketContext>) -> Self {
        let Some(context) = context else { return self };
        Self {
            protocol: context.protocol.clone(),
            #[cfg(feature = "std")]
            opened: context.opened.and_then(|opened| SystemTime::UNIX_EPOCH.checked_add(opened.since_start())),
            #[cfg(feature = "deflate")]
            compression: context.compression,
            ..self
        }
    }
}

impl Traffic {
    pub(crate) const fn new(messages: u64, bytes: u64) -> Self {
        Self { messages, bytes }
    }
}

/// Measures how long pings take, one at a time: a peer may leave out answers (RFC 6455 §5.5.3), and pings may be sent before
/// the one before was answered.
///
/// Each connection has one, so it is small.
pub(super) struct Pings {
    /// Of the ping that is measured: where it ends, or when it left, in nanoseconds.
    at: u64,
    state: Ping,
    /// How many were sent since, while that was not answered.
    later: u8,
    /// What tells its data from other data.
    mark: u16,
    /// The last result, in microseconds and one more; 0 if there is none.
    round_trip: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ping {
    None,
    /// It has left when so much is written.
    Queued,
    Left,
}

/// After so many more pings, one that was not answered will not be.
const MOST_LATER: u8 = 16;

impl Pings {
    pub(super) const fn new() -> Self {
        Self { at: 0, state: Ping::None, later: 0, mark: 0, round_trip: 0 }
    }

    /// A ping is queued, and ends there.
    pub(super) fn sent(&mut self, data: &[u8], end: StreamOffset) {
        if self.state != Ping::None && self.later < MOST_LATER {
            self.later += 1;
            return;
        }
        (self.at, self.state, self.later, self.mark) = (end.bytes(), Ping::Queued, 0, mark(data));
    }

    /// So much has left.
    #[inline(always)]
    pub(super) fn wrote(&mut self, now: Time, written: StreamOffset) {
        if self.state == Ping::Queued {
            self.wrote_now(now, written);
        }
    }

    #[cold]
    fn wrote_now(&mut self, now: Time, written: StreamOffset) {
        if self.at <= written.bytes() {
            (self.at, self.state) = (nanos(now.since_start()), Ping::Left);
        }
    }

    /// A pong has come, when so much was taken to be written. Returns how long its ping took, if that was measured.
    pub(super) fn answered(&mut self, now: Time, taken: StreamOffset, data: &[u8]) -> Option<Duration> {
        let is_out = match self.state {
            Ping::None => false,
            // Who writes it has not said yet that it has left: on threads another one does.
            Ping::Queued => self.at <= taken.bytes(),
            Ping::Left => true,
        };
        if !is_out || self.mark != mark(data) {
            return None;
        }
        if mem::replace(&mut self.state, Ping::None) == Ping::Queued {
            return None;
        }
        let micros = nanos(now.since_start()).saturating_sub(self.at) / 1000;
        self.round_trip = u32::try_from(micros).unwrap_or(u32::MAX).saturating_add(1);
        self.round_trip()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.round_trip.checked_sub(1).map(|micros| Duration::from_micros(micros.into()))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// FNV-1a, folded: no peer gains anything by a pong that passes for another.
fn mark(data: &[u8]) -> u16 {
    let hash = data.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash ^ hash >> 16) as u16
}
