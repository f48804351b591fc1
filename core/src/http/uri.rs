//! WebSocket URIs (RFC 6455 §3), read as browsers read them (the [URL Standard](https://url.spec.whatwg.org/)).

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

use super::authority::{Authority, AuthorityError, is_name_byte, is_percent_encoded};
use super::credentials::Credentials;
use super::percent::{decode, encode_all, encode_path, encode_query};

/// A `ws://` or `wss://` URI: where a client connects, and the resource it asks for.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::proto::Uri;
///
/// let uri: Uri = "wss://example.com/chat?room=1".parse()?;
/// assert!(uri.is_secure());
/// assert_eq!((uri.host(), uri.port(), uri.resource()), ("example.com", 443, "/chat?room=1"));
/// # Ok::<(), bellwire::proto::UriError>(())
/// ```
///
/// Path and query are read as browsers read them: characters that are not allowed there are percent-encoded, those
/// beyond ASCII as UTF-8; what is encoded already stays, and so does a `%` that encodes nothing. Blanks around the URI,
/// and tabs and line breaks anywhere in it, are removed.
///
/// ```
/// # use bellwire_core as bellwire;
/// # use bellwire::proto::Uri;
/// let uri: Uri = " ws://example.com/{a}/é?q={\"a\":[1|2]}&half=%s ".parse()?;
/// assert_eq!(uri.resource(), "/%7Ba%7D/%C3%A9?q={%22a%22:[1|2]}&half=%s");
/// # Ok::<(), bellwire::proto::UriError>(())
/// ```
///
/// A user name and a password before the host are sent as Basic credentials. They are never shown again, not by
/// `Display`, `Debug` or any error.
///
/// An IPv6 address may have a zone, the name or number of an interface, which link-local addresses need (RFC 6874):
/// `ws://[fe80::1%25eth0]:9001/`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uri {
    security: Security,
    /// An IPv6 address has no brackets, and its zone after a `%`.
    host: String,
    port: u16,
    resource: String,
    /// The value of `Authorization`.
    credentials: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Security {
    Plain,
    Tls,
}

/// The reason why a text is not a WebSocket URI.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// There is no `scheme://` at the beginning.
    NoScheme,
    /// The scheme is this one, neither `ws` nor `wss`.
    Scheme(String),
    /// The user name before the host (`user:password@`) has a colon, or either has a control character: Basic
    /// credentials cannot carry that (RFC 7617 §2).
    UserInfo,
    /// There is a fragment (`#..`).
    Fragment,
    /// There is no host.
    NoHost,
    /// The host is neither a name nor an address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// This character is not allowed in a host (RFC 3986).
    Character(char),
    /// A `%` in the host is not followed by two hexadecimal digits.
    PercentEncoding,
    /// A [request target](crate::Target::request_target) is empty, or has a blank or a control character.
    RequestTarget,
}

impl Uri {
    /// Returns `true` if the connection runs over TLS.
    ///
    /// RFC 6455 §3: 'The URI is called "secure" [..] if the scheme component matches "wss"
    /// case-insensitively.'
    pub fn is_secure(&self) -> bool {
        self.security == Security::Tls
    }

    /// Returns the host to connect to: a name, or an address. An IPv6 address comes without its brackets, and with its
    /// [zone](Self::zone), as the system's resolver takes it: `fe80::1%eth0`. Certificates have no zones: for TLS,
    /// remove it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns `true` if the host is an IPv6 address.
    pub fn is_ipv6(&self) -> bool {
        self.host.contains(':')
    }

    /// Returns the zone of an IPv6 address: the name or number of the interface through which it is reached. It is
    /// meaningful on this machine only, and is not sent.
    pub fn zone(&self) -> Option<&str> {
        let (_, zone) = self.host.split_once('%').filter(|_| self.is_ipv6())?;
        Some(zone)
    }

    /// Returns the port to connect to.
    ///
    /// RFC 6455 §3: 'the default for "ws" is port 80, while the default for "wss" is port 443.'
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the resource name (RFC 6455 §3): path and query, as in the request line.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Returns the path of the resource name, without the query.
    pub fn path(&self) -> &str {
        self.resource.split_once('?').map_or(&self.resource, |(path, _)| path)
    }

    /// Returns the value of the `Host` header.
    ///
    /// RFC 6455 §4.1: 'a |Host| header field whose value contains /host/ plus optionally ":" followed by
    /// /port/ (when not using the default port)'. RFC 6874 §4: "An HTTP client, proxy, or other intermediary MUST
    /// remove any ZoneID attached to an outgoing URI".
    pub fn host_header(&self) -> String {
        let host = match self.host.split('%').next() {
            Some(address) if self.is_ipv6() => format!("[{address}]"),
            _ => self.host.clone(),
        };
        self.with_port(host)
    }

