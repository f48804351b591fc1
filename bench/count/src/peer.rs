//! The other ends of the connections of a program that is measured.

use std::io::{self, Error, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use bellwire_bench_messages::{Exchange, unmasked};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// Of the handshake: any 16 bytes do.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection to the program.
pub struct Peer {
    stream: TcpStream,
    /// Whether the program is a client, which masks.
    of_client: bool,
}

impl Peer {
    /// Connects to a server, and asks for the upgrade; [`upgraded`](Self::upgraded) is to be next.
    pub fn connect(address: &str) -> io::Result<Self> {
        let mut peer = Self::new(TcpStream::connect(address)?, false)?;
        peer.stream.write_all(
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            .as_bytes(),
        )?;
        Ok(peer)
    }

    /// Accepts a client, and upgrades it.
    pub fn accept(listener: &TcpListener) -> io::Result<Self> {
        let (stream, _) = listener.accept()?;
        let mut peer = Self::new(stream, true)?;
        let head = peer.head()?;
        let key = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim())
        });
        let key = key.ok_or_else(|| unexpected("request", &head))?;
        let accept = STANDARD.encode(Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11")));
        peer.stream.write_all(
            format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            )
            .as_bytes(),
        )?;
        Ok(peer)
    }

    fn new(stream: TcpStream, of_client: bool) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, of_client })
    }

    /// Reads a server's answer.
    pub fn upgraded(&mut self) -> io::Result<()> {
        let head = self.head()?;
        if head.starts_with("HTTP/1.1 101 ") { Ok(()) } else { Err(unexpected("answer", &head)) }
    }

    /// Reads a head of HTTP byte by byte: nothing of what follows is to be lost.
    fn head(&mut self) -> io::Result<String> {
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            self.stream.read_exact(&mut byte)?;
            head.extend(byte);
        }
        Ok(String::from_utf8_lossy(&head).into_owned())
    }

    /// Sends a message so many times, at once.
    pub fn send(&mut self, exchange: &Exchange, times: usize) -> io::Result<()> {
        self.stream.write_all(&exchange.sent.repeat(times))
    }

    /// Sends a close frame: 1000, masked with zeros.
    pub fn close(&mut self) -> io::Result<()> {
        self.stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8])
    }

    /// Receives a server's close frame, and its end.
    pub fn closed(&mut self) -> io::Result<()> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        if rest == [0x88, 2, 3, 0xe8] { Ok(()) } else { Err(unexpected("end", &format!("{rest:02x?}"))) }
    }

    /// Receives so many echoes, and checks each.
    pub fn receive(&mut self, exchange: &Exchange, times: usize) -> io::Result<()> {
        let length = exchange.echo_length(self.of_client);
        let mut received = vec![0; length * times];
        self.stream.read_exact(&mut received)?;
        match received.chunks(length).find(|echo| unmasked(echo) != exchange.echo) {
            None => Ok(()),
            Some(echo) => Err(unexpected("echo", &String::from_utf8_lossy(echo))),
        }
    }
}

fn unexpected(what: &str, found: &str) -> Error {
    Error::other(format!("an unexpected {what}: {found:?}"))
}
