//! HTTP as proxies, health checks and clients of all kinds send it, byte for byte, and what is no HTTP/1 at all.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bellwire::{Request, Response, is_upgrade_request, listener};
use bellwire_tests::{
    Backend, Connect, Frame, Http, Over, PATIENCE, Raw, Server, Setup, backends, echo, http, next, quiet, request,
    upgrade_request, within,
};
use tungstenite::handshake::derive_accept_key;

backends! {
    server {
        h1_h2_health_checks_are_answered_as_they_come,
        h1_h2_health_checks_find_a_handler_that_answers_later,
        h1_h2_health_checks_find_an_acceptor,
        h1_an_upgrade_in_http_1_0_is_no_upgrade,
        h2_options_are_answered_until_the_server_stops,
        h2_a_handlers_own_answer_to_options_is_sent,
        h2_whatever_else_a_handler_has_for_options_is_204,
        h3_what_is_no_http_1_is_told_so,
        h7_a_key_need_not_be_canonical,
        h8_cookies_of_several_lines_are_one_list,
        h9_many_fields_are_taken_and_more_are_told_how_many,
        h11_every_answer_has_a_date_and_what_bellwire_says_is_not_kept,
        h12_d14_a_client_without_a_subprotocol_is_told_of_once_per_path,
        h10_an_empty_host_and_a_zone_are_hosts_and_a_bad_one_is_named,
    }
    client {
        h8_every_cookie_of_an_answer_can_be_read,
        h9_an_answer_of_many_fields_is_read_and_a_limit_says_what_to_raise,
    }
}

/// Requests as they are sent, and what the sender takes.
const CHECKS: [(&str, &str, u16); 12] = [
    ("HAProxy, option httpchk", "OPTIONS / HTTP/1.0\r\n\r\n", 204),
    ("HAProxy, option httpchk, 2.2 and later", "OPTIONS / HTTP/1.0\r\ncontent-length: 0\r\n\r\n", 204),
    ("HAProxy, option httpchk GET", "GET /health HTTP/1.0\r\n\r\n", 200),
    ("Apache, hcmethod=OPTIONS", "OPTIONS / HTTP/1.0\r\nHost: 127.0.0.1:9001\r\n\r\n", 204),
    ("Apache, hcmethod=HEAD", "HEAD /health HTTP/1.0\r\nHost: 127.0.0.1:9001\r\n\r\n", 200),
    ("Apache, hcmethod=GET", "GET /health HTTP/1.0\r\nHost: 127.0.0.1:9001\r\n\r\n", 200),
    ("Apache, hcmethod=OPTIONS11", "OPTIONS / HTTP/1.1\r\nHost: 127.0.0.1:9001\r\n\r\n", 204),
    (
        "nginx, proxy_pass alone",
        "GET /health HTTP/1.0\r\nHost: 127.0.0.1:9001\r\nConnection: close\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
        200,
    ),
    ("Varnish's probe", "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", 200),
    ("ab", "GET /health HTTP/1.0\r\nHost: 127.0.0.1:9001\r\nUser-Agent: ApacheBench/2.3\r\nAccept: */*\r\n\r\n", 200),
    (
        "ab -k",
        "GET /health HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: 127.0.0.1:9001\r\nUser-Agent: ApacheBench/2.3\r\n\
         Accept: */*\r\n\r\n",
        200,
    ),
    ("OPTIONS of the whole server", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 204),
];

fn health(request: &Request) -> Response {
    match request.path() {
        "/health" => Response::text("well\n"),
        _ => Response::websocket(echo()),
    }
}

/// What a health check's sender sees of an answer.
#[track_caller]
fn check(what: &str, request: &str, status: u16, answer: &Http) {
    assert_eq!(answer.status, status, "{what}");
    assert_eq!(answer.header("Connection"), Some("close"), "{what}");
    if status == 204 {
        assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"), "{what}");
        assert_eq!((answer.header("Content-Length"), answer.body.as_str()), (None, ""), "{what}");
    } else {
        assert_eq!(answer.header("Content-Length"), Some("5"), "{what}");
        assert_eq!(answer.body, if request.starts_with("HEAD") { "" } else { "well\n" }, "{what}");
    }
}

/// Each check, and the connection ends behind it.
#[track_caller]
fn check_all(server: &Server) {
    for (what, request, status) in CHECKS {
        check(what, request, status, &http(server.addr, request.as_bytes()));
    }
    assert!(server.reports.try_recv().is_err(), "nothing was refused");
}

fn h1_h2_health_checks_are_answered_as_they_come<B: Backend>() {
    let backend = B::start();
    check_all(&backend.serve(Setup::default(), health));
}

