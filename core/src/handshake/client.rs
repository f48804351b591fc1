//! The client's side of the opening handshake (RFC 6455 §4.1): a type per phase.
//!
//! A [`Request`] says what is asked for. [`Handshake`] sends it and reads the answer, which is a
//! [`Connection`] or a [`HandshakeError`].

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

pub use crate::http::MAX_BODY;

use super::key::{VERSION, accept_value, check_reserved, encode_key};
use crate::config::Config;
use crate::context::SocketContext;
use crate::entropy::Entropy;
use crate::http::{
    Framing, HeadError, HeadReader, Headers, InvalidHeader, Uri, UriError, field_slots, is_token, max_fields,
    token_list, write_field,
};
use crate::{Connection, Time};

/// What a client asks for: a URI, subprotocols, headers.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::client::Request;
///
/// let request = Request::new("wss://example.com/chat")?.protocol("mqtt")?.header("Authorization", "Bearer x")?;
/// assert_eq!(request.uri().port(), 443);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Request {
    uri: Uri,
    /// In place of path and query of the URI.
    target: Option<Box<[u8]>>,
    headers: Headers,
    protocols: Vec<String>,
}

/// How many characters of a refusal's body its text has: a line or two.
const BODY_START: usize = 200;

/// What is sent as `User-Agent` unless the program says otherwise.
///
/// RFC 9110 §10.1.5: "A user agent SHOULD send a User-Agent header field in each request unless specifically configured
/// not to do so."
const USER_AGENT: &str = concat!("bellwire/", env!("CARGO_PKG_VERSION"));

/// Headers that are there already, or would make no sense twice: the last one counts.
const SINGLE: [&str; 2] = ["User-Agent", "Authorization"];

impl Request {
    /// Asks for a WebSocket at a `ws://` or `wss://` URI.
    ///
    /// # Errors
    /// [`UriError`] if it is not one (RFC 6455 §3).
    pub fn new(uri: &str) -> Result<Self, UriError> {
        uri.parse().map(Uri::into)
    }

