//! Proxies: their URLs, and tables of what is said to them and what they answer, each of which is read whole, cut at every
//! point, and byte by byte.

use std::error::Error;

use bellwire_core::proto::InvalidHeader;
use bellwire_core::proto::client::{InvalidProxy, MAX_BODY, ProxyError, SocksFailure, Tunnel};
use bellwire_core::{ConnectError, Proxy, Target};

const MAX_HEAD: usize = 2048;

fn proxy(url: &str) -> Proxy {
    Proxy::new(url).unwrap()
}

fn http() -> Tunnel {
    proxy("http://p").tunnel("example.com", 443, MAX_HEAD).unwrap()
}

/// What comes of a handshake: all that was sent, the result if there is one before the end of the bytes, what is said at
/// their end, and the bytes left.
fn talk_in_pieces(mut tunnel: Tunnel, pieces: &[&[u8]]) -> (Vec<u8>, String, Option<ProxyError>, Vec<u8>) {
    let (mut sent, mut left, mut result) = (Vec::new(), Vec::new(), None);
    for piece in pieces {
        send(&mut tunnel, &mut sent);
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        if result.is_none() {
            result = tunnel.receive(&mut input);
            assert!(result.is_some() || input.is_empty(), "all input is taken");
        }
        left.extend_from_slice(input);
    }
    send(&mut tunnel, &mut sent);
    if result.is_some() {
        assert!(tunnel.receive(&mut &mut [b'H', 5][..]).is_none(), "nothing after a result");
        assert!(tunnel.timed_out().is_none());
    }
    let shown = format!("{result:?}");
    let error = result.unwrap_or_else(|| Err(tunnel.receive_eof())).err();
    (sent, shown, error, left)
}

/// In two pieces: what cuts a write must not harm.
fn send(tunnel: &mut Tunnel, sent: &mut Vec<u8>) {
    let half = tunnel.output().len() / 2;
    for count in [half, usize::MAX] {
        sent.extend_from_slice(&tunnel.output()[..count.min(tunnel.output().len())]);
        tunnel.wrote(count);
    }
    assert_eq!(tunnel.output(), b"");
}

/// The same in every way: what was sent, the result, and the bytes left.
fn talk(tunnel: impl Fn() -> Tunnel, wire: &[u8]) -> (Vec<u8>, Result<(), ProxyError>, Vec<u8>) {
    let (sent, shown, error, left) = talk_in_pieces(tunnel(), &[wire]);
    let compare = |pieces: &[&[u8]]| {
        let other = talk_in_pieces(tunnel(), pieces);
        assert_eq!((&other.0, &other.1, &other.3), (&sent, &shown, &left), "{pieces:?}");
        assert_eq!(format!("{:?}", other.2), format!("{error:?}"), "{pieces:?}");
    };
    for at in 0..=wire.len() {
        let (left, right) = wire.split_at(at);
        compare(&[left, right]);
    }
    compare(&wire.chunks(1).collect::<Vec<_>>());
    (sent, error.map_or(Ok(()), Err), left)
}

fn refused(wire: &str) -> ProxyError {
    let (_, result, _) = talk(http, wire.as_bytes());
    let error = result.unwrap_err();
    assert!(matches!(error, ProxyError::Refused(_)), "{error:?}");
    error
}

#[test]
fn a_proxy_is_a_scheme_a_host_and_a_port() {
    for (url, host, port, shown) in [
        ("http://p", "p", 80, "http://p:80"),
        ("HTTPS://p/", "p", 443, "https://p:443"),
        ("socks5://p", "p", 1080, "socks5://p:1080"),
        ("socks5h://p:9050", "p", 9050, "socks5h://p:9050"),
        (" http://10.0.0.1:3128\n", "10.0.0.1", 3128, "http://10.0.0.1:3128"),
        ("http://[::1]", "::1", 80, "http://[::1]:80"),
        ("socks5://[fe80::1%25eth0]:1081", "fe80::1%eth0", 1081, "socks5://[fe80::1%25eth0]:1081"),
        ("http://user:secret@p:8080/", "p", 8080, "http://p:8080"),
        ("http://user:se:cr@et@p", "p", 80, "http://p:80"),
        ("http://@p:", "p", 80, "http://p:80"),
        ("http://:@p", "p", 80, "http://p:80"),
    ] {
        let proxy = proxy(url);
        assert_eq!((proxy.host(), proxy.port(), &*proxy.to_string()), (host, port, shown), "{url}");
        assert_eq!(self::proxy(shown).to_string(), shown);
        assert_eq!(proxy.is_secure(), shown.starts_with("https:"));
        assert_eq!(proxy.resolves_locally(), shown.starts_with("socks5:"));
    }
}

