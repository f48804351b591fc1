//! Header fields, in the order of the wire.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::slice;

use super::grammar::{is_token, trim};

/// The header fields of a request or response, in the order of the wire, repeats kept.
///
/// Names are compared without regard to ASCII case (RFC 9110 §5.1). Values are bytes: HTTP does not say
/// in which encoding they are.
#[derive(Clone, Default)]
pub struct Headers {
    /// All names and values, one after the other: two allocations, however many fields there are.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// A field begins where the one before it ends.
#[derive(Clone, Copy)]
struct Field {
    name_end: usize,
    end: usize,
}

/// The reason why a header was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidHeader {
    /// The name is not a token (RFC 9110 §5.6.2).
    Name,
    /// The value has CR, LF, NUL or another control character (RFC 9110 §5.5).
    Value,
    /// The header of this name is written by bellwire: it belongs to the handshake or frames the message.
    Reserved(String),
}

impl Headers {
    /// Creates an empty list.
    pub const fn new() -> Self {
        Self { text: Vec::new(), fields: Vec::new() }
    }

    /// Returns the number of fields; a name that comes twice counts twice.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns `true` if there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns an iterator over all fields as name and value, in order. Names keep the case in which they were written.
    pub fn iter(&self) -> HeadersIter<'_> {
        HeadersIter { text: &self.text, start: 0, fields: self.fields.iter() }
    }

    /// Returns the value of a header as text, or `None` if there is none of that name.
    ///
    /// RFC 9110 §5.3: repeats are combined "by appending each subsequent field line value to the initial field line
    /// value in order, separated by a comma". Two headers are not lists: `Cookie` lines are joined with "; " (RFC 9113
    /// §8.2.3), leaving out empty ones, and of several `Set-Cookie` lines this is the first, since they cannot be
    /// combined: see [`texts`](Self::texts). Bytes that are not UTF-8 are replaced by U+FFFD.
    pub fn value(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self.values(name).map(String::from_utf8_lossy);
        let mut joined = values.next()?;
        if name.eq_ignore_ascii_case("Set-Cookie") {
            return Some(joined);
        }
        let is_cookie = name.eq_ignore_ascii_case("Cookie");
        let separator = if is_cookie { "; " } else { ", " };
        for value in values.filter(|value| !(is_cookie && value.is_empty())) {
            if is_cookie && joined.is_empty() {
                joined = value;
                continue;
            }
            let text = joined.to_mut();
            text.push_str(separator);
            text.push_str(&value);
        }
        Some(joined)
    }

    /// Returns the value of each field of this name as text, in order; bytes that are not UTF-8 are replaced by U+FFFD.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::proto::Headers;
    ///
    /// let mut headers = Headers::new();
    /// headers.append("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT")?;
    /// headers.append("Set-Cookie", "b=2")?;
    /// let cookies: Vec<_> = headers.texts("set-cookie").collect();
    /// assert_eq!(cookies, ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
    /// # Ok::<(), bellwire::proto::InvalidHeader>(())
    /// ```
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.values(name).map(String::from_utf8_lossy)
    }

    /// Returns the value of each field of this name, in order.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = self.iter().raw();
        fields.filter(move |(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Returns `true` if there is a field of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.values(name).next().is_some()
    }

    /// Returns the value of a field that comes exactly once.
    pub(crate) fn single(&self, name: &str) -> Option<&[u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// Appends a field. Spaces and tabs around the value are not part of it (RFC 9110 §5.5).
    ///
    /// # Errors
    /// [`InvalidHeader::Name`] if the name is not a token, [`InvalidHeader::Value`] if the value has
    /// control characters other than the tab: a value cannot inject another header or end the head.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), InvalidHeader> {
        if !is_token(name.as_bytes()) {
            return Err(InvalidHeader::Name);
        }
        let value = trim(value.as_ref());
        // RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous".
        if value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
            return Err(InvalidHeader::Value);
        }
        self.push(name, value);
        Ok(())
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        let mut kept = Self::new();
        for (other, value) in self.iter().filter(|(other, _)| !other.eq_ignore_ascii_case(name)) {
            kept.push(other, value);
        }
        *self = kept;
    }

    /// Appends a field that is known to be well-formed.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.text.extend_from_slice(name.as_bytes());
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.fields.push(Field { name_end, end: self.text.len() });
    }

    /// Copies the headers of a head that `httparse` found well-formed, into exactly as much memory as they need.
    pub(super) fn parsed(fields: &[httparse::Header<'_>]) -> Self {
        let bytes = fields.iter().map(|field| field.name.len() + field.value.len()).sum();
        let mut headers = Self::with_capacity(fields.len(), bytes);
        for field in fields {
            headers.push(field.name, field.value);
        }
        headers
    }

    /// Creates an empty list with room for so many fields, whose names and values are so long in all.
    pub(super) fn with_capacity(fields: usize, bytes: usize) -> Self {
        Self { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields) }
    }

    /// Writes each field as a line of a head.
    pub(crate) fn write_to(&self, head: &mut Vec<u8>) {
        for (name, value) in self {
            write_field(head, name, value);
        }
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = (&'a str, &'a [u8]);
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// An iterator over the fields of [`Headers`], as names and values.
#[derive(Clone)]
pub struct HeadersIter<'a> {
    text: &'a [u8],
    start: usize,
    fields: slice::Iter<'a, Field>,
}

impl<'a> HeadersIter<'a> {
    /// Names as bytes: to look for one, none has to be checked for UTF-8.
    fn raw(mut self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        core::iter::from_fn(move || self.next_raw())
    }

