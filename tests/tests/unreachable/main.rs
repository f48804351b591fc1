//! Servers that cannot be reached: TLS that is wrong, proxies that do not do what they should, redirects that lead
//! nowhere. Each is one error that says what it is, and nothing is left of the attempt. What is left in the process is
//! counted, so this is a program of its own, and its tests run one after the other.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]

mod peers;

use std::error::Error;
use std::fs::read_dir;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bellwire::proto::client::{Phase, ProxyError, RedirectErrorKind, SocksFailure};
use bellwire::{ConnectError, Response, TlsError};
use bellwire_tests::{
    Backend, Certified, Connect, Frame, PATIENCE, Raw, Server, Setup, Trust, backends, echo, next, quiet, request,
    upgrade_request, within,
};
use peers::Peer;
use rustls::{ClientConnection, StreamOwned};

/// Whether an error is the one that it should be.
type Judge = fn(&ConnectError) -> bool;

backends! {
    server {
        clients_that_do_not_speak_tls_leave_nothing,
        clients_that_speak_tls_and_nothing_else_leave_nothing,
        tls_on_a_port_without_it_is_reported,
    }
    client {
        a_certificate_that_is_not_right_is_an_error,
        a_peer_that_speaks_no_tls_that_we_speak_is_an_error,
        a_peer_that_stops_in_the_middle_of_tls_is_an_error,
        an_http_proxy_that_does_not_connect_is_an_error,
        a_socks_proxy_that_does_not_connect_is_an_error,
        a_proxy_behind_tls_that_is_wrong_is_an_error,
        a_redirect_that_leads_nowhere_is_an_error,
        a_host_that_nobody_knows_or_where_nobody_answers_is_an_error,
    }
}

/// As often each is tried, and what of it must not grow with each.
const TIMES: usize = 25;
const SLACK: usize = 10;

/// What no text may contain.
const USER: &str = "alice";
const PASSWORD: &str = "t0p-secret";
/// The same as Basic authentication has it, without its end.
const IN_BASE64: &str = "YWxpY2U6dDBwLXNlY3Jld";
const TICKET: &str = "ticket-of-a-query";

/// Shorter than a test waits: what fails at once does so before its deadline.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

const FOUND: &str = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n";

/// One test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many descriptors and threads this process has.
fn held() -> [usize; 2] {
    ["/proc/self/fd", "/proc/self/task"].map(|path| read_dir(path).unwrap().count())
}

/// Waits until nothing is left of what was tried. Tokio keeps the threads that look up names for 10 s.
#[track_caller]
fn comes_back_to(what: &str, before: [usize; 2]) {
    let until = Instant::now() + 4 * PATIENCE;
    while held().iter().zip(before).any(|(now, before)| *now > before + SLACK) {
        assert!(Instant::now() < until, "{what}: {:?} are left of what was tried, {before:?} were there", held());
        thread::sleep(Duration::from_millis(10));
    }
}

/// Where to connect, with secrets in it, and so much time.
fn connect(url: &str, open_timeout: Duration) -> Connect {
    let url = url.replace("://", &format!("://{USER}:{PASSWORD}@"));
    Connect::to(url).config(quiet().open_timeout(open_timeout)).tls(Trust::shared().client())
}

/// Cannot connect, again and again: with an error of this kind, and these words in it.
#[track_caller]
fn fails<B: Backend>(backend: &Arc<B>, what: &str, connect: &Connect, kind: fn(&ConnectError) -> bool, says: &str) {
    let attempt = || {
        let (backend, connect) = (backend.clone(), connect.clone());
        let error = within(what, move || backend.connect(connect, echo()).map(|_| ())).unwrap_err();
        assert!(kind(&error), "{what}: {error:?}");
        let text = error.to_string();
        assert!(text.contains(says), "{what}: {text}");
        for text in texts(&error) {
            let told = [PASSWORD, IN_BASE64, TICKET].iter().any(|secret| text.contains(secret));
            assert!(!told, "{what}: {text}");
        }
    };
    leaves_nothing(what, |times| {
        thread::scope(|scope| (0..times).for_each(|_| drop(scope.spawn(attempt))));
    });
}

