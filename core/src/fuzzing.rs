//! What the fuzz targets do, here so that the core's own tests run it, too, over the corpus and random bytes.
//!
//! The first byte of the data chooses the role (bit 0, where there is a choice) and how the rest, bytes as
//! they come from a peer, is cut. Whatever breaks its promise panics.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use crate::config::Config;
#[cfg(feature = "deflate")]
use crate::config::Deflate;
#[cfg(feature = "deflate")]
use crate::context::{Compression, SocketContext};
use crate::handshake::server::{Accept, AcceptError};
use crate::handshake::{ConnectError, Proxy, Redirects, Request, Target};
use crate::handshake::{client, server};
use crate::protocol::{Connection, Event, Header, MAX_HEADER, ReservedBits, Role};
use crate::time::Time;

/// Up to this many bytes are fed one by one as well.
const SHORT: usize = 4096;

/// More output than that is not queued for a peer who reads nothing: the high watermark, and the last frames.
const MAX_OUTPUT: usize = 64 * 1024 + 1024;

/// Without its end.
#[cfg(feature = "deflate")]
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A header: what is decoded is what is encoded, and every cut asks for more or finds what is wrong at once.
pub fn frame(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    let receiver = role(first);
    let whole = Header::decode(bytes, receiver, ReservedBits::NONE);
    if let Ok(Some((header, length))) = whole {
        let mut encoded = Vec::new();
        header.encode(&mut encoded);
        assert_eq!(Some(&*encoded), bytes.get(..length));
        assert_eq!(header.mask.is_some(), receiver == Role::Server);
        assert!(header.length < 1 << 63);
        assert!(!header.opcode.is_control() || header.fin && header.length <= 125);
    } else {
        assert!(whole.is_err() || bytes.len() < MAX_HEADER);
    }
    // The verdict falls at some byte; before it there is none, and after it nothing changes.
    let mut verdict = Ok(None);
    for end in 0..=bytes.len().min(MAX_HEADER) {
        let now = Header::decode(bytes.get(..end).unwrap_or_default(), receiver, ReservedBits::NONE);
        if verdict != Ok(None) {
            assert_eq!(now, verdict);
        }
        verdict = now;
    }
    assert_eq!(verdict, whole);
}

/// A connection: the same events and the same output however the bytes are cut, bounded output, and one end.
pub fn connection(data: &[u8]) {
    let Some((&first, bytes)) = data.split_first() else { return };
    converse_in_every_way(|| open(role(first), Config::default()), bytes, first >> 1);
}

/// The same where compression was negotiated: the second byte chooses how. And the messages that come, of any kind, can be
/// sent compressed, and come to the peer as they are.
#[cfg(feature = "deflate")]
pub fn deflate(data: &[u8]) {
    let [first, how, bytes @ ..] = data else { return };
    let conversation = converse_in_every_way(|| deflating(role(*first), *how), bytes, first >> 1);
    let (mut sender, mut receiver) = (deflating(role(first ^ 1), *how), deflating(role(*first), *how));
    for (kind, payload) in conversation.events.iter().filter(|(kind, _)| matches!(kind, 't' | 'b')) {
        let sent = match core::str::from_utf8(payload) {
            Ok(text) if *kind == 't' => sender.send(text),
            _ => sender.send(&**payload),
        };
        assert!(sent.is_ok(), "{sent:?}");
        let mut bytes: Vec<u8> = sender.output().pieces().flatten().copied().collect();
        sender.wrote(Time::ZERO, bytes.len());
        let mut input = &mut *bytes;
        let came = receiver.next_event(Time::ZERO, &mut input).map(|event| record(&event));
        assert!(came.is_some_and(|came| came == (*kind, payload.clone())) && input.is_empty());
    }
}

