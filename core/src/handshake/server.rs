//! The server's side of the opening handshake (RFC 6455 §4.2).
//!
//! [`Handshake`] reads a request, or finds a [`Refusal`]. A handler looks at the [`Request`] and answers
//! with plain HTTP ([`PlainResponse`]), or accepts: [`Request::accept`] checks the rest of the handshake and
//! makes the [`Connection`].
//!
//! Each rule that a client breaks has its own refusal, and each refusal an answer that says what to do.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use super::plain::PlainResponse;
pub use super::refusal::{Refusal, Refused};
pub use super::request::{BasicAuth, Bearer};

use super::key::{EXTENSIONS, VERSION, accept_value, check_reserved, is_key};
use super::origin::check_origin;
use super::request::{Request, is_websocket, parse};
use crate::config::Config;
use crate::context::Compression;
use crate::context::SocketContext;
#[cfg(feature = "http")]
use crate::http::append;
use crate::http::{
    HeadReader, Headers, InvalidHeader, is_extension_list, is_of_connection, is_token_list, lists, token_list,
    write_field,
};
use crate::protocol::Connection;
use crate::time::Time;

/// Returns the `Sec-WebSocket-Accept` of the 101 that answers a request with this `Sec-WebSocket-Key` (RFC 6455
/// §4.2.2): for programs that answer the request themselves and hand the stream over. The key is not checked.
///
/// ```
/// # use bellwire_core as bellwire;
/// // The example of RFC 6455 §1.3.
/// assert_eq!(bellwire::proto::server::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    accept_value(key.trim().as_bytes()).map(char::from).iter().collect()
}

/// Reads a request: the first phase of a server's connection.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Config;
/// use bellwire::proto::Time;
/// use bellwire::proto::server::{Accept, Handshake};
/// use std::sync::Arc;
///
/// let config = Arc::new(Config::default());
/// let mut handshake = Handshake::new(config.clone(), Time::ZERO);
/// let mut bytes = *b"GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
///     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
/// let request = handshake.receive(&mut &mut bytes[..]).unwrap()?;
/// assert_eq!(request.path(), "/chat");
/// let connection = request.accept(&Accept::new(), config, Time::ZERO)?;
/// # drop(connection);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Handshake {
    /// `None` after a result.
    reader: Option<HeadReader>,
    config: Arc<Config>,
    deadline: Option<Time>,
}

impl Handshake {
    /// Starts to read a request, which must be complete within [`Config::open_timeout`] and whose head must fit into
    /// [`Config::max_head`].
    pub fn new(config: Arc<Config>, now: Time) -> Self {
        Self {
            reader: Some(HeadReader::request(config.max_head)),
            deadline: config.open_timeout.and_then(|timeout| now.checked_add(timeout)),
            config,
        }
    }

    /// Takes bytes up to the blank line that ends a request; those after it stay in `input` and belong to the
    /// connection. Returns `None` if all were taken and more are needed. After a result it takes nothing more.
    pub fn receive(&mut self, input: &mut &mut [u8]) -> Option<Result<Request, Refused>> {
        let head = self.reader.as_mut()?.receive(input)?;
        let reader = self.reader.take()?;
        Some(match head {
            Ok(head) => parse(head, self.config.max_head).map(|request| self.with_proxies(request)),
            Err(error) => Err(Refused::of_part(error.into(), reader.part())),
        })
    }

    fn with_proxies(&self, mut request: Request) -> Request {
        request.set_trusted_proxies(&*self.config.trusted_proxies);
        request
    }

    /// Reports that the peer ended its side of the transport before the request was complete: there is nothing to
    /// answer.
    pub fn receive_eof(&mut self) {
        self.reader = None;
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) must be called, if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.reader.as_ref().and(self.deadline)
    }

    /// Refuses with 408 if the request is not complete and its deadline has passed. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) -> Option<Refused> {
        if now < self.poll_timeout()? {
            return None;
        }
        let reader = self.reader.take()?;
        Some(Refused::of_part(Refusal::Timeout, reader.part()))
    }
}

/// Leaves out what was read: it may have secrets in it.
impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let received = self.reader.as_ref().map(|reader| reader.part().len());
        f.debug_struct("Handshake").field("received", &received).finish_non_exhaustive()
    }
}

/// What a 101 says besides the headers of the handshake itself: a subprotocol, and more headers.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    pub(crate) protocol: Option<String>,
    pub(crate) headers: Headers,
}

