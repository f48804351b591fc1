//! Why there is no proxy, or no connection through it.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
#[cfg(feature = "std")]
use std::io;

use super::challenge::schemes;
use crate::handshake::client::Response;
use crate::http::{HeadError, InvalidHeader, Shown, reason_phrase};
use crate::tls::TlsError;

/// The reason why a client could not connect through a proxy.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProxyError {
    /// A proxy's URL or header is invalid.
    Invalid(InvalidProxy),
    /// The environment variable of this name is invalid.
    Variable(&'static str, InvalidProxy),
    /// The host is neither a name nor an address, or its name has more than 255 bytes and the proxy is a SOCKS5 proxy.
    Host,
    /// The proxy's name could not be resolved.
    #[cfg(feature = "std")]
    Resolve(io::Error),
    /// None of the proxy's addresses could be connected to; the error names each of them.
    #[cfg(feature = "std")]
    Connect(io::Error),
    /// TLS could not be agreed on with an `https://` proxy.
    Tls(TlsError),
    /// The transport failed before the proxy had answered.
    #[cfg(feature = "std")]
    Io(io::Error),
    /// The proxy ended the transport before its answer was complete.
    Eof,
    /// The proxy answered CONNECT with a status other than 2xx: this is its answer. The text of the error quotes the
    /// start of its body, escaped; of a 407 it says which credentials the proxy takes.
    Refused(Box<Response>),
    /// The proxy's answer to CONNECT is not HTTP/1.
    NotHttp,
    /// The head of the proxy's answer is longer than [`Config::max_head`](crate::Config::max_head).
    TooLarge,
    /// The head of the proxy's answer has more than this many fields: one for each 16 bytes of
    /// [`Config::max_head`](crate::Config::max_head), and at least 100.
    TooManyFields(usize),
    /// The proxy's answer is not SOCKS5.
    NotSocks5,
    /// The SOCKS5 proxy wants to be told who asks, and there is no user name in its URL.
    CredentialsNeeded,
    /// The SOCKS5 proxy did not accept user name and password.
    CredentialsRefused,
    /// The SOCKS5 proxy takes neither user name and password nor clients without, only another method.
    NoMethod,
    /// The SOCKS5 proxy could not connect to the host, or did not want to.
    Socks(SocksFailure),
    /// Bytes came after the proxy's answer, though a client speaks first through it; or the answer before the question.
    SpokeFirst,
}

/// What a SOCKS5 proxy says about the connection that it did not make (RFC 1928 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SocksFailure {
    /// X'01': general SOCKS server failure.
    General,
    /// X'02': connection not allowed by ruleset.
    NotAllowed,
    /// X'03': network unreachable.
    NetworkUnreachable,
    /// X'04': host unreachable. Many proxies say so of a name that they cannot resolve.
    HostUnreachable,
    /// X'05': connection refused.
    Refused,
    /// X'06': TTL expired.
    TtlExpired,
    /// X'07': command not supported.
    CommandNotSupported,
    /// X'08': address type not supported.
    AddressTypeNotSupported,
    /// A code that has no meaning in RFC 1928.
    Unassigned(u8),
}

/// The reason why this is not a proxy. It quotes nothing, since there may be a password in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InvalidProxy {
    /// The URL does not begin with `http://`, `https://`, `socks5://` or `socks5h://`.
    Scheme,
    /// The user name and the password cannot be sent: with HTTP the former has a colon, or either has a control character
    /// (RFC 7617 §2), or with SOCKS5 either is longer than 255 bytes (RFC 1929 §2).
    Credentials,
    /// There is no host.
    NoHost,
    /// The host is neither a name nor an address.
    Host,
    /// The port is not a number from 1 to 65535.
    Port,
    /// There is a path, a query or a fragment, or a user name or a password with such a character in it.
    Path,
    /// A header cannot be sent.
    Header(InvalidHeader),
    /// A header is set for a SOCKS5 proxy.
    NoHeaders,
    /// An entry of `NO_PROXY` is none.
    Exception,
}

