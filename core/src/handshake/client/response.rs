//! A server's answer to a client's handshake.

#[cfg(feature = "http")]
mod convert;

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::http::{HeadError, Headers, parse_response};

/// The number of characters of a refusal's body that the error quotes: a line or two.
const BODY_START: usize = 200;

/// What is shorter is in every text. Basic credentials have at least so many characters.
const SHORTEST_SECRET: usize = 4;

/// A server's answer: a 101, or the refusal in [`HandshakeError::Refused`](super::HandshakeError::Refused) or
/// [`ProxyError::Refused`](super::ProxyError::Refused).
#[derive(Clone)]
pub struct Response {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) protocol: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// Parses a head. Returns the minor version of HTTP/1, and the response without its body.
    pub(super) fn parse(head: &[u8], max_head: usize) -> Result<(u8, Self), HeadError> {
        let (version, status, headers) = parse_response(head, max_head)?;
        Ok((version, Self { status, headers, protocol: None, body: Vec::new() }))
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the value of a header, repeats joined with ", "; of `Set-Cookie` the first one ([`Headers::value`]).
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.value(name)
    }

    /// Returns the value of each header of this name, in order ([`Headers::texts`]): all cookies that are set, for
    /// example.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.texts(name)
    }

    /// Returns the subprotocol that the server chose, one of those that were offered. A refusal has none.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Returns `true` if this refusal may be another answer soon: too many requests, an error of the server's, or of what is
    /// in front of it.
    pub(in crate::handshake) fn is_transient(&self) -> bool {
        matches!(self.status, 429 | 500 | 502..=504)
    }

    /// Returns the body of a refusal as far as it came, at most [`MAX_BODY`](super::MAX_BODY) bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns `true` if the server redirects. RFC 6455 §4.1: "the server might redirect the client using a 3xx status
    /// code (but clients are not required to follow them)". It is followed only if the program has asked for it: headers
    /// of its own were meant for the server that was asked.
    pub(in crate::handshake) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.headers.contains("Location")
    }

    /// Hides what was said in confidence, should it be repeated here: what is printed ends up in logs.
    pub(in crate::handshake) fn conceal(&mut self, secret: &[u8]) {
        if secret.len() < SHORTEST_SECRET {
            return;
        }
        self.body = concealed(&self.body, secret);
        let mut headers = Headers::new();
        for (name, value) in self.headers.iter() {
            headers.push(name, &concealed(value, secret));
        }
        self.headers = headers;
    }

    /// Describes a server's refusal.
    pub(super) fn fmt_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused the WebSocket with status {}", self.status)?;
        if self.is_redirect() {
            f.write_str(
                " (a redirect that was not followed: let connect do so with Target::redirects, or connect to what its \
                 Location says, if you trust that)",
            )?;
        }
        self.fmt_body(f)
    }

    /// Quotes the start of a refusal's body, which often says why. It is escaped, since it may end up in a terminal or a
    /// log.
    pub(in crate::handshake) fn fmt_body(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A character has at most four bytes.
        let bytes = self.body.trim_ascii().get(..BODY_START * 4 + 1).unwrap_or(self.body.trim_ascii());
        let text = String::from_utf8_lossy(bytes);
        match text.char_indices().nth(BODY_START) {
            None if text.is_empty() => Ok(()),
            None => write!(f, ": {text:?}"),
            Some((end, _)) => write!(f, ": {:?}..", text.get(..end).unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Response");
        debug.field("status", &self.status).field("headers", &self.headers).field("protocol", &self.protocol);
        debug.field("body", &String::from_utf8_lossy(&self.body)).finish()
    }
}

fn concealed(text: &[u8], secret: &[u8]) -> Vec<u8> {
    let (mut shown, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.windows(secret.len()).position(|bytes| bytes == secret) {
        shown.extend_from_slice(rest.get(..at).unwrap_or_default());
        shown.extend_from_slice(b"(hidden)");
        rest = rest.get(at + secret.len()..).unwrap_or_default();
    }
    shown.extend_from_slice(rest);
    shown
}

/// RFC 9112 §5.2: "A user agent that receives an obs-fold in a response message that is not within a "message/http"
/// container MUST replace each received obs-fold with one or more SP octets prior to interpreting the field value."
///
/// After the first line there is no field to continue: RFC 9112 §2.2 has "whitespace between the start-line and
/// the first header field" rejected, so the parser is left to find it.
pub(super) fn unfold(head: &mut [u8]) {
    let fields = head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |end| end + 1);
    let mut rest = head.get_mut(fields..).unwrap_or_default();
    while let Some(at) = rest.windows(3).position(|bytes| matches!(bytes, [b'\r', b'\n', b' ' | b'\t'])) {
        let (_, fold) = rest.split_at_mut(at);
        let (fold, after) = fold.split_at_mut(2);
        fold.fill(b' ');
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn a_body_is_printed_as_text() {
        let head = b"HTTP/1.1 403 Forbidden\r\nSet-Cookie: secret\r\n\r\n";
        let (_, mut refusal) = Response::parse(head, 1024).unwrap();
        refusal.body = b"Go \x1baway".to_vec();
        let printed = format!("{refusal:?}");
        assert!(printed.contains(r#""Go \u{1b}away""#) && !printed.contains("secret"), "{printed}");
    }
}
