//! The rows of the byte handshake once more, as requests that a framework has parsed: what comes of them must be the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use bellwire_core::proto::server::{Accept, AcceptError, PlainResponse, Refusal, Refused};
use bellwire_core::proto::{Connection, Headers, Time};
use bellwire_core::{Config, Request};
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

/// What is refused while bytes become a request: there is no `http::Request` then, and the framework refuses it by itself.
const OF_BYTES: [Refusal; 8] = [
    Refusal::Malformed,
    Refusal::Tls,
    Refusal::ProxyProtocol,
    Refusal::HttpVersion,
    Refusal::TargetTooLong,
    Refusal::HeadTooLarge,
    Refusal::TooManyFields,
    Refusal::Timeout,
];

/// What says how a request is asked for: HTTP/2 has none of these rules.
const OF_UPGRADES: [Refusal; 5] =
    [Refusal::NotAnUpgrade, Refusal::Http10, Refusal::UpgradeMethod, Refusal::Connection, Refusal::Key];

/// Headers, with names in lower case: the order of different names is not kept by a `HeaderMap`.
type Fields = BTreeMap<String, Vec<Vec<u8>>>;

/// Judges a head as a framework's request, and compares with what has come of its bytes.
pub(crate) fn read(wire: &str, bytes: &Result<Request, Refused>) {
    if bytes.as_ref().is_err_and(|refused| OF_BYTES.contains(&refused.refusal)) {
        return;
    }
    // `http::Uri` drops it, and so does hyper before anybody sees the request.
    if wire.lines().find(|line| !line.is_empty()).is_some_and(|line| line.contains('#')) {
        assert_eq!(bytes.as_ref().unwrap_err().refusal, Refusal::Target);
        return;
    }
    match (bytes, Request::from_http(&parts(wire), None)) {
        (Ok(bytes), Ok(parsed)) => {
            let seen = |request: &Request| {
                let (method, path, query) = (request.method(), request.path(), request.query());
                format!("{method} {path} {query:?} {} {}", request.is_http10(), request.is_http2())
            };
            assert_eq!(seen(&parsed), seen(bytes), "{wire:?}");
            assert_eq!(fields(parsed.headers()), fields(bytes.headers()), "{wire:?}");
        }
        (Err(bytes), Err(parsed)) => {
            assert_eq!((parsed.refusal, parsed.to_string()), (bytes.refusal, bytes.to_string()), "{wire:?}");
            assert_same(&bytes.to_response(), &parsed.to_response().to_http(None));
        }
        (bytes, parsed) => panic!("{wire:?}: {parsed:?} is not {bytes:?}"),
    }
}

/// Accepts a request as that of a framework, over HTTP/1.1 and HTTP/2, and compares with what has come of it in bytes.
pub(crate) fn accept(request: &Request, accept: &Accept, config: &Config, bytes: Result<&Connection, &AcceptError>) {
    let (parts, ()) = http::Request::try_from(request).unwrap().into_parts();
    let config = Arc::new(config.clone());
    let parsed = Request::from_http(&parts, None).unwrap().accept_http(accept, config.clone(), Time::ZERO);
    assert_eq!(parsed.as_ref().map(drop), bytes.map(drop), "{request:?}");
    match (bytes, &parsed) {
        (Ok(bytes), Ok((response, connection))) => {
            assert!(connection.output().is_empty(), "the framework writes the 101");
            let output: Vec<u8> = bytes.output().pieces().flatten().copied().collect();
            let (status, headers, body) = taken_apart(&output);
            assert_eq!((status, &headers, &body[..]), (response.status(), &fields_of(response.headers()), &b""[..]));
        }
        (Err(bytes), Err(parsed)) => assert_same(&bytes.to_response(), &parsed.to_response().to_http(Some(request))),
        _ => unreachable!("they are equal"),
    }
    over_http_2(parts, accept, config, parsed.map(|(response, _)| response));
}