fn h1_h2_health_checks_find_a_handler_that_answers_later<B: Backend>() {
    let backend = B::start();
    check_all(&backend.serve_with(Setup::default(), |request, responder| {
        thread::spawn(move || responder.respond(health(&request)));
    }));
}

fn h1_h2_health_checks_find_an_acceptor<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), health);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (what, request, status) in CHECKS {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), None);
        check(what, request, status, &Http::read(&stream));
        drop(stream);
        driven.wait();
    }
}

fn h1_an_upgrade_in_http_1_0_is_no_upgrade<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match (request.path(), is_upgrade_request(request)) {
        ("/strict", _) | (_, true) => Response::websocket(echo()),
        (_, false) => Response::text("a page"),
    });
    let asked = |path: &str, version: &str| {
        String::from_utf8(upgrade_request(path, &[])).unwrap().replace("HTTP/1.1", version).into_bytes()
    };
    let page = http(server.addr, &asked("/", "HTTP/1.0"));
    assert_eq!((page.status, page.body.as_str()), (200, "a page"));
    // There is nothing but a WebSocket: whoever looks after the proxy is told what to change.
    let refused = http(server.addr, &asked("/strict", "HTTP/1.0"));
    assert_eq!((refused.status, refused.header("Upgrade")), (426, Some("websocket")));
    assert!(refused.body.contains("proxy_http_version 1.1"), "{}", refused.body);
    assert_eq!(next(&server.reports).refused, Some(426));
    // A later minor version is read as 1.1.
    let mut client = Raw::open_with(server.addr, &asked("/", "HTTP/1.3"));
    client.send([Frame::text("x")]);
    client.expect([Frame::text("x")]);
}

fn h2_options_are_answered_until_the_server_stops<B: Backend>() {
    let backend = B::start();
    let acceptor = backend.acceptor(Setup::default(), health);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ask = || {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"OPTIONS / HTTP/1.0\r\n\r\n").unwrap();
        let _driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), None);
        Http::read(stream).status
    };
    assert_eq!(ask(), 204);
    acceptor.close_all();
    assert_eq!(ask(), 503, "who is about to leave is not well");
}

/// As a browser asks before it sends a page's request to another origin.
const PREFLIGHT: &[u8] = b"OPTIONS /ticket HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example\r\n\
    Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: authorization\r\n\r\n";

fn ticket(request: &Request) -> Response {
    let response = match request.method() {
        "OPTIONS" => Response::options().header("Access-Control-Allow-Headers", "authorization"),
        _ => Response::text("a ticket"),
    };
    response.header("Access-Control-Allow-Origin", "https://app.example")
}

fn h2_a_handlers_own_answer_to_options_is_sent<B: Backend>() {
    let backend = B::start();
    let allowed = |server: &Server| {
        let answer = http(server.addr, PREFLIGHT);
        assert_eq!((answer.status, answer.body.as_str()), (204, ""));
        assert_eq!(answer.header("Access-Control-Allow-Origin"), Some("https://app.example"));
        assert_eq!(answer.header("Access-Control-Allow-Headers"), Some("authorization"));
        assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"));
    };
    allowed(&backend.serve(Setup::default(), ticket));
    allowed(&backend.serve_with(Setup::default(), |request, responder| {
        thread::spawn(move || responder.respond(ticket(&request)));
    }));
    let acceptor = backend.acceptor(Setup::default(), ticket);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(PREFLIGHT).unwrap();
    let _driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), None);
    assert_eq!(Http::read(stream).header("Access-Control-Allow-Origin"), Some("https://app.example"));
}

fn h2_whatever_else_a_handler_has_for_options_is_204<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/page" => Ok(Response::html("<p>")),
        "/login" => Ok(Response::new(401)),
        "/moved" => Ok(Response::new(302).header("Location", "/")),
        "/none" => Ok(Response::not_found()),
        "/only-get" => Ok(Response::new(405).header("Allow", "GET")),
        "/socket" => Ok(Response::websocket(echo()).header("Access-Control-Allow-Origin", "*")),
        "/unwell" => Ok(Response::new(503)),
        "*" => Err("not for the handler"),
        _ => Err("out of order"),
    });
    for target in ["/page", "/login", "/moved", "/none", "/only-get", "/socket", "*"] {
        let answer = http(server.addr, format!("OPTIONS {target} HTTP/1.0\r\n\r\n").as_bytes());
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{target}");
        assert_eq!(answer.header("Allow"), Some("GET, HEAD, OPTIONS"), "{target}");
        assert_eq!((answer.header("Location"), answer.header("Content-Type")), (None, None), "{target}");
    }
    assert_eq!(http(server.addr, &upgrade_options("/socket")).status, 204, "an upgrade is opened with GET");
    assert!(server.reports.try_recv().is_err(), "nothing was refused");
    assert_eq!(http(server.addr, b"OPTIONS /unwell HTTP/1.0\r\n\r\n").status, 503);
    assert_eq!(http(server.addr, b"OPTIONS /fails HTTP/1.0\r\n\r\n").status, 500, "it is not well");
    assert!(next(&server.reports).text.contains("out of order"));
}

