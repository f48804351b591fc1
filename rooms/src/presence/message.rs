//! What nodes say to each other about who is where, and how that is written.
//!
//! The first byte is the version of this format (its upper half) and what is said. Numbers are LEB128, as short as they can
//! be; a name is its length, a byte, and its UTF-8. What would be read in two ways, or has bytes left over, is malformed.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use super::{MAX_WHO, Malformed};
use crate::node::NodeId;

const FORMAT: u8 = 1 << 4;

const BEAT: u8 = FORMAT;
const BYE: u8 = FORMAT | 1;
const STATE: u8 = FORMAT | 2;
const DIFF: u8 = FORMAT | 3;
const LIST: u8 = FORMAT | 4;
const ASK: u8 = FORMAT | 5;
const GONE: u8 = FORMAT | 6;

/// More than what a message has beside names and nodes, in bytes: the kind and up to four numbers.
const FIXED: usize = 48;
const MAX_NUMBER: usize = 10;

/// What a node says. The first two are for all nodes, the others for those in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// The node lives, says so this often, and has gone through all its rooms this many times.
    Beat { heartbeat: Duration, round: u64 },
    /// The node has left all rooms.
    Bye,
    /// What the node's members in the room come down to.
    State(State),
    /// How the node's members have changed since the version before.
    Diff { version: u64, connections: u64, joined: Vec<&'a str>, left: Vec<&'a str> },
    /// A part of the names of the node's members.
    List { version: u64, connections: u64, part: u64, is_last: bool, names: Vec<&'a str> },
    /// Wants to hear from every node in the room: the state of those whose version is among these, the list of others.
    Ask { state: State, known: Vec<(NodeId, u64)> },
    /// The node has no members in the room any more.
    Gone,
}

/// What a node's members in a room come down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// Another one after each change that was announced.
    pub(super) version: u64,
    pub(super) connections: u64,
    /// The sum of the [hashes](super::digest::of) of the names.
    pub(super) digest: u64,
}

impl<'a> Message<'a> {
    pub(super) fn encode(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Beat { heartbeat, round } => {
                bytes.put_u8(BEAT);
                put_number(&mut bytes, u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX));
                put_number(&mut bytes, *round);
            }
            Self::Bye => bytes.put_u8(BYE),
            Self::Gone => bytes.put_u8(GONE),
            Self::State(state) => {
                bytes.put_u8(STATE);
                put_state(&mut bytes, *state);
            }
            Self::Diff { version, connections, joined, left } => {
                bytes.put_u8(DIFF);
                put_number(&mut bytes, *version);
                put_number(&mut bytes, *connections);
                put_number(&mut bytes, joined.len() as u64);
                joined.iter().chain(left).for_each(|name| put_name(&mut bytes, name));
            }
            Self::List { version, connections, part, is_last, names } => {
                bytes.put_u8(LIST);
                put_number(&mut bytes, *version);
                put_number(&mut bytes, *connections);
                put_number(&mut bytes, *part);
                bytes.put_u8(u8::from(*is_last));
                names.iter().for_each(|name| put_name(&mut bytes, name));
            }
            Self::Ask { state, known } => {
                bytes.put_u8(ASK);
                put_state(&mut bytes, *state);
                for (node, version) in known {
                    bytes.put_slice(&node.to_bytes());
                    put_number(&mut bytes, *version);
                }
            }
        }
        bytes.freeze()
    }

    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        let message = match input.byte()? {
            BEAT => Self::Beat { heartbeat: Duration::from_millis(input.number()?), round: input.number()? },
            BYE => Self::Bye,
            GONE => Self::Gone,
            STATE => Self::State(input.state()?),
            DIFF => {
                let (version, connections, count) = (input.number()?, input.number()?, input.number()?);
                // Each takes two bytes at least, so that a count is not believed before the names are there.
                let joined = (0..count).map(|_| input.name()).collect::<Result<_, _>>()?;
                Self::Diff { version, connections, joined, left: input.rest(Input::name)? }
            }
            LIST => {
                let (version, connections, part) = (input.number()?, input.number()?, input.number()?);
                let is_last = input.flag()?;
                Self::List { version, connections, part, is_last, names: input.rest(Input::name)? }
            }
            ASK => {
                Self::Ask { state: input.state()?, known: input.rest(|input| Ok((input.node()?, input.number()?)))? }
            }
            _ => return Err(Malformed),
        };
        if input.0.is_empty() { Ok(message) } else { Err(Malformed) }
    }
}

