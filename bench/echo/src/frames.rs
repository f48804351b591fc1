//! Messages as a client sends them, masked beforehand, and their echoes.

use std::borrow::Cow;

use bellwire_bench_messages::json;

use crate::deflate::{Context, RSV1, compressed};

/// What the messages of a scenario are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// ASCII text.
    Text,
    /// Text in several scripts: one to four bytes for a character.
    Multilingual,
    /// Records with the same keys and other values.
    Json,
    Binary,
}

/// Messages that are sent at once, and what comes back.
#[derive(Clone, Debug)]
pub struct Batch {
    pub wire: Vec<u8>,
    /// Where it comes compressed: what it would have been otherwise.
    pub echo: Vec<u8>,
}

/// What a batch is made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub content: Content,
    pub length: usize,
    /// Frames of a message.
    pub fragments: usize,
    /// Messages sent at once.
    pub depth: usize,
    /// Whether messages are compressed.
    pub deflate: Option<Context>,
}

/// All batches together: enough that no two messages in a row are alike, and not more than fits a processor's cache.
const BATCHES_BYTES: usize = 1 << 20;
/// Batches that are compressed: when the first is sent again, a window of 32 KiB has nothing of it any more.
const COMPRESSED_BATCHES: usize = 512;

pub const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
pub const TEXT: u8 = 1;
const BINARY: u8 = 2;

impl Shape {
    /// Different batches, which a connection sends in turn. Where `raw`, bytes come back as they were sent.
    pub fn batches(self, raw: bool) -> Vec<Batch> {
        let most = if self.deflate.is_some() { COMPRESSED_BATCHES } else { 64 };
        let count = (BATCHES_BYTES / (self.length * self.depth)).clamp(2, most);
        (0..count).map(|_| self.batch(raw)).collect()
    }

    fn batch(self, raw: bool) -> Batch {
        let (mut wire, mut echo) = (Vec::new(), Vec::new());
        for _ in 0..self.depth {
            let payload = self.payload();
            self.send(&payload, &mut wire);
            header(&mut echo, FIN | self.opcode(), 0, payload.len());
            echo.extend_from_slice(&payload);
        }
        if raw {
            echo.clone_from(&wire);
        }
        Batch { wire, echo }
    }

    fn opcode(self) -> u8 {
        if self.content == Content::Binary { BINARY } else { TEXT }
    }

    fn payload(self) -> Vec<u8> {
        match self.content {
            Content::Binary => std::iter::repeat_with(|| fastrand::u8(..)).take(self.length).collect(),
            Content::Text => std::iter::repeat_with(|| fastrand::alphanumeric() as u8).take(self.length).collect(),
            Content::Multilingual => multilingual(self.length).into_bytes(),
            Content::Json => json(self.length, fastrand::u64(..)).into_bytes(),
        }
    }

    /// A message as frames, each with a key of its own.
    fn send(self, payload: &[u8], wire: &mut Vec<u8>) {
        let payload = if self.deflate.is_some() { Cow::from(compressed(payload)) } else { payload.into() };
        let size = payload.len().div_ceil(self.fragments);
        let mut opcode = self.opcode() | if self.deflate.is_some() { RSV1 } else { 0 };
        let mut parts = payload.chunks(size).peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            header(wire, if last { FIN | opcode } else { opcode }, MASKED, part.len());
            let key: [u8; 4] = std::array::from_fn(|_| fastrand::u8(..));
            wire.extend_from_slice(&key);
            wire.extend(part.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
            opcode = 0;
        }
    }
}

