//! The side that receives: messages are inflated.

use alloc::vec::Vec;
use core::mem;

use super::codec::{End, Inflater};
use super::history::History;
use super::{TAIL, pool};
use crate::context::{MAX_WINDOW_BITS, Window};
use crate::protocol::Violation;
use crate::protocol::partial::Partial;

/// From so many bytes of an unfinished message on, an inflater is held for it. Fewer are kept as they came: else a peer
/// could have us hold much memory for a few bytes.
const HOLD: usize = 48 * 1024;

/// What a connection remembers of the messages that it received compressed.
pub(in crate::protocol) struct Inflation {
    window: Window,
    history: History,
    /// What has come of the next message, and was not inflated yet.
    compressed: Vec<u8>,
    /// Of a message that has been inflated in part.
    inflater: Option<Inflater>,
}

impl Inflation {
    pub(in crate::protocol) fn new(window: Window) -> Self {
        Self { window, history: History::default(), compressed: Vec::new(), inflater: None }
    }

    /// Takes a part of a compressed message, after which more follows.
    pub(in crate::protocol) fn part(
        &mut self,
        part: &[u8],
        message: &mut Partial,
        limit: usize,
    ) -> Result<(), Violation> {
        if self.inflater.is_none() && self.compressed.len() + part.len() < HOLD {
            self.compressed.extend_from_slice(part);
            return Ok(());
        }
        let before = mem::take(&mut self.compressed);
        self.inflate(&before, message, limit)?;
        self.inflate(part, message, limit)
    }

    /// Takes the last part of a compressed message, or a whole one.
    ///
    /// RFC 7692 §7.2.2: "Append 4 octets of 0x00 0x00 0xff 0xff to the tail end of the payload of the message.
    /// Decompress the resulting data using DEFLATE."
    pub(in crate::protocol) fn last_part(
        &mut self,
        part: &[u8],
        message: &mut Partial,
        limit: usize,
    ) -> Result<(), Violation> {
        let before = mem::take(&mut self.compressed);
        for part in [&before, part, &TAIL] {
            self.inflate(part, message, limit)?;
        }
        if let Some(inflater) = self.inflater.take() {
            pool::keep_inflater(inflater);
        }
        for piece in message.pieces() {
            self.history.push(piece, self.window.history());
        }
        Ok(())
    }

    /// Returns `true` if it remembers nothing, and no message has come in part.
    pub(in crate::protocol) fn is_empty(&self) -> bool {
        self.history.is_empty() && self.compressed.is_empty() && self.inflater.is_none()
    }

    /// Inflates all of `input`.
    fn inflate(&mut self, input: &[u8], message: &mut Partial, limit: usize) -> Result<(), Violation> {
        if input.is_empty() {
            return Ok(());
        }
        let Self { history, inflater, .. } = self;
        let inflater = inflater.get_or_insert_with(|| {
            let mut inflater = pool::inflater();
            inflater.restart(history.pieces());
            inflater
        });
        pool::with_inflated(|scratch| inflate(input, scratch, inflater, history, message, limit))
    }
}

fn inflate(
    mut input: &[u8],
    scratch: &mut [u8],
    inflater: &mut Inflater,
    history: &History,
    message: &mut Partial,
    limit: usize,
) -> Result<(), Violation> {
    loop {
        // The limit is looked at before each step. One byte more than there is room for tells that it is exceeded.
        let room = limit - message.len();
        let most = scratch.len().min(room.saturating_add(1));
        let output = scratch.get_mut(..most).unwrap_or_default();
        let step = inflater.step(input, output);
        input = input.get(step.read..).unwrap_or_default();
        // What came before a fault is judged first: the verdict does not depend on how the message is cut.
        let fits = step.written.min(room);
        message.append(output.get(..fits).unwrap_or_default(), room - fits)?;
        if step.written > room {
            return Err(too_large(message, limit));
        }
        match step.end {
            End::Corrupt => return Err(Violation::NotDeflate),
            // RFC 7692 §7.2.3.4: a sender may use blocks with BFINAL, after which a new one begins.
            End::LastBlock => {
                // The message alone may fill the window.
                let before = if message.len() < 1 << MAX_WINDOW_BITS { history.pieces() } else { Default::default() };
                inflater.restart(before.into_iter().chain(message.pieces()));
            }
            End::Bounds if step.written == most => continue,
            End::Bounds if !input.is_empty() => return Err(Violation::NotDeflate),
            End::Bounds => {}
        }
        if input.is_empty() {
            return Ok(());
        }
    }
}

/// How long the message would be is not known, other than from headers of frames.
fn too_large(message: &Partial, max: usize) -> Violation {
    let length = max as u64 + 1;
    match message {
        Partial::Text(_) => Violation::TextTooLarge { length, max },
        Partial::Binary(_) => Violation::BinaryTooLarge { length, max },
    }
}
