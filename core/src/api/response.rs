//! The response that a handler returns: plain HTTP, or an upgrade with a listener.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::listener::{IntoListener, Listener, Returns};
use crate::config::Config;
use crate::handshake::{Request, is_reserved};
use crate::http::{Headers, InvalidHeader, reason_phrase, reserved, write_field};
use crate::protocol::BoxError;

/// The methods of plain requests.
pub(crate) const METHODS: &str = "GET, HEAD, OPTIONS";

/// What a handler answers: [`websocket`](Self::websocket) to accept an upgrade, anything else to send plain
/// HTTP, which refuses it.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Request, Response, is_upgrade_request, listener};
///
/// fn echo(request: &Request) -> Response {
///     if !is_upgrade_request(request) {
///         return Response::upgrade_required();
///     }
///     Response::websocket(listener().on_message(|socket, message| socket.send(message)))
/// }
/// assert_eq!(echo(&Request::get("/")).status(), 426);
/// assert!(echo(&Request::upgrade("/")).is_websocket());
/// ```
pub struct Response {
    status: u16,
    headers: Headers,
    content: Content,
    /// Whether this is bellwire's own text, which no cache is to keep.
    own: bool,
    /// Whether this answers `HEAD`: the length of its body is sent, but no body.
    to_head: bool,
}

enum Content {
    Body(Vec<u8>),
    Upgrade(Box<Upgrade>),
    /// A header of this name could not be sent: a mistake of the program, answered with 500.
    Broken(String, InvalidHeader),
}

/// An upgrade taken apart ([`Response::into_upgrade`]), for whoever drives the connection.
#[non_exhaustive]
pub struct Upgrade {
    /// What receives the connection's events.
    pub listener: Box<dyn Listener>,
    /// What goes into the 101: for [`Request::accept`].
    pub accept: Accept,
    /// Limits and deadlines in place of the server's.
    pub config: Option<Config>,
}

/// What goes into the 101 beside what the handshake itself needs.
#[derive(Debug, Clone, Default)]
pub struct Accept {
    pub(crate) protocol: Option<String>,
    pub(crate) headers: Headers,
}

impl Accept {
    /// No subprotocol, no headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses this subprotocol, one of those that the client offers.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        self.protocol = Some(protocol.into());
        self
    }

    /// Adds a header.
    ///
    /// # Errors
    /// As [`Response::try_header`].
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        if is_reserved(name) {
            return Err(reserved(name));
        }
        self.headers.append(name, value)?;
        Ok(self)
    }
}

impl Accept {
    /// Adds this `Date`, if there is none.
    #[cfg(feature = "std")]
    pub(crate) fn date(&mut self, date: &str) {
        if lacks(&self.headers, "Date") {
            self.headers.push("Date", date.as_bytes());
        }
    }
}

impl Response {
    /// A response without a body. A status outside 200–599 is a mistake that no client would understand:
    /// it becomes 500.
    pub fn new(status: u16) -> Self {
        let content = Content::Body(Vec::new());
        Self { status: valid_status(status), headers: Headers::new(), content, own: false, to_head: false }
    }

