//! Streams that the caller has accepted: from their request on, or after their handshake.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::ready;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, ErrorKind};

use super::Task;
use super::incoming::Proxies;
use super::runtime::{Adopt, Runtime};
use super::server::{Origin, answer};
use super::timer::Timer;
use crate::api::{AsyncResponse, IntoAnyListener, IntoAsyncResponse, IntoResponse};
use crate::config::Config;
#[cfg(feature = "proxy-protocol")]
use crate::drive::ProxyProtocol;
use crate::drive::{Driver, MessageStream, stream};
use crate::entropy::SystemEntropy;
use crate::handshake::Request;
#[cfg(feature = "proxy-protocol")]
use crate::network::InvalidNetwork;
use crate::protocol::{Connection, Role};
use crate::serve::report::printing;
use crate::serve::{Registry, Responder, ServerError, Service, Stage};
use crate::sync::Mutex;

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory.
///
/// Clones are the same acceptor.
#[derive(Clone)]
pub struct Acceptor<R> {
    runtime: R,
    service: Arc<Service>,
    proxies: Proxies,
}

impl<R: Runtime + Default> Acceptor<R> {
    /// Answers every request with `handler`. What goes wrong outside of any listener is printed on stderr, each kind at
    /// most once per minute, unless there is another [hook](Self::on_error).
    pub fn new<A: IntoResponse>(
        handler: impl Fn(&Request) -> A + Send + Sync + 'static, // an `async` one goes to `new_async`
    ) -> Self {
        let hook = printing(R::unix_time, R::print);
        Self::from_service(Arc::new(Service::new(Config::default(), handler, hook)))
    }

    /// As [`new`](Self::new), with a handler that answers when it likes, and from where it likes.
    pub fn new_with(handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Self {
        let hook = printing(R::unix_time, R::print);
        Self::from_service(Arc::new(Service::with_responder(Config::default(), handler, hook)))
    }

    /// As [`new`](Self::new), with an asynchronous handler, whose answer may carry an asynchronous listener.
    pub fn new_async<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
        handler: impl Fn(Request) -> F + Send + Sync + 'static, // one that is not `async` goes to `new`
    ) -> Self {
        let hook = printing(R::unix_time, R::print);
        Self::from_service(Arc::new(Service::asynchronous(Config::default(), handler, hook)))
    }

    /// Creates an acceptor for a service that the caller keeps.
    pub fn from_service(service: Arc<Service>) -> Self {
        Self::from_service_on(R::default(), service)
    }
}

impl<R: Runtime> Acceptor<R> {
    /// As [`from_service`](Self::from_service), for a runtime that has to be passed on.
    pub fn from_service_on(runtime: R, service: Arc<Service>) -> Self {
        service.lend_clock(R::unix_time);
        Self { runtime, service, proxies: Proxies::default() }
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
        Self { proxies: self.proxies, ..Self::from_service_on(self.runtime, Arc::new(service)) }
    }

    /// Reads the PROXY protocol on each stream whose `peer` is one of these addresses or in one of these networks, before
    /// anything else: [`Server::proxy_protocol`](super::Server::proxy_protocol) says more. The streams are to be those of
    /// the proxy as they were accepted; over TLS that you make yourself, the header has to come within.
    ///
    /// # Errors
    /// [`InvalidNetwork`] if one of them is neither an address nor a network.
    #[cfg(feature = "proxy-protocol")]
    pub fn proxy_protocol<I: IntoIterator<Item: AsRef<str>>>(mut self, networks: I) -> Result<Self, InvalidNetwork> {
        self.proxies.announcing = ProxyProtocol::new(networks)?;
        Ok(self)
    }

