//! What a server needs to know to answer: its handler, its configuration, its connections, and where to report what
//! goes wrong.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

use super::error::ServerError;
use super::registry::Registry;
use super::report::Throttle;
use super::responder::{Answer, Responder};
use crate::api::{AsyncResponse, IntoAsyncResponse, IntoResponse, Response};
use crate::config::Config;
use crate::handshake::{PlainResponse, Request};
use crate::http::date;
use crate::observe;
use crate::protocol::{BoxError, panic_message};
use crate::sync::Mutex;

/// A server without its transport: shared by all its connections' [drivers](crate::backend::Driver).
pub struct Service {
    handler: Arc<Handler>,
    on_error: OnError,
    config: Arc<Config>,
    registry: Arc<Registry>,
    clock: OnceLock<fn() -> Duration>,
    /// The second for which `Date` was written last, and how.
    date: Mutex<Option<(u64, Arc<str>)>>,
    /// Paths whose clients were left without a subprotocol.
    unchosen: Throttle<String>,
}

enum Handler {
    Returns(Returns),
    Responds(Responds),
    Awaits(Awaits),
}

type Returns = Box<dyn Fn(&Request) -> Result<Response, BoxError> + Send + Sync>;
type Responds = Box<dyn Fn(Request, Responder) + Send + Sync>;
type Awaits = Box<dyn Fn(Request, Responder) -> Work + Send + Sync>;
type OnError = Arc<dyn Fn(&ServerError) + Send + Sync>;

/// What an asynchronous handler does until it has answered.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What asking a handler comes to.
pub(crate) enum Asked {
    Answered(Result<AsyncResponse, ServerError>),
    Pending(PendingAnswer),
}

/// A request that its handler has not answered yet.
pub(crate) struct PendingAnswer {
    service: Arc<Service>,
    // Dropped in this order: the end of work that is dropped half done must not pass for an answer.
    answer: Answer,
    work: Working,
}

/// The asynchronous handler's future, until it has answered.
struct Working(Option<Work>);

impl Service {
    /// Creates a service that answers requests with `handler`, reports to `on_error`, and gives its connections
    /// `config`.
    pub fn new<R: IntoResponse>(
        config: Config,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self::of(config, Handler::Returns(Box::new(move |request| handler(request).into_response())), on_error)
    }

    /// Creates a service whose handler answers through a [`Responder`], at once or later.
    ///
    /// A peer that leaves meanwhile is noticed: see [`Responder::is_waiting`]. After [`Config::handler_timeout`] it
    /// gets 503. A panic of the handler is reported; it is a 500 if it has dropped the responder, and otherwise the
    /// responder's answer stands.
    pub fn with_responder(
        config: Config,
        handler: impl Fn(Request, Responder) + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self::of(config, Handler::Responds(Box::new(handler)), on_error)
    }

