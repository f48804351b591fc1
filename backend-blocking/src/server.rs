//! Accepts: a thread for each connection.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bellwire_core::backend::report::printing;
use bellwire_core::backend::{Driver, Service};
use bellwire_core::listener::IntoResponse;
use bellwire_core::proto::Time;
use bellwire_core::{Config, Request, Responder, ServerError};

use crate::drive::Drive;
use crate::stream::Stream;

/// How many connections a server has at most, unless it is told otherwise: each has a thread.
const MAX_CONNECTIONS: usize = 10_000;

/// How long to wait before accepting again when that has failed: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that is dropped may take to run its last callbacks before shutdown stops waiting.
const LAST_CALLBACKS: Duration = Duration::from_secs(1);

type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

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
    handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `serve_async` of tokio or async-std
) -> io::Result<()> {
    Server::bind(addr)?.run(handler)
}

/// As [`serve`], with a handler that answers through its [`Responder`], at once or later: Ring's asynchronous
/// handler. [`Server::run_with`] has options.
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
    on_error: OnError,
    running: Arc<Running>,
}

/// Shuts a [`Server`] down, from any thread.
#[derive(Clone)]
pub struct ServerHandle(Arc<Running>);

/// A server's connections and its will to live.
struct Running {
    addr: Option<SocketAddr>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    max_connections: usize,
    closing: bool,
    /// What is shared by all connections, once the server runs.
    service: Option<Arc<Service>>,
    connections: Vec<Arc<Entry>>,
}

/// A connection, as far as its server minds it.
struct Entry {
    stream: Arc<TcpStream>,
    /// Whether its request was answered.
    answered: Arc<AtomicBool>,
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
        f.debug_struct("ServerHandle").field("addr", &self.0.addr).finish_non_exhaustive()
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
        let addr = listener.local_addr().ok();
        let state = State { max_connections: MAX_CONNECTIONS, closing: false, service: None, connections: Vec::new() };
        let running = Arc::new(Running { addr, state: Mutex::new(state), changed: Condvar::new() });
        Self { listener, config: Config::default(), on_error: Box::new(printing(unix_time, print)), running }
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
    pub fn max_connections(self, count: usize) -> Self {
        self.running.lock().max_connections = count.max(1);
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

    /// The address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle that can shut this server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle(self.running.clone())
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
        handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `run_async` of tokio or async-std
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

    fn run_service(self, service: impl FnOnce(Config, OnError) -> Service) -> io::Result<()> {
        self.config.check()?;
        // A listener that was another runtime's does not wait.
        self.listener.set_nonblocking(false)?;
        let service = Arc::new(service(self.config, self.on_error));
        service.lend_clock(unix_time);
        self.running.lock().service = Some(service.clone());
        while self.running.wait_for_room() {
            match self.listener.accept() {
                Ok(_) if self.running.lock().closing => break,
                Ok((stream, peer)) => self.running.start(&service, stream, peer),
                Err(error) => self.running.accept_failed(&service, error),
            }
        }
        drop(self.listener);
        self.running.wait_until_empty();
        // A handler may hold a handle of its own server.
        let service = self.running.lock().service.take();
        drop(service);
        Ok(())
    }
}

impl ServerHandle {
    /// How many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned. Plain
    /// requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        let service = self.0.lock().service.clone();
        service.map_or(0, |service| service.connections())
    }