fn upgrade_options(path: &str) -> Vec<u8> {
    String::from_utf8(upgrade_request(path, &[])).unwrap().replace("GET ", "OPTIONS ").into_bytes()
}

fn h3_what_is_no_http_1_is_told_so<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), health);
    let get = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Binary headers of the PROXY protocol: a command for TCP over IPv4, and one without an address.
    let v2 =
        [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\x1f\x90\x23\x29"[..], get.as_bytes()].concat();
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..], get.as_bytes()].concat();
    let cases = [
        (format!("PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n{get}").into_bytes(), 400, "PROXY protocol"),
        (format!("PROXY TCP6 ::1 ::1 56324 443\r\n{get}").into_bytes(), 400, "PROXY protocol"),
        (format!("PROXY UNKNOWN\r\n{get}").into_bytes(), 400, "PROXY protocol"),
        (v2, 400, "PROXY protocol"),
        (local, 400, "PROXY protocol"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), 400, "TLS"),
        (b"\x16".to_vec(), 400, "TLS"),
        (b"GET /health\r\n".to_vec(), 400, "HTTP/1.1"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(), 505, "HTTP/1.1"),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n".to_vec(), 505, "HTTP/1.1"),
        (b"GET / HTTP/0.9\r\nHost: localhost\r\n\r\n".to_vec(), 505, "HTTP/1.1"),
    ];
    for (bytes, status, text) in &cases {
        // The end comes although the sender waits for more.
        let answer = http(server.addr, bytes);
        assert_eq!(answer.status, *status, "{}", bytes.escape_ascii());
        assert!(answer.body.contains(text), "{} for {}", answer.body, bytes.escape_ascii());
        let report = next(&server.reports);
        assert_eq!(report.refused, Some(*status));
        assert!(report.text.contains(text), "{}", report.text);
    }
    for (bytes, status, text) in &cases[..5] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        for byte in bytes {
            stream.write_all(&[*byte]).unwrap();
        }
        let answer = Http::read(stream);
        assert!(answer.status == *status && answer.body.contains(text), "{}", answer.body);
    }
}

fn h7_a_key_need_not_be_canonical<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |_| Response::websocket(echo()));
    let asked = |key: &str| {
        let lines = ["Host: h", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", key];
        request("GET / HTTP/1.1", &lines)
    };
    // RFC 6455 §4.1's own example, and 22 random letters.
    for key in ["AQIDBAUGBwgJCgsMDQ4PEC==", "QWxhZGRpbjpvcGVuIHNlc2=="] {
        let mut stream = TcpStream::connect(server.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&asked(&format!("Sec-WebSocket-Key: {key}"))).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        assert!(lines.next().unwrap().starts_with("HTTP/1.1 101 "), "{key}");
        let accept = format!("Sec-WebSocket-Accept: {}", derive_accept_key(key.as_bytes()));
        assert!(lines.take_while(|line| !line.is_empty()).any(|line| line == accept), "{key}");
    }
    for key in
        ["AQIDBAUGBwgJCgsMDQ4PEC=", "AQIDBAUGBwgJCgsMDQ4PEBA=", "AQIDBAUGBwgJCgsMDQ4PEC", "not in base64, at all=="]
    {
        assert_eq!(http(server.addr, &asked(&format!("Sec-WebSocket-Key: {key}"))).status, 400, "{key}");
    }
}

fn h8_cookies_of_several_lines_are_one_list<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| {
        let lines: Vec<_> = request.header_values("Cookie").collect();
        Response::text(format!("{} | {}", request.header("cookie").unwrap_or_default(), lines.join(" | ")))
    });
    let lines = ["Host: h", "Cookie: a=1", "X: y", "cookie: b=2; c=3"];
    assert_eq!(http(server.addr, &request("GET / HTTP/1.1", &lines)).body, "a=1; b=2; c=3 | a=1 | b=2; c=3");
    // An empty line is no cookie.
    let lines = ["Host: h", "Cookie:", "Cookie: a=1", "Cookie: ", "Cookie: b=2", "Cookie:"];
    assert_eq!(http(server.addr, &request("GET / HTTP/1.1", &lines)).body, "a=1; b=2 |  | a=1 |  | b=2 | ");
}

