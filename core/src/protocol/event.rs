//! Messages as they are received and sent, and the events of a connection.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::close::Closed;
use super::error::Error;
use super::prepared::Prepared;

/// What a connection has to say, in the order in which it happened.
///
/// Payloads that came whole in one read are borrowed from the caller's read buffer, others are owned.
/// After [`Closed`](Self::Closed) there are no more events.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A text message, whole.
    Text(Cow<'a, str>),
    /// A binary message, whole.
    Binary(Cow<'a, [u8]>),
    /// A ping, at most 125 bytes. The connection answers it by itself unless its owner took that over
    /// ([`Connection::set_auto_pong`](crate::Connection::set_auto_pong)).
    Ping(Cow<'a, [u8]>),
    /// A pong, asked for or not.
    Pong(Cow<'a, [u8]>),
    /// The connection failed; [`Closed`](Self::Closed) is next.
    Error(Error),
    /// The connection ended. Exactly once, and last.
    Closed(Closed),
}

/// A received message, borrowed while the callback runs; [`into_owned`](Self::into_owned) keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Message<'a> {
    /// Text, checked to be UTF-8.
    Text(&'a str),
    /// Binary data.
    Binary(&'a [u8]),
}

/// A message that owns its payload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum OwnedMessage {
    /// Text.
    Text(String),
    /// Binary data.
    Binary(Bytes),
}

impl<'a> Message<'a> {
    /// The text of a text message.
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// The payload of either kind.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// A copy that may be kept.
    pub fn into_owned(self) -> OwnedMessage {
        match self {
            Self::Text(text) => OwnedMessage::Text(text.into()),
            Self::Binary(bytes) => OwnedMessage::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl OwnedMessage {
    /// The text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    /// The payload of either kind.
    pub fn as_bytes(&self) -> &[u8] {
        self.as_message().as_bytes()
    }

    /// Returns the message, borrowed.
    pub fn as_message(&self) -> Message<'_> {
        match self {
            Self::Text(text) => Message::Text(text),
            Self::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

// `message == "exit"` and `message == b"\x01"`, for both kinds of message.
macro_rules! equals {
    ($([$($generic:tt)*] $type:ty, |$other:ident| $message:expr;)*) => {$(
        impl<$($generic)*> PartialEq<$type> for Message<'_> {
            fn eq(&self, $other: &$type) -> bool {
                *self == $message
            }
        }
        impl<$($generic)*> PartialEq<$type> for OwnedMessage {
            fn eq(&self, $other: &$type) -> bool {
                self.as_message() == $message
            }
        }
    )*};
}

equals! {
    [] str, |other| Message::Text(other);
    [] &str, |other| Message::Text(other);
    [] String, |other| Message::Text(other);
    [] [u8], |other| Message::Binary(other);
    [] &[u8], |other| Message::Binary(other);
    [] Vec<u8>, |other| Message::Binary(other);
    [const N: usize] &[u8; N], |other| Message::Binary(*other);
}

/// A message on its way out, text or binary, borrowed or owned: what `send` takes.
///
/// Made by `From` from `&str`, `String`, `&String`, `Cow<str>`, `&[u8]`, `&[u8; N]`, `Vec<u8>`,
/// `&Vec<u8>`, [`Bytes`], [`Message`], [`OwnedMessage`], `&OwnedMessage`, [`Prepared`] and `&Prepared`. Large owned
/// payloads leave without being copied (a client masks a `Vec` or `String` in place, and copies `Bytes`).
#[derive(Debug)]
pub struct Outgoing<'m> {
    pub(crate) text: bool,
    pub(crate) payload: Payload<'m>,
}

#[derive(Debug)]
pub(crate) enum Payload<'m> {
    Borrowed(&'m [u8]),
    Vec(Vec<u8>),
    Bytes(Bytes),
    Prepared(Cow<'m, Prepared>),
}

impl Outgoing<'_> {
    /// The payload's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.payload {
            Payload::Borrowed(bytes) => bytes,
            Payload::Vec(bytes) => bytes,
            Payload::Bytes(bytes) => bytes,
            Payload::Prepared(prepared) => prepared.payload(),
        }
    }

    /// Whether this is a text message.
    pub fn is_text(&self) -> bool {
        self.text
    }

    /// A share of a payload that has an owner of its own, whose code runs when the last share is dropped.
    #[cfg(feature = "std")]
    pub(crate) fn share(&self) -> Option<Bytes> {
        if let Payload::Bytes(bytes) = &self.payload { Some(bytes.clone()) } else { None }
    }

    /// The message with a payload that may be kept: if it is binary, that of [`Bytes`] and [`Prepared`] stays shared.
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

macro_rules! outgoing {
    ($type:ty, $text:expr, $wrap:expr) => {
        impl<'m> From<$type> for Outgoing<'m> {
            fn from(value: $type) -> Self {
                Self { text: $text, payload: $wrap(value) }
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
        Self { text: prepared.is_text(), payload: Payload::Prepared(Cow::Borrowed(prepared)) }
    }
}

impl From<Prepared> for Outgoing<'_> {
    fn from(prepared: Prepared) -> Self {
        Self { text: prepared.is_text(), payload: Payload::Prepared(Cow::Owned(prepared)) }
    }
}

impl From<Message<'_>> for OwnedMessage {
    fn from(message: Message<'_>) -> Self {
        message.into_owned()
    }
}

impl From<String> for OwnedMessage {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for OwnedMessage {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<&[u8]> for OwnedMessage {
    fn from(bytes: &[u8]) -> Self {
        Self::Binary(Bytes::copy_from_slice(bytes))
    }
}

impl From<Vec<u8>> for OwnedMessage {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for OwnedMessage {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}