    /// Adds a header, such as `Cookie` or `Origin`. A `User-Agent` takes the place of bellwire's own, an `Authorization`
    /// that of the credentials in the URI; either is not sent at all if its value is empty.
    ///
    /// # Errors
    /// As [`Headers::append`], and [`InvalidHeader::Reserved`] for the headers of the handshake (`Host`,
    /// `Connection`, `Upgrade`, `Sec-WebSocket-*`) and those that frame a message.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        check_reserved(name)?;
        if name.eq_ignore_ascii_case("Host") {
            return Err(InvalidHeader::Reserved(name.into()));
        }
        if SINGLE.iter().any(|single| single.eq_ignore_ascii_case(name)) {
            self.headers.remove(name);
            if value.as_ref().trim_ascii().is_empty() {
                return Ok(self);
            }
        }
        self.headers.append(name, value)?;
        Ok(self)
    }

    /// Asks for this request target, byte for byte, in place of path and query of the URI: for a service that wants
    /// what no URI has, such as raw brackets or characters beyond ASCII. Nothing is encoded.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::client::Request;
    ///
    /// let request = Request::new("ws://example.com")?.request_target("/odd{path}?^raw`")?;
    /// # Ok::<(), bellwire::uri::UriError>(())
    /// ```
    ///
    /// # Errors
    /// [`UriError::RequestTarget`] if it is empty, or has a blank or a control character: nobody can inject a header, or
    /// another request, through it.
    pub fn request_target(mut self, target: impl AsRef<[u8]>) -> Result<Self, UriError> {
        let target = target.as_ref();
        if target.is_empty() || target.iter().any(|byte| matches!(byte, 0..=b' ' | 0x7f)) {
            return Err(UriError::RequestTarget);
        }
        self.target = Some(target.into());
        Ok(self)
    }

    /// The path that is asked for, as [a server's](crate::Request::path) has it: without scheme and host, if
    /// a target that was [set](Self::request_target) has them.
    fn path(&self) -> Box<str> {
        let Some(target) = &self.target else { return self.uri.path().into() };
        let target = String::from_utf8_lossy(target);
        let resource = match target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.find(['/', '?']).and_then(|at| rest.get(at..)).unwrap_or_default()
            }
            _ => &target,
        };
        match resource.split('?').next() {
            None | Some("") => "/".into(),
            Some(path) => path.into(),
        }
    }

    /// Offers a subprotocol; those that were offered before are preferred.
    ///
    /// # Errors
    /// RFC 6455 §4.1: subprotocols "MUST be non-empty strings with characters in the range U+0021 to U+007E
    /// not including separator characters as defined in \[RFC2616\] and MUST all be unique strings."
    pub fn protocol(mut self, protocol: impl Into<String>) -> Result<Self, InvalidProtocol> {
        let protocol = protocol.into();
        if !is_token(protocol.as_bytes()) {
            return Err(InvalidProtocol::Name);
        }
        if self.protocols.contains(&protocol) {
            return Err(InvalidProtocol::Repeated);
        }
        self.protocols.push(protocol);
        Ok(self)
    }

    /// Where to connect.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The bytes of the request (RFC 6455 §4.1).
    fn encode(&self, key: &str) -> Vec<u8> {
        let target = self.target.as_deref().unwrap_or(self.uri.resource().as_bytes());
        let mut head = [b"GET ", target, b" HTTP/1.1\r\n"].concat();
        write_field(&mut head, "Host", self.uri.host_header().as_bytes());
        write_field(&mut head, "Upgrade", b"websocket");
        write_field(&mut head, "Connection", b"Upgrade");
        write_field(&mut head, "Sec-WebSocket-Key", key.as_bytes());
        write_field(&mut head, "Sec-WebSocket-Version", VERSION.as_bytes());
        if !self.protocols.is_empty() {
            write_field(&mut head, "Sec-WebSocket-Protocol", self.protocols.join(", ").as_bytes());
        }
        self.headers.write_to(&mut head);
        head.extend_from_slice(b"\r\n");
        head
    }
}

impl From<Uri> for Request {
    fn from(uri: Uri) -> Self {
        let mut headers = Headers::new();
        headers.push("User-Agent", USER_AGENT.as_bytes());
        if let Some(credentials) = uri.credentials() {
            headers.push("Authorization", credentials.as_bytes());
        }
        Self { uri, target: None, headers, protocols: Vec::new() }
    }
}

/// Why a subprotocol cannot be offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidProtocol {
    /// Its name is not a token (RFC 9110 §5.6.2).
    Name,
    /// It is offered already.
    Repeated,
}

/// Sends a request and reads the answer: the first phase of a client's connection.
///
/// Send [`output`](Self::output), report it with [`wrote`](Self::wrote), and give what comes back to
/// [`receive`](Self::receive).
pub struct Handshake {
    config: Arc<Config>,
    output: Vec<u8>,
    written: usize,
    /// The value of `Sec-WebSocket-Accept` that answers the key.
    accept: String,
    /// What the connection's handles are to know: the path from the start.
    context: SocketContext,
    protocols: Vec<String>,
    entropy: Option<Box<dyn Entropy>>,
    deadline: Option<Time>,
    /// How many bytes of heads may still come.
    room: usize,
    state: State,
}

enum State {
    Head(HeadReader),
    /// The server refused; the body of its answer is being read.
    Body(Box<Response>, Framing),
    Done,
}

