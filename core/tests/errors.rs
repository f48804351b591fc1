//! An error and its sources, printed one after the other as programs do, say nothing twice.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use bellwire_core::backend::Redirects;
use bellwire_core::config::Config;
use bellwire_core::listener::TypedSendError;
use bellwire_core::proto::client::{Handshake, HandshakeError, IntoTarget, InvalidCredentials, InvalidProtocol, Phase};
use bellwire_core::proto::server::{Accept, AcceptError, Refusal, Refused};
use bellwire_core::proto::{InvalidHeader, Time, Timeout, Uri, UriError, Violation};
use bellwire_core::stream::TypedStreamError;
use bellwire_core::{
    BoxError, CloseCode, Closed, ClosedBy, ConnectError, Error, Request, SendError, StreamError, Target, TlsError,
};

/// Fails if the text of a source is in that of an error above it.
fn says_nothing_twice(error: &(dyn StdError + 'static)) {
    let chain: Vec<String> =
        std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect();
    for (at, text) in chain.iter().enumerate() {
        assert!(!text.is_empty(), "{chain:?}");
        assert!(!chain[..at].iter().any(|above| above.contains(text)), "{chain:?}");
    }
}

/// An error with a source of its own.
#[derive(Debug)]
struct Outer(io::Error);

impl std::fmt::Display for Outer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("outer")
    }
}

impl StdError for Outer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.0)
    }
}

fn refused() -> HandshakeError {
    let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(0));
    let mut handshake = Handshake::new(&Target::new("ws://h").unwrap(), entropy, Time::ZERO);
    let mut answer = *b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno";
    handshake.receive(Time::ZERO, &mut &mut answer[..]).unwrap().unwrap_err()
}

fn redirected(location: &str) -> ConnectError {
    let target = Target::new("ws://h").unwrap().redirects(1);
    let mut handshake = Handshake::new(&target, Box::new(|bytes: &mut [u8]| bytes.fill(0)), Time::ZERO);
    let mut answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes();
    let error = handshake.receive(Time::ZERO, &mut &mut answer[..]).unwrap().unwrap_err();
    Redirects::new().follow(&target, error.into()).unwrap_err()
}

#[test]
fn connect_errors_say_nothing_twice() {
    let zero = Config::default().open_timeout(std::time::Duration::ZERO);
    for error in [
        Target::new("http://h").unwrap_err(),
        ConnectError::Header(InvalidHeader::Name),
        ConnectError::Protocol(InvalidProtocol::Repeated),
        ConnectError::Credentials(InvalidCredentials::Basic),
        ConnectError::Credentials(InvalidCredentials::Bearer),
        ConnectError::Credentials(InvalidCredentials::CookieName),
        ConnectError::Credentials(InvalidCredentials::CookieValue),
        Target::new("ws://h").unwrap().config(zero).into_target().unwrap_err(),
        ConnectError::Tls(TlsError::NotBuiltIn),
        ConnectError::Tls(TlsError::Protocol(Outer(io::ErrorKind::BrokenPipe.into()).into())),
        ConnectError::Resolve(io::Error::other("no such host")),
        ConnectError::Connect(io::ErrorKind::ConnectionRefused.into()),
        ConnectError::Timeout(Phase::Proxy),
        ConnectError::Handshake(refused()),
        redirected("/"),
        redirected("ftp://h/"),
        ConnectError::Io(io::Error::other(Outer(io::ErrorKind::BrokenPipe.into()))),
        ConnectError::Thread(io::Error::from_raw_os_error(11)),
    ] {
        says_nothing_twice(&error);
    }
}

#[test]
fn the_cause_of_a_cause_is_a_source() {
    let error = ConnectError::Io(io::Error::other(Outer(io::ErrorKind::BrokenPipe.into())));
    assert_eq!(error.to_string(), "the transport failed during the handshake: outer");
    assert_eq!(error.source().unwrap().to_string(), "broken pipe");
}

#[test]
fn handshake_errors_say_nothing_twice() {
    for error in [
        refused(),
        HandshakeError::Timeout,
        HandshakeError::TooManyFields(100),
        HandshakeError::WrongUpgrade("h2c".into()),
        HandshakeError::UnexpectedProtocol("mqtt".into()),
    ] {
        says_nothing_twice(&error);
    }
}

#[test]
fn uri_errors_say_nothing_twice() {
    for text in ["", "http://h", "ftp://h", "ws://h/#", "ws://", "ws://[x]", "ws://h:0", "ws://h h", "ws://h%"] {
        says_nothing_twice(&text.parse::<Uri>().unwrap_err());
    }
    says_nothing_twice(&UriError::RequestTarget);
}

