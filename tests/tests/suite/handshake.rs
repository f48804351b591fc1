//! The opening handshake as a client sees it, and plain HTTP beside it.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use bellwire::proto::InvalidHeader;
use bellwire::{Config, Request, Response, is_upgrade_request, listener};
use bellwire_tests::{
    Backend, Event, Frame, Http, Log, Logs, Raw, Reported, Setup, backends, echo, http, logged, logged_handler, next,
    quiet, request, upgrade_request,
};

backends! {
    server {
        d13_t1_t12_i1_each_bad_handshake_is_answered_with_its_status,
        d13_t12_an_answer_survives_what_the_client_sends_behind_its_request,
        d13_d17_t1_a_head_that_is_too_slow_is_answered_with_408,
        d14_t1_i1_a_subprotocol_that_was_not_offered_is_500_and_reported,
        d15_t11_headers_go_out_with_the_101_and_nothing_else_does,
        u5_t1_a_header_that_cannot_be_sent_is_a_500_and_told_to_the_owner,
        d20_t1_a_foreign_origin_is_refused_and_listed_ones_are_not,
        d20_any_origin_may_be_allowed_and_none_is_no_browser,
        d22_upgrades_are_asked_for_in_lists_of_tokens,
        plain_http_is_answered_beside_the_upgrade,
        head_gets_the_head_alone,
        i1_a_handler_that_panics_is_500_and_the_server_goes_on,
        i1_a_handler_that_fails_is_500_and_the_server_goes_on,
        bytes_behind_the_request_belong_to_the_connection,
        a_request_may_come_byte_by_byte,
        a_client_that_leaves_before_its_request_is_forgotten,
        the_handler_sees_the_request_and_where_it_comes_from,
        d17_a_peer_that_does_not_hang_up_is_dropped_after_the_linger_timeout,
    }
}

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

/// What is wrong, the bytes, the status, and headers that the answer must have.
type BadRequest = (&'static str, Vec<u8>, u16, Vec<(&'static str, &'static str)>);

/// Requests that are refused.
fn bad_requests() -> Vec<BadRequest> {
    let get = "GET / HTTP/1.1";
    let (host, connection, upgrade, version) =
        ("Host: localhost", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13");
    let long = format!("X-Long: {}", "x".repeat(17 * 1024));
    let long_target = format!("GET /{} HTTP/1.1", "x".repeat(17 * 1024));
    let many: Vec<_> = (0..1024).map(|index| format!("X{index}: x")).collect();
    let mut many: Vec<_> = many.iter().map(String::as_str).collect();
    many.push(host);
    vec![
        ("no upgrade", request(get, &[host]), 426, vec![("Upgrade", "websocket"), ("Connection", "close, Upgrade")]),
        (
            "another version",
            request(get, &[host, connection, upgrade, KEY, "Sec-WebSocket-Version: 8"]),
            426,
            vec![("Sec-WebSocket-Version", "13")],
        ),
        ("no version", request(get, &[host, connection, upgrade, KEY]), 426, vec![("Sec-WebSocket-Version", "13")]),
        ("POST", request("POST / HTTP/1.1", &[host]), 405, vec![("Allow", "GET, HEAD, OPTIONS")]),
        (
            "an upgrade with HEAD",
            request("HEAD / HTTP/1.1", &[host, connection, upgrade, KEY, version]),
            405,
            vec![("Allow", "GET")],
        ),
        ("no key", request(get, &[host, connection, upgrade, version]), 400, vec![]),
        (
            "a key that is too short",
            request(get, &[host, connection, upgrade, "Sec-WebSocket-Key: AAAA", version]),
            400,
            vec![],
        ),
        ("two keys", request(get, &[host, connection, upgrade, KEY, KEY, version]), 400, vec![]),
        ("no host", request(get, &[connection, upgrade, KEY, version]), 400, vec![]),
        ("two hosts", request(get, &[host, host, connection, upgrade, KEY, version]), 400, vec![]),
        ("no token in Connection", request(get, &[host, upgrade, KEY, version]), 400, vec![]),
        ("a body", request(get, &[host, connection, upgrade, KEY, version, "Content-Length: 5"]), 400, vec![]),
        (
            "a body in chunks",
            request(get, &[host, connection, upgrade, KEY, version, "Transfer-Encoding: chunked"]),
            400,
            vec![],
        ),
        (
            "a subprotocol twice",
            request(get, &[host, connection, upgrade, KEY, version, "Sec-WebSocket-Protocol: a, a"]),
            400,
            vec![],
        ),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(), 400, vec![]),
        (
            "a foreign origin",
            request(get, &[host, connection, upgrade, KEY, version, "Origin: http://evil.example"]),
            403,
            vec![],
        ),
        ("a long head", request(get, &[host, &long]), 431, vec![]),
        ("many headers", request(get, &many), 431, vec![]),
        ("a long target", request(&long_target, &[host]), 414, vec![]),
        (
            "HTTP/1.0",
            request("GET / HTTP/1.0", &[host, connection, upgrade, KEY, version]),
            426,
            vec![("Upgrade", "websocket")],
        ),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), 505, vec![]),
    ]
}

