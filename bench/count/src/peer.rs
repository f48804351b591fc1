//! The other ends of the connections of a program that is measured.

use std::io::{self, Error, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Decompress, FlushDecompress};
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
    /// Whether what comes is compressed.
    compresses: bool,
}

impl Peer {
    /// Connects to a server, and asks for the upgrade; [`upgraded`](Self::upgraded) is to be next. If an extension is
    /// offered it is permessage-deflate.
    pub fn connect(address: &str, offer: Option<&str>) -> io::Result<Self> {
        let mut peer = Self::new(TcpStream::connect(address)?, false)?;
        peer.compresses = offer.is_some();
        let offer = offer.map_or_else(String::new, |offer| format!("Sec-WebSocket-Extensions: {offer}\r\n"));
        peer.stream.write_all(
            format!(
                "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
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
        Ok(Self { stream, of_client, compresses: false })
    }

    /// Reads a server's answer.
    pub fn upgraded(&mut self) -> io::Result<()> {
        let head = self.head()?;
        let is_right = head.starts_with("HTTP/1.1 101 ") && head.contains("permessage-deflate") == self.compresses;
        if is_right { Ok(()) } else { Err(unexpected("answer", &head)) }
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
        if self.compresses {
            return (0..times).try_for_each(|_| self.receive_compressed(exchange));
        }
        let length = exchange.echo_length(self.of_client);
        let mut received = vec![0; length * times];
        self.stream.read_exact(&mut received)?;
        match received.chunks(length).find(|echo| unmasked(echo) != exchange.echo) {
            None => Ok(()),
            Some(echo) => Err(unexpected("echo", &String::from_utf8_lossy(echo))),
        }
    }

    /// Receives the first echo of a connection: what comes later may refer to it.
    fn receive_compressed(&mut self, exchange: &Exchange) -> io::Result<()> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        let length = match head {
            [0xc1, small @ 0..=125] => small.into(),
            [0xc1, 126] => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u16::from_be_bytes(length).into()
            }
            _ => return Err(unexpected("frame", &format!("{head:02x?}"))),
        };
        let mut compressed = vec![0; length];
        self.stream.read_exact(&mut compressed)?;
        compressed.extend([0, 0, 0xff, 0xff]);
        let mut text = Vec::with_capacity(exchange.echo.len());
        let inflated = Decompress::new(false).decompress_vec(&compressed, &mut text, FlushDecompress::Sync);
        match inflated {
            Ok(_) if exchange.echo.ends_with(&text) && exchange.echo.len() - text.len() <= 4 => Ok(()),
            _ => Err(unexpected("echo", &String::from_utf8_lossy(&text))),
        }
    }
}

fn unexpected(what: &str, found: &str) -> Error {
    Error::other(format!("an unexpected {what}: {found:?}"))
}
