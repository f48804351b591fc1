//! Why a proxy has not announced its client.

use core::fmt;

/// The reason why there is no header of the PROXY protocol where one has to be: on a connection from one of the networks
/// that `Server::proxy_protocol` was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyProtocolError {
    /// The connection begins with something else.
    Missing,
    /// It begins as a header, and goes on as none.
    Malformed,
    /// The header is longer than 107 bytes, in version 1, or than [`Config::max_head`](crate::Config::max_head), in
    /// version 2.
    TooLong,
    /// The connection has ended amid the header.
    Truncated,
    /// The header has not come within [`Config::open_timeout`](crate::Config::open_timeout).
    TimedOut,
}

impl fmt::Display for ProxyProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "the connection does not begin with the PROXY protocol, which this address has to speak: switch it on in the \
                 proxy (HAProxy: send-proxy-v2; nginx: proxy_protocol on), or do not name this address in proxy_protocol"
            }
            Self::Malformed => "the header of the PROXY protocol is malformed: send version 1 or 2 as HAProxy specifies it",
            Self::TooLong => {
                "the header of the PROXY protocol is too long: version 1 has at most 107 bytes; for more fields in version \
                 2, raise Config::max_head"
            }
            Self::Truncated => "the connection has ended amid the header of the PROXY protocol",
            Self::TimedOut => {
                "the header of the PROXY protocol has not come in time: send it as soon as the connection is there, or raise \
                 Config::open_timeout"
            }
        })
    }
}

impl core::error::Error for ProxyProtocolError {}
