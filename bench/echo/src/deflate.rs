//! permessage-deflate (RFC 7692), as the load speaks it.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::frames::{FIN, TEXT, header};

/// What a compressed message may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// To itself: no context takeover, on either side.
    Alone,
    /// To those before it, on both sides.
    Takeover,
}

impl Context {
    /// As a server's command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Takeover => "takeover",
        }
    }

    /// What is offered in the opening handshake. With takeover it is what browsers offer.
    pub fn offer(self) -> &'static str {
        match self {
            Self::Alone => "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            Self::Takeover => "permessage-deflate; client_max_window_bits",
        }
    }

    /// Looks into the answer to the opening handshake.
    ///
    /// # Errors
    ///
    /// Something else than what is to be measured was agreed on.
    pub fn check(self, answer: &str) -> io::Result<()> {
        let agreed = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("sec-websocket-extensions").then(|| value.trim())
        });
        let agreed = agreed.unwrap_or_default();
        let is_fine = match self {
            Self::Alone => agreed.contains("server_no_context_takeover"),
            Self::Takeover => !agreed.contains("no_context_takeover"),
        };
        if agreed.starts_with("permessage-deflate") && is_fine {
            return Ok(());
        }
        Err(io::Error::other(format!("the server does not agree to \"{}\": \"{agreed}\"", self.offer())))
    }
}

/// RFC 7692 §7.2.1: "Remove 4 octets (that are 0x00 0x00 0xff 0xff) from the tail end."
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
/// RFC 7692 §6: the bit of a message that is compressed.
pub const RSV1: u8 = 0x40;

/// A message as it is sent: it refers to none before it, which a server cannot tell, and which is right with any window
/// that has the message in it.
pub fn compressed(payload: &[u8]) -> Vec<u8> {
    let mut compressed = Vec::with_capacity(payload.len() * 2 + 64);
    let status =
        Compress::new(Compression::default(), false).compress_vec(payload, &mut compressed, FlushCompress::Sync);
    assert!(status.is_ok() && compressed.ends_with(&TAIL), "there is room for all of it");
    compressed.truncate(compressed.len() - TAIL.len());
    compressed
}

/// Makes of what a server sends compressed what it would have sent otherwise.
pub struct Inflating {
    context: Context,
    inflater: Decompress,
    /// A frame, as far as it has come.
    frame: Vec<u8>,
    message: Vec<u8>,
}

impl Inflating {
    pub fn new(context: Context) -> Self {
        Self { context, inflater: Decompress::new(false), frame: Vec::new(), message: Vec::new() }
    }

    /// Takes what has come, and appends each frame that is complete.
    ///
    /// # Errors
    ///
    /// A message is not compressed, or not as it should be.
    pub fn take(&mut self, bytes: &[u8], frames: &mut Vec<u8>) -> io::Result<()> {
        self.frame.extend_from_slice(bytes);
        let mut taken = 0;
        while let Some((first, payload)) = frame(&self.frame[taken..]) {
            if first != FIN | RSV1 | TEXT {
                return Err(io::Error::other(format!(
                    "an answer is not a compressed text: it begins with {first:#04x}"
                )));
            }
            let payload = taken + payload.start..taken + payload.end;
            taken = payload.end;
            self.inflate(payload)?;
            header(frames, FIN | TEXT, 0, self.message.len());
            frames.extend_from_slice(&self.message);
        }
        self.frame.drain(..taken);
        Ok(())
    }

    fn inflate(&mut self, payload: std::ops::Range<usize>) -> io::Result<()> {
        self.message.clear();
        if self.context == Context::Alone {
            self.inflater.reset(false);
        }
        for mut part in [&self.frame[payload], &TAIL] {
            while !part.is_empty() {
                self.message.reserve(4096);
                let before = self.inflater.total_in();
                let status = self.inflater.decompress_vec(part, &mut self.message, FlushDecompress::Sync);
                part = &part[(self.inflater.total_in() - before) as usize..];
                match status {
                    // A last block: what may follow it has nothing in it.
                    Ok(Status::StreamEnd) if self.context == Context::Alone => return Ok(()),
                    Ok(Status::Ok) => {}
                    other => return Err(io::Error::other(format!("an answer cannot be inflated: {other:?}"))),
                }
            }
        }
        Ok(())
    }
}

