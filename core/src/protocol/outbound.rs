//! Calls → frames → bytes out. The mirror of `inbound`: builds frames, and keeps count of what is queued
//! and what has left.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;

use super::close::CloseCode;
use super::deflate::{self, Deflation};
use super::error::SendError;
use super::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER, Opcode, ReservedBits, encode_close};
use super::outgoing::{Outgoing, Payload};
use super::output::Output;
use super::pool::{self, LARGE, SHARED};
use super::stats::{Pings, Traffic};
use crate::config::Config;
use crate::context::Window;
use crate::entropy::Entropy;
use crate::protocol::{StreamOffset, mask};

pub(super) struct Outbound {
    /// Where a client's mask keys come from; a server masks nothing.
    keys: Option<Box<dyn Entropy>>,
    /// How many bytes were queued since the connection began.
    queued: u64,
    /// How many of them were handed to the transport.
    written: u64,
    /// The last of them. Those before, up to `written`, the backend has taken to write them by itself.
    output: Output,
    /// How many of the first bytes are no frames: the head of a handshake.
    head: u32,
    /// How many messages, pings and pongs were not queued for want of room.
    refused: u32,
    /// How many messages were queued.
    messages: u64,
    /// Where the newest message ends.
    last: u64,
    /// Where that begins which `max_queued` counts: behind what has left, and behind the newest message that was queued
    /// on an empty queue.
    counted: u64,
    /// Where the last keepalive ping ends.
    ping: u64,
    /// The newest answer to a ping that came while output was above the high watermark.
    late_pong: Option<Box<LatePong>>,
    /// Messages are compressed, and refer to one another within this.
    window: Option<Window>,
    /// What they refer to.
    deflation: Option<Box<Deflation>>,
}

/// An answer to a ping that waits. There is hardly ever one, so it takes no more than a pointer.
struct LatePong(Box<[u8]>);

impl Outbound {
    pub(super) fn new(keys: Option<Box<dyn Entropy>>) -> Self {
        Self {
            keys,
            queued: 0,
            written: 0,
            output: Output::new(),
            head: 0,
            refused: 0,
            messages: 0,
            last: 0,
            counted: 0,
            ping: 0,
            late_pong: None,
            window: None,
            deflation: None,
        }
    }

    /// Messages are compressed from now on, if [`Config`] says how.
    pub(super) fn set_window(&mut self, window: Option<Window>) {
        self.window = window;
    }

    #[inline]
    pub(super) fn message(&mut self, message: Outgoing<'_>, config: &Config) -> Result<StreamOffset, SendError> {
        let opcode = if message.text { Opcode::Text } else { Opcode::Binary };
        match message.payload {
            Payload::Borrowed(payload) if self.window.is_none() => {
                // There is nothing in it to drop, which the compiler does not see: 30 instructions.
                mem::forget(message);
                self.copied(opcode, payload, config)
            }
            _ => self.other(opcode, message, config),
        }
    }

    #[inline(never)]
    fn other(&mut self, opcode: Opcode, message: Outgoing<'_>, config: &Config) -> Result<StreamOffset, SendError> {
        match self.window {
            Some(_) => self.compressible(opcode, message, config),
            None => self.owned(opcode, message.payload, config),
        }
    }

    #[inline]
    fn copied(&mut self, opcode: Opcode, payload: &[u8], config: &Config) -> Result<StreamOffset, SendError> {
        self.admit(payload.len(), config, |outbound| outbound.frame(opcode, payload))
    }

    fn owned(&mut self, opcode: Opcode, payload: Payload<'_>, config: &Config) -> Result<StreamOffset, SendError> {
        self.admit(payload.as_bytes().len(), config, |outbound| outbound.queue(opcode, payload))
    }

    fn compressible(
        &mut self,
        opcode: Opcode,
        message: Outgoing<'_>,
        config: &Config,
    ) -> Result<StreamOffset, SendError> {
        let Outgoing { payload, is_compressible, .. } = message;
        let is_compressible = is_compressible && deflate::compresses(payload.as_bytes(), config);
        self.admit(payload.as_bytes().len(), config, |outbound| {
            if !(is_compressible && outbound.compress(opcode, &payload, config)) {
                outbound.queue(opcode, payload);
            }
        })
    }

    /// Queues a message compressed. Returns `false`, and has done nothing, if it gets no shorter.
    fn compress(&mut self, opcode: Opcode, payload: &Payload<'_>, config: &Config) -> bool {
        let Some(window) = self.window else { return false };
        let mut memory = self.deflation.take();
        let is_queued = match payload {
            // A server's frame is the same for all.
            Payload::Prepared(message) if self.keys.is_none() => {
                let frame = message.compressed(window, config);
                if let Some(frame) = frame {
                    self.whole_frame(frame);
                    Deflation::sent_alone(&mut memory, payload.as_bytes(), window, config);
                }
                frame.is_some()
            }
            payload => Deflation::message(&mut memory, payload.as_bytes(), window, config, |compressed| {
                let header = Header { reserved: ReservedBits::RSV1, ..self.header(opcode, compressed.len()) };
                self.copy(header, compressed);
            }),
        };
        self.deflation = memory;
        is_queued
    }

