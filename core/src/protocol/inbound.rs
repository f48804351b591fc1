//! Bytes → frames → messages. The mirror of `outbound`.
//!
//! Everything that it is given is taken at once, so the caller's read buffer is free again afterwards and
//! can be shared by all connections of a thread:
//!
//! - a message that is whole in `input` is unmasked where it lies and lent out: no copy. Fragments are moved
//!   together there;
//! - of a header that is cut, a few bytes are kept until the rest comes;
//! - a payload that is cut is appended, unmasked on the way, to the message that is being assembled. Memory
//!   grows with the bytes that came, never with the length that a header claims. A fragment costs its bytes
//!   only: a million empty ones cost nothing.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

use super::deflate::Inflation;
use super::error::Violation;
use super::event::Message;
use super::frame::{FIN, Header, MASK, MAX_HEADER, Opcode, ReservedBits, Role};
use super::partial::Partial;
use crate::config::Config;
use crate::context::Window;
use crate::input::take;
use crate::protocol::{mask, utf8};

/// The first byte of a message in one frame.
const TEXT: u8 = FIN | Opcode::Text.encode();
const BINARY: u8 = FIN | Opcode::Binary.encode();

/// RFC 6455 §5.2: "The length of the "Payload data", in bytes: if 0-125, that is the payload length."
const MAX_SHORT: usize = 125;

/// A whole message or control frame.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    Text(Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Close(Cow<'a, [u8]>),
    Ping(Cow<'a, [u8]>),
    Pong(Cow<'a, [u8]>),
}

pub(crate) struct Inbound {
    rules: Rules,
    /// Something has come in part.
    is_partway: bool,
    /// What has come in part, and what compressed messages may refer to. There is none between two messages that are not
    /// compressed: an idle connection holds no buffer.
    unfinished: Option<Box<Unfinished>>,
}

/// What a peer may send.
#[derive(Clone, Copy)]
struct Rules {
    role: Role,
    /// Compressed messages, which refer to one another within this.
    window: Option<Window>,
    /// A close frame is left in the input.
    stops_at_close: bool,
}

/// What was cut, or comes in fragments.
#[derive(Default)]
struct Unfinished {
    /// The first bytes of a header that was cut, and how many they are.
    header_buf: [u8; MAX_HEADER],
    header_len: u8,
    /// The frame whose payload comes next.
    frame: Option<Frame>,
    /// The message whose fragments or cut payload are being joined.
    message: Option<Partial>,
    /// The message is compressed.
    is_compressed: bool,
    /// Of compressed messages, since the first one.
    inflation: Option<Inflation>,
    /// The payload of a control frame that was cut: at most 125 bytes.
    control: Vec<u8>,
}

struct Frame {
    opcode: Opcode,
    fin: bool,
    key: Option<[u8; 4]>,
    /// How many bytes of the payload have not come yet.
    remaining: u64,
    /// How many have, modulo 4: the offset into the mask key.
    phase: u8,
    /// How many bytes later fragments may bring.
    room: u64,
}

impl Inbound {
    pub(crate) fn new(role: Role) -> Self {
        let rules = Rules { role, window: None, stops_at_close: false };
        Self { rules, is_partway: false, unfinished: None }
    }

    /// The peer may send compressed messages from now on.
    pub(crate) fn set_window(&mut self, window: Option<Window>) {
        self.rules.window = window;
    }

    /// Takes bytes from the front of `input` until something is complete. `None`: all of it was taken, or it
    /// [stops at a close frame](Self::stop_at_close).
    #[inline(always)]
    pub(crate) fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Config,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        if !self.is_partway {
            if input.is_empty() || self.rules.stops_at_close && is_close(input) {
                return Ok(None);
            }
            if let Some(incoming) = lend_whole(input, self.rules.role, limits)? {
                return Ok(Some(incoming));
            }
        }
        self.next_of_parts(input, limits)
    }

    /// The same for a message of at most 125 bytes in one frame, if that comes next and is whole: most are such.
    #[inline(always)]
    pub(crate) fn next_small<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Config,
    ) -> Result<Option<Message<'a>>, Violation> {
        if self.is_partway {
            return Ok(None);
        }
        Ok(match take_small(input, self.rules.role, limits) {
            None => None,
            Some((Opcode::Text, payload)) => Some(Message::Text(check_text(payload)?)),
            Some((_, payload)) => Some(Message::Binary(payload)),
        })
    }

    #[inline(never)]
    fn next_of_parts<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        limits: &Config,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        if let Some(unfinished) = &mut self.unfinished {
            let incoming = unfinished.next(input, self.rules, limits)?;
            self.is_partway = unfinished.is_partway();
            if unfinished.is_empty() {
                self.unfinished = None;
            }
            return Ok(incoming);
        }
        let mut unfinished = Unfinished::default();
        if let Some(Joined { opcode, payload, is_whole }) = join_fragments(input, self.rules.role, limits) {
            if is_whole {
                return lend(opcode, payload).map(Some);
            }
            unfinished.append(opcode, payload, max_length(opcode, limits) - payload.len())?;
        }
        let incoming = unfinished.next(input, self.rules, limits)?;
        if !unfinished.is_empty() {
            self.is_partway = unfinished.is_partway();
            self.unfinished = Some(Box::new(unfinished));
        }
        Ok(incoming)
    }

    /// Leaves a close frame in the input, with all that comes after it, until it may [pass](Self::pass_close).
    #[cfg(feature = "std")]
    pub(crate) fn stop_at_close(&mut self) {
        self.rules.stops_at_close = true;
    }

    pub(crate) fn pass_close(&mut self) {
        self.rules.stops_at_close = false;
    }
}

