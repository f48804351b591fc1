//! The PROXY protocol, versions 1 and 2, as HAProxy specifies it (proxy-protocol.txt): the header with which a proxy
//! announces whose connection it hands on.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::io::{self, ErrorKind};

use proxy_header::{ParseConfig, ProxyHeader};

use super::announced::Announced;
use crate::network::{InvalidNetwork, Network};
use crate::serve::ProxyProtocolError;

/// "the 5 characters `PROXY`", and "exactly one space".
const V1: &[u8] = b"PROXY ";

/// "a 107-byte buffer is always enough to store all the line".
const MAX_V1: usize = 107;

/// "The binary header format starts with a constant 12 bytes block".
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// What comes before the addresses of version 2: those, the command, the family, and the length of the rest.
const HEAD_V2: usize = 16;

/// "LOCAL: the connection was established on purpose by the proxy without being relayed."
const LOCAL: u8 = 0x20;

/// The addresses whose connections have to begin with the PROXY protocol.
#[derive(Debug, Clone, Default)]
pub struct ProxyProtocol(Arc<[Network]>);

impl ProxyProtocol {
    /// Creates it for these addresses and networks.
    ///
    /// # Errors
    /// [`InvalidNetwork`] if one of them is neither.
    pub fn new<I: IntoIterator<Item: AsRef<str>>>(networks: I) -> Result<Self, InvalidNetwork> {
        networks.into_iter().map(|network| network.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// Returns what reads the header of a connection from there, if it has to have one, of at most so many bytes.
    pub fn expect(&self, peer: Option<SocketAddr>, max: usize) -> Option<Announcement> {
        let peer = peer?.ip();
        self.0.iter().any(|network| network.contains(peer)).then(|| Announcement::new(max))
    }
}

/// Reads the header: from bytes as they come, none beyond it.
#[derive(Debug)]
pub struct Announcement {
    bytes: Vec<u8>,
    max: usize,
    announced: Announced,
}

impl Announcement {
    fn new(max: usize) -> Self {
        Self { bytes: Vec::new(), max, announced: Announced::default() }
    }

    /// Returns where it says what was announced.
    pub fn announced(&self) -> &Announced {
        &self.announced
    }

    /// Takes what a transport has read to the front of `buffer`: so many bytes, none at its end. Returns how many of them
    /// come after the header, to whose place they are moved; `None` if it is not complete.
    ///
    /// # Errors
    /// With a [`ProxyProtocolError`] inside.
    pub fn read(&mut self, buffer: &mut [u8], count: usize) -> io::Result<Option<usize>> {
        let mut input = buffer.get(..count).unwrap_or_default();
        let complete = match input {
            // A look whether somebody listens.
            [] if self.bytes.is_empty() => return Ok(Some(0)),
            [] => Err(ProxyProtocolError::Truncated),
            _ => self.receive(&mut input),
        };
        let left = input.len();
        if !complete.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))? {
            return Ok(None);
        }
        buffer.copy_within(count - left..count, 0);
        Ok(Some(left))
    }

    /// Takes bytes from the front of `input`, up to the end of the header. Returns `true` if it is complete.
    fn receive(&mut self, input: &mut &[u8]) -> Result<bool, ProxyProtocolError> {
        loop {
            match self.missing()? {
                0 => {
                    let client = parse(&self.bytes).ok_or(ProxyProtocolError::Malformed)?;
                    self.announced.set(client);
                    return Ok(true);
                }
                _ if input.is_empty() => return Ok(false),
                missing => {
                    let (taken, rest) = input.split_at(missing.min(input.len()));
                    self.bytes.extend_from_slice(taken);
                    *input = rest;
                }
            }
        }
    }

    /// Returns how many bytes are surely missing.
    fn missing(&self) -> Result<usize, ProxyProtocolError> {
        let bytes = &*self.bytes;
        let is = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(one, other)| one == other);
        match bytes {
            [] => Ok(1),
            _ if is(V2) => self.missing_v2(),
            [.., b'\n'] if is(V1) => Ok(0),
            _ if is(V1) && bytes.len() < MAX_V1 => Ok(1),
            _ if is(V1) => Err(ProxyProtocolError::TooLong),
            _ => Err(ProxyProtocolError::Missing),
        }
    }

    fn missing_v2(&self) -> Result<usize, ProxyProtocolError> {
        let Some([.., high, low]) = self.bytes.first_chunk::<HEAD_V2>() else {
            return Ok(HEAD_V2 - self.bytes.len());
        };
        let length = HEAD_V2 + usize::from(u16::from_be_bytes([*high, *low]));
        if length > self.max { Err(ProxyProtocolError::TooLong) } else { Ok(length - self.bytes.len()) }
    }
}

