//! What proxies say of the client: in `Forwarded` (RFC 7239), and in `X-Forwarded-For`, `-Host` and `-Proto`, which have
//! no standard and are far more common.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::authority::Authority;
use super::grammar::{elements, is_token};
use super::headers::Headers;
use crate::network::Network;

/// The headers of a request that came from a trusted proxy.
///
/// Each proxy adds to the end of them what it has seen itself. What the nearest one has added can be believed, and what
/// was there before only if that came from a trusted proxy, too.
#[derive(Clone, Copy)]
pub(crate) struct Forwarded<'h> {
    headers: &'h Headers,
    trusted: &'h [Network],
}

/// What one header says; `Some(None)` if nothing can be made of it.
type Said<T> = Option<Option<T>>;

impl<'h> Forwarded<'h> {
    /// Returns `None` if `peer` is not a trusted proxy: then these are words of a stranger.
    pub(crate) fn by(peer: Option<SocketAddr>, trusted: &'h [Network], headers: &'h Headers) -> Option<Self> {
        let peer = peer?.ip();
        trusts(trusted, peer).then_some(Self { headers, trusted })
    }

    /// Returns the client's address, or what `Some(None)` says: proxies have named it in a way that leaves it unknown.
    pub(crate) fn ip(self) -> Said<IpAddr> {
        let standard = self.standard().map(|hop| hop?.ip);
        agreed(standard, self.x_forwarded_for())
    }

    /// Returns the host that the client asked for, if it is one.
    pub(crate) fn host(self) -> Option<Cow<'h, str>> {
        // Hosts are compared without regard to ASCII case.
        let standard = self.standard().map(|hop| hop?.host.map(|host| host.to_ascii_lowercase()));
        let plain = self.last("X-Forwarded-Host");
        let host = match (standard, plain) {
            (None, plain) => plain?.map(Cow::Borrowed),
            (Some(standard), None) => standard.map(Cow::Owned),
            (Some(standard), Some(plain)) => {
                plain.filter(|plain| standard.is_some_and(|host| host.eq_ignore_ascii_case(plain))).map(Cow::Borrowed)
            }
        };
        host.filter(|host| Authority::parse(host).is_ok())
    }

    /// Returns the scheme that the client used, `http` or `https`.
    pub(crate) fn scheme(self) -> Option<&'static str> {
        let standard = self.standard().map(|hop| scheme(&hop?.proto?));
        agreed(standard, self.last("X-Forwarded-Proto").map(|proto| scheme(proto?)))?
    }

    /// Returns the element of `Forwarded` that was added by the proxy to which the client has come. If all of them are
    /// of trusted proxies, that is the first one.
    fn standard(self) -> Said<Hop> {
        let lines: Vec<_> = self.headers.values("Forwarded").collect();
        let mut said = None;
        for line in lines.into_iter().rev() {
            let Some(hops) = hops(line) else { return Some(None) };
            for hop in hops.into_iter().rev() {
                let goes_on = hop.ip.is_some_and(|ip| trusts(self.trusted, ip));
                said = Some(Some(hop));
                if !goes_on {
                    return said;
                }
            }
        }
        said
    }

    fn x_forwarded_for(self) -> Said<IpAddr> {
        let hops: Vec<_> = elements(self.headers.values("X-Forwarded-For")).collect();
        let mut said = None;
        for hop in hops.into_iter().rev() {
            // There is no grammar of it: some leave out the brackets of an IPv6 address.
            let ip = core::str::from_utf8(hop).ok().and_then(|hop| hop.parse().ok().or_else(|| node_ip(hop)));
            said = Some(ip.map(|ip| ip.to_canonical()));
            if !ip.is_some_and(|ip| trusts(self.trusted, ip)) {
                break;
            }
        }
        said
    }

    /// Returns the last element of a list: the nearest proxy's. Most replace what was there before.
    fn last(self, name: &str) -> Said<&'h str> {
        elements(self.headers.values(name)).last().map(|last| core::str::from_utf8(last).ok())
    }
}

fn trusts(trusted: &[Network], ip: IpAddr) -> bool {
    trusted.iter().any(|network| network.contains(ip))
}