impl Handshake {
    /// Draws a key and makes the request ready to be sent. The answer must be complete within
    /// [`Config::open_timeout`], and its head fit into [`Config::max_head`].
    pub fn new(request: &Request, config: Arc<Config>, mut entropy: Box<dyn Entropy>, now: Time) -> Self {
        // RFC 6455 §4.1: "a nonce consisting of a randomly selected 16-byte value that has been base64-encoded
        // [..]. The nonce MUST be selected randomly for each connection."
        let mut nonce = [0; 16];
        entropy.renew();
        entropy.fill(&mut nonce);
        let key = encode_key(nonce);
        Self {
            output: request.encode(&key),
            written: 0,
            accept: accept_value(key.as_bytes()),
            context: SocketContext::new().path(request.path()),
            protocols: request.protocols.clone(),
            entropy: Some(entropy),
            deadline: config.open_timeout.and_then(|timeout| now.checked_add(timeout)),
            room: config.max_head,
            state: State::Head(HeadReader::response(config.max_head)),
            config,
        }
    }

    /// How long the closing of the sending side may take if there is no connection, from now on:
    /// [`Config::linger_timeout`], within [`Config::open_timeout`].
    pub fn hang_up_by(&self, now: Time) -> Time {
        let until = now.saturating_add(self.config.linger_timeout);
        self.deadline.map_or(until, |deadline| deadline.min(until))
    }

    /// Says where the other end of the transport is, for [`WebSocket::peer_addr`](crate::WebSocket::peer_addr).
    pub fn set_peer_addr(&mut self, addr: Option<SocketAddr>) {
        self.context.peer_addr = addr;
    }

    /// The bytes that are still to be sent.
    pub fn output(&self) -> &[u8] {
        self.output.get(self.written..).unwrap_or_default()
    }

    /// Reports that the first `n` bytes of the output were handed to the transport.
    pub fn wrote(&mut self, n: usize) {
        self.written = self.written.saturating_add(n).min(self.output.len());
    }

    /// Takes bytes of the answer; those behind a 101 stay in `input` and belong to the connection. `None`:
    /// all were taken, more are needed. After a result it takes nothing more.
    ///
    /// A refusal is reported when its body is complete, or has [`MAX_BODY`] bytes.
    pub fn receive(
        &mut self,
        input: &mut &mut [u8],
        now: Time,
    ) -> Option<Result<(Connection, Response), HandshakeError>> {
        while let State::Head(reader) = &mut self.state {
            let head = reader.receive(input)?;
            match head.map_err(HandshakeError::from).and_then(|head| self.read_head(head)) {
                Ok(Some(response)) => return Some(self.establish(response, now)),
                Ok(None) => {}
                Err(error) => {
                    self.state = State::Done;
                    return Some(Err(error));
                }
            }
        }
        let State::Body(response, framing) = &mut self.state else { return None };
        framing.receive(input, &mut response.body);
        framing.is_complete(&response.body).then(|| Err(self.finish(HandshakeError::Eof)))
    }

    /// The peer ended its side of the transport: the refusal whose body was being read, or
    /// [`HandshakeError::Eof`].
    pub fn receive_eof(&mut self) -> HandshakeError {
        self.finish(HandshakeError::Eof)
    }

    /// When [`handle_timeout`](Self::handle_timeout) must be called, if ever.
    pub fn poll_timeout(&self) -> Option<Time> {
        if matches!(self.state, State::Done) { None } else { self.deadline }
    }

    /// Gives up if the deadline has passed: with the refusal whose body was being read, or with
    /// [`HandshakeError::Timeout`]. Early calls do nothing.
    pub fn handle_timeout(&mut self, now: Time) -> Option<HandshakeError> {
        if now < self.poll_timeout()? { None } else { Some(self.finish(HandshakeError::Timeout)) }
    }

    /// Ends the phase, with the refusal if there is one.
    fn finish(&mut self, error: HandshakeError) -> HandshakeError {
        match core::mem::replace(&mut self.state, State::Done) {
            State::Body(response, _) => HandshakeError::Refused(response),
            State::Head(_) | State::Done => error,
        }
    }

