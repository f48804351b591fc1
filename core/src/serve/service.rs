//! What a server needs to know to answer: its handler, its configuration, where to report what goes
//! wrong, and which connections are open.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;
use core::net::SocketAddr;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::panic::{self, AssertUnwindSafe};
use std::sync::OnceLock;

use super::report::Throttle;
use super::responder::{Answer, Responder, Slot};
use crate::api::{AsyncResponse, IntoAsyncResponse, IntoResponse, Response, WebSocket};
use crate::config::{Config, InvalidConfig};
use crate::context::SocketId;
use crate::handshake::server::{Refusal, Refused};
use crate::handshake::{PlainResponse, Request};
use crate::http::{InvalidHeader, date, shown};
use crate::protocol::{BoxError, CloseCode};
use crate::sync::{Mutex, MutexGuard};

/// A server without its transport: shared by all its connections' [drivers](crate::Driver).
pub struct Service {
    handler: Handler,
    on_error: OnError,
    config: Arc<Config>,
    connections: Mutex<Connections>,
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
type OnError = Box<dyn Fn(&ServerError) + Send + Sync>;

#[derive(Default)]
struct Connections {
    closing: bool,
    /// `None` while `on_open` runs.
    sockets: BTreeMap<SocketId, Option<WebSocket>>,
    /// Whose handlers have not answered yet, by their addresses.
    asked: BTreeMap<usize, Arc<Slot>>,
}

/// What an asynchronous handler does until it has answered.
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What asking a handler comes to.
pub(crate) enum Asked {
    Answered(Result<AsyncResponse, ServerError>),
    Waiting(Waiting),
}

/// A request that its handler has not answered yet.
pub(crate) struct Waiting {
    service: Arc<Service>,
    // Dropped in this order: work that is dropped before it is done has nobody to tell.
    answer: Answer,
    work: Working,
}

/// Who is about to answer, if it is for us to poll.
struct Working(Option<Work>);

/// What goes wrong on a server outside of any listener: given to the hook that its owner sets.
#[derive(Debug)]
#[non_exhaustive]
pub enum ServerError {
    /// Accepting a connection failed: out of descriptors, or the peer gave up. The server goes on.
    Accept(std::io::Error),
    /// A request was refused before or after the handler had its say.
    Refused {
        /// Where it came from.
        peer: Option<SocketAddr>,
        /// Why, and with which status.
        refusal: Refusal,
        /// The value of `Origin`: which page a browser has shown. As it came, as are the next two: escape what you print.
        origin: Option<String>,
        /// The host that was asked for, as in [`Refused`].
        host: Option<String>,
        /// The path that was asked for.
        path: Option<String>,
    },
    /// The handler returned an error; the peer got 500.
    Handler(BoxError),
    /// The handler panicked with this message; the peer got 500, unless its responder answers.
    HandlerPanicked(String),
    /// The handler's [`Responder`] was dropped without an answer; the peer got 500.
    NoAnswer,
    /// The handler has not answered within [`Config::handler_timeout`], which this is; the peer got 503.
    HandlerTimeout(Duration),
    /// The handler chose a subprotocol that the client had not offered; the peer got 500.
    ProtocolNotOffered(String),
    /// A client has offered subprotocols, and the handler has accepted it without choosing one. The connection is open;
    /// Chromium, Node and others then fail it by themselves, with 1006. Told once per path and minute; choose with
    /// [`Response::select_protocol`].
    NoProtocolChosen {
        /// The path that was asked for, as it came.
        path: String,
        /// What was offered, in the client's order.
        offered: Vec<String>,
    },
    /// The handler's response has a header that cannot be sent, and was answered with 500: see
    /// [`Response::header`].
    Header {
        /// As the handler named it.
        name: String,
        /// What is wrong.
        error: InvalidHeader,
    },
    /// The server's configuration, or that of one upgrade, is not a good one; the peer got 500.
    Config(InvalidConfig),
    /// A listener panicked in `on_error` or `on_close`, where nobody else can be told.
    ListenerPanicked(String),
}

impl Service {
    /// A service that answers requests with `handler`, reports to `on_error`, and gives its connections `config`.
    pub fn new<R: IntoResponse>(
        config: Config,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
        on_error: impl Fn(&ServerError) + Send + Sync + 'static,
    ) -> Self {
        Self::of(config, Handler::Returns(Box::new(move |request| handler(request).into_response())), on_error)
    }

