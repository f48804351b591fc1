//! Limits and deadlines; each default has its reason.

/// Methods that set the field of the same name.
macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident($argument:ident: $Argument:ty) = $value:expr;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $field(mut self, $argument: $Argument) -> Self {
            self.$field = $value;
            self
        })*
    };
}

#[cfg(feature = "deflate")]
mod deflate;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::time::SHORTEST;

#[cfg(feature = "deflate")]
pub use self::deflate::Deflate;
#[cfg(feature = "deflate")]
pub(crate) use self::deflate::WINDOW_BITS;

pub use crate::network::{InvalidNetwork, Network};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The shortest head that can hold all the headers of an upgrade.
const SHORTEST_HEAD: usize = 64;

/// Limits, deadlines and policies of a connection, for both roles.
///
/// Set the fields, or chain the methods of the same names:
///
/// ```
/// # use bellwire_core as bellwire;
/// use bellwire::Config;
/// use std::time::Duration;
///
/// let config = Config::default().max_message(64 * 1024).idle_timeout(Duration::from_secs(60)).any_origin();
/// assert_eq!(config.max_text, 65_536);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The longest text message accepted, in bytes, its fragments together. Default 1 MiB, as in Python's websockets.
    pub max_text: usize,
    /// The longest binary message accepted, in bytes. Default 1 MiB.
    pub max_binary: usize,
    /// When a callback's sends leave more unsent bytes than this, reading pauses until they are below
    /// [`low_watermark`](Self::low_watermark). Default 64 KiB, as uWebSockets' `maxBackpressure`.
    pub high_watermark: usize,
    /// Paused reading resumes below this many unsent bytes. Default 16 KiB.
    pub low_watermark: usize,
    /// The most unsent bytes. A `send` that would exceed them is refused with
    /// [`SendError::Full`](crate::SendError::Full). An empty queue accepts one message of any size, which does
    /// not count, so at most this and one message are held. Default 1 MiB.
    pub max_queued: usize,
    /// What happens to a reader that is too slow. By default its messages are refused.
    pub slow_reader: SlowReader,
    /// How long the opening handshake may take in total, not per read. Default 10 s, as in Python's
    /// websockets.
    pub open_timeout: Option<Duration>,
    /// How long a server's handler may take to answer, if it does so later: through a [`Responder`](crate::Responder)
    /// or as a future. After that the peer gets 503, the future is dropped, and the responder has no effect. A handler
    /// that returns its answer runs to its end. Default 30 s, when browsers and proxies are about to give up.
    pub handler_timeout: Option<Duration>,
    /// How long the peer may take to answer a close frame, and to take what is still queued. Default 10 s.
    pub close_timeout: Option<Duration>,
    /// How long to read on after the last byte was sent and the sending side was closed, so that a reset does not
    /// destroy that byte on its way. Default 2 s.
    pub linger_timeout: Duration,
    /// A ping is sent after this long without a received byte, however much this side sends; and after this long
    /// without a sent one, because some proxies watch one direction only. Default 20 s, below the 30 s and 60 s after
    /// which common proxies cut idle connections.
    pub keepalive_interval: Option<Duration>,
    /// How long the peer may be silent after a keepalive ping has left. Any received byte ends the silence, not only a
    /// pong. Default 20 s.
    pub pong_timeout: Option<Duration>,
    /// The connection is closed with 1001 after this long without a received byte. Off by default: keepalive finds dead
    /// peers without cutting off quiet ones. Pongs end the silence as messages do (as in Ring), so this only takes
    /// effect if it is shorter than [`keepalive_interval`](Self::keepalive_interval).
    pub idle_timeout: Option<Duration>,
    /// Whether data frames that arrive after a local close are delivered. Default no, as in browsers.
    pub deliver_after_close: bool,
    /// The longest head of an HTTP message accepted, in bytes. Default 16 KiB, as in Node.
    pub max_head: usize,
    /// Which origins may open a WebSocket on a server. By default only the server's own.
    pub origins: Origins,
    /// The proxies that are believed when they name the client, and the host and the scheme that it asked for: see
    /// [`trusted_proxies`](Self::trusted_proxies). None by default.
    pub trusted_proxies: Vec<Network>,
    /// How messages are compressed, if the other side does so too: permessage-deflate (RFC 7692). Off by default: it
    /// costs memory and time, and [secrets](Deflate#secrets) need a thought.
    #[cfg(feature = "deflate")]
    pub deflate: Option<Deflate>,
}

