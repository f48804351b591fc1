//! Messages as they are sent: text or binary, borrowed or owned, or encoded once to be sent to many.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::deflate::CompressedFrames;
use super::event::{Message, OwnedMessage};
use super::frame::{Header, Opcode};
#[cfg(feature = "std")]
use super::pool::{LARGE, SHARED, share};
use crate::config::Config;
use crate::context::Window;

/// A prepared message that is shorter than this is sent as any other. One that may be compressed is compressed only once.
#[cfg(feature = "std")]
const COPIED: usize = if cfg!(feature = "deflate") { 64 } else { SHARED };

/// A message on its way out, text or binary, borrowed or owned: what `send` takes.
///
/// Made by `From` from `&str`, `String`, `&String`, `Cow<str>`, `&[u8]`, `&[u8; N]`, `Vec<u8>`,
/// `&Vec<u8>`, [`Bytes`], [`Message`], [`OwnedMessage`], `&OwnedMessage`, [`Prepared`] and `&Prepared`. Large owned
/// payloads leave without being copied (a client masks a `Vec` or `String` in place, and copies `Bytes`).
#[derive(Debug)]
pub struct Outgoing<'m> {
    pub(super) text: bool,
    /// It may be compressed, if that was negotiated.
    pub(super) is_compressible: bool,
    pub(super) payload: Payload<'m>,
}

#[derive(Debug)]
pub(super) enum Payload<'m> {
    Borrowed(&'m [u8]),
    Vec(Vec<u8>),
    Bytes(Bytes),
    Prepared(Cow<'m, Prepared>),
}

impl<'m> Outgoing<'m> {
    /// Returns the same message, if it is borrowed and so small that it is copied.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn as_small(&self) -> Option<Self> {
        match self.payload {
            Payload::Borrowed(payload) if payload.len() < LARGE => {
                Some(Self { payload: Payload::Borrowed(payload), ..*self })
            }
            _ => None,
        }
    }

    /// Borrows a small message that is owned or prepared, and that is copied nevertheless: a short header is made anew in
    /// less time than it takes to tell that kind from others.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn borrow_small(&self) -> Option<Outgoing<'_>> {
        let payload = match &self.payload {
            Payload::Prepared(prepared) if prepared.payload().len() < COPIED => prepared.payload(),
            Payload::Vec(payload) => payload,
            Payload::Borrowed(_) | Payload::Bytes(_) | Payload::Prepared(_) => return None,
        };
        (payload.len() < LARGE).then_some(Outgoing { payload: Payload::Borrowed(payload), ..*self })
    }

    /// Has the message sent as it is, also where [compression](crate::config::Deflate) was negotiated: one that would get
    /// no shorter, or that holds a secret.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn uncompressed(self) -> Self {
        Self { is_compressible: false, ..self }
    }

    /// Returns the payload's bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.payload.as_bytes()
    }

    /// Returns `true` if this is a text message.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// Creates a text that may be sent [again](Self::again) without being copied.
    #[cfg(feature = "std")]
    pub(crate) fn shared(text: String) -> Self {
        Self { text: true, is_compressible: true, payload: Payload::Bytes(share(text.into_bytes())) }
    }

    /// Returns the message with a payload that may be kept, and sent [again](Self::again) without being copied.
    #[cfg(feature = "std")]
    pub(crate) fn into_shared(self) -> Outgoing<'static> {
        let payload = match self.payload {
            Payload::Borrowed(payload) => Bytes::copy_from_slice(payload),
            Payload::Vec(payload) => share(payload),
            Payload::Bytes(payload) => payload,
            Payload::Prepared(prepared) => prepared.to_bytes(),
        };
        Outgoing { payload: Payload::Bytes(payload), text: self.text, is_compressible: self.is_compressible }
    }

    /// Returns the same message once more, with a share of its payload or a borrow.
    #[cfg(feature = "std")]
    pub(crate) fn again(&self) -> Outgoing<'_> {
        let payload = match &self.payload {
            Payload::Bytes(bytes) => Payload::Bytes(bytes.clone()),
            _ => Payload::Borrowed(self.as_bytes()),
        };
        Outgoing { payload, ..*self }
    }

    /// Shares a borrowed payload instead of copying it, if there is a share of it.
    #[cfg(feature = "std")]
    pub(crate) fn sharing(self, share_of: impl FnOnce(&[u8]) -> Option<Bytes>) -> Self {
        match self.payload {
            Payload::Borrowed(bytes) if bytes.len() >= LARGE => match share_of(bytes) {
                Some(share) => Self { payload: Payload::Bytes(share), ..self },
                None => self,
            },
            _ => self,
        }
    }

    /// Returns a share of a payload that has an owner of its own, whose code runs when the last share is dropped.
    #[cfg(feature = "std")]
    pub(crate) fn share(&self) -> Option<Bytes> {
        if let Payload::Bytes(bytes) = &self.payload { Some(bytes.clone()) } else { None }
    }

    /// Returns the message with a payload that may be kept: if it is binary, that of [`Bytes`] and [`Prepared`] stays
    /// shared.
    pub fn into_owned(self) -> OwnedMessage {
        let bytes = match self.payload {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Vec(bytes) => bytes.into(),
            Payload::Bytes(bytes) => bytes,
            Payload::Prepared(prepared) => prepared.to_bytes(),
        };
        if self.text {
            // Text is only ever made from `str`, so nothing is replaced here.
            OwnedMessage::Text(
                String::from_utf8(bytes.into())
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            )
        } else {
            OwnedMessage::Binary(bytes)
        }
    }
}