/// Returns the client's address; `Some(None)` if it is that of the transport.
///
/// `proxy_header` reads the addresses. What has none that count is not shown to it: there is nothing in it to go wrong.
fn parse(header: &[u8]) -> Option<Option<SocketAddr>> {
    if let Some(line) = header.strip_prefix(V1) {
        // "If the announced transport protocol is "UNKNOWN", then the receiver knows that the sender speaks the correct
        // PROXY protocol with the appropriate version, and SHOULD accept the connection and use the real connection's
        // parameters as if there were no PROXY protocol header on the wire". "the receiver must ignore anything
        // presented before the CRLF is found."
        let line = line.strip_suffix(b"\r\n")?;
        if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
            return Some(None);
        }
        // What the crate takes for another UNKNOWN, Rust for a number, and the protocol for neither.
        if line.starts_with(b"UNKNOWN") || line.contains(&b'+') {
            return None;
        }
    } else if header.get(V2.len()) == Some(&LOCAL) {
        // "The receiver must accept this connection as valid and must use the real connection endpoints and discard the
        // protocol block including the family which is ignored."
        return Some(None);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    let (parsed, length) = ProxyHeader::parse(header, config).ok()?;
    (length == header.len()).then(|| parsed.proxied_address().map(|address| address.source))
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    /// What was announced, and what came after; or what is wrong.
    type Read = Result<Option<(Option<SocketAddr>, Vec<u8>)>, ProxyProtocolError>;

    fn read(pieces: &[&[u8]]) -> Read {
        let mut announcement = Announcement::new(16 * 1024);
        let mut left = Vec::new();
        let mut complete = false;
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            let mut buffer = piece.to_vec();
            if complete {
                left.extend(buffer);
                continue;
            }
            match announcement.read(&mut buffer, piece.len()) {
                Ok(None) => {}
                Ok(Some(count)) => {
                    left.extend(&buffer[..count]);
                    complete = true;
                }
                Err(error) => return Err(*error.into_inner().unwrap().downcast().unwrap()),
            }
        }
        let announced = announcement.announced().get();
        assert_eq!(announced.is_some(), complete);
        Ok(announced.map(|client| (client, left)))
    }

    /// Whole, at each split, and byte by byte.
    fn read_in_every_way(wire: &[u8]) -> Read {
        let whole = read(&[wire]);
        for at in 0..=wire.len() {
            let (left, right) = wire.split_at(at);
            assert_eq!(read(&[left, right]), whole, "cut at {at}");
        }
        assert_eq!(read(&wire.chunks(1).collect::<Vec<_>>()), whole);
        whole
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2, &[command, family], &length, rest].concat()
    }

    const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80];

    fn ipv6() -> Vec<u8> {
        let mut block = [0; 36];
        block[..4].copy_from_slice(&[0x20, 1, 0xd, 0xb8]);
        block[15] = 1;
        block[32..34].copy_from_slice(&[0x12, 0x67]);
        block.to_vec()
    }

    #[test]
    fn h14_both_versions_announce_the_client_and_nothing_behind_them_is_taken() {
        let ipv4 = Some("192.0.2.1:4711");
        let ipv6_client = Some("[2001:db8::1]:4711");
        let mut worst = String::from("PROXY UNKNOWN ");
        while worst.len() < MAX_V1 - 2 {
            worst.push_str("ff ");
        }
        worst.truncate(MAX_V1 - 2);
        worst.push_str("\r\n");
        let with_fields = |fields: &[u8]| v2(0x21, 0x11, &[IPV4, fields].concat());
        for (header, client) in [
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n".to_vec(), ipv4),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n".to_vec(), ipv6_client),
            (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n".to_vec(), Some("255.255.255.255:65535")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), None),
            (worst.into_bytes(), None),
            (b"PROXY UNKNOWN \xff\r\r\n".to_vec(), None),
            (v2(0x21, 0x11, IPV4), ipv4),
            (v2(0x21, 0x12, IPV4), ipv4),
            (v2(0x21, 0x21, &ipv6()), ipv6_client),
            // TLVs are skipped, whatever they are.
            (with_fields(b"\x02\0\x0bexample.com\x04\0\0"), ipv4),
            (with_fields(&[0xee; 4000]), ipv4),
            (with_fields(b"\x03"), ipv4),
            // Without addresses, or without such as can be used.
            (v2(0x21, 0x00, b""), None),
            (v2(0x21, 0x00, IPV4), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
            // A health check of the proxy's own: the rest is nobody's business.
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, b""), None),
            (v2(0x20, 0x11, IPV4), None),
            (v2(0x20, 0xff, b"\x04\0\0"), None),
        ] {
            let client = client.map(|client| client.parse().unwrap());
            for rest in [&b""[..], b"GET / HTTP/1.1\r\n", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"] {
                let wire = [&header, rest].concat();
                let shown = wire.escape_ascii();
                assert_eq!(read_in_every_way(&wire), Ok(Some((client, rest.to_vec()))), "{shown}");
            }
            for end in 0..header.len().min(300) {
                assert_eq!(read(&[&header[..end]]), Ok(None), "{}", header[..end].escape_ascii());
            }
        }
    }

    #[test]
    fn h14_what_is_no_header_is_told_what_is_wrong_with_it() {
        use ProxyProtocolError::{Malformed, Missing, TooLong};
        let line = |line: &str| format!("PROXY {line}\r\n").into_bytes();
        for (wire, error) in [
            (b"GET / HTTP/1.1\r\n".to_vec(), Missing),
            (b"PUT / HTTP/1.1\r\n".to_vec(), Missing),
            (b"PROXY\r\n".to_vec(), Missing),
            (b"PROXYxTCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(), Missing),
            (b"proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n".to_vec(), Missing),
            (b"\x16\x03\x01\x02\0\x01".to_vec(), Missing),
            (b"\r\n\r\n\0\r\nQUIT\r".to_vec(), Missing),
            (b"\r\nGET / HTTP/1.1\r\n".to_vec(), Missing),
            (line(""), Malformed),
            (line("TCP4"), Malformed),
            (line("TCP5 1.1.1.1 1.1.1.1 1 1"), Malformed),
            (line("TCP4 1.1.1.1 1.1.1.1 1"), Malformed),
            (line("TCP4 1.1.1.1 1.1.1.1 1 65536"), Malformed),
            (line("TCP4 1.1.1.1 1.1.1.1 +1 1"), Malformed),
            (line("TCP4 1.1.1.1 1.1.1.1 1 1 "), Malformed),
            (line("TCP4  1.1.1.1 1.1.1.1 1 1"), Malformed),
            (line("TCP4 1.1.1 1.1.1.1 1 1"), Malformed),
            (line("TCP4 ::1 ::1 1 1"), Malformed),
            (line("TCP6 1.1.1.1 1.1.1.1 1 1"), Malformed),
            (line("UNKNOWNx"), Malformed),
            (line("\u{e4}"), Malformed),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n".to_vec(), Malformed),
            (b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\rx\n".to_vec(), Malformed),
            (b"PROXY UNKNOWN\n".to_vec(), Malformed),
            (line(&format!("UNKNOWN {}", "x".repeat(92))), TooLong),
            (b"PROXY ".repeat(100), TooLong),
            (v2(0x11, 0x11, IPV4), Malformed),
            (v2(0x31, 0x11, IPV4), Malformed),
            (v2(0x22, 0x11, IPV4), Malformed),
            (v2(0x21, 0x11, &IPV4[1..]), Malformed),
            (v2(0x21, 0x21, IPV4), Malformed),
            (v2(0x21, 0x31, IPV4), Malformed),
            (v2(0x21, 0x41, IPV4), Malformed),
            (v2(0x21, 0x13, IPV4), Malformed),
            (v2(0x21, 0x11, &[0; 16 * 1024]), TooLong),
        ] {
            // Where it is cut does not matter, but only up to where it is known.
            let told = [read(&[&wire]), read(&wire.chunks(1).collect::<Vec<_>>())];
            assert_eq!(told, [Err(error), Err(error)], "{}", wire[..wire.len().min(100)].escape_ascii());
            for at in 0..=wire.len().min(300) {
                let (left, right) = wire.split_at(at);
                assert_eq!(read(&[left, right]), Err(error), "{} cut at {at}", wire[..at].escape_ascii());
            }
        }
    }

    const BEGINNINGS: [&[u8]; 6] =
        [b"", V1, b"PROXY TCP4 1.1.1.1 ", b"PROXY TCP6 ::1 ", V2, b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"];

    proptest! {
        #[test]
        fn h14_whatever_comes_the_verdict_does_not_depend_on_where_it_is_cut(
            begins in select(BEGINNINGS.to_vec()),
            rest in vec(any::<u8>(), 0..120),
        ) {
            let _ = read_in_every_way(&[begins, &rest].concat());
        }
    }

    #[test]
    fn h14_an_end_amid_the_header_is_told_and_one_before_it_is_a_look_whether_somebody_listens() {
        let mut announcement = Announcement::new(100);
        assert_eq!(announcement.read(&mut [0; 8], 0).unwrap(), Some(0));
        assert_eq!(announcement.read(&mut b"PROXY TC".to_vec(), 8).unwrap(), None);
        let error = announcement.read(&mut [0; 8], 0).unwrap_err();
        assert_eq!(
            *error.into_inner().unwrap().downcast::<ProxyProtocolError>().unwrap(),
            ProxyProtocolError::Truncated
        );
        assert_eq!(announcement.announced().get(), None);
    }

    #[test]
    fn h14_only_named_addresses_have_to_announce() {
        let proxies = ProxyProtocol::new(["10.0.0.0/8", "::1"]).unwrap();
        let expects = |peer: &str| proxies.expect(Some(peer.parse().unwrap()), 100).is_some();
        assert!(expects("10.1.2.3:4") && expects("[::ffff:10.1.2.3]:4") && expects("[::1]:4"));
        assert!(!expects("11.0.0.0:1") && !expects("127.0.0.1:1") && proxies.expect(None, 100).is_none());
        assert!(ProxyProtocol::default().expect(Some(([10, 0, 0, 1], 1).into()), 100).is_none());
        assert!(ProxyProtocol::new(["localhost"]).is_err());
    }
}
