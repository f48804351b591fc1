//! What opening handshakes say of permessage-deflate (RFC 7692 §5 and §7.1), and what becomes of the connection.

#![cfg(feature = "deflate")]

#[cfg(feature = "http")]
#[path = "handshake/answers.rs"]
mod answers;
#[cfg(feature = "http")]
#[path = "handshake/frameworks.rs"]
mod frameworks;

use std::sync::Arc;

use bellwire_core::backend::Shared;
use bellwire_core::config::Deflate;
use bellwire_core::proto::client::{self, HandshakeError};
use bellwire_core::proto::server::{self, Accept, AcceptError, Refusal};
use bellwire_core::proto::{Connection, Event, Time};
use bellwire_core::{Compression, Config, Target, WebSocket};

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const EXTENSIONS: &str = "Sec-WebSocket-Extensions: ";
const TEXT: &str = "a text that is long enough to be compressed, and that repeats itself, and that repeats itself";

/// The whole window on both sides, so that what is seen comes from the other side.
fn plain() -> Deflate {
    Deflate::default().client_max_window_bits(15)
}

fn config(deflate: impl Into<Option<Deflate>>) -> Config {
    deflate.into().map_or(Config::default(), |deflate| Config::default().deflate(deflate))
}

/// The values of all headers `Sec-WebSocket-Extensions`.
fn extensions(head: &[u8]) -> Vec<String> {
    let head = std::str::from_utf8(head).unwrap();
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("Sec-WebSocket-Extensions"))
        .map(|(_, value)| value.into())
        .collect()
}

/// Writes all there is.
fn written(connection: &mut Connection) -> Vec<u8> {
    let bytes: Vec<u8> = connection.output().pieces().flatten().copied().collect();
    connection.wrote(Time::ZERO, bytes.len());
    bytes
}

/// A server's connection after these offers, each of which is a line of its own; and what it answers to them.
fn accepted(config: Config, offers: &[&str]) -> Result<(Connection, Vec<String>), AcceptError> {
    let lines: String = offers.iter().map(|offer| format!("{EXTENSIONS}{offer}\r\n")).collect();
    let wire = format!("{REQUEST}{lines}\r\n");
    let config = Arc::new(config);
    let mut handshake = server::Handshake::new(config.clone(), Time::ZERO);
    let request = handshake.receive(&mut &mut wire.clone().into_bytes()[..]).unwrap();
    #[cfg(feature = "http")]
    frameworks::read(&wire, &request);
    let request = request.unwrap();
    let result = request.accept(&Accept::new(), config.clone(), Time::ZERO);
    #[cfg(feature = "http")]
    frameworks::accept(&request, &Accept::new(), &config, result.as_ref());
    let mut connection = result?;
    let answer = extensions(&written(&mut connection));
    Ok((connection, answer))
}

/// What a connection says that was negotiated.
fn compression(connection: Connection) -> Option<Compression> {
    WebSocket::from_arc(Arc::new(Shared::new(connection))).compression()
}

/// Whether its messages are sent compressed.
fn compresses(connection: &mut Connection) -> bool {
    connection.send(TEXT).unwrap();
    written(connection)[0] == 0xc1
}

#[track_caller]
fn answers(deflate: impl Into<Option<Deflate>>, offers: &[&str], expected: Option<&str>) {
    let (mut connection, answer) = accepted(config(deflate), offers).unwrap();
    assert_eq!(answer, Vec::from_iter(expected), "{offers:?}");
    assert_eq!(compresses(&mut connection), expected.is_some(), "{offers:?}");
    assert_eq!(compression(connection).map(|agreed| agreed.to_string()).as_deref(), expected, "{offers:?}");
}

