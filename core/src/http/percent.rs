//! Percent-encoding of paths and queries, as browsers do it (the [URL Standard](https://url.spec.whatwg.org/)).
//!
//! Encodes what must be encoded, and leaves alone what is encoded already, and a `%` that encodes nothing.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;

/// Encodes the path of a URL with one of the schemes that browsers know: segments of `.` and `..` are resolved, and a
/// backslash is a slash. The result always begins with a slash.
pub(super) fn encode_path(text: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = text.split(['/', '\\']).skip(1).peekable();
    while let Some(segment) = rest.next() {
        let is_last = rest.peek().is_none();
        if is_double_dot(segment) {
            segments.pop();
        }
        match is_double_dot(segment) || is_single_dot(segment) {
            true if is_last => segments.push(""),
            true => {}
            false => segments.push(segment),
        }
    }
    let mut path = String::from("/");
    for (index, segment) in segments.into_iter().enumerate() {
        if index > 0 {
            path.push('/');
        }
        encode(segment, is_path_byte, &mut path);
    }
    path
}

/// Encodes the query of such a URL, without its question mark.
pub(super) fn encode_query(text: &str) -> String {
    let mut query = String::new();
    encode(text, is_query_byte, &mut query);
    query
}

/// Encodes all but letters, digits, and `-._~` (RFC 3986 §2.3).
pub(crate) fn encode_all(text: &str) -> String {
    let mut encoded = String::new();
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    encode(text, unreserved, &mut encoded);
    encoded
}

/// Turns what is encoded into bytes again; a `%` that encodes nothing stays.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let encoded = after.first_chunk::<2>().filter(|_| byte == b'%').and_then(hexadecimal);
        bytes.push(encoded.unwrap_or(byte));
        if encoded.is_some() {
            rest = after.get(2..).unwrap_or_default();
        }
    }
    bytes
}

fn hexadecimal(digits: &[u8; 2]) -> Option<u8> {
    let digits = core::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(digits, 16).ok()
}

fn encode(text: &str, stays: impl Fn(u8) -> bool, into: &mut String) {
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() && stays(byte) => into.push(character),
            _ => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a `String` cannot fail.
                    let _ = write!(into, "%{byte:02X}");
                }
            }
        }
    }
}

/// Not in the URL Standard's path percent-encode set.
const fn is_path_byte(byte: u8) -> bool {
    is_visible(byte) && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'}')
}

/// Not in the URL Standard's special-query percent-encode set.
const fn is_query_byte(byte: u8) -> bool {
    is_visible(byte) && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\'')
}

/// Visible ASCII: no blank, no control character.
const fn is_visible(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
}

/// URL Standard: a single-dot URL path segment is "." or an ASCII case-insensitive match for "%2e".
fn is_single_dot(segment: &str) -> bool {
    segment == "." || segment.eq_ignore_ascii_case("%2e")
}

/// URL Standard: a double-dot URL path segment is "..", ".%2e", "%2e." or "%2e%2e", in either case.
fn is_double_dot(segment: &str) -> bool {
    ["..", ".%2e", "%2e.", "%2e%2e"].iter().any(|dots| segment.eq_ignore_ascii_case(dots))
}
