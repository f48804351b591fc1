//! The response that a handler returns: plain HTTP, or an upgrade with a listener.

#[cfg(feature = "http")]
mod convert;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

#[cfg(feature = "http")]
pub use self::convert::NotPlain;
use super::listener::{IntoListener, Listener, Returns};
use crate::config::Config;
use crate::handshake::server::Accept;
use crate::handshake::{PlainResponse, Request, check_reserved};
use crate::http::{Headers, InvalidHeader};
use crate::protocol::BoxError;

/// A handler's response: [`websocket`](Self::websocket) accepts an upgrade, anything else is plain HTTP, which refuses
/// it.
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
#[derive(Debug)]
pub struct Response(Content);

#[derive(Debug)]
enum Content {
    Plain(PlainResponse),
    Upgrade(Box<Upgrade>),
    /// A header of this name could not be sent: a mistake in the program, answered with 500.
    Broken(String, InvalidHeader),
}

/// The parts of an upgrade ([`Response::into_upgrade`]), for programs that drive the connection themselves.
#[non_exhaustive]
pub struct Upgrade {
    /// Receives the connection's events.
    pub listener: Box<dyn Listener>,
    /// Goes into the 101: pass it to [`Request::accept`].
    pub accept: Accept,
    /// Limits and deadlines in place of the server's.
    pub config: Option<Config>,
}

impl Response {
    /// Creates a response without a body. A status outside 200–599 is a mistake that no client would understand:
    /// it becomes 500.
    pub fn new(status: u16) -> Self {
        PlainResponse::new(status).into()
    }

    /// Creates a 200 with text.
    pub fn text(text: impl Into<String>) -> Self {
        PlainResponse::content("text/plain; charset=utf-8", text.into()).into()
    }

    /// Creates a 200 with HTML.
    pub fn html(html: impl Into<String>) -> Self {
        PlainResponse::content("text/html; charset=utf-8", html.into()).into()
    }

    /// Creates a 404 with a text that says so. No cache keeps it, unless a header says otherwise.
    pub fn not_found() -> Self {
        PlainResponse::own_text(404, "Not found\n").into()
    }

    /// Creates a 426: there is a WebSocket here, and nothing else.
    ///
    /// RFC 9110 §15.5.22: "The server MUST send an Upgrade header field in a 426 response".
    pub fn upgrade_required() -> Self {
        PlainResponse::own_text(426, "This is a WebSocket endpoint: connect with a WebSocket client\n")
            .with_own_header("Upgrade", "websocket")
            .into()
    }

    /// Creates a 204 with the methods that are allowed: the server's own answer to `OPTIONS`, which health checks send
    /// (HAProxy, Apache).
    ///
    /// What a handler returns for `OPTIONS` is sent instead if it is meant for that: if its status is 2xx and it has
    /// `Allow` or `Access-Control-Allow-Origin`, or if it is 5xx, which health checks want to know. So a handler can
    /// let in pages of another origin, which ask first (CORS):
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
    /// RFC 9110 §9.3.7: "A server generating a successful response to OPTIONS SHOULD send any header that might
    /// indicate optional features implemented by the server and applicable to the target resource (e.g., Allow)".
    pub fn options() -> Self {
        PlainResponse::options().into()
    }

    /// Returns `true` if this is meant for `OPTIONS` and is not just what a resource answers to any method, or if it
    /// says that the server has failed.
    #[cfg(feature = "std")]
    pub(crate) fn answers_options(&self) -> bool {
        let is_told = |name| self.headers().contains(name);
        match self.status() {
            200..=299 => is_told("Allow") || is_told("Access-Control-Allow-Origin"),
            status => status >= 500,
        }
    }

    /// Accepts the upgrade: the listener receives the connection's events.
    ///
    /// If the request turns out not to be a valid upgrade, the listener is dropped, none of its callbacks
    /// runs, and the client gets an answer that says what is wrong.
    pub fn websocket(listener: impl IntoListener) -> Self {
        Self::boxed(listener.into_listener())
    }

    /// As [`websocket`](Self::websocket), which would box it once more.
    pub(super) fn boxed(listener: Box<dyn Listener>) -> Self {
        Self(Content::Upgrade(Box::new(Upgrade { listener, accept: Accept::new(), config: None })))
    }

