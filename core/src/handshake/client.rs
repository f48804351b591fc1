//! The client's side of the opening handshake (RFC 6455 §4.1): sends a request, and reads and judges the answer.
//!
//! A [`Target`] says what is asked for; what comes of it is a [`Connection`] or a [`HandshakeError`].

mod answer;
mod error;
#[cfg(feature = "http")]
mod extended_connect;
mod offer;
mod response;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::SocketAddr;

pub(super) use self::answer::{Answer, AnswerReader};
pub use self::error::HandshakeError;
#[cfg(feature = "http")]
pub use self::extended_connect::ExtendedConnect;
use self::offer::Offer;
pub use self::response::Response;
pub use super::connect_error::Phase;
pub use super::proxy::{InvalidProxy, ProxyError, ProxyRules, SocksFailure, Tunnel};
pub use super::redirect::{RedirectError, RedirectErrorKind};
pub use super::target::{IntoTarget, InvalidCredentials, InvalidProtocol};
pub use crate::http::MAX_BODY;

#[cfg(feature = "std")]
use super::connect_error::ConnectError;
use super::key::{accept_value, encode_key};
use super::target::Target;
use crate::config::Config;
use crate::entropy::Entropy;
use crate::http::{HeadError, Headers, token_list};
use crate::protocol::Connection;
use crate::time::Time;
#[cfg(feature = "std")]
use crate::tls::TlsError;

/// Sends a request and reads the answer: the first phase of a client's connection.
///
/// Send [`output`](Self::output), report it with [`wrote`](Self::wrote), and give what comes back to
/// [`receive`](Self::receive).
pub struct Handshake {
    output: Vec<u8>,
    written: usize,
    /// The value of `Sec-WebSocket-Accept` that answers the key.
    accept: [u8; 28],
    offer: Offer,
    deadline: Option<Time>,
    answer: AnswerReader,
    /// A redirect will be followed.
    follows: bool,
}

impl Handshake {
    /// Draws a key and writes the request into the [output](Self::output). The answer must be complete within
    /// [`Config::open_timeout`], and its head must fit into [`Config::max_head`].
    ///
    /// `entropy` moves on into the connection. With `std`, [`Target::handshake`] takes the system's.
    pub fn new(target: &Target, mut entropy: Box<dyn Entropy>, now: Time) -> Self {
        // RFC 6455 §4.1: "a nonce consisting of a randomly selected 16-byte value that has been base64-encoded
        // [..]. The nonce MUST be selected randomly for each connection."
        let mut nonce = [0; 16];
        entropy.renew();
        entropy.fill(&mut nonce);
        let (key, config) = (encode_key(nonce), &target.config);
        Self {
            output: target.encode(&key),
            written: 0,
            accept: accept_value(key.as_bytes()),
            deadline: config.open_timeout.and_then(|timeout| now.checked_add(timeout)),
            answer: AnswerReader::new(config.max_head, |status| status == 101),
            offer: Offer::new(target, entropy),
            follows: target.redirects > 0,
        }
    }

    /// Returns the limits and deadlines.
    pub fn config(&self) -> &Config {
        self.offer.config()
    }

    /// Returns the deadline for closing the sending side if the handshake fails now: [`Config::linger_timeout`], within
    /// [`Config::open_timeout`].
    pub fn hang_up_by(&self, now: Time) -> Time {
        let until = now + self.config().linger_timeout;
        self.deadline.map_or(until, |deadline| deadline.min(until))
    }

    /// Sets the address of the other end of the transport, for [`WebSocket::peer_addr`](crate::WebSocket::peer_addr).
    pub fn set_peer_addr(&mut self, addr: impl Into<Option<SocketAddr>>) {
        self.offer.set_peer_addr(addr.into());
    }

