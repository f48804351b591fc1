//! With what TLS is spoken, on either side.

#[cfg(feature = "__rustls")]
use alloc::sync::Arc;
use core::fmt;

use super::TlsError;

/// With what a client speaks TLS: [`Target::tls`](crate::Target::tls) takes whatever makes one.
///
/// With the feature `rustls` that is a `rustls::ClientConfig`, or an `Arc` of one: client certificates, roots of your
/// own. With the feature `native-tls` it is a `native_tls::TlsConnector`. If it offers no protocol (ALPN, RFC 7301),
/// `http/1.1` is offered; native-tls offers what its builder was told.
#[derive(Clone)]
pub struct ClientTls(pub(super) Client);

/// With what a server speaks TLS: `Server::tls` takes whatever makes one.
///
/// With the feature `rustls` that is a `rustls::ServerConfig`, or an `Arc` of one; with the feature `native-tls` a
/// `native_tls::TlsAcceptor`. If it names no protocol (ALPN, RFC 7301), `http/1.1` is chosen when it is offered.
#[derive(Clone)]
pub struct ServerTls(pub(super) Server);

#[derive(Clone)]
pub(super) enum Client {
    #[cfg(feature = "__rustls")]
    Rustls(Arc<rustls::ClientConfig>),
    #[cfg(feature = "native-tls")]
    Native(native_tls::TlsConnector),
}

#[derive(Clone)]
pub(super) enum Server {
    #[cfg(feature = "__rustls")]
    Rustls(Arc<rustls::ServerConfig>),
    #[cfg(feature = "native-tls")]
    Native(native_tls::TlsAcceptor),
}

impl ClientTls {
    /// Returns what is used without [`Target::tls`](crate::Target::tls): rustls if that is built in, with the roots of
    /// the system (with those of Mozilla if the feature `webpki-roots` is on); otherwise native-tls. rustls reads its
    /// roots once.
    ///
    /// # Errors
    /// [`TlsError::Setup`] if the roots cannot be read, or a feature is missing; [`TlsError::NotBuiltIn`].
    pub fn platform() -> Result<Self, TlsError> {
        #[cfg(feature = "__rustls")]
        return super::rustls::platform().map(Self::from);
        #[cfg(all(feature = "native-tls", not(feature = "__rustls")))]
        return super::native::platform().map(Self::from);
        #[cfg(not(feature = "__tls"))]
        return Err(TlsError::NotBuiltIn);
    }
}

#[cfg(feature = "__rustls")]
impl From<Arc<rustls::ClientConfig>> for ClientTls {
    fn from(mut config: Arc<rustls::ClientConfig>) -> Self {
        if config.alpn_protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = alloc::vec![super::ALPN.into()];
        }
        Self(Client::Rustls(config))
    }
}

#[cfg(feature = "__rustls")]
impl From<rustls::ClientConfig> for ClientTls {
    fn from(config: rustls::ClientConfig) -> Self {
        Arc::new(config).into()
    }
}

#[cfg(feature = "native-tls")]
impl From<native_tls::TlsConnector> for ClientTls {
    fn from(connector: native_tls::TlsConnector) -> Self {
        Self(Client::Native(connector))
    }
}

#[cfg(feature = "__rustls")]
impl From<Arc<rustls::ServerConfig>> for ServerTls {
    fn from(mut config: Arc<rustls::ServerConfig>) -> Self {
        if config.alpn_protocols.is_empty() {
            Arc::make_mut(&mut config).alpn_protocols = alloc::vec![super::ALPN.into()];
        }
        Self(Server::Rustls(config))
    }
}

#[cfg(feature = "__rustls")]
impl From<rustls::ServerConfig> for ServerTls {
    fn from(config: rustls::ServerConfig) -> Self {
        Arc::new(config).into()
    }
}

#[cfg(feature = "native-tls")]
impl From<native_tls::TlsAcceptor> for ServerTls {
    fn from(acceptor: native_tls::TlsAcceptor) -> Self {
        Self(Server::Native(acceptor))
    }
}

/// Without keys.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// Without keys.
impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}
