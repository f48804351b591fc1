//! Incremental UTF-8 validation (RFC 6455 §8.1): each byte is looked at once, and the verdict falls at
//! the first byte that cannot belong to any text.

use alloc::string::String;

use super::pool;

/// The error for a text that is not UTF-8, whatever may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// Checks a whole text.
///
/// # Errors
/// [`Invalid`] if it is not UTF-8.
#[inline]
pub fn check(bytes: &[u8]) -> Result<&str, Invalid> {
    // `simdutf8` leaves what is shorter than a block of its own to the standard library, which goes byte by byte where
    // the bytes are not aligned.
    #[cfg(feature = "std")]
    if bytes.len() < 64 {
        if let Ok(text) = ascii::AsciiStr::from_ascii(bytes) {
            return Ok(text.as_str());
        }
    }
    simdutf8::basic::from_utf8(bytes).map_err(|_| Invalid)
}

/// Joins the pieces of a text that may be cut anywhere, a character's middle included.
///
/// The checked part is a `String` from the start: without unsafe code, bytes that were checked earlier
/// could become a `str` only by checking them again.
#[derive(Debug, Default, Clone)]
pub struct Assembler {
    text: String,
    /// The first bytes of a character whose others have not come yet.
    carry: [u8; 3],
    carried: u8,
}

impl Assembler {
    /// Appends a piece; `expected` is how many bytes are known to follow it, so that memory grows with what
    /// has come and never beyond what may come.
    ///
    /// # Errors
    /// [`Invalid`] as soon as what has come cannot be the start of a text.
    pub fn push(&mut self, mut piece: &[u8], expected: usize) -> Result<(), Invalid> {
        pool::grow_text(&mut self.text, piece.len().saturating_add(usize::from(self.carried)), expected);
        while self.carried > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.continue_character(byte)?;
        }
        let (whole, cut) = piece.split_at(whole_characters(piece));
        self.text.push_str(check(whole)?);
        for &byte in cut {
            self.continue_character(byte)?;
        }
        Ok(())
    }

    /// Returns the text, which must not end within a character.
    ///
    /// # Errors
    /// [`Invalid`] if it does.
    pub fn finish(self) -> Result<String, Invalid> {
        if self.carried == 0 { Ok(self.text) } else { Err(Invalid) }
    }

    /// Returns the bytes that have come, in order: those of whole characters, and those of a cut one.
    #[cfg(feature = "deflate")]
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        [self.text.as_bytes(), self.carry.get(..usize::from(self.carried)).unwrap_or_default()]
    }

    /// Returns how many bytes have come.
    pub fn len(&self) -> usize {
        self.text.len() + usize::from(self.carried)
    }

    /// Returns `true` if nothing has come.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn continue_character(&mut self, byte: u8) -> Result<(), Invalid> {
        let [a, b, c] = self.carry;
        let mut character = [a, b, c, 0];
        let length = usize::from(self.carried) + 1;
        if let Some(place) = character.get_mut(length - 1) {
            *place = byte;
        }
        let character = character.get(..length).unwrap_or_default();
        match core::str::from_utf8(character) {
            Ok(text) => {
                self.text.push_str(text);
                self.carried = 0;
                Ok(())
            }
            // "unexpected end of input": so far it may become a character.
            Err(error) if error.error_len().is_none() => {
                for (place, byte) in self.carry.iter_mut().zip(character) {
                    *place = *byte;
                }
                self.carried += 1;
                Ok(())
            }
            Err(_) => Err(Invalid),
        }
    }
}

/// Returns how much of `piece` is there before a character that is cut off at its end. What is wrong in another way is
/// left to the check.
fn whole_characters(piece: &[u8]) -> usize {
    for (back, &byte) in piece.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xff => 4,
            0x80..=0xbf => continue,
            0x00..=0x7f => return piece.len(),
        };
        let there = back + 1;
        return if there < needed { piece.len() - there } else { piece.len() };
    }
    piece.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    /// Returns how many bytes are taken before the verdict is "invalid", byte by byte.
    fn verdict_at(bytes: &[u8]) -> Option<usize> {
        let mut assembler = Assembler::default();
        bytes.iter().position(|byte| assembler.push(&[*byte], 0).is_err())
    }

    #[test]
    fn the_first_impossible_byte_is_refused() {
        assert_eq!(verdict_at(b"\xf4\x90"), Some(1));
        assert_eq!(verdict_at(b"\xe0\x80"), Some(1));
        assert_eq!(verdict_at(b"\xed\xa0\x80"), Some(1));
        assert_eq!(verdict_at(b"\xc0"), Some(0));
        assert_eq!(verdict_at(b"\xff"), Some(0));
        assert_eq!(verdict_at(b"\x80"), Some(0));
        assert_eq!(verdict_at(b"ok\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80"), Some(14));
        assert_eq!(verdict_at("κόσμε😀".as_bytes()), None);
    }

    #[test]
    fn the_verdict_is_that_of_std_for_each_length_and_place() {
        for length in 0..140 {
            let ascii = "x".repeat(length).into_bytes();
            assert_eq!(check(&ascii), Ok(&*"x".repeat(length)));
            for at in 0..length {
                for replaced in [&b"\x00"[..], b"\x7f", b"\x80", b"\xff", b"\xc3", "é".as_bytes(), "😀".as_bytes()] {
                    let mut bytes = ascii.clone();
                    bytes.splice(at..length.min(at + replaced.len()), replaced.iter().copied());
                    assert_eq!(check(&bytes).ok(), core::str::from_utf8(&bytes).ok(), "{bytes:x?}");
                }
            }
        }
    }

    #[test]
    fn memory_grows_with_what_has_come_and_not_beyond_what_may() {
        let mut assembler = Assembler::default();
        assembler.push(&[b'x'; 10], usize::MAX).unwrap();
        assert!(assembler.text.capacity() < 100);
        for _ in 0..99 {
            let left = 1000 - assembler.len() - 10;
            assembler.push(&[b'x'; 10], left).unwrap();
            assert!(assembler.text.capacity() <= 1000);
        }
    }

    /// Bytes that are often nearly UTF-8.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            any::<Vec<u8>>(),
            ".{0,40}".prop_map(String::into_bytes),
            (".{1,40}", any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
                let mut bytes = text.into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes
            }),
            (".{1,40}", any::<prop::sample::Index>()).prop_map(|(text, at)| {
                let bytes = text.into_bytes();
                bytes[..at.index(bytes.len())].to_vec()
            }),
        ]
    }

    proptest! {
        #[test]
        fn the_verdict_is_that_of_std_for_any_bytes_and_any_cut(
            bytes in nearly_text(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut assembler = Assembler::default();
            let mut failed_at = None;
            for pair in cuts.windows(2) {
                if assembler.push(&bytes[pair[0]..pair[1]], bytes.len() - pair[1]).is_err() {
                    failed_at = Some(pair[1]);
                    break;
                }
            }
            // The earliest piece whose end makes the start impossible is the one that fails.
            let impossible = |end: usize| {
                core::str::from_utf8(&bytes[..end]).is_err_and(|error| error.error_len().is_some())
            };
            let expected = cuts.iter().copied().find(|&end| impossible(end));
            prop_assert_eq!(failed_at, expected);
            if failed_at.is_none() {
                let text = assembler.finish().ok();
                prop_assert_eq!(text.as_deref(), core::str::from_utf8(&bytes).ok());
            }
        }
    }
}