    fn queue(&mut self, opcode: Opcode, payload: Payload<'_>) {
        let large = if matches!(payload, Payload::Prepared(_)) { SHARED } else { LARGE };
        if payload.as_bytes().len() < large {
            self.frame(opcode, payload.as_bytes());
        } else {
            self.large_message(opcode, payload);
        }
    }

    /// Queues a message of this length, if there is room. Returns where it ends.
    #[inline]
    fn admit(
        &mut self,
        length: usize,
        config: &Config,
        queue: impl FnOnce(&mut Self),
    ) -> Result<StreamOffset, SendError> {
        if self.is_without_messages() {
            queue(self);
            self.counted = self.queued;
        } else {
            self.check_room(length, config)?;
            queue(self);
        }
        self.last = self.queued;
        self.messages += 1;
        Ok(self.position())
    }

    /// What can stay where it is does so. A client masks it, and so has to copy what it does not own.
    fn large_message(&mut self, opcode: Opcode, payload: Payload<'_>) {
        match payload {
            Payload::Vec(payload) => self.large_vec(opcode, payload),
            Payload::Bytes(payload) if self.keys.is_none() => {
                self.large(Header::new(opcode, payload.len() as u64), payload);
            }
            Payload::Prepared(message) if self.keys.is_none() => self.whole_frame(message.frame()),
            payload => self.frame(opcode, payload.as_bytes()),
        }
    }

    /// Queues a server's frame that was encoded before.
    fn whole_frame(&mut self, frame: &Bytes) {
        self.queued += frame.len() as u64;
        if frame.len() < SHARED {
            self.output.buffer(frame.len()).extend_from_slice(frame);
        } else {
            self.output.push_large(frame.clone());
        }
    }

    /// Returns `true` if all messages have left.
    fn is_without_messages(&self) -> bool {
        self.last <= self.written
    }

    pub(super) fn control(&mut self, opcode: Opcode, data: &[u8], config: &Config) -> Result<(), SendError> {
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less".
        if data.len() > MAX_CONTROL_PAYLOAD {
            return Err(SendError::ControlTooLong(data.len()));
        }
        self.check_room(data.len(), config)?;
        self.frame(opcode, data);
        Ok(())
    }

    /// Sends a keepalive ping, however much is queued; one at a time, so that they do not pile up.
    pub(super) fn keepalive_ping(&mut self, pings: &mut Pings) {
        Deflation::rest(&mut self.deflation);
        if !self.is_ping_unsent() {
            self.frame(Opcode::Ping, b"");
            self.ping = self.queued;
            pings.sent(b"", self.position());
        }
    }

    /// Returns `true` if the last keepalive ping, or a part of it, has not left.
    pub(super) fn is_ping_unsent(&self) -> bool {
        self.written < self.ping
    }

    /// Answers a ping. RFC 6455 §5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong
    /// frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong frame for only
    /// the most recently processed Ping frame." We elect so while the peer does not read.
    pub(super) fn answer_ping(&mut self, data: &[u8], config: &Config) {
        let data = data.get(..MAX_CONTROL_PAYLOAD).unwrap_or(data);
        if self.buffered() > config.high_watermark {
            self.late_pong = Some(Box::new(LatePong(data.into())));
        } else {
            self.frame(Opcode::Pong, data);
        }
    }

    /// Queues a close frame, after everything that is queued. Without a code it has no payload.
    pub(super) fn close(&mut self, code: CloseCode, reason: &str) {
        self.send_late_pong();
        self.frame(Opcode::Close, &encode_close(code, reason));
    }

    /// Bytes that are not frames: the head of a handshake.
    pub(super) fn head(&mut self, bytes: Vec<u8>) {
        self.queued += bytes.len() as u64;
        self.head += bytes.len() as u32;
        match self.output.buffer(0) {
            buffer if buffer.capacity() == 0 => *buffer = bytes,
            buffer => buffer.extend_from_slice(&bytes),
        }
    }

    /// Gives up what was not taken yet; the caller drops it.
    pub(super) fn discard(&mut self) -> Output {
        self.queued -= self.output.len() as u64;
        self.last = self.last.min(self.queued);
        self.counted = self.counted.min(self.queued);
        self.ping = self.ping.min(self.queued);
        self.late_pong = None;
        self.take()
    }

    /// Returns where the next byte will be.
    pub(super) fn position(&self) -> StreamOffset {
        StreamOffset::new(self.queued)
    }

    /// Returns how far the transport has taken the bytes.
    pub(super) fn written(&self) -> StreamOffset {
        StreamOffset::new(self.written)
    }

    /// Returns how far the bytes were taken to be written.
    pub(super) fn taken(&self) -> StreamOffset {
        StreamOffset::new(self.queued - self.output.len() as u64)
    }