/// Does something so many times at once, and counts what is left of it.
#[track_caller]
fn leaves_nothing(what: &str, attempt: impl Fn(usize)) {
    // The first one pays for what is made once.
    attempt(1);
    let before = held();
    attempt(TIMES);
    comes_back_to(what, before);
}

/// All that an error and its causes print.
fn texts(error: &ConnectError) -> Vec<String> {
    let mut texts = vec![format!("{error} {error:?} {error:#?}")];
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(format!("{error} {error:?}"));
        cause = error.source();
    }
    texts
}

fn is_certificate(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Tls(TlsError::Certificate(_)))
}

fn is_protocol(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Tls(TlsError::Protocol(_)))
}

fn is_not_tls(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Tls(TlsError::NotTls))
}

fn is_end_of_tls(error: &ConnectError) -> bool {
    matches!(error, ConnectError::Tls(TlsError::Eof))
}

fn a_certificate_that_is_not_right_is_an_error<B: Backend>() {
    let (_alone, backend, trust) = (alone(), Arc::new(B::start()), Trust::shared());
    let expired = trust.certify_with(&["localhost"], |params| {
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 2, 1));
    });
    for (what, config, says) in [
        ("expired", expired.server(), "expired"),
        ("of another server", trust.certify(&["elsewhere.example"]).server(), "not valid for name"),
        ("of a stranger", Trust::new().server(), "not trusted"),
        ("signed by itself", Certified::by_itself(&["localhost"]).server(), "UnknownIssuer"),
    ] {
        let peer = Peer::says_over_tls(config, "");
        fails(&backend, what, &connect(&peer.url("wss", "/"), LONG), is_certificate, says);
    }
}

