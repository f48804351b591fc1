//! Accepts: a thread for each connection.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

#[cfg(feature = "proxy-protocol")]
use bellwire_core::backend::ProxyProtocol;
use bellwire_core::backend::report::printing;
use bellwire_core::backend::{Driver, Registration, Registry, Service, Session, Stage, accept_failed};
#[cfg(feature = "proxy-protocol")]
use bellwire_core::config::InvalidNetwork;
use bellwire_core::listener::IntoResponse;
use bellwire_core::proto::Time;
use bellwire_core::{Config, Request, Responder, ServerError, ServerTls};

use crate::drive::Drive;
use crate::incoming::{Origin, Proxies};
use crate::stream::Stream;
use crate::tls::TlsStream;
use crate::wait::block_on;

/// How many connections a server has at most, unless it is told otherwise: each has a thread.
const MAX_CONNECTIONS: usize = 10_000;

pub(crate) type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

/// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
/// options, tells its address, and can be shut down.
///
/// Refused requests and failures of the handler are printed on stderr, each kind at most once per minute;
/// [`Server::on_error`] takes another hook.
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve<R: IntoResponse>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `serve_async` of an async runtime
) -> io::Result<()> {
    Server::bind(addr)?.run(handler)
}

/// As [`serve`], with a handler that answers through its [`Responder`], at once or later.
/// [`Server::run_with`] has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod blocking { pub use bellwire_blocking::*; } }
/// use bellwire::blocking::serve_with;
/// use bellwire::{Response, listener};
/// use std::thread;
///
/// serve_with("127.0.0.1:9001", |request, responder| {
///     thread::spawn(move || match request.path() {
///         "/echo" => responder.respond(Response::websocket(
///             listener().on_message(|socket, message| socket.send(message)),
///         )),
///         _ => responder.respond(Response::not_found()),
///     });
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// If the address cannot be listened on.
pub fn serve_with(
    addr: impl ToSocketAddrs,
    handler: impl Fn(Request, Responder) + Send + Sync + 'static,
) -> io::Result<()> {
    Server::bind(addr)?.run_with(handler)
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    config: Config,
    max_connections: usize,
    on_error: OnError,
    registry: Arc<Registry>,
    tls: Option<ServerTls>,
    proxies: Proxies,
}

