//! Accepts: a task for each connection.

use std::fmt;
use std::io::{self, ErrorKind, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bellwire_core::backend::report::printing;
use bellwire_core::backend::{Driver, Service, Task, Tasks};
use bellwire_core::listener::{IntoAnyListener, IntoAsyncResponse, IntoResponse};
use bellwire_core::proto::Time;
use bellwire_core::{Config, MessageStream, Request, Responder, Role, ServerError, backend as task};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};

use crate::runtime::{Timer, Transport};

/// How many connections a server has at most, unless it is told otherwise.
const MAX_CONNECTIONS: usize = 100_000;

type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

/// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
/// options, tells its address, and can be shut down.
///
/// Refused requests and failures of the handler are printed on stderr, each kind at most once per minute;
/// [`Server::on_error`] takes another hook.
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// As [`Server::run`]: dropping the future ends the listening, and nothing else.
///
/// # Panics
/// As [`Server::run`].
pub async fn serve<R: IntoResponse>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `serve_async`
) -> io::Result<()> {
    Server::bind(addr).await?.run(handler).await
}

/// As [`serve`], with a handler that answers when it likes, and from where it likes: Ring's asynchronous
/// handler. [`Server::run_with`] has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::{Response, listener};
/// use bellwire::tokio::serve_with;
///
/// # async fn example() -> std::io::Result<()> {
/// serve_with("127.0.0.1:9001", |request, responder| {
///     tokio::spawn(async move {
///         // Ask a database, say.
///         match request.path() {
///             "/echo" => responder.respond(Response::websocket(
///                 listener().on_message(|socket, message| socket.send(message)),
///             )),
///             _ => responder.respond(Response::not_found()),
///         }
///     });
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// As [`Server::run`]: dropping the future ends the listening, and nothing else.
///
/// # Panics
/// As [`Server::run`].
pub async fn serve_with(
    addr: impl ToSocketAddrs,
    handler: impl Fn(Request, Responder) + Send + Sync + 'static,
) -> io::Result<()> {
    Server::bind(addr).await?.run_with(handler).await
}

/// As [`serve`], with an asynchronous handler, whose answer may carry an asynchronous listener.
/// [`Server::run_async`] has options.
///
/// ```no_run
/// # mod bellwire { pub use bellwire_core::*; pub mod tokio { pub use bellwire_tokio::*; } }
/// use bellwire::{AsyncResponse, async_listener};
/// use bellwire::tokio::serve_async;
///
/// # async fn example() -> std::io::Result<()> {
/// serve_async("127.0.0.1:9001", |_request| async {
///     AsyncResponse::websocket(
///         async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
///     )
/// })
/// .await
/// # }
/// ```
///
/// # Errors
/// If the address cannot be listened on.
///
/// # Cancel safety
/// As [`Server::run`]: dropping the future ends the listening, and nothing else.
///
/// # Panics
/// As [`Server::run`].
pub async fn serve_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
    addr: impl ToSocketAddrs,
    handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `serve`
) -> io::Result<()> {
    Server::bind(addr).await?.run_async(handler).await
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    config: Config,
    max_connections: usize,
    on_error: OnError,
    tasks: Arc<Tasks>,
}

/// Shuts a [`Server`] down, from any task.
#[derive(Debug, Clone)]
pub struct ServerHandle(Arc<Tasks>);

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("addr", &self.local_addr().ok())
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Listens on an address. Port 0 lets the system choose one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// If the address cannot be listened on: it is in use, say. The message names it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn bind(addr: impl ToSocketAddrs) -> io::Result<Self> {
        let mut error = io::Error::new(ErrorKind::InvalidInput, "there is no such address to listen on");
        for addr in lookup_host(addr).await? {
            match TcpListener::bind(addr).await {
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
            tasks: Arc::default(),
        }
    }

    /// Sets limits, deadlines and policies of connections that do not bring their own.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how many connections there may be at once, 100,000 by default. At the cap accepting pauses: the
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

    /// The address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A handle that can shut this server down.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle(self.tasks.clone())
    }

    /// Accepts connections and answers every request with `handler`. Returns after a
    /// [`shutdown`](ServerHandle::shutdown), when all connections have ended or were dropped.
    ///
    /// Each connection is a task of its own on the current runtime. A failing accept (out of descriptors, a
    /// peer that gave up) is reported and does not end it.
    ///
    /// # Errors
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the configuration is not a good one: see [`Config::check`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the listening. Connections that were accepted live on, and
    /// [`shutdown`](ServerHandle::shutdown) still ends them.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, or in one without its drivers of I/O and time.
    pub async fn run<R: IntoResponse>(
        self,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static, // an `async` one goes to `run_async`
    ) -> io::Result<()> {
        self.run_service(|config, on_error| Service::new(config, handler, on_error)).await
    }

    /// As [`run`](Self::run), with a handler that answers when it likes, and from where it likes: Ring's
    /// asynchronous handler. It has as long as [`Config::handler_timeout`](bellwire_core::Config::handler_timeout) says. The
    /// peer is read on meanwhile, 64 KiB at most: so it is noticed if it leaves.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_with(self, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> io::Result<()> {
        self.run_service(|config, on_error| Service::with_responder(config, handler, on_error)).await
    }

    /// As [`run`](Self::run), with an asynchronous handler, whose answer may carry an asynchronous listener. Its
    /// future is polled by the connection's task, and dropped with it, when the peer leaves, and after
    /// [`Config::handler_timeout`](bellwire_core::Config::handler_timeout). The peer is read on meanwhile, 64 KiB at most.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    ///
    /// # Panics
    /// As [`run`](Self::run).
    pub async fn run_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
        self,
        handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `run`
    ) -> io::Result<()> {
        self.run_service(|config, on_error| Service::asynchronous(config, handler, on_error)).await
    }

    async fn run_service(self, service: impl FnOnce(Config, OnError) -> Service) -> io::Result<()> {
        let Self { listener, config, max_connections, on_error, tasks } = self;
        config.check()?;
        let service = Arc::new(service(config, on_error));
        service.lend_clock(unix_time);
        tasks.run(service.clone(), accept_all(&listener, &service, &tasks, max_connections)).await;
        drop(listener);
        tasks.wait_for_end().await;
        Ok(())
    }
}