fn h9_many_fields_are_taken_and_more_are_told_how_many<B: Backend>() {
    let backend = B::start();
    let count = |request: &Request| Response::text(request.headers().len().to_string());
    let small = backend.serve(Setup::default(), count);
    let large = backend.serve(Setup::new(quiet().max_head(1024 * 1024)), count);
    let many = |count: usize| {
        request("GET / HTTP/1.1", &["Host: h"].into_iter().chain(vec!["X: y"; count - 1]).collect::<Vec<_>>())
    };
    assert_eq!(http(small.addr, &many(500)).body, "500");
    assert_eq!(http(large.addr, &many(5000)).body, "5000");
    let refused = http(small.addr, &many(1025));
    assert_eq!(refused.status, 431);
    assert!(refused.body.contains("Config::max_head, which allows one for each 16 bytes"), "{}", refused.body);
}

fn h10_an_empty_host_and_a_zone_are_hosts_and_a_bad_one_is_named<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match is_upgrade_request(request) {
        true => Response::websocket(echo()),
        false => Response::text(request.header("Host").unwrap_or_default()),
    });
    let upgrade = |host: &str| {
        String::from_utf8(upgrade_request("/", &[])).unwrap().replace("Host: localhost", host).into_bytes()
    };
    for host in ["", "[fe80::1%25eth0]:9001", "[fe80::1%25eth0]"] {
        let line = format!("Host: {host}");
        assert_eq!(http(server.addr, &request("GET / HTTP/1.1", &[&line])).body, host);
        Raw::open_with(server.addr, &upgrade(&line));
    }
    for (host, named) in [("::1:9514", "\"::1:9514\""), ("a<b>", r#""a\x3cb\x3e""#), ("a, b", "\"a, b\"")] {
        let answer = http(server.addr, &upgrade(&format!("Host: {host}")));
        assert_eq!(answer.status, 400);
        assert!(answer.body.contains(named), "{}", answer.body);
        let report = next(&server.reports);
        assert!(report.text.contains(named) && report.asked.1.as_deref() == Some(host), "{report:?}");
    }
    let two = http(server.addr, &request("GET / HTTP/1.1", &["Host: a", "Host: b"]));
    assert!(two.status == 400 && two.body.contains("\"a, b\""), "{}", two.body);
    // A page of nowhere is not this server's.
    let mut foreign = upgrade("Host:");
    foreign.truncate(foreign.len() - 2);
    foreign.extend_from_slice(b"Origin: http://localhost\r\n\r\n");
    assert_eq!(http(server.addr, &foreign).status, 403);
}

fn h11_every_answer_has_a_date_and_what_bellwire_says_is_not_kept<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/page" => Ok(Response::text("page")),
        "/none" => Ok(Response::not_found()),
        "/upgrade" => Ok(Response::upgrade_required()),
        "/kept" => Ok(Response::not_found().header("cache-control", "max-age=60").header("date", "yesterday")),
        "/fails" => Err("out of order"),
        "/dated" => Ok(Response::websocket(echo()).header("Date", "yesterday")),
        _ => Ok(Response::websocket(echo())),
    });
    let seen = |bytes: &[u8]| {
        let answer = http(server.addr, bytes);
        let (date, cache) = (answer.header("Date"), answer.header("Cache-Control"));
        (answer.status, date.unwrap().to_string(), cache.map(String::from))
    };
    let get = |path: &str| request(&format!("GET {path} HTTP/1.1"), &["Host: h"]);
    for (bytes, status) in [
        (get("/none"), 404),
        (get("/upgrade"), 426),
        (get("/fails"), 500),
        (get("/"), 426),
        (get("x"), 400),
        (b"OPTIONS / HTTP/1.0\r\n\r\n".to_vec(), 204),
        (b"POST / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405),
        (upgrade_request("/", &["Origin: http://evil"]), 403),
        (b"\x16\x03\x01".to_vec(), 400),
    ] {
        let (seen_status, date, cache) = seen(&bytes);
        assert_eq!((seen_status, cache.as_deref()), (status, Some("no-store")));
        assert!(is_date_of_now(&date), "{date}");
    }
    let (status, date, cache) = seen(&get("/page"));
    assert!(status == 200 && is_date_of_now(&date) && cache.is_none(), "a page may be kept");
    // What the handler says stands.
    assert_eq!(seen(&get("/kept")), (404, "yesterday".into(), Some("max-age=60".into())));
    let date_of = |path: &str| {
        let head = Raw::open_with(server.addr, &upgrade_request(path, &[])).head;
        let dates: Vec<_> = head.lines().filter_map(|line| line.strip_prefix("Date: ")).map(String::from).collect();
        assert_eq!(dates.len(), 1, "{head}");
        dates.concat()
    };
    assert!(is_date_of_now(&date_of("/")));
    assert_eq!(date_of("/dated"), "yesterday");
    // An acceptor has a clock, too.
    let acceptor = backend.acceptor(Setup::default(), |_| Response::text("page"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&get("/")).unwrap();
    let _driven = acceptor.accept(Over::Tcp(listener.accept().unwrap().0), None);
    assert!(is_date_of_now(Http::read(stream).header("Date").unwrap()));
}

/// Whether this is a time of the last minute, as `Date` has it.
fn is_date_of_now(date: &str) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (0..60).any(|ago| bellwire::proto::date(now - Duration::from_secs(ago)) == date)
}

