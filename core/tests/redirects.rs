//! Redirects: where a client goes that is sent elsewhere, what it takes along, and when it stops.

use std::error::Error;

use bellwire_core::backend::Redirects;
use bellwire_core::proto::client::{Handshake, RedirectError, RedirectErrorKind};
use bellwire_core::proto::{Time, UriError};
use bellwire_core::{ConnectError, Target, TlsError};
use proptest::prelude::*;

/// How an answer arrives: in pieces of this many bytes, after a first one of another size.
#[derive(Clone, Copy)]
struct Cut(usize, usize);

/// Sends one request and reads its answer: the head that was sent, and the error that came of it, if any.
fn ask(target: &Target, answer: &[u8], Cut(first, others): Cut) -> (String, Result<(), ConnectError>) {
    let entropy = Box::new(|bytes: &mut [u8]| bytes.copy_from_slice(b"the sample nonce"));
    let mut handshake = Handshake::new(target, entropy, Time::ZERO);
    let head = String::from_utf8(handshake.output().to_vec()).unwrap();
    let (start, rest) = answer.split_at(first.min(answer.len()));
    for piece in [start].into_iter().chain(rest.chunks(others)) {
        if let Some(result) = handshake.receive(Time::ZERO, &mut &mut piece.to_vec()[..]) {
            return (head, result.map(drop).map_err(ConnectError::from));
        }
    }
    (head, Err(handshake.receive_eof().into()))
}

/// Follows redirects as a loop that connects does, asking what the answers are for. Returns what was asked.
fn connect_cut(target: &Target, answers: &[String], cut: Cut) -> (Vec<String>, Result<(), ConnectError>) {
    let (mut target, mut redirects, mut asked) = (target.clone(), Redirects::new(), Vec::new());
    for answer in answers {
        let (head, result) = ask(&target, answer.as_bytes(), cut);
        asked.push(format!("{} {head}", target.uri()));
        let Err(error) = result else { return (asked, Ok(())) };
        match redirects.follow(&target, error) {
            Ok(next) => target = next,
            Err(error) => return (asked, Err(error)),
        }
    }
    panic!("another request to {:?}", target.uri());
}

/// The same with the answers whole, cut at each point, and byte by byte.
fn connect(target: &Target, answers: &[String]) -> (Vec<String>, Result<(), ConnectError>) {
    let whole = connect_cut(target, answers, Cut(usize::MAX, 1));
    let longest = answers.iter().map(String::len).max().unwrap();
    // Of a very long one not at each.
    for cut in (0..longest).step_by(longest / 1000 + 1).map(|at| Cut(at, usize::MAX)).chain([Cut(1, 1)]) {
        assert_eq!(format!("{:?}", connect_cut(target, answers, cut)), format!("{whole:?}"), "{}", cut.0);
    }
    whole
}

fn to(location: &str) -> String {
    status(302, location)
}

fn status(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: 2\r\n\r\nno")
}

fn welcome() -> String {
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        .into()
}

fn target(url: &str) -> Target {
    Target::new(url).unwrap().redirects(5)
}

/// The lines of a request whose header has this name, in any case.
fn sent<'a>(head: &'a str, name: &str) -> Vec<&'a str> {
    let value = |line: &'a str| line.split_once(": ").filter(|(other, _)| other.eq_ignore_ascii_case(name));
    head.lines().filter_map(value).map(|(_, value)| value).collect()
}

