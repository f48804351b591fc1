//! Types of the crate `http`: what becomes of them, there and back; and what is said over HTTP/2.
#![cfg(feature = "http")]

use std::sync::Arc;

use bellwire_core::proto::client::{HandshakeError, IntoTarget, InvalidProtocol};
use bellwire_core::proto::server::{Accept, Refusal};
use bellwire_core::proto::{Headers, InvalidHeader, Time, Uri};
use bellwire_core::{Config, ConnectError, NotPlain, Request, Response, Target, listener};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use proptest::prelude::*;

/// An extended `CONNECT`, with these headers besides the version.
fn extended_connect(headers: &[(&str, &str)]) -> http::request::Parts {
    let mut builder = http::Request::connect("https://example.com/chat?room=1").version(Version::HTTP_2);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(()).unwrap().into_parts().0
}

const VERSION: (&str, &str) = ("sec-websocket-version", "13");

/// What a refusal says over HTTP/2: its status and its headers, without `cache-control` and `content-type`.
fn refused(parts: &http::request::Parts, protocol: Option<&str>) -> (Refusal, String) {
    let request = Request::from_http(parts, protocol).and_then(|request| request.check_upgrade().map(|()| request));
    let refused = request.unwrap_err();
    let mut response = refused.to_response().to_http(None);
    assert_eq!(response.headers_mut().remove("cache-control").unwrap(), "no-store");
    assert_eq!(response.headers_mut().remove("content-type").unwrap(), "text/plain; charset=utf-8");
    assert_eq!(response.body(), &format!("{refused}\n"));
    let headers: Vec<_> =
        response.headers().iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    (refused.refusal, format!("{} {}", response.status().as_u16(), headers.join(", ")))
}

#[test]
fn what_is_wrong_with_an_extended_connect_is_said_without_http_1s_headers() {
    for (headers, protocol, refusal, answer) in [
        (&[VERSION][..], Some("connect-udp"), Refusal::ConnectProtocol, "501 "),
        (&[VERSION], None, Refusal::Method, "405 allow: GET, HEAD, OPTIONS"),
        (&[], Some("websocket"), Refusal::Version, "426 sec-websocket-version: 13"),
        (&[("sec-websocket-version", "8")], Some("websocket"), Refusal::Version, "426 sec-websocket-version: 13"),
        (&[VERSION, VERSION], Some("websocket"), Refusal::RepeatedVersion, "400 "),
        (&[VERSION, ("sec-websocket-protocol", "a, a")], Some("websocket"), Refusal::Protocols, "400 "),
        (&[VERSION, ("sec-websocket-extensions", "a;")], Some("websocket"), Refusal::Extensions, "400 "),
        (&[VERSION, ("content-length", "1")], Some("websocket"), Refusal::Body, "400 "),
        (&[VERSION, ("transfer-encoding", "chunked")], Some("websocket"), Refusal::Body, "400 "),
    ] {
        assert_eq!(refused(&extended_connect(headers), protocol), (refusal, answer.into()), "{headers:?}");
    }
    let with = |method: Method, uri: &'static str, headers: &[(&str, &str)]| {
        let mut parts = extended_connect(headers);
        (parts.method, parts.uri) = (method, http::Uri::from_static(uri));
        parts
    };
    for (parts, protocol, refusal, answer) in [
        (with(Method::GET, "https://h/", &[VERSION]), None, Refusal::ConnectMethod, "405 allow: CONNECT"),
        (
            with(Method::GET, "https://h/", &[("upgrade", "websocket")]),
            None,
            Refusal::ConnectMethod,
            "405 allow: CONNECT",
        ),
        (with(Method::POST, "https://h/", &[]), None, Refusal::Method, "405 allow: GET, HEAD, OPTIONS"),
        (with(Method::POST, "https://h/", &[]), Some("websocket"), Refusal::Method, "405 allow: GET, HEAD, OPTIONS"),
        (with(Method::CONNECT, "h:80", &[]), None, Refusal::Method, "405 allow: GET, HEAD, OPTIONS"),
        (with(Method::CONNECT, "/", &[VERSION]), Some("websocket"), Refusal::Host, "400 "),
        (with(Method::CONNECT, "/", &[("host", "a"), ("host", "b")]), Some("websocket"), Refusal::Host, "400 "),
        (with(Method::CONNECT, "https://u@h/", &[VERSION]), Some("websocket"), Refusal::Host, "400 "),
    ] {
        assert_eq!(refused(&parts, protocol), (refusal, answer.into()), "{parts:?}");
    }
}

