//! tungstenite: the peer that nobody here wrote, in both roles.

use std::net::{SocketAddr, TcpListener, TcpStream};

use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::CloseFrame;
use tungstenite::{ClientRequestBuilder, Error, Message, WebSocket};

use crate::PATIENCE;

/// One end of a connection, driven by tungstenite.
pub struct Theirs {
    /// tungstenite's own socket.
    pub socket: WebSocket<TcpStream>,
    /// The headers that the other side has sent.
    pub headers: tungstenite::http::HeaderMap,
}

impl Theirs {
    /// Connects.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, "/", &[], &[])
    }

    /// Connects to a path, with headers and subprotocols.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn connect_with(addr: SocketAddr, path: &str, headers: &[(&str, &str)], protocols: &[&str]) -> Self {
        let stream = patient(TcpStream::connect_timeout(&addr, PATIENCE).unwrap());
        let mut request = ClientRequestBuilder::new(format!("ws://{addr}{path}").parse().unwrap());
        for (name, value) in headers {
            request = request.with_header(*name, *value);
        }
        for protocol in protocols {
            request = request.with_sub_protocol(*protocol);
        }
        let (socket, response) = tungstenite::client(request, stream).unwrap();
        Self { socket, headers: response.headers().clone() }
    }

    /// Accepts a connection, with these headers in the 101.
    ///
    /// # Panics
    /// If nobody comes, or comes in a wrong way.
    pub fn accept(listener: &TcpListener, headers: &'static [(&'static str, &'static str)]) -> Self {
        let stream = patient(listener.accept().unwrap().0);
        let mut received = None;
        // The error is tungstenite's, whose size is its own affair.
        #[allow(clippy::result_large_err)]
        let answer = |request: &Request, mut response: Response| {
            received = Some(request.headers().clone());
            for (name, value) in headers {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            Ok(response)
        };
        let socket = tungstenite::accept_hdr(stream, answer).unwrap();
        Self { socket, headers: received.expect("no request") }
    }

    /// The value of a header that the other side has sent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Sends a message.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send(&mut self, message: Message) {
        self.socket.send(message).unwrap();
    }

    /// Sends text.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send_text(&mut self, text: &str) {
        self.send(Message::text(text));
    }

    /// Reads the next message, control frames included.
    ///
    /// # Panics
    /// If there is none.
    #[track_caller]
    pub fn read(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// Begins to close.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn close(&mut self, code: u16, reason: &str) {
        self.socket.close(Some(CloseFrame { code: code.into(), reason: reason.into() })).unwrap();
    }

    /// Reads the other side's close frame, which must come next, sees the connection to its end, and hangs up.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn read_close(mut self) -> Option<(u16, String)> {
        let frame = match self.read() {
            Message::Close(frame) => frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())),
            other => panic!("{other:?} instead of a close"),
        };
        match self.socket.read() {
            Err(Error::ConnectionClosed) => frame,
            other => panic!("{other:?} behind a close"),
        }
    }
}

fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
