//! Connecting: what can go wrong, what the caller is told, and what it sees of the answer.

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bellwire::proto::client::HandshakeError;
use bellwire::proto::{InvalidHeader, UriError};
use bellwire::{ConnectError, Response, TlsError, listener};
use bellwire_tests::{Backend, Client, Connect, Event, Frame, Raw, Setup, TEXT, backends, echo, logged, quiet};

backends! {
    client {
        t1_i1_a_refusal_carries_status_headers_and_body,
        t1_i1_a_refusal_whose_body_does_not_end_is_told_at_the_deadline,
        the_body_of_a_refusal_is_kept_in_part,
        t1_i1_nobody_who_listens_is_an_error,
        a_host_without_an_address_is_an_error,
        bad_urls_are_refused_before_anything_is_sent,
        a_host_that_no_certificate_can_be_for_is_an_error_that_says_so,
        d15_t11_bad_headers_and_subprotocols_are_refused_before_anything_is_sent,
        d17_t1_i1_a_server_that_says_nothing_lets_the_open_timeout_pass,
        d17_t1_i1_the_open_timeout_counts_from_the_start,
        t1_i1_a_server_that_hangs_up_is_an_error,
        t1_i1_a_server_that_does_not_speak_http_is_an_error,
        t1_i1_d19_an_answer_that_breaks_the_handshake_is_an_error,
        d15_t11_headers_of_the_101_are_seen_and_bytes_behind_it_belong_to_the_connection,
        an_answer_may_come_byte_by_byte,
        d19_the_request_is_what_the_rfc_wants,
        each_frame_is_masked_with_a_key_of_its_own,
        dropping_the_client_leaves_the_connection_open,
        a_client_waits_for_the_server_to_hang_up_first,
    }
    pair {
        t1_i1_a_refusal_of_our_own_server_is_told_as_it_is,
        e8_all_addresses_of_a_host_are_tried,
        an_ipv6_literal_is_connected_to,
    }
}

/// A server made of bytes, at a URL, for one connection.
pub(crate) fn raw_server<T: Send + 'static>(serve: impl FnOnce(Raw) -> T + Send + 'static) -> (String, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (url, thread::spawn(move || serve(Raw::accept(&listener))))
}

/// Fails to connect, without calling the listener.
#[track_caller]
pub(crate) fn fail<B: Backend>(backend: &B, connect: Connect) -> ConnectError {
    let (listener, log) = logged(listener());
    let error = match backend.connect(connect, listener) {
        Ok(_) => panic!("connected"),
        Err(error) => error,
    };
    log.ends_with([]);
    assert!(!error.to_string().is_empty());
    error
}

#[track_caller]
fn refusal(error: ConnectError) -> bellwire::proto::client::Response {
    match error {
        ConnectError::Handshake(HandshakeError::Refused(response)) => *response,
        other => panic!("{other:?}"),
    }
}

fn t1_i1_a_refusal_carries_status_headers_and_body<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(b"HTTP/1.1 403 Forbidden\r\nX-Why: a\r\nX-Why: b\r\nContent-Length: 6\r\n\r\nno");
        raw.write(b"body");
        raw.drain();
    });
    let response = refusal(fail(&backend, Connect::to(url)));
    assert_eq!((response.status(), response.body()), (403, &b"nobody"[..]));
    assert_eq!(response.header("x-why").as_deref(), Some("a, b"));
    // The client has hung up.
    server.join().unwrap();
}

fn t1_i1_a_refusal_of_our_own_server_is_told_as_it_is<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| {
        Response::text("who are you?").with_status(401).header("WWW-Authenticate", "Bearer")
    });
    let response = refusal(fail(&backend, Connect::to(server.url("/"))));
    assert_eq!((response.status(), response.body()), (401, &b"who are you?"[..]));
    assert_eq!(response.header("WWW-Authenticate").as_deref(), Some("Bearer"));
}

fn t1_i1_a_refusal_whose_body_does_not_end_is_told_at_the_deadline<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\npart");
        raw.drain();
    });
    let connect = Connect::to(url).config(quiet().open_timeout(Duration::from_millis(100)));
    let response = refusal(fail(&backend, connect));
    assert_eq!((response.status(), response.body()), (500, &b"part"[..]));
    server.join().unwrap();
}