/// How many nodes an [`Ask`](Message::Ask) of so many bytes can name.
pub(super) const fn most_nodes(limit: usize) -> usize {
    limit.saturating_sub(FIXED) / (8 + MAX_NUMBER)
}

/// Splits names into parts that fit into messages of so many bytes. There is at least one part, and one name in each if
/// there are names.
pub(super) fn parts<T>(names: &[T], limit: usize, name: impl Fn(&T) -> &str) -> Vec<&[T]> {
    let room = limit.saturating_sub(FIXED);
    let (mut parts, mut start, mut length) = (Vec::new(), 0, 0);
    for (index, item) in names.iter().enumerate() {
        let more = 1 + name(item).len();
        if length + more > room && index > start {
            parts.extend(names.get(start..index));
            (start, length) = (index, 0);
        }
        length += more;
    }
    parts.extend(names.get(start..));
    parts
}

fn put_number(bytes: &mut BytesMut, mut number: u64) {
    while number >= 0x80 {
        bytes.put_u8(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.put_u8(number as u8);
}

fn put_state(bytes: &mut BytesMut, state: State) {
    put_number(bytes, state.version);
    put_number(bytes, state.connections);
    bytes.put_u64(state.digest);
}

fn put_name(bytes: &mut BytesMut, name: &str) {
    debug_assert!((1..=MAX_WHO).contains(&name.len()));
    bytes.put_u8(name.len() as u8);
    bytes.put_slice(name.as_bytes());
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        self.take().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            let (is_cut, is_padded) = (bits << shift >> shift != bits, byte == 0 && shift > 0);
            if is_cut || is_padded {
                return Err(Malformed);
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Malformed)
    }

    fn node(&mut self) -> Result<NodeId, Malformed> {
        self.take().map(NodeId::from_bytes)
    }

    fn state(&mut self) -> Result<State, Malformed> {
        let (version, connections) = (self.number()?, self.number()?);
        Ok(State { version, connections, digest: u64::from_be_bytes(self.take()?) })
    }

    fn name(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        if !(1..=MAX_WHO).contains(&length) {
            return Err(Malformed);
        }
        let (name, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        std::str::from_utf8(name).map_err(|_| Malformed)
    }

    fn rest<T>(&mut self, mut read: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let mut items = Vec::new();
        while !self.0.is_empty() {
            items.push(read(self)?);
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const NODE: NodeId = NodeId::from_bytes(*b"12345678");
    const SOME: State = State { version: 300, connections: 2, digest: 0x0102_0304_0506_0708 };

    fn one_of_each() -> Vec<(Message<'static>, &'static [u8])> {
        vec![
            (Message::Beat { heartbeat: Duration::from_secs(5), round: 1 }, b"\x10\x88\x27\x01"),
            (Message::Bye, b"\x11"),
            (Message::State(SOME), b"\x12\xac\x02\x02\x01\x02\x03\x04\x05\x06\x07\x08"),
            (
                Message::Diff { version: 1, connections: 3, joined: vec!["ann"], left: vec!["b", "\u{20ac}"] },
                b"\x13\x01\x03\x01\x03ann\x01b\x03\xe2\x82\xac",
            ),
            (
                Message::List { version: 1, connections: 3, part: 2, is_last: true, names: vec!["ann"] },
                b"\x14\x01\x03\x02\x01\x03ann",
            ),
            (
                Message::Ask { state: SOME, known: vec![(NODE, 7)] },
                b"\x15\xac\x02\x02\x01\x02\x03\x04\x05\x06\x07\x0812345678\x07",
            ),
            (Message::Gone, b"\x16"),
        ]
    }

    #[test]
    fn the_bytes_of_each_message_are_these() {
        for (message, bytes) in one_of_each() {
            assert_eq!(message.encode(), bytes, "{message:?}");
            assert_eq!(Message::decode(bytes), Ok(message));
        }
    }

    #[test]
    fn a_message_that_is_cut_is_malformed_or_a_shorter_list() {
        for (message, bytes) in one_of_each() {
            for end in 0..bytes.len() {
                let Ok(shorter) = Message::decode(&bytes[..end]) else { continue };
                assert_eq!(shorter.encode(), bytes[..end]);
                let is_list = matches!(message, Message::Diff { .. } | Message::List { .. } | Message::Ask { .. });
                assert!(is_list, "{message:?} cut to {end}");
            }
        }
    }

    #[test]
    fn what_has_bytes_left_over_is_malformed() {
        for (message, bytes) in one_of_each() {
            assert_eq!(Message::decode(&[bytes, b"\0"].concat()), Err(Malformed), "{message:?}");
        }
    }

    #[test]
    fn what_could_be_written_shorter_or_stands_for_nothing_is_malformed() {
        let long = [&b"\x14\x01\x01\x00\x01\x81"[..], &[b'a'; 129]].concat();
        let cases: [&[u8]; 11] = [
            b"",
            b"\x17",
            b"\x00",
            b"\x20\x01\x01",
            b"\x10\x80\x00\x01",
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x01",
            b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x14\x01\x01\x00\x02",
            b"\x14\x01\x01\x00\x01\x00",
            b"\x14\x01\x01\x00\x01\x01\xff",
            &long,
        ];
        for bytes in cases {
            assert_eq!(Message::decode(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn an_announced_count_takes_no_memory() {
        assert_eq!(Message::decode(b"\x13\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), Err(Malformed));
    }

    #[test]
    fn names_are_split_where_a_message_is_full() {
        let names = vec!["x".repeat(MAX_WHO); 10];
        let parts = parts(&names, FIXED + 3 * (MAX_WHO + 1), |name| name);
        assert_eq!(parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [3, 3, 3, 1]);
        assert_eq!(super::parts(&names, 0, |name| name).len(), 10);
        assert_eq!(super::parts(&[], 1000, |name: &String| name), [&[] as &[String]]);
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        vec("[a-z\u{20ac}]{1,42}", 0..20)
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(
            version: u64, connections: u64, digest: u64, part: u64, is_last: bool, joined in names(), left in names(),
            known in vec((any::<[u8; 8]>(), any::<u64>()), 0..20),
        ) {
            let joined: Vec<_> = joined.iter().map(|name| &**name).collect();
            let left: Vec<_> = left.iter().map(|name| &**name).collect();
            let state = State { version, connections, digest };
            let known = known.into_iter().map(|(node, version)| (NodeId::from_bytes(node), version)).collect();
            for message in [
                Message::Beat { heartbeat: Duration::from_millis(version), round: part },
                Message::State(state),
                Message::List { version, connections, part, is_last, names: joined.clone() },
                Message::Diff { version, connections, joined, left },
                Message::Ask { state, known },
            ] {
                let bytes = message.encode();
                prop_assert_eq!(Message::decode(&bytes), Ok(message));
            }
        }

        #[test]
        fn what_is_decoded_is_what_would_be_encoded(kind in 0x10_u8..0x18, rest in vec(any::<u8>(), 0..60)) {
            let bytes = [&[kind][..], &rest].concat();
            if let Ok(message) = Message::decode(&bytes) {
                prop_assert_eq!(message.encode(), bytes);
            }
        }
    }
}
