//! WebSocket URIs (RFC 6455 §3).

use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use crate::http::{Authority, AuthorityError, is_name_byte, is_percent_encoded};

/// A `ws://` or `wss://` URI: where a client connects, and what it asks for there.
///
/// ```
/// use bellwire_core::uri::Uri;
///
/// let uri: Uri = "wss://example.com/chat?room=1".parse()?;
/// assert!(uri.secure());
/// assert_eq!((uri.host(), uri.port(), uri.resource()), ("example.com", 443, "/chat?room=1"));
/// # Ok::<(), bellwire_core::uri::UriError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    security: Security,
    /// An IPv6 address is in brackets.
    host: String,
    port: u16,
    resource: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Security {
    Plain,
    Tls,
}

/// Why a text is not a WebSocket URI.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `scheme://` at the beginning.
    NoScheme,
    /// The scheme is this one, neither `ws` nor `wss`.
    Scheme(String),
    /// There is a user name in front of the host (`user:password@`).
    UserInfo,
    /// There is a fragment (`#..`).
    Fragment,
    /// There is no host.
    NoHost,
    /// The host is neither a name nor an address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// This character may not stand where it does in a URI (RFC 3986).
    Character(char),
    /// A `%` is not followed by two hexadecimal digits.
    PercentEncoding,
}

impl Uri {
    /// Whether the connection runs over TLS.
    ///
    /// RFC 6455 §3: 'The URI is called "secure" [..] if the scheme component matches "wss"
    /// case-insensitively.'
    pub fn secure(&self) -> bool {
        self.security == Security::Tls
    }

    /// The host to connect to: a name, or an address. An IPv6 address comes without its brackets.
    pub fn host(&self) -> &str {
        self.bracketed().unwrap_or(&self.host)
    }

    /// Whether the host is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.bracketed().is_some()
    }

    /// The port to connect to.
    ///
    /// RFC 6455 §3: 'the default for "ws" is port 80, while the default for "wss" is port 443.'
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The resource name (RFC 6455 §3): path and query, as the request line has them.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// The path of the resource name, without the query.
    pub fn path(&self) -> &str {
        self.resource.split_once('?').map_or(&self.resource, |(path, _)| path)
    }

    /// The value of the `Host` header.
    ///
    /// RFC 6455 §4.1: 'a |Host| header field whose value contains /host/ plus optionally ":" followed by
    /// /port/ (when not using the default port)'.
    pub fn host_header(&self) -> String {
        if self.port == self.security.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn bracketed(&self) -> Option<&str> {
        self.host.strip_prefix('[')?.strip_suffix(']')
    }
}

impl Security {
    const fn default_port(self) -> u16 {
        match self {
            Self::Plain => 80,
            Self::Tls => 443,
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let (scheme, rest) = text.split_once("://").ok_or(UriError::NoScheme)?;
        let security = parse_scheme(scheme)?;
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT
        // be used on these URIs."
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at_checked(end).ok_or(UriError::NoHost)?;
        if authority.contains('@') {
            return Err(UriError::UserInfo);
        }
        check_characters(authority, |byte| is_name_byte(byte) || matches!(byte, b':' | b'[' | b']' | b'%'))?;
        check_characters(resource, |byte| is_name_byte(byte) || matches!(byte, b':' | b'@' | b'/' | b'?' | b'%'))?;
        let authority = Authority::parse(authority)?;
        let port = authority.port.unwrap_or(security.default_port());
        if port == 0 {
            return Err(UriError::Port);
        }
        Ok(Self { security, host: authority.host.to_string(), port, resource: resource_name(resource) })
    }
}

fn parse_scheme(scheme: &str) -> Result<Security, UriError> {
    if scheme.eq_ignore_ascii_case("ws") {
        Ok(Security::Plain)
    } else if scheme.eq_ignore_ascii_case("wss") {
        Ok(Security::Tls)
    } else {
        Err(UriError::Scheme(scheme.to_string()))
    }
}

fn check_characters(text: &str, allowed: fn(u8) -> bool) -> Result<(), UriError> {
    let is_allowed = |character: char| u8::try_from(character).is_ok_and(|byte| byte.is_ascii() && allowed(byte));
    if let Some(character) = text.chars().find(|&character| !is_allowed(character)) {
        return Err(UriError::Character(character));
    }
    if is_percent_encoded(text) { Ok(()) } else { Err(UriError::PercentEncoding) }
}

/// RFC 6455 §3: the resource name is '"/" if the path component is empty', the path, '"?" if the query
/// component is non-empty' and the query.
fn resource_name(text: &str) -> String {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let path = if path.is_empty() { "/" } else { path };
    if query.is_empty() { path.to_string() } else { format!("{path}?{query}") }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.security {
            Security::Plain => "ws",
            Security::Tls => "wss",
        };
        write!(f, "{scheme}://{}{}", self.host_header(), self.resource)
    }
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoScheme => f.write_str("the URI has no scheme: put ws:// in front, or wss:// for TLS"),
            Self::Scheme(scheme) if scheme.eq_ignore_ascii_case("http") => {
                f.write_str("the URI's scheme is `http`: write ws:// instead")
            }
            Self::Scheme(scheme) if scheme.eq_ignore_ascii_case("https") => {
                f.write_str("the URI's scheme is `https`: write wss:// instead")
            }
            Self::Scheme(scheme) => write!(f, "the URI's scheme is {scheme:?}: write ws://, or wss:// for TLS"),
            Self::UserInfo => {
                f.write_str("the URI has a user name in front of the host: send an Authorization header instead")
            }
            Self::Fragment => f.write_str("the URI has a fragment: remove it, or write %23 if `#` is meant"),
            Self::NoHost => f.write_str("the URI has no host: name one behind the `//`, an IPv6 address in brackets"),
            Self::Host => {
                f.write_str("the URI's host is neither a name nor an address: an IPv6 address is written [::1]")
            }
            Self::Port => f.write_str(
                "the URI's port is not a number from 1 to 65535: correct it, or put an IPv6 address in brackets",
            ),
            Self::Character(character) => write!(
                f,
                "the URI has {character:?}, which is not allowed there: percent-encode it in a path or query (a space \
                 is %20), write a host that is not ASCII in Punycode (xn--..)"
            ),
            Self::PercentEncoding => {
                f.write_str("the URI has a `%` without two hexadecimal digits behind it: write %25 for a percent sign")
            }
        }
    }
}