fn the_body_of_a_refusal_is_kept_in_part<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|raw| {
        let mut raw = raw.into_inner();
        raw.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        // For ever, as far as the client is concerned.
        while raw.write_all(&[b'x'; 1024]).is_ok() {}
    });
    let response = refusal(fail(&backend, Connect::to(url)));
    assert_eq!((response.status(), response.body().len()), (200, bellwire::proto::client::MAX_BODY));
    server.join().unwrap();
}

fn t1_i1_nobody_who_listens_is_an_error<B: Backend>() {
    let backend = B::start();
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = fail(&backend, Connect::to(format!("ws://{addr}/")));
    assert!(matches!(error, ConnectError::Connect(_)), "{error:?}");
}

fn a_host_without_an_address_is_an_error<B: Backend>() {
    let backend = B::start();
    // A label has at most 63 characters, so that no name server is asked.
    let error = fail(&backend, Connect::to(format!("ws://{}/", "a".repeat(64))));
    assert!(matches!(error, ConnectError::Resolve(_)), "{error:?}");
}

fn bad_urls_are_refused_before_anything_is_sent<B: Backend>() {
    let backend = B::start();
    for (url, expected, advice) in [
        ("http://localhost/", UriError::Scheme("http".into()), "ws://"),
        ("https://localhost/", UriError::Scheme("https".into()), "wss://"),
        ("localhost:9001", UriError::NoScheme, "ws://"),
        ("ws://localhost/#top", UriError::Fragment, "%23"),
        ("ws://us%3Aer:secret@localhost/", UriError::UserInfo, "Authorization"),
        ("ws:///path", UriError::NoHost, "host"),
        ("ws://user:secret@/path", UriError::NoHost, "host"),
        ("ws://localhost:99999/", UriError::Port, "65535"),
        ("ws://local host/", UriError::Character(' '), "Punycode"),
    ] {
        let error = fail(&backend, Connect::to(url));
        assert!(error.to_string().contains(advice), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(matches!(&error, ConnectError::Url(error) if *error == expected), "{url}: {error:?}");
    }
}

fn a_host_that_no_certificate_can_be_for_is_an_error_that_says_so<B: Backend>() {
    let backend = B::start();
    let error = fail(&backend, Connect::to("wss://a..b:1/"));
    assert!(matches!(error, ConnectError::Tls(TlsError::Name)), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
}

fn d15_t11_bad_headers_and_subprotocols_are_refused_before_anything_is_sent<B: Backend>() {
    let backend = B::start();
    let header = |name, value| Connect { headers: vec![(name, value)], ..Connect::to("ws://localhost:1/") };
    for connect in [header("Host", "x"), header("Upgrade", "h2c"), header("sec-websocket-key", "x")] {
        let error = fail(&backend, connect);
        assert!(matches!(error, ConnectError::Header(InvalidHeader::Reserved(_))), "{error:?}");
    }
    let error = fail(&backend, header("X", "a\r\nY: b"));
    assert!(matches!(error, ConnectError::Header(InvalidHeader::Value)), "{error:?}");
    for protocols in [vec!["a", "a"], vec!["a b"], vec![""]] {
        let error = fail(&backend, Connect { protocols, ..Connect::to("ws://localhost:1/") });
        assert!(matches!(error, ConnectError::Protocol(_)), "{error:?}");
    }
}

fn d17_t1_i1_a_server_that_says_nothing_lets_the_open_timeout_pass<B: Backend>() {
    let backend = B::start();
    // The system accepts, and nobody ever takes it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", silent.local_addr().unwrap());
    let connect = Connect::to(url).config(quiet().open_timeout(Duration::from_millis(100)));
    let error = fail(&backend, connect);
    assert!(matches!(error, ConnectError::Timeout(_)), "{error:?}");
}

fn d17_t1_i1_the_open_timeout_counts_from_the_start<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|raw| {
        let mut raw = raw.into_inner();
        raw.write_all(b"HTTP/1.1 101 Switching Protocols\r\n").unwrap();
        raw.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        // A line now and then is not enough, until the client has hung up.
        while !matches!(raw.read(&mut [0]), Ok(0)) && raw.write_all(b"X: y\r\n").is_ok() {}
    });
    let connect = Connect::to(url).config(quiet().open_timeout(Duration::from_millis(100)));
    let error = fail(&backend, connect);
    assert!(matches!(error, ConnectError::Timeout(_)), "{error:?}");
    server.join().unwrap();
}

