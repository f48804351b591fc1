//! The URLs of proxies.

use core::fmt;

use super::socks5::encode_credentials;
use super::{InvalidProxy, Kind, Proxy};
use crate::handshake::target::USER_AGENT;
use crate::http::{Credentials, Headers, UriError, encode_all, parse_host};

const SCHEMES: [(&str, Kind, u16); 4] = [
    ("http", Kind::Http, 80),
    ("https", Kind::Https, 443),
    // RFC 1928 §3: "The SOCKS service is conventionally located on TCP port 1080."
    ("socks5", Kind::Socks5, 1080),
    ("socks5h", Kind::Socks5h, 1080),
];

pub(super) fn parse(text: &str) -> Result<Proxy, InvalidProxy> {
    let (scheme, rest) = text.trim().split_once("://").ok_or(InvalidProxy::Scheme)?;
    let known = SCHEMES.into_iter().find(|(known, ..)| known.eq_ignore_ascii_case(scheme));
    let (_, kind, default_port) = known.ok_or(InvalidProxy::Scheme)?;
    // One slash ends many a URL.
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (credentials, authority) = match rest.rsplit_once('@') {
        Some((user_info, authority)) => (Credentials::decode(user_info), authority),
        None => (None, rest),
    };
    if rest.contains(['/', '\\', '?', '#']) {
        return Err(InvalidProxy::Path);
    }
    let (host, port) = parse_host(authority)?;
    let proxy =
        Proxy { kind, host, port: port.unwrap_or(default_port), credentials: None, headers: Headers::new(), tls: None };
    with_credentials(proxy, credentials)
}

/// Puts the credentials where this kind of proxy wants them.
fn with_credentials(mut proxy: Proxy, credentials: Option<Credentials>) -> Result<Proxy, InvalidProxy> {
    if proxy.is_socks() {
        let encode = |credentials| encode_credentials(&credentials).ok_or(InvalidProxy::Credentials);
        proxy.credentials = credentials.map(encode).transpose()?;
        return Ok(proxy);
    }
    proxy.headers.push("User-Agent", USER_AGENT.as_bytes());
    if let Some(credentials) = credentials {
        let basic = credentials.basic().ok_or(InvalidProxy::Credentials)?;
        proxy.headers.push("Proxy-Authorization", basic.as_bytes());
    }
    Ok(proxy)
}

pub(super) fn fmt(proxy: &Proxy, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (scheme, ..) in SCHEMES.iter().filter(|(_, kind, _)| *kind == proxy.kind) {
        write!(f, "{scheme}://")?;
    }
    match proxy.host.split_once('%').filter(|_| proxy.host.contains(':')) {
        Some((address, zone)) => write!(f, "[{address}%25{}]", encode_all(zone))?,
        None if proxy.host.contains(':') => write!(f, "[{}]", proxy.host)?,
        None => f.write_str(&proxy.host)?,
    }
    write!(f, ":{}", proxy.port)
}

impl From<UriError> for InvalidProxy {
    fn from(error: UriError) -> Self {
        match error {
            UriError::NoHost => Self::NoHost,
            UriError::Port => Self::Port,
            _ => Self::Host,
        }
    }
}
