//! An application in a server of hyper's, and a client made of bytes.

use std::convert::Infallible;
use std::time::Duration;

use bellwire_core::listener::ListenerBuilder;
use bellwire_core::{Config, ServerError, listener};
use bellwire_hyper::{Body, Connections, Rejection, WebSocketUpgrade};
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("still not done")
}

/// The streams that hyper reads and writes, and which of its servers does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// HTTP/1.1 over TCP, which can be taken back from hyper.
    Tcp,
    /// HTTP/1.1 or HTTP/2 over TCP, as axum serves.
    AutoTcp,
    /// HTTP/1.1 over something else, as over TLS; it holds so many bytes.
    Memory(usize),
    /// HTTP/1.1 or HTTP/2 over something else.
    AutoMemory(usize),
    /// A server that has forgotten `with_upgrades`.
    NoUpgrades,
}

pub(crate) const WAYS: [Way; 4] = [Way::Tcp, Way::AutoTcp, Way::Memory(64 * 1024), Way::AutoMemory(64 * 1024)];

/// An application, as its handlers have it.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) connections: Connections,
    tell: mpsc::UnboundedSender<String>,
}

/// What its owner and its listeners are told.
pub(crate) struct Told(mpsc::UnboundedReceiver<String>);

impl App {
    pub(crate) fn new() -> (Self, Told) {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> (Self, Told) {
        let (tell, told) = mpsc::unbounded_channel();
        let reports = tell.clone();
        let hook = move |error: &ServerError| drop(reports.send(format!("owner: {error}")));
        (Self { connections: Connections::new().config(config).on_error(hook), tell }, Told(told))
    }

    pub(crate) fn tell(&self, text: impl Into<String>) {
        self.tell.send(text.into()).unwrap();
    }

    /// A listener that says what happens to it, and echoes.
    pub(crate) fn echo(&self) -> ListenerBuilder {
        let [opened, closed] = [(); 2].map(|()| self.clone());
        listener()
            .on_open(move |_| opened.tell("open"))
            .on_message(|socket, message| socket.send(message))
            .on_close(move |_, code, _| closed.tell(format!("close {}", u16::from(code))))
    }

    /// The upgrade of a request.
    pub(crate) fn upgrade<B>(&self, request: &mut Request<B>) -> Result<WebSocketUpgrade, Rejection> {
        request.extensions_mut().insert(self.connections.clone());
        WebSocketUpgrade::from_request(request)
    }

    /// Upgrades to the echo.
    pub(crate) async fn answer(self, mut request: Request<Incoming>) -> Response<Body> {
        match self.upgrade(&mut request) {
            Ok(upgrade) => upgrade.listener(self.echo()),
            Err(rejection) => rejection.to_response(),
        }
    }
}

impl Told {
    pub(crate) async fn next(&mut self) -> String {
        within(self.0.recv()).await.unwrap()
    }

    pub(crate) async fn expect(&mut self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.next().await, *text);
        }
    }

    /// Checks that nothing is left: no WebSocket, no task, and nothing that was not looked at.
    pub(crate) async fn ended(mut self, app: &App) {
        let alive = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        within(async {
            while alive() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        assert_eq!(app.connections.connections(), 0);
        let more = self.0.try_recv();
        assert!(more.is_err(), "{more:?}");
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The client's end of a connection.
pub(crate) struct Client(Box<dyn Stream>);

/// Serves one connection, and returns its other end.
pub(crate) async fn serve<F, B>(way: Way, handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static) -> Client
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    served(way, handler).await.0
}

/// The same, with the server's task.
pub(crate) async fn served<F, B>(
    way: Way,
    handler: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) -> (Client, JoinHandle<()>)
where
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let auto = || {
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http2().enable_connect_protocol();
        server
    };
    // What goes wrong with HTTP is seen by the client.
    match way {
        Way::Tcp | Way::AutoTcp => {
            let (client, server) = tcp().await;
            let io = TokioIo::new(server);
            let task = match way {
                Way::Tcp => tokio::spawn(async move {
                    drop(http1::Builder::new().serve_connection(io, service).with_upgrades().await)
                }),
                _ => tokio::spawn(async move { drop(auto().serve_connection_with_upgrades(io, service).await) }),
            };
            (Client(Box::new(client)), task)
        }
        Way::Memory(capacity) => {
            let (client, server) = tokio::io::duplex(capacity);
            let io = TokioIo::new(server);
            let task =
                tokio::spawn(
                    async move { drop(http1::Builder::new().serve_connection(io, service).with_upgrades().await) },
                );
            (Client(Box::new(client)), task)
        }
        Way::AutoMemory(capacity) => {
            let (client, server) = tokio::io::duplex(capacity);
            let io = TokioIo::new(server);
            let task = tokio::spawn(async move { drop(auto().serve_connection_with_upgrades(io, service).await) });
            (Client(Box::new(client)), task)
        }
        Way::NoUpgrades => {
            let (client, server) = tokio::io::duplex(64 * 1024);
            let io = TokioIo::new(server);
            let task = tokio::spawn(async move { drop(http1::Builder::new().serve_connection(io, service).await) });
            (Client(Box::new(client)), task)
        }
    }
}

async fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    (client, listener.accept().await.unwrap().0)
}

impl Client {
    pub(crate) fn into_inner(self) -> impl AsyncRead + AsyncWrite + Send + Unpin + 'static {
        self.0
    }

    /// Sends these pieces, and meanwhile reads a head and all that is behind it.
    pub(crate) async fn talk(self, pieces: impl IntoIterator<Item = &[u8]>) -> (String, Vec<u8>) {
        let (reader, mut writer) = tokio::io::split(self.0);
        let mut reader = Client(Box::new(tokio::io::join(reader, tokio::io::sink())));
        let write = async {
            for piece in pieces {
                writer.write_all(piece).await.unwrap();
            }
        };
        let read = async { (reader.head().await, reader.rest().await) };
        within(async { tokio::join!(write, read) }).await.1
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        within(self.0.write_all(bytes)).await.unwrap();
    }

    /// Reads a head, and not what is behind it.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(self.0.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    /// Reads a response with a length.
    pub(crate) async fn response(&mut self) -> (String, String) {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
        let body = self.exactly(length.parse().unwrap()).await;
        (head, String::from_utf8(body).unwrap())
    }

    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        within(self.0.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// Reads to the end, which is not a reset.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        within(self.0.read_to_end(&mut bytes)).await.unwrap();
        bytes
    }
}

/// The bytes of a good request, with these lines in place of those of the same names, or besides.
pub(crate) fn request(first: &str, lines: &[&str]) -> Vec<u8> {
    let good = [
        "Host: localhost",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];
    let name = |line: &str| line.split(':').next().unwrap_or_default().to_string();
    let kept = good.into_iter().filter(|line| !lines.iter().any(|other| name(other) == name(line)));
    let mut head = format!("{first}\r\n");
    // A name alone leaves its line out.
    for line in kept.chain(lines.iter().copied().filter(|line| line.contains(':'))) {
        head.push_str(line);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

pub(crate) fn upgrade() -> Vec<u8> {
    request("GET / HTTP/1.1", &[])
}

/// A short frame as a client sends it. Its mask is 0.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, 0x80 | u8::try_from(payload.len()).unwrap(), 0, 0, 0, 0];
    bytes.extend(payload);
    bytes
}

/// The same as a server sends it.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | opcode, u8::try_from(payload.len()).unwrap()];
    bytes.extend(payload);
    bytes
}

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
