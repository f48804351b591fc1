//! What a client asks for: its URL as browsers read it, credentials, a user agent, zones; and what it reads leniently.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::mpsc;

use bellwire::proto::UriError;
use bellwire::{ConnectError, Response, listener};
use bellwire_tests::{Backend, Connect, Event, Frame, Setup, backends, echo, logged, next};

use crate::client::{fail, raw_server};

backends! {
    client {
        u7_urls_are_read_as_browsers_read_them,
        u8_a_request_target_is_sent_as_it_is_and_cannot_split,
        u9_user_and_password_are_sent_as_basic_credentials_and_never_shown,
        u10_the_user_agent_is_bellwires_unless_it_is_set_or_dropped,
        #[cfg(target_os = "linux")]
        u11_a_zone_is_for_connecting_and_is_not_sent,
        u12_folded_lines_of_an_answer_are_read,
    }
    pair {
        u7_u8_our_server_takes_what_our_client_sends,
    }
}

/// The head of the request that a client makes of this.
fn asked<B: Backend>(backend: &B, connect: impl FnOnce(String) -> Connect) -> String {
    let (url, server) = raw_server(|mut raw| {
        raw.write(&raw.switching(&[]));
        raw.head
    });
    backend.connect(connect(url), listener()).unwrap();
    server.join().unwrap()
}

/// The lines of a head that begin so, without that beginning.
fn lines<'h>(head: &'h str, start: &str) -> Vec<&'h str> {
    head.lines().filter_map(|line| line.strip_prefix(start)).collect()
}

/// As it stands in a file.
fn line_of_a_file(url: &str, rest: &str) -> Connect {
    Connect::to(format!("\t {url}{rest} \r\n"))
}

fn u7_urls_are_read_as_browsers_read_them<B: Backend>() {
    let backend = B::start();
    for (rest, expected) in [
        ("?a=[1|2]", "/?a=[1|2]"),
        ("feed?{\"a\":1}", "/feed?{%22a%22:1}"),
        ("{a}/é", "/%7Ba%7D/%C3%A9"),
        ("a b?c d", "/a%20b?c%20d"),
        ("ABC%s0A?%41%", "/ABC%s0A?%41%"),
    ] {
        let head = asked(&backend, |url| line_of_a_file(&url, rest));
        assert_eq!(head.lines().next(), Some(format!("GET {expected} HTTP/1.1").as_str()), "{rest}");
    }
    let head = asked(&backend, |url| Connect::to(format!("{url}a\r\nX-Injected: b")));
    assert!(head.starts_with("GET /aX-Injected:%20b HTTP/1.1\r\n"), "{head}");
    assert!(lines(&head, "X-Injected").is_empty());
}

fn u8_a_request_target_is_sent_as_it_is_and_cannot_split<B: Backend>() {
    let backend = B::start();
    let with = |url: String, target: &str| Connect { request_target: Some(target.into()), ..Connect::to(url) };
    let head = asked(&backend, |url| with(url, "/raw{\"é\"}^`|?<[\\]>"));
    assert!(head.starts_with("GET /raw{\"é\"}^`|?<[\\]> HTTP/1.1\r\nHost: 127.0.0.1"), "{head}");
    for target in ["", "/a b", "/a HTTP/1.1\r\nX: y", "/\n", "/\0"] {
        let error = fail(&backend, with("ws://localhost:1/".into(), target));
        assert!(matches!(error, ConnectError::Url(UriError::RequestTarget)), "{error:?}");
    }
}

fn u7_u8_our_server_takes_what_our_client_sends<B: Backend>() {
    let backend = B::start();
    let (tell, told) = mpsc::channel();
    let server = backend.serve(Setup::default(), move |request| {
        tell.send((request.path().to_owned(), request.query().map(String::from))).unwrap();
        Response::websocket(echo())
    });
    let query = |query: &str| Some(query.to_owned());
    let client = backend.connect(Connect::to(server.url("/a|b/{é}?q=[\"x\"]|%s")), listener()).unwrap();
    assert_eq!(next(&told), ("/a|b/%7B%C3%A9%7D".into(), query("q=[%22x%22]|%s")));
    assert_eq!(client.socket.path(), Some("/a|b/%7B%C3%A9%7D"));
    let raw = Connect { request_target: Some("/{a}^?\"b\"".into()), ..Connect::to(server.url("/other")) };
    let client = backend.connect(raw, listener()).unwrap();
    assert_eq!(next(&told), ("/{a}^".into(), query("\"b\"")));
    assert_eq!(client.socket.path(), Some("/{a}^"));
}