/// The listener has not heard anything, and never will: `on_close` if and only if `on_open`.
#[track_caller]
fn never_called(logs: &Logs) {
    logs.next().ends_with([]);
}

fn d13_t1_t12_i1_each_bad_handshake_is_answered_with_its_status<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let server = backend.serve(Setup::default(), handler);
    for (what, bytes, status, headers) in bad_requests() {
        let answer = http(server.addr, &bytes);
        assert_eq!(answer.status, status, "{what}");
        for (name, value) in headers {
            assert_eq!(answer.header(name), Some(value), "{what}: {name}");
        }
        assert!(answer.header("Connection").unwrap().starts_with("close"), "{what}");
        if what != "an upgrade with HEAD" {
            assert_eq!(answer.header("Content-Length"), Some(answer.body.len().to_string().as_str()), "{what}");
            assert!(answer.body.ends_with('\n'), "{what}");
        }
        let report = next(&server.reports);
        assert_eq!(report.refused, Some(status), "{what}");
        assert!(report.peer.is_some(), "{what}");
    }
    // The server is alive, and the only listener that was ever called is this one's.
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("x"), Frame::close(1000, "")]);
    client.expect([Frame::text("x"), Frame::close(1000, "")]);
    client.expect_end();
    let (called, untouched): (Vec<_>, Vec<_>) = all(&logs).into_iter().partition(|events| !events.is_empty());
    assert_eq!(called, [[Event::Open, Event::text("x"), Event::close(1000, "")]]);
    // The head alone decides over the others.
    assert_eq!(untouched.len(), 11, "requests that the handler was asked about");
}

/// What the logs of all the connections so far say. The last one must have ended well.
fn all(logs: &Logs) -> Vec<Vec<Event>> {
    let mut all = Vec::new();
    while !all.last().is_some_and(|events: &Vec<_>| matches!(events.last(), Some(Event::Close(..)))) {
        all.push(logs.next().rest());
    }
    all
}

fn d13_t12_an_answer_survives_what_the_client_sends_behind_its_request<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/page" => Response::text("p".repeat(100_000)),
        _ => Response::websocket(listener()),
    });
    // Longer than what is read at once, so that some of it lies unread when the answer has been written.
    let junk = [b'x'; 100 * 1024];
    let page = request("GET /page HTTP/1.1", &["Host: localhost"]);
    for (what, bytes, status, _) in bad_requests().into_iter().chain([("a page", page, 200, vec![])]) {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
        stream.write_all(&[&bytes, &junk[..]].concat()).unwrap();
        let answer = Http::read(stream);
        assert_eq!(answer.status, status, "{what}");
        if what != "an upgrade with HEAD" {
            assert_eq!(answer.header("Content-Length"), Some(answer.body.len().to_string().as_str()), "{what}");
        }
    }
}

fn d13_d17_t1_a_head_that_is_too_slow_is_answered_with_408<B: Backend>() {
    let backend = B::start();
    let (handler, _logs) = logged_handler(|_| echo());
    let config = quiet().open_timeout(Duration::from_millis(50));
    let server = backend.serve(Setup::new(config), handler);
    for start in [&b""[..], b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"] {
        let answer = http(server.addr, start);
        assert_eq!(answer.status, 408);
        assert_eq!(answer.header("Connection"), Some("close"));
        assert_eq!(next(&server.reports).refused, Some(408));
    }
    // An open connection has no such deadline: this one outlives several of them.
    let mut client = Raw::open(server.addr);
    assert_eq!(http(server.addr, b"").status, 408);
    client.send([Frame::text("still there")]);
    client.expect([Frame::text("still there")]);
}

