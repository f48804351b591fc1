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

/// Returns `true` if these values make up an `extension-list` of at least one extension (RFC 6455 §9.1).
pub(crate) fn is_extension_list<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    // RFC 6455 §9.1: "this header field MAY be split or combined across multiple lines".
    values.try_fold(0, |count, value| Some(count + count_extensions(value)?)).is_some_and(|count: usize| count > 0)
}

/// Counts the extensions that a header line lists; `None` if it is malformed.
fn count_extensions(value: &[u8]) -> Option<usize> {
    let mut cursor = Cursor(value);
    let mut count = 0;
    loop {
        cursor.skip_spaces();
        if cursor.0.is_empty() {
            return Some(count);
        }
        if !cursor.skip(b',') {
            cursor.extension()?;
            count += 1;
            if !(cursor.0.is_empty() || cursor.skip(b',')) {
                return None;
            }
        }
    }
}

/// The rest of a header value.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// RFC 6455 §9.1: `extension = extension-token *( ";" extension-param )`, and the spaces after it
    /// ("this section is using ABNF syntax/rules from [RFC2616], including the 'implied *LWS rule'").
    fn extension(&mut self) -> Option<()> {
        self.token()?;
        self.skip_spaces();
        while self.skip(b';') {
            self.skip_spaces();
            self.parameter()?;
            self.skip_spaces();
        }
        Some(())
    }

    /// RFC 6455 §9.1: `extension-param = token [ "=" (token | quoted-string) ]`.
    fn parameter(&mut self) -> Option<()> {
        self.token()?;
        self.skip_spaces();
        if !self.skip(b'=') {
            return Some(());
        }
        self.skip_spaces();
        if self.skip(b'"') { self.quoted_token() } else { self.token().map(drop) }
    }

    /// RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string
    /// unescaping MUST conform to the 'token' ABNF."
    fn quoted_token(&mut self) -> Option<()> {
        let mut length = 0;
        loop {
            let byte = match self.next()? {
                b'"' => return (length > 0).then_some(()),
                b'\\' => self.next()?,
                byte => byte,
            };
            if !is_token_byte(byte) {
                return None;
            }
            length += 1;
        }
    }

    fn token(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!token.is_empty()).then_some(token)
    }

    fn next(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.next();
        }
        found
    }

    fn skip_spaces(&mut self) {
        while self.skip(b' ') || self.skip(b'\t') {}
    }
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

    #[test]
    fn extension_lists_follow_the_grammar() {
        let is_list = |values: &[&'static str]| is_extension_list(values.iter().map(|value| value.as_bytes()));
        for list in [
            "deflate-stream",
            "mux; max-channels=4; flow-control, deflate-stream",
            "permessage-deflate; client_max_window_bits",
            "a;b=\"c\"",
            "a;b=\"\\c\\d\"",
            "a ; b = c ,, d\t;e",
            ", a ,",
        ] {
            assert!(is_list(&[list]), "{list:?}");
        }
        assert!(is_list(&["foo", "bar; baz=2"]));
        assert!(is_list(&["", "foo"]));
        for malformed in [
            "",
            ",",
            "a b",
            "a;",
            "a;;b",
            "a;b=",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c d\"",
            "a;b=\"c\\",
            "a;b=\"c\"d",
            "=a",
            ";a",
            "a=b",
            "a;b=c=d",
            "a/b",
            "a;b=\"c,d\"",
        ] {
            assert!(!is_list(&[malformed]), "{malformed:?}");
        }
        assert!(!is_list(&["a", "b;"]));
        assert!(!is_list(&["a;b=\"c", "d\""]));
    }
}
