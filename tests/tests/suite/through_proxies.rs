//! Connecting through a proxy: what it is asked for, and all that it can do wrong.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use bellwire::proto::client::{HandshakeError, Phase, ProxyError, SocksFailure};
use bellwire::{CloseCode, ConnectError, Response, listener};
use bellwire_tests::{Backend, Connect, Event, Server, Setup, backends, echo, logged, next, quiet};

use crate::client::fail;

backends! {
    client {
        u21_a_proxy_that_refuses_is_told_with_its_answer,
        u21_a_refusal_whose_body_does_not_end_is_told_at_the_deadline,
        u21_a_proxy_that_answers_what_is_no_answer_is_an_error,
        u21_a_proxy_that_hangs_up_is_an_error,
        u21_a_proxy_that_stalls_lets_the_open_timeout_pass,
        u21_a_proxy_that_speaks_before_the_client_does_is_an_error,
        u21_a_proxy_that_cannot_be_reached_is_the_one_that_is_named,
        u21_a_socks5_proxy_that_fails_says_why,
    }
    pair {
        u20_a_conversation_passes_through_a_proxy_of_each_kind,
        u20_a_proxy_is_given_a_name_or_an_address_as_its_scheme_says,
        u20_credentials_go_to_the_proxy_and_to_nobody_else,
        u20_a_refusal_of_the_server_passes_through_the_proxy,
        u20_an_answer_of_a_proxy_may_come_byte_by_byte,
    }
}

/// A proxy that leads to where it is asked to, if its credentials are right, and the bytes that it was sent for that.
struct Proxy {
    port: u16,
    asked: Receiver<Vec<u8>>,
}

impl Proxy {
    /// Writes what it says piece by piece if `pieces` is that short.
    fn start(negotiate: fn(&mut Asking) -> io::Result<()>, piece: usize) -> Self {
        let (sender, asked) = mpsc::channel();
        let port = listen(move |stream| {
            stream.set_nodelay(true).unwrap();
            let mut asking = Asking { stream, bytes: Vec::new(), piece, server: None };
            let done = negotiate(&mut asking);
            let _ = sender.send(asking.bytes);
            if let (Ok(()), Some(server)) = (done, asking.server) {
                bridge(asking.stream, server);
            }
        });
        Self { port, asked }
    }

    fn http() -> Self {
        Self::start(connect, 1000)
    }

    fn socks5() -> Self {
        Self::start(socks5, 1000)
    }

    fn asked(&self) -> String {
        next(&self.asked).escape_ascii().to_string()
    }
}

/// Serves each connection on a thread of its own.
fn listen(serve: impl Fn(TcpStream) + Clone + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A proxy's connection before it leads anywhere.
struct Asking {
    stream: TcpStream,
    bytes: Vec<u8>,
    piece: usize,
    server: Option<TcpStream>,
}

impl Asking {
    fn read(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        self.bytes.extend_from_slice(&bytes);
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        bytes.chunks(self.piece).try_for_each(|piece| self.stream.write_all(piece))
    }
}

fn connect(asking: &mut Asking) -> io::Result<()> {
    while !asking.bytes.ends_with(b"\r\n\r\n") {
        asking.read(1)?;
    }
    let head = String::from_utf8(asking.bytes.clone()).unwrap();
    let authority = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
    asking.server = Some(TcpStream::connect(authority)?);
    asking.write(b"HTTP/1.0 200 Connection established\r\nContent-Length: 7\r\n\r\n")
}

fn socks5(asking: &mut Asking) -> io::Result<()> {
    let count = asking.read(2)?[1];
    let method = *asking.read(count.into())?.last().unwrap();
    asking.write(&[5, method])?;
    if method == 2 {
        for _ in 0..2 {
            let skip = usize::from(asking.bytes.len() == 4);
            let length = asking.read(1 + skip)?[skip];
            asking.read(length.into())?;
        }
        asking.write(&[1, 0])?;
    }
    let kind = asking.read(4)?[3];
    let host = match kind {
        1 => IpAddr::from(<[u8; 4]>::try_from(asking.read(4)?).unwrap()).to_string(),
        4 => IpAddr::from(<[u8; 16]>::try_from(asking.read(16)?).unwrap()).to_string(),
        _ => {
            let length = asking.read(1)?[0];
            String::from_utf8(asking.read(length.into())?).unwrap()
        }
    };
    let port = asking.read(2)?;
    asking.server = Some(TcpStream::connect((host, u16::from_be_bytes([port[0], port[1]])))?);
    asking.write(b"\x05\0\0\x03\x07p.local\x04\x38")
}

fn bridge(client: TcpStream, server: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || copy(from, to));
    copy(server, client);
}

