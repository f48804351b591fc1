//! Message framing: where heads and bodies end.

use alloc::vec;
use alloc::vec::Vec;

use super::grammar::{elements, is_token_byte};
use super::headers::Headers;
use crate::input::take;

/// The maximum length of a refusal's body that is kept, in bytes: enough for any error page that a person reads.
pub const MAX_BODY: usize = 64 * 1024;

/// Gathers the head of an HTTP message, up to and including its blank line.
///
/// It looks for the end of each line only in the bytes that are new, so the work is linear however the
/// bytes are cut. The head is parsed once, when it is complete.
pub(crate) struct HeadReader {
    bytes: Vec<u8>,
    /// The offset where the current line begins.
    line: usize,
    max: usize,
    leading: LeadingLine,
}

/// The state of the empty lines that may come before the head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LeadingLine {
    Allowed,
    /// One has come.
    Skipped,
    /// A second one has come: the next byte tells whether this is the PROXY protocol.
    Repeated,
    /// Responses have none.
    Refused,
}

/// The reason why this cannot become a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// It does not look like HTTP.
    Malformed,
    /// It looks like TLS.
    Tls,
    /// It begins like the PROXY protocol.
    ProxyProtocol,
    /// The first line alone is longer than the limit.
    LineTooLong,
    /// The head is longer than the limit.
    TooLarge,
    /// The head has more than this many fields.
    TooManyFields(usize),
    /// The response is of another HTTP than HTTP/1.
    Version,
}

impl HeadReader {
    /// Creates a reader of requests.
    ///
    /// RFC 9112 §2.2: "a server that is expecting to receive and parse a request-line SHOULD ignore at
    /// least one empty line (CRLF) received prior to the request-line."
    pub(crate) fn request(max: usize) -> Self {
        Self { bytes: Vec::new(), line: 0, max, leading: LeadingLine::Allowed }
    }

    /// Creates a reader of responses.
    pub(crate) fn response(max: usize) -> Self {
        Self { leading: LeadingLine::Refused, ..Self::request(max) }
    }