/// Returns what one of two headers says, or what both do. If they contradict each other neither is believed: a proxy
/// passes on as it came what it does not know.
fn agreed<T: PartialEq>(one: Said<T>, other: Said<T>) -> Said<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.filter(|one| other.as_ref() == Some(one))),
        (said, None) | (None, said) => said,
    }
}

/// Some say the scheme of the WebSocket.
fn scheme(proto: &str) -> Option<&'static str> {
    let schemes = [("https", "https"), ("http", "http"), ("wss", "https"), ("ws", "http")];
    schemes.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(proto)).map(|(_, scheme)| scheme)
}

/// An element of `Forwarded`: what one proxy says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hop {
    /// Who has asked it, if that is an address.
    ip: Option<IpAddr>,
    host: Option<String>,
    proto: Option<String>,
}

/// Parses RFC 7239 §4's `Forwarded = 1#forwarded-element`, `forwarded-element = [ forwarded-pair ] *( ";" [
/// forwarded-pair ] )`, `forwarded-pair = token "=" value`, `value = token / quoted-string`. Spaces around a semicolon
/// are not part of that grammar, but some proxies write them; nor are hosts, addresses with a port and the like tokens,
/// which some do not quote.
fn hops(line: &[u8]) -> Option<Vec<Hop>> {
    let mut rest = core::str::from_utf8(line).ok()?;
    let (mut hops, mut names) = (Vec::new(), Vec::new());
    let mut hop = Hop::default();
    loop {
        rest = rest.trim_start_matches([' ', '\t', ';']);
        match rest.strip_prefix(',') {
            _ if rest.is_empty() => break,
            Some(after) => {
                rest = after;
                // RFC 9110 §5.6.1.2: "A recipient MUST parse and ignore a reasonable number of empty list elements".
                if !names.is_empty() {
                    hops.push(core::mem::take(&mut hop));
                    names.clear();
                }
            }
            None => {
                let (name, after) = rest.split_once('=')?;
                let (value, after) = pair_value(after)?;
                // "Each parameter MUST NOT occur more than once per field-value."
                let is_repeated = names.iter().any(|other: &&str| other.eq_ignore_ascii_case(name));
                if !is_token(name.as_bytes()) || is_repeated {
                    return None;
                }
                names.push(name);
                match name {
                    name if name.eq_ignore_ascii_case("for") => hop.ip = node_ip(&value),
                    name if name.eq_ignore_ascii_case("host") => hop.host = Some(value),
                    name if name.eq_ignore_ascii_case("proto") => hop.proto = Some(value),
                    _ => {}
                }
                rest = after.trim_start_matches([' ', '\t']);
                if !rest.is_empty() && !rest.starts_with([';', ',']) {
                    return None;
                }
            }
        }
    }
    if !names.is_empty() {
        hops.push(hop);
    }
    Some(hops).filter(|hops| !hops.is_empty())
}

/// Returns a value, and the text after it.
fn pair_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ',', ' ', '\t', '"']).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end)?;
        return Some((value.into(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            character => value.push(character),
        }
    }
}

/// Returns the address of RFC 7239 §6's `node = nodename [ ":" node-port ]`, `nodename = IPv4address / "[" IPv6address
/// "]" / "unknown" / obfnode`: the last two have none.
fn node_ip(node: &str) -> Option<IpAddr> {
    let (ip, port) = match node.strip_prefix('[') {
        Some(literal) => {
            let (ip, port) = literal.split_once(']')?;
            (IpAddr::V6(ip.parse().ok()?), port)
        }
        None => {
            let (ip, port) = node.split_at_checked(node.find(':').unwrap_or(node.len()))?;
            (IpAddr::V4(ip.parse::<Ipv4Addr>().ok()?), port)
        }
    };
    (port.is_empty() || port.strip_prefix(':').is_some_and(is_node_port)).then(|| ip.to_canonical())
}