#[test]
fn what_is_no_proxy_says_what_to_write_and_quotes_nothing() {
    let long = "x".repeat(256);
    for (url, error) in [
        ("", InvalidProxy::Scheme),
        ("p:3128", InvalidProxy::Scheme),
        ("secret:secret@p:3128", InvalidProxy::Scheme),
        ("socks4://secret", InvalidProxy::Scheme),
        ("secret://p", InvalidProxy::Scheme),
        ("ws://p", InvalidProxy::Scheme),
        ("http:/p", InvalidProxy::Scheme),
        ("http://", InvalidProxy::NoHost),
        ("http:///", InvalidProxy::NoHost),
        ("http://secret@", InvalidProxy::NoHost),
        ("http://:80", InvalidProxy::NoHost),
        ("http://secret secret", InvalidProxy::Host),
        ("http://sécret", InvalidProxy::Host),
        ("http://[::1", InvalidProxy::Host),
        ("http://p:0", InvalidProxy::Port),
        ("http://p:65536", InvalidProxy::Port),
        ("http://2001:db8::1", InvalidProxy::Port),
        ("http://p:secret", InvalidProxy::Port),
        ("http://p/secret", InvalidProxy::Path),
        ("http://p//", InvalidProxy::Path),
        ("http://p?secret", InvalidProxy::Path),
        ("http://p#secret", InvalidProxy::Path),
        ("http://user:secret/secret@p", InvalidProxy::Path),
        ("http://user:secret#secret@p", InvalidProxy::Path),
        ("http://a%3Ab:secret@p", InvalidProxy::Credentials),
        ("http://user:secret%0A@p", InvalidProxy::Credentials),
        ("https://user%00:secret@p", InvalidProxy::Credentials),
        (&format!("socks5://{long}:secret@p"), InvalidProxy::Credentials),
        (&format!("socks5h://user:{long}@p"), InvalidProxy::Credentials),
    ] {
        let found = Proxy::new(url).unwrap_err();
        assert_eq!(found, error, "{url}");
        let texts = format!("{found} {found:?} {}", ConnectError::from(found.clone()));
        assert!(!texts.contains("secret") && !texts.contains(&long), "{texts}");
    }
}

