//! The answers of the byte handshake once more, as those to an extended `CONNECT`: they are judged alike, but for what only a
//! 101 has.

use bellwire_core::Target;
use bellwire_core::proto::client::{HandshakeError, Response};
use bellwire_core::proto::{Connection, Time};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Compares with what has come of the bytes of an answer. Returns the connection over HTTP/2, if there is one.
pub(crate) fn over_http_2(
    target: &Target,
    wire: &[u8],
    bytes: Result<&Response, &HandshakeError>,
) -> Option<Connection> {
    let answer = match bytes {
        // There is no `http::Response` then.
        Err(
            HandshakeError::Malformed
            | HandshakeError::TooLarge
            | HandshakeError::TooManyFields(_)
            | HandshakeError::HttpVersion
            | HandshakeError::Timeout
            | HandshakeError::Eof,
        ) => return None,
        // That is how HTTP/2 agrees.
        Err(HandshakeError::Refused(refusal)) if refusal.status() == 200 => return None,
        Err(HandshakeError::Refused(refusal)) => http::Response::try_from(&**refusal).unwrap(),
        _ => agreement(wire),
    };
    let result = target.extended_connect().unwrap().receive(answer, Time::ZERO);
    match (bytes, result) {
        (Ok(bytes), Ok((connection, response))) => {
            assert_eq!((response.status(), response.protocol()), (200, bytes.protocol()));
            return Some(connection);
        }
        // These rules are about an upgrade, and the key.
        (
            Err(
                HandshakeError::MissingUpgrade
                | HandshakeError::WrongUpgrade(_)
                | HandshakeError::MissingConnection
                | HandshakeError::MissingAccept
                | HandshakeError::RepeatedAccept
                | HandshakeError::WrongAccept,
            ),
            Ok(_),
        ) => {}
        (Err(HandshakeError::Refused(bytes)), Err(HandshakeError::Refused(refusal))) => {
            assert_eq!((refusal.status(), refusal.body()), (bytes.status(), bytes.body()));
            let map = |response: &Response| HeaderMap::try_from(response.headers()).unwrap();
            assert_eq!(map(&refusal), map(bytes));
        }
        (Err(bytes), Err(error)) => assert_eq!(format!("{error:?} {error}"), format!("{bytes:?} {bytes}")),
        (bytes, result) => panic!("{:?} is not {bytes:?}", result.map(drop)),
    }
    None
}

/// The 101 at the end of these bytes, as a 200.
fn agreement(wire: &[u8]) -> http::Response<Bytes> {
    let start = wire.windows(12).rposition(|window| window == b"HTTP/1.1 101").unwrap();
    let end = wire[start..].windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&wire[start..start + end]).unwrap().replace("\r\n ", "   ").replace("\r\n\t", "   ");
    let mut map = HeaderMap::new();
    for line in head.split("\r\n").skip(1) {
        let (name, value) = line.split_once(':').unwrap();
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.trim().as_bytes()).unwrap());
    }
    for name in ["upgrade", "connection", "sec-websocket-accept"] {
        map.remove(name);
    }
    let mut response = http::Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = map;
    response
}