/// What a server says that speaks TLS 1.0 only: the head of a ServerHello, with a cipher suite of those days.
fn server_hello_of_tls_1_0() -> Vec<u8> {
    let hello = [&[3, 1][..], &[7; 32], &[0, 0x00, 0x2f, 0]].concat();
    let handshake = [&[2, 0, 0, hello.len() as u8][..], &hello].concat();
    [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}

/// A fatal alert.
fn alert(description: u8) -> Vec<u8> {
    vec![21, 3, 1, 0, 2, 2, description]
}

fn a_peer_that_speaks_no_tls_that_we_speak_is_an_error<B: Backend>() {
    let (_alone, backend, trust) = (alone(), Arc::new(B::start()), Trust::shared());
    for (what, bytes, kind) in [
        ("TLS 1.0", server_hello_of_tls_1_0(), is_protocol as fn(&ConnectError) -> bool),
        ("protocol_version", alert(70), is_protocol),
        ("handshake_failure", alert(40), is_protocol),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec(), is_not_tls),
        ("SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), is_not_tls),
        ("rubbish", (0..=255).rev().collect(), is_not_tls),
    ] {
        for peer in [Peer::says(bytes.clone()), Peer::says_and_leaves(bytes)] {
            fails(&backend, what, &connect(&peer.url("wss", "/"), LONG), kind, "TLS");
        }
    }
    let mut config = Arc::unwrap_or_clone(trust.server());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let peer = Peer::says_over_tls(Arc::new(config), "");
    fails(&backend, "HTTP/2 only", &connect(&peer.url("wss", "/"), LONG), is_protocol, "TLS");
    // The other way round: who does not speak TLS here is told so in TLS.
    let peer = Peer::says_over_tls(trust.server(), "");
    let not_http = |error: &ConnectError| matches!(error, ConnectError::Handshake(_));
    fails(&backend, "TLS where none is expected", &connect(&peer.url("ws", "/"), LONG), not_http, "wss://");
}

fn a_peer_that_stops_in_the_middle_of_tls_is_an_error<B: Backend>() {
    let (_alone, backend, trust) = (alone(), Arc::new(B::start()), Trust::shared());
    let part = server_hello_of_tls_1_0()[..20].to_vec();
    for (what, bytes) in [("at once", Vec::new()), ("within a record", part.clone())] {
        let peer = Peer::says_and_leaves(bytes);
        fails(&backend, what, &connect(&peer.url("wss", "/"), LONG), is_end_of_tls, "TLS");
    }
    let in_tls = |error: &ConnectError| matches!(error, ConnectError::Timeout(Phase::Tls));
    for (what, bytes) in [("silent", Vec::new()), ("silent within a record", part)] {
        let peer = Peer::says(bytes);
        fails(&backend, what, &connect(&peer.url("wss", "/"), SHORT), in_tls, "TLS");
    }
    let peer = Peer::says_over_tls(trust.server(), "");
    let asking = |error: &ConnectError| matches!(error, ConnectError::Timeout(Phase::Handshake));
    fails(&backend, "silent behind TLS", &connect(&peer.url("wss", "/"), SHORT), asking, "answered");
}

fn through(proxy: &str, scheme: &str, open_timeout: Duration) -> Connect {
    connect(&format!("{scheme}://behind.example/"), open_timeout).through(proxy)
}

/// The URL of a proxy, with secrets in it.
fn proxy(peer: &Peer, scheme: &str) -> String {
    format!("{scheme}://{USER}:{PASSWORD}@localhost:{}", peer.addr.port())
}

fn of_proxy(error: &ConnectError) -> Option<&ProxyError> {
    if let ConnectError::Proxy(error) = error { Some(error) } else { None }
}

fn an_http_proxy_that_does_not_connect_is_an_error<B: Backend>() {
    let (_alone, backend) = (alone(), Arc::new(B::start()));
    let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nnono".to_vec();
    let challenge = b"HTTP/1.1 407 Who?\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n".to_vec();
    let refused = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Refused(_)));
    let not_http = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::NotHttp));
    let too_large = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::TooLarge));
    let spoke_first = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::SpokeFirst));
    let eof = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Eof));
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'x'; 1 << 20]].concat();
    let cases: [(_, Vec<u8>, Judge, _); 8] = [
        ("refuses", refusal, refused, "403"),
        ("wants to know who asks", challenge, refused, "407"),
        ("speaks HTTP/2", vec![0, 0, 0, 4, 0, 0, 0, 0, 0], not_http, "not HTTP/1"),
        ("is an SSH server", b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(), not_http, "not HTTP/1"),
        ("speaks TLS", alert(10), not_http, "not HTTP/1"),
        ("never ends its head", endless, too_large, "max_head"),
        ("glues a body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_vec(), spoke_first, "proxy"),
        ("glues rubbish", [&b"HTTP/1.1 200 OK\r\n\r\n"[..], &[0xff; 100]].concat(), spoke_first, "proxy"),
    ];
    for (what, bytes, kind, says) in cases {
        let peer = Peer::says(bytes);
        for scheme in ["ws", "wss"] {
            fails(&backend, what, &through(&proxy(&peer, "http"), scheme, LONG), kind, says);
        }
    }
    for (what, bytes) in [("leaves at once", &b""[..]), ("leaves in its head", b"HTTP/1.1 200 OK\r\nX-Half: a")] {
        let peer = Peer::says_and_leaves(bytes);
        fails(&backend, what, &through(&proxy(&peer, "http"), "wss", LONG), eof, "the proxy closed");
    }
    let asking = |error: &ConnectError| matches!(error, ConnectError::Timeout(Phase::Proxy));
    for (what, bytes) in [("is silent", &b""[..]), ("is silent in its head", b"HTTP/1.1 200 OK\r\nX-Half: a")] {
        let peer = Peer::says(bytes);
        fails(&backend, what, &through(&proxy(&peer, "http"), "wss", SHORT), asking, "the proxy had not answered");
    }
    // What is behind it says nothing, and then leaves.
    let open = b"HTTP/1.1 200 Connection established\r\n\r\n";
    let in_tls = |error: &ConnectError| matches!(error, ConnectError::Timeout(Phase::Tls));
    fails(&backend, "silence behind", &through(&proxy(&Peer::says(open), "http"), "wss", SHORT), in_tls, "TLS");
    let peer = Peer::says_and_leaves(open);
    fails(&backend, "the end behind", &through(&proxy(&peer, "http"), "wss", LONG), is_end_of_tls, "TLS");
    let peer = Peer::says_in_turn(&[open, b"HTTP/1.1 400 Bad Request\r\n\r\n"]);
    fails(&backend, "HTTP behind", &through(&proxy(&peer, "http"), "wss", LONG), is_not_tls, "TLS");
}

