//! Text from outside, made safe for a log.

use core::fmt;

/// The maximum length of a value from outside that is quoted, in bytes.
pub(crate) const MAX_SHOWN: usize = 120;

/// Quotes a value from outside for a text that ends up in a log or a browser: control characters, quotes and tags are
/// escaped, and a long value is cut.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_bytes();
        let (start, dots) = bytes.get(..MAX_SHOWN).map_or((bytes, ""), |start| (start, ".."));
        f.write_str("\"")?;
        for &byte in start {
            match byte {
                b'<' | b'>' => write!(f, "\\x{byte:02x}")?,
                byte => write!(f, "{}", byte.escape_ascii())?,
            }
        }
        write!(f, "\"{dots}")
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn h4_what_is_shown_is_escaped_and_short() {
        assert_eq!(Shown("http://a:1").to_string(), "\"http://a:1\"");
        assert_eq!(Shown("a\"b\\\r\n<b>\x1bä").to_string(), r#""a\"b\\\r\n\x3cb\x3e\x1b\xc3\xa4""#);
        let long = Shown(&"x".repeat(1000)).to_string();
        assert!(long.len() < 200 && long.ends_with("x\".."), "{long}");
    }
}