/// Shuts a [`Server`] down, from any thread.
#[derive(Clone)]
pub struct ServerHandle {
    addr: Option<SocketAddr>,
    registry: Arc<Registry>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addr", &self.local_addr().ok())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ServerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerHandle").field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on an address. Port 0 lets the system choose one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// If the address cannot be listened on: it is in use, say. The message names it.
    pub fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut error = io::Error::new(ErrorKind::InvalidInput, "there is no such address to listen on");
        for addr in addr.to_socket_addrs()? {
            match TcpListener::bind(addr) {
                Ok(listener) => return Ok(Self::from_listener(listener)),
                Err(cause) => error = io::Error::new(cause.kind(), format!("cannot listen on {addr}: {cause}")),
            }
        }
        Err(error)
    }

    /// Serves a listener that the caller has made.
    pub fn from_listener(listener: TcpListener) -> Self {
        Self {
            listener,
            config: Config::default(),
            max_connections: MAX_CONNECTIONS,
            on_error: Box::new(printing(unix_time, print)),
            registry: Arc::default(),
            tls: None,
            proxies: Proxies::default(),
        }
    }

    /// Speaks TLS with everybody who connects. A handshake has as long as [`Config::open_timeout`] says, together with
    /// the request, and holds up nobody else; one that fails is [told](Self::on_error).
    ///
    /// With the feature `rustls` this takes a `rustls::ServerConfig`, with `native-tls` a `native_tls::TlsAcceptor`.
    #[must_use]
    pub fn tls(mut self, tls: impl Into<ServerTls>) -> Self {
        self.tls = Some(tls.into());
        self
    }

    /// Reads the PROXY protocol, version 1 or 2, on each connection from these addresses and networks, before anything
    /// else, also before TLS. It announces the client, whose address then is
    /// [`peer_addr`](Request::peer_addr); that of the proxy stays if the header has none (`UNKNOWN`, `LOCAL`: a health
    /// check). A connection from there without such a header is dropped, and [told](Self::on_error) as
    /// [`ServerError::ProxyProtocol`]; from anywhere else the header is refused with 400. It has as long as
    /// [`Config::open_timeout`] says, together with the request.
    ///
    /// Name the proxies only, and let nobody else connect from there: who can send the header can be anybody. It is not
    /// checked whether the checksum that a header of version 2 may have is right: that of TCP is.
    ///
    /// # Errors
    /// [`InvalidNetwork`] if one of them is neither an address nor a network.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol<I: IntoIterator<Item: AsRef<str>>>(mut self, networks: I) -> Result<Self, InvalidNetwork> {
        self.proxies.announcing = ProxyProtocol::new(networks)?;
        Ok(self)
    }

    /// Sets limits, deadlines and policies of connections that do not bring their own.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how many connections there may be at once, 10,000 by default. At the cap accepting pauses: the
    /// system's backlog holds those who come then.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Sets what is told of failures outside of any listener: refused requests, a handler that panicked, an
    /// accept that failed. By default each kind of failure is printed on stderr, at most once per minute;
    /// `on_error(|_| ())` makes it quiet.
    #[must_use]
    pub fn on_error(mut self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        self.on_error = Box::new(hook);
        self
    }

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Returns a handle that can shut this server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle { addr: self.local_addr().ok(), registry: self.registry.clone() }
    }

    /// Accepts connections and answers every request with `handler`. Returns after a
    /// [`shutdown`](ServerHandle::shutdown), when all connections have ended or were dropped.
    ///
    /// A failing accept (out of descriptors, a peer that gave up) is reported and does not end it.
    ///
    /// # Errors
    /// Those of the system: the listener is put into blocking mode. [`InvalidInput`](ErrorKind::InvalidInput) if the
    /// configuration is not a good one: see [`Config::check`](bellwire_core::Config::check).
    pub fn run<R: IntoResponse>(
        self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `run_async` of an async runtime
    ) -> io::Result<()> {
        self.run_service(|config, on_error| Service::new(config, handler, on_error))
    }

    /// As [`run`](Self::run), with a handler that answers through its [`Responder`], at once or later.
    ///
    /// The handler runs on the connection's thread, which then waits for the answer, at most as long as
    /// [`Config::handler_timeout`] says, and looks ten times a second whether the client has left. A
    /// [`shutdown`](ServerHandle::shutdown) drops connections that wait for one.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_with(self, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> io::Result<()> {
        self.run_service(|config, on_error| Service::with_responder(config, handler, on_error))
    }

    pub(crate) fn run_service(self, service: impl FnOnce(Config, OnError) -> Service) -> io::Result<()> {
        let Self { listener, config, max_connections, on_error, registry, tls, proxies } = self;
        config.check()?;
        // A listener that was another runtime's does not wait.
        listener.set_nonblocking(false)?;
        let service = Arc::new(service(config, on_error).with_registry(registry.clone()));
        service.lend_clock(unix_time);
        accept_all(&listener, &service, tls.as_ref(), &proxies, max_connections);
        drop(listener);
        block_on(|_| registry.wait_until(|_, threads| threads == 0));
        Ok(())
    }
}

/// Accepts until the server is shut down.
fn accept_all(
    listener: &TcpListener,
    service: &Arc<Service>,
    tls: Option<&ServerTls>,
    proxies: &Proxies,
    max_connections: usize,
) {
    let registry = service.registry();
    loop {
        block_on(|_| registry.wait_for_room(max_connections));
        if registry.stage() >= Stage::Closing {
            return;
        }
        match listener.accept() {
            Ok((stream, peer)) => begin(service, tls, proxies, stream, peer),
            Err(error) => accept_later(service, error),
        }
    }
}

/// Begins with a client that has come. TLS is agreed on by the connection's own thread.
fn begin(service: &Arc<Service>, tls: Option<&ServerTls>, proxies: &Proxies, stream: TcpStream, peer: SocketAddr) {
    // A peer that is gone already is found out soon enough.
    let _ = stream.set_nodelay(true);
    let (stream, origin) = proxies.take_in(stream, Some(peer), service.config().max_head);
    match tls.map(Session::server) {
        None => start(service, stream, origin),
        Some(Ok(session)) => start(service, TlsStream::new(stream, session), origin),
        // The driver tells it.
        Some(Err(error)) => {
            Driver::server(service.clone(), Some(peer), Time::ZERO)
                .transport_failed(Time::ZERO, io::Error::other(error));
        }
    }
}