/// What a proxy of bytes answers to the first bytes that it reads, and then reads on.
fn answering(answer: &'static [u8]) -> u16 {
    listen(move |mut stream| {
        let _ = stream.read(&mut [0; 1000]);
        let _ = stream.write_all(answer);
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

/// Fails to connect through such a proxy. No host is ever reached.
#[track_caller]
fn proxy_error<B: Backend>(backend: &B, proxy: &str) -> ProxyError {
    match fail(backend, Connect::to("ws://h.invalid/").through(proxy)) {
        ConnectError::Proxy(error) => error,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn talk<B: Backend>(backend: &B, server: &Server, connect: Connect) {
    let (listener, log) = logged(listener());
    let client = backend.connect(connect, listener).unwrap();
    for text in ["hello", &"x".repeat(100_000)] {
        client.socket.send(text).unwrap();
    }
    log.expect([Event::Open, Event::text("hello"), Event::text("x".repeat(100_000))]);
    client.socket.close().unwrap();
    let closed = client.closed();
    assert!(closed.clean && closed.code == CloseCode::NORMAL, "{closed:?}");
    server.shutdown(Duration::from_secs(5));
}

fn echoing<B: Backend>(backend: &B) -> Server {
    backend.serve(Setup::default(), |_| Response::websocket(echo()))
}

fn u20_a_conversation_passes_through_a_proxy_of_each_kind<B: Backend>() {
    let backend = B::start();
    for (proxy, scheme) in [(Proxy::http(), "http"), (Proxy::socks5(), "socks5"), (Proxy::socks5(), "socks5h")] {
        let server = echoing(&backend);
        let through = format!("{scheme}://127.0.0.1:{}", proxy.port);
        talk(&backend, &server, Connect::to(server.url("/")).through(&through));
        assert!(!proxy.asked().is_empty());
    }
}

fn u20_a_proxy_is_given_a_name_or_an_address_as_its_scheme_says<B: Backend>() {
    let backend = B::start();
    let server = echoing(&backend);
    let port = server.addr.port();
    let asked = |proxy: Proxy, scheme: &str, host: &str| {
        let connect =
            Connect::to(format!("ws://{host}:{port}/")).through(&format!("{scheme}://127.0.0.1:{}", proxy.port));
        let _ = backend.connect(connect, listener());
        proxy.asked()
    };
    let escaped = port.to_be_bytes().escape_ascii().to_string();
    let head = asked(Proxy::http(), "http", "localhost");
    assert!(
        head.starts_with(&format!("CONNECT localhost:{port} HTTP/1.1\\r\\nHost: localhost:{port}\\r\\n")),
        "{head}"
    );
    let head = asked(Proxy::http(), "http", "[::1]");
    assert!(head.starts_with(&format!("CONNECT [::1]:{port} HTTP/1.1\\r\\nHost: [::1]:{port}\\r\\n")), "{head}");
    let name = asked(Proxy::socks5(), "socks5h", "localhost");
    assert_eq!(name, format!(r"\x05\x01\x00\x05\x01\x00\x03\tlocalhost{escaped}"));
    let address = asked(Proxy::socks5(), "socks5", "localhost");
    let (v4, v6) = (Ipv4Addr::LOCALHOST.octets().escape_ascii().to_string(), Ipv6Addr::LOCALHOST.octets());
    let resolved = [format!(r"\x01{v4}"), format!(r"\x04{}", v6.escape_ascii())];
    assert!(resolved.iter().any(|addr| address == format!(r"\x05\x01\x00\x05\x01\x00{addr}{escaped}")), "{address}");
    let address = asked(Proxy::socks5(), "socks5h", "127.0.0.1");
    assert_eq!(address, format!(r"\x05\x01\x00\x05\x01\x00\x01{v4}{escaped}"));
}

fn u20_credentials_go_to_the_proxy_and_to_nobody_else<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        let mut headers: Vec<_> = request.headers().iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        headers.retain(|name| name.contains("auth") || name.contains("proxy"));
        let credentials = request.header("Authorization").map(|value| value.into_owned());
        let told = format!("{headers:?} {credentials:?}");
        Response::websocket(listener().on_open(move |socket| socket.send(told.as_str())))
    });
    let url = format!("ws://alice:wonder@127.0.0.1:{}/", server.addr.port());
    let http = Proxy::http();
    let socks5 = Proxy::socks5();
    for through in
        [format!("http://user:pass@127.0.0.1:{}", http.port), format!("socks5://user:pass@127.0.0.1:{}", socks5.port)]
    {
        let (listener, log) = logged(listener());
        let _client = backend.connect(Connect::to(&url).through(&through), listener).unwrap();
        log.expect([Event::Open, Event::text(r#"["authorization"] Some("Basic YWxpY2U6d29uZGVy")"#)]);
    }
    let head = http.asked();
    assert!(head.contains(r"\r\nProxy-Authorization: Basic dXNlcjpwYXNz\r\n") && !head.contains("YWxp"), "{head}");
    let bytes = socks5.asked();
    assert!(bytes.starts_with(r"\x05\x02\x00\x02\x01\x04user\x04pass\x05\x01\x00\x01"), "{bytes}");
}

fn u20_a_refusal_of_the_server_passes_through_the_proxy<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::text("who are you?").with_status(407));
    let proxy = Proxy::http();
    let error = fail(&backend, Connect::to(server.url("/")).through(&format!("http://127.0.0.1:{}", proxy.port)));
    assert!(proxy.asked().starts_with("CONNECT "));
    let ConnectError::Handshake(HandshakeError::Refused(response)) = error else { panic!("{error:?}") };
    assert_eq!((response.status(), response.body()), (407, &b"who are you?"[..]));
}

fn u20_an_answer_of_a_proxy_may_come_byte_by_byte<B: Backend>() {
    let backend = B::start();
    for (proxy, scheme) in [(Proxy::start(connect, 1), "http"), (Proxy::start(socks5, 1), "socks5h")] {
        let server = echoing(&backend);
        let through = format!("{scheme}://127.0.0.1:{}", proxy.port);
        talk(&backend, &server, Connect::to(server.url("/")).through(&through));
        assert!(!proxy.asked().is_empty());
    }
}

fn u21_a_proxy_that_refuses_is_told_with_its_answer<B: Backend>() {
    let backend = B::start();
    let port = answering(b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 2\r\n\r\nno");
    let error = proxy_error(&backend, &format!("http://user:s3cret@127.0.0.1:{port}"));
    let response = error.response().unwrap();
    assert_eq!((response.status(), response.body()), (407, &b"no"[..]));
    assert_eq!(response.header("proxy-authenticate").as_deref(), Some("Basic realm=\"x\""));
    let text = error.to_string();
    assert!(text.contains("407") && text.contains("Basic") && !text.contains("s3cret"), "{text}");
}

fn u21_a_refusal_whose_body_does_not_end_is_told_at_the_deadline<B: Backend>() {
    let backend = B::start();
    let port = answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 100\r\n\r\npart");
    let connect = Connect::to("ws://h.invalid/").through(&format!("http://127.0.0.1:{port}"));
    let error = fail(&backend, connect.config(quiet().open_timeout(Duration::from_millis(100))));
    let ConnectError::Proxy(ProxyError::Refused(response)) = error else { panic!("{error:?}") };
    assert_eq!((response.status(), response.body()), (502, &b"part"[..]));
}

fn u21_a_proxy_that_answers_what_is_no_answer_is_an_error<B: Backend>() {
    let backend = B::start();
    for answer in [
        &b"rubbish\r\n\r\n"[..],
        b"HTTP/2 200\r\n\r\n",
        // HTTP/2's SETTINGS, a TLS alert, SOCKS5.
        b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        b"\x15\x03\x01\0\x02\x02\x46",
        b"\x05\xff",
    ] {
        let error = proxy_error(&backend, &format!("http://127.0.0.1:{}", answering(answer)));
        assert!(matches!(error, ProxyError::NotHttp), "{error:?}");
    }
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\x5a\0\0\0\0\0\0"] {
        let error = proxy_error(&backend, &format!("socks5h://127.0.0.1:{}", answering(answer)));
        assert!(matches!(error, ProxyError::NotSocks5), "{error:?}");
    }
    let long: &[u8] = Box::leak(format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(100_000)).into_boxed_str()).as_bytes();
    let error = proxy_error(&backend, &format!("http://127.0.0.1:{}", answering(long)));
    assert!(matches!(error, ProxyError::TooLarge), "{error:?}");
}

fn u21_a_proxy_that_hangs_up_is_an_error<B: Backend>() {
    let backend = B::start();
    for (scheme, answer) in [
        ("http", &b""[..]),
        ("http", b"HTTP/1.1 200 OK\r\n"),
        ("socks5h", b""),
        ("socks5h", b"\x05"),
        ("socks5h", b"\x05\0"),
    ] {
        let port = listen(move |mut stream| {
            let _ = stream.read(&mut [0; 1000]);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        let error = proxy_error(&backend, &format!("{scheme}://127.0.0.1:{port}"));
        assert!(matches!(error, ProxyError::Eof), "{error:?}");
    }
}

fn u21_a_proxy_that_stalls_lets_the_open_timeout_pass<B: Backend>() {
    let backend = B::start();
    // The system accepts, and nobody ever takes it.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    let ports =
        [silent, answering(b""), answering(b"HTTP/1.1 200 OK\r\n")].map(|port| format!("http://127.0.0.1:{port}"));
    let socks5 = [answering(b"\x05"), answering(b"\x05\0")].map(|port| format!("socks5h://127.0.0.1:{port}"));
    for through in ports.iter().chain(&socks5) {
        let connect = Connect::to("ws://h.invalid/").through(through);
        let error = fail(&backend, connect.config(quiet().open_timeout(Duration::from_millis(100))));
        assert!(matches!(error, ConnectError::Timeout(Phase::Proxy)), "{error:?}");
    }
}

fn u21_a_proxy_that_speaks_before_the_client_does_is_an_error<B: Backend>() {
    let backend = B::start();
    let error = proxy_error(&backend, &format!("http://127.0.0.1:{}", answering(b"HTTP/1.1 200 OK\r\n\r\nhello")));
    assert!(matches!(error, ProxyError::SpokeFirst), "{error:?}");
    // The second is an answer to what was not asked yet.
    for answer in [&b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50hello"[..], b"\x05\0\x05\0\0\x01\x7f\0\0\x01\0\x50"] {
        let error = proxy_error(&backend, &format!("socks5h://127.0.0.1:{}", answering(answer)));
        assert!(matches!(error, ProxyError::SpokeFirst), "{error:?}");
    }
}

fn u21_a_proxy_that_cannot_be_reached_is_the_one_that_is_named<B: Backend>() {
    let backend = B::start();
    let nobody: SocketAddr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = proxy_error(&backend, &format!("http://user:s3cret@{nobody}"));
    assert!(matches!(&error, ProxyError::Connect(error) if error.kind() == ErrorKind::ConnectionRefused), "{error:?}");
    assert!(error.to_string().contains("proxy"), "{error}");
    // A label has at most 63 characters, so that no name server is asked.
    let error = proxy_error(&backend, &format!("socks5h://{}", "a".repeat(64)));
    assert!(matches!(error, ProxyError::Resolve(_)), "{error:?}");
}

fn u21_a_socks5_proxy_that_fails_says_why<B: Backend>() {
    let backend = B::start();
    let error = |user: &str, answer| proxy_error(&backend, &format!("socks5h://{user}127.0.0.1:{}", answering(answer)));
    assert!(matches!(error("", b"\x05\xff"), ProxyError::CredentialsNeeded));
    assert!(matches!(error("user:pass@", b"\x05\xff"), ProxyError::NoMethod));
    assert!(matches!(error("user:pass@", b"\x05\x02\x01\x01"), ProxyError::CredentialsRefused));
    assert!(matches!(error("", b"\x05\0\x05\x02"), ProxyError::Socks(SocksFailure::NotAllowed)));
    assert!(matches!(error("", b"\x05\0\x05\x05\0\x01\0\0\0\0\0\0"), ProxyError::Socks(SocksFailure::Refused)));
}
