//! A message that is being joined from fragments, from what was cut, or from what is inflated.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::frame::Opcode;
use super::inbound::Incoming;
use super::{Violation, pool, utf8};
use crate::config::Config;

pub(super) enum Partial {
    Text(utf8::Assembler),
    Binary(Vec<u8>),
}

impl Partial {
    pub(super) fn new(opcode: Opcode) -> Self {
        if opcode == Opcode::Text { Self::Text(utf8::Assembler::default()) } else { Self::Binary(Vec::new()) }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Returns how many bytes it may have.
    pub(super) fn limit(&self, limits: &Config) -> usize {
        match self {
            Self::Text(_) => limits.max_text,
            Self::Binary(_) => limits.max_binary,
        }
    }

    /// Appends bytes, after which as many as are `expected` may follow.
    #[inline]
    pub(super) fn append(&mut self, piece: &[u8], expected: usize) -> Result<(), Violation> {
        match self {
            Self::Text(text) => text.push(piece, expected).map_err(|_| Violation::TextNotUtf8),
            Self::Binary(bytes) => {
                pool::grow(bytes, piece.len(), expected);
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    pub(super) fn finish(self) -> Result<Incoming<'static>, Violation> {
        Ok(match self {
            Self::Text(text) => {
                let mut text = text.finish().map_err(|_| Violation::TextNotUtf8)?;
                pool::fit_text(&mut text);
                Incoming::Text(Cow::Owned(text))
            }
            Self::Binary(mut bytes) => {
                pool::fit(&mut bytes);
                Incoming::Binary(Cow::Owned(bytes))
            }
        })
    }

    /// Returns the bytes that have come, in order.
    #[cfg(feature = "deflate")]
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        match self {
            Self::Text(text) => text.pieces(),
            Self::Binary(bytes) => [bytes, &[]],
        }
    }
}