#[test]
fn an_authority_counts_more_than_a_host() {
    let parts = extended_connect(&[VERSION, ("host", "other.example"), ("origin", "https://example.com")]);
    let request = Request::from_http(&parts, Some("WebSocket")).unwrap();
    assert_eq!(request.header("Host").as_deref(), Some("example.com"));
    assert_eq!((request.path(), request.query()), ("/chat", Some("room=1")));
    assert!(request.accept_http(&Accept::new(), Arc::default(), Time::ZERO).is_ok());
    let parts = extended_connect(&[VERSION, ("host", "other.example"), ("origin", "https://other.example")]);
    let request = Request::from_http(&parts, Some("websocket")).unwrap();
    assert!(request.accept_http(&Accept::new(), Arc::default(), Time::ZERO).is_err());
}

#[test]
fn a_200_has_nothing_of_http_1() {
    let accept = Accept::new().protocol("mqtt").header("Set-Cookie", "a=b").unwrap().header("Keep-Alive", "5").unwrap();
    let parts = extended_connect(&[VERSION, ("sec-websocket-protocol", "mqtt")]);
    let request = Request::from_http(&parts, Some("websocket")).unwrap();
    let (response, _) = request.accept_http(&accept, Arc::default(), Time::ZERO).unwrap();
    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!((response.status().as_u16(), names), (200, vec!["sec-websocket-protocol", "set-cookie"]));
    let plain = Response::upgrade_required().try_header("Keep-Alive", "5").unwrap();
    let Err(plain) = plain.into_upgrade() else { panic!("plain") };
    let response = plain.to_http(Some(&request));
    let names: Vec<_> = response.headers().keys().map(HeaderName::as_str).collect();
    assert_eq!((response.status().as_u16(), names), (426, vec!["cache-control", "content-type"]));
}

#[test]
fn versions_that_nobody_speaks_are_refused_and_http_3_is_as_http_2() {
    let version = |version, protocol| {
        let mut parts = extended_connect(&[VERSION]);
        parts.version = version;
        Request::from_http(&parts, protocol).map(|request| request.is_http2())
    };
    assert_eq!(version(Version::HTTP_09, None).unwrap_err().refusal, Refusal::HttpVersion);
    assert_eq!(version(Version::HTTP_3, Some("websocket")), Ok(true));
}

#[test]
fn an_answer_to_head_has_a_length_and_no_body() {
    let request = Request::try_from(http::Request::head("/").header("Host", "h").body(()).unwrap()).unwrap();
    let Err(plain) = Response::text("hello").into_upgrade() else { panic!("plain") };
    let response = plain.to_http(Some(&request));
    assert_eq!((&response.headers()["content-length"], response.body().len()), (&HeaderValue::from(5), 0));
    // What is refused before there is a request.
    let refused = Request::try_from(http::Request::head("/").body(()).unwrap()).unwrap_err();
    assert!(refused.to_response().to_http(None).body().is_empty());
}

#[test]
fn values_lose_their_blanks_as_in_bytes() {
    let parts = extended_connect(&[("sec-websocket-version", " 13\t"), ("sec-websocket-protocol", " mqtt ")]);
    let request = Request::from_http(&parts, Some("websocket")).unwrap();
    assert_eq!((request.check_upgrade(), request.protocols()), (Ok(()), vec!["mqtt"]));
}

#[test]
fn what_a_header_map_has_no_room_for_is_an_error_and_no_panic() {
    let mut headers = Headers::new();
    for index in 0..40_000 {
        headers.append(&format!("x-{index}"), "").unwrap();
    }
    assert!(HeaderMap::try_from(&headers).is_err());
    let mut headers = Headers::new();
    headers.append(&"x".repeat(70_000), "").unwrap();
    assert!(HeaderMap::try_from(headers).is_err());
}

