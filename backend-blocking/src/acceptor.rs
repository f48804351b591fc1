//! Streams that the caller has accepted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bellwire_core::backend::report::printing;
use bellwire_core::backend::{Driver, Service};
use bellwire_core::listener::IntoResponse;
use bellwire_core::proto::Time;
use bellwire_core::{Config, Request, Responder, ServerError};

use crate::drive::Drive;
use crate::server::{print, unix_time};
use crate::stream::Stream;

/// Answers requests on streams that the caller has accepted: TCP, Unix sockets, TLS, in-memory.
#[derive(Debug, Clone)]
pub struct Acceptor(Arc<Service>);

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
        Self::from_service(Arc::new(self.0.with_config(config)))
    }

    /// Sets what is told of failures outside of any listener, in place of stderr; `on_error(|_| ())` makes it quiet.
    /// The acceptor is a new one, as after [`config`](Self::config).
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        Self::from_service(Arc::new(self.0.with_hook(hook)))
    }

    /// Creates an acceptor for a service that the caller keeps.
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

    /// Returns how many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned.
    /// Plain requests and handshakes do not count.
    pub fn connections(&self) -> usize {
        self.0.registry().connections()
    }

    /// Closes every open connection with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.0.registry().close_all();
    }
}