    /// 200 with text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::content("text/plain; charset=utf-8", text.into())
    }

    /// 200 with HTML.
    pub fn html(html: impl Into<String>) -> Self {
        Self::content("text/html; charset=utf-8", html.into())
    }

    /// 404 with a text that says so, and that no cache keeps unless a header says otherwise.
    pub fn not_found() -> Self {
        Self::own_text(404, "Not found\n")
    }

    /// 426: there is a WebSocket here, and nothing else.
    ///
    /// RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response".
    pub fn upgrade_required() -> Self {
        let mut response = Self::own_text(426, "This is a WebSocket endpoint: connect with a WebSocket client\n");
        response.headers.push("Upgrade", b"websocket");
        response
    }

    /// 204 with the methods that are taken: how a server answers `OPTIONS`, as health checks send it (HAProxy, Apache),
    /// unless its handler does. What a handler returns for `OPTIONS` is sent if it is meant for that: if its status is
    /// 2xx, and it has `Allow` or `Access-Control-Allow-Origin`; so is a 5xx, which health checks want to know. So a page of another origin may be let in, which asks
    /// first (CORS):
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response};
    ///
    /// fn ticket(request: &Request) -> Response {
    ///     let response = match request.method() {
    ///         "OPTIONS" => Response::options().header("Access-Control-Allow-Headers", "Authorization"),
    ///         _ => Response::text("a ticket"),
    ///     };
    ///     response.header("Access-Control-Allow-Origin", "https://app.example")
    /// }
    /// # assert_eq!(ticket(&Request::get("/").with_method("OPTIONS")).status(), 204);
    /// ```
    ///
    /// RFC 9110 §9.3.7: "A server generating a successful response to OPTIONS SHOULD send any header that might indicate
    /// optional features implemented by the server and applicable to the target resource (e.g., Allow)".
    pub fn options() -> Self {
        Self { own: true, ..Self::new(204) }.with_own_headers(&[("Allow", METHODS)])
    }

    /// Whether this is meant for `OPTIONS`, and not what a resource answers any method with; or says that the server is
    /// not well.
    #[cfg(feature = "std")]
    pub(crate) fn answers_options(&self) -> bool {
        let is_told = |name| !lacks(&self.headers, name);
        self.status >= 500
            || (matches!(self.status, 200..=299) && (is_told("Allow") || is_told("Access-Control-Allow-Origin")))
    }

    /// 500, without telling the client what is wrong inside of the program.
    pub(crate) fn internal_error() -> Self {
        Self::own_text(500, "Internal Server Error\n")
    }

    /// What bellwire itself has to say: no cache is to keep it, unless it is told so. Caches keep a 404, say, for minutes.
    pub(crate) fn own_text(status: u16, text: impl Into<String>) -> Self {
        Self { own: true, ..Self::text(text).with_status(status) }
    }

    /// For a `HEAD` request that is refused before it is one that could be handed to [`encode_response`].
    pub(crate) fn without_content(mut self) -> Self {
        self.to_head = true;
        self
    }

    /// Accepts the upgrade: the listener receives the connection's events.
    ///
    /// If the request turns out not to be a valid upgrade the listener is dropped, none of its callbacks
    /// runs, and the client gets an answer that says what is wrong.
    pub fn websocket(listener: impl IntoListener) -> Self {
        let upgrade = Upgrade { listener: listener.into_listener(), accept: Accept::new(), config: None };
        Self { status: 101, content: Content::Upgrade(Box::new(upgrade)), ..Self::new(500) }
    }

    /// Sets the status. On an upgrade it does nothing: that is 101.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        if let Content::Body(_) = self.content {
            self.status = valid_status(status);
        }
        self
    }

    /// Sets the body; `Content-Length` follows from it. On an upgrade it does nothing.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Content::Body(content) = &mut self.content {
            *content = body.into();
        }
        self
    }

    /// Adds a header; of an upgrade it is sent with the 101. `Content-Type` takes the place of the one that
    /// is there, others of the same name stay.
    ///
    /// For headers that the program itself writes. One that cannot be sent is a mistake in it: the response becomes a
    /// 500, whatever else is done with it, and the server's owner is told. For a value that comes from elsewhere
    /// [`try_header`](Self::try_header) says at once whether it can be sent.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Response;
    ///
    /// let refusal = Response::new(401).header("WWW-Authenticate", "Basic realm=\"chat\"").with_body("Who are you?");
    /// assert_eq!((refusal.status(), refusal.body()), (401, &b"Who are you?"[..]));
    ///
    /// let mistake = Response::text("hello").header("X-Two Words", "x");
    /// assert_eq!(mistake.status(), 500);
    /// ```
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        match self.append(name, value.as_ref()) {
            Ok(()) => self,
            Err(error) => Self { content: Content::Broken(name.into(), error), own: true, ..Self::new(500) },
        }
    }

    /// As [`header`](Self::header), for a value that comes from elsewhere and may not be one.
    ///
    /// # Errors
    /// As [`Headers::append`], and [`InvalidHeader::Reserved`] for the headers of the handshake
    /// (`Connection`, `Upgrade`, `Sec-WebSocket-*`) and those that frame the message (`Content-Length`,
    /// `Transfer-Encoding`, `Trailer`, `TE`).
    pub fn try_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, InvalidHeader> {
        self.append(name, value.as_ref())?;
        Ok(self)
    }

    fn append(&mut self, name: &str, value: &[u8]) -> Result<(), InvalidHeader> {
        if let Content::Broken(..) = self.content {
            return Ok(());
        }
        if is_reserved(name) {
            return Err(reserved(name));
        }
        if name.eq_ignore_ascii_case("Content-Type") {
            self.headers.remove(name);
        }
        self.headers.append(name, value)
    }

    /// Chooses the subprotocol of an upgrade. It must be one that the client offers
    /// ([`Request::select_protocol`]): another one is answered with 500 and reported to the server's owner.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        if let Content::Upgrade(upgrade) = &mut self.content {
            upgrade.accept.protocol = Some(protocol.into());
        }
        self
    }

    /// Chooses the subprotocol of an upgrade: of those that are supported the one that the client likes best, or none if
    /// it offers none of them.
    ///
    /// A client that has offered subprotocols and gets none may go on or may fail: Chromium and Node fail, with 1006 and
    /// nothing else to see, Firefox goes on. The server's owner is told, once per path and minute.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::{Request, Response, listener};
    ///
    /// fn handler(request: &Request) -> Response {
    ///     Response::websocket(listener()).select_protocol(request, &["graphql-transport-ws", "graphql-ws"])
    /// }
    /// # assert!(handler(&Request::upgrade("/")).is_websocket());
    /// ```
    #[must_use]
    pub fn select_protocol(self, request: &Request, supported: &[&str]) -> Self {
        match request.select_protocol(supported) {
            Some(protocol) => self.protocol(protocol),
            None => self,
        }
    }

    /// Sets the limits and deadlines of this upgrade, in place of the server's.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        if let Content::Upgrade(upgrade) = &mut self.content {
            upgrade.config = Some(config);
        }
        self
    }

    /// Wraps the listener of an upgrade; plain responses stay as they are. This is what middleware does.
    #[must_use]
    pub fn map_listener(mut self, wrap: impl FnOnce(Box<dyn Listener>) -> Box<dyn Listener>) -> Self {
        if let Content::Upgrade(mut upgrade) = self.content {
            upgrade.listener = wrap(upgrade.listener);
            self.content = Content::Upgrade(upgrade);
        }
        self
    }

    /// Whether this accepts an upgrade.
    pub fn is_websocket(&self) -> bool {
        matches!(self.content, Content::Upgrade(_))
    }

    /// The status code; 101 for an upgrade, 500 after a [header](Self::header) that cannot be sent.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The headers that were set, without those that bellwire adds.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body; empty for an upgrade.
    pub fn body(&self) -> &[u8] {
        match &self.content {
            Content::Body(body) => body,
            Content::Upgrade(_) | Content::Broken(..) => &[],
        }
    }

    /// Name and reason of the first [header](Self::header) that cannot be sent. It makes the response a 500.
    pub fn invalid_header(&self) -> Option<(&str, &InvalidHeader)> {
        if let Content::Broken(name, error) = &self.content { Some((name, error)) } else { None }
    }

    /// Takes an upgrade apart.
    ///
    /// # Errors
    /// A plain response comes back as it is, for [`encode_response`].
    pub fn into_upgrade(self) -> Result<Upgrade, Self> {
        match self.content {
            Content::Upgrade(mut upgrade) => {
                upgrade.accept.headers = self.headers;
                Ok(*upgrade)
            }
            content => Err(Self { content, ..self }),
        }
    }

    /// Adds headers that only bellwire may set.
    pub(crate) fn with_own_headers(mut self, headers: &[(&str, &str)]) -> Self {
        for (name, value) in headers {
            self.headers.push(name, value.as_bytes());
        }
        self
    }

    fn content(content_type: &str, body: String) -> Self {
        let mut response = Self::new(200).with_body(body);
        response.headers.push("Content-Type", content_type.as_bytes());
        response
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").field("accept", &self.accept).field("config", &self.config).finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Response");
        debug.field("status", &self.status).field("headers", &self.headers);
        match &self.content {
            Content::Body(body) => debug.field("body", &String::from_utf8_lossy(body)).finish(),
            Content::Upgrade(upgrade) => debug.field("protocol", &upgrade.accept.protocol).finish_non_exhaustive(),
            Content::Broken(name, error) => debug.field("invalid_header", &(name, error)).finish(),
        }
    }
}