    /// Returns the bytes that are still to be sent.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// Reports that the first `n` bytes of the output were handed to the transport.
    pub fn wrote(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.output.len());
    }

    /// Takes bytes of the answer; those after a 101 stay in `input` and belong to the connection. Returns `None` if all
    /// were taken and more are needed. After a result it takes nothing more.
    ///
    /// A refusal is reported when its body is complete, or has [`MAX_BODY`] bytes; a redirect at once, without its body, if
    /// [`Target::redirects`] lets it be followed.
    pub fn receive(
        &mut self,
        now: Time,
        input: &mut &mut [u8],
    ) -> Option<Result<(Connection, Response), HandshakeError>> {
        Some(match self.answer.receive(input).or_else(|| self.redirect())? {
            Ok(Answer::Agreed(1, response)) => {
                self.check_switch(&response.headers).and_then(|()| self.offer.establish(response, now))
            }
            Ok(Answer::Agreed(..)) => Err(HandshakeError::HttpVersion),
            // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the
            // response per HTTP [RFC2616] procedures." Here: by handing it over.
            Ok(Answer::Refused(response)) => Err(HandshakeError::Refused(response)),
            Err(error) => Err(error.into()),
        })
    }

    /// Reports that the peer has ended its side of the transport. Returns the refusal whose body was being read, or
    /// [`HandshakeError::Eof`].
    pub fn receive_eof(&mut self) -> HandshakeError {
        self.finish(HandshakeError::Eof)
    }

    /// Reports that the transport has failed. Returns the refusal whose body was being read, which tells more than the
    /// reset that cut it off, or else the failure.
    #[cfg(feature = "std")]
    pub fn transport_failed(&mut self, error: std::io::Error) -> ConnectError {
        match self.receive_eof() {
            refused @ HandshakeError::Refused(_) => refused.into(),
            // The end of TLS without a `close_notify`.
            eof if error.kind() == std::io::ErrorKind::UnexpectedEof => eof.into(),
            // With TLS 1.3 a server judges a client's certificate when the client's handshake is over.
            _ => TlsError::from_io(error).map_or_else(ConnectError::Io, ConnectError::Tls),
        }
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called, if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.answer.is_done() { None } else { self.deadline }
    }

    /// Gives up if the deadline has passed: with the refusal whose body was being read, or with
    /// [`HandshakeError::Timeout`]. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) -> Option<HandshakeError> {
        if now < self.poll_timeout()? { None } else { Some(self.finish(HandshakeError::Timeout)) }
    }

    /// Nobody reads the body of a redirect that is followed, so nobody waits for it.
    fn redirect(&mut self) -> Option<Result<Answer, HeadError>> {
        if !self.follows || !self.answer.refusal()?.is_redirect() {
            return None;
        }
        self.answer.finish().map(|response| Ok(Answer::Refused(response)))
    }

    /// Ends the phase, with the refusal if there is one.
    fn finish(&mut self, error: HandshakeError) -> HandshakeError {
        self.answer.finish().map_or(error, HandshakeError::Refused)
    }

    /// Judges by RFC 6455 §4.1 whether a 101 switches to WebSocket, and answers the key.
    fn check_switch(&self, headers: &Headers) -> Result<(), HandshakeError> {
        // "If the response lacks an |Upgrade| header field or the |Upgrade| header field contains a value that
        // is not an ASCII case-insensitive match for the value "websocket"".
        let upgrade = headers.value("Upgrade").ok_or(HandshakeError::MissingUpgrade)?;
        if !upgrade.eq_ignore_ascii_case("websocket") {
            return Err(HandshakeError::WrongUpgrade(upgrade.into_owned()));
        }
        // "or the |Connection| header field doesn't contain a token that is an ASCII case-insensitive match for
        // the value "Upgrade"".
        let options = token_list(headers.values("Connection")).unwrap_or_default();
        if !options.iter().any(|option| option.eq_ignore_ascii_case("upgrade")) {
            return Err(HandshakeError::MissingConnection);
        }
        self.check_accept(headers)
    }

    fn check_accept(&self, headers: &Headers) -> Result<(), HandshakeError> {
        // "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains
        // a value other than the base64-encoded SHA-1 [..]".
        let mut accepts = headers.values("Sec-WebSocket-Accept");
        match (accepts.next(), accepts.next()) {
            (None, _) => Err(HandshakeError::MissingAccept),
            (Some(_), Some(_)) => Err(HandshakeError::RepeatedAccept),
            (Some(accept), None) if accept == self.accept => Ok(()),
            (Some(_), None) => Err(HandshakeError::WrongAccept),
        }
    }
}

debug!(Handshake => |this| unsent: this.output().len());