    /// Reads a whole head: `Some` is a 101, `None` that there is more to read.
    fn read_head(&mut self, mut head: Vec<u8>) -> Result<Option<Response>, HandshakeError> {
        unfold(&mut head);
        let (version, response) = parse(&head, self.config.max_head)?;
        match response.status {
            // RFC 9110 §15.2: 101 is for the upgrade, and to be judged; of the other 1xx "a client MUST be
            // able to parse one or more 1xx responses received prior to a final response".
            101 if version == 1 => return Ok(Some(response)),
            101 => return Err(HandshakeError::HttpVersion),
            100..=199 => {
                self.room = self.room.saturating_sub(head.len());
                self.state = State::Head(HeadReader::response(self.room));
            }
            // RFC 6455 §4.1: "If the status code received from the server is not 101, the client handles the
            // response per HTTP [RFC2616] procedures." Here: by handing it over.
            _ => {
                let framing = Framing::of(response.status, &response.headers);
                self.state = State::Body(Box::new(response), framing);
            }
        }
        Ok(None)
    }

    fn establish(&mut self, response: Response, now: Time) -> Result<(Connection, Response), HandshakeError> {
        self.state = State::Done;
        let protocol = self.check(&response.headers)?;
        // The entropy is here until it is taken, once, here.
        let entropy = self.entropy.take().ok_or(HandshakeError::Eof)?;
        let mut connection = Connection::client(self.config.clone(), entropy, now);
        let context = core::mem::take(&mut self.context);
        connection.set_context(match &protocol {
            Some(protocol) => context.protocol(protocol.as_str()),
            None => context,
        });
        Ok((connection, Response { protocol, ..response }))
    }

    /// Judges a 101 by RFC 6455 §4.1, and finds its subprotocol.
    fn check(&self, headers: &Headers) -> Result<Option<String>, HandshakeError> {
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
        self.check_accept(headers)?;
        // "If the response includes a |Sec-WebSocket-Extensions| header field and this header field indicates
        // the use of an extension that was not present in the client's handshake": none was.
        if let Some(extensions) = headers.value("Sec-WebSocket-Extensions") {
            return Err(HandshakeError::UnexpectedExtension(extensions.into_owned()));
        }
        self.check_protocol(headers)
    }

    fn check_accept(&self, headers: &Headers) -> Result<(), HandshakeError> {
        // "If the response lacks a |Sec-WebSocket-Accept| header field or the |Sec-WebSocket-Accept| contains
        // a value other than the base64-encoded SHA-1 [..]".
        let mut accepts = headers.values("Sec-WebSocket-Accept");
        match (accepts.next(), accepts.next()) {
            (None, _) => Err(HandshakeError::MissingAccept),
            (Some(_), Some(_)) => Err(HandshakeError::RepeatedAccept),
            (Some(accept), None) if accept == self.accept.as_bytes() => Ok(()),
            (Some(_), None) => Err(HandshakeError::WrongAccept),
        }
    }

    fn check_protocol(&self, headers: &Headers) -> Result<Option<String>, HandshakeError> {
        let mut chosen = headers.values("Sec-WebSocket-Protocol");
        let (Some(protocol), repeated) = (chosen.next(), chosen.next().is_some()) else { return Ok(None) };
        if repeated {
            return Err(HandshakeError::RepeatedProtocol);
        }
        // "If [..] this header field indicates the use of a subprotocol that was not present in the client's
        // handshake".
        match self.protocols.iter().find(|offered| offered.as_bytes() == protocol) {
            Some(offered) => Ok(Some(offered.clone())),
            None => Err(HandshakeError::UnexpectedProtocol(String::from_utf8_lossy(protocol).into_owned())),
        }
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake").field("unsent", &self.output().len()).finish_non_exhaustive()
    }
}

/// What a server answered: a 101, or the refusal in [`HandshakeError::Refused`].
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    headers: Headers,
    protocol: Option<String>,
    body: Vec<u8>,
}

