//! Wire tables of the client's opening handshake: each is read whole, cut at every point, and byte by byte. With the feature
//! `http`, each is also judged as the answer to an extended `CONNECT`.

#[cfg(feature = "http")]
#[path = "handshake/answers.rs"]
mod answers;

use std::time::Duration;

use bellwire_core::proto::client::{Handshake, HandshakeError, InvalidProtocol, MAX_BODY, Response};
use bellwire_core::proto::{Connection, InvalidHeader, Time};
use bellwire_core::{Config, ConnectError, Target};

const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";

/// Draws the key of RFC 6455 §1.3.
fn sample(bytes: &mut [u8]) {
    bytes.copy_from_slice(b"the sample nonce");
}

fn handshake(target: &Target, config: Config) -> Handshake {
    Handshake::new(&target.clone().config(config), Box::new(sample), Time::ZERO)
}

fn chat() -> Target {
    Target::new("ws://example.com/chat").unwrap().protocol("mqtt").unwrap().protocol("soap").unwrap()
}

/// What comes of an answer: a result if there is one before the end of the bytes, and the bytes left.
type Answer = (Option<Result<Response, HandshakeError>>, Vec<u8>);

fn read_pieces(config: &Config, pieces: &[&[u8]]) -> Answer {
    let mut handshake = handshake(&chat(), config.clone());
    let mut result = None;
    let mut left = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        if result.is_none() {
            result = handshake.receive(Time::ZERO, &mut input).map(|result| result.map(|(_, response)| response));
        }
        left.extend_from_slice(input);
    }
    if result.is_some() {
        assert!(handshake.receive(Time::ZERO, &mut &mut [b'H'][..]).is_none(), "nothing after a result");
        assert_eq!(handshake.poll_timeout(), None);
    }
    (result, left)
}

fn read_with(config: &Config, wire: &[u8]) -> Answer {
    let whole = read_pieces(config, &[wire]);
    let expected = format!("{whole:?}");
    for at in 0..=wire.len() {
        let (left, right) = wire.split_at(at);
        assert_eq!(format!("{:?}", read_pieces(config, &[left, right])), expected, "cut at {at}");
    }
    assert_eq!(format!("{:?}", read_pieces(config, &wire.chunks(1).collect::<Vec<_>>())), expected);
    whole
}

fn read(wire: &str) -> Result<Response, HandshakeError> {
    let result = read_with(&Config::default(), wire.as_bytes()).0.expect("a result");
    #[cfg(feature = "http")]
    answers::over_http_2(&chat(), wire.as_bytes(), result.as_ref());
    result
}

/// The refusal at the end of these bytes, cut in every way.
fn refused_at_eof(wire: &[u8]) -> Response {
    let read = |pieces: &[&[u8]]| {
        let mut handshake = handshake(&chat(), Config::default());
        for piece in pieces {
            assert!(handshake.receive(Time::ZERO, &mut &mut piece.to_vec()[..]).is_none(), "not yet");
        }
        let HandshakeError::Refused(response) = handshake.receive_eof() else { panic!("a refusal") };
        *response
    };
    let whole = read(&[wire]);
    for at in 0..=wire.len() {
        let (left, right) = wire.split_at(at);
        assert_eq!(read(&[left, right]).body(), whole.body(), "cut at {at}");
    }
    assert_eq!(read(&wire.chunks(1).collect::<Vec<_>>()).body(), whole.body());
    whole
}

fn refused(wire: &str) -> Response {
    match read(wire) {
        Err(HandshakeError::Refused(response)) => *response,
        other => panic!("a refusal, not {other:?}"),
    }
}

