//! What a connection is told to send: messages, pings, pongs; and what happens when the peer does not take them.

use super::{AutoPong, Connection};
#[cfg(feature = "std")]
use crate::config::Config;
use crate::config::SlowReader;
use crate::protocol::frame::Opcode;
use crate::protocol::{Error, Outgoing, SendError, StreamOffset};

impl Connection {
    /// Sends a message, whole, after what is queued. Returns where it ends: it has left when that is
    /// [written](Self::written).
    ///
    /// # Errors
    /// [`SendError::Closed`] after a close, [`SendError::Full`] above
    /// [`Config::max_queued`](crate::Config::max_queued).
    #[inline]
    pub fn send<'m>(&mut self, message: impl Into<Outgoing<'m>>) -> Result<StreamOffset, SendError> {
        self.check_open()?;
        let result = self.outbound.message(message.into(), &self.config);
        self.judge(result)
    }

    /// Sends a message, however much is queued: one that was taken over before, and has to leave before a close.
    #[cfg(feature = "std")]
    #[cold]
    pub(crate) fn send_last(&mut self, message: Outgoing<'_>) -> Result<StreamOffset, SendError> {
        self.check_open()?;
        let unbounded = Config { max_queued: usize::MAX, ..(*self.config).clone() };
        let result = self.outbound.message(message, &unbounded);
        self.judge(result)
    }

    /// Sends a ping with at most 125 bytes of data.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`SendError::ControlTooLong`].
    pub fn ping(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Ping, data)
    }

    /// Sends a pong with at most 125 bytes of data.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn pong(&mut self, data: &[u8]) -> Result<(), SendError> {
        self.control(Opcode::Pong, data)
    }

    /// Answers a ping: as the connection does by itself unless that was [turned off](Self::set_auto_pong).
    /// On a closing connection nothing is owed; above the high watermark only the newest answer is kept.
    pub fn answer_ping(&mut self, data: &[u8]) {
        if self.is_open() {
            self.outbound.answer_ping(data, &self.config);
            self.pause_if_full();
        }
    }

    /// Sets whether pings are answered here (the default) or by the caller, who gets
    /// [`Event::Ping`](crate::protocol::Event::Ping).
    pub fn set_auto_pong(&mut self, on: bool) {
        self.auto_pong = if on { AutoPong::On } else { AutoPong::Off };
    }

    /// Reads on, however much output is queued. Call it after a [`send`](Self::send) that no received message has
    /// caused: if such sends stopped the reading, two peers that only send would stop reading each other.
    /// [`Config::max_queued`](crate::Config::max_queued) still applies.
    pub fn read_on(&mut self) {
        self.paused = false;
    }

    pub(super) fn check_open(&self) -> Result<(), SendError> {
        if self.is_open() { Ok(()) } else { Err(SendError::Closed) }
    }

    fn control(&mut self, opcode: Opcode, data: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        let result = self.outbound.control(opcode, data, &self.config);
        if opcode == Opcode::Ping && result.is_ok() {
            self.pings.sent(data, self.outbound.position());
        }
        self.judge(result)
    }

    /// Meets a slow reader as the configuration says.
    fn judge<T>(&mut self, result: Result<T, SendError>) -> Result<T, SendError> {
        if matches!(result, Err(SendError::Full)) {
            self.outbound.count_refused();
            if self.config.slow_reader == SlowReader::Close {
                self.fail(Error::SlowReader);
            }
        }
        self.pause_if_full();
        result
    }

    pub(super) fn pause_if_full(&mut self) {
        // D16: above the high watermark the connection is not read, unless `read_on` says that nothing which was
        // read has caused this.
        if self.outbound.buffered() > self.config.high_watermark {
            self.paused = true;
        }
    }
}
