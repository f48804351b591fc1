//! Streams that the caller has accepted.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

#[cfg(feature = "proxy-protocol")]
use bellwire_core::backend::ProxyProtocol;
use bellwire_core::backend::report::printing;
use bellwire_core::backend::{Driver, Service, stream_service};
#[cfg(feature = "proxy-protocol")]
use bellwire_core::config::InvalidNetwork;
use bellwire_core::listener::IntoResponse;
use bellwire_core::proto::Time;
use bellwire_core::{Config, Request, Responder, ServerError};

use crate::drive::Drive;
use crate::end::End;
use crate::incoming::Proxies;
use crate::message_stream::MessageStream;
use crate::server::{print, server_driver, unix_time};
use crate::stream::Stream;
use crate::wait::wait_until;

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory.
#[derive(Debug, Clone)]
pub struct Acceptor {
    service: Arc<Service>,
    proxies: Proxies,
}

impl Acceptor {
    /// Answers every request with `handler`. What goes wrong outside of any listener is printed on stderr, each kind at
    /// most once per minute, unless there is another [hook](Self::on_error).
    pub fn new<R: IntoResponse>(handler: impl Fn(&Request) -> R + Send + Sync + 'static) -> Self {
        Self::from_service(Arc::new(Service::new(Config::default(), handler, printing(unix_time, print))))
    }

    /// As [`new`](Self::new), with a handler that answers through its [`Responder`], at once or later.
    pub fn new_with(handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Self {
        Self::from_service(Arc::new(Service::with_responder(Config::default(), handler, printing(unix_time, print))))
    }

    /// Sets limits, deadlines and policies of connections that do not bring their own. The acceptor is a new one, which
    /// does not know the connections of its clones.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        let service = self.service.with_config(config);
        self.with_service(service)
    }

    /// Sets what is told of failures outside of any listener, in place of stderr; `on_error(|_| ())` makes it quiet.
    /// The acceptor is a new one, as after [`config`](Self::config).
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        let service = self.service.with_hook(hook);
        self.with_service(service)
    }

    fn with_service(self, service: Service) -> Self {
        Self { proxies: self.proxies, ..Self::from_service(Arc::new(service)) }
    }

    /// Reads the PROXY protocol on each stream whose `peer` is one of these addresses or in one of these networks, before
    /// anything else: [`Server::proxy_protocol`](crate::Server::proxy_protocol) says more. The streams are to be those of
    /// the proxy as they were accepted; over TLS that you make yourself, the header has to come within.
    ///
    /// # Errors
    /// [`InvalidNetwork`] if one of them is neither an address nor a network.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol<I: IntoIterator<Item: AsRef<str>>>(mut self, networks: I) -> Result<Self, InvalidNetwork> {
        self.proxies.announcing = ProxyProtocol::new(networks)?;
        Ok(self)
    }

    /// Creates an acceptor for a service that the caller keeps.
    pub fn from_service(service: Arc<Service>) -> Self {
        service.lend_clock(unix_time);
        Self { service, proxies: Proxies::default() }
    }

    /// Drives a stream on this thread, from the request to the end of the connection. `peer` is what
    /// [`Request::peer_addr`] says.
    pub fn accept(&self, stream: impl Stream, peer: Option<SocketAddr>) {
        let (stream, origin) = self.proxies.take_in(stream, peer, self.service.config().max_head);
        let driver = server_driver(self.service.clone(), origin);
        Drive::new(Arc::new(stream), driver, Instant::now()).run(&mut []);
    }

    /// Returns how many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned.
    /// Plain requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.service.registry().connections()
    }

    /// Closes every open connection with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.service.registry().close_all();
    }
}

/// Answers the one request on a stream that the caller has accepted, and makes a [`MessageStream`] of the connection. It
/// takes no longer than [`Config::open_timeout`].
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::Config;
/// use bellwire::blocking::accept_stream;
/// use std::net::TcpListener;
/// use std::thread;
///
/// for tcp in TcpListener::bind("127.0.0.1:9001")?.incoming() {
///     let tcp = tcp?;
///     thread::spawn(move || {
///         let mut messages = accept_stream(tcp, Config::default())?;
///         while let Some(Ok(message)) = messages.recv() {
///             println!("{message:?}");
///         }
///         Ok::<(), std::io::Error>(())
///     });
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// What was wrong with the request, in words; the peer was told. Those of the system if no thread can be started for the
/// connection.
pub fn accept_stream(stream: impl Stream, config: Config) -> io::Result<MessageStream> {
    let close_timeout = config.close_timeout;
    let (service, accepted) = stream_service(config);
    service.lend_clock(unix_time);
    let driver = Driver::server(service, None, Time::ZERO);
    let drive = Drive::new(Arc::new(stream), driver, Instant::now());
    // If nothing comes of the request, `accepted` learns it when the last of the service is gone.
    let thread = thread::Builder::new().name("bellwire".into()).spawn(move || drive.run(&mut []))?;
    let messages = wait_until(None, accepted).unwrap_or_else(|| Err(ErrorKind::TimedOut.into()))?;
    let end = End::new(messages.socket().clone(), close_timeout, thread);
    Ok(MessageStream::new(messages, end))
}