fn d14_t1_i1_a_subprotocol_that_was_not_offered_is_500_and_reported<B: Backend>() {
    let backend = B::start();
    let (listeners, logs) = mpsc::channel::<Log>();
    let server = backend.serve(Setup::default(), move |_| {
        let (listener, log) = logged(echo());
        listeners.send(log).unwrap();
        Response::websocket(listener).protocol("mqtt")
    });
    for bytes in [upgrade_request("/", &[]), upgrade_request("/", &["Sec-WebSocket-Protocol: soap, MQTT"])] {
        let answer = http(server.addr, &bytes);
        assert_eq!(answer.status, 500);
        assert!(!answer.body.contains("mqtt"), "{}", answer.body);
        let report = next(&server.reports);
        assert_eq!(report.refused, None);
        assert!(report.text.contains("mqtt"), "{}", report.text);
        next(&logs).ends_with([]);
    }
    Raw::open_with(server.addr, &upgrade_request("/", &["Sec-WebSocket-Protocol: soap, mqtt"]));
    next(&logs).expect([Event::Open]);
}

fn d15_t11_headers_go_out_with_the_101_and_nothing_else_does<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| {
        let header = |name: &str, value: &str| Response::websocket(listener()).try_header(name, value);
        // Those of the handshake itself win.
        for name in ["Upgrade", "connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Extensions", "Content-Length"] {
            assert!(matches!(header(name, "mine"), Err(InvalidHeader::Reserved(_))), "{name}");
        }
        for value in ["a\r\nX-Injected: b", "a\nb", "a\rb", "a\0b"] {
            assert!(matches!(header("X-Own", value), Err(InvalidHeader::Value)), "{value:?}");
        }
        header("Set-Cookie", "a=b")?.header("Set-Cookie", "c=d").try_header("X-Own", "yes")
    });
    let head = Raw::open(server.addr).head;
    let mut lines: Vec<_> = head.trim_end().lines().skip(1).collect();
    lines.retain(|line| !line.starts_with("Sec-WebSocket-Accept: ") && !line.starts_with("Date: "));
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["Connection: Upgrade", "Set-Cookie: a=b", "Set-Cookie: c=d", "Upgrade: websocket", "X-Own: yes"]
    );
}

fn u5_t1_a_header_that_cannot_be_sent_is_a_500_and_told_to_the_owner<B: Backend>() {
    let backend = B::start();
    let (handler, logs) = logged_handler(|_| echo());
    let server = backend.serve(Setup::default(), move |request| {
        let response = match request.query() {
            Some("page") => Response::text("a secret"),
            _ => handler(request),
        };
        match request.path() {
            "/name" => response.header("X Own", "x"),
            "/value" => response.header("X-Own", "a\r\nSet-Cookie: b"),
            "/reserved" => response.header("Sec-WebSocket-Accept", "mine"),
            _ => response.header("X-Own", "yes"),
        }
    });
    for (path, told) in [("/name", "X Own"), ("/value", "X-Own"), ("/reserved", "Sec-WebSocket-Accept")] {
        for query in ["", "?page"] {
            let answer = http(server.addr, &upgrade_request(&format!("{path}{query}"), &[]));
            assert_eq!((answer.status, answer.body.as_str()), (500, "Internal Server Error\n"), "{path}{query}");
            assert_eq!((answer.header("X-Own"), answer.header("Set-Cookie")), (None, None));
            let report = next(&server.reports);
            assert!(report.text.contains(told), "{}", report.text);
        }
        never_called(&logs);
    }
    let mut client = Raw::open_with(server.addr, &upgrade_request("/good", &[]));
    assert!(client.head.contains("X-Own: yes\r\n"), "{}", client.head);
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
}

