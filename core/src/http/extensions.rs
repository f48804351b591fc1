//! The value of `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use alloc::borrow::Cow;

use super::grammar::{as_token, is_token_byte};

/// The value is not a list of extensions.
#[derive(Debug)]
pub(crate) struct Malformed;

/// An extension, as one side offers it or the other accepts it.
#[derive(Debug)]
#[cfg_attr(not(feature = "deflate"), allow(dead_code))]
pub(crate) struct Extension<'a> {
    pub(crate) name: &'a str,
    /// Those that follow the name, checked.
    parameters: &'a [u8],
}

/// Returns the extensions in these values, in order.
///
/// RFC 6455 §9.1: "this header field MAY be split or combined across multiple lines".
pub(crate) fn extensions<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> impl Iterator<Item = Result<Extension<'a>, Malformed>> {
    values.flat_map(|value| {
        let mut cursor = Cursor(value);
        core::iter::from_fn(move || cursor.element())
    })
}

/// Returns `true` if these values make up a list of at least one extension.
pub(crate) fn is_extension_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    extensions(values).try_fold(0, |count, extension| extension.map(|_| count + 1)).is_ok_and(|count: usize| count > 0)
}

#[cfg(feature = "deflate")]
impl<'a> Extension<'a> {
    /// Returns the parameters' names and values, in order, without quotes.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> {
        let mut cursor = Cursor(self.parameters);
        core::iter::from_fn(move || cursor.next_parameter())
    }
}

/// The rest of a value.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Returns the next extension of the list, which may have empty elements. After one that is malformed there is none.
    fn element(&mut self) -> Option<Result<Extension<'a>, Malformed>> {
        loop {
            self.skip_spaces();
            if self.0.is_empty() {
                return None;
            }
            if !self.skip(b',') {
                let extension = self.extension().filter(|_| self.0.is_empty() || self.skip(b','));
                if extension.is_none() {
                    self.0 = &[];
                }
                return Some(extension.ok_or(Malformed));
            }
        }
    }

    /// RFC 6455 §9.1: `extension = extension-token *( ";" extension-param )`, and the spaces after it
    /// ("this section is using ABNF syntax/rules from [RFC2616], including the 'implied *LWS rule'").
    fn extension(&mut self) -> Option<Extension<'a>> {
        let name = self.token()?;
        self.skip_spaces();
        let start = self.0;
        while self.skip(b';') {
            self.skip_spaces();
            self.parameter()?;
            self.skip_spaces();
        }
        let (parameters, _) = start.split_at_checked(start.len() - self.0.len())?;
        Some(Extension { name, parameters })
    }

    #[cfg(feature = "deflate")]
    fn next_parameter(&mut self) -> Option<(&'a str, Option<Cow<'a, str>>)> {
        self.skip_spaces();
        if !self.skip(b';') {
            return None;
        }
        self.skip_spaces();
        self.parameter()
    }

    /// RFC 6455 §9.1: `extension-param = token [ "=" (token | quoted-string) ]`.
    fn parameter(&mut self) -> Option<(&'a str, Option<Cow<'a, str>>)> {
        let name = self.token()?;
        self.skip_spaces();
        if !self.skip(b'=') {
            return Some((name, None));
        }
        self.skip_spaces();
        let value = if self.skip(b'"') { self.quoted_token()? } else { Cow::Borrowed(self.token()?) };
        Some((name, Some(value)))
    }

    /// RFC 6455 §9.1: "When using the quoted-string syntax variant, the value after quoted-string
    /// unescaping MUST conform to the 'token' ABNF."
    fn quoted_token(&mut self) -> Option<Cow<'a, str>> {
        let mut value = Cow::Borrowed("");
        loop {
            // What comes up to the next quote or backslash.
            let plain = self.token().unwrap_or_default();
            append(&mut value, plain);
            match self.next()? {
                b'"' => return (!value.is_empty()).then_some(value),
                b'\\' => {
                    let (escaped, rest) = self.0.split_at_checked(1)?;
                    self.0 = rest;
                    append(&mut value, as_token(escaped)?);
                }
                _ => return None,
            }
        }
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|&byte| !is_token_byte(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        as_token(token)
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

/// Copies only if there is a part before.
fn append<'a>(value: &mut Cow<'a, str>, part: &'a str) {
    if value.is_empty() {
        *value = Cow::Borrowed(part);
    } else if !part.is_empty() {
        value.to_mut().push_str(part);
    }
}

#[cfg(test)]
mod tests {
    #[cfg(feature = "deflate")]
    use alloc::{vec, vec::Vec};

    use super::*;

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

    #[cfg(feature = "deflate")]
    #[test]
    fn extensions_and_their_parameters_are_taken_apart() {
        let values = [&b"a ; b = c ,, d\t;e"[..], b"", b"f;g=\"h\\i\" ; j=\"\\k\";l"];
        let parsed: Vec<_> = extensions(values.into_iter())
            .map(|extension| extension.unwrap())
            .map(|extension| (extension.name, extension.parameters().collect::<Vec<_>>()))
            .collect();
        let value = |text: &'static str| Some(Cow::Borrowed(text));
        let expected = [
            ("a", vec![("b", value("c"))]),
            ("d", vec![("e", None)]),
            ("f", vec![("g", value("hi")), ("j", value("k")), ("l", None)]),
        ];
        assert_eq!(parsed, expected);
    }
}