impl ProxyError {
    /// Returns the proxy's answer if it refused, with a status other than 2xx.
    pub fn response(&self) -> Option<&Response> {
        match self {
            Self::Refused(response) => Some(response),
            _ => None,
        }
    }

    /// Returns `true` if the same might succeed later.
    pub(in crate::handshake) fn is_retryable(&self) -> bool {
        match self {
            #[cfg(feature = "std")]
            Self::Resolve(_) | Self::Connect(_) | Self::Io(_) => true,
            Self::Eof | Self::Tls(TlsError::Eof) => true,
            Self::Refused(response) => response.is_transient(),
            Self::Socks(failure) => failure.is_transient(),
            _ => false,
        }
    }
}

impl SocksFailure {
    /// Returns `true` if it is about the way to the host, which may be another one soon.
    fn is_transient(self) -> bool {
        matches!(
            self,
            Self::General | Self::NetworkUnreachable | Self::HostUnreachable | Self::Refused | Self::TtlExpired
        )
    }
}

impl From<InvalidProxy> for ProxyError {
    fn from(error: InvalidProxy) -> Self {
        Self::Invalid(error)
    }
}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::Malformed | HeadError::Tls | HeadError::ProxyProtocol | HeadError::Version => Self::NotHttp,
            HeadError::LineTooLong | HeadError::TooLarge => Self::TooLarge,
            HeadError::TooManyFields(most) => Self::TooManyFields(most),
        }
    }
}

impl From<u8> for SocksFailure {
    fn from(code: u8) -> Self {
        match code {
            1 => Self::General,
            2 => Self::NotAllowed,
            3 => Self::NetworkUnreachable,
            4 => Self::HostUnreachable,
            5 => Self::Refused,
            6 => Self::TtlExpired,
            7 => Self::CommandNotSupported,
            8 => Self::AddressTypeNotSupported,
            code => Self::Unassigned(code),
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::Variable(name, error) => write!(f, "the environment variable {name} is invalid: {error}"),
            Self::Host => f.write_str(
                "the proxy cannot be asked for this host: it is neither a name nor an address, or longer than the 255 \
                 bytes that SOCKS5 can carry",
            ),
            #[cfg(feature = "std")]
            Self::Resolve(error) => write!(f, "cannot resolve the proxy's host: {error}"),
            #[cfg(feature = "std")]
            Self::Connect(error) => write!(f, "cannot connect to the proxy: {error}"),
            Self::Tls(error) => write!(f, "no TLS with the proxy: {error}"),
            #[cfg(feature = "std")]
            Self::Io(error) => write!(f, "the transport failed before the proxy had answered: {error}"),
            Self::Eof => f.write_str(
                "the proxy closed the connection before it had answered: check its port, and its scheme (http://, \
                 https://, socks5://)",
            ),
            Self::Refused(response) => fmt_refusal(response, f),
            Self::NotHttp => f.write_str(
                "the proxy's answer is not HTTP/1: check its port, and its scheme (https:// if it wants TLS, socks5:// \
                 if it is a SOCKS proxy)",
            ),
            Self::TooLarge => {
                f.write_str("the head of the proxy's answer is too large: raise Config::max_head if that is right")
            }
            Self::TooManyFields(most) => write!(
                f,
                "the proxy's answer has more than {most} header fields: if that is right, raise Config::max_head, which \
                 allows one for each 16 bytes"
            ),
            Self::NotSocks5 => f.write_str(
                "the proxy's answer is not SOCKS5: check its port, and its scheme (http:// if it is an HTTP proxy)",
            ),
            Self::CredentialsNeeded => {
                f.write_str("the SOCKS5 proxy wants credentials: put user:password@ before the host in its URL")
            }
            Self::CredentialsRefused => {
                f.write_str("the SOCKS5 proxy did not accept the user name and the password: correct those in its URL")
            }
            Self::NoMethod => f.write_str(
                "the SOCKS5 proxy does not accept a user name and a password: it wants a method of authentication that \
                 bellwire does not speak",
            ),
            Self::Socks(failure) => write!(f, "the SOCKS5 proxy did not connect to the host: {failure}"),
            Self::SpokeFirst => f.write_str(
                "bytes came after the proxy's answer, before anything was sent through it: it is no proxy for \
                 connections, or the host does not speak TLS or HTTP",
            ),
        }
    }
}