/// How a SOCKS5 proxy answers that takes user names and passwords.
const METHOD: &[u8] = &[5, 2];
const WELCOME: &[u8] = &[1, 0];

fn a_socks_proxy_that_does_not_connect_is_an_error<B: Backend>() {
    let (_alone, backend) = (alone(), Arc::new(B::start()));
    let not_socks = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::NotSocks5));
    let no_method = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::NoMethod));
    let unwelcome = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::CredentialsRefused));
    let refused = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Socks(SocksFailure::Refused)));
    let forbidden = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Socks(SocksFailure::NotAllowed)));
    let strange =
        |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Socks(SocksFailure::Unassigned(99))));
    let answer = |code| [&[5, code, 0, 1][..], &[0; 6]].concat();
    let cases: [(_, &[&[u8]], Judge, _); 7] = [
        ("is an HTTP server", &[b"HTTP/1.1 400 Bad Request\r\n\r\n"], not_socks, "not SOCKS5"),
        ("is of SOCKS4", &[&[0, 90, 0, 0, 0, 0, 0, 0]], not_socks, "not SOCKS5"),
        ("takes nobody", &[&[5, 0xff]], no_method, "method"),
        ("does not know the password", &[METHOD, &[1, 1]], unwelcome, "password"),
        ("cannot connect", &[METHOD, WELCOME, &answer(5)], refused, "refused"),
        ("must not connect", &[METHOD, WELCOME, &answer(2)], forbidden, "allow"),
        ("says what means nothing", &[METHOD, WELCOME, &answer(99)], strange, "99"),
    ];
    for (what, turns, kind, says) in cases {
        let peer = Peer::says_in_turn(turns);
        fails(&backend, what, &through(&proxy(&peer, "socks5h"), "wss", LONG), kind, says);
    }
    let needs = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::CredentialsNeeded));
    let peer = Peer::says_in_turn(&[&[5, 0xff]]);
    let bare = format!("socks5h://localhost:{}", peer.addr.port());
    fails(&backend, "wants to know who asks", &through(&bare, "wss", LONG), needs, "SOCKS5");
    let asking = |error: &ConnectError| matches!(error, ConnectError::Timeout(Phase::Proxy));
    let parts: [&[&[u8]]; 4] = [&[&[]], &[&[5]], &[METHOD, &[1]], &[METHOD, WELCOME, &[5, 0, 0, 1, 0]]];
    for turns in parts {
        let peer = Peer::says_in_turn(turns);
        fails(&backend, "is silent", &through(&proxy(&peer, "socks5h"), "wss", SHORT), asking, "the proxy had not");
    }
    let eof = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Eof));
    for bytes in [&[][..], &[5]] {
        let peer = Peer::says_and_leaves(bytes);
        fails(&backend, "leaves", &through(&proxy(&peer, "socks5h"), "wss", LONG), eof, "the proxy closed");
    }
}

