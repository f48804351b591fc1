//! Clients that a proxy announces by the PROXY protocol, before anything else.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bellwire::config::Network;
use bellwire::{Response, listener};
use bellwire_tests::{
    Backend, Http, Over, PATIENCE, Server, Setup, Trust, backends, http, next, quiet, upgrade_request,
};
use rustls::{ClientConnection, StreamOwned};

backends! {
    server {
        h14_a_proxy_announces_whose_connection_it_is,
        h14_the_header_comes_before_tls,
        h14_what_is_no_header_is_dropped_and_told,
        h14_a_header_has_as_long_as_a_request,
        h14_from_anywhere_else_the_header_is_refused,
        h14_an_acceptor_reads_the_header_of_named_peers,
    }
}

const IPV4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 0, 80];

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, family][..], &length, rest].concat()
}

/// Headers, and whom they announce; nobody but the transport's own peer.
fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
    vec![
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n".to_vec(), Some("192.0.2.1:4711")),
        (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 80\r\n".to_vec(), Some("[2001:db8::1]:4711")),
        (b"PROXY UNKNOWN\r\n".to_vec(), None),
        (v2(0x21, 0x11, &[IPV4, b"\x04\0\x10", &[0; 16]].concat()), Some("192.0.2.1:4711")),
        (v2(0x20, 0x00, b""), None),
    ]
}

fn proxies() -> Vec<Network> {
    vec!["127.0.0.1".parse().unwrap()]
}

/// What the request and the socket say of the peer.
type Known = (Option<SocketAddr>, Option<SocketAddr>);

