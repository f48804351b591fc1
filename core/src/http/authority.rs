//! Hosts and ports.

use core::net::Ipv6Addr;

/// A host with an optional port, as `Host` and URIs have them (RFC 3986 §3.2 without user information).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    /// Never empty; an IPv6 address is in brackets.
    pub(crate) host: &'a str,
    /// `None` if it is missing or empty: RFC 3986 §3.2.3: "port = *DIGIT".
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    NoHost,
    Host,
    Port,
}

/// Returns the port that a scheme of HTTP or of WebSockets stands for.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    let ports = [("http", 80), ("ws", 80), ("https", 443), ("wss", 443)];
    ports.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme)).map(|&(_, port)| port)
}

impl<'a> Authority<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, AuthorityError> {
        // The colons of an IPv6 address are inside brackets: RFC 3986 §3.2.2:
        // IP-literal = "[" ( IPv6address / IPvFuture  ) "]". No IPvFuture was ever assigned.
        let end = match text.bytes().rposition(|byte| byte == b']') {
            Some(bracket) => bracket + 1,
            None => text.bytes().position(|byte| byte == b':').unwrap_or(text.len()),
        };
        let (host, port) = text.split_at_checked(end).ok_or(AuthorityError::Host)?;
        if host.is_empty() {
            return Err(AuthorityError::NoHost);
        }
        if !is_host(host) {
            return Err(AuthorityError::Host);
        }
        Ok(Self { host, port: parse_port(port)? })
    }

    /// Returns `true` if both name the same host and port, where a missing port stands for `default_port`.
    pub(crate) fn same(self, other: Self, default_port: u16) -> bool {
        self.host.eq_ignore_ascii_case(other.host)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// RFC 3986 §3.2.2: `host = IP-literal / IPv4address / reg-name`, but not empty.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(is_ipv6),
        None => host.bytes().all(|byte| is_name_byte(byte) || byte == b'%') && is_percent_encoded(host),
    }
}

/// RFC 6874 §2: `IPv6addrz = IPv6address "%25" ZoneID`, `ZoneID = 1*( unreserved / pct-encoded )`.
fn is_ipv6(literal: &str) -> bool {
    let (address, zone) = literal.split_once("%25").map_or((literal, None), |(address, zone)| (address, Some(zone)));
    let is_zone_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%');
    let is_zone = |zone: &str| !zone.is_empty() && zone.bytes().all(is_zone_byte) && is_percent_encoded(zone);
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
}

/// Parses what follows a host: nothing, or a colon and digits.
fn parse_port(text: &str) -> Result<Option<u16>, AuthorityError> {
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() { Ok(None) } else { Err(AuthorityError::Host) };
    };
    if digits.is_empty() {
        return Ok(None);
    }
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(AuthorityError::Port);
    }
    digits.parse().map(Some).map_err(|_| AuthorityError::Port)
}

/// RFC 3986 §2.3 and §2.2: `unreserved / sub-delims`.
pub(super) const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~')
        || matches!(byte, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

/// Returns `true` if two hexadecimal digits follow every `%`: RFC 3986 §2.1: `pct-encoded = "%" HEXDIG HEXDIG`.
pub(super) fn is_percent_encoded(text: &str) -> bool {
    text.as_bytes()
        .split(|&byte| byte == b'%')
        .skip(1)
        .all(|rest| rest.first_chunk::<2>().is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_hosts_with_maybe_a_port() {
        for (text, host, port) in [
            ("example.com", "example.com", None),
            ("example.com:", "example.com", None),
            ("example.com:8080", "example.com", Some(8080)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("[::1]", "[::1]", None),
            ("[::1]:0080", "[::1]", Some(80)),
            ("[::ffff:1.2.3.4]:1", "[::ffff:1.2.3.4]", Some(1)),
            ("a_b~c%20!", "a_b~c%20!", None),
            ("[fe80::1%25eth0]", "[fe80::1%25eth0]", None),
            ("[fe80::1%25en%2f0]:81", "[fe80::1%25en%2f0]", Some(81)),
        ] {
            assert_eq!(Authority::parse(text), Ok(Authority { host, port }), "{text}");
        }
        for (text, error) in [
            ("", AuthorityError::NoHost),
            (":80", AuthorityError::NoHost),
            ("::1", AuthorityError::NoHost),
            ("a:b", AuthorityError::Port),
            ("a:65536", AuthorityError::Port),
            ("a:+80", AuthorityError::Port),
            ("a:80:80", AuthorityError::Port),
            ("a: 80", AuthorityError::Port),
            ("2001:db8::1", AuthorityError::Port),
            ("[::1", AuthorityError::Host),
            ("[]", AuthorityError::Host),
            ("[::1]x", AuthorityError::Host),
            ("[fe80::1%25]", AuthorityError::Host),
            ("[fe80::1%eth0]", AuthorityError::Host),
            ("[fe80::1%25a b]", AuthorityError::Host),
            ("[fe80::1%25a%2]", AuthorityError::Host),
            ("[1.2.3.4%25eth0]", AuthorityError::Host),
            ("x[::1]", AuthorityError::Host),
            ("[1.2.3.4]", AuthorityError::Host),
            ("a b", AuthorityError::Host),
            ("user@a", AuthorityError::Host),
            ("a/b", AuthorityError::Host),
            ("a%2", AuthorityError::Host),
            ("a%zz", AuthorityError::Host),
            ("ä", AuthorityError::Host),
        ] {
            assert_eq!(Authority::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn authorities_are_the_same_with_default_ports_and_in_any_case() {
        let same = |left, right, port| Authority::parse(left).unwrap().same(Authority::parse(right).unwrap(), port);
        assert!(same("Example.com", "example.COM:80", 80));
        assert!(same("a:443", "a:", 443));
        assert!(!same("a:80", "a", 443));
        assert!(!same("a", "b", 80));
    }
}
