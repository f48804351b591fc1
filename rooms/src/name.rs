//! The names of rooms, and what they are called at a broker.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::fmt::Write as _;

/// The longest name of a room, in bytes.
pub const MAX_ROOM: usize = 128;

/// The name of a room as a broker may see it: every byte other than an ASCII letter, a digit, `-` and `_` is written as
/// `=` and two digits. So no name holds what separates the parts of a broker's subjects, or stands for many of them.
///
/// Most names are their own tokens, and are borrowed.
///
/// # Errors
/// [`NameError`] if nobody may have such a room.
pub(crate) fn token(room: &str) -> Result<Cow<'_, str>, NameError> {
    if room.is_empty() {
        return Err(NameError::Empty);
    }
    if room.len() > MAX_ROOM {
        return Err(NameError::TooLong(room.len()));
    }
    if room.bytes().all(is_plain) {
        return Ok(Cow::Borrowed(room));
    }
    let mut token = String::with_capacity(3 * room.len());
    for byte in room.bytes() {
        if is_plain(byte) {
            token.push(char::from(byte));
        } else {
            let _ = write!(token, "={byte:02X}");
        }
    }
    Ok(Cow::Owned(token))
}

/// The name that has this token. What is no token of ours is given back as it is.
pub(crate) fn name(token: &str) -> Cow<'_, str> {
    if !token.contains('=') {
        return Cow::Borrowed(token);
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = match (byte, after.split_first_chunk::<2>()) {
            (b'=', Some((digits, after))) => {
                let Some(escaped) = hex(*digits) else { return Cow::Borrowed(token) };
                bytes.push(escaped);
                after
            }
            (b'=', None) => return Cow::Borrowed(token),
            _ => {
                bytes.push(byte);
                after
            }
        };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(token), Cow::Owned)
}

fn hex(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(16 * high? + low?).ok()
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// A room cannot have this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// It is empty.
    Empty,
    /// It is longer than [`MAX_ROOM`] bytes: that is how long.
    TooLong(usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the room has an empty name: give it one of 1 to 128 bytes"),
            Self::TooLong(length) => write!(f, "the room's name has {length} bytes: {MAX_ROOM} is the most"),
        }
    }
}

impl Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_names_are_their_own_tokens_and_are_not_copied() {
        for room in ["a", "room-1_B", &"x".repeat(MAX_ROOM)] {
            assert!(matches!(token(room), Ok(Cow::Borrowed(same)) if same == room));
        }
    }

    #[test]
    fn what_a_broker_could_take_for_syntax_is_escaped() {
        for (room, expected) in [
            ("a.b", "a=2Eb"),
            ("*", "=2A"),
            (">", "=3E"),
            ("a b", "a=20b"),
            ("a\r\nPUB x 0", "a=0D=0APUB=20x=200"),
            ("\0", "=00"),
            ("=2E", "=3D2E"),
            ("ö", "=C3=B6"),
            ("{a}", "=7Ba=7D"),
        ] {
            assert_eq!(token(room).unwrap(), expected);
            assert_eq!(name(expected), room);
        }
    }

    #[test]
    fn names_that_are_empty_or_too_long_are_refused() {
        assert_eq!(token(""), Err(NameError::Empty));
        assert_eq!(token(&"x".repeat(MAX_ROOM + 1)), Err(NameError::TooLong(129)));
        assert!(NameError::TooLong(129).to_string().contains("128 is the most"));
    }

    #[test]
    fn what_is_no_token_is_given_back_as_it_is() {
        for token in ["=", "a=2", "=GG", "=FF", "=+1", "a=2E=F"] {
            assert_eq!(name(token), token);
        }
    }

    proptest! {
        #[test]
        fn a_token_is_plain_and_leads_back_to_its_name(room in ".{1,30}") {
            let token = token(&room).unwrap();
            prop_assert!(token.bytes().all(|byte| is_plain(byte) || byte == b'='));
            prop_assert_eq!(name(&token), room.as_str());
        }
    }
}