fn d20_t1_a_foreign_origin_is_refused_and_listed_ones_are_not<B: Backend>() {
    let backend = B::start();
    let config = quiet().origins(["https://friend.example"]);
    let (handler, logs) = logged_handler(|_| echo());
    let server = backend.serve(Setup::new(config), handler);
    let asked = |origin: &str| upgrade_request("/", &[&format!("Origin: {origin}")]);
    for origin in ["http://localhost", "https://friend.example"] {
        let mut client = Raw::open_with(server.addr, &asked(origin));
        client.send([Frame::close(1000, "")]);
        client.expect([Frame::close(1000, "")]);
        client.expect_end();
        logs.next().ends_with([Event::Open, Event::close(1000, "")]);
    }
    for origin in ["https://evil.example", "http://localhost:8080", "null"] {
        let answer = http(server.addr, &asked(origin));
        assert_eq!(answer.status, 403, "{origin}");
        assert_eq!(next(&server.reports).refused, Some(403));
        never_called(&logs);
    }
}

fn d20_any_origin_may_be_allowed_and_none_is_no_browser<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet().any_origin(), echo);
    Raw::open_with(server.addr, &upgrade_request("/", &["Origin: https://evil.example"]));
    let server = backend.serve_logged(quiet(), echo);
    Raw::open_with(server.addr, &upgrade_request("/", &[]));
}

fn d22_upgrades_are_asked_for_in_lists_of_tokens<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match is_upgrade_request(request) {
        true => Response::websocket(echo()),
        false => Response::text("no upgrade").with_status(418),
    });
    let asked = |connection: &str, upgrade: &str| {
        let lines = ["Host: localhost", connection, upgrade, KEY, "Sec-WebSocket-Version: 13"];
        request("GET / HTTP/1.1", &lines)
    };
    for (connection, upgrade) in [
        ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
        ("Connection: UPGRADE", "Upgrade: WebSocket"),
        ("Connection: Upgrade", "Upgrade: websocket, foo"),
    ] {
        Raw::open_with(server.addr, &asked(connection, upgrade));
    }
    for (connection, upgrade) in [
        ("Connection: not-upgrade", "Upgrade: websocket"),
        ("Connection: Upgrade", "Upgrade: websockets"),
        ("Connection: keep-alive", "Upgrade: websocket"),
    ] {
        assert_eq!(http(server.addr, &asked(connection, upgrade)).status, 418, "{connection}, {upgrade}");
    }
}

fn plain_http_is_answered_beside_the_upgrade<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/page" => Response::html("<p>Grüße</p>").header("X-Own", "yes"),
        "/ws" => Response::upgrade_required(),
        _ => Response::not_found(),
    });
    let get = |path: &str| http(server.addr, &request(&format!("GET {path} HTTP/1.1"), &["Host: localhost"]));
    let page = get("/page");
    assert_eq!((page.status, page.body.as_str()), (200, "<p>Grüße</p>"));
    assert_eq!(page.header("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(page.header("Content-Length"), Some("14"));
    assert_eq!(page.header("Connection"), Some("close"));
    assert_eq!(page.header("X-Own"), Some("yes"));
    assert_eq!(get("/ws").status, 426);
    assert_eq!(get("/other").status, 404);
    // The way to say no to an upgrade.
    let answer = http(server.addr, &upgrade_request("/other", &[]));
    assert_eq!((answer.status, answer.body.as_str()), (404, "Not found\n"));
    assert!(server.reports.try_recv().is_err(), "a handler's own answer is no failure");
}

fn head_gets_the_head_alone<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        assert_eq!(request.method(), "HEAD");
        Response::text("twelve bytes")
    });
    let answer = http(server.addr, &request("HEAD / HTTP/1.1", &["Host: localhost"]));
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
    assert_eq!(answer.header("Content-Length"), Some("12"));
}

fn i1_a_handler_that_panics_is_500_and_the_server_goes_on<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/" => Response::websocket(echo()),
        path => panic!("secret of {path}"),
    });
    fails_and_goes_on(server.addr, &server.reports);
}

fn i1_a_handler_that_fails_is_500_and_the_server_goes_on<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/" => Ok(Response::websocket(echo())),
        path => Err(format!("secret of {path}")),
    });
    fails_and_goes_on(server.addr, &server.reports);
}