    /// Returns how far that will be when it has taken so many more.
    #[inline(always)]
    pub(super) fn written_with(&self, count: usize) -> StreamOffset {
        StreamOffset::new(self.written + count as u64)
    }

    /// Returns what was sent: messages that were queued, and bytes of frames that have left.
    pub(super) fn sent(&self) -> Traffic {
        Traffic::new(self.messages, self.written.saturating_sub(u64::from(self.head)))
    }

    /// Something was refused for want of room.
    #[cold]
    pub(super) fn count_refused(&mut self) {
        self.refused = self.refused.saturating_add(1);
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.into()
    }

    pub(super) fn buffered(&self) -> usize {
        (self.queued - self.written) as usize
    }

    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Exchanges the memory of an empty output: once to lend some for a turn, and once more to take back what
    /// was not needed.
    pub(super) fn lend(&mut self, spare: &mut Output) {
        if self.output.is_empty() {
            mem::swap(&mut self.output, spare);
        }
    }

    pub(super) fn take(&mut self) -> Output {
        mem::take(&mut self.output)
    }

    pub(super) fn is_taken(&self) -> bool {
        self.buffered() > self.output.len()
    }

    pub(super) fn wrote(&mut self, count: usize, config: &Config) {
        self.written += count.min(self.buffered()) as u64;
        self.counted = self.counted.max(self.written);
        // What was taken leaves first.
        let from_output = self.output.len().saturating_sub(self.buffered());
        if from_output > 0 {
            self.output.advance(from_output);
            if self.output.is_empty() {
                // An idle connection holds no buffer.
                self.output = Output::new();
            }
        }
        if self.late_pong.is_some() && self.buffered() <= config.high_watermark {
            self.send_late_pong();
        }
    }

    fn send_late_pong(&mut self) {
        if let Some(pong) = self.late_pong.take() {
            self.frame(Opcode::Pong, &pong.0);
        }
    }

    /// Returns `true` if a message of this length would be accepted.
    #[cfg(feature = "std")]
    pub(super) fn has_room(&self, length: usize, config: &Config) -> bool {
        self.is_without_messages() || self.check_room(length, config).is_ok()
    }

    /// A queue without messages takes one of any size, and that one does not count: what follows has all of
    /// `max_queued`. Otherwise the echo of a large message would leave no room for that of a small one which
    /// came in the same read, however fast the peer reads.
    fn check_room(&self, length: usize, config: &Config) -> Result<(), SendError> {
        let needed = (self.queued - self.counted + MAX_HEADER as u64).saturating_add(length as u64);
        if needed <= config.max_queued as u64 { Ok(()) } else { Err(SendError::Full) }
    }

    // A function of its own: there are not enough registers for more.
    #[inline(never)]
    fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        if self.keys.is_some() {
            return self.masked_frame(opcode, payload);
        }
        self.begin(Header::new(opcode, payload.len() as u64), payload.len()).extend_from_slice(payload);
    }

    #[inline(never)]
    fn masked_frame(&mut self, opcode: Opcode, payload: &[u8]) {
        let header = self.header(opcode, payload.len());
        self.copy(header, payload);
    }

    /// Queues a frame, its payload masked if the header has a key.
    #[inline(always)]
    fn copy(&mut self, header: Header, payload: &[u8]) {
        let output = self.begin(header, payload.len());
        match header.mask {
            Some(key) => mask::append(output, payload, key),
            None => output.extend_from_slice(payload),
        }
    }

    fn large_vec(&mut self, opcode: Opcode, mut payload: Vec<u8>) {
        let header = self.header(opcode, payload.len());
        if let Some(key) = header.mask {
            mask::apply(&mut payload, key, 0);
        }
        self.large(header, pool::share(payload));
    }

    fn large(&mut self, header: Header, payload: Bytes) {
        self.begin(header, 0);
        self.output.push_large(payload);
    }

    /// Queues a header, and counts its payload, too. Returns the buffer, which that is to be appended to if it is to be
    /// `copied`.
    #[inline(always)]
    fn begin(&mut self, header: Header, copied: usize) -> &mut Vec<u8> {
        let output = self.output.buffer(MAX_HEADER + copied);
        let before = output.len();
        header.encode(output);
        self.queued += (output.len() - before) as u64 + header.length;
        output
    }

    fn header(&mut self, opcode: Opcode, length: usize) -> Header {
        Header { mask: self.key(), ..Header::new(opcode, length as u64) }
    }

    /// RFC 6455 §5.3: "The masking key is a 32-bit value chosen at random by the client [...] the masking key MUST be
    /// derived from a strong source of entropy", a fresh one for each frame.
    fn key(&mut self) -> Option<[u8; 4]> {
        let keys = self.keys.as_mut()?;
        // Frames that leave together come from one process.
        if self.queued == self.written {
            keys.renew();
        }
        let mut key = [0; 4];
        keys.fill(&mut key);
        Some(key)
    }
}
