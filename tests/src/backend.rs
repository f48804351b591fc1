//! What a backend must offer so that one test can run on all of them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use bellwire::config::Network;
use bellwire::listener::{IntoListener, IntoResponse};
use bellwire::proto::client;
use bellwire::{
    ClientTls, Closed, Config, ConnectError, Listener, Proxy, Request, Responder, Role, ServerError, ServerTls, Target,
    WebSocket,
};

use socket2::Socket;

use crate::{Log, Logs, Scripted, logged_handler, next, over_tls, quiet, within};

/// A backend, with its runtime if it needs one.
pub trait Backend: Sized + Send + Sync + 'static {
    /// A transport in memory.
    type Memory: Send + 'static;
    /// Its other end.
    type MemoryPeer: Read + Write + Send + 'static;

    /// Starts what it needs.
    fn start() -> Self;

    /// Listens on an address, and says on which.
    ///
    /// # Errors
    /// The backend's.
    fn bind(&self, addr: SocketAddr) -> io::Result<SocketAddr>;

    /// Serves on a loopback port.
    fn serve<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Server;

    /// As [`serve`](Self::serve), with a handler that may answer later.
    fn serve_with(&self, setup: Setup, handler: impl Fn(Request, Responder) + Send + Sync + 'static) -> Server;

    /// Connects over the network.
    ///
    /// # Errors
    /// The backend's.
    fn connect(&self, connect: Connect, listener: impl IntoListener) -> Result<Client, ConnectError>;

    /// Shakes hands over a stream.
    ///
    /// # Errors
    /// The backend's.
    fn connect_over(
        &self,
        connect: Connect,
        over: Over<Self::Memory>,
        listener: impl IntoListener,
    ) -> Result<Client, ConnectError>;

    /// Answers requests on streams.
    fn acceptor<R: IntoResponse + 'static>(
        &self,
        setup: Setup,
        handler: impl Fn(&Request) -> R + Send + Sync + 'static,
    ) -> Acceptor<Self::Memory>;

    /// Drives a stream that somebody else has upgraded.
    fn upgraded(
        &self,
        over: Over<Self::Memory>,
        leftover: Vec<u8>,
        role: Role,
        config: Config,
        listener: impl IntoListener,
    ) -> Driven;

    /// A transport in memory that holds this many bytes in each direction, and how many writes were made there.
    fn memory(&self, capacity: usize) -> (Self::Memory, Self::MemoryPeer, Arc<AtomicUsize>);

    /// Serves upgrades to what `make` makes, and keeps the logs.
    fn serve_logged<L: IntoListener>(&self, config: Config, make: impl Fn() -> L + Send + Sync + 'static) -> Server {
        let (handler, logs) = logged_handler(move |_| make());
        Server { logs: Some(logs), ..self.serve(Setup::new(config), handler) }
    }
}

/// How to set a server up.
#[derive(Debug)]
pub struct Setup {
    /// Limits and deadlines.
    pub config: Config,
    /// The cap on connections, if it is not the default.
    pub max_connections: Option<usize>,
    /// The caller's own listener.
    pub listener: Option<TcpListener>,
    /// With what it speaks TLS, if it does.
    pub tls: Option<ServerTls>,
    /// From where it wants the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
}

impl Setup {
    /// With the defaults of everything else.
    pub fn new(config: Config) -> Self {
        Self { config, max_connections: None, listener: None, tls: None, proxy_protocol: Vec::new() }
    }

    /// The listener, on a port that the system chooses if the caller has none.
    ///
    /// # Panics
    /// If there is none.
    pub fn listen(&mut self) -> TcpListener {
        self.listener.take().unwrap_or_else(|| TcpListener::bind("127.0.0.1:0").unwrap())
    }
}

impl Default for Setup {
    fn default() -> Self {
        Self::new(quiet())
    }
}

/// A server that runs.
pub struct Server {
    /// Where.
    pub addr: SocketAddr,
    /// What its owner was told.
    pub reports: Receiver<Reported>,
    pub(crate) logs: Option<Logs>,
    pub(crate) shutdown: Arc<dyn Fn(Duration) -> usize + Send + Sync>,
    pub(crate) drain: Arc<dyn Fn(Duration, Duration) -> usize + Send + Sync>,
    pub(crate) connections: Arc<dyn Fn() -> usize + Send + Sync>,
    pub(crate) ended: Receiver<()>,
}

impl Server {
    /// Its URL with this path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.addr)
    }

    /// The log of the next connection.
    ///
    /// # Panics
    /// If there is none, or if it was not [served so](Backend::serve_logged).
    #[track_caller]
    pub fn log(&self) -> Log {
        self.logs.as_ref().expect("use serve_logged").next()
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        (self.connections)()
    }

    /// The same, for its own callbacks.
    pub fn counter(&self) -> Arc<dyn Fn() -> usize + Send + Sync> {
        self.connections.clone()
    }

    /// Shuts it down, and says how many connections had to be dropped.
    ///
    /// # Panics
    /// If that takes much longer than it may.
    #[track_caller]
    pub fn shutdown(&self, grace: Duration) -> usize {
        let shutdown = self.shutdown.clone();
        within("shutdown", move || shutdown(grace))
    }

    /// Drains it over a time, and says how many connections had to be dropped.
    ///
    /// # Panics
    /// If that takes much longer than it may.
    #[track_caller]
    pub fn drain(&self, over: Duration, grace: Duration) -> usize {
        let drain = self.drain.clone();
        within("drain", move || drain(over, grace))
    }

    /// The same, from any thread, for as long as it takes.
    pub fn drainer(&self) -> Arc<dyn Fn(Duration, Duration) -> usize + Send + Sync> {
        self.drain.clone()
    }

    /// Waits until `run` has returned.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn wait(&self) {
        next(&self.ended);
    }
}

