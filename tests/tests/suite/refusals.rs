//! What a refused request is told, and what the server's owner is told of it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use bellwire::{Config, Response};
use bellwire_tests::{
    AsyncStd, Backend, Blocking, Http, Multi, OnTokio, Over, PATIENCE, Raw, Setup, Single, Smol, backends, echo, http,
    next, quiet, request, upgrade_request,
};

backends! {
    server {
        h4_d20_a_refused_origin_is_named_with_its_host_the_likely_cause_and_a_cure,
        h4_what_a_refusal_quotes_is_escaped_and_short,
        h4_a_refused_head_request_gets_no_body,
        h4_what_came_too_late_or_is_too_long_is_named_as_far_as_it_came,
        h4_an_origin_of_null_is_told_what_that_is,
        h5_who_sets_no_hook_reads_each_kind_of_failure_once_on_stderr,
        h6_d20_the_public_host_may_be_listed,
        h6_d20_a_trusted_proxy_tells_the_host_and_nobody_else,
        h13_a_page_without_tls_is_not_of_a_server_that_was_asked_for_over_tls,
    }
}

fn h4_d20_a_refused_origin_is_named_with_its_host_the_likely_cause_and_a_cure<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let answer = http(server.addr, &upgrade_request("/feed?key=secret", &["Origin: https://chat.example"]));
    assert_eq!(answer.status, 403);
    let report = next(&server.reports);
    for text in [&answer.body, &report.text] {
        for part in ["\"https://chat.example\"", "\"localhost\"", "proxy_set_header Host $http_host", "Config::origins"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    assert!(report.text.contains("\"/feed\"") && !report.text.contains("secret"), "{}", report.text);
    let (origin, host, path) = report.asked;
    assert_eq!(origin.as_deref(), Some("https://chat.example"));
    assert_eq!((host.as_deref(), path.as_deref()), (Some("localhost"), Some("/feed")));
    // Other refusals carry what there is, too, whether the request could be read or not.
    for (first, status) in [("GET /a?b HTTP/1.1", 426), ("POST /a?b HTTP/1.1", 405), ("GET /a?b HTTP/3.0", 505)] {
        assert_eq!(http(server.addr, &request(first, &["host: localhost", "ORIGIN: http://x"])).status, status);
        let (origin, host, path) = next(&server.reports).asked;
        assert_eq!((origin.as_deref(), host.as_deref()), (Some("http://x"), Some("localhost")), "{first}");
        assert_eq!(path.as_deref(), Some("/a"), "{first}");
    }
}

fn h4_what_a_refusal_quotes_is_escaped_and_short<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let long = format!("http://{}", "x".repeat(5000));
    for origin in ["\"<script>alert(1)</script>", "http://a\u{202e}b", "\u{1}".trim(), &long, ""] {
        let bytes = upgrade_request("/", &[&format!("Origin: {origin}")]);
        let answer = http(server.addr, &bytes);
        let text = next(&server.reports).text;
        for text in [&answer.body, &text] {
            assert!(text.len() < 800, "{}", text.len());
            assert!(text.trim_end().bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{text}");
            assert!(!text.contains('<'), "{text}");
        }
        assert_eq!(answer.header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
}

/// RFC 9110 §9.3.2: "the server MUST NOT send content in the response": whoever reads the next answer behind this one
/// would take it for that.
fn h4_a_refused_head_request_gets_no_body<B: Backend>() {
    let backend = B::start();
    let config = quiet().open_timeout(Duration::from_millis(300));
    let server = backend.serve(Setup::new(config), |_| Response::websocket(echo()));
    let long = format!("X: {}", "x".repeat(20_000));
    for (bytes, status) in [
        (request("HEAD / HTTP/1.1", &["Host: h", "Content-Length: 5"]), 400),
        (request("HEAD / HTTP/1.1", &[]), 400),
        (request("HEAD / HTTP/1.1", &["Host: h", "X : y"]), 400),
        (b"HEAD / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        (request("HEAD / HTTP/2.0", &["Host: h"]), 505),
        (request("HEAD / HTTP/1.1", &["Host: h", &long]), 431),
        (request(&format!("HEAD /{} HTTP/1.1", &long[3..]), &["Host: h"]), 414),
        (request("HEAD / HTTP/1.1", &["Host: h"]), 426),
        (b"HEAD / HTTP/1.1\r\nHost: h\r\n".to_vec(), 408),
    ] {
        let answer = http(server.addr, &bytes);
        assert_eq!((answer.status, answer.body.as_str()), (status, ""));
        assert_ne!(answer.header("Content-Length"), Some("0"), "{status}: as for GET");
    }
}

fn h4_what_came_too_late_or_is_too_long_is_named_as_far_as_it_came<B: Backend>() {
    let backend = B::start();
    let config = quiet().open_timeout(Duration::from_millis(300));
    let server = backend.serve(Setup::new(config), |_| Response::websocket(echo()));
    let long = "x".repeat(20_000);
    for (bytes, status) in [
        (request("GET /a?b HTTP/1.1", &["Host: h", "Origin: http://x", &format!("X: {long}")]), 431),
        (b"GET /a?b HTTP/1.1\r\nHost: h\r\nOrigin: http://x\r\nHost: half".to_vec(), 408),
    ] {
        assert_eq!(http(server.addr, &bytes).status, status);
        let report = next(&server.reports);
        assert_eq!(report.refused, Some(status));
        let (origin, host, path) = report.asked;
        assert_eq!((origin.as_deref(), host.as_deref(), path.as_deref()), (Some("http://x"), Some("h"), Some("/a")));
    }
    assert_eq!(http(server.addr, &request(&format!("GET /a{long} HTTP/1.1"), &["Host: h"])).status, 414);
    let report = next(&server.reports);
    assert!(report.asked.2.unwrap().starts_with("/axx") && report.text.len() < 400, "{}", report.text);
}

fn h4_an_origin_of_null_is_told_what_that_is<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let answer = http(server.addr, &upgrade_request("/", &["Origin: null"]));
    assert_eq!(answer.status, 403);
    for text in [&answer.body, &next(&server.reports).text] {
        assert!(text.contains("a file") && text.contains("sandbox") && !text.contains("proxy"), "{text}");
    }
}

/// How the program calls a backend.
trait Named: Backend {
    const NAME: &str;
}

impl Named for Blocking {
    const NAME: &str = "blocking";
}

impl Named for OnTokio<Multi> {
    const NAME: &str = "tokio";
}

impl Named for OnTokio<Single> {
    const NAME: &str = "tokio_single_threaded";
}

impl Named for AsyncStd {
    const NAME: &str = "async_std";
}

impl Named for Smol {
    const NAME: &str = "smol";
}

/// What a server without a hook prints while some things go wrong again and again.
fn printed<B: Named>(args: &[&str]) -> String {
    let mut running = Command::new(env!("CARGO_BIN_EXE_loud"))
        .arg(B::NAME)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut addr = String::new();
    BufReader::new(running.stdout.take().unwrap()).read_line(&mut addr).unwrap();
    let addr: SocketAddr = addr.trim().parse().unwrap();
    for _ in 0..5 {
        assert_eq!(http(addr, &upgrade_request("/", &["Origin: https://evil.example"])).status, 403);
        assert_eq!(http(addr, &upgrade_request("/fails", &[])).status, 500);
        assert_eq!(http(addr, b"POST / HTTP/1.1\r\nHost: h\r\n\r\n").status, 405);
    }
    drop(running.stdin.take());
    let mut text = String::new();
    running.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(running.wait().unwrap().success());
    text
}

fn h5_who_sets_no_hook_reads_each_kind_of_failure_once_on_stderr<B: Named>() {
    let text = printed::<B>(&[]);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.iter().all(|line| line.starts_with("bellwire: ")), "{text}");
    assert!(lines[0].contains("https://evil.example"), "{text}");
    assert!(lines[1].contains("the handler failed: out of order"), "{text}");
    assert!(lines[2].contains("Method not allowed"), "{text}");
    assert_eq!(printed::<B>(&["quiet"]), "");
}

fn h6_d20_the_public_host_may_be_listed<B: Backend>() {
    let backend = B::start();
    let config = quiet().origins(["chat.example", "other.example:8443", "https://friend.example"]);
    let server = backend.serve(Setup::new(config), |_| Response::websocket(echo()));
    // As a proxy sends it that has put its own idea of the host.
    let asked = |origin: &str| upgrade_request("/", &[&format!("Origin: {origin}")]);
    for origin in [
        "https://chat.example",
        "http://chat.example",
        "https://CHAT.example:443",
        "https://other.example:8443",
        "https://friend.example",
        "http://localhost",
    ] {
        Raw::open_with(server.addr, &asked(origin));
    }
    for origin in [
        "https://chat.example:8443",
        "https://other.example",
        "http://friend.example",
        "https://chat.example.evil",
        "https://evil.chat.example",
        "https://chat.example@evil",
        "ftp://chat.example",
        "null",
    ] {
        assert_eq!(http(server.addr, &asked(origin)).status, 403, "{origin}");
    }
}

fn h6_d20_a_trusted_proxy_tells_the_host_and_nobody_else<B: Backend>() {
    let backend = B::start();
    let trusting = |networks: &[&str]| quiet().trusted_proxies(networks).unwrap();
    let told = |config: Config, peer: Option<&str>, lines: &[&str]| {
        let acceptor = backend.acceptor(Setup::new(config), |_| Response::websocket(echo()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut lines = lines.to_vec();
        lines.push("Origin: https://chat.example");
        stream.write_all(&upgrade_request("/", &lines)).unwrap();
        let peer = peer.map(|peer| peer.parse().unwrap());
        let _driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), peer);
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        match &status {
            b"HTTP/1.1 101" => true,
            b"HTTP/1.1 403" => {
                Http::read(status[..].chain(stream));
                false
            }
            other => panic!("{}", other.escape_ascii()),
        }
    };
    let proxy = Some("10.0.0.7:4711");
    let networks = ["10.0.0.0/8", "::1"];
    for lines in [
        &["X-Forwarded-Host: chat.example"][..],
        &["X-Forwarded-Host: chat.example:443"],
        &["X-Forwarded-Host: evil.example, chat.example"],
        &["X-Forwarded-Host: evil.example", "X-Forwarded-Host: chat.example"],
        &["Forwarded: for=192.0.2.1;host=chat.example;proto=https"],
        &["Forwarded: host=evil.example, for=192.0.2.1;Host=\"chat.example:443\""],
        &["Forwarded: host=chat.example", "X-Forwarded-Host: chat.example"],
        &["Forwarded: host=Chat.Example", "X-Forwarded-Host: chat.example"],
        // RFC 7239 has no spaces here, but some write them.
        &["Forwarded: for=192.0.2.1; host=chat.example; proto=https"],
    ] {
        assert!(told(trusting(&networks), proxy, lines), "{lines:?}");
        assert!(told(trusting(&networks), Some("[::ffff:10.0.0.7]:1"), lines), "{lines:?}, mapped into IPv6");
        assert!(told(trusting(&networks), Some("[::1]:1"), lines), "{lines:?}");
        // From anywhere else they are words of a stranger.
        for peer in [Some("11.0.0.7:1"), Some("127.0.0.1:1"), Some("[::2]:1"), None] {
            assert!(!told(trusting(&networks), peer, lines), "{lines:?} from {peer:?}");
        }
        assert!(!told(quiet(), proxy, lines), "off by default: {lines:?}");
    }
    for lines in [
        &["X-Forwarded-Host: chat.example, internal"][..],
        &["X-Forwarded-Host: chat.example:8443"],
        &["X-Forwarded-Host: chat.example", "Forwarded: host=evil.example"],
        &["X-Forwarded-Host: https://chat.example"],
        &["Forwarded: for=x"],
        &["Forwarded: host=chat.example, for=x"],
        &["X-Forwarded-Server: chat.example"],
        &[],
    ] {
        assert!(!told(trusting(&networks), proxy, lines), "{lines:?}");
    }
    // The header stands in the place of Host, not beside it.
    let own = |config: Config, lines: &[&str]| {
        let server = backend.serve(Setup::new(config), |_| Response::websocket(echo()));
        let mut lines = lines.to_vec();
        lines.push("Origin: http://localhost");
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&upgrade_request("/", &lines)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        status.ends_with(b"101")
    };
    assert!(own(trusting(&["127.0.0.1"]), &[]));
    assert!(own(trusting(&["192.0.2.1"]), &["X-Forwarded-Host: chat.example"]));
    assert!(!own(trusting(&["127.0.0.1"]), &["X-Forwarded-Host: chat.example"]));
}

fn h13_a_page_without_tls_is_not_of_a_server_that_was_asked_for_over_tls<B: Backend>() {
    let backend = B::start();
    let trusting = quiet().trusted_proxies(["127.0.0.1"]).unwrap();
    let listing = |origin: &str| trusting.clone().origins([origin]);
    let open = |config: &Config, lines: &[&str]| {
        let server = backend.serve(Setup::new(config.clone()), |_| Response::websocket(echo()));
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&upgrade_request("/", lines)).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        if status.ends_with(b"101") { None } else { Some(Http::read(status[..].chain(stream)).body) }
    };
    let (page, over_tls) = ("Origin: http://localhost", "X-Forwarded-Proto: https");
    let said = open(&trusting, &[page, over_tls]).unwrap();
    assert!(said.contains("from \"http://localhost\", without TLS, and the server was asked for over TLS"), "{said}");
    for (config, lines) in [
        (&trusting, [page, "X-Forwarded-Proto: http"]),
        (&trusting, ["Origin: https://localhost", over_tls]),
        // What the first of several proxies was asked for.
        (&trusting, ["Origin: https://localhost", "X-Forwarded-Proto: http"]),
        (&listing("http://localhost"), [page, over_tls]),
        (&listing("localhost"), [page, over_tls]),
        (&quiet(), [page, over_tls]),
    ] {
        assert_eq!(open(config, &lines), None, "{lines:?}");
    }
    assert!(open(&listing("https://localhost"), &[page, over_tls]).is_some());
}