/// Whether a close frame comes next: its first byte is there.
fn is_close(input: &[u8]) -> bool {
    input.first() == Some(&(FIN | Opcode::Close.encode()))
}

/// Takes a frame of at most 125 bytes that is a message by itself, if that is next and whole, and unmasks it. Its first two
/// bytes say all: no rule of frames is left to be broken.
#[inline(always)]
fn take_small<'a>(input: &mut &'a mut [u8], role: Role, limits: &Config) -> Option<(Opcode, &'a mut [u8])> {
    // Fewer bytes than these go the long way.
    let (&[first, second, ref key @ ..], _) = input.split_first_chunk::<6>()?;
    let opcode = match first {
        TEXT => Opcode::Text,
        BINARY => Opcode::Binary,
        _ => return None,
    };
    // With a mask that must not be there, or without one that must, the length would be more.
    let (length, start, key) = match role {
        Role::Server => (usize::from(second ^ MASK), 6, Some(*key)),
        Role::Client => (usize::from(second), 2, None),
    };
    if length > MAX_SHORT || length > max_length(opcode, limits) || input.len() - start < length {
        return None;
    }
    let payload = take(input, start + length).get_mut(start..).unwrap_or_default();
    unmask(payload, key);
    Some((opcode, payload))
}

/// Returns the header of the frame that is next, how long that is, and how long the payload, if all of it is there. Which
/// rule another one breaks, and how, is for [`Unfinished`] to say.
#[inline(always)]
fn whole_frame(input: &[u8], role: Role) -> Option<(Header, usize, usize)> {
    let (header, start) = Header::decode(input, role, ReservedBits::NONE).ok()??;
    let is_there = header.length <= (input.len() - start) as u64;
    is_there.then_some((header, start, header.length as usize))
}

/// Lends out a frame that is a message by itself, or a control frame, and lies whole in the input: as nearly all do.
#[inline(always)]
fn lend_whole<'a>(input: &mut &'a mut [u8], role: Role, limits: &Config) -> Result<Option<Incoming<'a>>, Violation> {
    let Some((header, start, length)) = whole_frame(input, role) else { return Ok(None) };
    if !header.fin || header.opcode == Opcode::Continuation || length > max_length(header.opcode, limits) {
        return Ok(None);
    }
    take(input, start);
    let payload = take(input, length);
    unmask(payload, header.mask);
    lend(header.opcode, payload).map(Some)
}

/// The first fragments of a message, moved together.
struct Joined<'a> {
    opcode: Opcode,
    payload: &'a mut [u8],
    /// Whether they are all.
    is_whole: bool,
}

/// Takes the fragments of a message that lie whole in the input, and joins them there, up to what is cut, or belongs to
/// something else, or breaks a rule.
fn join_fragments<'a>(input: &mut &'a mut [u8], role: Role, limits: &Config) -> Option<Joined<'a>> {
    let bytes = mem::take(input);
    let (mut message, mut start, mut end, mut at, mut is_whole) = (None, 0, 0, 0, false);
    while !is_whole {
        let Some((header, begin, length)) = whole_frame(bytes.get(at..).unwrap_or_default(), role) else { break };
        let opcode = match (message, header.opcode) {
            (None, Opcode::Text | Opcode::Binary) => header.opcode,
            (Some(opcode), Opcode::Continuation) => opcode,
            _ => break,
        };
        if length > max_length(opcode, limits) - (end - start) {
            break;
        }
        let place = at + begin..at + begin + length;
        if message.is_none() {
            (message, start, end) = (Some(opcode), place.start, place.start);
        }
        unmask(bytes.get_mut(place.clone()).unwrap_or_default(), header.mask);
        bytes.copy_within(place.clone(), end);
        (end, at, is_whole) = (end + length, place.end, header.fin);
    }
    let (taken, rest) = bytes.split_at_mut(at);
    *input = rest;
    Some(Joined { opcode: message?, payload: taken.get_mut(start..end).unwrap_or_default(), is_whole })
}

