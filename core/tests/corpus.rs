//! What `cargo fuzz` runs, on stable: over the seed corpus, and over random bytes.

use std::path::Path;

use bellwire_core::fuzzing;
use proptest::prelude::*;

/// Runs a target over its corpus, and returns the names of the seeds.
fn run_corpus(target: &str, body: fn(&[u8])) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let data = std::fs::read(&path).unwrap();
        if std::panic::catch_unwind(|| body(&data)).is_err() {
            panic!("{target} fails for the seed {name}");
        }
        names.push(name);
    }
    assert!(!names.is_empty(), "no seeds in {}", folder.display());
    names
}

#[test]
fn frame_headers_of_the_corpus_hold() {
    run_corpus("frame", fuzzing::frame);
}

#[test]
fn connections_of_the_corpus_hold() {
    let names = run_corpus("connection", fuzzing::connection);
    for role in ["client_", "server_", "rfc6455_"] {
        assert!(names.iter().any(|name| name.starts_with(role)), "{role}");
    }
}

#[test]
fn server_handshakes_of_the_corpus_hold() {
    run_corpus("server_handshake", fuzzing::server_handshake);
}

#[test]
fn client_handshakes_of_the_corpus_hold() {
    run_corpus("client_handshake", fuzzing::client_handshake);
}

#[test]
fn proxies_of_the_corpus_hold() {
    let names = run_corpus("proxy", fuzzing::proxy);
    for kind in ["connect_", "socks5_", "text_"] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "{kind}");
    }
}

#[cfg(feature = "deflate")]
#[test]
fn compressed_connections_of_the_corpus_hold() {
    let names = run_corpus("deflate", fuzzing::deflate);
    for role in ["client_", "server_"] {
        assert!(names.iter().any(|name| name.starts_with(role)), "{role}");
    }
}

#[cfg(feature = "deflate")]
#[test]
fn extension_headers_of_the_corpus_hold() {
    run_corpus("extensions", fuzzing::extensions);
}

/// A corpus that is refused as a whole would show nothing: its first example must be accepted.
#[test]
fn the_examples_of_the_rfc_are_accepted_with_what_the_fuzz_targets_ask() {
    use bellwire_core::proto::{Time, client, server};
    use bellwire_core::{Config, Target};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut request = std::fs::read(folder.join("server_handshake/glued_frames")).unwrap();
    let mut handshake = server::Handshake::new(Config::default().into(), Time::ZERO);
    let mut input = &mut request[1..];
    let parsed = handshake.receive(&mut input).unwrap().unwrap();
    assert_eq!(input[0], 0x81, "the frames that follow are left");
    assert!(parsed.accept(&server::Accept::new(), Config::default().into(), Time::ZERO).is_ok());

    let mut response = std::fs::read(folder.join("client_handshake/rfc6455_1_3")).unwrap();
    let nonce = |bytes: &mut [u8]| bytes.copy_from_slice(&b"the sample nonce"[..bytes.len()]);
    let asked = Target::new("ws://server.example.com/chat").unwrap().protocol("chat").unwrap();
    let mut handshake = client::Handshake::new(&asked, Box::new(nonce), Time::ZERO);
    let (_, response) = handshake.receive(Time::ZERO, &mut &mut response[1..]).unwrap().unwrap();
    assert_eq!(response.protocol(), Some("chat"));
}

const WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n\r\n",
    b": ",
    b",",
    b" ",
    b"GET / HTTP/1.1\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"Host: a\r\n",
    b"Upgrade: websocket\r\n",
    b"Connection: upgrade\r\n",
    b"Sec-WebSocket-Version: 13\r\n",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n",
    b"Sec-WebSocket-Protocol: chat\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 3\r\n",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"\x81\x01x",
    b"\x01\x02\xe2\x82",
    b"\x80\x01\xac",
    b"\x89\x00",
    b"\x88\x02\x03\xe8",
    b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    b"\x01\x80\0\0\0\0",
    b"\x80\x80\0\0\0\0",
    b"\x89\x80\0\0\0\0",
    b"\x88\x80\0\0\0\0",
    b"\x82\x7e\x00\x7e",
    b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00",
];