fn fails_and_goes_on(addr: std::net::SocketAddr, reports: &Receiver<Reported>) {
    let mut before = Raw::open(addr);
    for bytes in [request("GET /x HTTP/1.1", &["Host: localhost"]), upgrade_request("/x", &[])] {
        let answer = http(addr, &bytes);
        assert_eq!(answer.status, 500);
        assert!(!answer.body.contains("secret"), "D8: {}", answer.body);
        let report = next(reports);
        assert!(report.text.contains("secret of /x"), "{}", report.text);
    }
    let mut after = Raw::open(addr);
    for client in [&mut before, &mut after] {
        client.send([Frame::text("x")]);
        client.expect([Frame::text("x")]);
    }
}

fn bytes_behind_the_request_belong_to_the_connection<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), || echo().on_open(|socket| socket.send("hello")));
    let mut bytes = upgrade_request("/", &[]);
    bytes.extend(Frame::text("glued").encode(true));
    bytes.extend(Frame::close(1000, "").encode(true));
    let mut client = Raw::open_with(server.addr, &bytes);
    client.expect([Frame::text("hello"), Frame::text("glued"), Frame::close(1000, "")]);
    client.expect_end();
    server.log().ends_with([Event::Open, Event::text("glued"), Event::close(1000, "")]);
}

fn a_request_may_come_byte_by_byte<B: Backend>() {
    let backend = B::start();
    let server = backend.serve_logged(quiet(), echo);
    let mut bytes = upgrade_request("/", &[]);
    bytes.extend(Frame::text("x").encode(true));
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
    for byte in bytes {
        stream.write_all(&[byte]).unwrap();
    }
    let mut client = Raw::open_over(stream, b"");
    client.expect([Frame::text("x")]);
    server.log().expect([Event::Open, Event::text("x")]);
}

fn a_client_that_leaves_before_its_request_is_forgotten<B: Backend>() {
    let backend = B::start();
    let (handler, _logs) = logged_handler(|_| echo());
    // There is room for one connection: nobody gets in as long as another is there.
    let setup = Setup { max_connections: Some(1), ..Setup::default() };
    let server = backend.serve(setup, handler);
    for start in [&b""[..], b"GET / HT"] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.write_all(start).unwrap();
    }
    let mut client = Raw::open(server.addr);
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
    assert!(server.reports.try_recv().is_err(), "who leaves is not refused");
}

fn the_handler_sees_the_request_and_where_it_comes_from<B: Backend>() {
    let backend = B::start();
    let (requests, seen) = mpsc::channel::<Request>();
    let server = backend.serve(Setup::new(Config::default()), move |request| {
        requests.send(request.clone()).unwrap();
        Response::not_found()
    });
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(bellwire_tests::PATIENCE)).unwrap();
    let lines = ["Host: example.com:81", "Cookie: a", "X-List: 1", "x-list: 2", "Sec-WebSocket-Protocol: b, a"];
    stream.write_all(&request("GET /a/b%20c?d=e?f HTTP/1.1", &lines)).unwrap();
    let request = next(&seen);
    assert_eq!(request.peer_addr(), Some(stream.local_addr().unwrap()));
    assert_eq!((request.method(), request.path(), request.query()), ("GET", "/a/b%20c", Some("d=e?f")));
    assert_eq!(request.header("host").as_deref(), Some("example.com:81"));
    assert_eq!(request.header("X-LIST").as_deref(), Some("1, 2"));
    assert_eq!(request.protocols(), ["b", "a"]);
    assert_eq!(Http::read(stream).status, 404);
}

fn d17_a_peer_that_does_not_hang_up_is_dropped_after_the_linger_timeout<B: Backend>() {
    let backend = B::start();
    let config = quiet().linger_timeout(Duration::from_millis(50));
    let (handler, logs) = logged_handler(|_| echo());
    let setup = Setup { max_connections: Some(1), ..Setup::new(config) };
    let server = backend.serve(setup, handler);

    let mut client = Raw::open(server.addr);
    client.send([Frame::close(1000, "")]);
    client.expect([Frame::close(1000, "")]);
    // It stays, and yet the listener is dropped.
    logs.next().ends_with([Event::Open, Event::close(1000, "")]);

    let mut refused = TcpStream::connect(server.addr).unwrap();
    refused.write_all(b"BAD\r\n\r\n").unwrap();
    // It stays, and yet the next one gets in.
    let mut other = Raw::open(server.addr);
    other.send([Frame::text("x")]);
    other.expect([Frame::text("x")]);
    assert_eq!(Http::read(refused).status, 400);
    drop(client);
}