    /// Sets the status. This does nothing on an upgrade, which is 101.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        if let Content::Plain(plain) = &mut self.0 {
            plain.set_status(status);
        }
        self
    }

    /// Sets the body, and with it `Content-Length`. This does nothing on an upgrade.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        if let Content::Plain(plain) = &mut self.0 {
            plain.body = body.into();
        }
        self
    }

    /// Adds a header; that of an upgrade is sent with the 101. A `Content-Type` replaces the one before, others of the
    /// same name are kept.
    ///
    /// This is for headers that the program itself writes. One that cannot be sent is a mistake in the program: the
    /// response becomes a 500, whatever else is done with it, and the server's owner is told. For values that come from
    /// elsewhere, [`try_header`](Self::try_header) says at once whether they can be sent.
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
            Err(error) => Self(Content::Broken(name.into(), error)),
        }
    }

    /// Adds a header as [`header`](Self::header) does, for a value that comes from elsewhere and may be invalid.
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
        let headers = match &mut self.0 {
            Content::Plain(plain) => &mut plain.headers,
            Content::Upgrade(upgrade) => &mut upgrade.accept.headers,
            Content::Broken(..) => return Ok(()),
        };
        check_reserved(name)?;
        if name.eq_ignore_ascii_case("Content-Type") {
            headers.remove(name);
        }
        headers.append(name, value)
    }

    /// Chooses the subprotocol of an upgrade. It must be one that the client offers
    /// ([`Request::select_protocol`]): any other is answered with 500 and reported to the server's owner.
    #[must_use]
    pub fn protocol(mut self, protocol: impl Into<String>) -> Self {
        if let Content::Upgrade(upgrade) = &mut self.0 {
            upgrade.accept.protocol = Some(protocol.into());
        }
        self
    }

    /// Chooses the subprotocol of an upgrade: among those that are supported the one that the client prefers, or none
    /// if it offers none of them.
    ///
    /// A client that offered subprotocols and gets none may continue or fail: Chromium and Node fail with 1006 and no
    /// explanation, Firefox continues. The server's owner is told, once per path and minute.
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
        if let Content::Upgrade(upgrade) = &mut self.0 {
            upgrade.config = Some(config);
        }
        self
    }

    /// Wraps the listener of an upgrade, as middleware does; plain responses stay as they are.
    #[must_use]
    pub fn map_listener(mut self, wrap: impl FnOnce(Box<dyn Listener>) -> Box<dyn Listener>) -> Self {
        if let Content::Upgrade(mut upgrade) = self.0 {
            upgrade.listener = wrap(upgrade.listener);
            self.0 = Content::Upgrade(upgrade);
        }
        self
    }

    /// Returns `true` if this accepts an upgrade.
    pub fn is_websocket(&self) -> bool {
        matches!(self.0, Content::Upgrade(_))
    }

    /// Returns the status code: 101 for an upgrade, 500 after a [header](Self::header) that cannot be sent.
    pub fn status(&self) -> u16 {
        match &self.0 {
            Content::Plain(plain) => plain.status(),
            Content::Upgrade(_) => 101,
            Content::Broken(..) => 500,
        }
    }

    /// Returns the headers that were set, without those that bellwire adds.
    pub fn headers(&self) -> &Headers {
        static NONE: Headers = Headers::new();
        match &self.0 {
            Content::Plain(plain) => plain.headers(),
            Content::Upgrade(upgrade) => &upgrade.accept.headers,
            Content::Broken(..) => &NONE,
        }
    }

    /// Returns the body, empty for an upgrade.
    pub fn body(&self) -> &[u8] {
        if let Content::Plain(plain) = &self.0 { plain.body() } else { &[] }
    }

    /// Returns the name of the first [header](Self::header) that cannot be sent, and what is wrong with it. It makes
    /// the response a 500.
    pub fn invalid_header(&self) -> Option<(&str, &InvalidHeader)> {
        if let Content::Broken(name, error) = &self.0 { Some((name, error)) } else { None }
    }

    /// Returns the parts of an upgrade.
    ///
    /// # Errors
    /// Returns what is to be sent if this is not an upgrade; a 500 after a [header](Self::header) that cannot be sent.
    pub fn into_upgrade(self) -> Result<Upgrade, PlainResponse> {
        match self.0 {
            Content::Plain(plain) => Err(plain),
            Content::Upgrade(upgrade) => Ok(*upgrade),
            Content::Broken(..) => Err(PlainResponse::internal_error()),
        }
    }
}

impl From<PlainResponse> for Response {
    fn from(plain: PlainResponse) -> Self {
        Self(Content::Plain(plain))
    }
}

debug!(Upgrade => |this| accept: this.accept, config: this.config);

/// What a handler may return: a [`Response`], or a `Result` of one, whose error becomes a 500.
#[diagnostic::on_unimplemented(
    message = "a handler returns `Response` or `Result<Response, E>`, not `{Self}`",
    note = "`Response::text(..)` makes a response of a text, `Response::websocket(..)` one of a listener",
    note = "an `async` handler goes to `serve_async` or `run_async`, which tokio, smol and async-std have"
)]
pub trait IntoResponse {
    /// Returns the response.
    ///
    /// # Errors
    /// Returns the handler's error. It is reported to the server's owner, never to the client.
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

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::super::builder::listener;
    use super::super::listener::Outcome;
    use super::super::socket::WebSocket;
    use super::*;
    use crate::handshake::server::Refusal;
    use crate::protocol::Message;

    fn encoded(response: Response) -> String {
        let Err(plain) = response.into_upgrade() else { panic!("a plain response") };
        String::from_utf8(plain.encode(None)).unwrap()
    }

    #[test]
    fn a_response_is_encoded_with_its_length_and_close() {
        let response = Response::text("hi").header("X-A", "1").header("X-A", "2");
        assert_eq!(
            encoded(response),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\
             Content-Type: text/plain; charset=utf-8\r\nX-A: 1\r\nX-A: 2\r\n\r\nhi"
        );
        assert_eq!(encoded(Response::new(299)), "HTTP/1.1 299 \r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
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
        let text = encoded(Response::upgrade_required());
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
                let sent = encoded(broken);
                assert!(sent.starts_with("HTTP/1.1 500 "), "{sent}");
                assert!(sent.ends_with("\r\n\r\nInternal Server Error\n"), "{sent}");
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
        assert!(encoded(plain).ends_with("\r\n\r\nx"));
    }

    #[test]
    fn what_refuses_a_request_may_be_a_handlers_response() {
        let response = Response::from(Refusal::Version.to_response()).header("X-A", "1");
        assert_eq!(response.headers().value("Sec-WebSocket-Version").as_deref(), Some("13"));
        assert!(encoded(response).contains("\r\nX-A: 1\r\n"));
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
