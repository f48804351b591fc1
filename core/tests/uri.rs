//! URLs as browsers read them, and what a client makes of them on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bellwire_core::proto::client::Handshake;
use bellwire_core::proto::{Time, Uri, UriError};
use bellwire_core::{ConnectError, Target};
use proptest::prelude::*;

fn resource(text: &str) -> String {
    text.parse::<Uri>().unwrap_or_else(|error| panic!("{text:?}: {error}")).resource().to_owned()
}

/// The bytes of the request.
fn bytes(target: &Target) -> Vec<u8> {
    let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(0));
    Handshake::new(target, entropy, Time::ZERO).output().to_vec()
}

/// The values of a header in a head.
fn values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).collect()
}

fn head(target: &Target) -> String {
    String::from_utf8(bytes(target)).unwrap()
}

#[test]
fn u7_paths_and_queries_are_encoded_as_browsers_do() {
    // What `new URL(..)` of Node 20 says, but for `^`, which the standard has encoded in paths since.
    for (text, expected) in [
        ("/?a=[1|2]", "/?a=[1|2]"),
        ("/?{\"a\":1}", "/?{%22a%22:1}"),
        ("/{a}|[b]`^", "/%7Ba%7D|[b]%60%5E"),
        ("/?{a}|[b]`^", "/?{a}|[b]`^"),
        ("/é/中?😀=ß", "/%C3%A9/%E4%B8%AD?%F0%9F%98%80=%C3%9F"),
        ("/a b?c d", "/a%20b?c%20d"),
        ("/'\"<>", "/'%22%3C%3E"),
        ("/?'\"<>", "/?%27%22%3C%3E"),
        ("/ABC%s0A%", "/ABC%s0A%"),
        ("/%41%c3%A9%00?%20%", "/%41%c3%A9%00?%20%"),
        ("/\u{1}\u{7f}?\u{1}\u{7f}", "/%01%7F?%01%7F"),
        ("/a/../b/./c", "/b/c"),
        ("/a/%2e%2E/b/%2e", "/b/"),
        ("/../../a/..", "/"),
        ("/...", "/..."),
        ("/?../a", "/?../a"),
        ("\\a\\b?c\\d", "/a/b?c\\d"),
        ("?a/b", "/?a/b"),
        ("/a\t\r\n/b", "/a/b"),
        ("", "/"),
        ("/?", "/"),
        ("/??", "/??"),
    ] {
        assert_eq!(resource(&format!("ws://h{text}")), expected, "{text:?}");
        let target = Target::new(format!(" ws://h{text}\n")).unwrap();
        assert!(head(&target).starts_with(&format!("GET {expected} HTTP/1.1\r\nHost: h\r\n")), "{text:?}");
    }
}

#[test]
fn u8_a_request_target_is_sent_as_it_is() {
    for target in ["/{a}|^`\"<>\\?'é", "*", "http://h/x", "/%", "#"] {
        let asked = Target::new("ws://h/other?x").unwrap().request_target(target).unwrap();
        assert!(bytes(&asked).starts_with(&[b"GET ", target.as_bytes(), b" HTTP/1.1\r\nHost: h\r\n"].concat()));
    }
    let target = Target::new("ws://h/").unwrap().request_target(b"/\xff\x80").unwrap();
    assert!(bytes(&target).starts_with(b"GET /\xff\x80 HTTP/1.1\r\n"), "bytes need not be UTF-8");
    for target in ["", " ", "/a b", "/a HTTP/1.1\r\nX: y\r\n\r\nGET /b", "/\n", "/\r", "/\0", "/\t", "/\x7f"] {
        let error = Target::new("ws://h/").unwrap().request_target(target).unwrap_err();
        assert!(matches!(error, ConnectError::Url(UriError::RequestTarget)), "{target:?}");
    }
}