fn t1_i1_a_server_that_hangs_up_is_an_error<B: Backend>() {
    let backend = B::start();
    for start in ["", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"] {
        let (url, server) = raw_server(move |mut raw| raw.write(start.as_bytes()));
        let error = fail(&backend, Connect::to(url));
        assert!(matches!(error, ConnectError::Handshake(HandshakeError::Eof)), "{error:?}");
        server.join().unwrap();
    }
}

fn t1_i1_a_server_that_does_not_speak_http_is_an_error<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| raw.write(b"220 mail.example ESMTP\r\n\r\n"));
    let error = fail(&backend, Connect::to(url));
    assert!(matches!(error, ConnectError::Handshake(HandshakeError::Malformed)), "{error:?}");
    server.join().unwrap();
}

fn t1_i1_d19_an_answer_that_breaks_the_handshake_is_an_error<B: Backend>() {
    let backend = B::start();
    type Change = fn(String) -> String;
    type Expected = fn(&HandshakeError) -> bool;
    let cases: [(Change, Expected); 6] = [
        (|head| head.replace("Accept: ", "Accept: A"), |error| matches!(error, HandshakeError::WrongAccept)),
        (|head| head.replace("Sec-WebSocket-Accept", "X"), |error| matches!(error, HandshakeError::MissingAccept)),
        (|head| head.replace("Upgrade: ", "X: "), |error| matches!(error, HandshakeError::MissingUpgrade)),
        (|head| head.replace("Connection: ", "X: "), |error| matches!(error, HandshakeError::MissingConnection)),
        (
            |head| head.replace("X-Last: x", "Sec-WebSocket-Protocol: mqtt"),
            |error| matches!(error, HandshakeError::UnexpectedProtocol(protocol) if protocol == "mqtt"),
        ),
        (
            |head| head.replace("X-Last: x", "Sec-WebSocket-Extensions: permessage-deflate"),
            |error| matches!(error, HandshakeError::UnexpectedExtension(_)),
        ),
    ];
    for (change, expected) in cases {
        let (url, server) = raw_server(move |mut raw| {
            let head = String::from_utf8(raw.switching(&["X-Last: x"])).unwrap();
            raw.write(change(head).as_bytes());
            raw.drain();
        });
        match fail(&backend, Connect::to(url)) {
            ConnectError::Handshake(error) if expected(&error) => {}
            other => panic!("{other:?}"),
        }
        server.join().unwrap();
    }
}

fn d15_t11_headers_of_the_101_are_seen_and_bytes_behind_it_belong_to_the_connection<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        let mut bytes = raw.switching(&["Set-Cookie: a=b"]);
        bytes.extend(Frame::text("glued").encode(false));
        bytes.extend(Frame::close(1001, "and gone").encode(false));
        raw.write(&bytes);
        raw.expect([Frame::text("hello"), Frame::close(1001, "and gone")]);
    });
    let (listener, log) = logged(listener().on_open(|socket| socket.send("hello")));
    let client = backend.connect(Connect::to(url), listener).unwrap();
    assert_eq!(client.response.header("Set-Cookie").as_deref(), Some("a=b"));
    assert_eq!(client.closed().code, 1001);
    log.ends_with([Event::Open, Event::text("glued"), Event::close(1001, "and gone")]);
    server.join().unwrap();
}

fn an_answer_may_come_byte_by_byte<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        // What comes before the final answer is read, and skipped.
        let mut bytes = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_vec();
        bytes.extend(raw.switching(&[]));
        bytes.extend(Frame::text("x").encode(false));
        for byte in bytes {
            raw.write(&[byte]);
        }
        raw.expect([Frame::text("x")]);
    });
    let (listener, log) = logged(echo());
    backend.connect(Connect::to(url), listener).unwrap();
    log.expect([Event::Open, Event::text("x")]);
    server.join().unwrap();
}