fn error(target: &Target, answers: &[String]) -> RedirectError {
    match connect(target, answers).1 {
        Err(ConnectError::Redirect(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn u15_no_redirect_is_followed_unless_the_program_asks_for_it() {
    let target = Target::new("ws://a/").unwrap();
    let (asked, result) = connect(&target, &[to("/b")]);
    let error = result.unwrap_err();
    assert_eq!((asked.len(), error.response().map(|response| response.status())), (1, Some(302)));
    assert!(matches!(error, ConnectError::Handshake(_)), "{error:?}");
    assert!(error.to_string().contains("Target::redirects"), "{error}");
    assert!(connect(&target.clone().redirects(1), &[to("/b"), welcome()]).1.is_ok());
    let (_, result) = connect(&target.redirects(1).redirects(0), &[to("/b")]);
    assert!(matches!(result, Err(ConnectError::Handshake(_))));
}

#[test]
fn u15_five_statuses_with_a_location_are_redirects() {
    for code in [301, 302, 303, 307, 308] {
        let (asked, result) = connect(&target("ws://a/x/y?z"), &[status(code, "../w"), welcome()]);
        assert!(result.is_ok(), "{code}");
        assert!(asked[1].starts_with("ws://a/w GET /w HTTP/1.1\r\nHost: a\r\n"), "{}", asked[1]);
    }
    for code in [200, 300, 304, 305, 306, 401, 426, 503] {
        let (_, result) = connect(&target("ws://a/"), &[status(code, "/b")]);
        assert_eq!(result.unwrap_err().response().unwrap().status(), code);
    }
    let without = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_owned();
    assert!(matches!(connect(&target("ws://a/"), &[without]).1, Err(ConnectError::Handshake(_))));
}

#[test]
fn u15_what_is_no_redirect_comes_back_at_the_end_of_the_way() {
    let refusal = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_owned();
    let (asked, result) = connect(&target("ws://a/"), &[to("/b"), refusal]);
    let error = result.unwrap_err();
    assert_eq!((asked.len(), error.response().unwrap().status()), (2, 401));
    assert!(matches!(error, ConnectError::Handshake(_)));
    let (_, result) = connect(&target("ws://a/"), &[to("/b"), "SSH-2.0-x\r\n\r\n".into()]);
    assert!(matches!(result, Err(ConnectError::Handshake(_))));
    let mut redirects = Redirects::new();
    assert!(matches!(
        redirects.follow(&target("ws://a/"), ConnectError::Tls(TlsError::Eof)),
        Err(ConnectError::Tls(TlsError::Eof))
    ));
}

#[test]
fn u15_nobody_waits_for_the_body_of_what_is_followed() {
    let answered = |target: &Target, answer: &[u8]| {
        let mut handshake = Handshake::new(target, Box::new(|bytes: &mut [u8]| bytes.fill(0)), Time::ZERO);
        let result = handshake.receive(Time::ZERO, &mut &mut answer.to_vec()[..]);
        assert_eq!(handshake.poll_timeout().is_none(), result.is_some());
        result.is_some()
    };
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 100\r\n\r\n";
    assert!(answered(&target("ws://a/"), redirect) && !answered(&Target::new("ws://a/").unwrap(), redirect));
    let refusal = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\n";
    assert!(!answered(&target("ws://a/"), refusal));
}

#[test]
fn u15_http_is_ws_and_https_is_wss() {
    for (location, uri, host) in [
        ("http://b/x", "ws://b/x", "b"),
        ("https://b/x", "wss://b/x", "b"),
        ("HTTPS://b:8443/", "wss://b:8443/", "b:8443"),
        ("wss://b:443", "wss://b/", "b"),
        ("//b:81/x?y#z", "ws://b:81/x?y", "b:81"),
        ("/é{}?\"", "ws://a:9/%C3%A9%7B%7D?%22", "a:9"),
        ("", "ws://a:9/c/d?e", "a:9"),
    ] {
        let from = target("ws://a:9/c/d?e");
        if location.is_empty() {
            assert_eq!(*error(&from, &[to(location)]).kind(), RedirectErrorKind::Loop, "to where it was asked");
            continue;
        }
        let (asked, result) = connect(&from, &[to(location), welcome()]);
        assert!(result.is_ok(), "{location}");
        assert!(asked[1].starts_with(&format!("{uri} GET ")), "{location}: {}", asked[1]);
        assert_eq!(sent(&asked[1], "Host"), [host], "{location}");
    }
}

#[test]
fn u16_credentials_stay_with_scheme_host_and_port() {
    let loaded = |url: &str| {
        let target = target(url).header("cookie", "a=42").unwrap().header("Proxy-Authorization", "Basic 42").unwrap();
        target.header("Cookie", "b=42").unwrap().header("X-Own", "1").unwrap().protocol("mqtt").unwrap()
    };
    let bearer = |url: &str| loaded(url).header("AUTHORIZATION", "Bearer 42").unwrap();
    for (target, location, kept) in [
        (bearer("ws://a/"), "/b", true),
        (bearer("ws://a/"), "ws://A:80/b", true),
        (bearer("wss://a/"), "https://a:443/b", true),
        (loaded("ws://u:42@a/"), "?x", true),
        (bearer("ws://a/"), "//a:81/", false),
        (bearer("ws://a/"), "//b/", false),
        (bearer("ws://a/"), "wss://a/", false),
        (bearer("ws://a:443/"), "wss://a/", false),
        (bearer("ws://a/"), "//a.b/", false),
        (loaded("ws://u:42@a/"), "//b/", false),
    ] {
        let (asked, result) = connect(&target, &[to(location), welcome()]);
        assert!(result.is_ok());
        for name in ["Authorization", "Cookie", "Proxy-Authorization"] {
            assert!(!sent(&asked[0], name).is_empty(), "{location}");
            assert_eq!(sent(&asked[0], name) == sent(&asked[1], name), kept, "{location} {name}");
            assert_eq!(sent(&asked[1], name).is_empty(), !kept, "{location} {name}");
        }
        assert_eq!(asked[1].contains("42"), kept, "{location}");
        assert_eq!((sent(&asked[1], "X-Own"), sent(&asked[1], "Sec-WebSocket-Protocol")), (vec!["1"], vec!["mqtt"]));
        assert_eq!(sent(&asked[1], "User-Agent"), sent(&asked[0], "User-Agent"));
    }
    let (asked, _) = connect(&bearer("ws://a/"), &[to("/b"), to("//b/"), to("http://a/c"), welcome()]);
    assert_eq!(
        asked.iter().map(|head| head.contains("42")).collect::<Vec<_>>(),
        [true, true, false, false],
        "what was dropped does not come back"
    );
}

#[test]
fn u16_a_request_target_is_for_the_first_url() {
    for (request_target, location, uri) in [
        ("/raw{1}/x?y=[", "z", "ws://a/raw%7B1%7D/z"),
        ("/raw#1?y", "?z", "ws://a/raw%231?z"),
        ("http://c/d/e", "f", "ws://a/d/f"),
        ("*", "f", "ws://a/f"),
    ] {
        let target = target("ws://a/b").request_target(request_target).unwrap();
        let (asked, _) = connect(&target, &[to(location), welcome()]);
        assert!(asked[0].contains(&format!("GET {request_target} HTTP/1.1\r\n")), "{}", asked[0]);
        let path = uri.strip_prefix("ws://a").unwrap();
        assert!(asked[1].starts_with(&format!("{uri} GET {path} HTTP/1.1\r\n")), "{}", asked[1]);
    }
    let target = target("ws://a/b").request_target("/c").unwrap();
    assert!(connect(&target, &[to("/b"), welcome()]).1.is_ok(), "/b was not asked for");
    assert_eq!(*error(&target, &[to("/c")]).kind(), RedirectErrorKind::Loop);
}

#[test]
fn u17_a_loop_ends_where_it_began() {
    for (url, answers, way) in [
        ("ws://a/", vec![to("/")], "ws://a/ -> ws://a/"),
        ("ws://u:p@a/", vec![to("/b"), to("ws://A:80")], "ws://a/ -> ws://a/b -> ws://A/"),
        ("ws://a/x", vec![to("//b/"), to("/c"), to("//b")], "ws://a/x -> ws://b/ -> ws://b/c -> ws://b/"),
        ("ws://a/?q", vec![to("?r"), to("?q#x")], "ws://a/?.. -> ws://a/?.. -> ws://a/?.."),
    ] {
        let error = error(&target(url), &answers);
        assert_eq!((error.kind(), error.response().status()), (&RedirectErrorKind::Loop, 302));
        assert_eq!(error.to_string(), format!("the server redirects in a circle: {way}"));
    }
    let (_, result) = connect(&target("ws://a/"), &[to("?1"), to("?2"), to("/?3"), welcome()]);
    assert!(result.is_ok(), "queries differ");
}

#[test]
fn u17_one_too_many_lists_the_way() {
    let answers: Vec<_> = (1..).map(|number| to(&format!("/{number}"))).take(20).collect();
    for most in [1, 2, 5, 19] {
        let error = error(&target("ws://a/0").redirects(most), &answers[..usize::from(most) + 1]);
        assert_eq!((error.kind(), error.way().len()), (&RedirectErrorKind::TooMany, usize::from(most) + 2));
        let paths: Vec<_> = error.way().iter().map(|uri| uri.path().to_owned()).collect();
        assert_eq!(paths, (0..most + 2).map(|number| format!("/{number}")).collect::<Vec<_>>());
        assert!(error.to_string().contains("Target::redirects"), "{error}");
    }
    let four = error(&target("ws://a/0").redirects(2), &answers[..3]).to_string();
    assert!(four.ends_with(": ws://a/0 -> ws://a/1 -> ws://a/2 -> ws://a/3"), "{four}");
    let eleven = error(&target("ws://a/0").redirects(9), &answers[..10]).to_string();
    assert!(
        eleven.ends_with("/4 -> (1 more) -> ws://a/6 -> ws://a/7 -> ws://a/8 -> ws://a/9 -> ws://a/10"),
        "{eleven}"
    );
    let ten = error(&target("ws://a/0").redirects(8), &answers[..9]).to_string();
    assert!(ten.contains("/3 -> ws://a/4 -> ws://a/5 -> ws://a/6 ->") && ten.ends_with("/9"), "{ten}");
}

#[test]
fn u17_encryption_is_not_given_up() {
    for location in ["http://a/", "ws://a:443/b", "http://b:443/"] {
        let error = error(&target("wss://a/"), &[to(location)]);
        assert_eq!((error.kind(), error.way().len()), (&RedirectErrorKind::Downgrade, 2), "{location}");
        assert!(error.to_string().contains("wss://a/ -> ws://"), "{error}");
    }
    let later = error(&target("ws://a/"), &[to("https://a/"), to("http://a/")]);
    assert_eq!(*later.kind(), RedirectErrorKind::Downgrade);
    assert!(later.to_string().ends_with(": ws://a/ -> wss://a/ -> ws://a/"), "{later}");
}

#[test]
fn u17_a_location_that_cannot_be_read_is_quoted_without_secrets() {
    use RedirectErrorKind::{Location, UserInfo};
    for (location, kind, shown) in [
        ("ftp://b/x?secret#secret", Location(UriError::Scheme("ftp".into())), r#""ftp://b/x"?.."#),
        ("https:///x", Location(UriError::NoHost), r#""https:///x""#),
        ("//b:99999/<b>\"é", Location(UriError::Port), r#""//b:99999/\x3cb\x3e\"\xc3\xa9""#),
        ("http://u:secret@b/x", UserInfo, r#""..@b/x""#),
        ("//secret@b", UserInfo, r#""..@b""#),
        ("http://%3A:secret@b", UserInfo, r#""..@b""#),
        ("http://u:secret@b:x/?secret", Location(UriError::Port), r#""..@b:x/"?.."#),
        ("http://u:secret?secret@b/", Location(UriError::Port), ".."),
        ("secret:secret@b", Location(UriError::Scheme("secret".into())), r#""..@b""#),
    ] {
        let error = error(&target("ws://a/?secret"), &[to(location)]);
        assert_eq!(*error.kind(), kind, "{location}");
        assert_eq!(error.way().len(), 1, "what could not be read is no URI");
        assert!(error.to_string().ends_with(&format!(": ws://a/?.. -> {shown}")), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        if !location.starts_with("secret:") {
            assert!(!format!("{error:?} {error:#?}").contains("secret"), "{error:?}");
        }
    }
    let long = error(&target("ws://a/"), &[to(&format!("x:{}", "y".repeat(5000)))]);
    assert!(long.to_string().len() < 300, "{long}");
    let source = error(&target("ws://a/"), &[to("ftp://b/")]);
    assert!(source.source().unwrap().is::<UriError>());
}

#[test]
fn u17_several_locations_are_one_if_they_are_the_same() {
    let twice = |first: &str, second: &str| {
        format!("HTTP/1.1 302 Found\r\nLocation: {first}\r\nlocation: {second}\r\nContent-Length: 0\r\n\r\n")
    };
    assert!(connect(&target("ws://a/"), &[twice("/b", "/b"), welcome()]).1.is_ok());
    let error = error(&target("ws://a/"), &[twice("/b?x", "/c")]);
    assert_eq!(*error.kind(), RedirectErrorKind::Repeated);
    assert!(error.to_string().ends_with(": ws://a/ -> \"/b\"?.., .."), "{error}");
}

#[test]
fn u17_texts_of_a_way_are_short_and_have_no_queries() {
    let long = format!("/{}?secret=1", "x".repeat(3000));
    let error = error(&target("ws://u:secret@a/?secret=1").redirects(1), &[to("/b?secret=1"), to(&long)]);
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("secret") && text.len() < 500, "{text}");
        assert!(text.contains("ws://a/?.. -> ws://a/b?.. -> ws://a/xxx"), "{text}");
    }
    assert_eq!(error.way()[1].resource(), "/b?secret=1", "the program sees them");
    let error = ConnectError::Redirect(error);
    assert!(!format!("{error:?} {error}").contains("secret"));
}

#[test]
fn u17_bytes_that_are_no_utf8_are_encoded() {
    let mut redirects = Redirects::new();
    let answer = [&b"HTTP/1.1 302 Found\r\nLocation: /caf\xe9?\xc3\xa9\r\nContent-Length: 0\r\n\r\n"[..]].concat();
    let error = ask(&target("ws://a/"), &answer, Cut(usize::MAX, 1)).1.unwrap_err();
    let next = redirects.follow(&target("ws://a/"), error).unwrap();
    assert_eq!(next.uri().resource(), "/caf%E9?%C3%A9");
}

proptest! {
    #[test]
    fn u17_no_location_leaves_the_way_or_splits_the_request(location in "[ -~é]{0,40}", base in "[a-z/?]{0,9}") {
        for location in [location.clone(), format!("//{location}"), format!("https://b/{location}"), format!("http:{location}")] {
            let target = target(&format!("wss://a/{base}")).header("Cookie", "a=1").unwrap();
            let answer = to(&location);
            let error = ask(&target, answer.as_bytes(), Cut(usize::MAX, 1)).1.unwrap_err();
            match Redirects::new().follow(&target, error) {
                Ok(next) => {
                    prop_assert!(next.uri().is_secure());
                    let head = ask(&next, b"", Cut(0, 1)).0;
                    prop_assert_eq!(head.matches("\r\n\r\n").count(), 1);
                    prop_assert!(head.is_ascii());
                    let is_same = next.uri().host().eq_ignore_ascii_case("a") && next.uri().port() == 443;
                    prop_assert_eq!(head.contains("Cookie"), is_same, "{} {}", location, head);
                }
                Err(ConnectError::Redirect(error)) => prop_assert!(error.to_string().len() < 1000),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }
    }
}
