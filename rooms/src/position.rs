//! Where a message is in the history of its room.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Where a message is in the history of its room. Later messages have greater positions; there may be gaps between
/// them.
///
/// It is printed as two numbers, `1732870000000-3`, and parsed from that: give it to clients, and have them say which
/// was their last when they come back.
///
/// ```
/// # mod bellwire { pub use bellwire_rooms as rooms; }
/// use bellwire::rooms::Position;
///
/// let (first, second): (Position, Position) = ("17-9".parse()?, "17-10".parse()?);
/// assert!(first < second);
/// assert_eq!(second.to_string(), "17-10");
/// # Ok::<(), bellwire::rooms::InvalidPosition>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    major: u64,
    minor: u64,
}

impl Position {
    /// Creates one from its two numbers.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }

    /// Returns its two numbers: milliseconds since 1970 and a count. With Redis that is when it was published,
    /// elsewhere when the history began.
    pub const fn parts(self) -> (u64, u64) {
        (self.major, self.minor)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let number = |digits: &str| {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number).ok_or(InvalidPosition)
        };
        let (major, minor) = text.split_once('-').ok_or(InvalidPosition)?;
        Ok(Self::new(number(major)?, number(minor)?))
    }
}

/// This is not a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a position in a room's history is two numbers, such as 1732870000000-3")
    }
}

impl Error for InvalidPosition {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for position in [Position::default(), Position::new(0, 7), Position::new(u64::MAX, u64::MAX)] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for text in ["", "-", "1", "1-", "-1", "+1-2", "1-+2", "1-2-3", " 1-2", "18446744073709551616-0", "a-b"] {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }

    #[test]
    fn positions_are_ordered_by_their_first_number_and_then_by_their_second() {
        let mut positions = [Position::new(2, 0), Position::new(1, 10), Position::new(1, 9)];
        positions.sort();
        assert_eq!(positions, [Position::new(1, 9), Position::new(1, 10), Position::new(2, 0)]);
    }
}