fn max_length(opcode: Opcode, limits: &Config) -> usize {
    if opcode == Opcode::Text { limits.max_text } else { limits.max_binary }
}

#[inline]
fn unmask(payload: &mut [u8], key: Option<[u8; 4]>) {
    if let Some(key) = key {
        mask::apply(payload, key, 0);
    }
}

impl Unfinished {
    /// The same as [`Inbound::next`], for what does not lie whole in one input.
    fn next<'a>(
        &mut self,
        input: &mut &'a mut [u8],
        rules: Rules,
        limits: &Config,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        loop {
            let frame = match self.frame.take() {
                Some(frame) => frame,
                None if rules.stops_at_close && self.header_len == 0 && is_close(input) => return Ok(None),
                None => {
                    let Some(header) = self.read_header(input, rules)? else { return Ok(None) };
                    self.begin_frame(&header, rules, limits)?
                }
            };
            if frame.remaining > 0 && input.is_empty() {
                self.frame = Some(frame);
                return Ok(None);
            }
            if let Some(incoming) = self.read_payload(frame, input, limits)? {
                return Ok(Some(incoming));
            }
        }
    }

    fn is_partway(&self) -> bool {
        self.header_len > 0 || self.frame.is_some() || self.message.is_some()
    }

    fn is_empty(&self) -> bool {
        !self.is_partway() && self.inflation.as_ref().is_none_or(Inflation::is_empty)
    }

    fn read_header(&mut self, input: &mut &mut [u8], rules: Rules) -> Result<Option<Header>, Violation> {
        let Rules { role, window, .. } = rules;
        let allowed = if window.is_some() { ReservedBits::RSV1 } else { ReservedBits::NONE };
        if self.header_len == 0 {
            if let Some((header, length)) = Header::decode(input, role, allowed)? {
                take(input, length);
                return Ok(Some(header));
            }
        }
        loop {
            let part = self.header_buf.get(..usize::from(self.header_len)).unwrap_or_default();
            if let Some((header, _)) = Header::decode(part, role, allowed)? {
                self.header_len = 0;
                return Ok(Some(header));
            }
            let Some(byte) = take(input, 1).first().copied() else { return Ok(None) };
            if let Some(place) = self.header_buf.get_mut(usize::from(self.header_len)) {
                *place = byte;
            }
            self.header_len += 1;
        }
    }

    fn begin_frame(&mut self, header: &Header, rules: Rules, limits: &Config) -> Result<Frame, Violation> {
        if header.reserved.contains(ReservedBits::RSV1) {
            self.begin_compressed(header, rules)?;
        }
        let room = self.check_header(header, limits)?;
        let Header { fin, opcode, mask: key, length: remaining, .. } = *header;
        Ok(Frame { opcode, fin, key, remaining, phase: 0, room: if fin { 0 } else { room } })
    }

    /// RFC 7692 §6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first fragments
    /// of a data message."
    fn begin_compressed(&mut self, header: &Header, rules: Rules) -> Result<(), Violation> {
        if header.opcode.is_control() || header.opcode == Opcode::Continuation || self.message.is_some() {
            return Err(Violation::ReservedBits);
        }
        self.inflation = self.inflation.take().or_else(|| rules.window.map(Inflation::new));
        self.is_compressed = true;
        Ok(())
    }

    /// What a header can break in view of what came before it. Returns how many bytes the message may still
    /// have after this frame.
    fn check_header(&self, header: &Header, limits: &Config) -> Result<u64, Violation> {
        let text = match (header.opcode, &self.message) {
            // RFC 6455 §5.4: "Control frames [...] MAY be injected in the middle of a fragmented message."
            (opcode, _) if opcode.is_control() => return Ok(0),
            (Opcode::Continuation, None) => return Err(Violation::NothingToContinue),
            (Opcode::Continuation, Some(message)) => matches!(message, Partial::Text(_)),
            // §5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message".
            (_, Some(_)) => return Err(Violation::MessageUnfinished),
            (opcode, None) => opcode == Opcode::Text,
        };
        if self.is_compressed {
            // What counts is how long it becomes.
            return Ok(u64::MAX);
        }
        // Judged at the header, so that the verdict does not depend on how the payload is cut.
        let before = self.message.as_ref().map_or(0, Partial::len);
        let length = header.length.saturating_add(before as u64);
        let max = if text { limits.max_text } else { limits.max_binary };
        match (length > max as u64, text) {
            (false, _) => Ok(max as u64 - length),
            (true, true) => Err(Violation::TextTooLarge { length, max }),
            (true, false) => Err(Violation::BinaryTooLarge { length, max }),
        }
    }

    /// Takes what there is of the frame's payload.
    #[inline]
    fn read_payload<'a>(
        &mut self,
        mut frame: Frame,
        input: &mut &'a mut [u8],
        limits: &Config,
    ) -> Result<Option<Incoming<'a>>, Violation> {
        let piece = frame.take_payload(input);
        let whole = frame.remaining == 0;
        let done = if frame.opcode.is_control() {
            self.control_payload(&frame, piece)
        } else if self.is_compressed {
            self.compressed_payload(frame.opcode, piece, whole && frame.fin, limits)?
        } else if whole && frame.fin && self.message.is_none() {
            Some(lend(frame.opcode, piece)?)
        } else {
            let expected = usize::try_from(frame.remaining.saturating_add(frame.room)).unwrap_or(usize::MAX);
            self.append(frame.opcode, piece, expected)?;
            if whole && frame.fin { self.finish_message()? } else { None }
        };
        if !whole {
            self.frame = Some(frame);
        }
        Ok(done)
    }

    fn control_payload<'a>(&mut self, frame: &Frame, piece: &'a mut [u8]) -> Option<Incoming<'a>> {
        let payload = if frame.remaining == 0 && self.control.is_empty() {
            Cow::Borrowed(&*piece)
        } else {
            self.control.extend_from_slice(piece);
            if frame.remaining > 0 {
                return None;
            }
            Cow::Owned(mem::take(&mut self.control))
        };
        Some(control(frame.opcode, payload))
    }

    /// Appends to the message, of which as many bytes as are `expected` may follow.
    fn append(&mut self, opcode: Opcode, piece: &[u8], expected: usize) -> Result<(), Violation> {
        self.message.get_or_insert_with(|| Partial::new(opcode)).append(piece, expected)
    }

    fn compressed_payload(
        &mut self,
        opcode: Opcode,
        piece: &[u8],
        is_last: bool,
        limits: &Config,
    ) -> Result<Option<Incoming<'static>>, Violation> {
        let Some(inflation) = &mut self.inflation else { return Ok(None) };
        let message = self.message.get_or_insert_with(|| Partial::new(opcode));
        if !is_last {
            inflation.part(piece, message, message.limit(limits))?;
            return Ok(None);
        }
        inflation.last_part(piece, message, message.limit(limits))?;
        self.is_compressed = false;
        self.finish_message()
    }

    fn finish_message(&mut self) -> Result<Option<Incoming<'static>>, Violation> {
        self.message.take().map(Partial::finish).transpose()
    }
}

