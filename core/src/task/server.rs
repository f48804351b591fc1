//! A server on a runtime that polls: it accepts, and each connection is a task.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::net::SocketAddr;
use core::time::Duration;
use std::io::{self, ErrorKind};

use super::incoming::Proxies;
use super::runtime::{Resolve, Runtime};
use super::shutdown::accept_failed;
use super::timer::Timer;
use super::tls::Tls;
use super::{Task, Transport};
use crate::api::{IntoAsyncResponse, IntoResponse};
use crate::config::Config;
#[cfg(feature = "proxy-protocol")]
use crate::drive::ProxyProtocol;
use crate::drive::{Announced, Driver};
use crate::handshake::Request;
#[cfg(feature = "proxy-protocol")]
use crate::network::InvalidNetwork;
use crate::serve::report::printing;
use crate::serve::{Registry, Responder, ServerError, Service};
use crate::tls::{ServerTls, Session};

/// How many connections a server has at most, unless it is told otherwise.
const MAX_CONNECTIONS: usize = 100_000;

type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

/// A listening server.
///
/// Each connection is a task of its own on the runtime.
#[must_use = "a server does nothing until it runs"]
pub struct Server<R: Runtime> {
    runtime: R,
    listener: R::Listener,
    config: Config,
    max_connections: usize,
    on_error: OnError,
    registry: Arc<Registry>,
    tls: Option<ServerTls>,
    proxies: Proxies,
}

/// Shuts a [`Server`] down, from any task.
#[derive(Debug, Clone)]
pub struct ServerHandle<R> {
    runtime: R,
    registry: Arc<Registry>,
}

impl<R: Runtime + Default> Server<R> {
    /// Listens on an address. Port 0 lets the system choose one: see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// If the address cannot be listened on: it is in use, say. The message names it.
    ///
    /// # Cancel safety
    /// Dropping the future undoes everything.
    pub async fn bind<A>(addr: A) -> io::Result<Self>
    where
        R: Resolve<A>,
    {
        Self::bind_on(R::default(), addr).await
    }

    /// Serves a listener that the caller has made. It must not block, which those of the runtime do not.
    pub fn from_listener(listener: R::Listener) -> Self {
        Self::from_listener_on(R::default(), listener)
    }
}

impl<R: Runtime> Server<R> {
    /// As [`bind`](Self::bind), for a runtime that has to be passed on.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    ///
    /// # Cancel safety
    /// Dropping the future undoes everything.
    pub async fn bind_on<A>(runtime: R, addr: A) -> io::Result<Self>
    where
        R: Resolve<A>,
    {
        let mut error = io::Error::new(ErrorKind::InvalidInput, "there is no such address to listen on");
        for addr in runtime.resolve(addr).await? {
            match runtime.bind(addr).await {
                Ok(listener) => return Ok(Self::from_listener_on(runtime, listener)),
                Err(cause) => error = io::Error::new(cause.kind(), format!("cannot listen on {addr}: {cause}")),
            }
        }
        Err(error)
    }

    /// As [`from_listener`](Self::from_listener), for a runtime that has to be passed on.
    pub fn from_listener_on(runtime: R, listener: R::Listener) -> Self {
        Self {
            runtime,
            listener,
            config: Config::default(),
            max_connections: MAX_CONNECTIONS,
            on_error: Box::new(printing(R::unix_time, R::print)),
            registry: Arc::default(),
            tls: None,
            proxies: Proxies::default(),
        }
    }

