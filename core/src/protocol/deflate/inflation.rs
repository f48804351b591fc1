//! The side that receives: messages are inflated.

use alloc::vec::Vec;
use core::mem;

use super::codec::{End, Inflater};
use super::history::History;
use super::{TAIL, pool};
use crate::context::{MAX_WINDOW_BITS, Window};
use crate::protocol::partial::Partial;
use crate::protocol::{Violation, pool as memory};

/// From so many bytes of an unfinished message on, an inflater is held for it. Fewer are kept as they came: else a peer
/// could have us hold much memory for a few bytes.
const HOLD: usize = 48 * 1024;

/// A message may have so many blocks with BFINAL, and one more for each [`PER_LAST_BLOCK`] of its compressed bytes. An
/// honest peer sends one at its end; each costs a restart with the whole window, for two bytes.
const LAST_BLOCKS: usize = 16;
const PER_LAST_BLOCK: usize = 64;

/// The tail that the sender has removed, and an empty last block, which shows that the message ended between two blocks.
const ENDING: [u8; 6] = [TAIL[0], TAIL[1], TAIL[2], TAIL[3], 0x03, 0x00];

/// What a connection remembers of the messages that it received compressed.
pub(in crate::protocol) struct Inflation {
    window: Window,
    history: History,
    /// What has come of the next message, and was not inflated yet.
    compressed: Vec<u8>,
    running: Option<Running>,
}

/// A message that has been inflated in part.
struct Running {
    inflater: Inflater,
    /// How many of its compressed bytes were read.
    read: usize,
    last_blocks: usize,
    /// Nothing was read since the inflater began or began anew.
    is_fresh: bool,
}

impl Inflation {
    pub(in crate::protocol) fn new(window: Window) -> Self {
        Self { window, history: History::default(), compressed: Vec::new(), running: None }
    }

    /// Takes a part of a compressed message, after which more follows.
    pub(in crate::protocol) fn part(
        &mut self,
        part: &[u8],
        message: &mut Partial,
        limit: usize,
    ) -> Result<(), Violation> {
        let length = self.compressed.len() + part.len();
        if self.running.is_none() && length < HOLD {
            memory::grow(&mut self.compressed, part.len(), HOLD - length);
            self.compressed.extend_from_slice(part);
            return Ok(());
        }
        let before = mem::take(&mut self.compressed);
        self.inflate(&before, message, limit, false)?;
        self.inflate(part, message, limit, false)
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
        self.inflate(&before, message, limit, part.is_empty())?;
        self.inflate(part, message, limit, true)?;
        if let Some(mut running) = self.running.take() {
            running.end()?;
            pool::keep_inflater(running.inflater);
        }
        for piece in message.pieces() {
            self.history.push(piece, self.window.history());
        }
        Ok(())
    }

    /// Returns `true` if it remembers nothing, and no message has come in part.
    pub(in crate::protocol) fn is_empty(&self) -> bool {
        self.history.is_empty() && self.compressed.is_empty() && self.running.is_none()
    }

    /// Inflates all of `input`, after which the message may have more.
    fn inflate(&mut self, input: &[u8], message: &mut Partial, limit: usize, is_last: bool) -> Result<(), Violation> {
        if input.is_empty() {
            return Ok(());
        }
        let Self { history, running, .. } = self;
        let running = running.get_or_insert_with(|| Running::new(history));
        pool::with_inflated(|scratch| running.inflate(input, scratch, history, message, limit, is_last))
    }
}

impl Running {
    fn new(history: &History) -> Self {
        let mut inflater = pool::inflater();
        inflater.restart(history.pieces());
        Self { inflater, read: 0, last_blocks: 0, is_fresh: true }
    }

    fn inflate(
        &mut self,
        mut input: &[u8],
        scratch: &mut [u8],
        history: &History,
        message: &mut Partial,
        limit: usize,
        is_last: bool,
    ) -> Result<(), Violation> {
        loop {
            // The limit is looked at before each step. One byte more than there is room for tells that it is exceeded.
            let room = limit - message.len();
            let most = scratch.len().min(room.saturating_add(1));
            let output = scratch.get_mut(..most).unwrap_or_default();
            let step = self.inflater.step(input, output);
            input = input.get(step.read..).unwrap_or_default();
            self.read = self.read.saturating_add(step.read);
            self.is_fresh &= step.read == 0;
            // What came before a fault is judged first: the verdict does not depend on how the message is cut.
            let fits = step.written.min(room);
            let is_whole = is_last && input.is_empty() && step.written < most;
            message.append(output.get(..fits).unwrap_or_default(), if is_whole { 0 } else { room - fits })?;
            if step.written > room {
                return Err(too_large(message, limit));
            }
            match step.end {
                End::Corrupt => return Err(Violation::NotDeflate),
                End::LastBlock => self.restart(history, message)?,
                End::Bounds if step.written == most => continue,
                End::Bounds if !input.is_empty() => return Err(Violation::NotDeflate),
                End::Bounds => {}
            }
            if input.is_empty() {
                return Ok(());
            }
        }
    }

    /// RFC 7692 §7.2.3.4: a sender may use blocks with BFINAL, after which a new one begins.
    fn restart(&mut self, history: &History, message: &Partial) -> Result<(), Violation> {
        self.last_blocks += 1;
        if self.last_blocks > LAST_BLOCKS + self.read / PER_LAST_BLOCK {
            return Err(Violation::NotDeflate);
        }
        // The message alone may fill the window.
        let before = if message.len() < 1 << MAX_WINDOW_BITS { history.pieces() } else { Default::default() };
        self.inflater.restart(before.into_iter().chain(message.pieces()));
        self.is_fresh = true;
        Ok(())
    }

    /// The message must not end within a block. It may end with a block that has BFINAL, and nothing behind it.
    fn end(&mut self) -> Result<(), Violation> {
        if self.is_fresh {
            return Ok(());
        }
        let step = self.inflater.step(&ENDING, &mut [0]);
        // After four bytes if the tail is that of a last block.
        let is_end = step.end == End::LastBlock && step.written == 0 && [TAIL.len(), ENDING.len()].contains(&step.read);
        if is_end { Ok(()) } else { Err(Violation::NotDeflate) }
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