/// The header of permessage-deflate: what a server agrees to, a client without wishes takes, and nothing beyond what was
/// wished is agreed on. The first byte chooses the wishes, and each line is a header of its own.
#[cfg(feature = "deflate")]
pub fn extensions(data: &[u8]) {
    let Some((&wishes, bytes)) = data.split_first() else { return };
    let lines = || bytes.split(|byte| *byte == b'\n');
    let (wished, any) = (wished(wishes), Deflate::default().client_max_window_bits(15));
    let keeps = |agreed: Compression| {
        assert!(agreed.server_no_context_takeover() || !wished.server_no_context_takeover);
        assert!(agreed.client_no_context_takeover() || !wished.client_no_context_takeover);
        // 8 is not asked for.
        assert!((8..=wished.server_max_window_bits.max(9)).contains(&agreed.server_max_window_bits()));
    };
    let agreed = Compression::accept(lines(), &wished);
    if let Some(agreed) = agreed {
        keeps(agreed);
        assert_eq!(Compression::accepted([format!("{agreed}").as_bytes()], &any), Some(agreed));
    }
    if let Some(agreed) = Compression::accepted(lines(), &wished) {
        keeps(agreed);
        assert!(agreed.client_max_window_bits() <= wished.client_max_window_bits.max(9));
        assert_eq!(Compression::accepted([format!("{agreed}").as_bytes()], &wished), Some(agreed));
    }
    // The same through a handshake, where a malformed header is refused.
    let mut request = Vec::from(REQUEST);
    for line in lines() {
        request.extend([b"Sec-WebSocket-Extensions: ", line, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    let config = Arc::new(Config::default().deflate(wished));
    let mut handshake = server::Handshake::new(config.clone(), Time::ZERO);
    let Some(Ok(request)) = handshake.receive(&mut &mut *request) else { return };
    let head = accept(&request, config);
    let answer = head.split("\r\n").find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    // A carriage return in a line begins other headers.
    if head.starts_with("HTTP/1.1 101 ") && !bytes.contains(&b'\r') {
        assert_eq!(answer.map(String::from), agreed.map(|agreed| format!("{agreed}")));
    }
}

#[cfg(feature = "deflate")]
fn wished(choice: u8) -> Deflate {
    Deflate::default()
        .server_max_window_bits(8 + (choice & 7))
        .client_max_window_bits(15 - (choice >> 3 & 7))
        .server_no_context_takeover(choice & 0x40 != 0)
        .client_no_context_takeover(choice & 0x80 != 0)
}

/// A connection of which compression was negotiated, with limits that are soon reached.
#[cfg(feature = "deflate")]
fn deflating(role: Role, choice: u8) -> Connection {
    let deflate = Deflate::default()
        .level(if choice & 0x10 == 0 { 1 } else { 6 })
        .threshold(0)
        .own_compressor(choice & 0x20 != 0)
        .history(if choice & 0x40 == 0 { 4096 } else { 700 });
    let (bits, alone) = (8 + (choice & 7), choice & 8 != 0);
    let mut offer = format!("permessage-deflate; server_max_window_bits={bits}; client_max_window_bits={bits}");
    if alone {
        offer.push_str("; server_no_context_takeover; client_no_context_takeover");
    }
    let agreed = Compression::accept([offer.as_bytes()], &deflate.client_max_window_bits(15));
    let mut connection = open(role, Config::default().max_text(30_000).max_binary(20_000).deflate(deflate));
    connection.set_context(SocketContext::new().compression(agreed));
    connection
}

fn open(role: Role, config: Config) -> Connection {
    match role {
        Role::Server => Connection::server(config.into(), Time::ZERO),
        Role::Client => Connection::client(config.into(), Box::new(sample_nonce), Time::ZERO),
    }
}

/// A server reads a request, and accepts it if it can: the same verdict however the bytes are cut, and
/// nothing is taken of what follows.
pub fn server_handshake(data: &[u8]) {
    in_every_way(data, |pieces| {
        let config = Arc::new(Config::default());
        let mut handshake = server::Handshake::new(config.clone(), Time::ZERO);
        let (result, left) = receive(pieces, |input| handshake.receive(input));
        match result {
            None => (String::from("more"), Vec::new()),
            Some(Err(refusal)) => {
                check_refusal(&refusal.to_response().encode(None));
                (format!("{refusal:?}"), Vec::new())
            }
            Some(Ok(request)) => {
                let accepted = accept(&request, config);
                (format!("{request:?} {accepted} {}", told(&request)), left)
            }
        }
    });
}

/// What a handler may want to know of a request.
fn told(request: &Request) -> String {
    let cookies: Vec<_> = request.cookies().collect();
    assert!(cookies.iter().all(|(name, _)| !name.is_empty() && request.cookie(name).is_some()));
    let auth = request.basic_auth();
    if let Some(auth) = &auth {
        assert!(auth.matches(auth.user(), auth.password()) && !auth.user().contains(':') && request.bearer().is_none());
    }
    if let Some(bearer) = request.bearer() {
        assert!(bearer.matches(bearer.token()) && !bearer.matches(format!("{}x", bearer.token())));
    }
    format!("{cookies:?} {:?} {}", request.query_pairs().collect::<Vec<_>>(), told_by_a_proxy(request.clone()))
}

/// What a trusted proxy says of the client, which from anybody else says nothing.
fn told_by_a_proxy(mut request: Request) -> String {
    const PROXY: [u8; 4] = [10, 0, 0, 1];
    const STRANGER: [u8; 4] = [192, 0, 2, 1];
    request.set_trusted_proxies([IpAddr::from(PROXY).into()]);
    request.set_peer_addr(SocketAddr::from((STRANGER, 1)));
    assert!(request.client_ip() == Some(STRANGER.into()) && request.client_scheme().is_none());
    request.set_peer_addr(SocketAddr::from((PROXY, 1)));
    let is_told = ["Forwarded", "X-Forwarded-For"].iter().any(|name| request.headers().contains(name));
    let (ip, host, scheme) = (request.client_ip(), request.client_host(), request.client_scheme());
    assert!(is_told || ip == Some(PROXY.into()));
    assert!(matches!(scheme, None | Some("http" | "https")));
    format!("{ip:?} {host:?} {scheme:?}")
}

/// A client reads a response, to the key of RFC 6455 §1.3 and its offer of "chat" and "superchat": the same
/// verdict however the bytes are cut, and nothing is taken of what follows a 101.
pub fn client_handshake(data: &[u8]) {
    in_every_way(data, |pieces| {
        let Some(mut handshake) = ask() else { return (String::new(), Vec::new()) };
        let length = handshake.output().len();
        handshake.wrote(length);
        let (result, left) = receive(pieces, |input| handshake.receive(Time::ZERO, input));
        match result.unwrap_or_else(|| Err(handshake.receive_eof())) {
            Ok((connection, response)) => {
                assert!(connection.is_open() && response.status() == 101);
                assert!(matches!(response.protocol(), None | Some("chat" | "superchat")));
                (format!("{response:?}"), left)
            }
            Err(error) => (format!("{error:?} {}", redirected(error.clone())), Vec::new()),
        }
    });
}

/// Where a client goes from its server's answer, if that redirects: never out of TLS, with its credentials to no other
/// server, and with one request.
fn redirected(error: client::HandshakeError) -> String {
    let Ok(target) = Target::new("wss://user:password@example.com/chat") else { return String::new() };
    let target = target.redirects(1);
    let next = match Redirects::new().follow(&target, error.into()) {
        Ok(next) => next,
        Err(error @ ConnectError::Redirect(_)) => {
            let text = format!("{error} {error:?}");
            assert!(text.len() < 2048, "{text}");
            return text;
        }
        Err(error) => return format!("{error}"),
    };
    assert!(next.uri().is_secure());
    let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(0));
    let head = String::from_utf8_lossy(client::Handshake::new(&next, entropy, Time::ZERO).output()).into_owned();
    // The request line, `Host`, four of the upgrade, `User-Agent`, and an empty one.
    let is_same = target.uri().same_origin(next.uri());
    assert_eq!(
        (head.lines().count(), head.contains("\nAuthorization: ")),
        (8 + usize::from(is_same), is_same),
        "{head}"
    );
    head
}

/// A client and a proxy: the first byte chooses its kind. It is asked for the same, and its answers mean the same, however
/// they are cut; nothing is taken of what follows. Or the bytes are lines of text: a proxy, exceptions and a host, none
/// of which gets into a request what it does not belong there.
pub fn proxy(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let url = match first & 3 {
        0 => "http://user:password@proxy",
        1 => "socks5h://proxy",
        2 => "socks5://user:password@proxy",
        _ => return proxy_texts(&String::from_utf8_lossy(text)),
    };
    in_every_way(data, |pieces| {
        let tunnel = url.parse().ok().and_then(|proxy: Proxy| proxy.tunnel("example.com", 443, 2048).ok());
        let Some(mut tunnel) = tunnel else { return (String::new(), Vec::new()) };
        let mut sent = Vec::new();
        let (result, left) = receive(pieces, |input| {
            sent.extend_from_slice(tunnel.output());
            tunnel.wrote(usize::MAX);
            tunnel.receive(input)
        });
        sent.extend_from_slice(tunnel.output());
        let result = result.unwrap_or_else(|| Err(tunnel.receive_eof()));
        (format!("{result:?} {sent:?}"), left)
    });
}

fn proxy_texts(text: &str) {
    let mut lines = text.split('\n');
    let (url, exceptions, host) = (lines.next(), lines.next(), lines.next().unwrap_or_default());
    let variable = |name: &str| match name {
        "all_proxy" => url.map(String::from),
        "no_proxy" => exceptions.map(String::from),
        _ => None,
    };
    if let (Ok(rules), Ok(uri)) = (client::ProxyRules::from_variables(variable), format!("ws://{host}").parse()) {
        rules.proxy_for(&uri);
    }
    let Ok(proxy) = url.unwrap_or_default().parse::<Proxy>() else { return };
    let shown = format!("{proxy}");
    assert_eq!(shown.parse().map(|proxy: Proxy| format!("{proxy}")), Ok(shown));
    let Ok(tunnel) = proxy.tunnel(host, 443, 2048) else { return };
    let lines = tunnel.output().split(|byte| *byte == b'\n').count();
    // The request line, `Host`, `User-Agent`, maybe `Proxy-Authorization`, and an empty one.
    assert!(tunnel.output().starts_with(b"\x05") || (5..=6).contains(&lines), "{lines}");
}

fn role(first: u8) -> Role {
    if first & 1 == 0 { Role::Server } else { Role::Client }
}

/// Cuts the bytes as the seed says: into pieces of which most are short, and some empty.
fn pieces(mut bytes: &[u8], seed: u8) -> Vec<Vec<u8>> {
    let mut state = u32::from(seed).wrapping_mul(2_654_435_761) | 1;
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        // Numerical Recipes' generator: its upper bits will do.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let longest = if state >> 28 == 0 { 5000 } else { 24 };
        let length = usize::try_from((state >> 8) % longest).unwrap_or_default().min(bytes.len());
        let (piece, rest) = bytes.split_at(length);
        pieces.push(piece.to_vec());
        bytes = rest;
    }
    pieces
}

/// What came of a connection. Payloads are kept as bytes: printing them would take most of the time.
#[derive(Debug, PartialEq)]
struct Conversation {
    events: Vec<(char, Vec<u8>)>,
    output: Vec<u8>,
}

/// What comes of these bytes whole, cut and byte by byte, which must be the same.
fn converse_in_every_way(open: impl Fn() -> Connection, bytes: &[u8], seed: u8) -> Conversation {
    let whole = converse(open(), [bytes.to_vec()]);
    assert_eq!(converse(open(), pieces(bytes, seed)), whole);
    if bytes.len() <= SHORT {
        assert_eq!(converse(open(), bytes.chunks(1).map(<[u8]>::to_vec)), whole);
    }
    whole
}

fn converse(mut connection: Connection, pieces: impl IntoIterator<Item = Vec<u8>>) -> Conversation {
    let mut events = Vec::new();
    for mut piece in pieces {
        let mut input = &mut *piece;
        while let Some(event) = connection.next_event(Time::ZERO, &mut input) {
            events.push(record(&event));
        }
        assert!(input.is_empty(), "all input is taken");
        assert!(connection.buffered() <= MAX_OUTPUT, "{}", connection.buffered());
    }
    let output = connection.output().pieces().flatten().copied().collect();
    connection.receive_eof();
    while let Some(event) = connection.next_event(Time::ZERO, &mut Default::default()) {
        events.push(record(&event));
    }
    assert!(connection.is_finished());
    let ends = |kind| events.iter().filter(|event| event.0 == kind).count();
    assert_eq!(ends('c'), 1, "it ends once");
    assert_eq!(events.last().map(|event| event.0), Some('c'), "and nothing follows");
    assert!(ends('e') <= 1);
    Conversation { events, output }
}

fn record(event: &Event<'_>) -> (char, Vec<u8>) {
    match event {
        Event::Text(text) => ('t', text.as_bytes().to_vec()),
        Event::Binary(bytes) => ('b', bytes.to_vec()),
        Event::Ping(data) => ('p', data.to_vec()),
        Event::Pong(data) => ('q', data.to_vec()),
        Event::Error(error) => ('e', format!("{error:?}").into_bytes()),
        Event::Closed(closed) => ('c', format!("{closed:?}").into_bytes()),
    }
}

/// Runs a handshake whole, cut and byte by byte: the verdict and what is left must be the same, and what is
/// left must be the end of what was given.
fn in_every_way(data: &[u8], run: impl Fn(Vec<Vec<u8>>) -> (String, Vec<u8>)) {
    let Some((&seed, bytes)) = data.split_first() else { return };
    let whole = run([bytes.to_vec()].into());
    assert!(bytes.ends_with(&whole.1), "what is left was changed");
    assert_eq!(run(pieces(bytes, seed)), whole);
    if bytes.len() <= SHORT {
        assert_eq!(run(bytes.chunks(1).map(<[u8]>::to_vec).collect()), whole);
    }
}

/// Feeds the pieces until there is a result, and returns with it all bytes that were not taken.
fn receive<T>(pieces: Vec<Vec<u8>>, mut receive: impl FnMut(&mut &mut [u8]) -> Option<T>) -> (Option<T>, Vec<u8>) {
    let (mut result, mut left) = (None, Vec::new());
    for mut piece in pieces {
        let mut input = &mut *piece;
        if result.is_none() {
            result = receive(&mut input);
            assert!(result.is_some() || input.is_empty(), "all input is taken");
        }
        left.extend_from_slice(input);
    }
    (result, left)
}

fn accept(request: &crate::Request, config: Arc<Config>) -> String {
    let mut accept = Accept::new();
    if let Some(protocol) = request.protocols().first() {
        accept = accept.protocol(*protocol);
    }
    match request.accept(&accept, config, Time::ZERO) {
        Ok(connection) => {
            let head = connection.output().first();
            assert!(head.starts_with(b"HTTP/1.1 101 ") && head.ends_with(b"\r\n\r\n"));
            assert!(connection.is_open());
            String::from_utf8_lossy(head).into_owned()
        }
        Err(error) => {
            assert!(matches!(error, AcceptError::Refused(_)), "what is chosen was offered: {error:?}");
            check_refusal(&error.to_response().encode(Some(request)));
            format!("{error:?}")
        }
    }
}

fn check_refusal(response: &[u8]) {
    assert!(response.starts_with(b"HTTP/1.1 4") || response.starts_with(b"HTTP/1.1 5"));
    assert!(response.windows(4).any(|end| end == b"\r\n\r\n"));
}

fn ask() -> Option<client::Handshake> {
    let target = Target::new("ws://server.example.com/chat").ok()?.protocol("chat").ok()?;
    let target = target.protocol("superchat").ok()?;
    Some(client::Handshake::new(&target, Box::new(sample_nonce), Time::ZERO))
}

/// RFC 6455 §1.3's example of a key, always.
fn sample_nonce(bytes: &mut [u8]) {
    for (byte, sample) in bytes.iter_mut().zip(b"the sample nonce".iter().cycle()) {
        *byte = *sample;
    }
}