impl ServerHandle {
    /// How many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned. Plain
    /// requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.0.connections()
    }

    /// Shuts the server down: stops accepting, drops connections whose request is not answered yet, closes the
    /// others with 1001, waits at most `grace` for them, and then drops those that are left; their `on_close`
    /// still runs, and is waited for at most one second more. Returns how many had to be dropped. Not to be awaited by
    /// a callback of one of them, which would be waited for: spawn it.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server closing: nothing is accepted any more, and connections have
    /// as long as their deadlines say instead of `grace`.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.0.shutdown(grace, Timer::start()).await
    }
}

/// Accepts for ever.
async fn accept_all(listener: &TcpListener, service: &Arc<Service>, tasks: &Arc<Tasks>, max_connections: usize) {
    loop {
        tasks.wait_for_room(max_connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already is found out soon enough.
                let _ = stream.set_nodelay(true);
                tokio::spawn(answer(service, stream, Some(peer), tasks));
            }
            Err(error) => tasks.accept_failed(service, error, Timer::start()).await,
        }
    }
}

fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Arc<Service>,
    stream: S,
    peer: Option<SocketAddr>,
    tasks: &Arc<Tasks>,
) -> Task<Transport<S>, Timer> {
    Task::new(Transport(stream), Driver::server(service.clone(), peer, Time::ZERO), Timer::start(), tasks)
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
pub struct Acceptor {
    service: Arc<Service>,
    tasks: Arc<Tasks>,
}

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

    /// An acceptor for a service of any kind: [`Service::with_responder`] has a handler that answers later,
    /// [`Service::asynchronous`] one that is `async`.
    pub fn from_service(service: Arc<Service>) -> Self {
        service.lend_clock(unix_time);
        Self { service, tasks: Arc::default() }
    }

    /// Drives a stream from the request to the end of the connection. `peer` is what
    /// [`Request::peer_addr`] says. The future does not borrow the acceptor, so that it can be spawned.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close`
    /// does so at once, with 1006.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, or in one without its timer.
    pub fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        peer: Option<SocketAddr>,
    ) -> impl Future<Output = ()> + use<S> {
        let (service, tasks) = (self.service.clone(), self.tasks.clone());
        // Time counts from the first poll.
        async move { answer(&service, stream, peer, &tasks).await }
    }

    /// How many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned. Plain
    /// requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.service.connections()
    }

    /// Closes every open connection with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.service.close_all();
    }
}

/// Drives a stream that somebody else upgraded, until it ends. `leftover` is what was read behind the
/// handshake.
/// Whoever upgrades has checked the request: nothing here looks at its key
/// ([`accept_key`](bellwire_core::proto::server::accept_key) makes the answer to it), its version or its `Origin`.
///
/// For a [`MessageStream`], spawn this with the listener of [`stream`](bellwire_core::stream()), and then await the
/// other end.
///
/// The listener's `on_open` runs when the future is first polled.
///
/// # Cancel safety
/// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
/// so at once, with 1006.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub async fn upgraded(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    leftover: impl Into<Vec<u8>>,
    role: Role,
    config: Config,
    listener: impl IntoAnyListener,
) {
    task::upgraded(Transport(stream), Timer::start(), leftover.into(), role, config, listener).await;
}

/// Answers the one request on a stream that the caller has accepted, and makes a [`MessageStream`] of the connection,
/// whatever the path. Who wants to look at the request returns the listener of
/// [`stream`](bellwire_core::stream()) from a handler.
///
/// # Errors
/// What was wrong with the request, in words; the peer was told.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
///
/// # Panics
/// When polled outside of a tokio runtime, or in one without its timer.
pub async fn accept_stream<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    transport: S,
    config: Config,
) -> io::Result<MessageStream> {
    let (service, accepted) = task::accepting(config);
    service.lend_clock(unix_time);
    let tasks = Arc::default();
    // Dropped, it takes along a connection whose request is not answered yet.
    let _guard = Tasks::guard(&tasks);
    tokio::spawn(answer(&service, transport, None, &tasks));
    // If nothing comes of the request, whoever waits learns it when the last of the service is gone.
    drop(service);
    accepted.await
}