#[test]
fn a_server_takes_the_first_offer_that_it_can_meet() {
    let deflate = "permessage-deflate";
    answers(plain(), &[deflate], Some(deflate));
    answers(plain(), &["x", "y; z=1", "permessage-deflate"], Some(deflate));
    answers(
        plain(),
        &["x, permessage-deflate ; server_max_window_bits = \"10\""],
        Some("permessage-deflate; server_max_window_bits=10"),
    );
    // One after another, in one line and in several.
    let (nine, alone) =
        ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_no_context_takeover");
    answers(plain(), &[nine, alone], Some(nine));
    answers(plain(), &[alone, nine], Some(alone));
    answers(plain(), &[&format!("{alone}, {nine}")], Some(alone));
    for bad in ["x", "server_max_window_bits=7", "server_max_window_bits", "client_no_context_takeover=1"] {
        let bad = format!("permessage-deflate; {bad}");
        answers(plain(), &[&bad, nine], Some(nine));
        answers(plain(), &[&format!("{bad}, {nine}"), alone], Some(nine));
        answers(plain(), &[&bad], None);
    }
    answers(plain(), &[], None);
    answers(plain(), &["x-webkit-deflate-frame"], None);
    // What browsers send, to a server as it is by default.
    answers(
        Deflate::default(),
        &["permessage-deflate; client_max_window_bits"],
        Some("permessage-deflate; client_max_window_bits=12"),
    );
}

/// D19: off by default.
#[test]
fn d19_a_server_that_does_not_compress_says_nothing_of_it() {
    for offer in ["permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; x"] {
        answers(None, &[offer], None);
        answers(None, &[offer, "permessage-deflate"], None);
    }
}

/// RFC 6455 §9.1: "the recipient of such malformed data MUST immediately _Fail the WebSocket Connection_."
#[test]
fn a_malformed_header_is_refused_whether_the_server_compresses_or_not() {
    for offers in [
        &[""][..],
        &["permessage-deflate;"],
        &["permessage-deflate; server_max_window_bits="],
        &["permessage-deflate; server_max_window_bits=\"1 0\""],
        &["permessage-deflate", ";"],
        &["permessage-deflate, ;x"],
    ] {
        for deflate in [None, Some(plain())] {
            match accepted(config(deflate), offers).map(drop) {
                Err(AcceptError::Refused(refused)) => assert_eq!(refused.refusal, Refusal::Extensions, "{offers:?}"),
                other => panic!("{offers:?}: {other:?}"),
            }
        }
    }
}

fn sample(bytes: &mut [u8]) {
    for (byte, sample) in bytes.iter_mut().zip(b"the sample nonce".iter().cycle()) {
        *byte = *sample;
    }
}