    /// Returns this URI with another path and query, which are encoded, and without credentials.
    pub(crate) fn with_resource(&self, resource: &str) -> Self {
        Self { host: self.host.clone(), resource: resource_name(resource), credentials: None, ..*self }
    }

    /// Returns `true` if scheme, host and port are the same (RFC 6454 §5).
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.security == other.security && self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }

    /// Returns the scheme, `ws` or `wss`.
    pub(super) fn scheme(&self) -> &'static str {
        match self.security {
            Security::Plain => "ws",
            Security::Tls => "wss",
        }
    }

    /// Returns the value of `Authorization`, if there is a user name before the host.
    pub(crate) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }

    fn with_port(&self, host: String) -> String {
        if self.port == self.security.default_port() { host } else { format!("{host}:{}", self.port) }
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
        let text = without_blanks(text);
        let (scheme, rest) = text.split_once("://").ok_or(UriError::NoScheme)?;
        let security = parse_scheme(scheme)?;
        // RFC 6455 §3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT
        // be used on these URIs."
        if rest.contains('#') {
            return Err(UriError::Fragment);
        }
        let end = rest.find(['/', '\\', '?']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at_checked(end).ok_or(UriError::NoHost)?;
        let (credentials, authority) = match authority.rsplit_once('@') {
            Some((user_info, authority)) => (basic(user_info)?, authority),
            None => (None, authority),
        };
        let (host, port) = parse_host(authority)?;
        let port = port.unwrap_or(security.default_port());
        Ok(Self { security, host, port, resource: resource_name(resource), credentials })
    }
}

/// URL Standard, basic URL parser: "Remove any leading and trailing C0 control or space from input", and "Remove all
/// ASCII tab or newline from input".
pub(super) fn without_blanks(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|character| character <= ' ');
    if text.contains(['\t', '\n', '\r']) { text.replace(['\t', '\n', '\r'], "").into() } else { text.into() }
}

fn parse_scheme(scheme: &str) -> Result<Security, UriError> {
    if scheme.eq_ignore_ascii_case("ws") {
        Ok(Security::Plain)
    } else if scheme.eq_ignore_ascii_case("wss") {
        Ok(Security::Tls)
    } else if is_scheme(scheme) {
        Err(UriError::Scheme(scheme.to_string()))
    } else {
        // The text is not named: it may have a password in it.
        Err(UriError::NoScheme)
    }
}

/// RFC 3986 §3.1: `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`.
pub(super) fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Encodes what stands before the `@` as Basic credentials; none if it is empty.
fn basic(user_info: &str) -> Result<Option<Box<str>>, UriError> {
    let Some(credentials) = Credentials::decode(user_info) else { return Ok(None) };
    credentials.basic().map(|basic| Some(basic.into())).ok_or(UriError::UserInfo)
}

/// Parses a host and the port after it, if there is one. An IPv6 address comes without its brackets, and with its zone
/// after a `%`.
pub(crate) fn parse_host(authority: &str) -> Result<(String, Option<u16>), UriError> {
    let (authority, zone) = split_zone(authority)?;
    check_characters(&authority)?;
    let parsed = Authority::parse(&authority)?;
    if parsed.port == Some(0) {
        return Err(UriError::Port);
    }
    let host = parsed.host.trim_matches(['[', ']']);
    Ok((zone.map_or_else(|| host.to_string(), |zone| format!("{host}%{zone}")), parsed.port))
}

/// Takes the zone out of an address in brackets.
///
/// RFC 6874 §2: `IPv6addrz = IPv6address "%25" ZoneID`; §3: "we also suggest that URI parsers accept bare "%" signs
/// when possible".
fn split_zone(authority: &str) -> Result<(Cow<'_, str>, Option<String>), UriError> {
    let literal = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let Some(((address, zone), after)) = literal.and_then(|(inside, after)| Some((inside.split_once('%')?, after)))
    else {
        return Ok((authority.into(), None));
    };
    let zone = String::from_utf8(decode(zone.strip_prefix("25").unwrap_or(zone))).map_err(|_| UriError::Host)?;
    if zone.is_empty() || zone.contains(|character: char| character <= ' ' || matches!(character, '%' | '\x7f')) {
        return Err(UriError::Host);
    }
    Ok((format!("[{address}]{after}").into(), Some(zone)))
}