/// Bytes with what decides something in a head or in a frame more often than chance would have it.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let word =
        prop_oneof![prop::collection::vec(any::<u8>(), 0..20), prop::sample::select(WORDS).prop_map(<[u8]>::to_vec),];
    (any::<u8>(), prop::collection::vec(word, 0..25)).prop_map(|(first, words)| {
        let mut data = vec![first];
        data.extend(words.concat());
        data
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn frame_headers_hold_for_any_bytes(data in data()) {
        fuzzing::frame(&data);
    }

    #[test]
    fn connections_hold_for_any_bytes(data in data()) {
        fuzzing::connection(&data);
    }

    #[test]
    fn server_handshakes_hold_for_any_bytes(data in data()) {
        fuzzing::server_handshake(&data);
    }

    #[test]
    fn client_handshakes_hold_for_any_bytes(data in data()) {
        fuzzing::client_handshake(&data);
    }
}

/// What proxies answer, and texts that name them.
mod proxies {
    use super::*;

    const HTTP: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Proxy-Authenticate: Basic\r\n",
        b"\r\n",
        b"3\r\nabc\r\n",
        b"\x16\x03\x03",
    ];

    const SOCKS5: &[&[u8]] = &[
        b"\x05\0",
        b"\x05\x02",
        b"\x05\xff",
        b"\x01\0",
        b"\x05\0\0\x01",
        b"\x05\0\0\x03",
        b"\x05\0\0\x04",
        b"\x05\x05\0\x01",
        b"\x04p.de",
        b"\x7f\0\0\x01\0\x50",
        b"\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\x16\x03\x03",
    ];

    const TEXTS: &[&[u8]] = &[
        b"http://",
        b"socks5h://",
        b"user:",
        b"%40",
        b"%0d%0a",
        b"@",
        b"example.com",
        b"10.0.0.1",
        b"[::1]",
        b"[fe80::1%25a]",
        b":8080",
        b"/8",
        b".",
        b"*",
        b",",
        b"\n",
        b"\r",
    ];

    fn data(words: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
        let any = prop::collection::vec(any::<u8>(), 0..4);
        let word = prop_oneof![1 => any, 9 => prop::sample::select(words).prop_map(<[u8]>::to_vec)];
        prop::collection::vec(word, 0..12).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        #[test]
        fn answers_to_connect_hold_for_any_bytes(cut in 0..64_u8, data in data(HTTP)) {
            fuzzing::proxy(&[&[cut * 4], &data[..]].concat());
        }

        #[test]
        fn answers_in_socks5_hold_for_any_bytes(cut in 0..64_u8, kind in 1..3_u8, data in data(SOCKS5)) {
            fuzzing::proxy(&[&[cut * 4 + kind], &data[..]].concat());
        }

        #[test]
        fn texts_hold_for_any_bytes(data in data(TEXTS)) {
            fuzzing::proxy(&[&[3], &data[..]].concat());
        }
    }
}

#[cfg(feature = "deflate")]
mod compressed {
    use super::*;

    const WORDS: &[&[u8]] = &[
        b"permessage-deflate",
        b"; server_no_context_takeover",
        b"; client_no_context_takeover",
        b"; server_max_window_bits=9",
        b"; client_max_window_bits",
        b"=\"1\\0\"",
        b"=8",
        b", ",
        b"\n",
        b"x; y=z",
    ];

    /// Frames as a server sends them: compressed messages, or a part of one.
    const FRAMES: &[&[u8]] = &[
        b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
        b"\xc2\x05\xf2\x00\x11\x00\x00",
        b"\x41\x03\xf2\x48\xcd",
        b"\x00\x02\xc9\xc9",
        b"\x80\x02\x07\x00",
        b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\x00\x02\x03\x00",
        b"\xc1\x01\x00",
        b"\xc2\x00",
        b"\x89\x01p",
        b"\x82\x05plain",
    ];

    fn data(words: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
        let any = prop::collection::vec(any::<u8>(), 0..4);
        let word = prop_oneof![1 => any, 9 => prop::sample::select(words).prop_map(<[u8]>::to_vec)];
        prop::collection::vec(word, 0..16).prop_map(|words| words.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

        #[test]
        fn connections_hold_for_any_bytes(seed in any::<u8>(), how in any::<u8>(), data in data(FRAMES)) {
            fuzzing::deflate(&[&[seed | 1, how], &data[..]].concat());
        }

        #[test]
        fn headers_hold_for_any_bytes(wishes in any::<u8>(), data in data(WORDS)) {
            fuzzing::extensions(&[&[wishes], &data[..]].concat());
        }
    }
}