fn u9_user_and_password_are_sent_as_basic_credentials_and_never_shown<B: Backend>() {
    let backend = B::start();
    let with = |url: &str, user_info: &str| url.replace("ws://", &format!("ws://{user_info}@"));
    // The example of RFC 7617 §2.
    let head = asked(&backend, |url| Connect::to(with(&url, "Aladdin:open%20sesame")));
    assert_eq!(lines(&head, "Authorization: "), ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]);
    assert!(head.starts_with("GET / HTTP/1.1\r\nHost: 127.0.0.1:"), "{head}");
    let bearer = vec![("Authorization", "Bearer x")];
    let head = asked(&backend, |url| Connect { headers: bearer, ..Connect::to(with(&url, "u:p")) });
    assert_eq!(lines(&head, "Authorization: "), ["Bearer x"]);

    // However it fails, also when the server answers with a redirect.
    let (url, server) = raw_server(|mut raw| {
        raw.write(b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n");
        raw.drain();
    });
    let nobody = format!("ws://{}/", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    for url in [url.as_str(), &nobody, "ws://127.0.0.1:99999/", "http://127.0.0.1/", "ws://127.0.0.1/#", "wss://h/"] {
        let connect = Connect::to(url.replace("://", "://Aladdin:open%20sesame@"));
        let target = connect.clone().target().map(|target| format!("{target:?} {:?} {}", target.uri(), target.uri()));
        let error = fail(&backend, connect);
        for shown in [error.to_string(), format!("{error:?} {error:#?}"), target.unwrap_or_default()] {
            for secret in ["Aladdin", "sesame", "QWxhZGRpbj"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
    }
    server.join().unwrap();
}

fn u10_the_user_agent_is_bellwires_unless_it_is_set_or_dropped<B: Backend>() {
    let backend = B::start();
    let head = |headers: Vec<_>| asked(&backend, |url| Connect { headers, ..Connect::to(url) });
    assert_eq!(lines(&head(vec![]), "User-Agent: "), [concat!("bellwire/", env!("CARGO_PKG_VERSION"))]);
    assert_eq!(lines(&head(vec![("User-Agent", "feed/2")]), "User-Agent: "), ["feed/2"]);
    assert!(!head(vec![("User-Agent", "")]).contains("User-Agent"));
}

#[cfg(target_os = "linux")]
fn u11_a_zone_is_for_connecting_and_is_not_sent<B: Backend>() {
    // Without IPv6 there is nothing to see.
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
    let backend = B::start();
    let port = listener.local_addr().unwrap().port();
    let server = backend.serve(Setup { listener: Some(listener), ..Setup::default() }, |request| {
        let host = request.header("Host").map(|host| host.into_owned()).unwrap_or_default();
        Response::websocket(bellwire::listener().on_open(move |socket| socket.send(host.as_str())))
    });
    // The first interface is the loopback: by its number, as resolvers take it for every address.
    for zone in ["%251", "%1"] {
        let (listener, log) = logged(bellwire::listener());
        backend.connect(Connect::to(format!("ws://[::1{zone}]:{port}/")), listener).unwrap();
        log.expect([Event::Open, Event::text(format!("[::1]:{port}"))]);
    }
    drop(server);
    // By its name: such an address is found, though there is nobody.
    let error = fail(&backend, Connect::to(format!("ws://[fe80::1%25lo]:{port}/")));
    assert!(matches!(error, ConnectError::Connect(_) | ConnectError::Timeout(_)), "{error:?}");
    let error = fail(&backend, Connect::to(format!("ws://[fe80::1%25no-such-interface]:{port}/")));
    assert!(matches!(error, ConnectError::Resolve(_)), "{error:?}");
}

fn u12_folded_lines_of_an_answer_are_read<B: Backend>() {
    let backend = B::start();
    let (url, server) = raw_server(|mut raw| {
        let head = String::from_utf8(raw.switching(&["X-Long: one,", "  two,", "\tthree"])).unwrap();
        raw.write(head.replace("Accept: ", "Accept:\r\n ").as_bytes());
        raw.send([Frame::text("hello"), Frame::close(1000, "")]);
        raw.expect([Frame::close(1000, "")]);
    });
    let (listener, log) = logged(listener());
    let client = backend.connect(Connect::to(url), listener).unwrap();
    let long = client.response.header("X-Long").unwrap();
    assert_eq!(long.split_whitespace().collect::<Vec<_>>(), ["one,", "two,", "three"]);
    log.ends_with([Event::Open, Event::text("hello"), Event::close(1000, "")]);
    server.join().unwrap();
}