impl Accept {
    /// Creates an answer without subprotocol and headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses a subprotocol, one of those that the client offers.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    /// As [`Headers::append`], and [`InvalidHeader::Reserved`] for the headers of the handshake and those that frame
    /// the message.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        check_reserved(name)?;
        self.headers.append(name, value)?;
        Ok(self)
    }
}

/// The reason why an upgrade was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptError {
    /// The client broke a rule.
    Refused(Refused),
    /// This subprotocol was chosen, and the client does not offer it: a mistake in the program, answered with 500.
    /// RFC 6455 §4.2.2: "The value chosen MUST be derived from the client's handshake".
    ProtocolNotOffered(String),
}

impl AcceptError {
    /// Returns the answer to the client.
    pub fn to_response(&self) -> PlainResponse {
        match self {
            Self::Refused(refusal) => refusal.to_response(),
            // The client is not told what is wrong inside the program.
            Self::ProtocolNotOffered(_) => PlainResponse::internal_error(),
        }
    }
}

impl fmt::Display for AcceptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::ProtocolNotOffered(protocol) => write!(
                f,
                "the client does not offer the chosen subprotocol {protocol:?}: choose with Request::select_protocol"
            ),
        }
    }
}

impl core::error::Error for AcceptError {}

impl From<Refused> for AcceptError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Request {
    /// Accepts the upgrade: checks the opening handshake, and creates the connection, whose first output is
    /// the 101.
    ///
    /// # Errors
    /// [`AcceptError::Refused`] if the request is not a valid opening handshake (RFC 6455 §4.2.1) or comes
    /// from an origin that is not allowed, [`AcceptError::ProtocolNotOffered`] if the chosen subprotocol is
    /// not among those offered.
    pub fn accept(&self, accept: &Accept, config: Arc<Config>, now: Time) -> Result<Connection, AcceptError> {
        self.accept_dated(accept, None, config, now)
    }

    /// As [`accept`](Self::accept); the 101 says this `Date`, if it has none.
    pub(crate) fn accept_dated(
        &self,
        accept: &Accept,
        date: Option<&str>,
        config: Arc<Config>,
        now: Time,
    ) -> Result<Connection, AcceptError> {
        let switching = self.agree(accept, date, &config)?;
        let context = self.context(accept, switching.compression, &config);
        let mut connection = Connection::server(config, now);
        connection.queue_head(switching.encode());
        connection.set_context(context);
        Ok(connection)
    }

    /// As [`accept`](Self::accept), for a server whose HTTP is another library's: the answer is returned, and not part of the
    /// connection's output. It is a 101, or a 200 over HTTP/2. What the connection sends and receives goes through what that
    /// library calls the upgraded stream.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    #[cfg(feature = "http")]
    pub fn accept_http(
        &self,
        accept: &Accept,
        config: Arc<Config>,
        now: Time,
    ) -> Result<(::http::Response<()>, Connection), AcceptError> {
        let switching = self.agree(accept, None, &config)?;
        let mut response = ::http::Response::new(());
        if !self.is_http2() {
            *response.status_mut() = ::http::StatusCode::SWITCHING_PROTOCOLS;
        }
        switching.fields(|name, value| append(response.headers_mut(), name, value));
        let context = self.context(accept, switching.compression, &config);
        let mut connection = Connection::server(config, now);
        connection.set_context(context);
        Ok((response, connection))
    }

    /// Checks whether this is a valid opening handshake, as [`accept`](Self::accept) does; its origin depends on the
    /// configuration, and is not looked at.
    ///
    /// # Errors
    /// The rule that the client broke.
    pub fn check_upgrade(&self) -> Result<(), Refused> {
        check_handshake(self).map(drop).map_err(|refusal| Refused::of(refusal, self))
    }