fn a_proxy_behind_tls_that_is_wrong_is_an_error<B: Backend>() {
    let (_alone, backend, trust) = (alone(), Arc::new(B::start()), Trust::shared());
    let certificate = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Tls(TlsError::Certificate(_))));
    let not_tls = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Tls(TlsError::NotTls)));
    let peer = Peer::says_over_tls(Trust::new().server(), "");
    fails(&backend, "a stranger", &through(&proxy(&peer, "https"), "ws", LONG), certificate, "certificate");
    let peer = Peer::says(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    fails(&backend, "no TLS", &through(&proxy(&peer, "https"), "ws", LONG), not_tls, "TLS");
    let refused = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Refused(_)));
    let peer = Peer::says_over_tls(trust.server(), b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    fails(&backend, "refuses", &through(&proxy(&peer, "https"), "wss", LONG), refused, "403");
    let nobody = format!("http://{USER}:{PASSWORD}@localhost:{}", nobody());
    let unreachable = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Connect(_)));
    fails(&backend, "is not there", &through(&nobody, "wss", LONG), unreachable, "the proxy");
    let unknown = format!("http://{USER}:{PASSWORD}@{}:3128", unknown());
    let unknown_host = |error: &ConnectError| matches!(of_proxy(error), Some(ProxyError::Resolve(_)));
    fails(&backend, "has no address", &through(&unknown, "wss", LONG), unknown_host, "the proxy");
}

/// A name that nobody has: a label has at most 63 characters, so that no name server is asked.
fn unknown() -> String {
    "a".repeat(64)
}

/// A port on which nobody listens.
fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn redirect(error: &ConnectError) -> Option<&RedirectErrorKind> {
    if let ConnectError::Redirect(error) = error { Some(error.kind()) } else { None }
}

fn a_redirect_that_leads_nowhere_is_an_error<B: Backend>() {
    let (_alone, backend, trust) = (alone(), Arc::new(B::start()), Trust::shared());
    let looping = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::Loop));
    let downgrade = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::Downgrade));
    let not_a_url = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::Location(_)));
    let several = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::Repeated));
    let phishing = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::UserInfo));
    let cases: [(_, _, Judge); 7] = [
        ("a loop", format!("Location: /?{TICKET}"), looping),
        ("a downgrade", format!("Location: http://elsewhere.example/?{TICKET}"), downgrade),
        ("no URL", "Location: http://[::".to_owned(), not_a_url),
        ("another scheme", format!("Location: ftp://elsewhere.example/?{TICKET}"), not_a_url),
        ("empty", "Location: https://".to_owned(), not_a_url),
        ("two ways", "Location: /a\r\nLocation: /b".to_owned(), several),
        ("a password", format!("Location: https://{USER}:{PASSWORD}@elsewhere.example/"), phishing),
    ];
    for (what, location, kind) in cases {
        let peer = Peer::says_over_tls(trust.server(), format!("{FOUND}{location}\r\n\r\n"));
        let url = peer.url("wss", &format!("/?{TICKET}"));
        fails(&backend, what, &connect(&url, LONG).redirects(9), kind, "redirect");
    }
    // Each leads to another place.
    let next = std::sync::atomic::AtomicUsize::new(0);
    let peer = Peer::new(move |mut stream| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // Whoever has left does not listen.
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(format!("{FOUND}Location: /{number}\r\n\r\n").as_bytes());
    });
    let too_many = |error: &ConnectError| matches!(redirect(error), Some(RedirectErrorKind::TooMany));
    fails(&backend, "without end", &connect(&peer.url("ws", "/"), LONG).redirects(3), too_many, "redirect");
}

fn a_host_that_nobody_knows_or_where_nobody_answers_is_an_error<B: Backend>() {
    let (_alone, backend) = (alone(), Arc::new(B::start()));
    let no_address = |error: &ConnectError| matches!(error, ConnectError::Resolve(_));
    fails(&backend, "no address", &connect(&format!("ws://{}/", unknown()), LONG), no_address, "resolve");
    for scheme in ["ws", "wss"] {
        // All of its addresses, of both families.
        let dead = |error: &ConnectError| matches!(error, ConnectError::Connect(_));
        let url = format!("{scheme}://localhost:{}/", nobody());
        fails(&backend, "dead addresses", &connect(&url, LONG), dead, "refused");
    }
}