/// RFC 7239 §6: `node-port = port / obfport`, `port = 1*5DIGIT`, `obfport = "_" 1*( ALPHA / DIGIT / "." / "_" / "-")`.
fn is_node_port(port: &str) -> bool {
    let is_obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match port.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(is_obfuscated),
        None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUSTED: [&str; 2] = ["10.0.0.0/8", "fd00::/8"];

    /// Returns what a trusted proxy's headers say: address, host and scheme.
    fn said(lines: &[&str]) -> (Said<String>, Option<String>, Option<&'static str>) {
        let mut headers = Headers::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name, value).unwrap();
        }
        let trusted = TRUSTED.map(|network| network.parse().unwrap());
        let peer = Some("10.0.0.1:4711".parse().unwrap());
        let forwarded = Forwarded::by(peer, &trusted, &headers).unwrap();
        let ip = forwarded.ip().map(|ip| ip.map(|ip| alloc::string::ToString::to_string(&ip)));
        (ip, forwarded.host().map(Cow::into_owned), forwarded.scheme())
    }

    fn ip(lines: &[&str]) -> Said<String> {
        said(lines).0
    }

    #[test]
    fn h6_the_last_element_of_forwarded_has_the_nearest_proxys_host() {
        let host = |value: &str| hops(value.as_bytes()).and_then(|mut hops| hops.pop()).and_then(|hop| hop.host);
        for (value, expected) in [
            ("host=a", "a"),
            ("for=192.0.2.1;host=a;proto=https", "a"),
            ("For=\"[2001:db8::1]:4711\" ; Host=\"a:81\"", "a:81"),
            ("host=evil, for=192.0.2.1;host=a", "a"),
            ("for=\"x, host=evil\",host=\"\\a\"", "a"),
            ("host=evil ,, host=a", "a"),
            (";;for=x;;host=a;", "a"),
        ] {
            assert_eq!(host(value).as_deref(), Some(expected), "{value}");
        }
        for value in ["", "for=x", "host=a, for=x", "host=\"a", "host=a;host=b", "host=a b", "=a;host=a", "ä=a;host=a"]
        {
            assert_eq!(host(value), None, "{value}");
        }
    }

    #[test]
    fn h13_the_clients_address_is_the_last_one_that_is_not_a_trusted_proxys() {
        for (value, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("203.0.113.9, 192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("203.0.113.9, 192.0.2.1, 10.0.0.2,10.0.0.3", Some("192.0.2.1")),
            ("192.0.2.1,, ,", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("192.0.2.1:443", Some("192.0.2.1")),
            ("192.0.2.1, fd00::7", Some("192.0.2.1")),
            ("::ffff:192.0.2.1, ::ffff:10.0.0.2", Some("192.0.2.1")),
            // All are trusted: the client is one of them.
            ("10.0.0.9, 10.0.0.2", Some("10.0.0.9")),
            // Who it was is not known; what comes before may be the client's own words.
            ("192.0.2.1, unknown", None),
            ("192.0.2.1, _hidden", None),
            ("192.0.2.1, nonsense, 10.0.0.2", None),
            ("192.0.2.1, 192.0.2.999", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:443:1", None),
            ("192.0.2.1 10.0.0.2", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("\u{e4}", None),
        ] {
            let expected = Some(expected.map(String::from));
            assert_eq!(ip(&[&alloc::format!("X-Forwarded-For: {value}")]), expected, "{value}");
        }
        // On several lines as on one.
        let expected = Some(Some("192.0.2.1".into()));
        let lines = ["X-Forwarded-For: 203.0.113.9, 192.0.2.1", "X-Forwarded-For: 10.0.0.2"];
        assert_eq!(ip(&lines), expected);
        assert_eq!(ip(&[]), None, "nothing is said");
        assert_eq!(ip(&["X-Forwarded-For: ,"]), None);
    }

    #[test]
    fn h13_forwarded_names_the_client_by_the_grammar_of_rfc_7239() {
        for (value, expected) in [
            // RFC 7239 §4.
            ("for=\"_gazonk\"", None),
            ("For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("for=192.0.2.43, for=198.51.100.17", Some("198.51.100.17")),
            // §6.
            ("for=\"192.0.2.43:47011\"", Some("192.0.2.43")),
            ("for=\"192.0.2.43:_secret.port-1\"", Some("192.0.2.43")),
            ("for=unknown", None),
            ("for=\"unknown:80\"", None),
            // Hops.
            ("for=192.0.2.43, for=10.0.0.2", Some("192.0.2.43")),
            ("for=203.0.113.9, for=192.0.2.43, for=\"[fd00::1]\", for=10.0.0.2", Some("192.0.2.43")),
            ("for=192.0.2.43, for=unknown", None),
            ("for=192.0.2.43, proto=https", None),
            ("for=10.0.0.9", Some("10.0.0.9")),
            // Malformed.
            ("for=2001:db8::1", None),
            ("for=\"192.0.2.43:\"", None),
            ("for=\"192.0.2.43:123456\"", None),
            ("for=\"192.0.2.43:_\"", None),
            ("for=\"[192.0.2.43]\"", None),
            ("for=\"[2001:db8::1]x\"", None),
            ("for=192.0.2.43;for=192.0.2.44", None),
            ("for=192.0.2.43 for=192.0.2.44", None),
            ("192.0.2.43", None),
            ("", None),
        ] {
            let expected = Some(expected.map(String::from));
            assert_eq!(ip(&[&alloc::format!("Forwarded: {value}")]), expected, "{value}");
        }
        let lines = |first| [first, "Forwarded: for=10.0.0.2"];
        assert_eq!(ip(&lines("Forwarded: for=192.0.2.43")), Some(Some("192.0.2.43".into())));
        assert_eq!(ip(&lines("Forwarded: for=\"")), Some(None));
        // A line that is not reached does not matter.
        assert_eq!(ip(&["Forwarded: \"", "Forwarded: for=192.0.2.43"]), Some(Some("192.0.2.43".into())));
    }

    #[test]
    fn h13_headers_that_contradict_each_other_say_nothing() {
        let both = |standard, plain| ip(&[standard, plain]);
        let known = Some(Some("192.0.2.1".into()));
        assert_eq!(both("Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1"), known);
        assert_eq!(both("Forwarded: for=192.0.2.1", "X-Forwarded-For: 203.0.113.9, 192.0.2.1, 10.0.0.2"), known);
        assert_eq!(both("Forwarded: for=192.0.2.2", "X-Forwarded-For: 192.0.2.1"), Some(None));
        assert_eq!(both("Forwarded: for=unknown", "X-Forwarded-For: 192.0.2.1"), Some(None));
        assert_eq!(both("Forwarded: proto=https", "X-Forwarded-For: 192.0.2.1"), Some(None));
    }

    #[test]
    fn h13_host_and_scheme_are_those_that_the_client_used() {
        let said = |lines: &[&str]| {
            let (_, host, scheme) = said(lines);
            (host, scheme)
        };
        let known = |host: &str, scheme| (Some(host.into()), Some(scheme));
        assert_eq!(said(&["X-Forwarded-Host: a.example", "X-Forwarded-Proto: https"]), known("a.example", "https"));
        assert_eq!(said(&["Forwarded: host=\"a.example:81\";proto=HTTP"]), known("a.example:81", "http"));
        // The proxy that the client has come to knows best.
        let hops = "Forwarded: for=192.0.2.1;host=a.example;proto=https, for=10.0.0.2;host=inner;proto=http";
        assert_eq!(said(&[hops]), known("a.example", "https"));
        let hops = "Forwarded: for=192.0.2.1;host=evil;proto=https, for=192.0.2.2;host=a.example;proto=http";
        assert_eq!(said(&[hops]), known("a.example", "http"));
        for (lines, scheme) in [
            (&["X-Forwarded-Proto: wss"][..], Some("https")),
            (&["X-Forwarded-Proto: WS"], Some("http")),
            (&["X-Forwarded-Proto: https, http"], Some("http")),
            (&["X-Forwarded-Proto: ftp"], None),
            (&["X-Forwarded-Proto: https", "Forwarded: proto=https"], Some("https")),
            (&["X-Forwarded-Proto: https", "Forwarded: proto=wss"], Some("https")),
            (&["X-Forwarded-Proto: https", "Forwarded: proto=http"], None),
            (&["X-Forwarded-Proto: https", "Forwarded: for=192.0.2.1"], None),
            (&["X-Forwarded-Ssl: on"], None),
        ] {
            assert_eq!(said(lines), (None, scheme), "{lines:?}");
        }
    }
}
