//! The events of a connection, and messages as they are received.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::close::Closed;
use super::error::Error;

/// An event of a connection. They come in the order in which they happened.
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
    /// ([`Connection::set_auto_pong`](crate::proto::Connection::set_auto_pong)).
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
    /// Returns the text of a text message.
    pub fn as_text(self) -> Option<&'a str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Binary(_) => None,
        }
    }

    /// Returns the payload of either kind.
    pub fn as_bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// Returns a copy that may be kept.
    pub fn into_owned(self) -> OwnedMessage {
        match self {
            Self::Text(text) => OwnedMessage::Text(text.into()),
            Self::Binary(bytes) => OwnedMessage::Binary(Bytes::copy_from_slice(bytes)),
        }
    }
}

impl OwnedMessage {
    /// Returns the text of a text message.
    pub fn as_text(&self) -> Option<&str> {
        self.as_message().as_text()
    }

    /// Returns the payload of either kind.
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