impl Response {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The value of a header, repeats joined with ", "; of `Set-Cookie` the first one ([`Headers::value`]).
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.headers.value(name)
    }

    /// The value of each header of this name, in order: all the cookies that are set, say ([`Headers::texts`]).
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = Cow<'_, str>> {
        self.headers.texts(name)
    }

    /// The subprotocol that the server chose, one of those that were offered; never that of a refusal.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// What came of the body of a refusal, at most [`MAX_BODY`] bytes.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether the server names another place. RFC 6455 §4.1: "the server might redirect the client using a 3xx status code
    /// (but clients are not required to follow them)". Credentials and cookies were meant for the server that was named.
    fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308) && self.headers.contains("Location")
    }

    /// In words, with the start of the body: it often says why. What comes from a stranger is escaped, since it may end
    /// in a terminal or a log.
    fn fmt_refusal(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server refused the WebSocket with status {}", self.status)?;
        if self.is_redirect() {
            f.write_str(" (no redirect is followed: connect to what its Location says, if you trust that)")?;
        }
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

/// RFC 9112 §5.2: "A user agent that receives an obs-fold in a response message that is not within a "message/http"
/// container MUST replace each received obs-fold with one or more SP octets prior to interpreting the field value."
///
/// Behind the first line there is no field that could go on: RFC 9112 §2.2 has "whitespace between the start-line and
/// the first header field" rejected, and so it is left to be found.
fn unfold(head: &mut [u8]) {
    let fields = head.iter().position(|&byte| byte == b'\n').map_or(head.len(), |end| end + 1);
    let mut rest = head.get_mut(fields..).unwrap_or_default();
    while let Some(at) = rest.windows(3).position(|bytes| matches!(bytes, [b'\r', b'\n', b' ' | b'\t'])) {
        let (_, fold) = rest.split_at_mut(at);
        let (fold, behind) = fold.split_at_mut(2);
        fold.fill(b' ');
        rest = behind;
    }
}

/// The minor version of HTTP/1, and the response without its body.
fn parse(head: &[u8], max_head: usize) -> Result<(u8, Response), HandshakeError> {
    let mut fields = field_slots(head, max_head);
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(HandshakeError::Malformed),
        Err(httparse::Error::TooManyHeaders) => return Err(HandshakeError::TooManyFields(max_fields(max_head))),
        Err(httparse::Error::Version) if head.starts_with(b"HTTP/") => return Err(HandshakeError::HttpVersion),
        Err(_) => return Err(HandshakeError::Malformed),
    }
    let (Some(version), Some(status @ 100..)) = (parsed.version, parsed.code) else {
        return Err(HandshakeError::Malformed);
    };
    Ok((version, Response { status, headers: Headers::parsed(parsed.headers), protocol: None, body: Vec::new() }))
}