/// What a handler may return: a [`Response`], or a `Result` of one, whose error becomes a 500.
#[diagnostic::on_unimplemented(
    message = "a handler returns `Response` or `Result<Response, E>`, not `{Self}`",
    note = "`Response::text(..)` makes a response of a text, `Response::websocket(..)` one of a listener",
    note = "an `async` handler goes to `serve_async` or `run_async`, which tokio and async-std have"
)]
pub trait IntoResponse {
    /// The response, or why there is none.
    ///
    /// # Errors
    /// What the handler returned. It is reported to the server's owner, never to the client.
    fn into_response(self) -> Result<Response, BoxError>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response, BoxError> {
        Ok(self)
    }
}

impl<R: IntoResponse, E: Into<BoxError>> IntoResponse for Result<R, E> {
    fn into_response(self) -> Result<Response, BoxError> {
        self.map_err(Into::into)?.into_response()
    }
}

/// For handlers that never return, such as `|_| panic!()`.
impl IntoResponse for <fn() -> ! as Returns>::Output {
    fn into_response(self) -> Result<Response, BoxError> {
        self
    }
}

/// The bytes of a plain HTTP response, behind which the connection is closed.
///
/// The request tells whether there is a body: RFC 9110 §9.3.2: for `HEAD` "the server MUST NOT send content
/// in the response". Without one it is as for `GET`, but what a [refusal](crate::server::Refused::to_response) of
/// `HEAD` makes has none. An upgrade
/// ([`Response::websocket`]) has no such bytes, nor has a response with a header that cannot be sent; what comes out for
/// them is a 500.
pub fn encode_response(request: Option<&Request>, response: &Response) -> Vec<u8> {
    encode_dated(request, response, None)
}