/// What happens when a message does not fit into [`Config::max_queued`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SlowReader {
    /// `send` is refused with [`SendError::Full`](crate::SendError::Full); the connection stays open.
    #[default]
    Refuse,
    /// `send` is refused, and the connection fails with 1013 "try again later".
    Close,
}

/// Which origins may open a WebSocket on a server (RFC 6455 §10.2).
///
/// A request without `Origin` does not come from a browser and always passes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Origins {
    /// Only the server's own: the host and port of `Origin` are those of `Host`.
    #[default]
    Same,
    /// The server's own and these, compared as a whole without regard to ASCII case: `https://example.com`. One without
    /// a scheme is a host, perhaps with a port, and is compared as the server's own is: `example.com`.
    List(Vec<String>),
    /// Every origin.
    Any,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_text: MIB,
            max_binary: MIB,
            high_watermark: 64 * KIB,
            low_watermark: 16 * KIB,
            max_queued: MIB,
            slow_reader: SlowReader::Refuse,
            open_timeout: Some(Duration::from_secs(10)),
            handler_timeout: Some(Duration::from_secs(30)),
            close_timeout: Some(Duration::from_secs(10)),
            linger_timeout: Duration::from_secs(2),
            keepalive_interval: Some(Duration::from_secs(20)),
            pong_timeout: Some(Duration::from_secs(20)),
            idle_timeout: None,
            deliver_after_close: false,
            max_head: 16 * KIB,
            origins: Origins::Same,
            trusted_proxies: Vec::new(),
            #[cfg(feature = "deflate")]
            deflate: None,
        }
    }
}