/// Describes a refusal. Of a 407 it says which header to give; 401 is what some proxies answer to a wrong password.
fn fmt_refusal(response: &Response, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let status = response.status();
    if matches!(status, 401 | 407) {
        return fmt_unauthorized(status, &schemes(response.headers()), f);
    }
    write!(f, "the proxy refused to connect to the host with status {status}")?;
    match reason_phrase(status) {
        "" => {}
        reason => write!(f, " ({reason})")?,
    }
    // The start of a page is markup, and says nothing.
    if response.body().trim_ascii_start().starts_with(b"<") { Ok(()) } else { response.fmt_body(f) }
}

fn fmt_unauthorized(status: u16, schemes: &[String], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "the proxy wants credentials, or others (status {status}")?;
    if !schemes.is_empty() {
        write!(f, ", Proxy-Authenticate: {}", Shown(&schemes.join(", ")))?;
    }
    match schemes.is_empty() || schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("Basic")) {
        true => f.write_str("): put user:password@ before the host in its URL"),
        false => f.write_str("): set them with Proxy::header(\"Proxy-Authorization\", ..)"),
    }
}

impl fmt::Display for SocksFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::General => "general failure",
            Self::NotAllowed => "its rules do not allow it",
            Self::NetworkUnreachable => "the network is unreachable",
            Self::HostUnreachable => "the host is unreachable, or its name unknown",
            Self::Refused => "the host refused the connection",
            Self::TtlExpired => "the time to live has expired",
            Self::CommandNotSupported => "it does not support CONNECT",
            Self::AddressTypeNotSupported => {
                "it does not support this type of address: with socks5h:// it is given names, with socks5:// addresses"
            }
            Self::Unassigned(code) => return write!(f, "with code {code}, which RFC 1928 does not know"),
        })
    }
}

impl fmt::Display for InvalidProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => {
                "the proxy's URL has no scheme that is known: put http://, https://, socks5:// or socks5h:// in front"
            }
            Self::Credentials => {
                "the user name and the password in the proxy's URL cannot be sent: with HTTP, no colon in the user name \
                 and no control characters; with SOCKS5, at most 255 bytes each"
            }
            Self::NoHost => "the proxy's URL has no host: name one, an IPv6 address in brackets",
            Self::Host => {
                "the proxy's host is neither a name nor an address: write an IPv6 address as [::1], and a name that is \
                 not ASCII in Punycode (xn--..)"
            }
            Self::Port => {
                "the proxy's port is not a number from 1 to 65535: correct it, or put an IPv6 address in brackets"
            }
            Self::Path => {
                "the proxy's URL goes on after host and port: remove that, and percent-encode special characters in \
                 the user name and the password (`/` is %2F, `?` %3F, `#` %23, `@` %40)"
            }
            Self::Header(error) => return error.fmt(f),
            Self::NoHeaders => "a SOCKS5 proxy knows no headers: put user:password@ before the host in its URL",
            Self::Exception => {
                "an entry is neither `*`, a name, an address nor a network: write example.com, example.com:8080, \
                 10.0.0.1, [::1] or 10.0.0.0/8, with commas between them"
            }
        })
    }
}

/// The text includes that of the error inside, so the source is that error's source.
impl core::error::Error for ProxyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            #[cfg(feature = "std")]
            Self::Resolve(error) | Self::Connect(error) | Self::Io(error) => error.source(),
            Self::Tls(error) => error.source(),
            // Those of bellwire's own have none.
            _ => None,
        }
    }
}

impl core::error::Error for SocksFailure {}

impl core::error::Error for InvalidProxy {}