    /// Checks the opening handshake, and says how it is accepted.
    pub(super) fn agree<'r>(
        &'r self,
        accept: &'r Accept,
        date: Option<&'r str>,
        config: &Config,
    ) -> Result<Switching<'r>, AcceptError> {
        let (key, offered) = check_handshake(self).map_err(|refusal| Refused::of(refusal, self))?;
        check_origin(self, config)?;
        if let Some(chosen) = accept.protocol.as_deref().filter(|chosen| !offered.contains(chosen)) {
            return Err(AcceptError::ProtocolNotOffered(chosen.into()));
        }
        let date = date.filter(|_| !accept.headers.contains("Date"));
        let compression = self.compression(config);
        Ok(Switching { accept_value: key.map(accept_value), accept, compression, date })
    }

    /// Returns what comes of the client's offers to compress.
    #[cfg(feature = "deflate")]
    fn compression(&self, config: &Config) -> Option<Compression> {
        Compression::accept(self.headers().values(EXTENSIONS), config.deflate.as_ref()?)
    }

    #[cfg(not(feature = "deflate"))]
    fn compression(&self, _: &Config) -> Option<Compression> {
        None
    }

    fn context(&self, accept: &Accept, compression: Option<Compression>, config: &Config) -> SocketContext {
        let client = self.client_ip_by(&config.trusted_proxies);
        let mut context = SocketContext::new().peer_addr(self.peer_addr()).client_ip(client).path(self.path());
        context.compression = compression;
        match accept.protocol.as_deref() {
            Some(protocol) => context.protocol(protocol),
            None => context,
        }
    }
}

/// What accepts a WebSocket: a 101 (RFC 6455 §4.2.2), over HTTP/2 a 200 (RFC 8441 §5).
pub(super) struct Switching<'r> {
    /// There is none over HTTP/2.
    accept_value: Option<[u8; 28]>,
    accept: &'r Accept,
    pub(super) compression: Option<Compression>,
    date: Option<&'r str>,
}

impl Switching<'_> {
    /// Calls `field` with the name and the value of each header, in order.
    pub(super) fn fields(&self, mut field: impl FnMut(&str, &[u8])) {
        // RFC 8441 §5: "Implementations using this extended CONNECT to bootstrap WebSockets do not do the processing of the
        // Sec-WebSocket-Key and Sec-WebSocket-Accept header fields". RFC 9113 §8.2.2: "An endpoint MUST NOT generate an
        // HTTP/2 message containing connection-specific header fields."
        if let Some(accept_value) = &self.accept_value {
            field("Upgrade", b"websocket");
            field("Connection", b"Upgrade");
            field("Sec-WebSocket-Accept", accept_value);
        }
        if let Some(protocol) = &self.accept.protocol {
            field("Sec-WebSocket-Protocol", protocol.as_bytes());
        }
        if let Some(compression) = self.compression {
            field(EXTENSIONS, compression.to_string().as_bytes());
        }
        for (name, value) in self.accept.headers.iter() {
            if self.accept_value.is_some() || !is_of_connection(name) {
                field(name, value);
            }
        }
        if let Some(date) = self.date {
            field("Date", date.as_bytes());
        }
    }

    /// Encodes the 101.
    fn encode(&self) -> Vec<u8> {
        /// Room for all that bellwire writes.
        const ROOM: usize = 256;
        let mut head = Vec::with_capacity(ROOM);
        head.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        self.fields(|name, value| write_field(&mut head, name, value));
        head.extend_from_slice(b"\r\n");
        head
    }
}

/// Returns the key, which only HTTP/1.1 has, and the subprotocols that are offered.
fn check_handshake(request: &Request) -> Result<(Option<&[u8]>, Vec<&str>), Refusal> {
    let key = if request.is_http2() {
        check_extended_connect(request)?;
        None
    } else {
        check_upgrade(request)?;
        Some(request.headers().single("Sec-WebSocket-Key").filter(|key| is_key(key)).ok_or(Refusal::Key)?)
    };
    let offered = check_protocols(request.headers())?;
    check_extensions(request.headers())?;
    Ok((key, offered))
}

/// RFC 8441 §4: "A new pseudo-header field :protocol MAY be included on request HEADERS indicating the desired protocol to
/// be spoken on the tunnel created by CONNECT"; §5: "The Origin [RFC6454], Sec-WebSocket-Version, Sec-WebSocket-Protocol,
/// and Sec-WebSocket-Extensions header fields are used in the CONNECT request and response header fields as they are in
/// [RFC6455]."
fn check_extended_connect(request: &Request) -> Result<(), Refusal> {
    match request.connect_protocol() {
        Some(protocol) if is_websocket(protocol) => check_version(request.headers()),
        Some(_) => Err(Refusal::ConnectProtocol),
        None => Err(Refusal::ConnectMethod),
    }
}