#[test]
fn refusals_say_nothing_twice() {
    let request = Request::upgrade("/").with_header("Origin", "http://a").unwrap();
    let choice = Accept::new().protocol("mqtt");
    for request in [request, Request::upgrade("/"), Request::get("/")] {
        says_nothing_twice(&request.accept(&choice, Config::default().into(), Time::ZERO).unwrap_err());
    }
    says_nothing_twice(&AcceptError::Refused(Refusal::Key.into()));
    says_nothing_twice(&Refused::from(Refusal::Host));
    says_nothing_twice(&Refusal::Extensions);
}

fn outer() -> Outer {
    Outer(io::Error::other("inner"))
}

fn chain(error: &dyn StdError) -> Vec<String> {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect()
}

#[test]
fn an_error_of_a_connection_says_each_cause_once() {
    let outer = || Arc::new(outer());
    assert_eq!(chain(&Error::Transport(outer())), ["the transport failed: outer", "inner"]);
    assert_eq!(chain(&Error::Callback(outer())), ["a callback failed: outer", "inner"]);
    assert_eq!(chain(&Error::Decode(outer())), ["a message could not be decoded: outer", "inner"]);
    assert_eq!(chain(&Error::Panicked("oh".into())), ["a callback panicked: oh"]);
    assert_eq!(chain(&Error::Violation(Violation::NotMasked)), ["client frame not masked"]);
    assert_eq!(chain(&Error::Timeout(Timeout::Idle)), ["connection idle timeout"]);
    assert_eq!(chain(&SendError::Closed), ["the connection is closed"]);
}

#[test]
fn an_error_of_a_typed_send_says_each_cause_once() {
    let encode = TypedSendError::Encode(outer().into());
    assert_eq!(chain(&encode), ["the message could not be encoded: outer", "inner"]);
    assert_eq!(chain(&TypedSendError::Send(SendError::Closed)), ["the connection is closed"]);
}

#[test]
fn an_error_of_a_stream_says_each_cause_once() {
    let transport = || Error::Transport(Arc::new(outer()));
    let expected = ["the transport failed: outer", "inner"];
    assert_eq!(chain(&StreamError::Connection(transport())), expected);
    assert_eq!(chain(&StreamError::Send(SendError::Closed)), ["the connection is closed"]);
    assert_eq!(chain(&TypedStreamError::Connection(transport())), expected);
    assert_eq!(chain(&TypedStreamError::Send(SendError::Closed)), ["the connection is closed"]);
    let boxed = || BoxError::from(outer());
    let expected = ["a message could not be decoded: outer", "inner"];
    assert_eq!(chain(&TypedStreamError::Decode(boxed())), expected);
    assert_eq!(chain(&TypedStreamError::Encode(boxed())), ["the message could not be encoded: outer", "inner"]);
}

#[test]
fn the_peer_and_the_program_are_told_in_words_of_their_own() {
    let told = |error: Error| error.close_code().unwrap();
    for (error, said, code, reason) in [
        (Violation::ReservedOpcode(3).into(), "reserved opcode: 0x3", 1002, "Reserved opcode: 0x3"),
        (Violation::TextNotUtf8.into(), "text message not UTF-8", 1007, "Text message not UTF-8"),
        (Timeout::Keepalive.into(), "keepalive ping timeout", 1011, "Keepalive Ping Timeout"),
        (Error::SlowReader, "too much unread output", 1013, "Too much unread output"),
        (Error::Callback(Arc::new(outer())), "a callback failed: outer", 1011, "Unexpected Error"),
    ] {
        assert_eq!(error.to_string(), said);
        assert_eq!(told(error), (CloseCode(code), reason.to_string()));
    }
}

#[test]
fn a_refusal_has_the_servers_answer_and_no_other_error_has() {
    let error = ConnectError::from(refused());
    assert_eq!(error.response().map(|answer| (answer.status(), answer.body())), Some((403, &b"no"[..])));
    assert!(ConnectError::from(HandshakeError::Eof).response().is_none());
    assert!(ConnectError::Timeout(Phase::Handshake).response().is_none());
}

#[test]
fn an_end_is_printed_with_all_of_its_parts_and_escaped() {
    let end = |closed: Closed| closed.to_string();
    assert_eq!(end(Closed::clean(1000, "", ClosedBy::Local)), "1000, closed by this side");
    assert_eq!(end(Closed::clean(4000, "a\n\"b\"", ClosedBy::Peer)), r#"4000 "a\n\"b\"", closed by the peer"#);
    assert_eq!(end(Closed::failed(1002, "Masked")), r#"1002 "Masked", broken off by this side"#);
    assert_eq!(end(Closed::abnormal(ClosedBy::Peer)), "1006, broken off by the peer");
}

#[test]
fn a_target_is_made_of_any_string() {
    let url = String::from("ws://h/");
    let borrowed = &url.as_str();
    for target in [Target::new(&url), Target::new(url.as_str()), Target::new(url.clone()), Target::new(borrowed)] {
        assert_eq!(target.unwrap().uri().to_string(), url);
    }
}
