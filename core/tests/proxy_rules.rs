//! Which proxy a URL is reached through, as variables of the environment say it.

use bellwire_core::proto::Uri;
use bellwire_core::proto::client::{InvalidProxy, ProxyError, ProxyRules};
use bellwire_core::{ConnectError, Proxy, Target};

fn rules(variables: &[(&str, &str)]) -> Result<ProxyRules, ProxyError> {
    let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
    ProxyRules::from_variables(|name| find(name).map(|(_, value)| (*value).into()))
}

/// The proxy for a URI.
fn through(variables: &[(&str, &str)], uri: &str) -> Option<String> {
    let rules = rules(variables).unwrap();
    rules.proxy_for(&uri.parse::<Uri>().unwrap()).map(ToString::to_string)
}

#[test]
fn u22_variables_are_for_a_scheme_or_for_all() {
    for (variables, secure, plain) in [
        (&[][..], None, None),
        (&[("https_proxy", "http://a")], Some("http://a:80"), None),
        (&[("HTTPS_PROXY", "socks5h://a")], Some("socks5h://a:1080"), None),
        (&[("https_proxy", "http://a"), ("HTTPS_PROXY", "http://b")], Some("http://a:80"), None),
        (&[("https_proxy", " "), ("HTTPS_PROXY", "http://b")], Some("http://b:80"), None),
        (&[("http_proxy", "https://a:1")], None, Some("https://a:1")),
        // In a CGI program that is a header.
        (&[("HTTP_PROXY", "http://a")], None, None),
        (&[("all_proxy", "http://a")], Some("http://a:80"), Some("http://a:80")),
        (&[("ALL_PROXY", "http://a"), ("http_proxy", "http://b")], Some("http://a:80"), Some("http://b:80")),
        (&[("HTTPS_PROXY", "http://a"), ("all_proxy", "http://b")], Some("http://a:80"), Some("http://b:80")),
        (&[("https_proxy", "a:3128")], Some("http://a:3128"), None),
        (&[("https_proxy", " user:secret@a\n")], Some("http://a:80"), None),
        (&[("https_proxy", "[::1]:3128")], Some("http://[::1]:3128"), None),
    ] {
        assert_eq!(through(variables, "wss://h").as_deref(), secure, "{variables:?}");
        assert_eq!(through(variables, "ws://h").as_deref(), plain, "{variables:?}");
    }
}

#[test]
fn u22_what_no_proxy_names_is_reached_directly() {
    for (list, direct, proxied) in [
        ("*", &["wss://h", "ws://[::1]", "ws://10.0.0.1"][..], &[][..]),
        ("a.org,*", &["wss://h"], &[]),
        ("", &[], &["wss://h"]),
        (" , ,", &[], &["wss://h"]),
        ("a.org", &["ws://a.org", "wss://A.ORG.", "ws://x.y.a.org:81"], &["ws://ba.org", "ws://a.org.b", "ws://org"]),
        (".A.org", &["ws://a.org", "ws://x.a.org"], &["ws://xa.org"]),
        ("*.a.org", &["ws://a.org", "ws://x.a.org"], &["ws://xa.org"]),
        ("a.org.", &["ws://a.org", "ws://x.a.org."], &["ws://xa.org"]),
        ("x, a.org b.org\tc.org", &["ws://a.org", "ws://b.org", "ws://c.org", "ws://x"], &["ws://d.org"]),
        ("a.org:8080", &["ws://a.org:8080", "wss://x.a.org:8080"], &["ws://a.org", "wss://a.org"]),
        ("a.org:443", &["wss://a.org"], &["ws://a.org"]),
        ("10.0.0.1", &["ws://10.0.0.1", "ws://[::ffff:10.0.0.1]"], &["ws://10.0.0.10", "ws://x.10.0.0.1.org"]),
        ("10.0.0.1:80", &["ws://10.0.0.1"], &["wss://10.0.0.1"]),
        // No suffix of an address is a domain.
        ("1,0.1", &[], &["ws://10.0.0.1"]),
        ("10.0.0.0/8", &["ws://10.255.0.1"], &["ws://11.0.0.1", "ws://10.a"]),
        ("0.0.0.0/0", &["ws://1.2.3.4"], &["ws://[::1]", "ws://h"]),
        ("::1", &["ws://[::1]"], &["ws://[::2]", "ws://127.0.0.1"]),
        ("[::1]", &["ws://[0:0::1]"], &["ws://[::2]"]),
        ("[::1]:81", &["ws://[::1]:81"], &["ws://[::1]"]),
        ("fe80::/10,fd00::/8", &["ws://[fe80::1%25eth0]", "ws://[fd12::]"], &["ws://[fc00::]", "ws://[2001:db8::]"]),
        ("localhost", &["ws://localhost:9001"], &["ws://127.0.0.1"]),
        // What other programs read in one way or another, and is a name like any other.
        ("192.168.*", &[], &["ws://192.168.0.1"]),
    ] {
        for (uris, proxy) in [(direct, None), (proxied, Some("http://p:80"))] {
            for uri in uris {
                for name in ["no_proxy", "NO_PROXY"] {
                    assert_eq!(through(&[("all_proxy", "p"), (name, list)], uri).as_deref(), proxy, "{list} {uri}");
                }
            }
        }
    }
    assert_eq!(
        through(&[("all_proxy", "p"), ("no_proxy", "a"), ("NO_PROXY", "b")], "ws://b").as_deref(),
        Some("http://p:80")
    );
}