/// The same with this `Date`, if the response has none.
pub(crate) fn encode_dated(request: Option<&Request>, response: &Response, date: Option<&str>) -> Vec<u8> {
    let Content::Body(body) = &response.content else {
        return encode_dated(request, &Response::internal_error(), date);
    };
    let body = if has_content(response.status) { body.as_slice() } else { &[] };
    let mut bytes = encode_head(response, body.len(), date);
    let to_head = response.to_head || request.is_some_and(|request| request.method() == "HEAD");
    if !to_head {
        bytes.extend_from_slice(body);
    }
    bytes
}

fn encode_head(response: &Response, length: usize, date: Option<&str>) -> Vec<u8> {
    let Response { status, headers, own, .. } = response;
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(*status)).into_bytes();
    // RFC 9110 §7.8: "A sender of Upgrade MUST also send an "Upgrade" connection option".
    let options: &[u8] = if headers.values("Upgrade").next().is_some() { b"close, Upgrade" } else { b"close" };
    write_field(&mut head, "Connection", options);
    // RFC 9110 §8.6: "A server MUST NOT send a Content-Length header field in any response with a status code
    // of 1xx (Informational) or 204 (No Content)." That of a 304 would be the length of something else.
    if !matches!(status, 204 | 304) {
        write_field(&mut head, "Content-Length", format!("{length}").as_bytes());
    }
    // RFC 9110 §6.6.1: "An origin server with a clock [..] MUST generate a Date header field in all 2xx (Successful), 3xx
    // (Redirection), and 4xx (Client Error) responses".
    if let Some(date) = date.filter(|_| lacks(headers, "Date")) {
        write_field(&mut head, "Date", date.as_bytes());
    }
    if *own && lacks(headers, "Cache-Control") {
        write_field(&mut head, "Cache-Control", b"no-store");
    }
    headers.write_to(&mut head);
    head.extend_from_slice(b"\r\n");
    head
}

