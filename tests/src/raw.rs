//! A peer made of bytes: says exactly what a test wants it to, right or wrong, and reads strictly.
//! It shares no code with bellwire; the accept value is computed by tungstenite.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;

use crate::{PATIENCE, over_hyper};

/// Opcode of a continuation.
pub const CONTINUATION: u8 = 0x0;
/// Opcode of text.
pub const TEXT: u8 = 0x1;
/// Opcode of binary data.
pub const BINARY: u8 = 0x2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping.
pub const PING: u8 = 0x9;
/// Opcode of a pong.
pub const PONG: u8 = 0xA;

/// The example key of RFC 6455 §1.3, and what answers it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A frame without its mask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is the last of its message.
    pub fin: bool,
    /// What it is.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A whole frame.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { fin: true, opcode, payload: payload.as_ref().to_vec() }
    }

    /// A frame that others continue.
    pub fn unfinished(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self { fin: false, ..Self::new(opcode, payload) }
    }

    /// A text message.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Self::new(TEXT, text)
    }

    /// A close frame.
    pub fn close(code: u16, reason: &str) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_bytes());
        Self::new(CLOSE, payload)
    }

    /// Its bytes, as a client sends it (masked) or a server.
    pub fn encode(&self, masked: bool) -> Vec<u8> {
        let mut bytes = vec![u8::from(self.fin) << 7 | self.opcode];
        let mask_bit = u8::from(masked) << 7;
        match self.payload.len() {
            length @ 0..=125 => bytes.push(mask_bit | length as u8),
            length @ 126..=65_535 => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if masked {
            let key = [0x37, 0xfa, 0x21, 0x3d];
            bytes.extend_from_slice(&key);
            bytes.extend(self.payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }
}

/// One end of a connection, spoken by hand.
#[derive(Debug)]
pub struct Raw<S = TcpStream> {
    stream: BufReader<S>,
    /// Whether this is the client's end.
    client: bool,
    /// The head that the other side has sent.
    pub head: String,
}

impl Raw<TcpStream> {
    /// Connects and shakes hands.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn open(addr: SocketAddr) -> Self {
        Self::open_with(addr, &upgrade_request("/", &[]))
    }

    /// Connects, and sends these bytes, of which the first are a request.
    ///
    /// # Panics
    /// If it is not accepted.
    #[track_caller]
    pub fn open_with(addr: SocketAddr, bytes: &[u8]) -> Self {
        Self::open_over(connect(addr), bytes)
    }

    /// Accepts a connection and its request, without answering it.
    ///
    /// # Panics
    /// If nobody comes.
    pub fn accept(listener: &TcpListener) -> Self {
        let stream = within_patience(listener.accept().map(|(stream, _)| stream).unwrap());
        let mut raw = Self::upgraded(stream, false);
        raw.head = raw.read_head();
        raw
    }

    /// Tells the other side that nothing more comes.
    ///
    /// # Panics
    /// If that fails.
    pub fn shutdown_write(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Sees the connection to its end behind a closing handshake, and hangs up.
    ///
    /// # Panics
    /// If the other side does not end, or has still something to say.
    #[track_caller]
    pub fn hang_up(self) {
        // RFC 6455 §7.1.1: "in most normal cases [...] the server closes first", and a client waits for it.
        if !self.client {
            self.shutdown_write();
        }
        self.expect_end();
    }

    /// Waits until something has arrived, and leaves it unread.
    ///
    /// # Panics
    /// If nothing arrives.
    pub fn wait_unread(&self) {
        assert!(self.stream.buffer().is_empty(), "read ahead");
        assert_ne!(self.stream.get_ref().peek(&mut [0]).unwrap(), 0);
    }

    /// A second handle to write with, while this one reads.
    ///
    /// # Panics
    /// If there can be none.
    #[must_use]
    pub fn twin(&self) -> Self {
        let stream = self.stream.get_ref().try_clone().unwrap();
        Self { head: self.head.clone(), ..Self::upgraded(stream, self.client) }
    }

    /// Sends a message over and over and reads nothing, until the other side, which echoes, does not read any
    /// more, either. Then does something else, and then reads: everything must come back.
    ///
    /// # Panics
    /// If the other side reads on, or something does not come back.
    #[track_caller]
    pub fn stall(&mut self, message: &Frame, meanwhile: impl FnOnce()) {
        /// More than all the buffers in between hold.
        const MOST: usize = 64 * 1024 * 1024;
        let mut writer = self.twin().into_inner();
        let bytes = message.encode(self.client);
        writer.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
        let (mut count, mut left) = (0, &bytes[..]);
        while let Ok(written) = writer.write(left) {
            left = &left[written..];
            if left.is_empty() {
                (count, left) = (count + 1, &bytes[..]);
            }
            assert!(count * bytes.len() < MOST, "the other side still reads");
        }
        assert!(count > 0);

        meanwhile();

        let left = left.to_vec();
        writer.set_write_timeout(Some(PATIENCE)).unwrap();
        let rest = thread::spawn(move || writer.write_all(&left).unwrap());
        for index in 0..=count {
            assert!(self.read() == *message, "message {index} of {count}");
        }
        rest.join().unwrap();
    }
}

impl<S: Read + Write> Raw<S> {
    /// Sends these bytes over a stream, of which the first are a request.
    ///
    /// # Panics
    /// If it is not accepted.
    #[track_caller]
    pub fn open_over(stream: S, bytes: &[u8]) -> Self {
        let mut raw = Self::upgraded(stream, true);
        raw.write(bytes);
        raw.head = raw.read_head();
        assert!(raw.head.starts_with("HTTP/1.1 101 "), "{}", raw.head);
        assert!(raw.head.contains(ACCEPT), "{}", raw.head);
        raw
    }

    /// A stream whose handshake somebody else has done.
    pub fn upgraded(stream: S, client: bool) -> Self {
        Self { stream: BufReader::new(stream), client, head: String::new() }
    }

    /// The stream, for what is no frame.
    ///
    /// # Panics
    /// If something was read ahead.
    pub fn into_inner(self) -> S {
        assert!(self.stream.buffer().is_empty(), "read ahead");
        self.stream.into_inner()
    }

    /// A server's end of a stream: reads the request, and does not answer it.
    pub fn server_over(stream: S) -> Self {
        let mut raw = Self::upgraded(stream, false);
        raw.head = raw.read_head();
        raw
    }

    /// The bytes of a 101 that accepts the request that was read, with these lines besides.
    ///
    /// # Panics
    /// If the request has no key.
    pub fn switching(&self, lines: &[&str]) -> Vec<u8> {
        let key = self.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).expect("no key");
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n",
            derive_accept_key(key.as_bytes())
        );
        for line in lines {
            head.push_str(line);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Sends frames in one write, masked if this is a client.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn send(&mut self, frames: impl IntoIterator<Item = Frame>) {
        let bytes: Vec<u8> = frames.into_iter().flat_map(|frame| frame.encode(self.client)).collect();
        self.write(&bytes);
    }

    /// Reads the next frame.
    ///
    /// # Panics
    /// If there is none, or if it is not a good one.
    #[track_caller]
    pub fn read(&mut self) -> Frame {
        self.try_read().unwrap().expect("the end instead of a frame")
    }

    /// Checks that these frames come next.
    ///
    /// # Panics
    /// If they do not.
    #[track_caller]
    pub fn expect(&mut self, frames: impl IntoIterator<Item = Frame>) {
        for frame in frames {
            assert_eq!(self.read(), frame);
        }
    }

    /// Reads the next frame; `None` at the end.
    ///
    /// # Errors
    /// Those of the stream.
    ///
    /// # Panics
    /// If it is not a good one.
    #[track_caller]
    pub fn try_read(&mut self) -> io::Result<Option<Frame>> {
        let mut start = [0; 2];
        if self.stream.read(&mut start[..1])? == 0 {
            return Ok(None);
        }
        self.stream.read_exact(&mut start[1..])?;
        let [first, second] = start;
        assert_eq!(first & 0x70, 0, "reserved bits");
        assert!(matches!(first & 0x0f, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG), "opcode {first:#x}");
        // RFC 6455 §5.1: a client masks, a server does not.
        assert_eq!(second & 0x80 != 0, !self.client, "mask");
        let length = match second & 0x7f {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes)?;
                let length = usize::from(u16::from_be_bytes(bytes));
                assert!(length > 125, "length not minimal");
                length
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes)?;
                let length = usize::try_from(u64::from_be_bytes(bytes)).unwrap();
                assert!(length > 65_535, "length not minimal");
                length
            }
            length => usize::from(length),
        };
        let mut key = [0; 4];
        if !self.client {
            self.stream.read_exact(&mut key)?;
        }
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
            *byte ^= key;
        }
        Ok(Some(Frame { fin: first & 0x80 != 0, opcode: first & 0x0f, payload }))
    }

    /// Checks that the other side has ended, with a FIN and not with a reset, and hangs up.
    ///
    /// # Panics
    /// If it has not.
    #[track_caller]
    pub fn expect_end(mut self) {
        let mut rest = Vec::new();
        let result = self.stream.read_to_end(&mut rest);
        assert!(result.is_ok(), "{result:?} after {rest:?}");
        assert!(rest.is_empty(), "{rest:?} instead of the end");
    }

    /// Reads to the end, however it comes.
    pub fn drain(&mut self) {
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            // Not ahead: what is behind may have to stay unread.
            match self.stream.get_mut().read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&head)),
            }
        }
        over_hyper::as_ours(String::from_utf8(head).unwrap())
    }
}