/// The first byte of an unmasked frame, and where its payload is; none if it is not complete.
fn frame(bytes: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (start, length) = match second {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into()),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?) as usize),
        small => (2, small.into()),
    };
    (bytes.len() - start >= length).then_some((first, start..start + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server's frame, compressed with what came before.
    fn answer(compressor: &mut Compress, text: &[u8]) -> Vec<u8> {
        let mut compressed = Vec::with_capacity(text.len() + 100);
        compressor.compress_vec(text, &mut compressed, FlushCompress::Sync).unwrap();
        compressed.truncate(compressed.len() - 4);
        let mut frame = Vec::new();
        header(&mut frame, FIN | RSV1 | TEXT, 0, compressed.len());
        frame.extend(compressed);
        frame
    }

    fn plain(text: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        header(&mut frame, FIN | TEXT, 0, text.len());
        frame.extend_from_slice(text);
        frame
    }

    #[test]
    fn answers_are_inflated_however_they_come() {
        let texts: Vec<Vec<u8>> = [2, 300, 5000, 100_000]
            .map(|length| (0..length).flat_map(|at: usize| (at % 251).to_string().into_bytes()).collect())
            .into();
        let expected: Vec<u8> = texts.iter().flat_map(|text| plain(text)).collect();
        for size in [1, 7, 100_000] {
            for context in [Context::Alone, Context::Takeover] {
                let mut compressor = Compress::new(Compression::default(), false);
                let wire: Vec<u8> = texts
                    .iter()
                    .flat_map(|text| {
                        if context == Context::Alone {
                            compressor.reset();
                        }
                        answer(&mut compressor, text)
                    })
                    .collect();
                let (mut inflating, mut frames) = (Inflating::new(context), Vec::new());
                wire.chunks(size).for_each(|part| inflating.take(part, &mut frames).unwrap());
                assert!(frames == expected, "{size} {context:?}");
            }
        }
    }

    #[test]
    fn what_refers_to_messages_before_needs_takeover() {
        let mut compressor = Compress::new(Compression::default(), false);
        let text = b"the same text, twice the same text";
        let wire = [answer(&mut compressor, text), answer(&mut compressor, text)].concat();
        assert!(Inflating::new(Context::Takeover).take(&wire, &mut Vec::new()).is_ok());
        assert!(Inflating::new(Context::Alone).take(&wire, &mut Vec::new()).is_err());
    }

    // RFC 7692 §7.2.3.4: `Using a DEFLATE Block with "BFINAL" Set to 1`.
    #[test]
    fn a_last_block_may_end_a_message_that_is_alone() {
        let mut frames = Vec::new();
        let mut inflating = Inflating::new(Context::Alone);
        for _ in 0..2 {
            inflating.take(b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00", &mut frames).unwrap();
        }
        assert_eq!(frames, b"\x81\x05Hello\x81\x05Hello");
    }

    #[test]
    fn an_answer_that_is_not_compressed_is_refused() {
        let error = Inflating::new(Context::Alone).take(b"\x81\x01a", &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains("0x81"), "{error}");
        assert!(Inflating::new(Context::Takeover).take(b"\xc1\x01\x07", &mut Vec::new()).is_err());
    }

    #[test]
    fn a_message_refers_to_none_before_it() {
        let text = b"a text, a text, a text, a text";
        assert!(compressed(text).len() < text.len());
        let mut wire = Vec::new();
        for _ in 0..2 {
            header(&mut wire, FIN | RSV1 | TEXT, 0, compressed(text).len());
            wire.extend(compressed(text));
        }
        for context in [Context::Alone, Context::Takeover] {
            let mut frames = Vec::new();
            Inflating::new(context).take(&wire, &mut frames).unwrap();
            assert_eq!(frames, [plain(text), plain(text)].concat());
        }
    }

    #[test]
    fn an_answer_is_what_was_offered() {
        let answer =
            |value: &str| format!("HTTP/1.1 101 Switching Protocols\r\nsec-webSocket-Extensions:  {value}\r\n\r\n");
        let both = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";
        assert!(Context::Alone.check(&answer(both)).is_ok());
        assert!(Context::Takeover.check(&answer("permessage-deflate;client_max_window_bits=12")).is_ok());
        for (context, wrong) in [
            (Context::Takeover, both),
            (Context::Alone, "permessage-deflate"),
            (Context::Takeover, "permessage-deflate; client_no_context_takeover"),
            (Context::Takeover, "x-webkit-deflate-frame"),
        ] {
            assert!(context.check(&answer(wrong)).is_err(), "{wrong}");
            assert!(context.check("HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
        }
    }
}
