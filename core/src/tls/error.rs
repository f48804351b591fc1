//! Why there is no TLS.

use core::fmt;

use crate::protocol::BoxError;

/// The reason why TLS cannot be spoken with a peer.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// Neither the feature `rustls` nor `native-tls` is on.
    NotBuiltIn,
    /// TLS cannot be set up on this side: the system's roots cannot be read, or a feature is missing.
    Setup(BoxError),
    /// The host is neither a name nor an address that a certificate can be for.
    Name,
    /// The peer's certificate is not to be trusted: why.
    Certificate(BoxError),
    /// What came is not TLS: the peer speaks something else on this port, perhaps plain HTTP.
    NotTls,
    /// The peer ended the connection within the TLS handshake.
    Eof,
    /// The peer refused, or broke a rule of TLS.
    Protocol(BoxError),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuiltIn => f.write_str(
                "wss:// needs TLS: turn on bellwire's feature `rustls` (or `native-tls`), or make the TLS stream and hand \
                 it to connect_over",
            ),
            Self::Setup(error) => write!(f, "TLS cannot be set up: {error}"),
            Self::Name => f.write_str("the host is neither a name nor an address that a certificate can be for"),
            Self::Certificate(error) => write!(
                f,
                "the peer's certificate is not trusted: {error} (roots of your own are given with Target::tls)"
            ),
            Self::NotTls => f.write_str(
                "the peer does not speak TLS on this port: check the port, and whether ws:// is meant instead of wss://",
            ),
            Self::Eof => f.write_str("the peer ended the connection within the TLS handshake"),
            Self::Protocol(error) => write!(f, "TLS failed: {error}"),
        }
    }
}

#[cfg(feature = "std")]
impl TlsError {
    /// Takes what is wrong with TLS out of the error of a transport in TLS.
    ///
    /// # Errors
    /// With the error itself if it is of another kind.
    pub fn from_io(error: std::io::Error) -> Result<Self, std::io::Error> {
        if !error.get_ref().is_some_and(|inner| inner.is::<Self>()) {
            return Err(error);
        }
        let kind = error.kind();
        match error.into_inner().map(|inner| inner.downcast::<Self>()) {
            Some(Ok(error)) => Ok(*error),
            _ => Err(kind.into()),
        }
    }
}

/// The text includes that of the error inside, so the source is that error's source.
impl core::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Setup(error) | Self::Certificate(error) | Self::Protocol(error) => error.source(),
            _ => None,
        }
    }
}