impl Config {
    /// Sets the limit of text and of binary messages, in bytes.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_text = bytes;
        self.max_binary = bytes;
        self
    }

    /// Sets the watermarks between which reading pauses, in unsent bytes.
    #[must_use]
    pub fn watermarks(mut self, low: usize, high: usize) -> Self {
        self.low_watermark = low.min(high);
        self.high_watermark = high;
        self
    }

    setters! {
        /// Sets the limit of text messages, in bytes.
        max_text(bytes: usize) = bytes;
        /// Sets the limit of binary messages, in bytes.
        max_binary(bytes: usize) = bytes;
        /// Sets the most unsent bytes.
        max_queued(bytes: usize) = bytes;
        /// Sets what happens to a reader that is too slow.
        slow_reader(policy: SlowReader) = policy;
        /// Sets the deadline of the opening handshake; `None` waits for ever.
        open_timeout(timeout: impl Into<Option<Duration>>) = timeout.into();
        /// Sets the deadline of a handler that answers later; `None` waits for ever.
        handler_timeout(timeout: impl Into<Option<Duration>>) = timeout.into();
        /// Sets the deadline of the closing handshake; `None` waits for ever.
        close_timeout(timeout: impl Into<Option<Duration>>) = timeout.into();
        /// Sets how long to read on after the sending side was closed.
        linger_timeout(timeout: Duration) = timeout;
        /// Sets after how much silence a keepalive ping is sent; `None` sends none.
        keepalive_interval(interval: impl Into<Option<Duration>>) = interval.into();
        /// Sets how long the peer may be silent after a keepalive ping; `None` waits for ever.
        pong_timeout(timeout: impl Into<Option<Duration>>) = timeout.into();
        /// Sets after how much silence the connection is closed with 1001; `None` never closes it.
        idle_timeout(timeout: impl Into<Option<Duration>>) = timeout.into();
        /// Sets whether data frames that arrive after a local close are delivered.
        deliver_after_close(deliver: bool) = deliver;
        /// Sets the longest head of an HTTP message, in bytes.
        max_head(bytes: usize) = bytes;
    }

    /// Compresses messages, if the other side does so too; `None` does not.
    #[cfg(feature = "deflate")]
    #[must_use]
    pub fn deflate(mut self, deflate: impl Into<Option<Deflate>>) -> Self {
        self.deflate = deflate.into();
        self
    }

    /// Accepts upgrades from these origins besides the server's own, each written as browsers send it:
    /// `https://example.com`, `http://localhost:3000`. Behind a proxy that changes `Host`, name the public host:
    /// `example.com`, or `example.com:8443`.
    #[must_use]
    pub fn origins<I: IntoIterator<Item: Into<String>>>(mut self, origins: I) -> Self {
        self.origins = Origins::List(origins.into_iter().map(Into::into).collect());
        self
    }

    /// Believes the proxies at these addresses or in these networks, in `Forwarded` (RFC 7239) and in `X-Forwarded-For`,
    /// `-Host` and `-Proto`: whose the request is ([`client_ip`](crate::Request::client_ip)), which host the client has
    /// asked for ([`client_host`](crate::Request::client_host)), and over which scheme
    /// ([`client_scheme`](crate::Request::client_scheme)). Origins are compared with that host in the place of `Host`, and
    /// a page that came over `http` is not the server's own if it was asked for over `https`.
    ///
    /// Of several values the last counts, which is the proxy's own; in `X-Forwarded-For` and `Forwarded` those before it
    /// count as long as all that come after name trusted proxies. Headers that contradict each other are ignored, and so
    /// are those that come from anywhere else. A transport without an [address](crate::Request::peer_addr), such as a Unix
    /// socket, is not trusted.
    ///
    /// Name only proxies that set these headers, or remove those that they do not set: what a client says in one that the
    /// proxy does not know is passed on as it came.
    ///
    /// ```
    /// # use bellwire_core as bellwire;
    /// use bellwire::Config;
    ///
    /// let config = Config::default().trusted_proxies(["127.0.0.1", "10.0.0.0/8"])?;
    /// # Ok::<(), bellwire::config::InvalidNetwork>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidNetwork`] if one of them is neither an address nor a network.
    pub fn trusted_proxies<I: IntoIterator<Item: AsRef<str>>>(mut self, networks: I) -> Result<Self, InvalidNetwork> {
        self.trusted_proxies =
            networks.into_iter().map(|network| network.as_ref().parse()).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Accepts upgrades from any origin. Safe only where no cookie and no network position authorises.
    #[must_use]
    pub fn any_origin(mut self) -> Self {
        self.origins = Origins::Any;
        self
    }

    /// Checks that a server or a client can work with this. `connect`, `Server::run` and the like do so; a loop of your
    /// own may.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the option that cannot be meant so, and what to set instead: a timeout of zero, which
    /// many take for "off" and which would fail everything at once, or limits that contradict each other.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        self.check_open()?;
        for (option, timeout) in [("open_timeout", self.open_timeout), ("handler_timeout", self.handler_timeout)] {
            if timeout == Some(Duration::ZERO) {
                let advice = "nothing is that fast: set some seconds, or None to wait for ever";
                return Err(InvalidConfig { option, timeout, advice });
            }
        }
        if self.max_head < SHORTEST_HEAD {
            let advice = "no request is that short: set some KiB";
            return Err(InvalidConfig { option: "max_head", timeout: None, advice });
        }
        Ok(())
    }

    /// The same for what counts when the handshake is done: for a single upgrade.
    pub(crate) fn check_open(&self) -> Result<(), InvalidConfig> {
        let silences = [
            ("keepalive_interval", self.keepalive_interval),
            ("pong_timeout", self.pong_timeout),
            ("idle_timeout", self.idle_timeout),
        ];
        for (option, timeout) in silences {
            if timeout.is_some_and(|timeout| timeout < SHORTEST) {
                let advice = "set at least 10 ms, or None to switch it off";
                return Err(InvalidConfig { option, timeout, advice });
            }
        }
        if self.low_watermark > self.high_watermark {
            let advice = "set it to at most high_watermark: reading stops above that, and goes on below this";
            return Err(InvalidConfig { option: "low_watermark", timeout: None, advice });
        }
        #[cfg(feature = "deflate")]
        if let Some(deflate) = &self.deflate {
            deflate.check()?;
        }
        Ok(())
    }
}

/// The reason why a [`Config`] is invalid. Its text names the option, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidConfig {
    option: &'static str,
    timeout: Option<Duration>,
    advice: &'static str,
}

impl InvalidConfig {
    /// Returns the name of the option.
    pub fn option(&self) -> &'static str {
        self.option
    }
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { option, timeout, advice } = self;
        match timeout {
            Some(timeout) => write!(f, "Config::{option} is {timeout:?}: {advice}"),
            None => write!(f, "Config::{option} cannot work: {advice}"),
        }
    }
}

impl core::error::Error for InvalidConfig {}

#[cfg(feature = "std")]
impl From<InvalidConfig> for std::io::Error {
    fn from(error: InvalidConfig) -> Self {
        Self::new(std::io::ErrorKind::InvalidInput, error)
    }
}