pub fn header(frame: &mut Vec<u8>, first: u8, masked: u8, length: usize) {
    frame.push(first);
    match length {
        0..=125 => frame.push(masked | length as u8),
        126..=0xffff => {
            frame.push(masked | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            frame.push(masked | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A close frame with the code 1000, masked.
pub fn close() -> Vec<u8> {
    let mut frame = vec![FIN | 8, MASKED | 2, 0, 0, 0, 0];
    frame.extend_from_slice(&1000_u16.to_be_bytes());
    frame
}

/// A message of its own, for servers that are not measured by scenario.
pub fn message(content: Content, length: usize, raw: bool) -> Batch {
    Shape { content, length, fragments: 1, depth: 1, deflate: None }.batch(raw)
}

const WORDS: [&str; 12] = [
    "the quick brown fox ",
    "größer als gewöhnlich ",
    "καλημέρα κόσμε ",
    "съешь ещё этих булок ",
    "مرحبا بالعالم ",
    "שלום עולם ",
    "नमस्ते दुनिया ",
    "素早い茶色の狐 ",
    "天地玄黃宇宙洪荒 ",
    "안녕하세요 세계 ",
    "🦀🔔🌍🚀 ",
    "zażółć gęślą jaźń ",
];

/// Text of so many bytes exactly.
fn multilingual(length: usize) -> String {
    let mut text = String::with_capacity(length);
    while text.len() < length {
        for character in fastrand::choice(&WORDS).expect("there are words").chars() {
            if text.len() + character.len_utf8() > length {
                break;
            }
            text.push(character);
        }
        if length - text.len() < 4 {
            text.extend(std::iter::repeat_n('.', length - text.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Inflating;

    /// What a server reads: whether it ends a message, its opcode, and its payload.
    fn frame(wire: &mut &[u8]) -> (bool, u8, Vec<u8>) {
        let mut take = |count: usize| {
            let (taken, rest) = wire.split_at(count);
            *wire = rest;
            taken.to_vec()
        };
        let first = take(1)[0];
        let second = take(1)[0];
        assert_eq!(second & MASKED, MASKED, "a client masks");
        let length = match second & 0x7f {
            126 => u16::from_be_bytes(take(2).try_into().unwrap()).into(),
            127 => u64::from_be_bytes(take(8).try_into().unwrap()) as usize,
            small => small.into(),
        };
        let key = take(4);
        let payload = take(length).iter().enumerate().map(|(at, byte)| byte ^ key[at % 4]).collect();
        (first & FIN != 0, first & 0x7f, payload)
    }

    #[test]
    fn a_frame_is_what_the_rfc_has_as_an_example() {
        // RFC 6455, section 5.7: a single-frame unmasked text message (contains "Hello").
        let mut echo = Vec::new();
        header(&mut echo, FIN | TEXT, 0, 5);
        echo.extend_from_slice(b"Hello");
        assert_eq!(echo, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        // 256 bytes and 64 KiB of binary data, unmasked.
        let mut longer = Vec::new();
        header(&mut longer, FIN | BINARY, 0, 256);
        header(&mut longer, FIN | BINARY, 0, 65536);
        assert_eq!(longer, [0x82, 0x7e, 0x01, 0x00, 0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn what_is_sent_is_the_echo_masked() {
        for (content, opcode, length, fragments, depth) in [
            (Content::Text, TEXT, 32, 1, 64),
            (Content::Text, TEXT, 125, 1, 1),
            (Content::Text, TEXT, 126, 1, 1),
            (Content::Multilingual, TEXT, 1024, 4, 4),
            (Content::Binary, BINARY, 65536, 1, 2),
            (Content::Multilingual, TEXT, 1 << 20, 1, 1),
        ] {
            let batch = Shape { content, length, fragments, depth, deflate: None }.batch(false);
            let (mut wire, mut echo) = (&*batch.wire, Vec::new());
            for _ in 0..depth {
                let mut message = Vec::new();
                for at in 0..fragments {
                    let (fin, found, payload) = frame(&mut wire);
                    assert_eq!(found, if at == 0 { opcode } else { 0 });
                    assert_eq!(fin, at + 1 == fragments);
                    message.extend(payload);
                }
                assert_eq!(message.len(), length);
                assert!(opcode != TEXT || std::str::from_utf8(&message).is_ok());
                header(&mut echo, FIN | opcode, 0, length);
                echo.extend(message);
            }
            assert!(wire.is_empty() && echo == batch.echo);
        }
    }

    #[test]
    fn what_is_sent_compressed_is_the_echo() {
        let shape =
            Shape { content: Content::Json, length: 300, fragments: 2, depth: 3, deflate: Some(Context::Alone) };
        let batch = shape.batch(false);
        let (mut wire, mut answer, mut frames) = (&*batch.wire, Vec::new(), Vec::new());
        for _ in 0..3 {
            let [(false, 0x41, first), (true, 0, rest)] = [frame(&mut wire), frame(&mut wire)] else {
                panic!("{wire:?}")
            };
            header(&mut answer, FIN | RSV1 | TEXT, 0, first.len() + rest.len());
            answer.extend(first.into_iter().chain(rest));
        }
        Inflating::new(Context::Takeover).take(&answer, &mut frames).unwrap();
        assert!(wire.is_empty() && frames == batch.echo);
        let raw = shape.batch(true);
        assert_eq!(raw.wire, raw.echo);
    }

    #[test]
    fn keys_and_messages_differ() {
        let batches =
            Shape { content: Content::Text, length: 32, fragments: 1, depth: 2, deflate: None }.batches(false);
        let keys: std::collections::HashSet<_> = batches.iter().map(|batch| batch.wire[2..6].to_vec()).collect();
        let echoes: std::collections::HashSet<_> = batches.iter().map(|batch| &batch.echo).collect();
        assert!(keys.len() > batches.len() / 2 && echoes.len() == batches.len() && batches.len() > 1);
    }

    #[test]
    fn a_server_without_frames_returns_what_was_sent() {
        let batch = message(Content::Binary, 100, true);
        assert_eq!(batch.wire, batch.echo);
        assert_ne!(message(Content::Binary, 100, false).echo, batch.wire);
    }

    #[test]
    fn a_close_frame_is_masked() {
        assert_eq!(frame(&mut &*close()), (true, 8, vec![0x03, 0xe8]));
    }
}
