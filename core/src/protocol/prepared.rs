//! A message that is encoded once, to be sent to many.

use alloc::vec::Vec;

use bytes::Bytes;

use super::event::{Outgoing, Payload};
use super::frame::{Header, MAX_HEADER, Opcode};

/// A message that is encoded already: sent to many connections, or many times, it is one frame in memory.
///
/// Made from whatever `send` takes, and sent by reference or by value. Clones share the bytes. A server's connection queues a
/// frame with a payload of 16 KiB or more without copying it, and copies a smaller one at once into what it
/// writes next. A client has to copy, since RFC 6455 §5.3 wants each frame masked with a key of its own.
///
/// [`broadcast`](crate::broadcast) prepares its message by itself.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Prepared, testing::Recorder};
///
/// let socket = Recorder::new().socket();
/// let tick = Prepared::new("tick");
/// for _ in 0..3 {
///     socket.send(&tick)?;
/// }
/// # Ok::<(), bellwire::SendError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Prepared {
    text: bool,
    /// How long the header is, which is the front of the frame.
    header: usize,
    frame: Bytes,
}

impl Prepared {
    /// Encodes a message, text or binary. One that is prepared already is shared.
    pub fn new<'m>(message: impl Into<Outgoing<'m>>) -> Self {
        let message = message.into();
        match message.payload {
            Payload::Prepared(prepared) => prepared.into_owned(),
            _ => Self::encode(message.text, message.as_bytes()),
        }
    }

    fn encode(text: bool, payload: &[u8]) -> Self {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let header = Header::new(opcode, payload.len() as u64);
        let mut buffer = [0; MAX_HEADER];
        let header = header.encode(&mut buffer);
        let mut frame = Vec::with_capacity(header.len() + payload.len());
        frame.extend_from_slice(header);
        frame.extend_from_slice(payload);
        Self { text, header: header.len(), frame: frame.into() }
    }

    pub(crate) fn is_text(&self) -> bool {
        self.text
    }

    /// The frame as a server sends it: not masked.
    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    pub(crate) fn payload(&self) -> &[u8] {
        self.frame.get(self.header..).unwrap_or_default()
    }

    /// The payload, shared.
    pub(crate) fn to_bytes(&self) -> Bytes {
        self.frame.slice(self.header..)
    }
}
