//! A message that is compressed once and sent to many.

use alloc::boxed::Box;
use alloc::vec::Vec;
use std::sync::OnceLock;

use bytes::Bytes;

use super::deflation::alone;
use crate::config::{Config, Deflate, WINDOW_BITS};
use crate::context::Window;
use crate::protocol::frame::{Header, MAX_HEADER, Opcode, ReservedBits};

/// A frame for each size of the window, once it was asked for. `None` in one: the message gets no shorter.
type Frames = [OnceLock<Option<Bytes>>; 1 + (*WINDOW_BITS.end() - *WINDOW_BITS.start()) as usize];

/// The compressed frames of a message, as a server sends them. They refer to nothing before them, so they are good for
/// any connection with such a window.
#[derive(Debug, Clone, Default)]
pub(in crate::protocol) struct CompressedFrames(OnceLock<Box<Frames>>);

impl CompressedFrames {
    /// Returns the frame for this window, or `None` if the message is to be sent as it is.
    pub(in crate::protocol) fn get(
        &self,
        opcode: Opcode,
        payload: &[u8],
        window: Window,
        config: &Config,
    ) -> Option<&Bytes> {
        // No message refers back further than its own length: a small one needs no small window.
        let fits = payload.len() <= 1 << WINDOW_BITS.start();
        let bits = if fits { *WINDOW_BITS.end() } else { window.bits };
        let place = self.0.get_or_init(Box::default).get(usize::from(bits.checked_sub(*WINDOW_BITS.start())?))?;
        let config = config.deflate.as_ref()?;
        place.get_or_init(|| frame(opcode, payload, Window { bits, ..window }, config)).as_ref()
    }
}

fn frame(opcode: Opcode, payload: &[u8], window: Window, config: &Deflate) -> Option<Bytes> {
    let mut frame = Vec::new();
    let is_shorter = alone(payload, window, config, |compressed| {
        let header = Header::new(opcode, compressed.len() as u64);
        frame.reserve_exact(MAX_HEADER + compressed.len());
        Header { reserved: ReservedBits::RSV1, ..header }.encode(&mut frame);
        frame.extend_from_slice(compressed);
    });
    is_shorter.then(|| frame.into())
}