    /// Returns the part of the head that has come so far.
    pub(crate) fn part(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes bytes from the front of `input`, up to the blank line. Returns `None` if all were taken and more are
    /// needed.
    pub(crate) fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<Vec<u8>, HeadError>> {
        while let Some(&next) = input.first() {
            // A peer that does not speak HTTP is refused at once: it may never send a newline.
            if self.bytes.is_empty() {
                if let Some(error) = self.judge_first(next) {
                    return Some(Err(error));
                }
            }
            let room = self.max.saturating_sub(self.bytes.len());
            let newline = input.get(..room).unwrap_or(input).iter().position(|&byte| byte == b'\n');
            self.bytes.reserve(input.len().min(room));
            self.bytes.extend_from_slice(take(input, newline.map_or(room, |newline| newline + 1)));
            let complete = if newline.is_some() { self.end_line() } else { Ok(false) };
            match complete {
                Ok(false) if self.bytes.len() < self.max => {}
                Ok(false) if self.line == 0 => return Some(Err(HeadError::LineTooLong)),
                Ok(false) => return Some(Err(HeadError::TooLarge)),
                Ok(true) => return Some(Ok(core::mem::take(&mut self.bytes))),
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// Returns what is wrong with the first byte of a head, or of a line before it.
    fn judge_first(&self, byte: u8) -> Option<HeadError> {
        match (self.leading, byte) {
            // RFC 8446 §5.1: `handshake(22)`: the record of a ClientHello.
            (LeadingLine::Allowed, 0x16) => Some(HeadError::Tls),
            // The PROXY protocol's second version begins with CR LF CR LF NUL.
            (LeadingLine::Repeated, 0) => Some(HeadError::ProxyProtocol),
            (LeadingLine::Repeated, _) => Some(HeadError::Malformed),
            (_, b'\r') => None,
            (_, byte) => (!is_token_byte(byte)).then_some(HeadError::Malformed),
        }
    }

    /// Judges the line that has ended, and returns `true` if it was the blank line after the head.
    fn end_line(&mut self) -> Result<bool, HeadError> {
        let line = self.bytes.get(self.line..).unwrap_or_default();
        // RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator". May, not must: requests
        // are smuggled where servers in a row read the same bytes differently.
        let Some(line) = line.strip_suffix(b"\r\n") else { return Err(HeadError::Malformed) };
        if !line.is_empty() {
            if self.line == 0 && self.leading != LeadingLine::Refused {
                check_request_line(line)?;
            }
            self.line = self.bytes.len();
            return Ok(false);
        }
        if self.line > 0 {
            return Ok(true);
        }
        self.leading = match self.leading {
            LeadingLine::Allowed => LeadingLine::Skipped,
            LeadingLine::Skipped => LeadingLine::Repeated,
            LeadingLine::Repeated | LeadingLine::Refused => return Err(HeadError::Malformed),
        };
        self.bytes.clear();
        Ok(false)
    }
}

/// Refuses first lines after which a blank line might never come: HTTP/0.9, which is one line without a version, and
/// the PROXY protocol's first version, which is one line before the request.
fn check_request_line(line: &[u8]) -> Result<(), HeadError> {
    let last = line.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
    match line.starts_with(b"PROXY ") {
        _ if last.starts_with(b"HTTP/") => Ok(()),
        true => Err(HeadError::ProxyProtocol),
        false => Err(HeadError::Malformed),
    }
}

/// Parses the head of a request: its method, its target, and its headers.
pub(crate) fn parse_request(head: &[u8], max_head: usize) -> Result<(&str, &str, Headers), HeadError> {
    let mut fields = field_slots(head, max_head);
    let mut request = httparse::Request::new(&mut fields);
    check_parsed(request.parse(head), head, max_head)?;
    Ok((request.method.unwrap_or_default(), request.path.unwrap_or_default(), Headers::parsed(request.headers)))
}

/// Parses the head of a response: the minor version of HTTP/1, the status code, and the headers.
pub(crate) fn parse_response(head: &[u8], max_head: usize) -> Result<(u8, u16, Headers), HeadError> {
    let mut fields = field_slots(head, max_head);
    let mut response = httparse::Response::new(&mut fields);
    check_parsed(response.parse(head), head, max_head)?;
    match (response.version, response.code) {
        (Some(version), Some(status @ 100..)) => Ok((version, status, Headers::parsed(response.headers))),
        _ => Err(HeadError::Malformed),
    }
}

fn check_parsed(parsed: httparse::Result<usize>, head: &[u8], max_head: usize) -> Result<(), HeadError> {
    match parsed {
        Ok(httparse::Status::Complete(_)) => Ok(()),
        Err(httparse::Error::TooManyHeaders) => Err(HeadError::TooManyFields(max_fields(max_head))),
        Err(httparse::Error::Version) if head.starts_with(b"HTTP/") => Err(HeadError::Version),
        Ok(httparse::Status::Partial) | Err(_) => Err(HeadError::Malformed),
    }
}

/// Returns how many header fields a head of at most `max_head` bytes may have: one for each 16 bytes, and at least 100.
/// That is 1024 by default, about as many as in Node; raising [`Config::max_head`](crate::Config::max_head) raises it,
/// too.
const fn max_fields(max_head: usize) -> usize {
    let fields = max_head / 16;
    if fields > 100 { fields } else { 100 }
}

/// Makes room for the fields of a head: as many as it has lines, so that memory follows what came, up to
/// [`max_fields`].
fn field_slots<'h>(head: &[u8], max_head: usize) -> Vec<httparse::Header<'h>> {
    // No 256 of them at once: so a byte counts them, and many bytes are compared together.
    let count = |part: &[u8]| usize::from(part.iter().map(|&byte| u8::from(byte == b'\n')).sum::<u8>());
    let lines: usize = head.chunks(255).map(count).sum();
    vec![httparse::EMPTY_HEADER; lines.min(max_fields(max_head))]
}

/// How the end of a response's body is found (RFC 9112 §6.3), and how much of it is still to come.
///
/// A body that breaks its own framing ends there: its status matters more than its text.
pub(crate) enum Framing {
    Complete,
    UntilEof,
    Length(u64),
    /// The line with the size of a chunk, as far as it has come.
    ChunkSize(Vec<u8>),
    ChunkData(u64),
    /// The line break after the data of a chunk.
    ChunkEnd(Vec<u8>),
}

impl Framing {
    pub(crate) fn of(status: u16, headers: &Headers) -> Self {
        // RFC 9112 §6.3: "any response with a 1xx (Informational), 204 (No Content), or 304 (Not Modified)
        // status code is always terminated by the first empty line after the header fields".
        if matches!(status, 100..=199 | 204 | 304) {
            return Self::Complete;
        }
        // "If a message is received with both a Transfer-Encoding and a Content-Length header field, the
        // Transfer-Encoding overrides the Content-Length."
        let mut codings = elements(headers.values("Transfer-Encoding"));
        match (codings.next(), codings.next()) {
            (None, _) => {}
            (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => return Self::ChunkSize(Vec::new()),
            _ => return Self::UntilEof,
        }
        let mut lengths = elements(headers.values("Content-Length")).map(parse_length);
        match lengths.next() {
            None => Self::UntilEof,
            Some(Some(length)) if lengths.all(|other| other == Some(length)) && length > 0 => Self::Length(length),
            Some(_) => Self::Complete,
        }
    }

    pub(crate) fn is_complete(&self, body: &[u8]) -> bool {
        matches!(self, Self::Complete) || body.len() >= MAX_BODY
    }

    /// Takes bytes until the body is complete.
    pub(crate) fn receive(&mut self, input: &mut &mut [u8], body: &mut Vec<u8>) {
        while !input.is_empty() && !self.is_complete(body) {
            let state = core::mem::replace(self, Self::Complete);
            *self = state.step(input, body);
        }
    }

    fn step(self, input: &mut &mut [u8], body: &mut Vec<u8>) -> Self {
        match self {
            Self::Complete => Self::Complete,
            Self::UntilEof => {
                copy(input, body, u64::MAX);
                Self::UntilEof
            }
            Self::Length(length) => match copy(input, body, length) {
                0 => Self::Complete,
                rest => Self::Length(rest),
            },
            Self::ChunkData(length) => match copy(input, body, length) {
                0 => Self::ChunkEnd(Vec::new()),
                rest => Self::ChunkData(rest),
            },
            Self::ChunkSize(line) => match read_line(line, input) {
                Line::Partial(line) => Self::ChunkSize(line),
                Line::Whole(line) => match httparse::parse_chunk_size(&line) {
                    Ok(httparse::Status::Complete((_, size @ 1..))) => Self::ChunkData(size),
                    // The last chunk, of size 0; what follows are trailers.
                    _ => Self::Complete,
                },
                Line::TooLong => Self::Complete,
            },
            Self::ChunkEnd(line) => match read_line(line, input) {
                Line::Partial(line) => Self::ChunkEnd(line),
                Line::Whole(line) if line == b"\r\n" => Self::ChunkSize(Vec::new()),
                Line::Whole(_) | Line::TooLong => Self::Complete,
            },
        }
    }
}

/// RFC 9110 §8.6: `Content-Length = 1*DIGIT`.
fn parse_length(text: &[u8]) -> Option<u64> {
    let digits = core::str::from_utf8(text).ok().filter(|_| text.iter().all(u8::is_ascii_digit))?;
    digits.parse().ok()
}

/// Moves at most `length` bytes into the body, and returns how many are still to come.
fn copy(input: &mut &mut [u8], body: &mut Vec<u8>, length: u64) -> u64 {
    let room = MAX_BODY.saturating_sub(body.len());
    let taken = take(input, usize::try_from(length).unwrap_or(usize::MAX).min(room));
    body.extend_from_slice(taken);
    length.saturating_sub(taken.len() as u64)
}

enum Line {
    Partial(Vec<u8>),
    Whole(Vec<u8>),
    TooLong,
}

/// Takes bytes up to a line feed; a line of a chunked body needs no more than [`MAX_LINE`] of them.
fn read_line(mut line: Vec<u8>, input: &mut &mut [u8]) -> Line {
    let room = MAX_LINE.saturating_sub(line.len());
    let newline = input.iter().take(room).position(|&byte| byte == b'\n');
    line.extend_from_slice(take(input, newline.map_or(room, |newline| newline + 1)));
    match newline {
        Some(_) => Line::Whole(line),
        None if line.len() < MAX_LINE => Line::Partial(line),
        None => Line::TooLong,
    }
}

/// The maximum length of a line with the size of a chunk, in bytes: 16 digits, and extensions that are hardly ever
/// used.
const MAX_LINE: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the reader says to these pieces, and how many bytes it left.
    fn read(mut reader: HeadReader, pieces: &[&[u8]]) -> (Option<Result<Vec<u8>, HeadError>>, usize) {
        let mut left = 0;
        let mut result = None;
        for piece in pieces {
            let mut piece = piece.to_vec();
            let mut input = &mut piece[..];
            if result.is_none() {
                result = reader.receive(&mut input);
            }
            left += input.len();
        }
        (result, left)
    }

    fn read_in_every_way(max: usize, wire: &[u8]) -> (Option<Result<Vec<u8>, HeadError>>, usize) {
        let whole = read(HeadReader::request(max), &[wire]);
        for at in 0..=wire.len() {
            let (left, right) = wire.split_at(at);
            assert_eq!(read(HeadReader::request(max), &[left, right]), whole, "cut at {at}");
        }
        assert_eq!(read(HeadReader::request(max), &wire.chunks(1).collect::<Vec<_>>()), whole);
        whole
    }

    #[test]
    fn a_head_ends_with_its_blank_line_and_nothing_after_it_is_taken() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
        assert_eq!(read_in_every_way(100, head), (Some(Ok(head.to_vec())), 0));
        assert_eq!(read_in_every_way(100, &[head, &b"\r\n\r\nrest"[..]].concat()), (Some(Ok(head.to_vec())), 8));
        assert_eq!(read_in_every_way(100, b"GET / HTTP/1.1\r\nA: b\r\n\r"), (None, 0));
    }

    #[test]
    fn one_empty_line_before_a_request_is_skipped_and_no_more() {
        let head = b"G / HTTP/1.1\r\n\r\n";
        assert_eq!(read_in_every_way(100, &[b"\r\n", &head[..]].concat()), (Some(Ok(head.to_vec())), 0));
        assert_eq!(read_in_every_way(100, b"\r\n\r\n").0, None);
        assert_eq!(read_in_every_way(100, b"\r\n\r\nG").0, Some(Err(HeadError::Malformed)));
        assert_eq!(read_in_every_way(100, b"\r\n\r\n\r\n").0, Some(Err(HeadError::Malformed)));
        assert_eq!(read(HeadReader::response(100), &[b"\r\nH"]).0, Some(Err(HeadError::Malformed)));
    }

    #[test]
    fn a_bare_line_feed_is_refused_at_once() {
        for wire in [&b"GET / HTTP/1.1\n"[..], b"GET / HTTP/1.1\r\nA: b\n", b"GET / HTTP/1.1\r\n\n", b"\n", b"\r\n\n"] {
            assert_eq!(read_in_every_way(100, wire).0, Some(Err(HeadError::Malformed)), "{wire:?}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused_at_its_first_byte() {
        assert_eq!(read(HeadReader::request(100), &[b"\x16"]).0, Some(Err(HeadError::Tls)));
        assert_eq!(read(HeadReader::response(100), &[b"\x16"]).0, Some(Err(HeadError::Malformed)));
        assert_eq!(read(HeadReader::request(100), &[b"\x15"]).0, Some(Err(HeadError::Malformed)));
        assert_eq!(read(HeadReader::request(100), &[b"\r\n", b" "]).0, Some(Err(HeadError::Malformed)));
    }

    #[test]
    fn the_proxy_protocol_is_told_apart_in_either_version() {
        let v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c";
        assert_eq!(read_in_every_way(100, v2).0, Some(Err(HeadError::ProxyProtocol)));
        for line in ["PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP6 ::1 ::1 1 2\r\n", "PROXY UNKNOWN\r\n"] {
            let wire = [line.as_bytes(), b"GET / HTTP/1.1\r\n\r\n"].concat();
            assert_eq!(read_in_every_way(100, &wire).0, Some(Err(HeadError::ProxyProtocol)), "{line}");
        }
        assert!(matches!(read_in_every_way(100, b"PROXY / HTTP/1.1\r\n\r\n").0, Some(Ok(_))), "a method of that name");
    }

    #[test]
    fn a_request_line_without_a_version_is_refused_where_it_ends() {
        for line in ["GET /\r\n", "GET\r\n", "GET / HTTP\r\n", "GET / http/1.1\r\n"] {
            assert_eq!(read_in_every_way(100, line.as_bytes()).0, Some(Err(HeadError::Malformed)), "{line}");
        }
    }

    #[test]
    fn the_limit_is_exact_however_the_bytes_are_cut() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\n";
        assert_eq!(read_in_every_way(head.len(), head).0, Some(Ok(head.to_vec())));
        assert_eq!(read_in_every_way(head.len() - 1, head), (Some(Err(HeadError::TooLarge)), 1));
        assert_eq!(read_in_every_way(16, head), (Some(Err(HeadError::TooLarge)), head.len() - 16));
        assert_eq!(read_in_every_way(15, head), (Some(Err(HeadError::LineTooLong)), head.len() - 15));
        assert_eq!(read_in_every_way(0, head), (Some(Err(HeadError::LineTooLong)), head.len()));
    }

    #[test]
    fn a_head_fed_byte_by_byte_is_refused_at_exactly_the_limit() {
        let mut reader = HeadReader::request(16 * 1024);
        let mut fed = 0;
        let result = loop {
            fed += 1;
            if let Some(result) = reader.receive(&mut &mut [b'x'][..]) {
                break result;
            }
        };
        assert_eq!((fed, result), (16 * 1024, Err(HeadError::LineTooLong)));
    }
}