/// The first bytes of a client that speaks TLS.
fn client_hello() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut client = ClientConnection::new(Trust::shared().client(), "localhost".try_into().unwrap()).unwrap();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// Serves over TLS, with little patience.
fn secured<B: Backend>(backend: &B) -> Server {
    let tls = Some(Trust::shared().server().into());
    backend.serve(Setup { tls, ..Setup::new(quiet().open_timeout(SHORT)) }, |_| Response::websocket(echo()))
}

/// Reads what a server still says, to its end.
fn rest(mut client: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // The end of what it says may be that of the connection.
    let _ = client.read_to_end(&mut bytes);
    bytes
}

/// A client that says this at once.
fn dial(server: &Server, bytes: &[u8]) -> TcpStream {
    let mut client = TcpStream::connect(server.addr).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(bytes).unwrap();
    client
}

/// A client that has agreed on TLS.
fn dial_in_tls(server: &Server) -> StreamOwned<ClientConnection, TcpStream> {
    let client = ClientConnection::new(Trust::shared().client(), "localhost".try_into().unwrap()).unwrap();
    let mut client = StreamOwned::new(client, dial(server, b""));
    client.conn.complete_io(&mut client.sock).unwrap();
    client
}

/// A client that is served as it should be.
fn is_well(server: &Server) {
    let mut raw = Raw::open_over(dial_in_tls(server), &upgrade_request("/", &[]));
    raw.send([Frame::text("well?")]);
    raw.expect([Frame::text("well?")]);
}

fn clients_that_do_not_speak_tls_leave_nothing<B: Backend>() {
    let (_alone, backend) = (alone(), B::start());
    let server = secured(&backend);
    let hello = client_hello();
    let old = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1][..], &[7; 32], &[0, 0, 2, 0, 0x2f, 1, 0]].concat();
    for (what, bytes, says) in [
        ("HTTP", request("GET / HTTP/1.1", &["Host: localhost"]), "does not speak TLS"),
        ("an upgrade", upgrade_request("/", &[]), "does not speak TLS"),
        ("rubbish", (0..=255).rev().collect(), "does not speak TLS"),
        ("TLS 1.0", old, "TLS failed"),
        ("half of a hello", hello[..hello.len() / 2].to_vec(), "in time"),
        ("silence", Vec::new(), "in time"),
    ] {
        leaves_nothing(what, |times| {
            let clients: Vec<_> = (0..times).map(|_| dial(&server, &bytes)).collect();
            for client in clients {
                let said = rest(client);
                assert!(!said.starts_with(b"HTTP/1.1 101"), "{what}: {said:?}");
                let told = next(&server.reports);
                assert!(told.text.contains(says), "{what}: {}", told.text);
            }
        });
    }
    // Who leaves may be reported, or not: it may be as a connection that was reset.
    for (what, bytes) in [("half of a hello", &hello[..hello.len() / 2]), ("a hello", &hello), ("nothing", &[])] {
        leaves_nothing(what, |times| (0..times).for_each(|_| drop(dial(&server, bytes))));
    }
    is_well(&server);
}

fn clients_that_speak_tls_and_nothing_else_leave_nothing<B: Backend>() {
    let (_alone, backend) = (alone(), B::start());
    let server = secured(&backend);
    for (what, bytes) in [("silence", &b""[..]), ("half of a request", b"GET / HTTP/1.1\r\nHost: ")] {
        leaves_nothing(what, |times| {
            let clients: Vec<_> = (0..times).map(|_| dial_in_tls(&server)).collect();
            for mut client in clients {
                client.write_all(bytes).unwrap();
                rest(client);
            }
        });
    }
    is_well(&server);
}

fn tls_on_a_port_without_it_is_reported<B: Backend>() {
    let (_alone, backend) = (alone(), B::start());
    let server = backend.serve(Setup::new(quiet()), |_| Response::websocket(echo()));
    leaves_nothing("TLS", |times| {
        for _ in 0..times {
            rest(dial(&server, &client_hello()));
            let told = next(&server.reports);
            assert!(told.text.contains("TLS"), "{}", told.text);
        }
    });
}
