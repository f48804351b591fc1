//! The grammar of header fields: tokens, and lists of them.

use alloc::vec::Vec;

/// Returns `true` if these bytes are a token: RFC 9110 §5.6.2: "token = 1*tchar".
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

pub(super) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Returns the elements of a list that may be spread over several header lines, without the empty ones.
///
/// RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
pub(crate) fn elements<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(trim).filter(|element| !element.is_empty())
}

/// Returns `true` if such a list has this element, in any case.
pub(crate) fn lists<'a>(mut values: impl Iterator<Item = &'a [u8]>, element: &str) -> bool {
    let is_it = |other: &[u8]| trim(other).eq_ignore_ascii_case(element.as_bytes());
    values.any(|value| value.split(|&byte| byte == b',').any(is_it))
}

/// Returns `true` if each element of such a list is a token.
pub(crate) fn is_token_list<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    values.all(|value| value.split(|&byte| byte == b',').map(trim).all(|other| other.is_empty() || is_token(other)))
}

/// Returns the elements of a `#token` list, or `None` if one of them is not a token.
pub(crate) fn token_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<&'a str>> {
    elements(values).map(as_token).collect()
}

/// Returns these bytes as text, if they are a token.
pub(crate) fn as_token(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok().filter(|_| is_token(bytes))
}

/// Removes the spaces and tabs around it (RFC 9110 §5.6.3: OWS).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn token_lists_go_over_lines_and_skip_empty_elements() {
        let list = |values: &[&'static str]| token_list(values.iter().map(|value| value.as_bytes()));
        assert_eq!(list(&["a, b", ",,c ,\t", "", "d"]), Some(vec!["a", "b", "c", "d"]));
        assert_eq!(list(&[]), Some(vec![]));
        assert_eq!(list(&[" , ,"]), Some(vec![]));
        for malformed in ["a b", "a, \"b\"", "a/b", "a;q=1", "ä", "a,\x01"] {
            assert_eq!(list(&["x", malformed]), None, "{malformed:?}");
        }
    }
}