#[test]
fn u9_a_user_and_a_password_are_basic_credentials() {
    // RFC 7617 §2 has the first for an example.
    for (user_info, plain) in [
        ("Aladdin:open%20sesame", &b"Aladdin:open sesame"[..]),
        ("user", b"user:"),
        (":pw", b":pw"),
        ("u:p:q", b"u:p:q"),
        ("u:p@q", b"u:p@q"),
        ("%C3%A9:%e4", b"\xc3\xa9:\xe4"),
        ("100%:%zz", b"100%:%zz"),
        ("é:ß", "é:ß".as_bytes()),
    ] {
        let head = head(&Target::new(format!("ws://{user_info}@h:81/x")).unwrap());
        let sent = values(&head, "Authorization");
        let [basic] = sent[..] else { panic!("{sent:?}") };
        let decoded = STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(decoded, plain, "{user_info}");
        assert_eq!(values(&head, "Host"), ["h:81"]);
    }
    assert_eq!(
        values(&head(&Target::new("ws://Aladdin:open%20sesame@h").unwrap()), "Authorization"),
        ["Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]
    );
    let given = Target::new("ws://u:p@h").unwrap().header("authorization", "Bearer x").unwrap();
    let given = head(&given);
    assert!(
        given.contains("authorization: Bearer x\r\n") && !given.contains("Basic"),
        "the program's own wins: {given}"
    );
    for nothing in ["ws://h", "ws://@h", "ws://:@h"] {
        assert!(!head(&Target::new(nothing).unwrap()).contains("Authorization"), "{nothing}");
    }
}

#[test]
fn u10_the_user_agent_is_bellwires_unless_it_is_set_or_dropped() {
    let own = concat!("bellwire/", env!("CARGO_PKG_VERSION"));
    let target = || Target::new("ws://h").unwrap();
    assert_eq!(values(&head(&target()), "User-Agent"), [own]);
    let set = target().header("User-Agent", "feed/1").unwrap().header("USER-AGENT", "feed/2").unwrap();
    assert_eq!((values(&head(&set), "User-Agent").len(), values(&head(&set), "USER-AGENT")), (0, vec!["feed/2"]));
    for nothing in ["", " \t"] {
        let dropped = head(&target().header("user-agent", nothing).unwrap());
        assert!(!dropped.to_lowercase().contains("user-agent"), "{dropped}");
    }
    assert!(target().header("User-Agent", "a\r\nb").is_err());
}

proptest! {
    #[test]
    fn u7_no_text_splits_the_request(text in any::<String>(), tail in "[ -~é\r\n\t\0]{0,20}") {
        for url in [text.clone(), format!("ws://h/{text}"), format!("ws://h?{text}"), format!("ws://{text}/{tail}")] {
            let Ok(uri) = url.parse::<Uri>() else { continue };
            prop_assert!(uri.resource().starts_with('/'));
            prop_assert!(uri.resource().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'), "{uri:?}");
            let again: Uri = uri.to_string().parse().unwrap();
            prop_assert_eq!(again.resource(), uri.resource());
            prop_assert_eq!(again.to_string(), uri.to_string());
            let target = Target::from(uri.clone());
            let head = head(&target);
            let first = format!("GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n", uri.resource(), uri.host_header());
            prop_assert!(head.starts_with(&first), "{head}");
            prop_assert_eq!(head.matches("\r\n\r\n").count(), 1);
            // Seven lines, one more for credentials, and the blank one.
            prop_assert_eq!(head.matches('\n').count(), 8 + head.matches("Authorization").count(), "{}", head);
        }
    }

    #[test]
    fn u7_what_may_stand_in_a_path_or_query_stays(path in "[!$%&'()*+,\\-0-9:;=@A-Z\\[\\]_a-z|~]{1,30}", query in "[!$%&()*+,./0-9:;=?@A-Z\\[\\]\\\\^_`a-z{|}~-]{1,30}") {
        prop_assert_eq!(resource(&format!("ws://h/{path}?{query}")), format!("/{path}?{query}"));
    }

    #[test]
    fn u7_what_is_encoded_means_what_was_written(text in any::<String>()) {
        let text = text.replace(['%', '#', '?', '/', '\\', '\t', '\r', '\n', '.'], "");
        let encoded = resource(&format!("ws://h/{text}x?{text}x"));
        let (path, query) = encoded.split_once('?').unwrap();
        for part in [&path[1..], query] {
            prop_assert_eq!(decoded(part), format!("{text}x"));
        }
    }

    #[test]
    fn u8_a_request_target_passes_if_and_only_if_it_cannot_split(target in prop::collection::vec(any::<u8>(), 0..20)) {
        let splits = target.is_empty() || target.iter().any(|&byte| byte <= b' ' || byte == 0x7f);
        match Target::new("ws://h").unwrap().request_target(&target) {
            Err(error) => prop_assert!(splits && matches!(error, ConnectError::Url(UriError::RequestTarget))),
            Ok(asked) => {
                prop_assert!(!splits);
                let bytes = bytes(&asked);
                prop_assert!(bytes.starts_with(&[b"GET ", &target[..], b" HTTP/1.1\r\nHost: h\r\n"].concat()));
            }
        }
    }

    #[test]
    fn u9_credentials_are_never_shown(user in "[a-z]{8}", password in "[A-Z0-9]{12}", path in "[a-z?#]{0,3}", host in "h|h:0|\\[x\\]|", scheme in "ws|wss|http|ws+|") {
        let url = format!("{scheme}://{user}:{password}@{host}/{path}");
        let mut shown = vec![];
        match url.parse::<Uri>() {
            Err(error) => shown.extend([format!("{error}"), format!("{error:?}")]),
            Ok(uri) => {
                let target = Target::from(uri.clone());
                let entropy = Box::new(|bytes: &mut [u8]| bytes.fill(0));
                let handshake = Handshake::new(&target, entropy, Time::ZERO);
                shown.extend([format!("{uri}"), format!("{uri:?} {target:?} {target:#?} {handshake:?}")]);
            }
        }
        match Target::new(&url) {
            Err(error) => shown.extend([format!("{error}"), format!("{error:?}")]),
            Ok(target) => shown.push(format!("{target:?}")),
        }
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        for text in shown {
            prop_assert!(!text.contains(&password) && !text.contains(&user) && !text.contains(&encoded), "{}", text);
        }
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        match (first, behind) {
            (b'%', [high, low, behind @ ..]) => {
                bytes.push(u8::from_str_radix(core::str::from_utf8(&[*high, *low]).unwrap(), 16).unwrap());
                rest = behind;
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