/// What the hook of a server's owner was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// The status of a refusal.
    pub refused: Option<u16>,
    /// From whom it came.
    pub peer: Option<SocketAddr>,
    /// Origin, host and path of a refusal.
    pub asked: (Option<String>, Option<String>, Option<String>),
    /// In words.
    pub text: String,
}

impl From<&ServerError> for Reported {
    fn from(error: &ServerError) -> Self {
        let text = error.to_string();
        match error {
            ServerError::Refused { peer, refused, .. } => {
                let asked = (refused.origin.clone(), refused.host.clone(), refused.path.clone());
                Self { refused: Some(refused.refusal.status()), peer: *peer, asked, text }
            }
            _ => Self { refused: None, peer: None, asked: (None, None, None), text },
        }
    }
}

/// Where to connect, and how.
#[derive(Debug, Clone)]
pub struct Connect {
    /// The URL.
    pub url: String,
    /// Where a stream of the caller's leads.
    pub peer_addr: Option<SocketAddr>,
    /// In place of the URL's path and query.
    pub request_target: Option<String>,
    /// Headers of the request.
    pub headers: Vec<(&'static str, &'static str)>,
    /// Subprotocols that are offered.
    pub protocols: Vec<&'static str>,
    /// Through which proxy.
    pub proxy: Option<Proxy>,
    /// Limits and deadlines.
    pub config: Config,
    /// With what it speaks TLS, if it is not what the system has.
    pub tls: Option<ClientTls>,
    /// How many redirects are followed.
    pub redirects: u8,
    /// What is done with a socket before it is connected.
    pub socket: Option<fn(&Socket, SocketAddr) -> io::Result<()>>,
}

impl Connect {
    /// With the defaults of everything else.
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            peer_addr: None,
            request_target: None,
            headers: Vec::new(),
            protocols: Vec::new(),
            proxy: None,
            config: quiet(),
            tls: None,
            redirects: 0,
            socket: None,
        }
    }

    /// With other limits and deadlines.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { config, ..self }
    }

    /// Through a proxy.
    ///
    /// # Panics
    /// If that is not its URL.
    #[must_use]
    pub fn through(self, proxy: &str) -> Self {
        Self { proxy: Some(Proxy::new(proxy).unwrap()), ..self }
    }

    /// With this TLS.
    #[must_use]
    pub fn tls(self, tls: impl Into<ClientTls>) -> Self {
        Self { tls: Some(tls.into()), ..self }
    }

    /// Where so many redirects lead.
    #[must_use]
    pub fn redirects(self, redirects: u8) -> Self {
        Self { redirects, ..self }
    }

    /// As bellwire takes it, to connect over the network.
    pub(crate) fn for_network(mut self) -> Result<Target, ConnectError> {
        over_tls::reach(&mut self);
        self.target()
    }

    /// As bellwire takes it.
    ///
    /// # Errors
    /// Those of [`Target`].
    pub fn target(self) -> Result<Target, ConnectError> {
        let mut target = Target::new(&self.url)?.config(self.config).peer_addr(self.peer_addr);
        target = target.redirects(self.redirects).proxy(self.proxy);
        if let Some(hook) = self.socket {
            target = target.socket(hook);
        }
        if let Some(tls) = self.tls {
            target = target.tls(tls);
        }
        if let Some(request_target) = self.request_target {
            target = target.request_target(request_target)?;
        }
        for (name, value) in self.headers {
            target = target.header(name, value)?;
        }
        for protocol in self.protocols {
            target = target.protocol(protocol)?;
        }
        Ok(target)
    }
}

/// An open connection, seen from the client.
pub struct Client {
    /// Its handle.
    pub socket: WebSocket,
    /// What the server answered.
    pub response: client::Response,
    pub(crate) closed: Box<dyn FnOnce() -> Closed + Send>,
}

impl Client {
    /// Waits for the end.
    ///
    /// # Panics
    /// If it does not come.
    #[track_caller]
    pub fn closed(self) -> Closed {
        within("the end of a client", self.closed)
    }
}

/// A stream that the caller has.
#[derive(Debug)]
pub enum Over<M> {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixStream),
    /// Memory.
    Memory(M),
    /// A peer by script.
    Scripted(Scripted),
}

/// Something that drives a connection to its end.
#[derive(Debug)]
pub struct Driven(pub(crate) Receiver<()>);

impl Driven {
    /// Waits until it has returned.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn wait(&self) {
        next(&self.0);
    }
}

/// Answers requests on streams.
pub struct Acceptor<M> {
    /// What its owner was told.
    pub reports: Receiver<Reported>,
    pub(crate) accept: Box<dyn Fn(Over<M>, Option<SocketAddr>) -> Driven>,
    pub(crate) close_all: Box<dyn Fn()>,
    pub(crate) connections: Box<dyn Fn() -> usize>,
}

impl<M> Acceptor<M> {
    /// Answers a request on this stream.
    pub fn accept(&self, over: Over<M>, peer: Option<SocketAddr>) -> Driven {
        (self.accept)(over, peer)
    }

    /// How many connections it has.
    pub fn connections(&self) -> usize {
        (self.connections)()
    }

    /// Closes its connections.
    pub fn close_all(&self) {
        (self.close_all)();
    }
}

/// The listener as a backend takes it, from a caller on another thread.
pub(crate) fn boxed(listener: impl IntoListener) -> Box<dyn Listener> {
    listener.into_listener()
}