#[test]
fn a_request_for_tungstenite_is_a_target() {
    let request = |url: &str, headers: &[(&str, &str)]| {
        let mut builder = http::Request::get(url);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    };
    // What tungstenite's own `IntoClientRequest` makes of a URL, and what users add.
    let own = [
        ("Host", "example.com"),
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Sec-WebSocket-Protocol", "mqtt, soap"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Authorization", "Bearer 42"),
        ("Cookie", "a=b"),
        ("Cookie", "c=d"),
    ];
    let target = request("ws://example.com/chat?room=1", &own).into_target().unwrap();
    let sent = target.handshake(Time::ZERO);
    let sent = std::str::from_utf8(sent.output()).unwrap();
    assert!(sent.starts_with("GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\n"), "{sent}");
    for line in ["Sec-WebSocket-Protocol: mqtt, soap, chat", "authorization: Bearer 42", "Cookie: a=b; c=d"] {
        assert!(sent.contains(&format!("\r\n{line}\r\n")), "{line}: {sent}");
    }
    for name in ["host", "connection", "upgrade", "sec-websocket-version", "sec-websocket-key", "authorization"] {
        assert_eq!(sent.to_lowercase().matches(&format!("\r\n{name}:")).count(), 1, "{name}: {sent}");
    }
    assert!(!sent.contains("Extensions") && !sent.contains("dGhlIHNhbXBsZSBub25jZQ=="), "{sent}");

    for (url, host) in [
        ("ws://h/", "h"),
        ("ws://h/", "H:80"),
        ("ws://h:80/", "h"),
        ("wss://h/", "h:443"),
        ("ws://h:81/", "h:81"),
        ("ws://[::1]:9/", "[::1]:9"),
    ] {
        assert!(Target::try_from(request(url, &[("Host", host)])).is_ok(), "{host} at {url}");
    }
    for (url, name, value) in [
        ("ws://h/", "host", "other"),
        ("ws://h/", "host", "h:443"),
        ("wss://h/", "host", "h:80"),
        ("ws://h/", "host", "\u{e4}"),
        ("ws://h/", "content-length", "0"),
        ("ws://h/", "transfer-encoding", "chunked"),
        ("ws://h/", "sec-websocket-accept", "x"),
    ] {
        let error = Target::try_from(request(url, &[(name, value)])).unwrap_err();
        assert!(matches!(&error, ConnectError::Header(InvalidHeader::Reserved(other)) if other == name), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    for (protocols, expected) in [
        ("a b", InvalidProtocol::Name),
        ("", InvalidProtocol::Name),
        (",", InvalidProtocol::Name),
        ("a, a", InvalidProtocol::Repeated),
    ] {
        let error = Target::try_from(request("ws://h/", &[("Sec-WebSocket-Protocol", protocols)])).unwrap_err();
        assert!(matches!(error, ConnectError::Protocol(error) if error == expected), "{protocols:?}");
    }
    for url in ["/chat", "http://h/", "h:80", "https://h/"] {
        assert!(matches!(Target::try_from(request(url, &[])), Err(ConnectError::Url(_))), "{url}");
    }
    let post = http::Request::post("ws://h/").body("").unwrap();
    let error = Target::try_from(post).unwrap_err();
    assert!(error.to_string().contains("POST") && error.to_string().contains("GET"), "{error}");
    let uri = http::Uri::from_static("wss://user:secret@h/a");
    let target = uri.into_target().unwrap();
    assert!(target.uri().is_secure() && !format!("{target:?}").contains("secret"));
}

#[test]
fn a_response_with_a_listener_is_no_plain_one() {
    let error = http::Response::try_from(Response::websocket(listener())).unwrap_err();
    assert_eq!(error, NotPlain::WebSocket);
    assert!(error.to_string().contains("WebSocketUpgrade"), "{error}");
    let error = http::Response::try_from(Response::text("x").header("X Y", "z")).unwrap_err();
    assert_eq!(error, NotPlain::Header("X Y".into(), InvalidHeader::Name));
    assert!(error.to_string().contains("\"X Y\""), "{error}");
    let found = http::Response::try_from(Response::not_found()).unwrap();
    assert_eq!(
        (found.status().as_u16(), &found.headers()["cache-control"]),
        (404, &HeaderValue::from_static("no-store"))
    );
}

#[test]
fn a_frameworks_response_is_a_handlers() {
    let response =
        http::Response::builder().status(203).header("X-A", "1").header("X-A", "2").header("Connection", "keep-alive");
    let response =
        response.header("Content-Length", "99").header("Transfer-Encoding", "chunked").body("hello").unwrap();
    let Err(plain) = Response::from(response).into_upgrade() else { panic!("plain") };
    let text = String::from_utf8(plain.encode(None)).unwrap();
    assert_eq!(text, "HTTP/1.1 203 \r\nConnection: close\r\nContent-Length: 5\r\nx-a: 1\r\nx-a: 2\r\n\r\nhello");
    assert_eq!(Response::from(http::Response::builder().status(101).body("").unwrap()).status(), 500);
}

#[test]
fn an_extended_connect_takes_one_answer() {
    let target = Target::new("ws://h/").unwrap();
    let answer = |status: u16, body: &'static str| {
        let answer = http::Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
        target.extended_connect().unwrap().receive(answer, Time::ZERO)
    };
    assert_eq!(answer(200, "").unwrap().1.status(), 200);
    for status in [101, 201, 204, 301, 403, 500] {
        let Err(HandshakeError::Refused(refusal)) = answer(status, "why") else { panic!("{status}") };
        assert_eq!((refusal.status(), refusal.body()), (status, &b"why"[..]));
    }
    let secret = Target::new("ws://user:secret@h/secret?secret").unwrap().extended_connect().unwrap();
    assert!(!format!("{secret:?}").contains("ser:"));
    // Neither the deadline nor anything else is lost on the way.
    let config = Config::default().max_head(999);
    assert_eq!(Target::new("ws://h/").unwrap().config(config.clone()).extended_connect().unwrap().config(), &config);
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let name = "[a-z][a-z0-9-]{0,9}".prop_map(|name| HeaderName::try_from(name).unwrap());
    let value = "[!-~\u{80}-\u{ff}]([ -~\t]{0,9}[!-~])?";
    (name, value.prop_map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap()))
}

