//! What a client shows to be let in, and what a server makes of it: passwords, tokens, cookies.

use std::sync::Arc;

use bellwire_core::proto::client::{self, InvalidCredentials};
use bellwire_core::proto::{Time, server};
use bellwire_core::{Config, ConnectError, Request, Target};
use proptest::prelude::*;

fn target() -> Target {
    Target::new("ws://Aladdin:open%20sesame@h/").unwrap()
}

/// The bytes of the request.
fn head(target: &Target) -> String {
    let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(0));
    String::from_utf8(client::Handshake::new(target, entropy, Time::ZERO).output().to_vec()).unwrap()
}

/// The lines of the request that have credentials.
fn sent(target: &Target) -> Vec<String> {
    let is_one = |line: &&str| line.starts_with("Authorization") || line.to_lowercase().starts_with("cookie");
    head(target).lines().filter(is_one).map(str::to_owned).collect()
}

/// What the server of this client reads.
fn received(target: &Target) -> Request {
    let mut head = head(target).into_bytes();
    server::Handshake::new(Arc::new(Config::default()), Time::ZERO).receive(&mut &mut head[..]).unwrap().unwrap()
}

fn error(result: Result<Target, ConnectError>) -> InvalidCredentials {
    match result {
        Err(ConnectError::Credentials(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn u18_the_last_authorization_counts() {
    let basic = |target: Target| target.basic_auth("Aladdin", "open sesame").unwrap();
    let bearer = |target: Target| target.bearer("mF_9.B5f-4.1JqM==").unwrap();
    let own = |target: Target| target.header("Authorization", "Own").unwrap();
    let plain = || Target::new("ws://h/").unwrap();
    for (target, value) in [
        (basic(plain()), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (bearer(target()), "Bearer mF_9.B5f-4.1JqM=="),
        (basic(bearer(own(plain()))), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        (own(bearer(basic(target()))), "Own"),
        (plain().basic_auth("", "").unwrap(), "Basic Og=="),
        (plain().basic_auth("test", "123£").unwrap(), "Basic dGVzdDoxMjPCow=="),
    ] {
        assert_eq!(sent(&target), [format!("Authorization: {value}")]);
    }
    assert!(sent(&basic(target()).header("authorization", "").unwrap()).is_empty());
}

#[test]
fn u18_cookies_are_sent_in_one_header() {
    let target = Target::new("ws://h/").unwrap().cookie("a", "1").unwrap().cookie("b", "\"2\"").unwrap();
    assert_eq!(sent(&target), ["Cookie: a=1; b=\"2\""]);
    let again = target.clone().cookie("a", "3").unwrap().header("COOKIE", "c=x y;d").unwrap();
    assert_eq!(sent(&again), ["Cookie: b=\"2\"; a=3; c=x y;d"]);
    let more = again.cookie("c", String::new()).unwrap();
    assert_eq!(sent(&more), ["Cookie: b=\"2\"; a=3; d; c="]);
    let own = Target::new("ws://h/").unwrap().header("cookie", "a=1;b=2").unwrap();
    assert_eq!(sent(&own), ["cookie: a=1;b=2"], "one's own is sent as it is");
    let other = own.header("Cookie2", "$Version=1").unwrap();
    assert_eq!(sent(&other), ["cookie: a=1;b=2", "Cookie2: $Version=1"]);
}

#[test]
fn u18_what_cannot_be_sent_is_an_error_that_does_not_show_it() {
    for (user, password) in [("secret:", "x"), ("secret\n", "x"), ("x", "secret\0"), ("x\x7f", "secret"), ("\t", "")] {
        assert_eq!(error(target().basic_auth(user, password)), InvalidCredentials::Basic);
    }
    for token in ["", "=", "secret secret", "secret\r\nX: y", "sécret", "secret:", "a=secret", "\"secret\""] {
        assert_eq!(error(target().bearer(token)), InvalidCredentials::Bearer, "{token:?}");
    }
    for name in ["", "a=b", "secret secret", "a;", "é", "a\r\n", "\"a\""] {
        assert_eq!(error(target().cookie(name, "secret")), InvalidCredentials::CookieName, "{name:?}");
    }
    for value in [" ", "secret; b=1", "secret, b", "\"secret", "se\"cret", "secret\\", "sécret", "secret\r\nX: y"] {
        assert_eq!(error(target().cookie("a", value)), InvalidCredentials::CookieValue, "{value:?}");
        let error = target().cookie("a", value).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn u18_no_credential_is_printed() {
    let target = target().cookie("a", "secret").unwrap();
    for target in [target.clone().basic_auth("user", "secret").unwrap(), target.bearer("secret").unwrap()] {
        let shown = format!("{target:?} {target:#?}");
        assert!(!["secret", "dXNlcjpzZWNyZXQ", "user:"].iter().any(|secret| shown.contains(secret)), "{shown}");
    }
}

proptest! {
    #[test]
    fn u18_u19_the_server_reads_what_the_client_has_sent(
        user in any::<String>(), password in any::<String>(), token in any::<String>(), valid in "[ -~]{0,9}",
        name in any::<String>(), value in "[ -~é\"]{0,9}",
    ) {
        if let Ok(target) = target().basic_auth(&user, &password) {
            let request = received(&target);
            let auth = request.basic_auth().unwrap();
            prop_assert_eq!((auth.user(), auth.password()), (&*user, &*password));
            prop_assert!(auth.matches(&user, &password) && request.headers().values("Authorization").count() == 1);
        }
        for token in [token, valid] {
            if let Ok(target) = target().bearer(&token) {
                prop_assert!(received(&target).bearer().unwrap().matches(&token));
            }
        }
        for name in [&*name, "a", "B!"] {
            if let Ok(target) = target().cookie(name, &value) {
                let request = received(&target);
                prop_assert_eq!(request.cookies().collect::<Vec<_>>(), [(name, value.trim_matches('"'))]);
                prop_assert_eq!(request.cookie(name), Some(value.trim_matches('"')));
            }
        }
    }

    #[test]
    fn u19_no_credentials_break_a_server(authorization in "[ -~é]{0,30}", cookie in any::<Vec<u8>>(), query in "[!-~]{0,20}") {
        let mut request = Request::get(format!("/?{query}"));
        let _ = request.headers_mut().append("Authorization", format!("Basic {authorization}"));
        let _ = request.headers_mut().append("Cookie", cookie);
        let _ = (request.basic_auth(), request.bearer());
        for (name, _) in request.cookies() {
            prop_assert!(!name.is_empty() && request.cookie(name).is_some());
        }
        prop_assert!(request.query_pairs().count() <= query.len());
    }
}
