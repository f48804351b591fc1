//! What servers speak: plain WebSocket messages, or socket.io's packets inside of them.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;

/// Digits of a message's number, with which it begins.
pub const DIGITS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Plain,
    /// Engine.IO 4, whose packets begin with a digit, with Socket.IO 5 in its messages (4).
    SocketIo,
}

/// How a frame looks that brings a message of the room to a member: the number stands between the two.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

impl Delivery {
    pub fn len(&self) -> usize {
        self.before.len() + DIGITS + self.after.len()
    }

    pub fn number(&self) -> Range<usize> {
        self.before.len()..self.before.len() + DIGITS
    }
}

/// Engine.IO's ping, in a frame of a server's; what a client answers is its pong.
pub const PING: &[u8] = b"\x81\x012";

impl Dialect {
    pub fn delivery(self, length: usize) -> Delivery {
        let (before, after) = self.around(length);
        let payload = before.len() + DIGITS + after.len();
        Delivery { before: [header(payload, false), before.into()].concat(), after }
    }

    /// A publisher's frame with the message of this number.
    pub fn publish(self, number: u64, length: usize, output: &mut Vec<u8>) {
        let (before, after) = self.around(length);
        masked(format!("{before}{number:016x}{}", String::from_utf8_lossy(&after)).as_bytes(), output);
    }

    pub fn pong(self, output: &mut Vec<u8>) {
        masked(b"3", output);
    }

    /// What stands around the number in a text whose message has this length.
    fn around(self, length: usize) -> (&'static str, Vec<u8>) {
        let rest = "x".repeat(length.saturating_sub(DIGITS));
        match self {
            Self::Plain => ("", rest.into_bytes()),
            Self::SocketIo => ("42[\"m\",\"", (rest + "\"]").into_bytes()),
        }
    }

    /// Opens a connection, up to where messages come.
    pub fn open(self, stream: &mut (impl Read + Write), address: SocketAddr, publishes: bool) -> io::Result<()> {
        let path = match (self, publishes) {
            (Self::Plain, false) => "/member",
            (Self::Plain, true) => "/publisher",
            (Self::SocketIo, false) => "/socket.io/?EIO=4&transport=websocket",
            (Self::SocketIo, true) => "/socket.io/?EIO=4&transport=websocket&publisher=1",
        };
        upgrade(stream, address, path)?;
        if self == Self::SocketIo {
            expect(stream, "0{")?;
            let mut connect = Vec::new();
            masked(b"40", &mut connect);
            stream.write_all(&connect)?;
            expect(stream, "40{")?;
        }
        Ok(())
    }
}

fn upgrade(stream: &mut (impl Read + Write), address: SocketAddr, path: &str) -> io::Result<()> {
    // 16 bytes in base64: 22 digits, the last of which has only two bits of them.
    let key: String = std::iter::repeat_with(fastrand::alphanumeric).take(21).collect();
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}A==\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
        if answer.len() > 8192 {
            return Err(io::Error::other("the answer to the upgrade is too long"));
        }
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(());
    }
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(first))))
}

/// Reads a text that begins so.
fn expect(stream: &mut impl Read, start: &str) -> io::Result<()> {
    let mut header = [0; 2];
    stream.read_exact(&mut header)?;
    let length = match header {
        [0x81, length @ 0..126] => length.into(),
        [0x81, 126] => {
            stream.read_exact(&mut header)?;
            u16::from_be_bytes(header).into()
        }
        _ => return Err(io::Error::other("it does not speak socket.io: no text came")),
    };
    let mut text = vec![0; length];
    stream.read_exact(&mut text)?;
    if text.starts_with(start.as_bytes()) {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&text);
    Err(io::Error::other(format!("it does not speak socket.io: {text:?} does not begin with {start}")))
}

/// A text's header; a client's is followed by a key.
fn header(length: usize, masked: bool) -> Vec<u8> {
    let mask = u8::from(masked) << 7;
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ 0..126), _) => vec![0x81, mask | length],
        (_, Ok(length)) => [&[0x81, mask | 126][..], &length.to_be_bytes()].concat(),
        _ => [&[0x81, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

fn masked(text: &[u8], output: &mut Vec<u8>) {
    let key = fastrand::u32(..).to_ne_bytes();
    output.extend(header(text.len(), true));
    output.extend(key);
    output.extend(text.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives what is laid out, and keeps what is written.
    struct Script {
        input: io::Cursor<Vec<u8>>,
        written: Vec<u8>,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.input.read(buffer)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn opened(dialect: Dialect, publishes: bool, frames: &[u8]) -> (io::Result<()>, Vec<u8>) {
        let answer = [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", frames].concat();
        let mut script = Script { input: io::Cursor::new(answer), written: Vec::new() };
        let opened = dialect.open(&mut script, SocketAddr::from(([127, 0, 0, 1], 80)), publishes);
        (opened, script.written)
    }

    fn unmasked(frame: &[u8], header: usize) -> String {
        let (key, payload) = frame[header..].split_at(4);
        payload.iter().zip(key.iter().cycle()).map(|(byte, key)| char::from(byte ^ key)).collect()
    }

    #[test]
    fn a_message_has_its_length_and_its_number() {
        let mut frame = Vec::new();
        Dialect::Plain.publish(0xabc, 32, &mut frame);
        assert_eq!(frame[..2], [0x81, 0x80 | 32]);
        assert_eq!(unmasked(&frame, 2), format!("0000000000000abc{}", "x".repeat(16)));
        frame.clear();
        Dialect::SocketIo.publish(1, 1024, &mut frame);
        assert_eq!(frame[..2], [0x81, 0xfe]);
        assert_eq!(unmasked(&frame, 4), format!("42[\"m\",\"0000000000000001{}\"]", "x".repeat(1008)));
    }

    #[test]
    fn a_delivery_is_what_was_published_without_the_mask() {
        for (dialect, length) in
            [(Dialect::Plain, 32), (Dialect::Plain, 1024), (Dialect::SocketIo, 32), (Dialect::SocketIo, 125)]
        {
            let (delivery, mut published) = (dialect.delivery(length), Vec::new());
            dialect.publish(7, length, &mut published);
            let header = delivery.len() - (published.len() - 4 - if published[1] == 0xfe { 4 } else { 2 });
            let frame = [&delivery.before, &b"0000000000000007"[..], &delivery.after].concat();
            assert_eq!(frame.len(), delivery.len());
            assert_eq!(&frame[delivery.number()], b"0000000000000007");
            assert_eq!(frame[1] & 0x7f, published[1] & 0x7f);
            assert_eq!(String::from_utf8_lossy(&frame[header..]), unmasked(&published, header));
        }
    }

    #[test]
    fn a_connection_is_opened_as_its_server_wants() {
        let (opened_plain, written) = opened(Dialect::Plain, true, b"");
        assert!(opened_plain.is_ok() && written.starts_with(b"GET /publisher HTTP/1.1\r\n"));
        let (opened_io, written) = opened(Dialect::SocketIo, false, b"\x81\x030{}\x81\x0440{}");
        assert!(opened_io.is_ok(), "{opened_io:?}");
        assert!(written.starts_with(b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n"));
        assert_eq!(unmasked(&written[written.len() - 6..], 0), "40");
    }

    #[test]
    fn what_does_not_speak_socket_io_is_not_opened() {
        for frames in [&b""[..], b"\x82\x030{}", b"\x81\x033{}", b"\x81\x030{}\x81\x0544{}x"] {
            assert!(opened(Dialect::SocketIo, false, frames).0.is_err(), "{frames:?}");
        }
    }
}