    /// Shuts the server down: stops accepting, drops connections whose request is not answered yet, closes the
    /// others with 1001, waits at most `grace` for them, and then drops those that are left; their `on_close`
    /// still runs, and is waited for at most one second more. Returns how many had to be dropped. Not to be called by a
    /// callback of one of them, which would be waited for: leave it to another thread.
    pub fn shutdown(&self, grace: Duration) -> usize {
        let running = &self.0;
        let service = {
            let mut state = running.lock();
            state.closing = true;
            for entry in state.connections.iter().filter(|entry| !entry.answered.load(Ordering::Acquire)) {
                let _ = TcpStream::shutdown(&entry.stream, Shutdown::Both);
            }
            state.service.clone()
        };
        running.changed.notify_all();
        running.wake_accept();
        if let Some(service) = &service {
            service.close_all();
        }
        let left = running.wait_at_most(grace);
        if let Some(service) = &service {
            service.abort_all();
        }
        for entry in &running.lock().connections {
            let _ = TcpStream::shutdown(&entry.stream, Shutdown::Both);
        }
        running.wait_at_most(LAST_CALLBACKS);
        left
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be one more connection. False when the server is shut down.
    fn wait_for_room(&self) -> bool {
        let full = |state: &mut State| !state.closing && state.connections.len() >= state.max_connections;
        !self.changed.wait_while(self.lock(), full).unwrap_or_else(PoisonError::into_inner).closing
    }

    fn wait_until_empty(&self) {
        let busy = |state: &mut State| !state.connections.is_empty();
        drop(self.changed.wait_while(self.lock(), busy).unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until there are no connections; says how many are left.
    fn wait_at_most(&self, timeout: Duration) -> usize {
        let busy = |state: &mut State| !state.connections.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, busy);
        waited.unwrap_or_else(PoisonError::into_inner).0.connections.len()
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
        // If the backlog is full nobody is parked.
        let _ = TcpStream::connect_timeout(&addr, Duration::from_millis(500));
    }

    /// Starts a connection's thread.
    fn start(self: &Arc<Self>, service: &Arc<Service>, stream: TcpStream, peer: SocketAddr) {
        // A peer that is gone already is found out soon enough.
        let _ = stream.set_nodelay(true);
        let entry = Arc::new(Entry { stream: Arc::new(stream), answered: Arc::default() });
        {
            let mut state = self.lock();
            if state.closing {
                return;
            }
            state.connections.push(entry.clone());
        }
        let leaving = Leaving { running: self.clone(), entry: entry.clone() };
        let connection_service = service.clone();
        let thread = thread::Builder::new().name("bellwire".into()).spawn(move || {
            let leaving = leaving;
            let mut driver = Driver::server(connection_service, Some(peer), Time::ZERO);
            driver.tell_answered(leaving.entry.answered.clone());
            let drive = Drive::new(leaving.entry.stream.clone(), driver, Instant::now());
            drive.run(&mut []);
        });
        if let Err(error) = thread {
            self.accept_failed(service, error);
        }
    }

    fn accept_failed(&self, service: &Service, error: io::Error) {
        let passing = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
        let pause = !passing.contains(&error.kind());
        service.report(&ServerError::Accept(error));
        if pause {
            let open = |state: &mut State| !state.closing;
            drop(self.changed.wait_timeout_while(self.lock(), ACCEPT_PAUSE, open));
        }
    }
}

/// Takes a connection off its server's list, whatever its thread died of.
struct Leaving {
    running: Arc<Running>,
    entry: Arc<Entry>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.running.lock().connections.retain(|other| !Arc::ptr_eq(other, &self.entry));
        self.running.changed.notify_all();
    }
}

/// Prints a line on stderr. If that is closed, there is nobody to tell.
fn print(line: &str) {
    let _ = io::stderr().write_all(line.as_bytes());
}

/// The time since the beginning of 1970; none if the clock stands before that.
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<Service>);

impl Acceptor {
    /// An acceptor with the default configuration. What goes wrong outside of any listener is printed on stderr, each
    /// kind at most once per minute; [`with`](Self::with) takes another hook, `|_| ()` for none.
    pub fn new<R: IntoResponse>(handler: impl Fn(&Request) -> R + Send + Sync + 'static) -> Self {
        Self::with(Config::default(), handler, printing(unix_time, print))
    }

    /// An acceptor with a configuration, and a hook that is told of failures outside of any listener.
    pub fn with<R: IntoResponse>(
        config: Config,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self::from_service(Arc::new(Service::new(config, handler, on_error)))
    }

    /// An acceptor for a service of either kind: [`Service::with_responder`] has a handler that answers later.
    pub fn from_service(service: Arc<Service>) -> Self {
        service.lend_clock(unix_time);
        Self(service)
    }

    /// Drives a stream on this thread, from the request to the end of the connection. `peer` is what
    /// [`Request::peer_addr`] says.
    pub fn accept(&self, stream: impl Stream, peer: Option<SocketAddr>) {
        let driver = Driver::server(self.0.clone(), peer, Time::ZERO);
        Drive::new(Arc::new(stream), driver, Instant::now()).run(&mut []);
    }

    /// How many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned. Plain
    /// requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.0.connections()
    }

    /// Closes every open connection with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.0.close_all();
    }
}
