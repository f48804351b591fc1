//! permessage-deflate (RFC 7692): messages are compressed one by one, and each may refer to those before it.
//!
//! A connection keeps only what the next message may refer to: the last bytes that it sent compressed ([`Deflation`]),
//! and the last ones that it received so ([`Inflation`]). The codecs are large, so they belong to the thread (`pool`) and
//! are lent for one message; the kept bytes are their dictionary. A peer cannot tell the difference.

mod codec;
mod deflation;
mod history;
mod inflation;
mod pool;
mod prepared;

pub(super) use self::deflation::{Deflation, compresses};
pub(super) use self::inflation::Inflation;
pub(super) use self::prepared::CompressedFrames;

/// The bytes that end each compressed message and are not sent. RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00
/// 0xff 0xff) from the tail end."
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests;