#[test]
fn u22_a_variable_that_cannot_be_understood_is_named_and_its_value_is_not() {
    for (name, value, expected) in [
        ("https_proxy", "ftp://s3cret", InvalidProxy::Scheme),
        ("HTTPS_PROXY", "user:s3cret", InvalidProxy::Port),
        ("http_proxy", "http://user:s3cret/@h", InvalidProxy::Path),
        ("all_proxy", "http://s3cret\u{fffd}", InvalidProxy::Host),
        ("ALL_PROXY", "socks5://user:s3cret@", InvalidProxy::NoHost),
        ("no_proxy", "a.org,s3cret/8", InvalidProxy::Exception),
        ("NO_PROXY", "10.0.0.0/33", InvalidProxy::Exception),
        ("NO_PROXY", "a:s3cret", InvalidProxy::Exception),
        ("NO_PROXY", "http://a", InvalidProxy::Exception),
        ("NO_PROXY", ".", InvalidProxy::Exception),
        ("NO_PROXY", "*.", InvalidProxy::Exception),
    ] {
        let error = rules(&[(name, value)]).unwrap_err();
        assert!(
            matches!(&error, ProxyError::Variable(found, error) if *found == name && *error == expected),
            "{error:?}"
        );
        let texts = format!("{error} {error:?} {}", ConnectError::from(rules(&[(name, value)]).unwrap_err()));
        assert!(error.to_string().contains(name) && !texts.contains("s3cret"), "{texts}");
    }
    assert!(rules(&[("HTTP_PROXY", "://"), ("no_proxy", "")]).is_ok());
}

#[test]
fn a_target_has_no_proxy_one_or_rules() {
    let target = |uri: &str| Target::new(uri).unwrap();
    let shown = |target: &Target| target.proxy_for().map(ToString::to_string);
    assert_eq!(shown(&target("wss://h")), None);
    let proxied = target("ws://h").proxy(Proxy::new("socks5://p").unwrap());
    assert_eq!(shown(&proxied).as_deref(), Some("socks5://p:1080"));
    assert_eq!(shown(&proxied.proxy(None)), None);
    let rules = rules(&[("https_proxy", "p"), ("no_proxy", "h")]).unwrap();
    for (uri, proxy) in [("wss://i", Some("http://p:80")), ("wss://h", None), ("ws://i", None)] {
        assert_eq!(shown(&target(uri).proxy(rules.clone())).as_deref(), proxy, "{uri}");
    }
}