#[test]
fn the_request_is_what_the_rfc_asks_for() {
    let request = chat().header("Origin", "http://example.com").unwrap().header("X", "1").unwrap();
    let mut handshake = handshake(&request.header("X", "2").unwrap(), Config::default());
    let expected = "GET /chat HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Protocol: mqtt, soap\r\nUser-Agent: bellwire/0.1.0\r\nOrigin: http://example.com\r\nX: 1\r\nX: 2\r\n\r\n";
    assert_eq!(core::str::from_utf8(handshake.output()).unwrap(), expected);
    handshake.wrote(4);
    assert_eq!(handshake.output(), &expected.as_bytes()[4..]);
    handshake.wrote(expected.len());
    assert_eq!(handshake.output(), b"");
}

#[test]
fn the_host_header_has_brackets_and_only_other_ports() {
    for (uri, line, host) in [
        ("ws://h", "GET / HTTP/1.1", "h"),
        ("ws://h:80?q", "GET /?q HTTP/1.1", "h"),
        ("wss://h:443/a", "GET /a HTTP/1.1", "h"),
        ("wss://h:80/a", "GET /a HTTP/1.1", "h:80"),
        ("ws://[::1]:9001/a", "GET /a HTTP/1.1", "[::1]:9001"),
        ("wss://[::1]/a", "GET /a HTTP/1.1", "[::1]"),
    ] {
        let handshake = handshake(&Target::new(uri).unwrap(), Config::default());
        let head = core::str::from_utf8(handshake.output()).unwrap();
        assert!(head.starts_with(&format!("{line}\r\nHost: {host}\r\n")), "{head}");
        assert!(!head.contains("Sec-WebSocket-Protocol"), "{head}");
    }
}

#[test]
fn the_key_is_drawn_for_each_handshake() {
    let head = |random: u8| {
        let entropy = move |bytes: &mut [u8]| bytes.fill(random);
        Handshake::new(&chat(), Box::new(entropy), Time::ZERO).output().to_vec()
    };
    assert_eq!(head(1), head(1));
    assert_ne!(head(1), head(2));
}

#[test]
fn requests_cannot_be_injected_into() {
    let header = |name: &str, value: &str| match chat().header(name, value) {
        Err(ConnectError::Header(error)) => error,
        other => panic!("{other:?}"),
    };
    let offer = |protocol: &str| match chat().protocol(protocol) {
        Err(ConnectError::Protocol(error)) => error,
        other => panic!("{other:?}"),
    };
    for name in ["Host", "host", "Connection", "Upgrade", "Sec-WebSocket-Key", "Content-Length", "Transfer-Encoding"] {
        assert_eq!(header(name, "x"), InvalidHeader::Reserved(name.into()));
    }
    assert_eq!(header("X", "a\r\nY: z"), InvalidHeader::Value);
    assert_eq!(header("X\r\nY", "z"), InvalidHeader::Name);
    for protocol in ["", "a b", "a,b", "a\r\nX: y", "ä", "a/b"] {
        assert_eq!(offer(protocol), InvalidProtocol::Name, "{protocol:?}");
    }
    assert_eq!(offer("mqtt"), InvalidProtocol::Repeated);
    assert!(chat().protocol("MQTT").is_ok());
    let handshake = handshake(&Target::new("ws://h/a\r\nX: y").unwrap(), Config::default());
    assert!(handshake.output().starts_with(b"GET /aX:%20y HTTP/1.1\r\nHost: h\r\n"), "as in browsers");
}

#[test]
fn a_101_opens_the_connection_and_what_is_glued_behind_stays() {
    let wire = format!("HTTP/1.1 101 Switching Protocols\r\n{UPGRADE}{ACCEPT}Set-Cookie: a=b\r\n\r\n\x01\x02\r\n\r\n");
    let (result, left) = read_with(&Config::default(), wire.as_bytes());
    let response = result.unwrap().unwrap();
    assert_eq!((response.status(), response.protocol(), response.body()), (101, None, &b""[..]));
    assert_eq!(response.header("set-cookie").unwrap(), "a=b");
    assert_eq!(left, b"\x01\x02\r\n\r\n");
    let result: Option<Result<(Connection, Response), HandshakeError>> =
        handshake(&chat(), Config::default()).receive(Time::ZERO, &mut &mut wire.into_bytes()[..]);
    assert!(result.unwrap().is_ok());
}