fn header_map() -> impl Strategy<Value = HeaderMap> {
    proptest::collection::vec(header(), 0..9).prop_map(|fields| {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, value);
        }
        map
    })
}

/// What a server never takes from a client, whatever else is there.
fn with_host(mut headers: HeaderMap) -> HeaderMap {
    for name in ["content-length", "transfer-encoding"] {
        headers.remove(name);
    }
    headers.insert("host", HeaderValue::from_static("example.com"));
    headers
}

proptest! {
    #[test]
    fn headers_go_there_and_back(map in header_map()) {
        let headers = Headers::from(&map);
        prop_assert_eq!(headers.len(), map.len());
        prop_assert_eq!(HeaderMap::try_from(&headers).unwrap(), map);
    }

    #[test]
    fn requests_go_there_and_back(
        headers in header_map().prop_map(with_host),
        method in prop::sample::select(vec![Method::GET, Method::HEAD, Method::OPTIONS]),
        version in prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]),
        target in "/[a-zA-Z0-9/._~%|{}-]{0,9}([?][a-z=&|{}?/%]{0,9})?",
    ) {
        let mut request = http::Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        if version == Version::HTTP_10 {
            request.headers_mut().remove("upgrade");
        }
        let back = http::Request::try_from(Request::try_from(&request).unwrap()).unwrap();
        prop_assert_eq!(back.method(), request.method());
        prop_assert_eq!(back.uri(), request.uri());
        prop_assert_eq!(back.version(), version);
        prop_assert_eq!(back.headers(), request.headers());
    }

    #[test]
    fn responses_go_there_and_back(headers in header_map(), status in 200u16..600, body in ".{0,20}") {
        let mut response = http::Response::new(body.clone());
        *response.status_mut() = status.try_into().unwrap();
        *response.headers_mut() = headers;
        for name in ["connection", "keep-alive", "content-length", "te", "trailer", "upgrade"] {
            response.headers_mut().remove(name);
        }
        let expected = response.headers().clone();
        let back = http::Response::try_from(Response::from(response)).unwrap();
        prop_assert_eq!(back.status().as_u16(), status);
        prop_assert_eq!(back.headers(), &expected);
        let has_content = !matches!(status, 204 | 205 | 304);
        prop_assert_eq!(&back.body()[..], if has_content { body.as_bytes() } else { b"" });
    }

    #[test]
    fn uris_go_there_and_back(text in "wss?://([a-z0-9.-]{1,9}|\\[::[0-9a-f]{1,4}\\])(:[1-9][0-9]{0,3})?(/[ -~é]{0,9})?") {
        let Ok(uri) = text.parse::<Uri>() else { return Ok(()) };
        let converted = http::Uri::try_from(&uri).unwrap();
        prop_assert_eq!(Uri::try_from(&converted).unwrap(), uri);
    }

    #[test]
    fn a_target_of_a_request_sends_its_headers(headers in header_map(), path in "/[a-z]{0,9}") {
        let mut request = http::Request::get(format!("ws://example.com{path}")).body(()).unwrap();
        *request.headers_mut() = headers;
        for name in ["connection", "content-length", "cookie", "host", "te", "trailer", "upgrade", "authorization"] {
            request.headers_mut().remove(name);
        }
        let target = Target::try_from(request.clone()).unwrap();
        let sent = target.extended_connect().unwrap().request();
        prop_assert_eq!(sent.uri().path(), path);
        for name in request.headers().keys() {
            let values = |map: &HeaderMap| map.get_all(name).iter().cloned().collect::<Vec<_>>();
            prop_assert_eq!(values(sent.headers()), values(request.headers()), "{}", name);
        }
    }
}