/// The same over HTTP/2, without what only HTTP/1.1 has.
fn over_http_2(
    mut parts: Parts,
    accept: &Accept,
    config: Arc<Config>,
    over_http_1: Result<http::Response<()>, AcceptError>,
) {
    const OF_HTTP_1: [&str; 4] = ["connection", "upgrade", "sec-websocket-key", "sec-websocket-accept"];
    (parts.method, parts.version) = (Method::CONNECT, Version::HTTP_2);
    if let Some(host) = parts.headers.remove("host").filter(|host| !host.is_empty()) {
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        parts.uri = Uri::try_from(format!("https://{}{path}", host.to_str().unwrap())).unwrap();
    } else {
        parts.headers.insert("host", HeaderValue::from_static(""));
    }
    OF_HTTP_1.iter().for_each(|name| drop(parts.headers.remove(*name)));
    let request = Request::from_http(&parts, Some("WebSocket")).unwrap();
    let without = |mut headers: Fields| {
        OF_HTTP_1.iter().for_each(|name| drop(headers.remove(*name)));
        headers
    };
    match (over_http_1, request.accept_http(accept, config, Time::ZERO)) {
        (Ok(expected), Ok((response, connection))) => {
            assert!(connection.output().is_empty());
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(fields_of(response.headers()), without(fields_of(expected.headers())));
        }
        (Err(AcceptError::Refused(expected)), Ok(_)) if OF_UPGRADES.contains(&expected.refusal) => {}
        (Err(expected), Err(error)) => {
            assert_eq!(error.to_string(), expected.to_string());
            let (expected, plain) = (expected.to_response(), error.to_response());
            // Whoever answers with it, with the request at hand or without.
            for response in [plain.to_http(Some(&request)), plain.to_http(None)] {
                assert_eq!(response.status().as_u16(), expected.status());
                let expected = expected.to_http(None);
                assert_eq!(fields_of(response.headers()), without(fields_of(expected.headers())));
                assert_eq!(response.body(), expected.body());
            }
        }
        (expected, result) => panic!("{:?} is not {expected:?}", result.map(drop)),
    }
}

/// Compares what is sent as bytes with what a framework is given.
fn assert_same(bytes: &PlainResponse, response: &http::Response<Bytes>) {
    let (status, mut headers, body) = taken_apart(&bytes.encode(None));
    // The framework says by itself whether the connection goes on, and how long the body is.
    let connection = headers.remove("connection").unwrap();
    if connection == [b"close, Upgrade"] {
        headers.insert("connection".into(), vec![b"Upgrade".into()]);
    }
    let length = headers.remove("content-length").unwrap();
    let mut expected = fields_of(response.headers());
    // Except for `HEAD`, whose answer has a length and no body.
    assert!(expected.remove("content-length").is_none_or(|told| told == length && body.is_empty()));
    assert_eq!((status, headers, &body), (response.status(), expected, response.body()));
}

/// Parses a request's head as frameworks do, which is lenient here: what is malformed is not a framework's request.
fn parts(wire: &str) -> Parts {
    let (head, _) = wire.trim_start_matches("\r\n").split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let line: Vec<&str> = lines.next().unwrap().split(' ').collect();
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = line[0].parse().unwrap();
    parts.uri = line[1].parse().unwrap();
    parts.version = if line[2] == "HTTP/1.0" { Version::HTTP_10 } else { Version::HTTP_11 };
    parts.headers = map(lines);
    parts
}

fn map<'l>(lines: impl Iterator<Item = &'l str>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    }
    map
}

/// Takes a response in bytes apart.
fn taken_apart(bytes: &[u8]) -> (StatusCode, Fields, Bytes) {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let mut lines = std::str::from_utf8(&bytes[..end]).unwrap().split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    (status, fields_of(&map(lines)), Bytes::copy_from_slice(&bytes[end + 4..]))
}

fn fields_of(map: &HeaderMap) -> Fields {
    fields(&Headers::from(map))
}

fn fields(headers: &Headers) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in headers {
        fields.entry(name.to_ascii_lowercase()).or_default().push(value.to_vec());
    }
    fields
}
