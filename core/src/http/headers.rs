//! The parts of HTTP that an opening handshake needs: header lists, token lists, authorities.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

/// The header fields of a request or response, in the order of the wire, repeats kept.
///
/// Names are compared without regard to ASCII case (RFC 9110 §5.1). Values are bytes: HTTP does not say
/// in which encoding they are.
#[derive(Clone, Default)]
pub struct Headers {
    /// Names and values, one behind the other: two allocations, however many fields there are.
    text: Vec<u8>,
    fields: Vec<Field>,
}

/// A field begins where the one before it ends.
#[derive(Clone, Copy)]
struct Field {
    name_end: usize,
    end: usize,
}

/// Why a header was refused. Nothing was changed.
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
    /// No headers.
    pub const fn new() -> Self {
        Self { text: Vec::new(), fields: Vec::new() }
    }

    /// How many fields there are; a name that comes twice counts twice.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Every field as name and value, in order. Names are in the case in which they were written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let mut start = 0;
        self.fields.iter().map(move |field| {
            let name = self.text.get(start..field.name_end).unwrap_or_default();
            let value = self.text.get(field.name_end..field.end).unwrap_or_default();
            start = field.end;
            (core::str::from_utf8(name).unwrap_or_default(), value)
        })
    }

    /// The value of a header as text, or `None` if there is none of that name.
    ///
    /// RFC 9110 §5.3: repeats are combined "by appending each subsequent field line value to the initial
    /// field line value in order, separated by a comma". Two headers are no such lists: `Cookie`s are joined with "; "
    /// (RFC 9113 §8.2.3), without the empty ones, and of several `Set-Cookie`s this is the first: they cannot be combined,
    /// see [`texts`](Self::texts). What is not UTF-8 is replaced by U+FFFD.
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

    /// The value of each field of this name as text, in order; what is not UTF-8 is replaced by U+FFFD.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::http::Headers;
    ///
    /// let mut headers = Headers::new();
    /// headers.append("Set-Cookie", "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT")?;
    /// headers.append("Set-Cookie", "b=2")?;
    /// let cookies: Vec<_> = headers.texts("set-cookie").collect();
    /// assert_eq!(cookies, ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"]);
    /// # Ok::<(), bellwire::http::InvalidHeader>(())
    /// ```
    pub fn texts<'a>(&'a self, name: &str) -> impl Iterator<Item = Cow<'a, str>> {
        self.values(name).map(String::from_utf8_lossy)
    }

    /// The value of each field of this name, in order.
    pub fn values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Adds a field behind the others. Spaces and tabs around the value are not part of it (RFC 9110 §5.5).
    ///
    /// # Errors
    /// [`InvalidHeader::Name`] if the name is not a token, [`InvalidHeader::Value`] if the value has
    /// control characters other than the tab: nobody can inject a header, or end the head, through it.
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

    /// Adds a field that is known to be well-formed.
    pub(crate) fn push(&mut self, name: &str, value: &[u8]) {
        self.text.extend_from_slice(name.as_bytes());
        let name_end = self.text.len();
        self.text.extend_from_slice(value);
        self.fields.push(Field { name_end, end: self.text.len() });
    }

    /// The headers of a head that `httparse` found well-formed, in exactly the memory that they need.
    pub(crate) fn parsed(fields: &[httparse::Header<'_>]) -> Self {
        let bytes = fields.iter().map(|field| field.name.len() + field.value.len()).sum();
        let mut headers = Self { text: Vec::with_capacity(bytes), fields: Vec::with_capacity(fields.len()) };
        for field in fields {
            headers.push(field.name, field.value);
        }
        headers
    }

    /// Writes each field as a line of a head.
    pub(crate) fn write_to(&self, head: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            write_field(head, name, value);
        }
    }
}

/// What a log must not show.
const SECRETS: [&str; 4] = ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"];

/// Values that carry secrets are left out: what is printed ends in logs.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(name, value)| {
            let secret = SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            (name, if secret { "(hidden)".into() } else { String::from_utf8_lossy(value) })
        });
        f.debug_map().entries(shown).finish()
    }
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

/// The most of a value from outside that is quoted in a text, in bytes.
const MAX_SHOWN: usize = 120;

/// A value from outside, quoted for a text that ends in a log or in a browser: nothing in it is a control character, a
/// quote or a tag, and it is cut where it is too long.
pub(crate) fn shown(text: &str) -> Shown<'_> {
    Shown(text)
}

pub(crate) struct Shown<'a>(&'a str);

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

/// Writes `name: value` as a line of a head.
pub(crate) fn write_field(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

/// Whether these bytes are a token: RFC 9110 §5.6.2: "token = 1*tchar".
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// The elements of a list that may be spread over several header lines, without the empty ones.
///
/// RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
pub(crate) fn elements<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.split(|&byte| byte == b',')).map(trim).filter(|element| !element.is_empty())
}

/// The elements of a `#token` list, or `None` if one of them is not a token.
pub(crate) fn token_list<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Vec<&'a str>> {
    elements(values).map(as_token).collect()
}

/// These bytes as text, if they are a token.
pub(crate) fn as_token(bytes: &[u8]) -> Option<&str> {
    core::str::from_utf8(bytes).ok().filter(|_| is_token(bytes))
}

/// Without the spaces and tabs around it (RFC 9110 §5.6.3: OWS).
fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Whether these values make up an `extension-list` of at least one extension (RFC 6455 §9.1).
pub(crate) fn is_extension_list<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> bool {
    // RFC 6455 §9.1: "this header field MAY be split or combined across multiple lines".
    values.try_fold(0, |count, value| Some(count + count_extensions(value)?)).is_some_and(|count: usize| count > 0)
}