fn lacks(headers: &Headers, name: &str) -> bool {
    headers.values(name).next().is_none()
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

/// The head of the 101 that accepts an upgrade (RFC 6455 §4.2.2).
pub(crate) fn encode_switching(accept_value: &str, protocol: Option<&str>, headers: &Headers) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 101 {}\r\n", reason_phrase(101)).into_bytes();
    write_field(&mut head, "Upgrade", b"websocket");
    write_field(&mut head, "Connection", b"Upgrade");
    write_field(&mut head, "Sec-WebSocket-Accept", accept_value.as_bytes());
    if let Some(protocol) = protocol {
        write_field(&mut head, "Sec-WebSocket-Protocol", protocol.as_bytes());
    }
    headers.write_to(&mut head);
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::super::listener::{Outcome, listener};
    use super::super::socket::WebSocket;
    use super::*;
    use crate::protocol::Message;

    fn encoded(response: &Response) -> String {
        String::from_utf8(encode_response(None, response)).unwrap()
    }

    #[test]
    fn a_response_is_encoded_with_its_length_and_close() {
        let response = Response::text("hi").header("X-A", "1").header("X-A", "2");
        assert_eq!(
            encoded(&response),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\
             Content-Type: text/plain; charset=utf-8\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi"
        );
        assert_eq!(encoded(&Response::new(299)), "HTTP/1.1 299 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    }

    #[test]
    fn head_requests_get_the_length_without_the_body() {
        let head = Request::get("/").with_method("HEAD");
        let bytes = encode_response(Some(&head), &Response::html("<p>"));
        let text = core::str::from_utf8(&bytes).unwrap();
        assert!(text.contains("Content-Length: 3\r\n"), "{text}");
        assert!(text.ends_with("\r\n\r\n"), "{text}");
        assert!(encode_response(Some(&Request::get("/")), &Response::html("<p>")).ends_with(b"\r\n\r\n<p>"));
    }

    #[test]
    fn statuses_without_content_send_none() {
        for (status, length) in [(204, false), (205, true), (304, false)] {
            let text = encoded(&Response::text("body").with_status(status));
            assert!(text.ends_with("\r\n\r\n"), "{text}");
            assert_eq!(text.contains("Content-Length: 0"), length, "{text}");
            assert_eq!(text.contains("Content-Length"), length, "{text}");
        }
    }

    #[test]
    fn a_status_that_no_client_understands_is_500() {
        for status in [0, 99, 100, 101, 199, 600, 999, 1000] {
            assert_eq!(Response::new(status).status(), 500);
            assert_eq!(Response::text("x").with_status(status).status(), 500);
        }
        assert_eq!(Response::new(599).status(), 599);
    }

    #[test]
    fn a_426_names_the_protocol_and_says_so_in_connection() {
        let text = encoded(&Response::upgrade_required());
        assert!(text.starts_with("HTTP/1.1 426 Upgrade Required\r\nConnection: close, Upgrade\r\n"), "{text}");
        assert!(text.contains("\r\nUpgrade: websocket\r\n"), "{text}");
        assert_eq!(Response::not_found().status(), 404);
    }

    #[test]
    fn reserved_and_malformed_headers_are_refused() {
        for name in ["connection", "UPGRADE", "Content-Length", "Transfer-Encoding", "TE", "Trailer", "Sec-WebSocket-X"]
        {
            let error = Response::new(200).try_header(name, "x").unwrap_err();
            assert_eq!(error, InvalidHeader::Reserved(name.to_string()));
            assert!(error.to_string().contains(name));
            assert!(Response::websocket(listener()).try_header(name, "x").is_err());
        }
        assert_eq!(Response::new(200).try_header("x", "a\r\nSet-Cookie: b").unwrap_err(), InvalidHeader::Value);
        assert_eq!(Response::new(200).try_header("x: y\r\nz", "a").unwrap_err(), InvalidHeader::Name);
    }

    #[test]
    fn u5_a_header_that_cannot_be_sent_makes_the_response_a_500_for_good() {
        for (name, value) in [("X Y", "a"), ("X", "a\r\nSet-Cookie: b"), ("Upgrade", "h2c"), ("", "")] {
            for response in [Response::text("secret"), Response::websocket(listener())] {
                let broken = response.header("X-Before", "1").header(name, value).header("X-After", "2");
                let broken = broken.with_status(204).with_body("more").protocol("p").config(Config::default());
                let broken = broken.map_listener(|_| panic!("there is none any more")).header("also bad", "x");
                assert_eq!((broken.status(), broken.body(), broken.is_websocket()), (500, &b""[..], false));
                assert!(broken.headers().is_empty());
                assert_eq!(broken.invalid_header().unwrap().0, name, "the first is told");
                assert!(encoded(&broken).ends_with("\r\n\r\nInternal Server Error\n"));
                assert!(encoded(&broken).starts_with("HTTP/1.1 500 "));
                let Err(broken) = broken.into_upgrade() else { panic!("a plain response") };
                assert!(broken.invalid_header().is_some());
            }
        }
        assert_eq!(Response::text("x").header("X", "1").invalid_header(), None);
    }

    #[test]
    fn a_response_can_be_looked_at() {
        let response = Response::text("hello").with_status(403).header("X-Why", "because");
        assert_eq!((response.status(), response.body()), (403, &b"hello"[..]));
        assert_eq!(response.headers().value("x-why").as_deref(), Some("because"));
        assert_eq!(Response::websocket(listener()).body(), b"");
    }

    #[test]
    fn a_content_type_takes_the_place_of_the_other() {
        let response = Response::text("{}").header("content-type", "application/json");
        assert_eq!(response.headers().value("Content-Type").unwrap(), "application/json");
    }

    #[test]
    fn an_upgrade_keeps_its_status_and_plain_responses_their_body() {
        let upgrade =
            Response::websocket(listener()).with_status(404).with_body("x").protocol("p").config(Config::default());
        assert_eq!((upgrade.status(), upgrade.is_websocket()), (101, true));
        let Ok(upgrade) = upgrade.into_upgrade() else { panic!("an upgrade") };
        assert_eq!(upgrade.config, Some(Config::default()));
        let plain = Response::text("x").protocol("p").config(Config::default()).map_listener(|_| unreachable!());
        let Err(plain) = plain.into_upgrade() else { panic!("a plain response") };
        assert!(encoded(&plain).ends_with("\r\n\r\nx"));
    }

    #[test]
    fn an_upgrade_encoded_as_plain_http_is_a_500() {
        assert!(encoded(&Response::websocket(listener())).starts_with("HTTP/1.1 500 "));
    }

    #[test]
    fn middleware_wraps_the_listener() {
        struct Refusing(Box<dyn Listener>);
        impl Listener for Refusing {
            fn inner(&mut self) -> Option<&mut dyn Listener> {
                Some(&mut self.0)
            }
            fn on_message(&mut self, _: &WebSocket, _: Message<'_>) -> Outcome {
                Err("refused".into())
            }
        }
        let response = Response::websocket(listener()).map_listener(|inner| Box::new(Refusing(inner)));
        let Ok(upgrade) = response.into_upgrade() else { panic!("an upgrade") };
        let mut listener = upgrade.listener;
        struct Dead;
        impl super::super::socket::Socket for Dead {}
        assert!(listener.on_message(&WebSocket::new(Dead), Message::Text("x")).is_err());
    }

    #[test]
    fn handlers_return_responses_results_or_never() {
        fn call<R: IntoResponse>(handler: impl Fn(&Request) -> R) -> Result<Response, BoxError> {
            handler(&Request::get("/")).into_response()
        }
        assert_eq!(call(|_| Response::text("x")).unwrap().status(), 200);
        assert_eq!(call(|_| Ok::<_, BoxError>(Response::new(201))).unwrap().status(), 201);
        assert_eq!(call(|_| Err::<Response, _>("broken")).unwrap_err().to_string(), "broken");
        fn header(request: &Request) -> Result<Response, InvalidHeader> {
            Response::new(200).try_header("X", request.path().as_bytes())
        }
        assert_eq!(call(header).unwrap().headers().value("x").unwrap(), "/");
        let _never = || call(|_| panic!("compiles"));
    }
}