    /// Speaks TLS with everybody who connects. A handshake has as long as [`Config::open_timeout`] says, together with
    /// the request, and holds up nobody else; one that fails is [told](Self::on_error).
    ///
    /// With the feature `rustls` this takes a `rustls::ServerConfig`, with `native-tls` a `native_tls::TlsAcceptor`.
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
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Sets how many connections there may be at once, 100,000 by default. At the cap accepting pauses: the
    /// system's backlog holds those who come then.
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count.max(1);
        self
    }

    /// Sets what is told of failures outside of any listener: refused requests, a handler that panicked, an
    /// accept that failed. By default each kind of failure is printed on stderr, at most once per minute;
    /// `on_error(|_| ())` makes it quiet.
    pub fn on_error(mut self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        self.on_error = Box::new(hook);
        self
    }

    /// Returns the address that is listened on.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.runtime.local_addr(&self.listener)
    }

    /// Returns a handle that can shut this server down.
    pub fn handle(&self) -> ServerHandle<R> {
        ServerHandle { runtime: self.runtime.clone(), registry: self.registry.clone() }
    }

    /// Accepts connections and answers every request with `handler`. Returns after a
    /// [`shutdown`](ServerHandle::shutdown), when all connections have ended or were dropped.
    ///
    /// A failing accept (out of descriptors, a peer that gave up) is reported and does not end it.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) if the configuration is not a good one: see [`Config::check`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the listening. Connections that were accepted live on, and
    /// [`shutdown`](ServerHandle::shutdown) still ends them.
    ///
    /// # Panics
    /// On tokio, when polled outside of a runtime, or in one without its drivers of I/O and time.
    pub async fn run<A: IntoResponse>(
        self,
        handler: impl Fn(&Request) -> A + Send + Sync + 'static, // an `async` one goes to `run_async`
    ) -> io::Result<()> {
        self.run_service(|config, on_error| Service::new(config, handler, on_error)).await
    }

    /// As [`run`](Self::run), with a handler that answers when it likes, and from where it likes. It has as long as
    /// [`Config::handler_timeout`] says. The peer is read on meanwhile, 64 KiB at most: so it is noticed if it leaves.
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
    /// [`Config::handler_timeout`]. The peer is read on meanwhile, 64 KiB at most.
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
        let Self { runtime, listener, config, max_connections, on_error, registry, tls, proxies } = self;
        config.check()?;
        let service = Arc::new(service(config, on_error).with_registry(registry.clone()));
        service.lend_clock(R::unix_time);
        registry.run(accept_all(&runtime, &listener, &service, tls.as_ref(), &proxies, max_connections)).await;
        drop(listener);
        registry.wait_for_end().await;
        Ok(())
    }
}

/// Accepts for ever.
async fn accept_all<R: Runtime>(
    runtime: &R,
    listener: &R::Listener,
    service: &Arc<Service>,
    tls: Option<&ServerTls>,
    proxies: &Proxies,
    max_connections: usize,
) {
    let registry = service.registry();
    loop {
        registry.wait_for_room(max_connections).await;
        match runtime.accept(listener).await {
            Ok((stream, peer)) => {
                let (stream, announced) = proxies.take_in(stream, peer, service.config().max_head);
                let origin = Origin { peer, announced };
                match tls.map(Session::server) {
                    None => runtime.spawn(answer(service, stream, origin, runtime.timer(), registry)),
                    Some(Ok(session)) => {
                        runtime.spawn(answer(service, Tls::new(stream, session), origin, runtime.timer(), registry));
                    }
                    Some(Err(error)) => service.report(&ServerError::Tls { peer, error }),
                }
            }
            Err(error) => accept_failed(service, error, runtime.timer()).await,
        }
    }
}

/// The task of a connection whose request is to be answered.
pub(super) fn answer<T: Transport, C: Timer>(
    service: &Arc<Service>,
    transport: T,
    origin: Origin,
    timer: C,
    registry: &Arc<Registry>,
) -> Task<T, C> {
    let mut driver = Driver::server(service.clone(), origin.peer, timer.now());
    if let Some(announced) = origin.announced {
        driver.await_announcement(announced);
    }
    Task::new(transport, driver, timer, registry)
}

/// Where a transport comes from.
#[derive(Default)]
pub(super) struct Origin {
    pub(super) peer: Option<SocketAddr>,
    /// Where a proxy is to announce whose it is.
    pub(super) announced: Option<Announced>,
}

impl<R: Runtime> ServerHandle<R> {
    /// Returns how many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned.
    /// Plain requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.registry.connections()
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
        self.registry.shutdown(grace, self.runtime.timer()).await
    }

    /// Drains the server, for a restart behind which others serve on: stops accepting, drops connections whose request is
    /// not answered yet, and closes the others with 1012 "Service Restart" one after the other, in random order, spread
    /// evenly over the time `over`. Clients that connect again at once so do not come all together. Then it waits at most
    /// `grace` for those that are left, as [`shutdown`](Self::shutdown) does, and drops them. Returns how many had to be
    /// dropped. If all leave by themselves it returns earlier; a `shutdown` meanwhile closes the rest at once, with 1001.
    /// As that, it is not to be awaited by a callback of one of them.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the server closing: nothing is accepted any more, and connections that were not told
    /// yet stay open until the next `drain` or `shutdown`.
    pub async fn drain(&self, over: Duration, grace: Duration) -> usize {
        self.registry.drain(over, grace, self.runtime.timer()).await
    }
}

debug!(Server<R: Runtime> => |this| addr: this.local_addr().ok(), config: this.config);