    /// Creates a service whose handler is asynchronous: it returns a future of an answer, which may carry an
    /// [`AsyncListener`](crate::AsyncListener).
    ///
    /// The future is polled by the connection's task, and dropped with it: when the peer has left, and after
    /// [`Config::handler_timeout`], when the peer gets 503.
    pub fn asynchronous<F: Future<Output: IntoAsyncResponse> + Send + 'static>(
        config: Config,
        handler: impl Fn(Request) -> F + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        let handler = move |request, responder: Responder| {
            let future = handler(request);
            let work: Work = Box::pin(async move { responder.answer(future.await.into_async_response()) });
            work
        };
        Self::of(config, Handler::Awaits(Box::new(handler)), on_error)
    }

    fn of(config: Config, handler: Handler, on_error: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        Self::from_parts(config.into(), Arc::new(handler), Arc::new(on_error))
    }

    fn from_parts(config: Arc<Config>, handler: Arc<Handler>, on_error: OnError) -> Self {
        let (clock, date, unchosen) = (OnceLock::new(), Mutex::default(), Throttle::new());
        Self { handler, on_error, config, registry: Arc::default(), clock, date, unchosen }
    }

    /// Returns a service with the same handler and hook, another configuration, and no connections yet.
    #[must_use]
    pub fn with_config(&self, config: Config) -> Self {
        Self::from_parts(config.into(), self.handler.clone(), self.on_error.clone())
    }

    /// Returns a service with the same handler and configuration that reports to another hook, and has no connections
    /// yet.
    #[must_use]
    pub fn with_hook(&self, on_error: impl Fn(&ServerError) + Send + Sync + 'static) -> Self {
        Self::from_parts(self.config.clone(), self.handler.clone(), Arc::new(on_error))
    }

    /// Returns the configuration of connections that do not bring their own.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Lends it a clock, once: the time since the beginning of 1970. From then on responses have a `Date`. For
    /// backends, and for those who drive connections by hand; the core has no clock of its own.
    pub fn lend_clock(&self, unix_time: fn() -> Duration) {
        // Each backend lends the same one.
        let _ = self.clock.set(unix_time);
    }

    /// Returns the time since the beginning of 1970, if there is a clock.
    pub(crate) fn unix_time(&self) -> Option<Duration> {
        self.clock.get().map(|unix_time| unix_time())
    }

    /// Returns what `Date` says now, if there is a clock. Written once per second.
    pub(crate) fn date(&self) -> Option<Arc<str>> {
        let now = self.unix_time()?;
        let mut written = self.date.lock();
        match &*written {
            Some((second, date)) if *second == now.as_secs() => Some(date.clone()),
            _ => Some(written.insert((now.as_secs(), date(now).into())).1.clone()),
        }
    }

    /// Returns the bytes of a plain response.
    pub(crate) fn encode(&self, request: Option<&Request>, response: &PlainResponse) -> Vec<u8> {
        response.encode_dated(request, self.date().as_deref())
    }

    /// A request is accepted without a subprotocol: if it has offered some, the owner is told, once per path and
    /// minute.
    pub(crate) fn accepted_without_protocol(&self, request: &Request) {
        /// How much of a path tells it from others.
        const MAX_PATH: usize = 128;
        let offered = request.protocols();
        if offered.is_empty() {
            return;
        }
        let path: String = request.path().chars().take(MAX_PATH).collect();
        let now = self.unix_time().unwrap_or_default();
        if self.unchosen.pass(path, now).is_some() {
            let offered = offered.into_iter().map(String::from).collect();
            self.report(&ServerError::NoProtocolChosen { path: request.path().into(), offered });
        }
    }

    /// Tells the owner what went wrong. A hook that panics harms no connection.
    pub fn report(&self, error: &ServerError) {
        observe::server(&error.problem());
        let _ = panic::catch_unwind(AssertUnwindSafe(|| (self.on_error)(error)));
    }

    /// Returns its connections.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Returns the service with other connections: those of a server that had a handle before it had a handler.
    #[must_use]
    pub fn with_registry(self, registry: Arc<Registry>) -> Self {
        Self { registry, ..self }
    }

    /// Asks the handler, once.
    pub(crate) fn ask(self: &Arc<Self>, request: &Request) -> Asked {
        if self.registry.is_closing() {
            return Asked::Answered(Ok(Response::from(unavailable()).into()));
        }
        // RFC 9110 §9.3.7: an asterisk "applies to the server in general rather than to a specific resource".
        if request.target() == "*" {
            return Asked::Answered(Ok(Response::options().into()));
        }
        let (responder, answer) = match &*self.handler {
            Handler::Returns(handler) => {
                let ask = || handler(request).map(AsyncResponse::from).map_err(ServerError::Handler);
                let result = panic::catch_unwind(AssertUnwindSafe(ask));
                return Asked::Answered(result.unwrap_or_else(|payload| Err(panicked(&*payload))));
            }
            Handler::Responds(_) | Handler::Awaits(_) => Responder::pair(),
        };
        let ask = || match &*self.handler {
            Handler::Awaits(handler) => Some(handler(request.clone(), responder)),
            Handler::Responds(handler) => {
                handler(request.clone(), responder);
                None
            }
            Handler::Returns(_) => None,
        };
        match panic::catch_unwind(AssertUnwindSafe(ask)) {
            Ok(work) => self.asked(answer, work, None),
            Err(payload) => self.asked(answer, None, Some(panicked(&*payload))),
        }
    }

    /// The handler has returned, or has panicked.
    fn asked(self: &Arc<Self>, answer: Answer, work: Option<Work>, panicked: Option<ServerError>) -> Asked {
        match self.judge(answer.take_any(), panicked) {
            Some(answer) => Asked::Answered(answer),
            None => Asked::Pending(PendingAnswer::new(self.clone(), answer, work)),
        }
    }

    /// What a panic makes of an answer: a responder that it has dropped has not answered.
    fn judge(
        &self,
        answer: Option<Result<AsyncResponse, ServerError>>,
        panicked: Option<ServerError>,
    ) -> Option<Result<AsyncResponse, ServerError>> {
        match (answer, panicked) {
            (Some(Err(ServerError::NoAnswer)), Some(panicked)) => Some(Err(panicked)),
            (answer, panicked) => {
                if let Some(panicked) = panicked {
                    self.report(&panicked);
                }
                answer
            }
        }
    }
}

