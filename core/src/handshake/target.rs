//! What every backend's `connect` takes, and what it can fail with.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use core::net::SocketAddr;
use std::io;

use super::client::{Handshake, HandshakeError, InvalidProtocol, Request};
use crate::config::{Config, InvalidConfig};
use crate::entropy::SystemEntropy;
use crate::http::{InvalidHeader, Uri, UriError};
use crate::time::Time;

/// Where a client connects, and how: a URL, headers, subprotocols, limits and deadlines.
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::{Config, Target};
///
/// let target = Target::new("ws://example.com/chat")?
///     .header("Authorization", "Bearer 42")?
///     .protocol("mqtt")?
///     .config(Config::default().max_message(64 * 1024));
/// # Ok::<(), bellwire::ConnectError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Target {
    request: Request,
    config: Arc<Config>,
    peer_addr: Option<SocketAddr>,
}

/// What `connect` takes: a [`Target`], or the URL of one with the default configuration.
#[diagnostic::on_unimplemented(message = "`{Self}` is neither a URL nor a `Target`")]
pub trait IntoTarget {
    /// The target.
    ///
    /// # Errors
    /// [`ConnectError::Url`], which says what is wrong with the URL.
    fn into_target(self) -> Result<Target, ConnectError>;
}

impl Target {
    /// A connection to this `ws://` or `wss://` URL, with the default configuration. It is read as browsers read it, and
    /// a user name and a password in it are sent as Basic credentials: see [`Uri`].
    ///
    /// # Errors
    /// [`ConnectError::Url`], which says what is wrong with it.
    pub fn new(url: &str) -> Result<Self, ConnectError> {
        Ok(Self { request: Request::new(url).map_err(ConnectError::Url)?, config: Arc::default(), peer_addr: None })
    }

    /// Adds a header to the request. A `User-Agent` takes the place of bellwire's own (`bellwire/` and its version), an
    /// `Authorization` that of the credentials in the URL; either is not sent at all if its value is empty.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Target;
    ///
    /// let target = Target::new("ws://example.com/")?.header("User-Agent", "my-feed/2.1")?;
    /// let anonymous = Target::new("ws://example.com/")?.header("User-Agent", "")?;
    /// # Ok::<(), bellwire::ConnectError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Header`] for a malformed one, and for those of the handshake itself.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.request = self.request.header(name, value).map_err(ConnectError::Header)?;
        Ok(self)
    }

    /// Offers a subprotocol; the first offered is the most wanted.
    ///
    /// # Errors
    /// [`ConnectError::Protocol`] for one that is no token or was offered before.
    pub fn protocol(mut self, protocol: impl Into<String>) -> Result<Self, ConnectError> {
        self.request = self.request.protocol(protocol).map_err(ConnectError::Protocol)?;
        Ok(self)
    }

    /// Asks for this request target, byte for byte, in place of path and query of the URL: for a service that wants what
    /// no URL has. See [`Request::request_target`].
    ///
    /// # Errors
    /// [`ConnectError::Url`] if it is empty, or has a blank or a control character.
    pub fn request_target(mut self, target: impl AsRef<[u8]>) -> Result<Self, ConnectError> {
        self.request = self.request.request_target(target).map_err(ConnectError::Url)?;
        Ok(self)
    }

    /// Sets limits and deadlines.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// Says where the other end of a stream is that is handed to `connect_over`, TLS for example: for
    /// [`WebSocket::peer_addr`](crate::WebSocket::peer_addr). `connect` knows it without.
    #[must_use]
    pub fn peer_addr(mut self, addr: impl Into<Option<SocketAddr>>) -> Self {
        self.peer_addr = addr.into();
        self
    }

    /// Where to connect.
    pub fn uri(&self) -> &Uri {
        self.request.uri()
    }

    /// Begins the opening handshake, with keys from the operating system.
    pub fn handshake(&self, now: Time) -> Handshake {
        let mut handshake = Handshake::new(&self.request, self.config.clone(), Box::new(SystemEntropy), now);
        handshake.set_peer_addr(self.peer_addr);
        handshake
    }
}

impl IntoTarget for Target {
    fn into_target(self) -> Result<Target, ConnectError> {
        self.config.check().map_err(ConnectError::Config)?;
        Ok(self)
    }
}

impl IntoTarget for &str {
    fn into_target(self) -> Result<Target, ConnectError> {
        Target::new(self)
    }
}

impl IntoTarget for &String {
    fn into_target(self) -> Result<Target, ConnectError> {
        Target::new(self)
    }
}

impl IntoTarget for String {
    fn into_target(self) -> Result<Target, ConnectError> {
        Target::new(&self)
    }
}

/// Why there is no connection. No callback has run.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not a good one.
    Url(UriError),
    /// A header cannot be sent.
    Header(InvalidHeader),
    /// A subprotocol cannot be offered.
    Protocol(InvalidProtocol),
    /// The configuration is not a good one.
    Config(InvalidConfig),
    /// `wss://` needs TLS, which is not built in: make the TLS stream and use the backend's `connect_over`.
    Tls,
    /// The host's name could not be resolved.
    Resolve(io::Error),
    /// No address of the host could be connected to: what each of them said.
    Connect(io::Error),
    /// It took longer than [`Config::open_timeout`](crate::Config::open_timeout).
    Timeout,
    /// The server refused, or its answer is not that of a WebSocket server.
    Handshake(HandshakeError),
    /// The transport failed during the handshake.
    Io(io::Error),
    /// No thread could be started for the connection.
    Thread(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Header(error) => error.fmt(f),
            Self::Protocol(error) => error.fmt(f),
            Self::Config(error) => error.fmt(f),
            Self::Tls => {
                f.write_str("wss:// needs TLS, which is not built in: make the TLS stream and hand it to connect_over, or connect_stream_over")
            }
            Self::Resolve(error) => write!(f, "cannot resolve the host: {error}"),
            Self::Connect(error) => write!(f, "cannot connect: {error}"),
            Self::Timeout => f.write_str("connecting took longer than the open timeout"),
            Self::Handshake(error) => error.fmt(f),
            Self::Io(error) => write!(f, "the transport failed during the handshake: {error}"),
            Self::Thread(error) => write!(f, "cannot start a thread for the connection: {error}"),
        }
    }
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Url(error) => Some(error),
            Self::Header(error) => Some(error),
            Self::Protocol(error) => Some(error),
            Self::Config(error) => Some(error),
            Self::Resolve(error) | Self::Connect(error) | Self::Io(error) | Self::Thread(error) => Some(error),
            Self::Handshake(error) => Some(error),
            Self::Tls | Self::Timeout => None,
        }
    }
}