    /// A service whose handler answers through a [`Responder`], at once or later: Ring's asynchronous handler
    /// `(request, respond, raise)`.
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

    /// A service whose handler is asynchronous: it returns a future of an answer, which may carry an
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
        let (config, connections) = (Arc::new(config), Mutex::default());
        let (clock, date, unchosen) = (OnceLock::new(), Mutex::default(), Throttle::new());
        Self { handler, on_error: Box::new(on_error), config, connections, clock, date, unchosen }
    }

    /// The configuration of connections that do not bring their own.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Lends it a clock, once: the time since the beginning of 1970. From then on responses have a `Date`. For backends,
    /// and for those who drive connections by hand; the core has no clock of its own.
    pub fn lend_clock(&self, unix_time: fn() -> Duration) {
        // Each backend lends the same one.
        let _ = self.clock.set(unix_time);
    }

    /// What `Date` says now, if there is a clock. Written once per second.
    pub(crate) fn date(&self) -> Option<Arc<str>> {
        let now = self.clock.get()?();
        let mut written = self.date.lock();
        match &*written {
            Some((second, date)) if *second == now.as_secs() => Some(date.clone()),
            _ => Some(written.insert((now.as_secs(), date(now).into())).1.clone()),
        }
    }

    /// The bytes of a plain response.
    pub(crate) fn encode(&self, request: Option<&Request>, response: &PlainResponse) -> Vec<u8> {
        response.encode_dated(request, self.date().as_deref())
    }

    /// A request is accepted without a subprotocol: if it has offered some, the owner is told, once per path and minute.
    pub(crate) fn accepted_without_protocol(&self, request: &Request) {
        /// How much of a path tells it from others.
        const MAX_PATH: usize = 128;
        let offered = request.protocols();
        if offered.is_empty() {
            return;
        }
        let path: String = request.path().chars().take(MAX_PATH).collect();
        let now = self.clock.get().map(|unix_time| unix_time()).unwrap_or_default();
        if self.unchosen.pass(path, now).is_some() {
            let offered = offered.into_iter().map(String::from).collect();
            self.report(&ServerError::NoProtocolChosen { path: request.path().into(), offered });
        }
    }

    /// Tells the owner what went wrong. A hook that panics harms no connection.
    pub fn report(&self, error: &ServerError) {
        let _ = panic::catch_unwind(AssertUnwindSafe(|| (self.on_error)(error)));
    }

    /// Whether [`close_all`](Self::close_all) was called: no request is answered any more.
    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Closes every open connection with 1001, and refuses new ones with 503, also those whose handlers have not
    /// answered yet.
    pub fn close_all(&self) {
        let (sockets, asked): (Vec<_>, Vec<_>) = {
            let mut connections = self.lock();
            connections.closing = true;
            (connections.sockets.values().flatten().cloned().collect(), connections.asked.values().cloned().collect())
        };
        for socket in sockets {
            close(&socket);
        }
        for slot in asked {
            slot.give_up();
        }
    }

    /// Drops every open connection without a closing handshake.
    pub fn abort_all(&self) {
        let sockets: Vec<_> = self.lock().sockets.values().flatten().cloned().collect();
        for socket in sockets {
            socket.abort();
        }
    }