fn serve<B: Backend>(backend: &B, setup: Setup) -> (Server, Receiver<Known>) {
    let (tell, known) = mpsc::channel();
    let server = backend.serve(setup, move |request| {
        let (tell, asked) = (tell.clone(), request.peer_addr());
        Response::websocket(listener().on_open(move |socket| tell.send((asked, socket.peer_addr())).unwrap()))
    });
    (server, known)
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn is_accepted(mut stream: impl Read) {
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(status.escape_ascii().to_string(), "HTTP/1.1 101");
}

/// Nothing comes but the end.
fn is_dropped(mut stream: TcpStream) {
    match stream.read(&mut [0; 64]) {
        Ok(0) => {}
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => {}
        other => panic!("{other:?}"),
    }
}

fn h14_a_proxy_announces_whose_connection_it_is<B: Backend>() {
    let backend = B::start();
    let (server, known) = serve(&backend, Setup { proxy_protocol: proxies(), ..Setup::default() });
    for (header, client) in headers() {
        let request = [header, upgrade_request("/", &[])].concat();
        let told = |pieces: &[&[u8]]| {
            let mut stream = connect(server.addr);
            let own = stream.local_addr().unwrap();
            for piece in pieces {
                stream.write_all(piece).unwrap();
            }
            is_accepted(&stream);
            let client = Some(client.map_or(own, |client| client.parse().unwrap()));
            assert_eq!(next(&known), (client, client), "{}", pieces[0].escape_ascii());
        };
        told(&[&request]);
        for at in (0..request.len()).filter(|at| *at <= 60 || at % 16 == 0) {
            let (left, right) = request.split_at(at);
            told(&[left, right]);
        }
        told(&request.chunks(1).collect::<Vec<_>>());
    }
    // Both addresses that a server knows: whose the connection is, and who is trusted.
    let trusting = quiet().trusted_proxies(["192.0.2.1"]).unwrap();
    let (tell, client) = mpsc::channel();
    let setup = Setup { proxy_protocol: proxies(), ..Setup::new(trusting) };
    let server = backend.serve(setup, move |request| {
        tell.send(request.client_ip()).unwrap();
        Response::not_found()
    });
    for (header, expected) in [
        (&b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n"[..], "203.0.113.9"),
        (b"PROXY TCP4 192.0.2.2 198.51.100.2 4711 80\r\n", "192.0.2.2"),
    ] {
        let request = upgrade_request("/", &["X-Forwarded-For: 203.0.113.9"]);
        assert_eq!(http(server.addr, &[header, &request].concat()).status, 404);
        assert_eq!(next(&client), Some(expected.parse().unwrap()));
    }
}

fn h14_the_header_comes_before_tls<B: Backend>() {
    let backend = B::start();
    let tls = Some(Trust::shared().server().into());
    let (server, known) = serve(&backend, Setup { proxy_protocol: proxies(), tls, ..Setup::default() });
    let hello = || ClientConnection::new(Trust::shared().client(), "localhost".try_into().unwrap()).unwrap();
    for (header, client) in headers() {
        for byte_by_byte in [false, true] {
            let mut stream = connect(server.addr);
            let own = stream.local_addr().unwrap();
            let mut session = hello();
            // Header and ClientHello come in one piece, or in many.
            let mut first = header.clone();
            session.write_tls(&mut first).unwrap();
            for piece in first.chunks(if byte_by_byte { 1 } else { first.len() }) {
                stream.write_all(piece).unwrap();
            }
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(&upgrade_request("/", &[])).unwrap();
            is_accepted(&mut stream);
            let client = Some(client.map_or(own, |client| client.parse().unwrap()));
            assert_eq!(next(&known), (client, client), "{}", header.escape_ascii());
        }
    }
    // Without the header it is no TLS either.
    let mut stream = connect(server.addr);
    let mut first = Vec::new();
    hello().write_tls(&mut first).unwrap();
    stream.write_all(&first).unwrap();
    is_dropped(stream);
    let told = next(&server.reports).text;
    assert!(told.contains("does not begin with the PROXY protocol"), "{told}");
    // What is wrong with TLS is told of the client that was announced.
    let mut stream = connect(server.addr);
    stream.write_all(b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\nGET / HTTP/1.1\r\n\r\n").unwrap();
    let told = next(&server.reports).text;
    assert!(told.starts_with("no TLS with 192.0.2.1:4711: "), "{told}");
}

fn h14_what_is_no_header_is_dropped_and_told<B: Backend>() {
    let backend = B::start();
    let (server, _) = serve(&backend, Setup { proxy_protocol: proxies(), ..Setup::default() });
    let missing = "does not begin with the PROXY protocol, which this address has to speak: switch it on in the proxy";
    let malformed = "the header of the PROXY protocol is malformed";
    let too_long = "the header of the PROXY protocol is too long";
    for (wire, wrong) in [
        (upgrade_request("/", &[]), missing),
        (b"\x16\x03\x01\x02\0\x01\0".to_vec(), missing),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711\r\n".to_vec(), malformed),
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\n".to_vec(), malformed),
        ([&b"PROXY UNKNOWN "[..], &[b'x'; 100]].concat(), too_long),
        (v2(0x21, 0x11, &IPV4[..8]), malformed),
        (v2(0x11, 0x11, IPV4), malformed),
        (v2(0x21, 0x11, &[0; 20 * 1024]), too_long),
    ] {
        let shown = wire[..wire.len().min(60)].escape_ascii().to_string();
        let mut stream = connect(server.addr);
        let own = stream.local_addr().unwrap();
        // The server may have had enough before all is written.
        let _ = stream.write_all(&wire);
        is_dropped(stream);
        let told = next(&server.reports).text;
        assert!(
            told.starts_with(&format!("connection from {own} dropped: ")) && told.contains(wrong),
            "{shown}: {told}"
        );
    }
    let mut stream = connect(server.addr);
    stream.write_all(b"PROXY TCP4 192.0.2.1 ").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    is_dropped(stream);
    let told = next(&server.reports).text;
    assert!(told.contains("has ended amid the header of the PROXY protocol"), "{told}");
    // A look whether somebody listens is no news: what is told next is of the next one.
    let stream = connect(server.addr);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    is_dropped(stream);
    let mut stream = connect(server.addr);
    stream.write_all(b"x").unwrap();
    is_dropped(stream);
    assert!(next(&server.reports).text.contains(missing));
}

fn h14_a_header_has_as_long_as_a_request<B: Backend>() {
    let backend = B::start();
    let setup = || Setup::new(quiet().open_timeout(Duration::from_millis(100)));
    for tls in [None, Some(Trust::shared().server().into())] {
        let (server, _) = serve(&backend, Setup { proxy_protocol: proxies(), tls, ..setup() });
        // Nothing comes, or a part, or byte after byte without end.
        for begins in [&b""[..], b"PROXY TCP4 ", b"\r\n\r\n\0\r\nQ"] {
            let mut stream = connect(server.addr);
            stream.write_all(begins).unwrap();
            is_dropped(stream);
            let told = next(&server.reports).text;
            assert!(told.contains("the header of the PROXY protocol has not come in time"), "{told}");
        }
        let mut stream = connect(server.addr);
        stream.write_all(&v2(0x21, 0x11, &[0; 16_000])[..16]).unwrap();
        let mut dribble = stream.try_clone().unwrap();
        let dribbling = std::thread::spawn(move || {
            while dribble.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        is_dropped(stream);
        let told = next(&server.reports).text;
        assert!(told.contains("the header of the PROXY protocol has not come in time"), "{told}");
        dribbling.join().unwrap();
    }
}

fn h14_from_anywhere_else_the_header_is_refused<B: Backend>() {
    let backend = B::start();
    let (server, _) = serve(&backend, Setup { proxy_protocol: vec!["192.0.2.7".parse().unwrap()], ..Setup::default() });
    for (header, _) in headers() {
        let answer = http(server.addr, &[header, upgrade_request("/", &[])].concat());
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains("name it in the server's proxy_protocol"), "{}", answer.body);
    }
    let answer = http(server.addr, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(answer.status, 426, "others need no header");
}

fn h14_an_acceptor_reads_the_header_of_named_peers<B: Backend>() {
    let backend = B::start();
    let (tell, known) = mpsc::channel();
    let setup = Setup { proxy_protocol: vec!["10.0.0.0/8".parse().unwrap()], ..Setup::default() };
    let acceptor = backend.acceptor(setup, move |request| {
        tell.send(request.peer_addr()).unwrap();
        Response::websocket(listener())
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let open = |peer: Option<&str>, wire: &[u8]| {
        let mut stream = connect(listener.local_addr().unwrap());
        stream.write_all(wire).unwrap();
        let driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), peer.map(|peer| peer.parse().unwrap()));
        (stream, driven)
    };
    let request = upgrade_request("/", &[]);
    let announced = [b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 80\r\n", &*request].concat();
    let (stream, _driven) = open(Some("10.0.0.7:1"), &announced);
    is_accepted(stream);
    assert_eq!(next(&known), Some("192.0.2.1:4711".parse().unwrap()));
    for peer in [Some("11.0.0.7:1"), None] {
        let (stream, _driven) = open(peer, &request);
        is_accepted(stream);
        assert_eq!(next(&known), peer.map(|peer| peer.parse().unwrap()));
        let (stream, _driven) = open(peer, &announced);
        assert_eq!(Http::read(stream).status, 400);
    }
    let (stream, _driven) = open(Some("10.0.0.7:1"), &request);
    is_dropped(stream);
}
