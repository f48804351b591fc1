//! Wire tables of the server's opening handshake: each is read whole, cut at every point, and byte by byte. With the feature
//! `http`, each is also judged as what a framework has parsed: over HTTP/1.1, and where the row exists there, over HTTP/2.

#[cfg(feature = "http")]
#[path = "handshake/frameworks.rs"]
mod frameworks;

use std::sync::Arc;
use std::time::Duration;

use bellwire_core::proto::Time;
use bellwire_core::proto::server::{Accept, AcceptError, Handshake, Refusal, Refused};
use bellwire_core::{Config, Request, Response, is_upgrade_request, listener};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\n";

/// The result of reading these pieces, as text that can be compared, and the bytes that were left.
fn read_pieces(config: &Config, pieces: &[&[u8]]) -> (Option<Result<Request, Refused>>, Vec<u8>) {
    let mut handshake = Handshake::new(Arc::new(config.clone()), Time::ZERO);
    let mut result = None;
    let mut left = Vec::new();
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        if result.is_none() {
            result = handshake.receive(&mut input);
        }
        left.extend_from_slice(input);
    }
    let mut more = *b"GET / HTTP/1.1\r\n\r\n";
    let mut input = &mut more[..];
    if result.is_some() {
        assert!(handshake.receive(&mut input).is_none(), "nothing after a result");
        assert_eq!(input.len(), more.len(), "nothing is taken after a result");
        assert_eq!(handshake.poll_timeout(), None);
    }
    (result, left)
}

fn read_with(config: &Config, wire: &[u8]) -> (Option<Result<Request, Refused>>, Vec<u8>) {
    let whole = read_pieces(config, &[wire]);
    let expected = format!("{whole:?}");
    for at in 0..=wire.len() {
        let (left, right) = wire.split_at(at);
        assert_eq!(format!("{:?}", read_pieces(config, &[left, right])), expected, "cut at {at}");
    }
    assert_eq!(format!("{:?}", read_pieces(config, &wire.chunks(1).collect::<Vec<_>>())), expected);
    whole
}

fn read(wire: &str) -> Result<Request, Refused> {
    let (result, left) = read_with(&Config::default(), wire.as_bytes());
    if matches!(result, Some(Ok(_))) {
        assert_eq!(left, b"");
    }
    let result = result.expect("a whole head");
    #[cfg(feature = "http")]
    frameworks::read(wire, &result);
    result
}

/// The rule that was broken.
fn refusal<T>(result: Result<T, AcceptError>) -> Refusal {
    match result.map(drop) {
        Err(AcceptError::Refused(refused)) => refused.refusal,
        other => panic!("{other:?}"),
    }
}

fn accept_with(config: Config, headers: &str) -> Result<(), AcceptError> {
    let request = read(&format!("GET /chat HTTP/1.1\r\nHost: example.com\r\n{headers}\r\n")).unwrap();
    accept_request(&request, &Accept::new(), config)
}

/// Accepts a request, for a connection whose first output is the 101.
fn accept_request(request: &Request, accept: &Accept, config: Config) -> Result<(), AcceptError> {
    let result = request.accept(accept, Arc::new(config.clone()), Time::ZERO);
    #[cfg(feature = "http")]
    frameworks::accept(request, accept, &config, result.as_ref());
    result.map(drop)
}

fn accept(headers: &str) -> Result<(), AcceptError> {
    accept_with(Config::default(), headers)
}

#[test]
fn an_opening_handshake_is_read_and_accepted() {
    let request = read(&format!("GET /chat?x=1 HTTP/1.1\r\nhost: example.com\r\n{UPGRADE}{KEY}{VERSION}\r\n")).unwrap();
    assert_eq!((request.method(), request.path(), request.query()), ("GET", "/chat", Some("x=1")));
    assert_eq!(request.headers().len(), 5);
    assert_eq!(request.header("Host").unwrap(), "example.com");
    assert!(accept_request(&request, &Accept::new(), Config::default()).is_ok());
    assert!(accept_request(&Request::upgrade("/"), &Accept::new(), Config::default()).is_ok());
}