/// Why there is no connection.
///
/// But for [`Refused`](Self::Refused), [`Timeout`](Self::Timeout) and [`Eof`](Self::Eof) the server broke a
/// rule: RFC 6455 §4.1: "the client MUST _Fail the WebSocket Connection_".
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The server answered with another status than 101: here is its answer. The start of its body is in the error's
    /// text, escaped.
    Refused(Box<Response>),
    /// The answer was not complete within [`Config::open_timeout`].
    Timeout,
    /// The server ended the transport before its answer was complete.
    Eof,
    /// The answer is not HTTP/1 (RFC 9112).
    Malformed,
    /// The answer's head is longer than [`Config::max_head`].
    TooLarge,
    /// The answer's head has more than so many fields: one for each 16 bytes of [`Config::max_head`], and 100 at least.
    TooManyFields(usize),
    /// The answer is not HTTP/1.1.
    HttpVersion,
    /// The 101 has no `Upgrade`.
    MissingUpgrade,
    /// The 101 upgrades to this, not to `websocket`.
    WrongUpgrade(String),
    /// The 101 has no `Connection` with the token `Upgrade`.
    MissingConnection,
    /// The 101 has no `Sec-WebSocket-Accept`.
    MissingAccept,
    /// The 101 has more than one `Sec-WebSocket-Accept`.
    RepeatedAccept,
    /// The 101 has a `Sec-WebSocket-Accept` that does not answer the key: it may be an answer from a cache.
    WrongAccept,
    /// The 101 has these `Sec-WebSocket-Extensions`, though none was offered.
    UnexpectedExtension(String),
    /// The 101 has more than one `Sec-WebSocket-Protocol`.
    RepeatedProtocol,
    /// The 101 chooses this subprotocol, which was not offered.
    UnexpectedProtocol(String),
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(response) => response.fmt_refusal(f),
            Self::Timeout => {
                f.write_str("the server did not answer the handshake in time: try again, or raise Config::open_timeout")
            }
            Self::Eof => f.write_str("the server closed the connection before it had answered the handshake"),
            Self::Malformed => {
                f.write_str("the server's answer is not HTTP: check host and port, and whether wss:// is meant")
            }
            Self::TooLarge => {
                f.write_str("the head of the server's answer is too large: raise Config::max_head if that is right")
            }
            Self::TooManyFields(most) => write!(
                f,
                "the server's answer has more than {most} header fields: if that is right, raise Config::max_head, which \
                 allows one for each 16 bytes"
            ),
            Self::HttpVersion => f.write_str("the server's answer is not HTTP/1.1"),
            Self::MissingUpgrade => f.write_str("the server's 101 lacks the header Upgrade"),
            Self::WrongUpgrade(upgrade) => write!(f, "the server's 101 upgrades to {upgrade:?}, not to websocket"),
            Self::MissingConnection => f.write_str("the server's 101 lacks the header Connection: Upgrade"),
            Self::MissingAccept => f.write_str("the server's 101 lacks the header Sec-WebSocket-Accept"),
            Self::RepeatedAccept => f.write_str("the server's 101 has more than one Sec-WebSocket-Accept"),
            Self::WrongAccept => f.write_str("the server's Sec-WebSocket-Accept does not answer the key that was sent"),
            Self::UnexpectedExtension(extensions) => {
                write!(f, "the server uses extensions that were not offered: {extensions:?}")
            }
            Self::RepeatedProtocol => f.write_str("the server's 101 has more than one Sec-WebSocket-Protocol"),
            Self::UnexpectedProtocol(protocol) => {
                write!(f, "the server chose the subprotocol {protocol:?}, which was not offered: offer it, or none")
            }
        }
    }
}

impl core::error::Error for HandshakeError {}

impl From<HeadError> for HandshakeError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed | HeadError::Tls | HeadError::ProxyProtocol => Self::Malformed,
            HeadError::LineTooLong | HeadError::TooLarge => Self::TooLarge,
        }
    }
}

impl fmt::Display for InvalidProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => {
                "the subprotocol's name is not a token: use letters, digits and !#$%&'*+-.^_`|~ only, and at least one"
            }
            Self::Repeated => "the subprotocol is offered already: offer each once",
        })
    }
}

impl core::error::Error for InvalidProtocol {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u1_u8_the_path_of_a_target_is_what_a_server_says_it_is() {
        for (target, path) in [
            ("/a?b", "/a"),
            ("/a%2Fb;c?d?e", "/a%2Fb;c"),
            ("//h/x", "//h/x"),
            ("/x?u=http://h/y", "/x"),
            ("/x://y", "/x://y"),
            ("http://h", "/"),
            ("http://h?q", "/"),
            ("HTTP://h:80/%41?q", "/%41"),
            ("http://user:secret@h/x", "/x"),
            ("?q", "/"),
            ("*", "*"),
        ] {
            let request = Request::new("ws://h/other").unwrap().request_target(target).unwrap();
            assert_eq!(&*request.path(), path, "{target}");
        }
    }
}
