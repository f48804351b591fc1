//! A plain HTTP response: what a server sends in place of a 101.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::request::{METHODS, Request};
use crate::http::{Headers, reason_phrase, write_field};
#[cfg(feature = "http")]
use crate::http::{append, is_of_connection};

/// A plain HTTP response: that of a [refusal](super::server::Refused::to_response), or a handler's that accepts no
/// upgrade.
#[derive(Clone)]
pub struct PlainResponse {
    status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Whether this is bellwire's own text, which no cache is to keep.
    own: bool,
    /// Whether this answers `HEAD`: the length of its body is sent, but no body. For a request that is refused before
    /// it could be handed to [`encode`](Self::encode).
    pub(super) to_head: bool,
}

impl PlainResponse {
    /// Creates a response without a body. A status outside 200–599 becomes 500.
    pub(crate) fn new(status: u16) -> Self {
        Self { status: valid_status(status), headers: Headers::new(), body: Vec::new(), own: false, to_head: false }
    }

    /// Creates a 200 with this body.
    pub(crate) fn content(content_type: &str, body: String) -> Self {
        Self { body: body.into_bytes(), ..Self::new(200) }.with_own_header("Content-Type", content_type)
    }

    /// Creates a response of bellwire itself, which no cache is to keep unless a header says otherwise: caches would
    /// keep a 404, for example, for minutes.
    pub(crate) fn own_text(status: u16, text: impl Into<String>) -> Self {
        let text = Self::content("text/plain; charset=utf-8", text.into());
        Self { status: valid_status(status), own: true, ..text }
    }

    /// Creates a 204 with the methods that are allowed.
    pub(crate) fn options() -> Self {
        Self { own: true, ..Self::new(204) }.with_own_header("Allow", METHODS)
    }

    /// Creates a 500, which does not tell the client what is wrong inside the program.
    pub(crate) fn internal_error() -> Self {
        Self::own_text(500, "Internal Server Error\n")
    }

    /// Adds a header that is known to be well-formed, and that only bellwire may set.
    pub(crate) fn with_own_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push(name, value.as_bytes());
        self
    }

    pub(crate) fn set_status(&mut self, status: u16) {
        self.status = valid_status(status);
    }

    /// Returns the status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the headers, without those that [`encode`](Self::encode) adds.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Returns the body.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the response for a server whose HTTP is another library's, which adds what frames the message. The request tells
    /// whether there is a body, as for [`encode`](Self::encode), and whether this is for HTTP/2, where headers that are
    /// HTTP/1.1's own are left out.
    #[cfg(feature = "http")]
    pub fn to_http(&self, request: Option<&Request>) -> ::http::Response<bytes::Bytes> {
        let is_http2 = request.is_some_and(Request::is_http2);
        let mut response = ::http::Response::new(bytes::Bytes::new());
        *response.status_mut() = ::http::StatusCode::from_u16(self.status).unwrap_or_default();
        let fields = response.headers_mut();
        if self.own && !self.headers.contains("Cache-Control") {
            append(fields, "Cache-Control", b"no-store");
        }
        for (name, value) in self.headers.iter() {
            // RFC 9113 §8.2.2: "An endpoint MUST NOT generate an HTTP/2 message containing connection-specific header fields."
            if !(is_http2 && is_of_connection(name)) {
                append(fields, name, value);
            }
        }
        // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
        if fields.contains_key(::http::header::UPGRADE) {
            append(fields, "Connection", b"Upgrade");
        }
        if !has_content(self.status) {
            return response;
        }
        // hyper leaves content out by itself over HTTP/1.1, not over HTTP/2.
        if self.is_to_head(request) {
            append(fields, "Content-Length", format!("{}", self.body.len()).as_bytes());
        } else {
            *response.body_mut() = bytes::Bytes::copy_from_slice(&self.body);
        }
        response
    }

    /// Returns the bytes to send; the connection is closed after them.
    ///
    /// The request tells whether there is a body: RFC 9110 §9.3.2: for `HEAD` "the server MUST NOT send content
    /// in the response". Without one it is as for `GET`, but what a [refusal](super::server::Refused::to_response) of
    /// `HEAD` makes has none.
    pub fn encode(&self, request: Option<&Request>) -> Vec<u8> {
        self.encode_dated(request, None)
    }

    /// Encodes with this `Date`, if the response has none.
    pub(crate) fn encode_dated(&self, request: Option<&Request>, date: Option<&str>) -> Vec<u8> {
        let body = if has_content(self.status) { self.body.as_slice() } else { &[] };
        let mut bytes = self.encode_head(body.len(), date);
        if !self.is_to_head(request) {
            bytes.extend_from_slice(body);
        }
        bytes
    }

    fn is_to_head(&self, request: Option<&Request>) -> bool {
        self.to_head || request.is_some_and(|request| request.method() == "HEAD")
    }

    fn encode_head(&self, length: usize, date: Option<&str>) -> Vec<u8> {
        let Self { status, headers, own, .. } = self;
        let mut head = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(*status)).into_bytes();
        // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
        let options: &[u8] = if headers.contains("Upgrade") { b"close, Upgrade" } else { b"close" };
        write_field(&mut head, "Connection", options);
        // RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code
        // of 1xx (Informational) or 204 (No Content)." That of a 304 would be the length of something else.
        if !matches!(status, 204 | 304) {
            write_field(&mut head, "Content-Length", format!("{length}").as_bytes());
        }
        // RFC 9110 §6.6.1: "An origin server with a clock [..] MUST generate a Date header field in all 2xx
        // (Successful), 3xx (Redirection), and 4xx (Client Error) responses".
        if let Some(date) = date.filter(|_| !headers.contains("Date")) {
            write_field(&mut head, "Date", date.as_bytes());
        }
        if *own && !headers.contains("Cache-Control") {
            write_field(&mut head, "Cache-Control", b"no-store");
        }
        headers.write_to(&mut head);
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl fmt::Debug for PlainResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        let mut debug = f.debug_struct("PlainResponse");
        debug.field("status", &self.status).field("headers", &self.headers).field("body", &body).finish()
    }
}

/// RFC 9110 §15.3.5, §15.3.6 and §15.4.5: 204, 205 and 304 have no content.
const fn has_content(status: u16) -> bool {
    !matches!(status, 204 | 205 | 304)
}

const fn valid_status(status: u16) -> u16 {
    match status {
        200..=599 => status,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status: u16) -> PlainResponse {
        let mut page = PlainResponse::content("text/html", "<p>".into());
        page.set_status(status);
        page
    }

    #[test]
    fn head_requests_get_the_length_without_the_body() {
        let head = Request::get("/").with_method("HEAD");
        let bytes = page(200).encode(Some(&head));
        let text = core::str::from_utf8(&bytes).unwrap();
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert!(page(200).encode(Some(&Request::get("/"))).ends_with(b"\r\n\r\n<p>"));
    }

    #[test]
    fn statuses_without_content_send_none() {
        for (status, length) in [(204, false), (205, true), (304, false)] {
            let text = String::from_utf8(page(status).encode(None)).unwrap();
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            assert_eq!(text.contains("Content-Length: 0"), length, "{text}");
            assert_eq!(text.contains("Content-Length"), length, "{text}");
        }
    }
}