impl PendingAnswer {
    fn new(service: Arc<Service>, answer: Answer, work: Option<Work>) -> Self {
        service.registry.asked(answer.slot());
        Self { service, answer, work: Working(work) }
    }

    /// [`Answer::poll`]; 503 when the server is shut down.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<AsyncResponse, ServerError>> {
        let panicked = self.work(waker).map(|payload| panicked(&*payload));
        let answer = match self.answer.poll_any(waker) {
            Poll::Pending => self.service.judge(None, panicked),
            Poll::Ready(answer) => self.service.judge(Some(answer), panicked),
        };
        // Asked last: who shuts down after that finds the waker.
        if self.service.registry.is_closing() {
            return Poll::Ready(Ok(Response::from(unavailable()).into()));
        }
        answer.map_or(Poll::Pending, Poll::Ready)
    }

    /// The handler has taken too long: what the peer gets instead of its answer.
    pub(crate) fn give_up(&self) -> Result<AsyncResponse, ServerError> {
        let timeout = self.service.config.handler_timeout.unwrap_or_default();
        self.service.report(&ServerError::HandlerTimeout(timeout));
        let text = "The server has not found an answer in time: try again later\n";
        Ok(Response::from(PlainResponse::own_text(503, text)).into())
    }

    /// Goes on with what an asynchronous handler does; gives back what it has panicked with.
    fn work(&mut self, waker: &Waker) -> Option<Box<dyn Any + Send>> {
        let work = self.work.0.as_mut()?;
        match panic::catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut Context::from_waker(waker)))) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(())) => {
                self.work.0 = None;
                None
            }
            Err(payload) => {
                self.work.0 = None;
                Some(payload)
            }
        }
    }
}

impl Drop for PendingAnswer {
    fn drop(&mut self) {
        self.service.registry.answered(self.answer.slot());
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let work = self.0.take();
        // What it holds may panic.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

pub(super) fn unavailable() -> PlainResponse {
    PlainResponse::own_text(503, "The server is shutting down: try again later\n")
}

fn panicked(payload: &(dyn Any + Send)) -> ServerError {
    ServerError::HandlerPanicked(panic_message(payload))
}

debug!(Service => |this| config: this.config);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_remembered_as_long_as_somebody_waits_for_its_answer() {
        let (responders, kept) = std::sync::mpsc::channel();
        let handler = move |_, responder| responders.send(responder).unwrap();
        let service = Arc::new(Service::with_responder(Config::default(), handler, |_: &ServerError| ()));
        let pending = [(); 2].map(|()| match service.ask(&Request::get("/")) {
            Asked::Pending(pending) => pending,
            Asked::Answered(_) => panic!("nobody has answered"),
        });
        assert_eq!(service.registry.asked_count(), 2);
        drop(pending);
        assert_eq!(service.registry.asked_count(), 0);
        drop(kept);
    }
}
