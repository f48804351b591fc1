//! Messages as they are at a broker: a byte that says what it is, eight for the node that it comes from, and the payload.

use bytes::{BufMut, Bytes, BytesMut};

use bellwire_core::{Message, Outgoing};

use crate::node::NodeId;

/// What comes before the payload, in bytes.
pub(crate) const HEADER: usize = 9;

const TEXT: u8 = b'T';
const BINARY: u8 = b'B';
const PRESENCE: u8 = b'P';

/// What came from a broker.
#[derive(Debug, PartialEq)]
pub(crate) enum Packet<'a> {
    Message(Message<'a>),
    Presence(&'a [u8]),
}

/// It is nothing that a node has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) fn message(node: NodeId, message: &Outgoing<'_>) -> Bytes {
    encode(if message.is_text() { TEXT } else { BINARY }, node, message.as_bytes())
}

pub(crate) fn presence(node: NodeId, payload: &[u8]) -> Bytes {
    encode(PRESENCE, node, payload)
}

fn encode(kind: u8, node: NodeId, payload: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
    bytes.put_u8(kind);
    bytes.put_slice(&node.to_bytes());
    bytes.put_slice(payload);
    bytes.freeze()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<(NodeId, Packet<'_>), Malformed> {
    let (&kind, rest) = bytes.split_first().ok_or(Malformed)?;
    let (&node, payload) = rest.split_first_chunk().ok_or(Malformed)?;
    let packet = match kind {
        TEXT => Packet::Message(Message::Text(std::str::from_utf8(payload).map_err(|_| Malformed)?)),
        BINARY => Packet::Message(Message::Binary(payload)),
        PRESENCE => Packet::Presence(payload),
        _ => return Err(Malformed),
    };
    Ok((NodeId::from_bytes(node), packet))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bytes(*b"12345678");

    #[test]
    fn what_was_encoded_is_decoded() {
        for payload in ["", "hello", "€"] {
            let bytes = message(NODE, &payload.into());
            assert_eq!(bytes, [b"T12345678", payload.as_bytes()].concat());
            assert_eq!(decode(&bytes), Ok((NODE, Packet::Message(Message::Text(payload)))));
        }
        let bytes = message(NODE, &b"\xff".into());
        assert_eq!(decode(&bytes), Ok((NODE, Packet::Message(Message::Binary(b"\xff")))));
        assert_eq!(decode(&presence(NODE, b"x")), Ok((NODE, Packet::Presence(b"x"))));
    }

    #[test]
    fn what_is_too_short_of_no_kind_or_no_text_is_malformed() {
        let whole = message(NODE, &"".into());
        for end in 0..HEADER {
            assert_eq!(decode(&whole[..end]), Err(Malformed));
        }
        for bytes in [&b"X12345678"[..], b"T12345678\xff", b"t12345678hello"] {
            assert_eq!(decode(bytes), Err(Malformed));
        }
    }
}
