//! How a peer compresses and inflates: with another codec than the one that is tested, where that one can do it.

use bellwire_core::Role;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use zlib_rs::{Deflate, DeflateFlush};

use crate::common::*;

/// RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
const TAIL: &[u8] = b"\x00\x00\xff\xff";

pub(super) const RSV1: u8 = 4;

/// A part of a message: one DEFLATE block, or several.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    /// The last block has BFINAL.
    pub(super) is_last: bool,
}

impl Part {
    pub(super) fn new(bytes: impl AsRef<[u8]>) -> Self {
        Self { bytes: bytes.as_ref().to_vec(), is_last: false }
    }
}

enum Codec {
    /// Only with the largest window.
    Miniz(Box<Compress>),
    Zlib(Box<Deflate>),
}

pub(super) struct Compressor {
    codec: Codec,
    no_context_takeover: bool,
}

impl Compressor {
    pub(super) fn new(level: u32, window_bits: u8, no_context_takeover: bool) -> Self {
        let codec = match window_bits {
            15 => Codec::Miniz(Box::new(Compress::new(Compression::new(level), false))),
            bits => Codec::Zlib(Box::new(Deflate::new(level as i32, false, bits.max(9)))),
        };
        Self { codec, no_context_takeover }
    }

    /// Compresses a message that was not begun before.
    pub(super) fn message(&mut self, parts: &[Part]) -> Vec<u8> {
        if self.no_context_takeover {
            self.reset();
        }
        let mut message = Vec::new();
        for part in parts {
            message.extend(self.part(part));
        }
        // §7.2.3.4: after a block with BFINAL comes the header of an empty one, and so after nothing.
        if !message.ends_with(TAIL) {
            message.extend([0x00]);
            message.extend(TAIL);
        }
        message.truncate(message.len() - TAIL.len());
        message
    }

    fn part(&mut self, part: &Part) -> Vec<u8> {
        let mut output = Vec::with_capacity(2 * part.bytes.len() + 256);
        match &mut self.codec {
            Codec::Miniz(codec) => {
                let flush = if part.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
                codec.compress_vec(&part.bytes, &mut output, flush).unwrap();
            }
            Codec::Zlib(codec) => {
                output.resize(output.capacity(), 0);
                let flush = if part.is_last { DeflateFlush::Finish } else { DeflateFlush::SyncFlush };
                let before = codec.total_out();
                codec.compress(&part.bytes, &mut output, flush).unwrap();
                output.truncate((codec.total_out() - before) as usize);
            }
        }
        assert!(output.len() < output.capacity());
        if part.is_last {
            self.reset();
        }
        output
    }

    fn reset(&mut self) {
        match &mut self.codec {
            Codec::Miniz(codec) => codec.reset(),
            Codec::Zlib(codec) => codec.reset(),
        }
    }
}

pub(super) struct Inflater {
    codec: Decompress,
    no_context_takeover: bool,
}

impl Inflater {
    pub(super) fn new(no_context_takeover: bool) -> Self {
        Self { codec: Decompress::new(false), no_context_takeover }
    }

    pub(super) fn message(&mut self, compressed: &[u8]) -> Vec<u8> {
        if self.no_context_takeover {
            self.codec.reset(false);
        }
        let (input, mut output) = ([compressed, TAIL].concat(), Vec::new());
        let mut rest = &input[..];
        loop {
            output.reserve(4096);
            let before = self.codec.total_in();
            let status = self.codec.decompress_vec(rest, &mut output, FlushDecompress::Sync).unwrap();
            rest = &rest[(self.codec.total_in() - before) as usize..];
            // A block with BFINAL is read by all, and not survived by some.
            assert_ne!(status, Status::StreamEnd);
            if rest.is_empty() && output.len() < output.capacity() {
                return output;
            }
        }
    }
}

/// A frame as it was sent.
#[derive(Debug, PartialEq)]
pub(super) struct Sent {
    pub(super) fin: bool,
    pub(super) reserved: u8,
    pub(super) opcode: u8,
    pub(super) payload: Vec<u8>,
}

/// Takes bytes apart into frames.
pub(super) fn frames(mut bytes: &[u8], sender: Role) -> Vec<Sent> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second & 0x7f {
            126 => (u16::from_be_bytes([rest[0], rest[1]]).into(), &rest[2..]),
            127 => (u64::from_be_bytes(rest[..8].try_into().unwrap()) as usize, &rest[8..]),
            length => (length.into(), rest),
        };
        let (payload, rest) = match sender {
            Role::Server => (rest[..length].to_vec(), &rest[length..]),
            Role::Client => (masked(&rest[4..4 + length]), &rest[4 + length..]),
        };
        frames.push(Sent { fin: first & 0x80 != 0, reserved: first >> 4 & 7, opcode: first & 0x0f, payload });
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}