    /// Drives a stream from the request to the end of the connection. `peer` is what [`Request::peer_addr`] says. The
    /// future does not borrow the acceptor, so that it can be spawned. Time counts from its first poll.
    ///
    /// # Cancel safety
    /// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close`
    /// does so at once, with 1006.
    ///
    /// # Panics
    /// On tokio, when polled outside of a runtime, or in one without its timer.
    pub fn accept<S>(&self, stream: S, peer: Option<SocketAddr>) -> impl Future<Output = ()> + use<R, S>
    where
        R: Adopt<S>,
    {
        let Self { runtime, service, proxies } = self.clone();
        Lazy::Begins(Some(move || {
            let (transport, announced) = proxies.take_in(runtime.adopt(stream), peer, service.config().max_head);
            answer(&service, transport, Origin { peer, announced }, runtime.timer(), service.registry())
        }))
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

/// A task that is made when it is first polled. As an `async` block it would be as large as both.
enum Lazy<F, T> {
    Begins(Option<F>),
    Runs(T),
}

/// What makes the task is not pinned.
impl<F, T: Unpin> Unpin for Lazy<F, T> {}

impl<F: FnOnce() -> T, T: Future + Unpin> Future for Lazy<F, T> {
    type Output = T::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T::Output> {
        if let Self::Begins(begin) = &mut *self {
            let Some(begin) = begin.take() else { return Poll::Pending };
            *self = Self::Runs(begin());
        }
        match &mut *self {
            Self::Begins(_) => Poll::Pending,
            Self::Runs(task) => {
                let output = core::task::ready!(Pin::new(task).poll(cx));
                // The transport is dropped now, as late as this may be.
                *self = Self::Begins(None);
                Poll::Ready(output)
            }
        }
    }
}

debug!(Acceptor<R> => |this| service: this.service);

/// Answers the one request on a stream that the caller has accepted, and makes a [`MessageStream`] of the connection.
///
/// # Errors
/// What was wrong with the request, in words; the peer was told.
///
/// # Cancel safety
/// Dropping the future drops or closes the connection.
pub async fn accept_stream<S, R: Adopt<S, Transport: Send + 'static>>(
    runtime: R,
    transport: S,
    config: Config,
) -> io::Result<MessageStream> {
    let (service, accepted) = stream_service(config);
    service.lend_clock(R::unix_time);
    // Dropped, it takes along a connection whose request is not answered yet.
    let unanswered = Unanswered(Arc::default());
    runtime.spawn(answer(&service, runtime.adopt(transport), Origin::default(), runtime.timer(), &unanswered.0));
    // If nothing comes of the request, `accepted` learns it when the last of the service is gone.
    drop(service);
    accepted.await
}

/// The registry of a connection that is dropped with this, unless its request is answered.
struct Unanswered(Arc<Registry>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.enter(Stage::Closing);
    }
}

/// Creates a service for one request, whose connection is a stream, and a future of what comes of it. For backends.
///
/// # Errors
/// The future's: what was wrong with the request, or that there was none.
///
/// # Cancel safety
/// Dropping the future closes the connection as soon as it opens.
pub fn stream_service(config: Config) -> (Arc<Service>, impl Future<Output = io::Result<MessageStream>> + Send) {
    let (listener, opened) = stream();
    let (listener, failure) = (Mutex::new(Some(listener)), Arc::new(Mutex::new(None)));
    let failed = failure.clone();
    let handler = move |_: Request| {
        let listener = listener.lock().take();
        ready(listener.map(AsyncResponse::websocket).ok_or("there is one request for each connection"))
    };
    let on_error = move |error: &ServerError| *failed.lock() = Some(error.to_string());
    let service = Arc::new(Service::asynchronous(config, handler, on_error));
    (service, async move {
        opened.await.ok_or_else(|| match failure.lock().take() {
            Some(why) => io::Error::new(ErrorKind::InvalidData, why),
            None => io::Error::new(ErrorKind::UnexpectedEof, "the peer ended the transport before its request"),
        })
    })
}

/// Drives a stream that another library has upgraded, until it ends. `leftover` is what was read after the handshake.
/// Time counts from the first poll, in which `on_open` runs.
///
/// # Cancel safety
/// Dropping the future drops the connection without a closing handshake. If `on_open` ran, `on_close` does
/// so at once, with 1006.
pub async fn upgraded<S, R: Adopt<S>>(
    runtime: R,
    stream: S,
    leftover: impl Into<Vec<u8>>,
    role: Role,
    config: Config,
    listener: impl IntoAnyListener,
) {
    let (timer, config) = (runtime.timer(), Arc::new(config));
    let connection = match role {
        Role::Server => Connection::server(config, timer.now()),
        Role::Client => Connection::client(config, Box::new(SystemEntropy), timer.now()),
    };
    let driver = Driver::connected(connection, listener.into_any_listener());
    let mut task = Task::new(runtime.adopt(stream), driver, timer, &Arc::default());
    task.start(&mut leftover.into());
    // Not moved: the future would be twice as large.
    (&mut task).await;
}
