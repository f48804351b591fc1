//! CONNECT (RFC 9110 §9.3.6): the handshake with an HTTP proxy.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::ProxyError;
use super::tunnel::Host;
use crate::handshake::client::{Answer, AnswerReader, Response};
use crate::http::{Headers, write_field};

pub(super) struct Connect {
    output: Vec<u8>,
    written: usize,
    answer: AnswerReader,
    /// What the proxy may repeat in its answer.
    secret: Vec<u8>,
}

impl Connect {
    pub(super) fn new(headers: &Headers, host: Host<'_>, port: u16, max_head: usize) -> Self {
        // RFC 9110 §9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will
        // switch to tunnel mode immediately after the response header section". And: "A client MUST ignore any
        // Content-Length or Transfer-Encoding header fields received in a successful response to CONNECT."
        let answer = AnswerReader::new(max_head, |status| matches!(status, 200..=299));
        Self { output: encode(headers, host, port), written: 0, answer, secret: secret(headers) }
    }

    pub(super) fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    pub(super) fn wrote(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.output.len());
    }

    pub(super) fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<(), ProxyError>> {
        Some(match self.answer.receive(input)? {
            // Many a proxy answers in HTTP/1.0, which is all that a tunnel needs.
            Ok(Answer::Agreed(..)) => Ok(()),
            Ok(Answer::Refused(response)) => Err(self.refused(response)),
            Err(error) => Err(error.into()),
        })
    }

    /// Ends it. Returns the refusal whose body was being read.
    pub(super) fn finish(&mut self) -> Option<ProxyError> {
        let response = self.answer.finish()?;
        Some(self.refused(response))
    }

    fn refused(&self, mut response: Box<Response>) -> ProxyError {
        response.conceal(&self.secret);
        ProxyError::Refused(response)
    }
}

/// Returns the credentials, without the name of their scheme.
fn secret(headers: &Headers) -> Vec<u8> {
    let value = headers.values("Proxy-Authorization").next().unwrap_or_default();
    value.splitn(2, |&byte| byte == b' ').last().unwrap_or_default().into()
}

/// RFC 9110 §9.3.6: "CONNECT uses a special form of request target, unique to this method, consisting of only the host
/// and port number of the tunnel destination, separated by a colon. There is no default port; a client MUST send the
/// port number even if the CONNECT request is based on a URI reference that contains an authority component with an
/// elided port".
fn encode(headers: &Headers, host: Host<'_>, port: u16) -> Vec<u8> {
    let authority = alloc::format!("{}:{port}", host.bracketed());
    let mut head = alloc::format!("CONNECT {authority} HTTP/1.1\r\n").into_bytes();
    // RFC 9112 §3.2: "A client MUST send a Host header field [..] in all HTTP/1.1 request messages. If the target URI
    // includes an authority component, then a client MUST send a field value for Host that is identical to that
    // authority component".
    write_field(&mut head, "Host", authority.as_bytes());
    headers.write_to(&mut head);
    head.extend_from_slice(b"\r\n");
    head
}