fn h12_d14_a_client_without_a_subprotocol_is_told_of_once_per_path<B: Backend>() {
    let backend = B::start();
    let server = backend.serve(Setup::default(), |request| match request.path() {
        "/picks" => Response::websocket(echo()).select_protocol(request, &["soap", "mqtt"]),
        _ => Response::websocket(echo()),
    });
    let offering = |path: &str, offered: &str| {
        Raw::open_with(server.addr, &upgrade_request(path, &[&format!("Sec-WebSocket-Protocol: {offered}")]))
    };
    for _ in 0..3 {
        let mut client = offering("/one?x", "mqtt, soap");
        assert!(!client.head.contains("Sec-WebSocket-Protocol"), "{}", client.head);
        client.send([Frame::text("x")]);
        client.expect([Frame::text("x")]);
    }
    let report = next(&server.reports).text;
    for part in ["mqtt, soap", "\"/one\"", "select_protocol", "1006"] {
        assert!(report.contains(part), "{part} in {report}");
    }
    // The helper takes what the client likes best; where it finds nothing that is told, too.
    assert!(offering("/picks", "x, mqtt, soap").head.contains("Sec-WebSocket-Protocol: mqtt\r\n"));
    assert!(!offering("/picks", "x, y").head.contains("Sec-WebSocket-Protocol"));
    let report = next(&server.reports).text;
    assert!(report.contains("\"/picks\"") && report.contains("x, y"), "{report}");
    // Who offers nothing misses nothing, and whoever makes paths up makes no flood.
    Raw::open_with(server.addr, &upgrade_request("/three", &[]));
    for path in 0..200 {
        offering(&format!("/made/up/{path}"), "x");
    }
    let reports = server.reports.try_iter().count();
    assert!((1..=62).contains(&reports), "{reports}");
}

/// What a client makes of a 101 with these lines.
fn answered<B: Backend>(
    backend: &B,
    config: bellwire::Config,
    lines: &[&str],
) -> Result<bellwire::proto::client::Response, String> {
    let listener_of_peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener_of_peer.local_addr().unwrap());
    let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
    let peer = thread::spawn(move || {
        let mut raw = Raw::accept(&listener_of_peer);
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        raw.write(&raw.switching(&lines));
        raw.drain();
    });
    let result = backend.connect(Connect::to(url).config(config), listener());
    let response = result.map(|client| {
        client.socket.abort();
        client.response.clone()
    });
    within("the peer", move || peer.join().unwrap());
    response.map_err(|error| error.to_string())
}

fn h8_every_cookie_of_an_answer_can_be_read<B: Backend>() {
    let backend = B::start();
    let cookies = ["a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "b=2"];
    let lines = cookies.map(|cookie| format!("Set-Cookie: {cookie}"));
    let response = answered(&backend, quiet(), &[&lines[0], "X: 1", &lines[1], "x: 2"]).unwrap();
    assert_eq!(response.header_values("set-cookie").collect::<Vec<_>>(), cookies);
    assert_eq!(response.header("Set-Cookie").unwrap(), cookies[0], "never joined");
    assert_eq!(response.header("X").unwrap(), "1, 2");
}

fn h9_an_answer_of_many_fields_is_read_and_a_limit_says_what_to_raise<B: Backend>() {
    let backend = B::start();
    assert_eq!(answered(&backend, quiet(), &["X: y"; 500]).unwrap().headers().len(), 503);
    let refused = answered(&backend, quiet(), &["X: y"; 1100]).unwrap_err();
    assert!(refused.contains("more than 1024 header fields") && refused.contains("16 bytes"), "{refused}");
    assert_eq!(answered(&backend, quiet().max_head(32 * 1024), &["X: y"; 1100]).unwrap().headers().len(), 1103);
}
