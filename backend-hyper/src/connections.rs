//! The WebSockets of an application.

use std::fmt;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bellwire_core::backend::{Registry, Runtime, Service, Stage, report};
use bellwire_core::{Config, Request, Response, ServerError};
use bellwire_tokio::Tokio;

/// The WebSockets of an application: what applies to all of them, how many there are, and how they end.
///
/// In axum they are a layer: `Router::layer(connections)` makes the WebSockets of that router theirs, and completes responses
/// with a listener. For other servers of hyper they are put among the extensions of each request.
///
/// Clones are the same. Programs that set up none share [`Connections::global`].
#[derive(Clone)]
pub struct Connections(pub(crate) Arc<Service>);

impl Connections {
    /// Creates an empty group. What goes wrong outside of any listener is printed on stderr, each kind at most once per
    /// minute, unless there is another [hook](Self::on_error).
    pub fn new() -> Self {
        let hook = report::printing(Tokio::unix_time, Tokio::print);
        Self::from_service(Service::new(Config::default(), unasked, hook))
    }

    /// Returns the connections of a program that has set up no others.
    pub fn global() -> Self {
        static GLOBAL: LazyLock<Connections> = LazyLock::new(Connections::new);
        GLOBAL.clone()
    }

    pub(crate) fn from_service(service: Service) -> Self {
        service.lend_clock(Tokio::unix_time);
        Self(Arc::new(service))
    }

    /// Sets limits, deadlines and policies of connections that do not bring their own. The group is a new one, which does not
    /// know the connections of its clones.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self::from_service(self.0.with_config(config))
    }

    /// Sets what is told of failures outside of any listener, in place of stderr; `on_error(|_| ())` makes it quiet. The group
    /// is a new one, as after [`config`](Self::config).
    #[must_use]
    pub fn on_error(self, hook: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        Self::from_service(self.0.with_hook(hook))
    }

    /// Returns how many WebSockets are open: each counts from before its `on_open` until its `on_close` has returned.
    pub fn connections(&self) -> usize {
        self.registry().connections()
    }

    /// Closes every open WebSocket with 1001, and answers new requests with 503.
    pub fn close_all(&self) {
        self.registry().close_all();
    }

    /// Closes all WebSockets with 1001, waits at most `grace` for them, and drops those that are left. New requests are answered
    /// with 503 from now on. Returns how many had to be dropped.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group closing: no new WebSocket is opened.
    pub async fn shutdown(&self, grace: Duration) -> usize {
        self.registry().shutdown(grace, Tokio.timer()).await
    }

    /// Drains the group, for a restart behind which others serve on: closes all WebSockets with 1012 "Service Restart", one
    /// after the other, in random order, spread evenly over the time `over`. Clients that connect again at once so do not come
    /// all together. Then it waits at most `grace` for those that are left, as [`shutdown`](Self::shutdown) does, and drops them.
    /// New requests are answered with 503 from now on: let nobody be sent here any more before. Returns how many had to be
    /// dropped. If all leave by themselves it returns earlier; a `shutdown` meanwhile closes the rest at once, with 1001.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the group closing: no new WebSocket is opened, and those that were not told yet stay open until
    /// the next `drain` or `shutdown`.
    pub async fn drain(&self, over: Duration, grace: Duration) -> usize {
        self.registry().drain(over, grace, Tokio.timer()).await
    }

    /// Waits for a signal, and then [shuts down](Self::shutdown): what axum's `with_graceful_shutdown` takes. axum itself does
    /// not tell WebSockets of its end.
    ///
    /// # Cancel safety
    /// As [`shutdown`](Self::shutdown).
    pub async fn shutdown_after(self, signal: impl Future<Output = ()>, grace: Duration) {
        signal.await;
        self.shutdown(grace).await;
    }

    /// Waits for a signal, and then [drains](Self::drain): for axum's `with_graceful_shutdown`, which accepts no more when this is
    /// done.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn drain_after(self, signal: impl Future<Output = ()>, over: Duration, grace: Duration) {
        signal.await;
        self.drain(over, grace).await;
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.registry().stage() > Stage::Running
    }

    fn registry(&self) -> &Registry {
        self.0.registry()
    }
}

/// Upgrades have been answered by whoever has asked for them.
fn unasked(_: &Request) -> Response {
    Response::not_found()
}

impl Default for Connections {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