impl Payload<'_> {
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Vec(bytes) => bytes,
            Self::Bytes(bytes) => bytes,
            Self::Prepared(prepared) => prepared.payload(),
        }
    }
}

macro_rules! outgoing {
    ($type:ty, $text:expr, $wrap:expr) => {
        impl<'m> From<$type> for Outgoing<'m> {
            fn from(value: $type) -> Self {
                Self { text: $text, is_compressible: true, payload: $wrap(value) }
            }
        }
    };
}

outgoing!(&'m str, true, |text: &'m str| Payload::Borrowed(text.as_bytes()));
outgoing!(&'m String, true, |text: &'m String| Payload::Borrowed(text.as_bytes()));
outgoing!(String, true, |text: String| Payload::Vec(text.into_bytes()));
outgoing!(&'m [u8], false, Payload::Borrowed);
outgoing!(&'m Vec<u8>, false, |bytes: &'m Vec<u8>| Payload::Borrowed(bytes));
outgoing!(Vec<u8>, false, Payload::Vec);
outgoing!(Bytes, false, Payload::Bytes);

impl<'m, const N: usize> From<&'m [u8; N]> for Outgoing<'m> {
    fn from(bytes: &'m [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'m> From<Cow<'m, str>> for Outgoing<'m> {
    fn from(text: Cow<'m, str>) -> Self {
        match text {
            Cow::Borrowed(text) => text.into(),
            Cow::Owned(text) => text.into(),
        }
    }
}

impl<'m> From<Message<'m>> for Outgoing<'m> {
    fn from(message: Message<'m>) -> Self {
        match message {
            Message::Text(text) => text.into(),
            Message::Binary(bytes) => bytes.into(),
        }
    }
}

impl From<OwnedMessage> for Outgoing<'_> {
    fn from(message: OwnedMessage) -> Self {
        match message {
            OwnedMessage::Text(text) => text.into(),
            OwnedMessage::Binary(bytes) => bytes.into(),
        }
    }
}

impl<'m> From<&'m OwnedMessage> for Outgoing<'m> {
    fn from(message: &'m OwnedMessage) -> Self {
        match message {
            OwnedMessage::Text(text) => text.into(),
            // Shares the payload instead of copying it.
            OwnedMessage::Binary(bytes) => bytes.clone().into(),
        }
    }
}

impl<'m> From<&'m Prepared> for Outgoing<'m> {
    fn from(prepared: &'m Prepared) -> Self {
        let Prepared { text, is_compressible, .. } = *prepared;
        Self { text, is_compressible, payload: Payload::Prepared(Cow::Borrowed(prepared)) }
    }
}

impl From<Prepared> for Outgoing<'_> {
    fn from(prepared: Prepared) -> Self {
        let Prepared { text, is_compressible, .. } = prepared;
        Self { text, is_compressible, payload: Payload::Prepared(Cow::Owned(prepared)) }
    }
}

/// A message that is encoded already: sent to many connections, or many times, it is one frame in memory.
///
/// Made from whatever `send` takes, and sent by reference or by value. Clones share the bytes. A server's connection
/// queues a frame with a payload of 512 bytes or more without copying it, and copies a smaller one at once into what it
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
    /// The length of the header, which is the front of the frame.
    header: usize,
    frame: Bytes,
    is_compressible: bool,
    /// The same message compressed, as far as that was needed.
    compressed: CompressedFrames,
}

impl Prepared {
    /// Encodes a message, text or binary. One that is prepared already is shared.
    pub fn new<'m>(message: impl Into<Outgoing<'m>>) -> Self {
        let message = message.into();
        match message.payload {
            Payload::Prepared(prepared) => Self { is_compressible: message.is_compressible, ..prepared.into_owned() },
            _ => Self { is_compressible: message.is_compressible, ..Self::encode(message.text, message.as_bytes()) },
        }
    }

    fn encode(text: bool, payload: &[u8]) -> Self {
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let header = Header::new(opcode, payload.len() as u64);
        let mut frame = Vec::with_capacity(header.encoded_len() + payload.len());
        header.encode(&mut frame);
        frame.extend_from_slice(payload);
        Self {
            text,
            header: header.encoded_len(),
            frame: frame.into(),
            is_compressible: true,
            compressed: CompressedFrames::default(),
        }
    }

    /// Returns the frame as a server sends it: not masked.
    pub(super) fn frame(&self) -> &Bytes {
        &self.frame
    }

    /// Returns the frame as a server sends it compressed, or `None` if that is no shorter.
    pub(super) fn compressed(&self, window: Window, config: &Config) -> Option<&Bytes> {
        let opcode = if self.text { Opcode::Text } else { Opcode::Binary };
        self.compressed.get(opcode, self.payload(), window, config)
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.frame.get(self.header..).unwrap_or_default()
    }

    /// Returns the payload, shared.
    pub(super) fn to_bytes(&self) -> Bytes {
        self.frame.slice(self.header..)
    }
}

#[cfg(all(test, feature = "std"))]
mod tests {
    use super::*;

    #[test]
    fn a_shared_text_is_sent_again_without_a_copy_and_given_back_as_it_was() {
        for text in ["a small one", &"€".repeat(LARGE)] {
            let shared = Outgoing::shared(text.into());
            let (first, second) = (shared.again(), shared.again());
            assert!(first.is_text() && first.as_bytes() == text.as_bytes());
            assert_eq!(first.as_bytes().as_ptr(), second.as_bytes().as_ptr());
            assert_eq!(shared.into_owned(), OwnedMessage::Text(text.into()));
        }
    }
}
