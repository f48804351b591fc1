//! Messages as their frames, for the tools that send them.

mod json;

use std::iter::repeat_n;

pub use json::json;

/// What is sent again and again, and what is to come back.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The message as its frames, with or without a mask.
    pub sent: Vec<u8>,
    /// The frame that comes back, without a mask.
    pub echo: Vec<u8>,
}

const KEY: [u8; 4] = [0x3c, 0xa5, 0x07, 0xe1];

/// Which side sends with a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Masked {
    Sent,
    Echo,
}

impl Exchange {
    /// An exchange of a text in so many frames.
    pub fn text(text: &str, fragments: usize, masked: Masked) -> Self {
        Self::new(1, text.as_bytes(), fragments, masked)
    }

    /// An exchange of a binary message in one frame.
    pub fn binary(payload: &[u8], masked: Masked) -> Self {
        Self::new(2, payload, 1, masked)
    }

    /// An exchange of a text that is sent compressed (RFC 7692 §6). `echo` has it as it is.
    pub fn compressed(text: &str, compressed: &[u8]) -> Self {
        let mut exchange = Self::text(text, 1, Masked::Echo);
        exchange.sent.clear();
        append_frame(&mut exchange.sent, 0xc1, compressed, Some(KEY));
        exchange
    }

    fn new(opcode: u8, payload: &[u8], fragments: usize, masked: Masked) -> Self {
        let key = (masked == Masked::Sent).then_some(KEY);
        let mut sent = Vec::new();
        let pieces: Vec<_> = payload.chunks(payload.len().div_ceil(fragments)).collect();
        for (place, piece) in pieces.iter().enumerate() {
            let fin = if place + 1 == pieces.len() { 0x80 } else { 0 };
            let continued = if place == 0 { opcode } else { 0 };
            append_frame(&mut sent, fin | continued, piece, key);
        }
        let mut echo = Vec::new();
        append_frame(&mut echo, 0x80 | opcode, payload, None);
        Self { sent, echo }
    }

    /// How long what comes back is.
    pub fn echo_length(&self, masked: bool) -> usize {
        self.echo.len() + if masked { 4 } else { 0 }
    }
}

/// RFC 6455 §5.2. `start` is the first byte.
fn append_frame(frames: &mut Vec<u8>, start: u8, payload: &[u8], key: Option<[u8; 4]>) {
    let masked = if key.is_some() { 0x80 } else { 0 };
    frames.push(start);
    match payload.len() {
        length @ 0..=125 => frames.push(masked | length as u8),
        length @ 126..=0xffff => {
            frames.push(masked | 126);
            frames.extend((length as u16).to_be_bytes());
        }
        length => {
            frames.push(masked | 127);
            frames.extend((length as u64).to_be_bytes());
        }
    }
    frames.extend(key.into_iter().flatten());
    let keys = key.unwrap_or_default();
    frames.extend(payload.iter().zip(keys.iter().cycle()).map(|(byte, key)| byte ^ key));
}

/// A frame without its mask, if it has one.
pub fn unmasked(frame: &[u8]) -> Vec<u8> {
    let [start, length, ..] = *frame else { return frame.to_vec() };
    if length & 0x80 == 0 {
        return frame.to_vec();
    }
    let extended = match length & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let (head, rest) = frame.split_at(2 + extended);
    let (key, payload) = rest.split_at(4);
    let plain = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    [start, length & 0x7f].into_iter().chain(head[2..].iter().copied()).chain(plain).collect()
}

/// A text of so many bytes that is ASCII.
pub fn ascii(length: usize) -> String {
    "The quick brown fox jumps over the lazy dog. ".chars().cycle().take(length).collect()
}

/// A text of so many bytes in several scripts: of one, two, three and four bytes for each character.
pub fn multilingual(length: usize) -> String {
    const SCRIPTS: &str = "A bell rings. Звонит колокол. 鐘が鳴ります。 Χτυπά η καμπάνα. 종이 울린다. يدق الجرس 🔔🎐 ";
    let mut text = String::new();
    for character in SCRIPTS.chars().cycle() {
        if text.len() + character.len_utf8() > length {
            break;
        }
        text.push(character);
    }
    let missing = length - text.len();
    text.extend(repeat_n('.', missing));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6455 §5.7: the examples there.
    #[test]
    fn frames_are_those_of_the_rfc() {
        let exchange = Exchange::text("Hello", 1, Masked::Echo);
        assert_eq!(exchange.sent, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(exchange.echo, exchange.sent);
        let masked = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(unmasked(&masked), exchange.echo);
        let fragments = Exchange::text("Hello!", 2, Masked::Echo).sent;
        assert_eq!(fragments, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x03, 0x6c, 0x6f, 0x21]);
    }

    #[test]
    fn what_is_masked_can_be_unmasked() {
        for length in [1, 125, 126, 65_535, 65_536] {
            let exchange = Exchange::text(&ascii(length), 1, Masked::Sent);
            assert_ne!(exchange.sent, exchange.echo);
            assert_eq!(unmasked(&exchange.sent), exchange.echo, "{length}");
            assert_eq!(exchange.sent.len(), exchange.echo_length(true));
        }
    }

    #[test]
    fn texts_have_their_length() {
        for length in [32, 125, 1024] {
            assert_eq!([ascii(length).len(), multilingual(length).len()], [length; 2]);
        }
    }
}