impl Frame {
    /// Takes from `input` what belongs to this frame's payload, and unmasks it in place.
    #[inline]
    fn take_payload<'a>(&mut self, input: &mut &'a mut [u8]) -> &'a mut [u8] {
        let length = usize::try_from(self.remaining).map_or(input.len(), |remaining| remaining.min(input.len()));
        let piece = take(input, length);
        if let Some(key) = self.key {
            mask::apply(piece, key, usize::from(self.phase));
        }
        self.remaining -= length as u64;
        self.phase = ((usize::from(self.phase) + length) & 3) as u8;
        piece
    }
}

/// A frame that lies whole in the caller's buffer.
#[inline]
fn lend(opcode: Opcode, payload: &mut [u8]) -> Result<Incoming<'_>, Violation> {
    if opcode == Opcode::Text {
        Ok(Incoming::Text(Cow::Borrowed(check_text(payload)?)))
    } else if opcode.is_control() {
        Ok(control(opcode, Cow::Borrowed(payload)))
    } else {
        Ok(Incoming::Binary(Cow::Borrowed(payload)))
    }
}

/// RFC 6455 §8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact,
/// a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
#[inline]
fn check_text(payload: &[u8]) -> Result<&str, Violation> {
    utf8::check(payload).map_err(|_| Violation::TextNotUtf8)
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Incoming<'_> {
    match opcode {
        Opcode::Close => Incoming::Close(payload),
        Opcode::Ping => Incoming::Ping(payload),
        _ => Incoming::Pong(payload),
    }
}
