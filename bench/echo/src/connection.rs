//! A client's connection, which takes no more than the bytes that it expects.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::deflate::{Context, Inflating};
use crate::frames::Batch;
use crate::wire::{Address, Wire};

/// What takes longer does not work.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Connects, and upgrades unless the server echoes raw bytes; where messages are to be compressed, both agree on that.
pub fn open(address: &Address, raw: bool, deflate: Option<Context>) -> io::Result<Wire<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address.at, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = Wire::open(stream, address.tls.as_ref())?;
    if !raw {
        stream.write_all(&upgrade(address.at, deflate))?;
        let answer = upgraded(&mut stream)?;
        if let Some(context) = deflate {
            context.check(&answer)?;
        }
    }
    Ok(stream)
}

/// The request of an opening handshake.
pub fn upgrade(address: SocketAddr, deflate: Option<Context>) -> Vec<u8> {
    // 16 bytes in base64: 22 digits, the last of which has only two bits of them.
    let key: String = std::iter::repeat_with(fastrand::alphanumeric).take(21).collect();
    let offer =
        deflate.map_or_else(String::new, |context| format!("Sec-WebSocket-Extensions: {}\r\n", context.offer()));
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         {offer}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}A==\r\n\r\n"
    )
    .into_bytes()
}

/// Reads the answer, and not a byte more.
pub fn upgraded(stream: &mut impl Read) -> io::Result<String> {
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        answer.extend(byte);
        if answer.len() > 8192 {
            return Err(io::Error::other("the answer to the upgrade is too long"));
        }
    }
    if answer.starts_with(b"HTTP/1.1 101 ") {
        return Ok(String::from_utf8_lossy(&answer).into_owned());
    }
    let first = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(first))))
}

/// A place in what is sent or expected again and again.
#[derive(Clone, Copy, Default)]
struct Place {
    batch: usize,
    offset: usize,
}

impl Place {
    /// Goes on by so many bytes of a batch; whether that was its end.
    fn advance(&mut self, by: usize, length: usize, batches: usize) -> bool {
        self.offset += by;
        let end = self.offset == length;
        if end {
            *self = Self { batch: (self.batch + 1) % batches, offset: 0 };
        }
        end
    }
}

/// Sends batches, each when it is told to, and compares what comes back.
pub struct Connection<'a, S> {
    stream: S,
    batches: &'a [Batch],
    sending: Place,
    receiving: Place,
    /// Batches that are not yet written to their end.
    unsent: usize,
    /// When each batch that is not echoed yet was due.
    due: VecDeque<Instant>,
    /// Where answers are compressed; and what was made of those that have come last.
    inflating: Option<(Inflating, Vec<u8>)>,
    /// Bytes that have come.
    came: u64,
}

impl<'a, S: Read + Write> Connection<'a, S> {
    /// It begins with the batch of that number.
    pub fn new(stream: S, batches: &'a [Batch], first: usize, deflate: Option<Context>) -> Self {
        let first = Place { batch: first % batches.len(), offset: 0 };
        let inflating = deflate.map(|context| (Inflating::new(context), Vec::new()));
        Self { stream, batches, sending: first, receiving: first, unsent: 0, due: VecDeque::new(), inflating, came: 0 }
    }

    /// Sends another batch, as far as the socket has room.
    pub fn send(&mut self, due: Instant) -> io::Result<()> {
        self.due.push_back(due);
        self.unsent += 1;
        self.write()
    }

    /// Goes on to write what there was no room for.
    pub fn write(&mut self) -> io::Result<()> {
        match self.write_all() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            result => result,
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
        // Over TLS there may be some of it left that has been taken.
        self.stream.flush()?;
        while self.unsent > 0 {
            let wire = &self.batches[self.sending.batch].wire;
            let count = self.stream.write(&wire[self.sending.offset..])?;
            self.unsent -= usize::from(self.sending.advance(count, wire.len(), self.batches.len()));
        }
        Ok(())
    }