/// Starts a connection's thread.
fn start(service: &Arc<Service>, stream: impl Stream, origin: Origin) {
    let (stream, answered, registry) = (Arc::new(stream), Arc::<AtomicBool>::default(), service.registry().clone());
    let mut registration = Registration::new(registry.clone());
    let entry = Arc::new(Entry { stream: stream.clone(), answered: answered.clone(), registry });
    if registration.register(&entry.into()) >= Stage::Closing {
        return;
    }
    let connection_service = service.clone();
    let thread = thread::Builder::new().name("bellwire".into()).spawn(move || {
        // Dropped last, whatever the thread dies of.
        let _registration = registration;
        let mut driver = server_driver(connection_service, origin);
        driver.tell_answered(answered);
        Drive::new(stream, driver, Instant::now()).run(&mut []);
    });
    if let Err(error) = thread {
        accept_later(service, error);
    }
}

/// Returns what drives a stream that was just accepted.
pub(crate) fn server_driver(service: Arc<Service>, origin: Origin) -> Driver {
    let mut driver = Driver::server(service, origin.peer, Time::ZERO);
    if let Some(announced) = origin.announced {
        driver.await_announcement(announced);
    }
    driver
}

/// Waits a moment, but not when the server is shut down meanwhile.
fn accept_later(service: &Service, error: io::Error) {
    block_on(|clock| service.registry().run(accept_failed(service, error, clock)));
}

/// A connection as its server sees it. A thread that waits for its peer is woken by the end of its stream.
struct Entry {
    stream: Arc<dyn Stream>,
    /// Whether its request was answered.
    answered: Arc<AtomicBool>,
    registry: Arc<Registry>,
}

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        let ends = match self.registry.stage() {
            Stage::Running | Stage::Refusing => false,
            Stage::Closing => !self.answered.load(Ordering::Acquire),
            Stage::Dropping | Stage::GivenUp => true,
        };
        if ends {
            // The peer may have done so already.
            let _ = self.stream.shutdown(Shutdown::Both);
        }
    }
}

impl ServerHandle {
    /// Returns how many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned.
    /// Plain requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.registry.connections()
    }

    /// Shuts the server down: stops accepting, drops connections whose request is not answered yet, closes the
    /// others with 1001, waits at most `grace` for them, and then drops those that are left; their `on_close`
    /// still runs, and is waited for at most one second more. Returns how many had to be dropped. Not to be called by a
    /// callback of one of them, which would be waited for: leave it to another thread.
    pub fn shutdown(&self, grace: Duration) -> usize {
        self.registry.enter(Stage::Closing);
        self.wake_accept();
        block_on(|clock| self.registry.shutdown(grace, clock))
    }

    /// Drains the server, for a restart behind which others serve on: stops accepting, drops connections whose request is
    /// not answered yet, and closes the others with 1012 "Service Restart" one after the other, in random order, spread
    /// evenly over the time `over`. Clients that connect again at once so do not come all together. Then it waits at most
    /// `grace` for those that are left, as [`shutdown`](Self::shutdown) does, and drops them. Returns how many had to be
    /// dropped. If all leave by themselves it returns earlier; a `shutdown` meanwhile closes the rest at once, with 1001.
    /// As that, it is not to be called by a callback of one of them.
    pub fn drain(&self, over: Duration, grace: Duration) -> usize {
        block_on(|clock| {
            let draining = self.registry.drain(over, grace, clock);
            self.wake_accept();
            draining
        })
    }

    /// A thread that is parked in `accept` is woken by a connection.
    fn wake_accept(&self) {
        let Some(mut addr) = self.addr else { return };
        if addr.ip().is_unspecified() {
            addr.set_ip(match addr {
                SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            });
        }
        // If the backlog is full, no thread is parked.
        let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(500));
    }
}

/// Prints a line on stderr. A stderr that is closed is no error.
pub(crate) fn print(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Returns the time since the beginning of 1970; zero if the clock stands before that.
pub(crate) fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