/// A plain HTTP response, read to the end of the connection.
#[derive(Debug)]
pub struct Http {
    /// The status code.
    pub status: u16,
    /// The head.
    pub head: String,
    /// What is behind it.
    pub body: String,
}

impl Http {
    /// The value of a header that comes once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (other, value) = line.split_once(": ")?;
            other.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} comes twice");
        value
    }

    /// Reads a response to the end of the connection, which must be a FIN and no reset.
    ///
    /// # Panics
    /// If it is otherwise.
    #[track_caller]
    pub fn read(mut stream: impl Read) -> Self {
        let mut bytes = Vec::new();
        let result = stream.read_to_end(&mut bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(result.is_ok(), "{result:?} after {text:?}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("no status line");
        Self { status: status.parse().unwrap(), head: head.into(), body: body.into() }
    }
}

/// Sends bytes over a new connection, and reads the response to the end.
///
/// # Panics
/// If that fails.
#[track_caller]
pub fn http(addr: SocketAddr, bytes: &[u8]) -> Http {
    let mut stream = connect(addr);
    stream.write_all(bytes).unwrap();
    Http::read(stream)
}

/// The bytes of a request, from its first line and its headers.
pub fn request(first: &str, headers: &[&str]) -> Vec<u8> {
    let mut head = format!("{first}\r\n");
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// The bytes of a good request to upgrade, with these header lines besides.
pub fn upgrade_request(path: &str, more: &[&str]) -> Vec<u8> {
    let key = format!("Sec-WebSocket-Key: {KEY}");
    let mut headers =
        vec!["Host: localhost", "Connection: Upgrade", "Upgrade: websocket", &key, "Sec-WebSocket-Version: 13"];
    headers.extend(more);
    request(&format!("GET {path} HTTP/1.1"), &headers)
}

fn connect(addr: SocketAddr) -> TcpStream {
    within_patience(TcpStream::connect_timeout(&addr, PATIENCE).unwrap())
}

fn within_patience(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