#[test]
fn the_101_is_read_leniently_where_http_is() {
    for head in [
        format!("HTTP/1.1 101\r\n{UPGRADE}{ACCEPT}\r\n"),
        format!("HTTP/1.1 101 Whatever\r\nupgrade: WEBSOCKET\r\nconnection: keep-alive, upgrade\r\n{ACCEPT}\r\n"),
        format!("HTTP/1.1 101 \r\n{UPGRADE}Sec-WebSocket-Accept: \t s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\t\r\n\r\n"),
        format!("HTTP/1.1 101 X\r\nConnection: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{ACCEPT}\r\n"),
    ] {
        assert!(read(&head).is_ok(), "{head}");
    }
}

#[test]
fn the_server_chooses_a_subprotocol_among_those_offered() {
    let choose = |headers: &str| read(&format!("HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}{headers}\r\n"));
    assert_eq!(choose("Sec-WebSocket-Protocol: soap\r\n").unwrap().protocol(), Some("soap"));
    for protocol in ["x", "SOAP", "", "mqtt, soap"] {
        let error = choose(&format!("Sec-WebSocket-Protocol: {protocol}\r\n")).unwrap_err();
        assert!(matches!(&error, HandshakeError::UnexpectedProtocol(named) if named == protocol), "{error:?}");
    }
    let twice = "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: mqtt\r\n";
    assert!(matches!(choose(twice), Err(HandshakeError::RepeatedProtocol)));
}