fn check_characters(authority: &str) -> Result<(), UriError> {
    let is_allowed = |character: char| {
        let byte = u8::try_from(character).ok().filter(u8::is_ascii);
        byte.is_some_and(|byte| is_name_byte(byte) || matches!(byte, b':' | b'[' | b']' | b'%'))
    };
    if let Some(character) = authority.chars().find(|&character| !is_allowed(character)) {
        return Err(UriError::Character(character));
    }
    if is_percent_encoded(authority) { Ok(()) } else { Err(UriError::PercentEncoding) }
}

/// RFC 6455 §3: the resource name is '"/" if the path component is empty', the path, '"?" if the query
/// component is non-empty' and the query.
fn resource_name(text: &str) -> String {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let path = encode_path(path);
    if query.is_empty() { path } else { format!("{path}?{}", encode_query(query)) }
}

/// Leaves out user name and password.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.host.split_once('%') {
            Some((address, zone)) if self.is_ipv6() => self.with_port(format!("[{address}%25{}]", encode_all(zone))),
            _ => self.host_header(),
        };
        write!(f, "{}://{host}{}", self.scheme(), self.resource)
    }
}

/// Leaves out user name and password: what is printed ends up in logs.
impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Uri").field(&format_args!("{self}")).finish()
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
            Self::UserInfo => f.write_str(
                "the URI's user name has a colon, or it or the password a control character: Basic credentials cannot, so \
                 send another Authorization header instead",
            ),
            Self::Fragment => f.write_str("the URI has a fragment: remove it, or write %23 if `#` is meant"),
            Self::NoHost => f.write_str("the URI has no host: name one after the `//`, an IPv6 address in brackets"),
            Self::Host => {
                f.write_str("the URI's host is neither a name nor an address: an IPv6 address is written [::1]")
            }
            Self::Port => f.write_str(
                "the URI's port is not a number from 1 to 65535: correct it, or put an IPv6 address in brackets",
            ),
            Self::Character(character) => write!(
                f,
                "the URI has {character:?} in its host, which is not allowed there: write a host that is not ASCII in \
                 Punycode (xn--..)"
            ),
            Self::PercentEncoding => {
                f.write_str("the URI's host has a `%` without two hexadecimal digits after it: remove it")
            }
            Self::RequestTarget => f.write_str(
                "the request target is empty, or has a blank or a control character: percent-encode it (a space is %20)",
            ),
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
            (" \n\tws://h/x\r\n \0", false, "h", 80, "/x", "h"),
            ("ws://h/a\r\nX: y", false, "h", 80, "/aX:%20y", "h"),
            ("ws://u:p@h/", false, "h", 80, "/", "h"),
            ("ws://@h/", false, "h", 80, "/", "h"),
            ("ws://h\\x/", false, "h", 80, "/x/", "h"),
            ("ws://[fe80::1%25eth0]:9001/", false, "fe80::1%eth0", 9001, "/", "[fe80::1]:9001"),
            ("ws://[fe80::1%eth0]/", false, "fe80::1%eth0", 80, "/", "[fe80::1]"),
            ("wss://[fe80::1%251]/", true, "fe80::1%1", 443, "/", "[fe80::1]"),
        ] {
            let uri: Uri = text.parse().unwrap();
            assert_eq!(
                (uri.is_secure(), uri.host(), uri.port(), uri.resource()),
                (secure, host, port, resource),
                "{text}"
            );
            assert_eq!(uri.host_header(), host_header, "{text}");
            assert_eq!(uri.is_ipv6(), text.contains('['), "{text}");
            assert_eq!(uri.zone(), host.split_once('%').map(|(_, zone)| zone), "{text}");
            let again: Uri = uri.to_string().parse().unwrap();
            assert_eq!(again, Uri { credentials: None, ..uri }, "{text}");
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
            ("://h/", UriError::NoScheme),
            ("u:secret@ws://h/", UriError::NoScheme),
            ("ws://u%3A:p@h/", UriError::UserInfo),
            ("ws://u:p%0A@h/", UriError::UserInfo),
            ("ws://u:p@/", UriError::NoHost),
            ("ws://[fe80::1%25]/", UriError::Host),
            ("ws://[fe80::1%]/", UriError::Host),
            ("ws://[fe80::1%25a%00b]/", UriError::Host),
            ("ws://[fe80::1%25a%20b]/", UriError::Host),
            ("ws://[fe80::1%25a%25b]/", UriError::Host),
            ("ws://[fe80::1%25%ff]/", UriError::Host),
            ("ws://[127.0.0.1%25eth0]/", UriError::Host),
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
            ("ws://h h/", UriError::Character(' ')),
            ("ws://h\0/", UriError::Character('\0')),
            ("ws://hä/", UriError::Character('ä')),
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
        assert!(UriError::Character('ä').to_string().contains("Punycode"));
        assert!(UriError::Fragment.to_string().contains("%23"));
    }
}
