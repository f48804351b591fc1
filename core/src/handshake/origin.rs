//! The rule of origins: which pages may open a WebSocket, and under which name the client knows the server.

use alloc::borrow::Cow;
use alloc::string::String;

use super::refusal::{Refusal, Refused};
use super::request::Request;
use crate::config::{Config, Origins};
use crate::http::{Authority, Headers, default_port, elements, is_token};

/// RFC 6455 §10.2: servers that are for certain sites only "SHOULD verify the |Origin| field is an origin they
/// expect".
pub(super) fn check_origin(request: &Request, config: &Config) -> Result<(), Refused> {
    let headers = request.headers();
    // RFC 6455 §4.2.1: "A connection attempt lacking this header field SHOULD NOT be interpreted as coming
    // from a browser client."
    if !headers.contains("Origin") {
        return Ok(());
    }
    let host = asked_host(request, config);
    let is_own = |origin| host.as_deref().is_some_and(|host| is_at(origin, host));
    let passes = match (single(headers, "Origin"), &config.origins) {
        (None, _) => false,
        (Some(_), Origins::Any) => true,
        (Some(origin), Origins::Same) => is_own(origin),
        (Some(origin), Origins::List(list)) => is_own(origin) || list.iter().any(|listed| is_listed(origin, listed)),
    };
    if passes {
        return Ok(());
    }
    Err(Refused { host: host.map(Cow::into_owned), ..Refused::of(Refusal::Origin, request) })
}

/// Returns the value of a header that comes exactly once, as text.
fn single<'h>(headers: &'h Headers, name: &str) -> Option<&'h str> {
    core::str::from_utf8(headers.single(name)?).ok()
}

/// Returns `true` if this origin is the listed one, or is at the listed host.
fn is_listed(origin: &str, listed: &str) -> bool {
    listed.eq_ignore_ascii_case(origin) || is_at(origin, listed)
}

/// Returns `true` if an origin has this host and port; a missing port is that of the origin's scheme. `null`, and
/// origins whose scheme has no port, are at no host.
fn is_at(origin: &str, host: &str) -> bool {
    let own = || {
        let (scheme, origin) = origin.split_once("://")?;
        let (origin, host) = (Authority::parse(origin).ok()?, Authority::parse(host).ok()?);
        Some(origin.same(host, default_port(scheme)?))
    };
    own().unwrap_or(false)
}

/// Returns the host that the client asked for: that of `Host`, or the one that a trusted proxy was asked for.
fn asked_host<'r>(request: &'r Request, config: &Config) -> Option<Cow<'r, str>> {
    let trusted = request
        .peer_addr()
        .is_some_and(|peer| config.trusted_proxies.iter().any(|network| network.contains(peer.ip())));
    if trusted {
        if let Some(host) = forwarded_host(request.headers()) {
            return Some(host);
        }
    }
    single(request.headers(), "Host").map(Cow::Borrowed)
}

/// Returns the host that the nearest proxy names, which alone is known to be trusted: the last element. Earlier ones
/// may come from the client. If the two headers do not agree, neither counts.
fn forwarded_host(headers: &Headers) -> Option<Cow<'_, str>> {
    let last = elements(headers.values("X-Forwarded-Host")).last().map(core::str::from_utf8);
    let plain = last.map(|host| host.ok().map(Cow::Borrowed));
    let standard = headers.values("Forwarded").last().map(|value| host_of_last(value).map(Cow::Owned));
    let host = match (plain, standard) {
        (Some(plain), Some(standard)) if !is_same_text(plain.as_deref(), standard.as_deref()) => None,
        (Some(host), _) | (None, Some(host)) => host,
        (None, None) => None,
    };
    host.filter(|host| Authority::parse(host).is_ok())
}

/// Hosts are compared without regard to ASCII case.
fn is_same_text(one: Option<&str>, other: Option<&str>) -> bool {
    one.map(str::to_ascii_lowercase) == other.map(str::to_ascii_lowercase)
}

/// Returns the host in the last element of RFC 7239 §4's `Forwarded = 1#forwarded-element`, whose elements are pairs
/// with semicolons between them: `forwarded-pair = token "=" value`, `value = token / quoted-string`. Spaces after a
/// semicolon are not part of that grammar, but some proxies write them.
fn host_of_last(value: &[u8]) -> Option<String> {
    let mut rest = core::str::from_utf8(value).ok()?;
    let mut host = None;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').unwrap_or((rest, ""));
        let (value, after) = pair_value(after)?;
        if !is_token(name.as_bytes()) {
            return None;
        }
        if name.eq_ignore_ascii_case("host") && host.replace(value).is_some() {
            return None;
        }
        let after = after.trim_start_matches([' ', '\t']);
        rest = match after.strip_prefix(';') {
            Some(after) => after.trim_start_matches([' ', '\t']),
            None if after.is_empty() => after,
            None => {
                host = None;
                after.strip_prefix(',')?.trim_start_matches([',', ' ', '\t'])
            }
        };
    }
    host
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h6_the_last_element_of_forwarded_has_the_nearest_proxys_host() {
        let host = |value: &str| host_of_last(value.as_bytes());
        for (value, expected) in [
            ("host=a", "a"),
            ("for=192.0.2.1;host=a;proto=https", "a"),
            ("For=\"[2001:db8::1]:4711\" ; Host=\"a:81\"", "a:81"),
            ("host=evil, for=192.0.2.1;host=a", "a"),
            ("for=\"x, host=evil\",host=\"\\a\"", "a"),
            ("host=evil ,, host=a", "a"),
        ] {
            assert_eq!(host(value).as_deref(), Some(expected), "{value}");
        }
        for value in ["", "for=x", "host=a, for=x", "host=\"a", "host=a;host=b", "host=a b", "=a;host=a", "ä=a;host=a"]
        {
            assert_eq!(host(value), None, "{value}");
        }
    }
}