/// RFC 6455 §4.2.1, 1, 3, 4 and 6.
fn check_upgrade(request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    // "An HTTP/1.1 or higher GET request".
    if request.is_http10() {
        return Err(Refusal::Http10);
    }
    // "An |Upgrade| header field containing the value "websocket", treated as an ASCII case-insensitive value."
    if !lists(headers.values("Upgrade"), "websocket") {
        return Err(Refusal::NotAnUpgrade);
    }
    // "An HTTP/1.1 or higher GET request".
    if request.method() != "GET" {
        return Err(Refusal::UpgradeMethod);
    }
    // "A |Connection| header field that includes the token "Upgrade", treated as an ASCII case-insensitive
    // value."
    let options = || headers.values("Connection");
    if !is_token_list(options()) || !lists(options(), "upgrade") {
        return Err(Refusal::Connection);
    }
    check_version(headers)
}

/// RFC 6455 §4.2.1, 6: "A |Sec-WebSocket-Version| header field, with a value of 13."
fn check_version(headers: &Headers) -> Result<(), Refusal> {
    let mut versions = headers.values("Sec-WebSocket-Version");
    match (versions.next(), versions.next()) {
        (_, Some(_)) => Err(Refusal::RepeatedVersion),
        (Some(version), None) if version == VERSION.as_bytes() => Ok(()),
        _ => Err(Refusal::Version),
    }
}

/// RFC 6455 §4.1: the subprotocols "MUST all be unique strings. The ABNF for the value of this header field is
/// 1#token".
fn check_protocols(headers: &Headers) -> Result<Vec<&str>, Refusal> {
    const NAME: &str = "Sec-WebSocket-Protocol";
    let offered = token_list(headers.values(NAME)).ok_or(Refusal::Protocols)?;
    let mut sorted = offered.clone();
    sorted.sort_unstable();
    let repeated = sorted.windows(2).any(|pair| pair.first() == pair.last());
    let empty = offered.is_empty() && headers.contains(NAME);
    if repeated || empty { Err(Refusal::Protocols) } else { Ok(offered) }
}

/// RFC 6455 §9.1: "If a value is received by either the client or the server during negotiation that does not
/// conform to the ABNF below, the recipient of such malformed data MUST immediately _Fail the WebSocket
/// Connection_."
fn check_extensions(headers: &Headers) -> Result<(), Refusal> {
    if !headers.contains(EXTENSIONS) || is_extension_list(headers.values(EXTENSIONS)) {
        Ok(())
    } else {
        Err(Refusal::Extensions)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::http::InvalidHeader;

    fn switching(request: &Request, accept: &Accept) -> String {
        String::from_utf8(request.agree(accept, None, &Config::default()).unwrap().encode()).unwrap()
    }

    #[test]
    fn the_101_answers_the_key_of_the_rfc() {
        assert_eq!(
            switching(&Request::upgrade("/"), &Accept::new()),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn the_101_carries_the_chosen_subprotocol_and_the_headers() {
        let request = Request::upgrade("/").with_header("Sec-WebSocket-Protocol", "mqtt, soap").unwrap();
        let accept = Accept::new().protocol("soap").header("Set-Cookie", "a=b").unwrap();
        let head = switching(&request, &accept.header("Set-Cookie", " c=d ").unwrap());
        let (_, rest) = head.split_once("xOo=\r\n").unwrap();
        assert_eq!(rest, "Sec-WebSocket-Protocol: soap\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n");
        assert!(!switching(&request, &Accept::new()).contains("Protocol:"), "none chosen, none sent");
    }

    #[test]
    fn a_request_that_is_being_read_is_not_printed() {
        let mut handshake = Handshake::new(Arc::default(), Time::ZERO);
        let mut bytes = *b"GET / HTTP/1.1\r\nAuthorization: Bearer secret\r\nCook";
        assert!(handshake.receive(&mut &mut bytes[..]).is_none());
        let printed = format!("{handshake:?}");
        let secret = format!("{:?}", b"secret");
        assert!(!printed.contains("secret") && !printed.contains(secret.trim_matches(['[', ']'])), "{printed}");
    }

    #[test]
    fn the_handshakes_own_headers_cannot_be_set_nor_others_injected() {
        for name in ["Sec-WebSocket-Accept", "sec-websocket-protocol", "Upgrade", "CONNECTION", "Content-Length"] {
            assert_eq!(Accept::new().header(name, "x").unwrap_err(), InvalidHeader::Reserved(name.into()));
        }
        assert_eq!(Accept::new().header("X", "a\r\n\r\nframes").unwrap_err(), InvalidHeader::Value);
        assert_eq!(Accept::new().header("X: a\r\nY", "z").unwrap_err(), InvalidHeader::Name);
    }
}
