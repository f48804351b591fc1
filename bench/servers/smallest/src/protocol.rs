//! Frames in, frames out.

use base64::prelude::{BASE64_STANDARD, Engine};
use sha1::{Digest, Sha1};

/// What a connection knows between two reads.
#[derive(Default)]
pub struct Protocol {
    open: bool,
    /// A frame, or a request, that is not there to its end.
    unfinished: Vec<u8>,
    /// A message that came in fragments so far, and the opcode of its first one.
    message: Vec<u8>,
    opcode: u8,
}

impl Protocol {
    /// Whether the connection goes on.
    pub fn receive(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> bool {
        if self.unfinished.is_empty() {
            return match self.take(input, output) {
                Some(count) => {
                    self.unfinished.extend_from_slice(&input[count..]);
                    true
                }
                None => false,
            };
        }
        let mut all = std::mem::take(&mut self.unfinished);
        all.extend_from_slice(input);
        let Some(count) = self.take(&mut all, output) else { return false };
        if count == 0 {
            self.unfinished = all;
        } else {
            self.unfinished.extend_from_slice(&all[count..]);
        }
        true
    }

    /// Takes what is there to its end: so many bytes.
    fn take(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> Option<usize> {
        let mut taken = 0;
        if !self.open {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else { return Some(0) };
            upgrade(&input[..end], output)?;
            self.open = true;
            taken = end + 4;
        }
        while let Some(frame) = Frame::parse(&input[taken..])? {
            let end = taken + frame.header + frame.length;
            let Some(payload) = input.get_mut(taken + frame.header..end) else { break };
            unmask(payload, frame.key);
            if !self.echo(frame.first, payload, output) {
                return None;
            }
            taken = end;
        }
        Some(taken)
    }

    /// Whether the connection goes on.
    fn echo(&mut self, first: u8, payload: &[u8], output: &mut Vec<u8>) -> bool {
        match first {
            0x81 | 0x82 if self.opcode == 0 => return write_message(first & 0x0f, payload, output),
            0x01 | 0x02 if self.opcode == 0 => {
                self.opcode = first;
                self.message.extend_from_slice(payload);
            }
            0x00 if self.opcode != 0 => self.message.extend_from_slice(payload),
            0x80 if self.opcode != 0 => {
                self.message.extend_from_slice(payload);
                let message = std::mem::take(&mut self.message);
                return write_message(std::mem::take(&mut self.opcode), &message, output);
            }
            0x88 => {
                write(0x88, payload, output);
                return false;
            }
            0x89 => write(0x8a, payload, output),
            0x8a => {}
            _ => return false,
        }
        true
    }
}

struct Frame {
    first: u8,
    key: [u8; 4],
    header: usize,
    length: usize,
}

impl Frame {
    /// Some(None): its header is not there to its end.
    fn parse(bytes: &[u8]) -> Option<Option<Self>> {
        let [first, second, rest @ ..] = bytes else { return Some(None) };
        if second & 0x80 == 0 {
            return None;
        }
        let (header, length) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (8, u16::from_be_bytes([*a, *b]).into()),
            (127, [a, b, c, d, e, f, g, h, ..]) => (14, u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])),
            (126 | 127, _) => return Some(None),
            (length, _) => (6, length.into()),
        };
        let Some(key) = bytes.get(header - 4..header) else { return Some(None) };
        Some(Some(Self { first: *first, key: key.try_into().ok()?, header, length: length.try_into().ok()? }))
    }
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let word = u64::from_ne_bytes(std::array::from_fn(|at| key[at % 4]));
    let mut words = payload.chunks_exact_mut(8);
    for eight in &mut words {
        let unmasked = u64::from_ne_bytes(eight.try_into().expect("eight bytes")) ^ word;
        eight.copy_from_slice(&unmasked.to_ne_bytes());
    }
    words.into_remainder().iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// Whether it may be sent: text is UTF-8.
fn write_message(opcode: u8, payload: &[u8], output: &mut Vec<u8>) -> bool {
    let right = opcode != 1 || simdutf8::basic::from_utf8(payload).is_ok();
    if right {
        write(0x80 | opcode, payload, output);
    }
    right
}

fn write(first: u8, payload: &[u8], output: &mut Vec<u8>) {
    match payload.len() {
        length @ 0..126 => output.extend_from_slice(&[first, length as u8]),
        length @ 126..0x1_0000 => {
            output.extend_from_slice(&[first, 126]);
            output.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            output.extend_from_slice(&[first, 127]);
            output.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    output.extend_from_slice(payload);
}

fn upgrade(request: &[u8], output: &mut Vec<u8>) -> Option<()> {
    let request = std::str::from_utf8(request).ok()?;
    let fields = request.split("\r\n").filter_map(|line| line.split_once(':'));
    let key =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key.trim()).next()?;
    let digest = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let accept = BASE64_STANDARD.encode(digest);
    output.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    output.extend_from_slice(format!("Sec-WebSocket-Accept: {accept}\r\n\r\n").as_bytes());
    Some(())
}