/// What a client offers, and what it makes of this answer.
fn asked(config: Config, answer: &[&str]) -> (Vec<String>, Result<Connection, HandshakeError>, Vec<u8>) {
    let target = Target::new("ws://example.com/chat").unwrap().config(config);
    let mut handshake = client::Handshake::new(&target, Box::new(sample), Time::ZERO);
    let offer = extensions(handshake.output());
    handshake.wrote(handshake.output().len());
    let lines: String = answer.iter().map(|value| format!("{EXTENSIONS}{value}\r\n")).collect();
    // With a compressed message behind it: "Hello", of RFC 7692 §7.2.3.1.
    let mut bytes = [format!("{ANSWER}{lines}\r\n").as_bytes(), b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"].concat();
    let mut input = &mut bytes[..];
    let result = handshake.receive(Time::ZERO, &mut input).unwrap();
    let rest = input.to_vec();
    #[cfg(feature = "http")]
    {
        let request = target.extended_connect().unwrap().request();
        let offered = request.headers().get_all("sec-websocket-extensions").iter().map(|value| value.to_str().unwrap());
        assert_eq!(offered.collect::<Vec<_>>(), offer);
        let response = result.as_ref().map(|(_, response)| response);
        if let Some(mut connection) = answers::over_http_2(&target, format!("{ANSWER}{lines}\r\n").as_bytes(), response)
        {
            let agreed = response.unwrap().header("Sec-WebSocket-Extensions").is_some();
            assert_eq!(compresses(&mut connection), agreed);
        }
    }
    (offer, result.map(|(connection, _)| connection), rest)
}

#[test]
fn a_client_offers_what_it_wishes_and_nothing_else() {
    let offer = |deflate: Option<Deflate>| asked(config(deflate), &[]).0;
    assert!(offer(None).is_empty());
    assert_eq!(offer(Some(plain())), ["permessage-deflate; client_max_window_bits"]);
    assert_eq!(offer(Some(Deflate::default())), ["permessage-deflate; client_max_window_bits=12"]);
    // 8 is never asked for: some servers answer 400 to it.
    let least = Deflate::default().no_context_takeover().server_max_window_bits(8).client_max_window_bits(8);
    let offered = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
        client_max_window_bits=9";
    assert_eq!(offer(Some(least)), [offered]);
}

#[test]
fn a_client_compresses_as_the_server_has_agreed() {
    for answer in [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=12",
        "permessage-deflate; client_max_window_bits=8",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ] {
        let (_, connection, mut rest) = asked(config(plain()), &[answer]);
        let mut connection = connection.unwrap();
        let mut input = &mut rest[..];
        assert!(matches!(connection.next_event(Time::ZERO, &mut input), Some(Event::Text(text)) if text == "Hello"));
        assert!(compresses(&mut connection));
        assert_eq!(compression(connection).unwrap().to_string(), answer);
    }
    // The client keeps to what it has offered, whatever the server would allow.
    let (_, connection, _) = asked(config(Deflate::default()), &["permessage-deflate; client_max_window_bits=15"]);
    assert_eq!(compression(connection.unwrap()).unwrap().client_max_window_bits(), 12);
    // It was offered, and not taken.
    let (_, connection, mut rest) = asked(config(plain()), &[]);
    let mut connection = connection.unwrap();
    assert!(!compresses(&mut connection));
    let mut input = &mut rest[..];
    assert!(matches!(connection.next_event(Time::ZERO, &mut input), Some(Event::Error(_))));
    assert_eq!(compression(connection), None);
}

/// RFC 7692 §7.1: "A client MUST _Fail the WebSocket Connection_ if the peer server accepted an extension negotiation
/// offer [..] with an extension negotiation response" that is none to it.
#[test]
fn a_client_fails_on_what_it_could_not_have_asked_for() {
    let narrow = Deflate::default().server_max_window_bits(10);
    let alone = plain().no_context_takeover();
    for (deflate, answer) in [
        (plain(), &["permessage-deflate; server_max_window_bits=7"][..]),
        (plain(), &["permessage-deflate; server_max_window_bits=16"]),
        (plain(), &["permessage-deflate; server_max_window_bits"]),
        (plain(), &["permessage-deflate; client_max_window_bits"]),
        (plain(), &["permessage-deflate; server_no_context_takeover=1"]),
        (plain(), &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"]),
        (plain(), &["permessage-deflate; mode=fast"]),
        (plain(), &["permessage-deflate;"]),
        (plain(), &["permessage-deflate, permessage-deflate"]),
        (plain(), &["permessage-deflate", "permessage-deflate"]),
        (plain(), &["permessage-bzip2"]),
        (plain(), &["permessage-deflate, x"]),
        (plain(), &[""]),
        (narrow, &["permessage-deflate"]),
        (narrow, &["permessage-deflate; server_max_window_bits=11"]),
        (alone, &["permessage-deflate"]),
        (alone, &["permessage-deflate; client_no_context_takeover"]),
    ] {
        match asked(config(deflate), answer).1 {
            Err(HandshakeError::InvalidExtension(named)) => {
                assert!(answer.iter().all(|value| named.contains(value)), "{named:?}");
            }
            other => panic!("{answer:?}: {other:?}"),
        }
    }
    // Nothing was offered.
    let failed = asked(Config::default(), &["permessage-deflate"]).1.unwrap_err();
    assert!(
        matches!(&failed, HandshakeError::UnexpectedExtension(named) if named == "permessage-deflate"),
        "{failed:?}"
    );
}