#[test]
fn each_violation_has_its_error() {
    let wrong_accept = "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n";
    let lower_accept = "Sec-WebSocket-Accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n";
    let many = "X: y\r\n".repeat(1022);
    for (head, error) in [
        (format!("Connection: Upgrade\r\n{ACCEPT}"), "MissingUpgrade"),
        (format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{ACCEPT}"), "WrongUpgrade(\"h2c\")"),
        (format!("Upgrade: websocket, h2c\r\nConnection: Upgrade\r\n{ACCEPT}"), "WrongUpgrade(\"websocket, h2c\")"),
        (format!("Upgrade: websocket\r\n{UPGRADE}{ACCEPT}"), "WrongUpgrade(\"websocket, websocket\")"),
        (format!("Upgrade: websocket\r\n{ACCEPT}"), "MissingConnection"),
        (format!("Upgrade: websocket\r\nConnection: close\r\n{ACCEPT}"), "MissingConnection"),
        (format!("Upgrade: websocket\r\nConnection: not-upgrade\r\n{ACCEPT}"), "MissingConnection"),
        (format!("Upgrade: websocket\r\nConnection: upgrade, @\r\n{ACCEPT}"), "MissingConnection"),
        (UPGRADE.to_string(), "MissingAccept"),
        (format!("{UPGRADE}{wrong_accept}"), "WrongAccept"),
        (format!("{UPGRADE}{lower_accept}"), "WrongAccept"),
        (format!("{UPGRADE}Sec-WebSocket-Accept:\r\n"), "WrongAccept"),
        (format!("{UPGRADE}{ACCEPT}{ACCEPT}"), "RepeatedAccept"),
        (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions: x; y\r\n"), "UnexpectedExtension(\"x; y\")"),
        (format!("{UPGRADE}{ACCEPT}Sec-WebSocket-Extensions:\r\n"), "UnexpectedExtension(\"\")"),
        (format!("{UPGRADE}{ACCEPT}{many}"), "TooManyFields(1024)"),
        (format!("{UPGRADE}{ACCEPT}X: a\rb\r\n"), "Malformed"),
        // Nothing goes on there that has begun.
        (format!(" X: a\r\n{UPGRADE}{ACCEPT}"), "Malformed"),
        (format!("{UPGRADE}{ACCEPT}X\r\n : a\r\n"), "Malformed"),
        (
            format!("Upgrade: websocket\r\n , h2c\r\nConnection: Upgrade\r\n{ACCEPT}"),
            "WrongUpgrade(\"websocket   , h2c\")",
        ),
    ] {
        let result = read(&format!("HTTP/1.1 101 Switching Protocols\r\n{head}\r\n"));
        assert_eq!(format!("{:?}", result.unwrap_err()), error, "{head}");
    }
}

#[test]
fn u13_a_refusal_says_the_start_of_its_body_and_nothing_that_harms() {
    let said = |body: &str| match read(&format!("HTTP/1.1 403 No\r\nContent-Length: {}\r\n\r\n{body}", body.len())) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("a refusal"),
    };
    const START: &str = "the server refused the WebSocket with status 403";
    assert_eq!(said(""), START);
    assert_eq!(said(" \r\n"), START);
    assert_eq!(said("Origin not allowed\n"), format!("{START}: \"Origin not allowed\""));
    assert_eq!(said("é\u{1b}[31m\r\nX: y\0\u{202e}"), format!("{START}: \"é\\u{{1b}}[31m\\r\\nX: y\\0\\u{{202e}}\""));
    assert_eq!(said(&"é".repeat(200)), format!("{START}: \"{}\"", "é".repeat(200)));
    assert_eq!(said(&"é".repeat(201)), format!("{START}: \"{}\"..", "é".repeat(200)));
    // However much comes.
    for character in ["x", "\u{1b}", "\u{10ffff}", "\u{301}"] {
        let text = said(&character.repeat(1000));
        assert!(text.ends_with("\"..") && text.len() <= START.len() + 200 * 10 + 6, "{text}");
    }
    let bytes = b"HTTP/1.1 400 X\r\n\r\nno\xff\xfe";
    assert!(HandshakeError::Refused(refused_at_eof(bytes).into()).to_string().ends_with("400: \"no\u{fffd}\u{fffd}\""));
}

#[test]
fn u9_u13_a_redirect_is_told_as_one() {
    let said = |status: u16, headers: &str| match read(&format!(
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: 0\r\n\r\n"
    )) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("a refusal"),
    };
    for status in [301, 302, 303, 307, 308] {
        let text = said(status, "Location: wss://u:secret@other/\r\n");
        assert!(text.contains("redirect") && text.contains("Location"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    for (status, headers) in [(302, ""), (304, "Location: /x\r\n"), (404, "Location: /x\r\n")] {
        assert!(!said(status, headers).contains("redirect"), "{status}");
    }
}

#[test]
fn u12_a_folded_line_is_one_line() {
    let folded = "Upgrade:\r\n websocket\r\nConnection: keep-alive,\r\n\tUpgrade\r\n\
        Sec-WebSocket-Accept:\r\n \r\n\t s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n \r\nX-Long: a\r\n b\r\n\t\tc\r\n";
    let response = read(&format!("HTTP/1.1 101 Switching Protocols\r\n{folded}\r\n")).unwrap();
    assert_eq!(response.header("X-Long").unwrap().split_whitespace().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(!response.header("X-Long").unwrap().contains(['\r', '\n']));
    // What comes before the answer, and an answer that refuses, are read in the same way.
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: a,\r\n b\r\n\r\n";
    let refusal = format!("{hints}HTTP/1.1 403 No\r\nContent-Length:\r\n 2\r\nX: a\r\n b\r\n\r\nno");
    let response = refused(&refusal);
    assert_eq!((response.body(), response.header("X").as_deref()), (&b"no"[..], Some("a   b")));
}

#[test]
fn what_is_not_http_1_1_is_an_error() {
    for (wire, error) in [
        (format!("HTTP/1.0 101 Switching Protocols\r\n{UPGRADE}{ACCEPT}\r\n"), "HttpVersion"),
        (format!("HTTP/2.0 101 X\r\n{UPGRADE}{ACCEPT}\r\n"), "HttpVersion"),
        ("SSH-2.0-OpenSSH\r\n\r\n".into(), "Malformed"),
        ("HTTP/1.1 101 X\n".into(), "Malformed"),
        ("HTTP/1.1 1011 X\r\n\r\n".into(), "Malformed"),
        ("HTTP/1.1 099 X\r\n\r\n".into(), "Malformed"),
        ("HTTP/1.1 X\r\n\r\n".into(), "Malformed"),
        ("\r\nHTTP/1.1 101 X\r\n\r\n".into(), "Malformed"),
        ("\x15\x03\x01\0\x02\x02\x28".into(), "Malformed"),
    ] {
        assert_eq!(format!("{:?}", read(&wire).unwrap_err()), error, "{wire:?}");
    }
}

#[test]
fn the_head_is_limited() {
    let head = format!("HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}\r\n");
    assert!(read_with(&Config::default().max_head(head.len()), head.as_bytes()).0.unwrap().is_ok());
    for max in [head.len() - 1, 17, 3] {
        let error = read_with(&Config::default().max_head(max), head.as_bytes()).0.unwrap().unwrap_err();
        assert!(matches!(error, HandshakeError::TooLarge), "{error:?}");
    }
}

#[test]
fn interim_responses_are_skipped_and_count_towards_the_limit() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
    let head = format!("HTTP/1.1 101 X\r\n{UPGRADE}{ACCEPT}\r\n");
    let wire = format!("{interim}{head}rest");
    let (result, left) = read_with(&Config::default().max_head(interim.len() + head.len()), wire.as_bytes());
    assert!(result.unwrap().is_ok());
    assert_eq!(left, b"rest");
    let result = read_with(&Config::default().max_head(interim.len() + head.len() - 1), wire.as_bytes()).0;
    assert!(matches!(result, Some(Err(HandshakeError::TooLarge))));
    assert_eq!(refused(&format!("{interim}HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")).status(), 404);
}

#[test]
fn a_refusal_has_its_status_headers_and_a_body_of_known_length() {
    let response = refused("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 4\r\n\r\nauthmore");
    assert_eq!((response.status(), response.body(), response.protocol()), (401, &b"auth"[..], None));
    assert_eq!(response.header("www-authenticate").unwrap(), "Basic");
    assert_eq!(refused("HTTP/1.0 400 X\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nno").body(), b"no");
    for headers in ["Content-Length: 0", "Content-Length: x", "Content-Length: 1, 2", "Content-Length: 1, x"] {
        assert_eq!(refused(&format!("HTTP/1.1 400 X\r\n{headers}\r\n\r\nabc")).body(), b"", "{headers}");
    }
    for status in [204, 304] {
        assert_eq!(refused(&format!("HTTP/1.1 {status} X\r\nContent-Length: 3\r\n\r\nabc")).body(), b"");
    }
    assert_eq!(refused_at_eof(b"HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\nabc").body(), b"abc");
}

#[test]
fn a_refusal_may_be_chunked() {
    let chunked =
        |body: &str| format!("HTTP/1.1 400 X\r\nTransfer-Encoding: Chunked\r\nContent-Length: 1\r\n\r\n{body}");
    for (body, text) in [
        ("0\r\n\r\n", &b""[..]),
        ("3\r\nabc\r\n0\r\n\r\n", b"abc"),
        ("1\r\na\r\n00a;x=y\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"a0123456789"),
        // What breaks its framing ends there.
        ("3\r\nabcd\r\n0\r\n\r\n", b"abc"),
        ("x\r\nabc\r\n", b""),
        ("\r\nabc\r\n", b""),
        ("3\nabc\r\n", b""),
        ("2\r\nab\n1\r\nc\r\n0\r\n\r\n", b"ab"),
        ("2\r\nabx\n1\r\nc\r\n0\r\n\r\n", b"ab"),
        ("11111111111111111\r\nabc", b""),
    ] {
        assert_eq!(refused(&chunked(body)).body(), text, "{body:?}");
    }
    let long = format!("3;{}", "x".repeat(300));
    assert_eq!(refused(&chunked(&long)).body(), b"");
    assert_eq!(refused_at_eof(chunked("5\r\nabc").as_bytes()).body(), b"abc");
    assert_eq!(refused_at_eof(chunked("ffffffffffffffff\r\nabc").as_bytes()).body(), b"abc");
}

#[test]
fn a_refusal_may_end_with_the_transport() {
    assert_eq!(refused_at_eof(b"HTTP/1.1 500 X\r\n\r\nsome text").body(), b"some text");
    assert_eq!(refused_at_eof(b"HTTP/1.1 200 X\r\n\r\n").status(), 200);
    assert_eq!(
        refused_at_eof(b"HTTP/1.1 500 X\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc").body(),
        b"3\r\nabc"
    );
}

#[test]
fn a_refusals_body_is_cut_at_the_limit() {
    for headers in ["", "Content-Length: 99999999999\r\n", "Content-Length: 65536\r\n"] {
        let mut wire = format!("HTTP/1.1 500 X\r\n{headers}\r\n").into_bytes();
        wire.resize(wire.len() + MAX_BODY, b'x');
        let mut last = wire.split_off(wire.len() - 1);
        last.push(b'y');
        let mut handshake = handshake(&chat(), Config::default());
        assert!(handshake.receive(Time::ZERO, &mut &mut wire[..]).is_none());
        let mut input = &mut last[..];
        let Some(Err(HandshakeError::Refused(response))) = handshake.receive(Time::ZERO, &mut input) else {
            panic!("a refusal")
        };
        assert_eq!((response.body().len(), input), (MAX_BODY, &mut b"y".to_owned()[..]));
    }
    let chunks = "1\r\nx\r\n".repeat(MAX_BODY + 1);
    let mut wire = format!("HTTP/1.1 500 X\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}").into_bytes();
    let result = handshake(&chat(), Config::default()).receive(Time::ZERO, &mut &mut wire[..]);
    let Some(Err(HandshakeError::Refused(response))) = result else { panic!("a refusal") };
    assert_eq!(response.body().len(), MAX_BODY);
}

#[test]
fn the_deadline_is_for_the_whole_answer() {
    let second = Duration::from_secs(1);
    let new = |config: Config| Handshake::new(&chat().config(config), Box::new(sample), Time::from_start(5 * second));

    let mut waiting = new(Config::default());
    assert_eq!(waiting.poll_timeout(), Some(Time::from_start(15 * second)));
    assert!(
        waiting.receive(Time::from_start(14 * second), &mut &mut b"HTTP/1.1 100 X\r\n\r\nHTTP".to_vec()[..]).is_none()
    );
    assert!(waiting.handle_timeout(Time::from_start(14 * second)).is_none());
    assert!(matches!(waiting.handle_timeout(Time::from_start(15 * second)), Some(HandshakeError::Timeout)));
    assert!(waiting.handle_timeout(Time::from_start(16 * second)).is_none());
    assert_eq!(waiting.poll_timeout(), None);

    let mut refused = new(Config::default());
    assert!(
        refused.receive(Time::from_start(6 * second), &mut &mut b"HTTP/1.1 500 X\r\n\r\nslow".to_vec()[..]).is_none()
    );
    assert_eq!(refused.poll_timeout(), Some(Time::from_start(15 * second)));
    let Some(HandshakeError::Refused(response)) = refused.handle_timeout(Time::from_start(15 * second)) else {
        panic!("a refusal")
    };
    assert_eq!((response.status(), response.body()), (500, &b"slow"[..]));

    assert_eq!(new(Config::default().open_timeout(None)).poll_timeout(), None);
}

#[test]
fn the_end_of_the_transport_before_the_answer_is_an_error() {
    let mut silent = handshake(&chat(), Config::default());
    assert!(silent.receive(Time::ZERO, &mut &mut b"HTTP/1.1 1".to_vec()[..]).is_none());
    assert!(matches!(silent.receive_eof(), HandshakeError::Eof));
    assert_eq!(silent.poll_timeout(), None);
}
