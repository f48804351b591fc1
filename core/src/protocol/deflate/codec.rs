//! The codec: raw DEFLATE (RFC 1951), by zlib-rs. Outside of its ranges it panics, so its arguments are put right here.

use alloc::vec::Vec;
#[cfg(target_has_atomic = "64")]
use core::sync::atomic::{AtomicU64, Ordering};

use zlib_rs::{Deflate, DeflateConfig, DeflateFlush, Inflate, InflateFlush, Status};

use super::TAIL;
use crate::context::MAX_WINDOW_BITS;

/// Longer messages are not compressed: the codec counts in 32 bits.
const MAX_LENGTH: usize = i32::MAX as usize;

/// After so many bytes a compressor begins anew: on some systems the codec counts all of them in 32 bits.
/// (The tests do not compress a gibibyte.)
const MAX_TOTAL: u64 = if cfg!(test) { 1 << 18 } else { 1 << 30 };

/// What a compressor is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) level: u8,
    pub(super) mem_level: u8,
    pub(super) window_bits: u8,
}

pub(super) struct Compressor {
    codec: Deflate,
    settings: Settings,
    /// Which message it has compressed last.
    pub(super) last: Option<Mark>,
}

/// A message, told apart from all others of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    #[cfg(target_has_atomic = "64")]
    pub(super) fn next() -> Option<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Some(Self(NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// A smaller number would come again.
    #[cfg(not(target_has_atomic = "64"))]
    pub(super) fn next() -> Option<Self> {
        None
    }
}

impl Compressor {
    pub(super) fn new(settings: Settings) -> Self {
        let config = DeflateConfig {
            level: settings.level.min(9).into(),
            mem_level: settings.mem_level.clamp(1, 9).into(),
            // The codec has no window of 8 bits. That of 9 never refers back by 256 bytes or more: 512 less the longest
            // match and what it looks ahead.
            window_bits: -i32::from(settings.window_bits.clamp(9, MAX_WINDOW_BITS)),
            ..DeflateConfig::default()
        };
        Self { codec: Deflate::new_with_config(config), settings, last: None }
    }

    pub(super) fn settings(&self) -> Settings {
        self.settings
    }

    /// Forgets what was compressed before.
    pub(super) fn reset(&mut self) {
        self.codec.reset();
        self.last = None;
    }

    /// Takes what was sent before, in pieces, as if it had just been compressed.
    pub(super) fn remember(&mut self, pieces: [&[u8]; 2]) {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            // It refuses only between the parts of a message.
            let _ = self.codec.set_dictionary(piece);
        }
    }

    /// Compresses a message into `output`, whose length only grows. Returns the result, or `None` if it is too long for
    /// the codec, which is to be [reset](Self::reset) then.
    pub(super) fn compress<'o>(&mut self, payload: &[u8], output: &'o mut Vec<u8>) -> Option<&'o [u8]> {
        if payload.len() > MAX_LENGTH {
            return None;
        }
        if self.codec.total_in().max(self.codec.total_out()) > MAX_TOTAL {
            self.reset();
        }
        // More than it can need: a flush into a buffer that gets full would be repeated, with a second tail. A symbol has
        // at most 9 bits where there are no codes for just this message.
        let bound = payload.len() + payload.len() / 4 + 64;
        if output.len() < bound {
            output.resize(bound, 0);
        }
        let (read, written) = (self.codec.total_in(), self.codec.total_out());
        // RFC 7692 §7.2.1: "If the resulting data does not end with an empty DEFLATE block with no compression [..],
        // append" one: the codec does. Never with BFINAL: others lose what comes after it.
        let flushed = self.codec.compress(payload, output, DeflateFlush::SyncFlush);
        let (read, written) = (self.codec.total_in() - read, (self.codec.total_out() - written) as usize);
        if flushed != Ok(Status::Ok) || read != payload.len() as u64 || written >= output.len() {
            return None;
        }
        output.get(..written)?.strip_suffix(&TAIL)
    }
}

/// What a step of an [`Inflater`] has done.
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    pub(super) end: End,
}

/// Why a step has ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of the input is read, or the output is full.
    Bounds,
    /// A block said that it was the last one: go on after a [restart](Inflater::restart).
    LastBlock,
    /// What follows is no DEFLATE, or refers back too far.
    Corrupt,
}

pub(super) struct Inflater(Inflate);

impl Inflater {
    pub(super) fn new() -> Self {
        Self(Inflate::new(false, MAX_WINDOW_BITS))
    }

    /// Begins anew, after what was received before.
    pub(super) fn restart<'p>(&mut self, pieces: impl IntoIterator<Item = &'p [u8]>) {
        self.0.reset(false);
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            // It refuses only those whose header it has read.
            let _ = self.0.set_dictionary(piece);
        }
    }

    /// Inflates until all of the input is read, or the output is full, or a last block ends, or something is wrong.
    pub(super) fn step(&mut self, input: &[u8], output: &mut [u8]) -> Step {
        let (read, written) = (self.0.total_in(), self.0.total_out());
        let end = match self.0.decompress(input, output, InflateFlush::SyncFlush) {
            Ok(Status::StreamEnd) => End::LastBlock,
            Ok(_) => End::Bounds,
            Err(_) => End::Corrupt,
        };
        Step { read: (self.0.total_in() - read) as usize, written: (self.0.total_out() - written) as usize, end }
    }
}