impl core::error::Error for UriError {}

impl From<AuthorityError> for UriError {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::NoHost => Self::NoHost,
            AuthorityError::Host => Self::Host,
            AuthorityError::Port => Self::Port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_taken_apart() {
        for (text, secure, host, port, resource, host_header) in [
            ("ws://example.com", false, "example.com", 80, "/", "example.com"),
            ("wss://example.com", true, "example.com", 443, "/", "example.com"),
            ("WS://example.com/", false, "example.com", 80, "/", "example.com"),
            ("wSS://h:443/a/b?c=d&e", true, "h", 443, "/a/b?c=d&e", "h"),
            ("ws://h:443/", false, "h", 443, "/", "h:443"),
            ("wss://h:80/", true, "h", 80, "/", "h:80"),
            ("ws://h:/x", false, "h", 80, "/x", "h"),
            ("ws://h?q", false, "h", 80, "/?q", "h"),
            ("ws://h/p?", false, "h", 80, "/p", "h"),
            ("ws://h/p?a?b/c", false, "h", 80, "/p?a?b/c", "h"),
            ("ws://h//x", false, "h", 80, "//x", "h"),
            ("ws://h/a@b:c%20d", false, "h", 80, "/a@b:c%20d", "h"),
            ("ws://[::1]/", false, "::1", 80, "/", "[::1]"),
            ("ws://[2001:db8::1]:9001/x", false, "2001:db8::1", 9001, "/x", "[2001:db8::1]:9001"),
            ("ws://127.0.0.1:9001", false, "127.0.0.1", 9001, "/", "127.0.0.1:9001"),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!(
                (uri.secure(), uri.host(), uri.port(), uri.resource()),
                (secure, host, port, resource),
                "{text}"
            );
            assert_eq!(uri.host_header(), host_header, "{text}");
            assert_eq!(uri.is_ipv6(), text.contains('['), "{text}");
            assert_eq!(uri.to_string().parse::<Uri>().unwrap(), uri, "{text}");
        }
        assert_eq!("WSS://h:443?x".parse::<Uri>().unwrap().to_string(), "wss://h/?x");
    }

    #[test]
    fn what_is_not_a_websocket_uri_is_refused() {
        for (text, error) in [
            ("", UriError::NoScheme),
            ("localhost:9001/x", UriError::NoScheme),
            ("ws:/h/", UriError::NoScheme),
            ("http://h/", UriError::Scheme("http".into())),
            ("https://h/", UriError::Scheme("https".into())),
            (" ws://h/", UriError::Scheme(" ws".into())),
            ("://h/", UriError::Scheme("".into())),
            ("ws://u:p@h/", UriError::UserInfo),
            ("ws://@h/", UriError::UserInfo),
            ("ws://h/#", UriError::Fragment),
            ("ws://h#x", UriError::Fragment),
            ("ws://", UriError::NoHost),
            ("ws:///x", UriError::NoHost),
            ("ws://:80/", UriError::NoHost),
            ("ws://::1/", UriError::NoHost),
            ("ws://h:0/", UriError::Port),
            ("ws://h:65536/", UriError::Port),
            ("ws://h:80x/", UriError::Port),
            ("ws://2001:db8::1/", UriError::Port),
            ("ws://[::g]/", UriError::Host),
            ("ws://[::1]x/", UriError::Host),
            ("ws://h/a b", UriError::Character(' ')),
            ("ws://h/a\r\nX: y", UriError::Character('\r')),
            ("ws://h\0/", UriError::Character('\0')),
            ("ws://hä/", UriError::Character('ä')),
            ("ws://h/ÿ", UriError::Character('ÿ')),
            ("ws://h/?\u{1f600}", UriError::Character('\u{1f600}')),
            ("ws://h/\"", UriError::Character('"')),
            ("ws://h/[x]", UriError::Character('[')),
            ("ws://h\\x/", UriError::Character('\\')),
            ("ws://h/{x}", UriError::Character('{')),
            ("ws://h/\x7f", UriError::Character('\x7f')),
            ("ws://h/%", UriError::PercentEncoding),
            ("ws://h/%2", UriError::PercentEncoding),
            ("ws://h/%zz", UriError::PercentEncoding),
            ("ws://h%/", UriError::PercentEncoding),
        ] {
            assert_eq!(text.parse::<Uri>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn messages_say_what_to_do() {
        assert!(UriError::Scheme("HTTP".into()).to_string().contains("ws://"));
        assert!(UriError::Scheme("https".into()).to_string().contains("wss://"));
        assert!(UriError::UserInfo.to_string().contains("Authorization"));
        assert!(UriError::Character(' ').to_string().contains("percent-encode"));
        assert!(UriError::Fragment.to_string().contains("%23"));
    }
}