fn e8_all_addresses_of_a_host_are_tried<B: Backend>() {
    let backend = B::start();
    let resolved: Vec<SocketAddr> = ("localhost", 1).to_socket_addrs().unwrap().collect();
    // Where `localhost` has several addresses, all but one of them refuse.
    for addr in resolved {
        let listener = TcpListener::bind((addr.ip(), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = backend.serve(Setup { listener: Some(listener), ..Setup::default() }, |_| {
            Response::websocket(listener_that_greets())
        });
        assert_eq!(server.addr.ip(), addr.ip());
        let (listener, log) = logged(bellwire::listener());
        backend.connect(Connect::to(format!("ws://localhost:{port}/")), listener).unwrap();
        log.expect([Event::Open, Event::text("hello")]);
    }
}

fn listener_that_greets() -> bellwire::listener::ListenerBuilder {
    listener().on_open(|socket| socket.send("hello"))
}

fn an_ipv6_literal_is_connected_to<B: Backend>() {
    // Without IPv6 there is nothing to see.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let backend = B::start();
    let port = listener.local_addr().unwrap().port();
    let server = backend.serve(Setup { listener: Some(listener), ..Setup::default() }, |request| {
        let host = request.header("Host").map(|host| host.into_owned()).unwrap_or_default();
        Response::websocket(bellwire::listener().on_open(move |socket| socket.send(host.as_str())))
    });
    assert!(server.addr.is_ipv6());
    let (listener, log) = logged(bellwire::listener());
    backend.connect(Connect::to(server.url("/")), listener).unwrap();
    log.expect([Event::Open, Event::text(format!("[::1]:{port}"))]);
}

fn d19_the_request_is_what_the_rfc_wants<B: Backend>() {
    let backend = B::start();
    let mut keys = Vec::new();
    for _ in 0..2 {
        let (url, server) = raw_server(|mut raw| {
            raw.write(&raw.switching(&[]));
            raw.head
        });
        let port = url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
        backend.connect(Connect::to(format!("{url}a%20b?c=d")), listener()).unwrap();
        let head = server.join().unwrap();
        let lines: Vec<_> = head.lines().collect();
        assert_eq!(lines[0], "GET /a%20b?c=d HTTP/1.1");
        let host = format!("Host: 127.0.0.1:{port}");
        for line in [host.as_str(), "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"] {
            assert_eq!(lines.iter().filter(|other| **other == line).count(), 1, "{line} in {head}");
        }
        assert!(!head.contains("Sec-WebSocket-Extensions") && !head.contains("Origin"), "{head}");
        let key = lines.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        assert_eq!(key.len(), 24, "16 bytes in base64");
        keys.push(key.to_owned());
    }
    assert_ne!(keys[0], keys[1], "RFC 6455 §4.1: selected randomly for each connection");
}

fn each_frame_is_masked_with_a_key_of_its_own<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(&raw.switching(&[]));
        let mut stream = raw.into_inner();
        let mut keys = Vec::new();
        for _ in 0..3 {
            let mut frame = [0; 2 + 4 + 5];
            stream.read_exact(&mut frame).unwrap();
            let [first, second, key @ .., b0, b1, b2, b3, b4] = frame;
            assert_eq!((first, second), (0x80 | TEXT, 0x80 | 5));
            let unmasked: Vec<_> = [b0, b1, b2, b3, b4].iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect();
            assert_eq!(unmasked, b"Hello");
            keys.push(key);
        }
        keys
    });
    let Client { socket, .. } = backend.connect(Connect::to(url), listener()).unwrap();
    for _ in 0..3 {
        socket.send("Hello").unwrap();
    }
    let keys = server.join().unwrap();
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2], "RFC 6455 §5.3: {keys:?}");
}

fn dropping_the_client_leaves_the_connection_open<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(&raw.switching(&[]));
        raw.expect([Frame::text("hello")]);
        raw.send([Frame::text("still there?")]);
        raw.expect([Frame::text("still there?")]);
        raw.send([Frame::close(1000, "")]);
        raw.expect([Frame::close(1000, "")]);
    });
    let (listener, log) = logged(echo());
    let client = backend.connect(Connect::to(url), listener).unwrap();
    // The last handles go with it.
    client.socket.send("hello").unwrap();
    drop(client);
    log.ends_with([Event::Open, Event::text("still there?"), Event::close(1000, "")]);
    server.join().unwrap();
}

fn a_client_waits_for_the_server_to_hang_up_first<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        raw.write(&raw.switching(&[]));
        raw.send([Frame::close(1000, "")]);
        raw.expect([Frame::close(1000, "")]);
        // RFC 6455 §7.1.1: "in most normal cases [...] the server closes first".
        let stream: TcpStream = raw.into_inner();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut stream = stream;
        let error = stream.read(&mut [0]).expect_err("the client has hung up first");
        assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut), "{error}");
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        // And now it hangs up.
        stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    });
    let client = backend.connect(Connect::to(url), listener()).unwrap();
    assert_eq!(client.closed().code, 1000);
    server.join().unwrap();
}