    fn next_raw(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let field = self.fields.next()?;
        let name = self.text.get(self.start..field.name_end).unwrap_or_default();
        let value = self.text.get(field.name_end..field.end).unwrap_or_default();
        self.start = field.end;
        Some((name, value))
    }
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = (&'a str, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.next_raw()?;
        Some((core::str::from_utf8(name).unwrap_or_default(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.fields.size_hint()
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

/// Leaves out values that carry secrets, as [`Headers`] does.
impl fmt::Debug for HeadersIter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_fields(self.clone(), f)
    }
}

/// Headers whose values must not end up in a log.
const SECRETS: [&str; 4] = ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"];

/// Leaves out values that carry secrets: what is printed ends up in logs.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt_fields(self.iter(), f)
    }
}

fn fmt_fields(fields: HeadersIter<'_>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let shown = fields.map(|(name, value)| {
        let secret = SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
        (name, if secret { "(hidden)".into() } else { String::from_utf8_lossy(value) })
    });
    f.debug_map().entries(shown).finish()
}

impl fmt::Display for InvalidHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str(
                "the header's name is not a token: use letters, digits and !#$%&'*+-.^_`|~ only, and at least one",
            ),
            Self::Value => f.write_str(
                "the header's value has a control character (CR, LF, NUL, ..): remove it, or encode the value",
            ),
            Self::Reserved(name) => write!(f, "the header `{name}` is written by bellwire itself: do not set it"),
        }
    }
}

impl core::error::Error for InvalidHeader {}

/// Whether a header is HTTP/1.1's own.
///
/// RFC 9113 §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields. This
/// includes the Connection header field and those listed as having connection-specific semantics in Section 7.6.1 of
/// [HTTP] (that is, Proxy-Connection, Keep-Alive, Transfer-Encoding, and Upgrade)."
pub(crate) fn is_of_connection(name: &str) -> bool {
    let names = ["Connection", "Proxy-Connection", "Keep-Alive", "Transfer-Encoding", "Upgrade"];
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Writes `name: value` as a line of a head.
pub(crate) fn write_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append(name, value).unwrap();
        }
        headers
    }

    #[test]
    fn secrets_are_not_printed() {
        let mut headers = Headers::new();
        headers.append("authorization", "Bearer 42").unwrap();
        headers.append("COOKIE", "session=42").unwrap();
        headers.append("Accept", "text/html").unwrap();
        let printed = std::format!("{headers:?}");
        assert!(!printed.contains("42") && printed.contains("text/html"), "{printed}");
        assert_eq!(std::format!("{:?}", headers.iter()), printed);
    }

    #[test]
    fn headers_keep_order_repeats_and_case() {
        let headers = headers(&[("B", "1"), ("a", "2"), ("b", "3"), ("c", "")]);
        let fields: Vec<_> = headers.iter().collect();
        assert_eq!(fields, [("B", &b"1"[..]), ("a", b"2"), ("b", b"3"), ("c", b"")]);
        assert_eq!(headers.value("b").unwrap(), "1, 3");
        assert_eq!(headers.value("A").unwrap(), "2");
        assert_eq!(headers.value("C").unwrap(), "");
        assert_eq!(headers.value("d"), None);
        assert_eq!(headers.values("B").collect::<Vec<_>>(), [b"1", b"3"]);
        assert_eq!((headers.len(), headers.is_empty(), Headers::new().is_empty()), (4, false, true));
        assert!(headers.contains("B") && headers.contains("b") && !headers.contains("d"));
        let mut names = vec![];
        for (name, _) in &headers {
            names.push(name);
        }
        assert_eq!((names, headers.iter().len()), (vec!["B", "a", "b", "c"], 4));
    }

    #[test]
    fn h8_cookies_are_no_lists_with_commas() {
        let headers = headers(&[
            ("cookie", "a=1"),
            ("Set-Cookie", "x=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT"),
            ("Cookie", "b=2; c=3"),
            ("set-cookie", "y=2"),
        ]);
        assert_eq!(headers.value("COOKIE").unwrap(), "a=1; b=2; c=3");
        assert_eq!(headers.value("SET-COOKIE").unwrap(), "x=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT");
        let all: Vec<_> = headers.texts("Set-Cookie").collect();
        assert_eq!(all, ["x=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "y=2"]);
        assert_eq!((headers.texts("Cookie").count(), headers.texts("none").count()), (2, 0));
    }

    #[test]
    fn headers_of_a_name_are_removed() {
        let mut headers = headers(&[("B", "1"), ("a", "2"), ("b", "3"), ("c", "4")]);
        headers.remove("b");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", &b"2"[..]), ("c", b"4")]);
    }

    #[test]
    fn header_values_are_trimmed_and_need_not_be_utf8() {
        let mut headers = Headers::new();
        headers.append("x", b" \ta\xff b\t ").unwrap();
        assert_eq!(headers.values("x").next(), Some(&b"a\xff b"[..]));
        assert_eq!(headers.value("x").unwrap(), "a\u{fffd} b");
    }

    #[test]
    fn headers_cannot_be_injected() {
        let mut headers = Headers::new();
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0", "(a)", "a\n"] {
            assert_eq!(headers.append(name, "x"), Err(InvalidHeader::Name), "{name:?}");
        }
        for value in ["a\r\nb: c", "a\nb", "a\rb", "\0", "\x7f", "\x1b[0m", "a\r", "\n"] {
            assert_eq!(headers.append("x", value), Err(InvalidHeader::Value), "{value:?}");
        }
        assert!(headers.is_empty());
        headers.append("x", "tab\tis fine").unwrap();
    }
}
