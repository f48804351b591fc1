//! Accepts: a task for each connection.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bellwire_core::{Config, Driver, IntoResponse, Request, ServerError, Service};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, ToSocketAddrs, lookup_host};
use tokio::time::{sleep, timeout};

use crate::clock::Clock;
use crate::drive::Drive;
use crate::tasks::{Stage, Tasks};

/// How many connections a server has at most, unless it is told otherwise.
const MAX_CONNECTIONS: usize = 100_000;

/// How long to wait before accepting again when that has failed: out of descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection that is dropped may take to run its last callbacks before shutdown stops waiting.
const LAST_CALLBACKS: Duration = Duration::from_secs(1);

type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

/// Listens on `addr` and answers every request with `handler`, until the process ends. [`Server`] has
/// options, tells its address, and can be shut down.
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
    handler: impl Fn(&Request) -> R + Send + Sync + 'static,
) -> io::Result<()> {
    Server::bind(addr).await?.run(handler).await
}

/// A listening server.
pub struct Server {
    listener: TcpListener,
    config: Config,
    max_connections: usize,
    on_error: OnError,
    running: Arc<Running>,
}

/// Shuts a [`Server`] down, from any task.
#[derive(Clone)]
pub struct ServerHandle(Arc<Running>);

/// A server's connections and its will to live.
#[derive(Default)]
struct Running {
    tasks: Arc<Tasks>,
    /// What is shared by all connections, once the server runs.
    service: Mutex<Option<Arc<Service>>>,
}

impl Running {
    fn service(&self) -> MutexGuard<'_, Option<Arc<Service>>> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A handler may hold a handle of its own server.
    fn forget_service(&self) {
        let service = self.service().take();
        drop(service);
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
            on_error: Box::new(|_| ()),
            running: Arc::default(),
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
    /// accept that failed. By default nobody is.
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
    /// Each connection is a task of its own on the current runtime. A failing accept (out of descriptors, a
    /// peer that gave up) is reported and does not end it.
    ///
    /// # Errors
    /// None so far: the signature leaves room for those of other systems.
    ///
    /// # Cancel safety
    /// Dropping the future ends the listening. Connections that were accepted live on, and
    /// [`shutdown`](ServerHandle::shutdown) still ends them.
    ///
    /// # Panics
    /// When polled outside of a tokio runtime, or in one without its drivers of I/O and time.
    pub async fn run<R: IntoResponse>(self, handler: impl Fn(&Request) -> R + Send + Sync + 'static) -> io::Result<()> {
        let service = Arc::new(Service::new(self.config, handler, self.on_error));
        *self.running.service() = Some(service.clone());
        let tasks = &self.running.tasks;
        {
            let mut closing = pin!(tasks.wait_until(|tasks| tasks.stage() > Stage::Running));
            let mut accepting = pin!(accept_all(&self.listener, &service, tasks, self.max_connections));
            std::future::poll_fn(|cx| match closing.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => accepting.as_mut().poll(cx),
            })
            .await;
        }
        drop(self.listener);
        tasks.wait_until(|tasks| tasks.count() == 0 || tasks.stage() == Stage::Over).await;
        self.running.forget_service();
        Ok(())
    }
}

impl ServerHandle {
    /// Shuts the server down: stops accepting, drops connections whose request is not answered yet, closes the
    /// others with 1001, waits at most `grace` for them, and then drops those that are left; their `on_close`
    /// still runs, and is waited for at most one second more. Returns how many had to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server closing: nothing is accepted any more, and connections have
    /// as long as their deadlines say instead of `grace`.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        let tasks = &self.0.tasks;
        tasks.enter(Stage::Closing);
        let service = self.0.service().clone();
        if let Some(service) = &service {
            service.close_all();
        }
        let empty = |tasks: &Tasks| tasks.count() == 0;
        let in_time = timeout(grace, tasks.wait_until(empty)).await;
        let left = if in_time.is_ok() { 0 } else { tasks.count() };
        if let Some(service) = &service {
            service.abort_all();
        }
        tasks.enter(Stage::Dropping);
        // They have nobody to wait for any more but their own callbacks.
        let _ = timeout(LAST_CALLBACKS, tasks.wait_until(empty)).await;
        tasks.enter(Stage::Over);
        // Also if `run` was dropped.
        self.0.forget_service();
        left
    }
}

/// Accepts for ever.
async fn accept_all(listener: &TcpListener, service: &Arc<Service>, tasks: &Arc<Tasks>, max_connections: usize) {
    loop {
        tasks.wait_until(|tasks| tasks.count() < max_connections).await;
        match listener.accept().await {
            Ok((stream, peer)) => {
                // A peer that is gone already is found out soon enough.
                let _ = stream.set_nodelay(true);
                tasks.spawn(serve_stream(service, stream, Some(peer)));
            }
            Err(error) => accept_failed(service, error).await,
        }
    }
}

async fn accept_failed(service: &Service, error: io::Error) {
    let passing = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::Interrupted];
    let pause = !passing.contains(&error.kind());
    service.report(&ServerError::Accept(error));
    if pause {
        sleep(ACCEPT_PAUSE).await;
    }
}

fn serve_stream<S: AsyncRead + AsyncWrite + Unpin>(
    service: &Arc<Service>,
    stream: S,
    peer: Option<SocketAddr>,
) -> Drive<S> {
    let clock = Clock::start();
    Drive::new(stream, Driver::server(service.clone(), peer, clock.now()), clock)
}

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory.
#[derive(Clone)]
pub struct Acceptor(Arc<Service>);

impl Acceptor {
    /// An acceptor with the default configuration.
    pub fn new<R: IntoResponse>(handler: impl Fn(&Request) -> R + Send + Sync + 'static) -> Self {
        Self::with(Config::default(), handler, |_| ())
    }

    /// An acceptor with a configuration, and a hook that is told of failures outside of any listener.
    pub fn with<R: IntoResponse>(
        config: Config,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Service::new(config, handler, on_error)))
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
        serve_stream(&self.0, stream, peer)
    }

    /// Closes every open connection with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.0.close_all();
    }
}