/// How many extensions a header line lists, or `None` if it is malformed.
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

/// What is left of a header value.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// RFC 6455 §9.1: `extension = extension-token *( ";" extension-param )`, and the spaces behind it
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

/// A host and maybe a port, as `Host` and URIs have them (RFC 3986 §3.2 without user information).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// Never empty; an IPv6 address is in brackets.
    pub(crate) host: &'a str,
    /// `None` if there is none, or an empty one: RFC 3986 §3.2.3: "port = *DIGIT".
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    NoHost,
    Host,
    Port,
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, AuthorityError> {
        // The colons of an IPv6 address are inside brackets: RFC 3986 §3.2.2:
        // IP-literal = "[" ( IPv6address / IPvFuture  ) "]". Nobody ever assigned an IPvFuture.
        let end = match text.rfind(']') {
            Some(bracket) => bracket + 1,
            None => text.find(':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at_checked(end).ok_or(AuthorityError::Host)?;
        if host.is_empty() {
            return Err(AuthorityError::NoHost);
        }
        if !is_host(host) {
            return Err(AuthorityError::Host);
        }
        Ok(Self { host, port: parse_port(port)? })
    }

    /// Whether both name the same host and port, if `default_port` is meant where there is none.
    pub(crate) fn same(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// RFC 3986 §3.2.2: `host = IP-literal / IPv4address / reg-name`, but not empty.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(is_ipv6),
        None => host.bytes().all(|byte| is_name_byte(byte) || byte == b'%') && is_percent_encoded(host),
    }
}

/// RFC 6874 §2: `IPv6addrz = IPv6address "%25" ZoneID`, `ZoneID = 1*( unreserved / pct-encoded )`.
fn is_ipv6(literal: &str) -> bool {
    let (address, zone) = literal.split_once("%25").map_or((literal, None), |(address, zone)| (address, Some(zone)));
    let is_zone_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
    let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(is_zone_byte) && is_percent_encoded(zone);
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}

/// What is behind a host: nothing, or a colon and digits.
fn parse_port(text: &str) -> Result<Option<u16>, AuthorityError> {
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() { Ok(None) } else { Err(AuthorityError::Host) };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    digits.parse().map(Some).map_err(|_| AuthorityError::Port)
}

/// RFC 3986 §2.3 and §2.2: `unreserved / sub-delims`.
pub(crate) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Whether two hexadecimal digits follow every `%`: RFC 3986 §2.1: `pct-encoded = "%" HEXDIG HEXDIG`.
pub(crate) fn is_percent_encoded(text: &str) -> bool {
    text.split('%')
        .skip(1)
        .all(|rest| rest.as_bytes().first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

/// The reason phrase of a status code, empty if it has none here: RFC 9112 §4: "A client SHOULD ignore
/// the reason-phrase content".
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        414 => "URI Too Long",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// A header of a name that only bellwire may write.
pub(crate) fn reserved(name: &str) -> InvalidHeader {
    InvalidHeader::Reserved(name.to_string())
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
    }

    #[test]
    fn h4_what_is_shown_is_escaped_and_short() {
        assert_eq!(shown("http://a:1").to_string(), "\"http://a:1\"");
        assert_eq!(shown("a\"b\\\r\n<b>\x1bä").to_string(), r#""a\"b\\\r\n\x3cb\x3e\x1b\xc3\xa4""#);
        let long = shown(&"x".repeat(1000)).to_string();
        assert!(long.len() < 200 && long.ends_with("x\".."), "{long}");
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

    #[test]
    fn authorities_are_hosts_with_maybe_a_port() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[::1]:0080", "[::1]", Some(80)),
            ("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", Some(1)),
            ("a_b~c%20!", "a_b~c%20!", None),
            ("[fe80::1%25eth0]", "[fe80::1%25eth0]", None),
            ("[fe80::1%25en%2f0]:81", "[fe80::1%25en%2f0]", Some(81)),
        ] {
            assert_eq!(Authority::parse(text), Ok(Authority { host, port }), "{text}");
        }
        for (text, error) in [
            ("", AuthorityError::NoHost),
            (":80", AuthorityError::NoHost),
            ("::1", AuthorityError::NoHost),
            ("a:b", AuthorityError::Port),
            ("a:65536", AuthorityError::Port),
            ("a:+80", AuthorityError::Port),
            ("a:80:80", AuthorityError::Port),
            ("a: 80", AuthorityError::Port),
            ("2001:db8::1", AuthorityError::Port),
            ("[::1", AuthorityError::Host),
            ("[]", AuthorityError::Host),
            ("[::1]x", AuthorityError::Host),
            ("[fe80::1%25]", AuthorityError::Host),
            ("[fe80::1%eth0]", AuthorityError::Host),
            ("[fe80::1%25a b]", AuthorityError::Host),
            ("[fe80::1%25a%2]", AuthorityError::Host),
            ("[1.2.3.4%25eth0]", AuthorityError::Host),
            ("x[::1]", AuthorityError::Host),
            ("[1.2.3.4]", AuthorityError::Host),
            ("a b", AuthorityError::Host),
            ("user@a", AuthorityError::Host),
            ("a/b", AuthorityError::Host),
            ("a%2", AuthorityError::Host),
            ("a%zz", AuthorityError::Host),
            ("ä", AuthorityError::Host),
        ] {
            assert_eq!(Authority::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn authorities_are_the_same_with_default_ports_and_in_any_case() {
        let same = |left, right, port| Authority::parse(left).unwrap().same(Authority::parse(right).unwrap(), port);
        assert!(same("Example.com", "example.COM:80", 80));
        assert!(same("a:443", "a:", 443));
        assert!(!same("a:80", "a", 443));
        assert!(!same("a", "b", 80));
    }
}