    /// Reads what is there; `echoed` is called for each batch that is complete with when it was due.
    ///
    /// # Errors
    ///
    /// A byte is not that of the echo.
    pub fn read(&mut self, buffer: &mut [u8], mut echoed: impl FnMut(Instant)) -> io::Result<()> {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed the connection")),
                Ok(count) => {
                    self.came += count as u64;
                    self.inflated(&buffer[..count], &mut echoed)?;
                    // Less than there was room for: that was all, and an event will tell of more.
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn inflated(&mut self, bytes: &[u8], echoed: &mut impl FnMut(Instant)) -> io::Result<()> {
        let Some((mut inflating, mut frames)) = self.inflating.take() else { return self.received(bytes, echoed) };
        frames.clear();
        inflating.take(bytes, &mut frames)?;
        self.received(&frames, echoed)?;
        self.inflating = Some((inflating, frames));
        Ok(())
    }

    fn received(&mut self, mut bytes: &[u8], echoed: &mut impl FnMut(Instant)) -> io::Result<()> {
        while !bytes.is_empty() {
            let echo = &self.batches[self.receiving.batch].echo;
            let expected = &echo[self.receiving.offset..];
            let (found, rest) = bytes.split_at(bytes.len().min(expected.len()));
            let Some(due) = self.due.front().filter(|_| expected.starts_with(found)) else {
                return Err(self.wrong(found, expected));
            };
            if self.receiving.advance(found.len(), echo.len(), self.batches.len()) {
                echoed(*due);
                self.due.pop_front();
            }
            bytes = rest;
        }
        Ok(())
    }

    #[cold]
    fn wrong(&self, found: &[u8], expected: &[u8]) -> io::Error {
        let at = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
        io::Error::other(match (found.get(at), self.due.is_empty()) {
            (Some(byte), false) => {
                let at_all = self.receiving.offset + at;
                format!("a wrong echo: its byte {at_all} is {byte:#04x} and not {:#04x}", expected[at])
            }
            _ => "a wrong echo: more came than was sent".to_owned(),
        })
    }

    /// How many bytes have come, as they were on the wire.
    pub fn came(&self) -> u64 {
        self.came
    }

    /// Whether all that was sent came back.
    pub fn idle(&self) -> bool {
        self.due.is_empty()
    }

    /// When each batch was due that is not echoed.
    pub fn outstanding(&self) -> impl Iterator<Item = Instant> {
        self.due.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Content, Shape};

    /// Has what is to be read, in parts of any size, and takes a few bytes at a time.
    #[derive(Default)]
    struct Script {
        input: VecDeque<Vec<u8>>,
        output: Vec<u8>,
        room: usize,
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(part) = self.input.pop_front() else { return Err(io::ErrorKind::WouldBlock.into()) };
            buffer[..part.len()].copy_from_slice(&part);
            Ok(part.len())
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.room.min(bytes.len());
            self.room -= count;
            self.output.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn batches() -> Vec<Batch> {
        Shape { content: Content::Text, length: 300, fragments: 2, depth: 3, deflate: None }.batches(false)
    }

    /// Sends two batches, reads this, and tells how many came back.
    fn run(batches: &[Batch], input: impl IntoIterator<Item = Vec<u8>>) -> io::Result<usize> {
        let script = Script { input: input.into_iter().collect(), output: Vec::new(), room: usize::MAX };
        let mut connection = Connection::new(script, batches, 0, None);
        connection.send(Instant::now())?;
        connection.send(Instant::now())?;
        let mut count = 0;
        while !connection.stream.input.is_empty() {
            connection.read(&mut [0; 4096], |_| count += 1)?;
        }
        assert_eq!(connection.idle(), count == 2);
        Ok(count)
    }

    #[test]
    fn echoes_may_come_in_any_parts() {
        let batches = batches();
        let all = [&*batches[0].echo, &*batches[1].echo].concat();
        for size in [1, 7, 303, 909, 910, 4096] {
            assert_eq!(run(&batches, all.chunks(size).map(Vec::from)).unwrap(), 2);
        }
        assert_eq!(run(&batches, all[..all.len() - 1].chunks(7).map(Vec::from)).unwrap(), 1);
    }

    #[test]
    fn each_wrong_byte_is_found() {
        let batches = batches();
        let all = [&*batches[0].echo, &*batches[1].echo].concat();
        for at in 0..all.len() {
            let mut wrong = all.clone();
            wrong[at] ^= 1;
            let error = run(&batches, wrong.chunks(100).map(Vec::from)).unwrap_err().to_string();
            assert!(error.contains(&format!("byte {} is", at % batches[0].echo.len())), "{at}: {error}");
        }
    }

    #[test]
    fn more_than_was_sent_is_wrong() {
        let batches = batches();
        let all = [&*batches[0].echo, &*batches[1].echo, &batches[2].echo[..1]].concat();
        assert!(run(&batches, all.chunks(100).map(Vec::from)).unwrap_err().to_string().contains("more came"));
    }

    #[test]
    fn what_a_socket_has_no_room_for_follows() {
        let batches = batches();
        let mut connection = Connection::new(Script::default(), &batches, 1, None);
        connection.send(Instant::now()).unwrap();
        connection.send(Instant::now()).unwrap();
        while connection.stream.output.len() < batches[1].wire.len() + batches[2].wire.len() {
            connection.stream.room = 100;
            connection.write().unwrap();
        }
        assert_eq!(connection.stream.output, [&*batches[1].wire, &*batches[2].wire].concat());
        connection.stream.room = 100;
        connection.write().unwrap();
        assert_eq!(connection.stream.room, 100);
    }

    #[test]
    fn an_upgrade_is_read_to_its_end_and_no_further() {
        let mut answer: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n\x81";
        assert!(upgraded(&mut answer).unwrap().ends_with("A: b\r\n\r\n"));
        assert_eq!(answer, b"\x81");
        let error = upgraded(&mut &b"HTTP/1.1 404 Not Found\r\n\r\n"[..]).unwrap_err();
        assert!(error.to_string().contains("404"));
    }
}