#[test]
fn connect_asks_for_host_and_port_always() {
    for (host, port, authority) in [
        ("example.com", 443, "example.com:443"),
        ("example.com", 80, "example.com:80"),
        ("10.0.0.1", 9001, "10.0.0.1:9001"),
        ("::1", 80, "[::1]:80"),
        ("[::1]", 80, "[::1]:80"),
        ("fe80::1%eth0", 80, "[fe80::1]:80"),
        ("2001:DB8::0:1", 80, "[2001:db8::1]:80"),
        ("a%20b", 80, "a%20b:80"),
    ] {
        let tunnel = proxy("http://p").tunnel(host, port, MAX_HEAD).unwrap();
        let expected = format!(
            "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: bellwire/{}\r\n\r\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(std::str::from_utf8(tunnel.output()).unwrap(), expected);
    }
}

#[test]
fn nothing_in_a_host_splits_the_request() {
    for host in ["", "a b", "a\r\nX: 1", "a:80", "a/", "user@a", "[a]", "::1]", "ä", "a%2", "%eth0", "\0"] {
        for url in ["http://p", "socks5h://p"] {
            let error = proxy(url).tunnel(host, 80, MAX_HEAD).unwrap_err();
            assert!(matches!(error, ProxyError::Host), "{host:?}");
        }
    }
}

#[test]
fn a_proxy_is_told_who_asks() {
    let field = |proxy: Proxy| {
        let tunnel = proxy.tunnel("h", 80, MAX_HEAD).unwrap();
        let head = String::from_utf8(tunnel.output().to_vec()).unwrap();
        let fields: Vec<_> = head.split("\r\n").skip(2).filter(|line| !line.is_empty()).collect();
        fields.join("|")
    };
    let agent = concat!("User-Agent: bellwire/", env!("CARGO_PKG_VERSION"));
    // RFC 7617 §2.
    let basic = "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert_eq!(field(proxy("http://Aladdin:open%20sesame@p")), format!("{agent}|{basic}"));
    assert_eq!(field(proxy("https://p")), agent);
    let bearer = proxy("http://user:secret@p").header("proxy-authorization", "Bearer 42").unwrap();
    assert_eq!(field(bearer.clone()), format!("{agent}|proxy-authorization: Bearer 42"));
    assert_eq!(field(bearer.header("Proxy-Authorization", " ").unwrap()), agent);
    let named = proxy("http://p").header("User-Agent", "feed/1").unwrap().header("X", "1").unwrap();
    assert_eq!(field(named.header("X", "2").unwrap()), "User-Agent: feed/1|X: 1|X: 2");
}

#[test]
fn headers_that_cannot_be_sent_are_refused() {
    let header = |url, name, value| proxy(url).header(name, value).map(drop);
    for name in ["Host", "Connection", "upgrade", "Content-Length", "Transfer-Encoding", "Sec-WebSocket-Key"] {
        let reserved = InvalidHeader::Reserved(name.into());
        assert_eq!(header("http://p", name, "x"), Err(InvalidProxy::Header(reserved)));
    }
    assert_eq!(header("http://p", "a b", "x"), Err(InvalidProxy::Header(InvalidHeader::Name)));
    assert_eq!(header("http://p", "a", "x\r\ny: z"), Err(InvalidProxy::Header(InvalidHeader::Value)));
    assert_eq!(header("socks5://p", "Proxy-Authorization", "Bearer 42"), Err(InvalidProxy::NoHeaders));
}

#[test]
fn any_2xx_opens_the_tunnel_and_what_follows_is_left() {
    for head in [
        "HTTP/1.1 200 Connection established\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 299 \r\n\r\n",
        // RFC 9110 §9.3.6: "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in a
        // successful response to CONNECT."
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nVia: a\r\n b\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    ] {
        for rest in ["", "\x16\x03\x03", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let (_, result, left) = talk(http, [head, rest].concat().as_bytes());
            assert!(matches!(result, Ok(())), "{head:?} {result:?}");
            assert_eq!(left, rest.as_bytes(), "{head:?}");
        }
    }
}

#[test]
fn any_other_status_is_a_refusal_with_its_headers_and_its_body() {
    for (wire, status, body) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nX: 1\r\n\r\nport", 403, "port"),
        ("HTTP/1.1 502 Bad Gateway\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n2\r\nno\r\n0\r\n\r\n", 502, "no"),
        ("HTTP/1.0 503 Service Unavailable\r\nX: 1\r\n\r\nuntil the end", 503, "until the end"),
        ("HTTP/1.1 403 Forbidden\r\nX: 1\r\nContent-Length: 10\r\n\r\ncut", 403, "cut"),
        ("HTTP/1.1 302 Found\r\nX: 1\r\nLocation: http://login\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("HTTP/1.1 304 Not Modified\r\nX: 1\r\nContent-Length: 10\r\n\r\n", 304, ""),
        ("HTTP/1.1 101 Switching Protocols\r\nX: 1\r\n\r\n", 101, ""),
    ] {
        let error = refused(wire);
        let response = error.response().unwrap();
        assert_eq!((response.status(), response.body()), (status, body.as_bytes()), "{wire}");
        assert_eq!(response.header("x").as_deref(), Some("1"));
        let text = ConnectError::from(error).to_string();
        assert!(text.starts_with(&format!("the proxy refused to connect to the host with status {status}")), "{text}");
        assert!(body.is_empty() || text.ends_with(&format!(": {body:?}")), "{text}");
    }
}

#[test]
fn a_refusal_without_a_body_is_told_at_once() {
    // RFC 9112 §6.3: no body comes after a 1xx, 204 or 304, whatever the header fields say. A 101 switches to what was
    // not asked for.
    for answer in
        ["101 Switching Protocols\r\n", "304 Not Modified\r\nContent-Length: 9\r\n", "403 X\r\nContent-Length: 0\r\n"]
    {
        let (_, shown, _, left) = talk_in_pieces(http(), &[format!("HTTP/1.1 {answer}\r\nrest").as_bytes()]);
        assert!(shown.starts_with("Some(Err(Refused(") && left == b"rest", "{shown}");
    }
}

#[test]
fn a_refusals_text_has_words_and_no_markup() {
    for (answer, expected) in [
        ("403 X\r\n\r\nport 80", "403 (Forbidden): \"port 80\""),
        ("599 X\r\n\r\nport 80", "599: \"port 80\""),
        ("502 X\r\n\r\n", "502 (Bad Gateway)"),
        ("503 X\r\n\r\n \n<!DOCTYPE html><html>", "503 (Service Unavailable)"),
    ] {
        let text = refused(&format!("HTTP/1.1 {answer}")).to_string();
        assert_eq!(text, format!("the proxy refused to connect to the host with status {expected}"));
    }
}

#[test]
fn a_refusals_body_is_bounded_and_escaped() {
    let wire = [b"HTTP/1.1 500 X\r\n\r\n\x1b[2J".to_vec(), vec![b'x'; 2 * MAX_BODY]].concat();
    let (_, result, left) = {
        let (_, _, error, left) = talk_in_pieces(http(), &wire.chunks(1000).collect::<Vec<_>>());
        ((), error, left)
    };
    let error = result.unwrap();
    assert_eq!(error.response().unwrap().body().len(), MAX_BODY);
    assert_eq!(left.len(), wire.len() - 18 - MAX_BODY);
    let text = error.to_string();
    assert!(text.len() < 400 && text.contains(r#""\u{1b}[2Jxx"#) && text.ends_with("x\".."), "{text}");
}

#[test]
fn a_407_says_which_credentials_the_proxy_takes() {
    let text =
        |challenges: &str| refused(&format!("HTTP/1.1 407 No\r\n{challenges}Content-Length: 2\r\n\r\nno")).to_string();
    assert_eq!(
        text("Proxy-Authenticate: NTLM\r\nProxy-Authenticate: basic realm=\"a, b\"\r\n"),
        "the proxy wants credentials, or others (status 407, Proxy-Authenticate: \"NTLM, basic\"): put user:password@ before the \
         host in its URL"
    );
    assert_eq!(
        text("Proxy-Authenticate: Bearer\r\n"),
        "the proxy wants credentials, or others (status 407, Proxy-Authenticate: \"Bearer\"): set them with \
         Proxy::header(\"Proxy-Authorization\", ..)"
    );
    let unknown = "the proxy wants credentials, or others (status 407): put user:password@ before the host in its URL";
    assert_eq!(text(""), unknown);
    // What tinyproxy answers to a wrong password.
    let other = refused("HTTP/1.0 401 Unauthorized\r\nContent-Type: text/html\r\n\r\n<html>").to_string();
    assert_eq!(other, unknown.replace("407", "401"));
    let long = text(&format!("Proxy-Authenticate: {}\r\n", "x".repeat(1000)));
    assert!(long.len() < 400, "{long}");
}

#[test]
fn what_is_not_http_1_is_told_as_soon_as_it_is_seen() {
    // The start of HTTP/2's SETTINGS, a TLS alert, SOCKS5, SSH, and text.
    for wire in [
        &b"\0\0\x12\x04\0\0\0\0\0"[..],
        b"\x15\x03\x01\0\x02\x02\x46",
        b"\x05\xff",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"<html>",
        b"\n",
        b"HTTP/1.1 200 OK\n\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nrubbish\r\n\r\n",
    ] {
        let (_, shown, ..) = talk_in_pieces(http(), &[wire]);
        assert_eq!(shown, "Some(Err(NotHttp))", "{:?}", wire.escape_ascii().to_string());
        let (_, result, _) = talk(http, wire);
        let text = result.unwrap_err().to_string();
        assert!(text.contains("https://") && text.contains("socks5://"), "{text}");
    }
}

#[test]
fn the_answers_head_is_limited() {
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
    let many = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(MAX_HEAD / 20);
    for wire in [&long, &many, &"x".repeat(MAX_HEAD)] {
        let (_, result, _) = talk(http, wire.as_bytes());
        assert!(matches!(result, Err(ProxyError::TooLarge)), "{result:?}");
    }
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:b\r\n".repeat(200));
    let (_, result, _) = talk(http, fields.as_bytes());
    assert!(matches!(result, Err(ProxyError::TooManyFields(128))), "{result:?}");
}

#[test]
fn the_end_before_an_answer_is_an_error() {
    for wire in ["", "H", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (_, result, _) = talk(http, wire.as_bytes());
        assert!(matches!(result, Err(ProxyError::Eof)), "{result:?}");
        let mut tunnel = http();
        tunnel.receive(&mut &mut wire.as_bytes().to_vec()[..]);
        assert!(tunnel.timed_out().is_none(), "nothing is known");
    }
}

#[test]
fn a_deadline_tells_the_refusal_that_was_being_read() {
    let mut tunnel = http();
    let mut wire = *b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nnot th";
    assert!(tunnel.receive(&mut &mut wire[..]).is_none());
    let error = tunnel.timed_out().unwrap();
    assert_eq!(error.response().unwrap().body(), b"not th");
    assert!(tunnel.timed_out().is_none() && matches!(tunnel.receive_eof(), ProxyError::Eof));
}

#[test]
fn a_failure_of_the_transport_tells_the_refusal_that_was_being_read() {
    use std::io::{Error, ErrorKind};
    let reset = || Error::from(ErrorKind::ConnectionReset);
    let mut wire = *b"HTTP/1.1 403 Forbidden\r\nContent-Length: 100\r\n\r\nnot th";
    let mut tunnel = http();
    assert!(tunnel.receive(&mut &mut wire[..]).is_none());
    assert_eq!(tunnel.transport_failed(reset()).response().unwrap().body(), b"not th");
    for mut tunnel in [http(), anonymous()] {
        assert!(matches!(tunnel.transport_failed(ErrorKind::UnexpectedEof.into()), ProxyError::Eof));
        assert!(matches!(tunnel.transport_failed(reset()), ProxyError::Io(_)));
    }
}

const ANONYMOUS: &[u8] = b"\x05\x01\x00";
const EITHER: &[u8] = b"\x05\x02\x00\x02";
const CREDENTIALS: &[u8] = b"\x01\x05alice\x06s@cr:t";
const REQUEST: &[u8] = b"\x05\x01\x00\x03\x0bexample.com\x01\xbb";
const SUCCESS: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";

fn anonymous() -> Tunnel {
    proxy("socks5h://p").tunnel("example.com", 443, MAX_HEAD).unwrap()
}

fn alice() -> Tunnel {
    proxy("socks5h://alice:s%40cr:t@p").tunnel("example.com", 443, MAX_HEAD).unwrap()
}

#[test]
fn socks5_is_asked_for_a_name_or_an_address() {
    let long = "x".repeat(255);
    let name = [&b"\x03\xff"[..], long.as_bytes(), b"\x23\x29"].concat();
    for (host, asked) in [
        ("example.com", &b"\x03\x0bexample.com\x23\x29"[..]),
        ("10.0.0.1", b"\x01\x0a\0\0\x01\x23\x29"),
        ("::1", b"\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x23\x29"),
        ("[fe80::2%eth0]", b"\x04\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x23\x29"),
        (&long, &name),
    ] {
        for url in ["socks5://p", "socks5h://p"] {
            let tunnel = || proxy(url).tunnel(host, 9001, MAX_HEAD).unwrap();
            let (sent, result, _) = talk(tunnel, &[b"\x05\0", SUCCESS].concat());
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(sent, [ANONYMOUS, b"\x05\x01\0", asked].concat(), "{host}");
        }
    }
    let error = proxy("socks5h://p").tunnel(&"x".repeat(256), 80, MAX_HEAD).unwrap_err();
    assert!(matches!(error, ProxyError::Host));
    assert!(proxy("http://p").tunnel(&"x".repeat(256), 80, MAX_HEAD).is_ok());
}

#[test]
fn socks5_replies_of_every_kind_of_address_are_skipped_to_the_byte() {
    let name = [&b"\x05\0\0\x03\xff"[..], &[b'x'; 255], b"\0\0"].concat();
    for reply in [
        SUCCESS,
        b"\x05\0\0\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x04\x38",
        b"\x05\0\0\x03\x07p.local\x04\x38",
        b"\x05\0\0\x03\0\x04\x38",
        &name,
        // RSV is not looked at.
        b"\x05\0\x01\x01\x7f\0\0\x01\x04\x38",
    ] {
        for rest in [&b""[..], b"\x16", b"HTTP/1.1 101"] {
            let (sent, result, left) = talk(anonymous, &[b"\x05\0", reply, rest].concat());
            assert!(result.is_ok(), "{result:?}");
            assert_eq!((sent, &*left), ([ANONYMOUS, REQUEST].concat(), rest));
        }
        for end in 0..reply.len() {
            let (_, result, _) = talk(anonymous, &[b"\x05\0", &reply[..end]].concat());
            assert!(matches!(result, Err(ProxyError::Eof)), "{end} {result:?}");
        }
    }
}

#[test]
fn socks5_credentials_are_sent_if_the_proxy_wants_them() {
    let (sent, result, _) = talk(alice, &[b"\x05\x02", b"\x01\0", SUCCESS].concat());
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(sent, [EITHER, CREDENTIALS, REQUEST].concat());
    let (sent, result, _) = talk(alice, &[b"\x05\0", SUCCESS].concat());
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(sent, [EITHER, REQUEST].concat(), "they are for whom asks");
    // A version of its own.
    let (_, result, _) = talk(alice, &[b"\x05\x02", b"\x05\0", SUCCESS].concat());
    assert!(result.is_ok(), "{result:?}");
    let user = || proxy("socks5://alice@p").tunnel("::1", 80, MAX_HEAD).unwrap();
    let (sent, ..) = talk(user, b"\x05\x02");
    assert_eq!(sent, [EITHER, b"\x01\x05alice\0"].concat());
}

#[test]
fn each_failure_of_socks5_has_its_error() {
    let method = b"\x05\0";
    for (tunnel, wire, expected) in [
        (anonymous as fn() -> Tunnel, &b"\x05\xff"[..], "CredentialsNeeded"),
        (alice, b"\x05\xff", "NoMethod"),
        // Methods that were not offered.
        (anonymous, b"\x05\x02", "NotSocks5"),
        (alice, b"\x05\x01", "NotSocks5"),
        (anonymous, b"HTTP/1.1 400 Bad Request\r\n\r\n", "NotSocks5"),
        (anonymous, b"\0\x5a\0\0\0\0\0\0", "NotSocks5"),
        (alice, b"\x05\x02\x01\x01", "CredentialsRefused"),
        (alice, b"\x05\x02\x01\xff", "CredentialsRefused"),
        (anonymous, &[method, &b"\x04\0\0\x01"[..]].concat(), "NotSocks5"),
        (anonymous, &[method, &b"\x05\0\0\x02"[..]].concat(), "NotSocks5"),
        (anonymous, &[method, &b"\x05\0\0\0"[..]].concat(), "NotSocks5"),
        (anonymous, b"", "Eof"),
        (anonymous, b"\x05", "Eof"),
        (alice, b"\x05\x02\x01", "Eof"),
    ] {
        let (_, result, _) = talk(tunnel, wire);
        let error = result.unwrap_err();
        assert_eq!(format!("{error:?}"), expected, "{:?}", wire.escape_ascii().to_string());
        assert!(!error.to_string().contains("s@cr:t"));
    }
    for (code, failure) in [
        (1, SocksFailure::General),
        (2, SocksFailure::NotAllowed),
        (3, SocksFailure::NetworkUnreachable),
        (4, SocksFailure::HostUnreachable),
        (5, SocksFailure::Refused),
        (6, SocksFailure::TtlExpired),
        (7, SocksFailure::CommandNotSupported),
        (8, SocksFailure::AddressTypeNotSupported),
        (9, SocksFailure::Unassigned(9)),
        (255, SocksFailure::Unassigned(255)),
    ] {
        // Whole, or only its beginning: it may close after that.
        for rest in [&b"\0\x01\0\0\0\0\0\0"[..], b""] {
            let (_, result, _) = talk(anonymous, &[&[5, 0, 5, code], rest].concat());
            let error = result.unwrap_err();
            assert!(matches!(error, ProxyError::Socks(found) if found == failure), "{code} {error:?}");
            assert!(ConnectError::from(error).to_string().ends_with(&failure.to_string()));
        }
    }
}

#[test]
fn credentials_are_never_shown() {
    let secret = "s3cret";
    for url in ["http://alice:s3cret@p", "https://alice:s3cret@p", "socks5://alice:s3cret@p", "socks5h://s3cret@p"] {
        let proxy = proxy(url);
        let target = Target::new("wss://h").unwrap().proxy(proxy.clone());
        let tunnel = proxy.tunnel("h", 80, MAX_HEAD).unwrap();
        let mut texts = format!("{proxy} {proxy:?} {target:?} {tunnel:?}");
        if let Ok(proxy) = proxy.header("X-Token", secret) {
            texts += &format!("{proxy} {proxy:?}");
        }
        assert!(!texts.contains(secret) && !texts.contains("alice") && !texts.contains("Basic"), "{texts}");
    }
    // What a proxy sends, too.
    let error = refused(
        "HTTP/1.1 407 No\r\nSet-Cookie: s3cret\r\nProxy-Authenticate: Basic realm=\"s3cret\"\r\nContent-Length: 0\r\n\r\n",
    );
    assert!(!format!("{error}").contains(secret));
}

#[test]
fn a_proxy_that_repeats_what_it_was_told_repeats_no_credentials() {
    let basic = proxy("http://alice:s3cret@p");
    let bearer = proxy("https://p").header("Proxy-Authorization", "Bearer ****").unwrap();
    for (proxy, token) in [(basic, "YWxpY2U6czNjcmV0"), (bearer, "****")] {
        let page = format!("You said {token}{token}, {token}");
        let wires = [
            format!("HTTP/1.1 403 No\r\nX: {token}\r\nContent-Length: {}\r\n\r\n{page}", page.len()),
            format!("HTTP/1.1 403 No\r\nX: {token}\r\nContent-Length: 1000\r\n\r\n{page}"),
        ];
        for wire in wires {
            let tunnel = || proxy.tunnel("h", 80, MAX_HEAD).unwrap();
            let (_, answer, _) = talk(tunnel, wire.as_bytes());
            let error = answer.unwrap_err();
            assert!(error.response().unwrap().body().starts_with(b"You said ("), "{error}");
            let texts = format!("{error} {error:?}");
            assert!(!texts.contains(token), "{texts}");
        }
    }
}

#[test]
fn every_error_says_something_and_has_no_source_of_its_own() {
    let mut errors = vec![
        ProxyError::Invalid(InvalidProxy::NoHost),
        ProxyError::Variable("HTTPS_PROXY", InvalidProxy::Port),
        ProxyError::Host,
        ProxyError::Resolve(std::io::Error::other("no such host")),
        ProxyError::Connect(std::io::ErrorKind::ConnectionRefused.into()),
        ProxyError::Io(std::io::ErrorKind::ConnectionReset.into()),
        ProxyError::Eof,
        ProxyError::NotHttp,
        ProxyError::TooLarge,
        ProxyError::TooManyFields(100),
        ProxyError::NotSocks5,
        ProxyError::CredentialsNeeded,
        ProxyError::CredentialsRefused,
        ProxyError::NoMethod,
        ProxyError::SpokeFirst,
    ];
    let invalid = [
        InvalidProxy::Scheme,
        InvalidProxy::Credentials,
        InvalidProxy::Host,
        InvalidProxy::Path,
        InvalidProxy::Header(InvalidHeader::Value),
        InvalidProxy::NoHeaders,
        InvalidProxy::Exception,
    ];
    errors.extend(invalid.map(ProxyError::Invalid));
    let mut texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(texts[1].contains("HTTPS_PROXY") && texts.iter().all(|text| text.len() > 20), "{texts:?}");
    assert!(errors.into_iter().all(|error| ConnectError::from(error).source().is_none()));
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 22);
}