#[test]
fn bytes_glued_behind_the_head_stay_in_the_input() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let frames = b"\x81\x80\0\0\0\0\r\n\r\nGET / HTTP/1.1\r\n";
    let (result, left) = read_with(&Config::default(), &[&head[..], frames].concat());
    assert!(result.unwrap().is_ok());
    assert_eq!(left, frames);
}

#[test]
fn one_empty_line_before_the_request_is_skipped() {
    assert!(read("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").is_ok());
    assert_eq!(read("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err(), Refusal::Malformed);
}

#[test]
fn bad_heads_are_refused_before_the_handler() {
    for (wire, refusal) in [
        ("GET / HTTP/0.9\r\nHost: h\r\n\r\n", Refusal::HttpVersion),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", Refusal::HttpVersion),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Refusal::HttpVersion),
        ("GET /\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / http/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/11\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET /  HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", Refusal::Malformed),
        (" GET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("G(T / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\nHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\n\n", Refusal::Malformed),
        ("GET / HTTP/1.1\rHost: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\0\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\n Host: h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost : h\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\nX\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", Refusal::Malformed),
        ("GET / HTTP/1.1\r\nHost: h\r\nä: x\r\n\r\n", Refusal::Malformed),
        ("\x16\x03\x01\x02\0", Refusal::Tls),
        ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::ProxyProtocol),
        ("\r\n\r\n\0\r\nQUIT\n!\x11\0\x0c", Refusal::ProxyProtocol),
        ("POST / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method),
        ("get / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method),
        ("options / HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method),
        ("OPTIONS x HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target),
        ("OPTIONS / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", Refusal::Body),
        ("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Method),
        ("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", Refusal::Method),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target),
        ("GET /x#y HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target),
        ("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", Refusal::Target),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -0\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length:\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999999\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", Refusal::Body),
        ("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\n\r\n", Refusal::Body),
    ] {
        assert_eq!(read(wire).unwrap_err(), refusal, "{wire:?}");
    }
    assert!(read("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").is_ok());
    assert!(read("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n").is_ok());
}

#[test]
fn h1_http_1_0_is_plain_and_needs_no_host() {
    for wire in ["GET /x HTTP/1.0\r\n\r\n", "GET /x HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n"] {
        let request = read(wire).unwrap();
        assert!(request.is_http10() && !is_upgrade_request(&request), "{wire:?}");
        assert_eq!(request.path(), "/x");
    }
    let request = read(&format!("GET / HTTP/1.0\r\nHost: h\r\n{UPGRADE}{KEY}{VERSION}\r\n")).unwrap();
    assert!(!is_upgrade_request(&request));
    let refused = accept_request(&request, &Accept::new(), Config::default());
    assert_eq!(refusal(refused), Refusal::Http10);
    for headers in ["Host: a\r\nHost: a\r\n", "Host: a b\r\n"] {
        assert_eq!(read(&format!("GET / HTTP/1.0\r\n{headers}\r\n")).unwrap_err(), Refusal::Host, "{headers:?}");
    }
    let chunked = "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(read(chunked).unwrap_err(), Refusal::Body);
    // RFC 9110 §6.2: a later minor version is read as the highest that is known.
    for version in ["1.1", "1.2", "1.9"] {
        let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{UPGRADE}{KEY}{VERSION}\r\n");
        let request = read(&head).unwrap();
        assert!(!request.is_http10() && accept_request(&request, &Accept::new(), Config::default()).is_ok());
        assert_eq!(read(&format!("GET / HTTP/{version}\r\n\r\n")).unwrap_err(), Refusal::Host);
    }
}

#[test]
fn there_is_exactly_one_valid_host() {
    for headers in [
        "",
        "Host: a\r\nHost: a\r\n",
        "Host: a\r\nHost: b\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: u@a\r\n",
        "Host: a:x\r\n",
        "Host: a:65536\r\n",
        "Host: :80\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [::g]\r\n",
        "Host:\r\nHost:\r\n",
        "Host: [fe80::1%eth0]\r\n",
        "Host: ä\r\n",
        "Host: %zz\r\n",
    ] {
        assert_eq!(read(&format!("GET / HTTP/1.1\r\n{headers}\r\n")).unwrap_err(), Refusal::Host, "{headers:?}");
    }
    for host in [
        "a",
        "a:80",
        "a:",
        "127.0.0.1:9001",
        "[::1]",
        "[::1]:9001",
        "a_b.example",
        "EXAMPLE.com",
        "",
        "[fe80::1%25eth0]:9",
    ] {
        assert!(read(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).is_ok(), "{host}");
    }
    let named = read("GET / HTTP/1.1\r\nHost: ::1:9514\r\n\r\n").unwrap_err();
    assert_eq!(named.host.as_deref(), Some("::1:9514"));
    assert!(named.to_string().contains("Invalid Host \"::1:9514\": "), "{named}");
    // In absolute form, too, there must be one, but the target's is what counts.
    assert_eq!(read("GET http://a/ HTTP/1.1\r\n\r\n").unwrap_err(), Refusal::Host);
    let request = read("GET http://a:81/x HTTP/1.1\r\nHost: b\r\n\r\n").unwrap();
    assert_eq!((request.path(), request.header("host").unwrap().as_ref()), ("/x", "a:81"));
}

#[test]
fn a_head_of_exactly_the_limit_is_read_and_one_byte_more_is_refused() {
    let head = b"GET /chat HTTP/1.1\r\nHost: example.com\r\n\r\n";
    assert!(read_with(&Config::default().max_head(head.len()), head).0.unwrap().is_ok());
    let refused = |max| read_with(&Config::default().max_head(max), head).0.unwrap().unwrap_err();
    assert_eq!(refused(head.len() - 1), Refusal::HeadTooLarge);
    assert_eq!(refused(20), Refusal::HeadTooLarge);
    assert_eq!(refused(19), Refusal::TargetTooLong);
    assert_eq!(refused(1), Refusal::TargetTooLong);
}

#[test]
fn h9_the_limit_of_fields_follows_from_that_of_the_head() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: y\r\n".repeat(count - 1));
    let fields = |max_head: usize, count: usize| {
        let config = Config::default().max_head(max_head);
        // Byte by byte elsewhere: this is long.
        read_pieces(&config, &[head(count).as_bytes()]).0.unwrap().map(|request| request.headers().len())
    };
    assert_eq!(fields(16 * 1024, 1024), Ok(1024));
    assert_eq!(fields(16 * 1024, 1025).unwrap_err(), Refusal::TooManyFields);
    assert_eq!(fields(32 * 1024, 2048), Ok(2048));
    assert_eq!(fields(32 * 1024, 2049).unwrap_err(), Refusal::TooManyFields);
    assert_eq!((fields(1024, 100), fields(1024, 101).unwrap_err().refusal), (Ok(100), Refusal::TooManyFields));
    let advice = Refusal::TooManyFields.to_string();
    assert!(advice.contains("max_head") && advice.contains("16 bytes"), "{advice}");
}

#[test]
fn a_megabyte_fed_byte_by_byte_costs_no_more_than_linear_time() {
    // With a second look at each byte for each new one this would take hours.
    let config = Config::default().max_head(1024 * 1024);
    let mut handshake = Handshake::new(Arc::new(config), Time::ZERO);
    let mut fed = 0;
    let line = b"GET / HTTP/1.1\r\n".iter().chain(b"X: yyyyyyyyyyyyyyyy\r\n".iter().cycle());
    let refusal = line.copied().find_map(|byte| {
        fed += 1;
        handshake.receive(&mut &mut [byte][..])
    });
    assert_eq!(refusal.unwrap().unwrap_err(), Refusal::HeadTooLarge);
    assert_eq!(fed, 1024 * 1024);
}

#[test]
fn the_upgrade_is_checked_strictly() {
    let ok = |headers: &str| assert_eq!(accept(headers), Ok(()), "{headers:?}");
    let refused = |headers: String, rule| assert_eq!(refusal(accept(&headers)), rule, "{headers:?}");
    let rest = format!("{KEY}{VERSION}");
    ok(&format!("{UPGRADE}{rest}"));
    ok(&format!("connection: keep-alive, UPGRADE\r\nupgrade: WebSocket\r\n{rest}"));
    ok(&format!("Connection: keep-alive\r\nConnection: ,upgrade,\r\nUpgrade: h2c, websocket\r\n{rest}"));
    refused(rest.clone(), Refusal::NotAnUpgrade);
    refused(format!("Connection: Upgrade\r\n{rest}"), Refusal::NotAnUpgrade);
    refused(format!("Connection: Upgrade\r\nUpgrade: websockets\r\n{rest}"), Refusal::NotAnUpgrade);
    refused(format!("Connection: Upgrade\r\nUpgrade: h2c\r\n{rest}"), Refusal::NotAnUpgrade);
    refused(format!("Upgrade: websocket\r\n{rest}"), Refusal::Connection);
    refused(format!("Connection: close\r\nUpgrade: websocket\r\n{rest}"), Refusal::Connection);
    refused(format!("Connection: not-upgrade\r\nUpgrade: websocket\r\n{rest}"), Refusal::Connection);
    refused(format!("Connection: upgrade, @\r\nUpgrade: websocket\r\n{rest}"), Refusal::Connection);
    refused(format!("{UPGRADE}{KEY}"), Refusal::Version);
    for version in ["8", "014", "13, 8", "13.0", "+13", ""] {
        refused(format!("{UPGRADE}{KEY}Sec-WebSocket-Version: {version}\r\n"), Refusal::Version);
    }
    refused(format!("{UPGRADE}{KEY}{VERSION}{VERSION}"), Refusal::RepeatedVersion);
    refused(format!("{UPGRADE}{VERSION}"), Refusal::Key);
    refused(format!("{UPGRADE}{VERSION}{KEY}{KEY}"), Refusal::Key);
    // The example of RFC 6455 §4.1, and 22 letters of which the last has bits to spare.
    for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "dGhlIHNhbXBsZSBub25jZR=="] {
        ok(&format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: {key}\r\n"));
    }
    for key in ["", "x", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZUE="] {
        refused(format!("{UPGRADE}{VERSION}Sec-WebSocket-Key: {key}\r\n"), Refusal::Key);
    }
}

#[test]
fn subprotocols_and_extensions_must_be_well_formed() {
    let with = |header: &str| accept(&format!("{UPGRADE}{KEY}{VERSION}{header}\r\n"));
    for protocols in ["a", "a, b", "a,,b,", "a\r\nSec-WebSocket-Protocol: b", "a, A"] {
        assert_eq!(with(&format!("Sec-WebSocket-Protocol: {protocols}")), Ok(()), "{protocols:?}");
    }
    for protocols in ["", ",", "a b", "a, a", "a, b\r\nSec-WebSocket-Protocol: a", "(a)", "a;b", "a/b"] {
        let refused = with(&format!("Sec-WebSocket-Protocol: {protocols}"));
        assert_eq!(refusal(refused), Refusal::Protocols, "{protocols:?}");
    }
    for extensions in ["permessage-deflate; client_max_window_bits", "a;b=\"c\", d\r\nSec-WebSocket-Extensions: e"] {
        assert_eq!(with(&format!("Sec-WebSocket-Extensions: {extensions}")), Ok(()), "{extensions:?}");
    }
    for extensions in ["", "a;", "a;b=\"c d\"", "a, b=c", "a\r\nSec-WebSocket-Extensions: ;"] {
        let refused = with(&format!("Sec-WebSocket-Extensions: {extensions}"));
        assert_eq!(refusal(refused), Refusal::Extensions, "{extensions:?}");
    }
}

#[test]
fn only_get_is_upgraded() {
    let request = read(&format!("HEAD / HTTP/1.1\r\nHost: h\r\n{UPGRADE}{KEY}{VERSION}\r\n")).unwrap();
    let result = accept_request(&request, &Accept::new(), Config::default());
    assert_eq!(refusal(result), Refusal::UpgradeMethod);
}

#[test]
fn a_subprotocol_that_was_not_offered_is_a_mistake_of_the_program() {
    let choose = |request: &Request, protocol: &str| {
        accept_request(request, &Accept::new().protocol(protocol), Config::default())
    };
    let request = Request::upgrade("/").with_header("Sec-WebSocket-Protocol", "mqtt, soap").unwrap();
    assert_eq!(choose(&request, "soap"), Ok(()));
    for protocol in ["SOAP", "", "x", "mqtt, soap", "soap\r\nX: y"] {
        assert_eq!(choose(&request, protocol), Err(AcceptError::ProtocolNotOffered(protocol.into())), "{protocol:?}");
    }
    assert_eq!(choose(&Request::upgrade("/"), "soap"), Err(AcceptError::ProtocolNotOffered("soap".into())));
    let answer = AcceptError::ProtocolNotOffered("soap".into()).to_response().encode(None);
    assert!(answer.starts_with(b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n"));
}

#[test]
fn the_peers_fault_comes_before_the_programs() {
    let request = Request::upgrade("/").with_header("Sec-WebSocket-Version", "8").unwrap();
    let result = accept_request(&request, &Accept::new().protocol("x"), Config::default());
    assert_eq!(refusal(result), Refusal::Version);
}

#[test]
fn a_server_accepts_its_own_origin_and_those_that_it_lists() {
    let check = |config: Config, host: &str, origin: &str| {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{UPGRADE}{KEY}{VERSION}{origin}\r\n");
        let result = accept_request(&read(&head).unwrap(), &Accept::new(), config);
        if result.is_err() {
            assert_eq!(refusal(result.clone()), Refusal::Origin);
        }
        result.is_ok()
    };
    let same = |host: &str, origin: &str| check(Config::default(), host, &format!("Origin: {origin}\r\n"));
    for (host, origin) in [
        ("example.com", "http://example.com"),
        ("example.com", "https://example.com"),
        ("example.com", "HTTPS://EXAMPLE.com:443"),
        ("example.com:443", "https://example.com"),
        ("example.com:80", "http://example.com"),
        ("example.com:", "ws://example.com"),
        ("example.com:9001", "http://example.com:9001"),
        ("[::1]:9001", "http://[::1]:9001"),
    ] {
        assert!(same(host, origin), "{origin} at {host}");
    }
    for (host, origin) in [
        ("example.com", "http://evil.com"),
        ("example.com", "http://example.com.evil.com"),
        ("example.com", "http://evil.com/example.com"),
        ("example.com", "http://example.com/"),
        ("example.com", "http://user@example.com"),
        ("example.com", "http://example.com:9001"),
        ("example.com:80", "https://example.com"),
        ("example.com:443", "http://example.com"),
        ("example.com", "example.com"),
        ("example.com", "chrome-extension://example.com"),
        ("example.com", "null"),
        ("null", "null"),
        ("example.com", ""),
        ("example.com", "http://example.com http://example.com"),
        ("example.com", "http://\u{e4}"),
    ] {
        assert!(!same(host, origin), "{origin} at {host}");
    }
    assert!(check(Config::default(), "a", ""), "no browser");
    let two = "Origin: http://a\r\nOrigin: http://a\r\n";
    let list = Config::default().origins(["https://other.example", "null"]);
    for config in [Config::default(), list.clone(), Config::default().any_origin()] {
        assert!(!check(config, "a", two), "which one?");
    }
    assert!(check(list.clone(), "a", "Origin: HTTPS://Other.Example\r\n"));
    assert!(check(list.clone(), "a", "Origin: null\r\n"));
    assert!(check(list.clone(), "a", "Origin: http://a\r\n"));
    assert!(!check(list.clone(), "a", "Origin: http://other.example\r\n"));
    assert!(!check(list, "a", "Origin: https://other.example:444\r\n"));
    assert!(check(Config::default().any_origin(), "a", "Origin: https://evil.com\r\n"));
}

#[test]
fn the_deadline_is_for_the_whole_request() {
    let second = Duration::from_secs(1);
    let config = Arc::new(Config::default().open_timeout(10 * second));
    let mut handshake = Handshake::new(config.clone(), Time::from_start(5 * second));
    assert_eq!(handshake.poll_timeout(), Some(Time::from_start(15 * second)));
    assert!(handshake.receive(&mut &mut b"GET".to_vec()[..]).is_none());
    assert_eq!(handshake.handle_timeout(Time::from_start(14 * second)), None);
    assert_eq!(handshake.poll_timeout(), Some(Time::from_start(15 * second)), "bytes do not move it");
    assert_eq!(handshake.handle_timeout(Time::from_start(15 * second)).unwrap(), Refusal::Timeout);
    assert_eq!(handshake.handle_timeout(Time::from_start(16 * second)), None);
    assert_eq!(handshake.poll_timeout(), None);

    let mut handshake = Handshake::new(config.clone(), Time::ZERO);
    handshake.receive_eof();
    assert_eq!((handshake.poll_timeout(), handshake.handle_timeout(Time::from_start(99 * second))), (None, None));

    let mut handshake = Handshake::new(Arc::new(Config::default().open_timeout(None)), Time::ZERO);
    assert_eq!((handshake.poll_timeout(), handshake.handle_timeout(Time::from_start(Duration::MAX))), (None, None));
    let handshake = Handshake::new(Arc::new(Config::default().open_timeout(Duration::MAX)), Time::from_start(second));
    assert_eq!(handshake.poll_timeout(), None, "for ever");
}

#[test]
fn every_refusal_is_answered_with_its_status_its_headers_and_what_to_do() {
    let allow_get = "Allow: GET\r\n";
    let upgrade = "Upgrade: websocket\r\n";
    for (refusal, line, headers) in [
        (Refusal::Malformed, "400 Bad Request", vec![]),
        (Refusal::Tls, "400 Bad Request", vec![]),
        (Refusal::ProxyProtocol, "400 Bad Request", vec![]),
        (Refusal::Target, "400 Bad Request", vec![]),
        (Refusal::Host, "400 Bad Request", vec![]),
        (Refusal::Body, "400 Bad Request", vec![]),
        (Refusal::Connection, "400 Bad Request", vec![]),
        (Refusal::RepeatedVersion, "400 Bad Request", vec![]),
        (Refusal::Key, "400 Bad Request", vec![]),
        (Refusal::Protocols, "400 Bad Request", vec![]),
        (Refusal::Extensions, "400 Bad Request", vec![]),
        (Refusal::Origin, "403 Forbidden", vec![]),
        (Refusal::Method, "405 Method Not Allowed", vec!["Allow: GET, HEAD, OPTIONS\r\n"]),
        (Refusal::UpgradeMethod, "405 Method Not Allowed", vec![allow_get]),
        (Refusal::Timeout, "408 Request Timeout", vec![]),
        (Refusal::TargetTooLong, "414 URI Too Long", vec![]),
        (Refusal::NotAnUpgrade, "426 Upgrade Required", vec![upgrade]),
        (Refusal::Http10, "426 Upgrade Required", vec![upgrade]),
        (Refusal::Version, "426 Upgrade Required", vec![upgrade, VERSION]),
        (Refusal::HeadTooLarge, "431 Request Header Fields Too Large", vec![]),
        (Refusal::TooManyFields, "431 Request Header Fields Too Large", vec![]),
        (Refusal::HttpVersion, "505 HTTP Version Not Supported", vec![]),
    ] {
        let text = String::from_utf8(refusal.to_response().encode(None)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let head = format!("{head}\r\n");
        assert!(head.starts_with(&format!("HTTP/1.1 {line}\r\nConnection: close")), "{head}");
        for header in &headers {
            assert!(head.contains(header), "{head}");
        }
        let connection = if headers.contains(&upgrade) { "close, Upgrade" } else { "close" };
        assert!(head.contains(&format!("\r\nConnection: {connection}\r\n")), "{head}");
        assert!(head.contains("\r\nCache-Control: no-store\r\n") && !head.contains("Date"), "no clock here: {head}");
        assert_eq!(head.matches("\r\n").count(), 5 + headers.len(), "nothing else: {head}");
        assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
        assert_eq!(body, format!("{refusal}\n"));
        assert!(body.contains(": "), "says what to do: {body}");
        assert_eq!(refusal.to_response().status(), refusal.status());
    }
}

#[test]
fn a_response_becomes_a_connection_by_hand() {
    let response = Response::websocket(listener()).header("Set-Cookie", "a=b").protocol("soap");
    let Ok(upgrade) = response.into_upgrade() else { panic!("an upgrade") };
    let request = Request::upgrade("/").with_header("Sec-WebSocket-Protocol", "soap").unwrap();
    assert!(upgrade.config.is_none());
    assert!(request.accept(&upgrade.accept, Arc::default(), Time::ZERO).is_ok());
    let refused = Request::upgrade("/").accept(&upgrade.accept, Arc::default(), Time::ZERO).map(drop);
    assert_eq!(refused, Err(AcceptError::ProtocolNotOffered("soap".into())));
}