    /// Asks the handler, once.
    pub(crate) fn ask(self: &Arc<Self>, request: &Request) -> Asked {
        if self.is_closing() {
            return Asked::Answered(Ok(unavailable().into()));
        }
        // RFC 9110 §9.3.7: an asterisk "applies to the server in general rather than to a specific resource".
        if request.target() == "*" {
            return Asked::Answered(Ok(Response::options().into()));
        }
        let (responder, answer) = match &self.handler {
            Handler::Returns(handler) => {
                let ask = || handler(request).map(AsyncResponse::from).map_err(ServerError::Handler);
                let result = panic::catch_unwind(AssertUnwindSafe(ask));
                return Asked::Answered(result.unwrap_or_else(|payload| Err(panicked(&*payload))));
            }
            Handler::Responds(_) | Handler::Awaits(_) => Responder::pair(),
        };
        let ask = || match &self.handler {
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
            None => Asked::Waiting(Waiting::new(self.clone(), answer, work)),
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

    /// How many connections are open: each from before its `on_open` until its `on_close` has returned.
    pub fn connections(&self) -> usize {
        self.lock().sockets.len()
    }

    /// `on_open` is about to run: from now on it counts.
    pub(crate) fn opens(&self, socket: &WebSocket) {
        self.lock().sockets.insert(socket.id(), None);
    }

    /// `on_open` has run: from now on it can be closed with the others.
    pub(crate) fn opened(&self, socket: &WebSocket) {
        let mut connections = self.lock();
        connections.sockets.insert(socket.id(), Some(socket.clone()));
        let closing = connections.closing;
        drop(connections);
        if closing {
            close(socket);
        }
    }

    pub(crate) fn ended(&self, socket: &WebSocket) {
        let removed = self.lock().sockets.remove(&socket.id());
        drop(removed);
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock()
    }
}

impl Waiting {
    fn new(service: Arc<Service>, answer: Answer, work: Option<Work>) -> Self {
        service.lock().asked.insert(address(&answer), answer.slot().clone());
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
        if self.service.is_closing() {
            return Poll::Ready(Ok(unavailable().into()));
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

impl Drop for Waiting {
    fn drop(&mut self) {
        let removed = self.service.lock().asked.remove(&address(&self.answer));
        drop(removed);
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let work = self.0.take();
        // What it holds may panic.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(work)));
    }
}

/// Unique as long as the answer lives.
fn address(answer: &Answer) -> usize {
    Arc::as_ptr(answer.slot()).addr()
}

fn unavailable() -> Response {
    PlainResponse::own_text(503, "The server is shutting down: try again later\n").into()
}

fn panicked(payload: &(dyn Any + Send)) -> ServerError {
    ServerError::HandlerPanicked(panic_message(payload))
}

pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_string())
}

/// RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down".
fn close(socket: &WebSocket) {
    // Closed already: that is what is wanted.
    let _ = socket.close_with(CloseCode::GOING_AWAY, "Server Shutdown");
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept(error) => write!(f, "cannot accept a connection: {error}"),
            Self::Refused { peer, refusal, origin, host, path } => {
                let (refusal, origin, host) = (*refusal, origin.clone(), host.clone());
                f.write_str("request")?;
                if let Some(peer) = peer {
                    write!(f, " from {peer}")?;
                }
                if let Some(path) = path {
                    write!(f, " for {}", shown(path))?;
                }
                write!(f, " refused: {}", Refused { origin, host, ..Refused::from(refusal) })
            }
            Self::Handler(error) => write!(f, "the handler failed: {error}"),
            Self::HandlerPanicked(message) => write!(f, "the handler panicked: {message}"),
            Self::HandlerTimeout(timeout) => {
                write!(f, "the handler has not answered within {timeout:?}: make it faster, or raise handler_timeout")
            }
            Self::NoAnswer => f.write_str("the handler dropped its responder without an answer: call respond or raise"),
            Self::ProtocolNotOffered(protocol) => {
                write!(f, "the handler chose the subprotocol {protocol:?}, which the client did not offer")
            }
            Self::NoProtocolChosen { path, offered } => write!(
                f,
                "the client offers the subprotocols {} for {}, and the handler chose none: Chromium and Node fail such \
                 connections (1006), so choose one with Response::select_protocol, or refuse who offers none that you speak",
                shown(&offered.join(", ")),
                shown(path)
            ),
            Self::Header { name, error } => {
                write!(f, "the handler set the header {name:?}, which cannot be sent: {error}")
            }
            Self::Config(error) => error.fmt(f),
            Self::ListenerPanicked(message) => write!(f, "a listener panicked in on_error or on_close: {message}"),
        }
    }
}

impl core::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Accept(error) => Some(error),
            Self::Handler(error) => Some(&**error),
            Self::Header { error, .. } => Some(error),
            Self::Config(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("config", &self.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_remembered_as_long_as_somebody_waits_for_its_answer() {
        let (responders, kept) = std::sync::mpsc::channel();
        let handler = move |_, responder| responders.send(responder).unwrap();
        let service = Arc::new(Service::with_responder(Config::default(), handler, |_: &ServerError| ()));
        let waiting = [(); 2].map(|()| match service.ask(&Request::get("/")) {
            Asked::Waiting(waiting) => waiting,
            Asked::Answered(_) => panic!("nobody has answered"),
        });
        assert_eq!(service.lock().asked.len(), 2);
        drop(waiting);
        assert_eq!(service.lock().asked.len(), 0);
        drop(kept);
    }
}
