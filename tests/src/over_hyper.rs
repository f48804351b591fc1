//! The suite's servers inside those of hyper. With `BELLWIRE_TESTS_OVER=hyper1`, `hyper2` or `axum` in the environment, what
//! tokio serves in a test is served by hyper over HTTP/1.1, by hyper over HTTP/2, or by axum. The peers of the tests speak
//! HTTP/1.1: in front of HTTP/2 there is a relay that asks on their behalf, with an extended `CONNECT` (RFC 8441).

use std::env;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::Router;
use axum::middleware::map_response;
use bellwire::hyper::PeerAddr;
use bellwire::tower::HandlerService;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tower_service::Service;
use tungstenite::handshake::derive_accept_key;

use crate::over_tls::runtime;
use crate::{Reported, Server, Setup};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Hyper1,
    Hyper2,
    Axum,
}

pub(crate) fn by() -> Option<By> {
    match env::var("BELLWIRE_TESTS_OVER").ok()?.as_str() {
        "hyper1" => Some(By::Hyper1),
        "hyper2" => Some(By::Hyper2),
        "axum" => Some(By::Axum),
        other => panic!("BELLWIRE_TESTS_OVER is hyper1, hyper2 or axum, not {other}"),
    }
}

/// A head with the names of its fields as bellwire writes them. hyper has them in lower case, which is as good.
pub(crate) fn as_ours(head: String) -> String {
    if by().is_none() {
        return head;
    }
    let title =
        |part: &str| part.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(part.chars().skip(1)).collect();
    let named = |line: &str| {
        let Some((name, value)) = line.split_once(':') else { return line.to_string() };
        let parts: Vec<String> = name.split('-').map(title).collect();
        format!("{}:{value}", parts.join("-").replace("Websocket", "WebSocket"))
    };
    head.split("\r\n").map(named).collect::<Vec<_>>().join("\r\n")
}

/// Serves a handler. What counts connections is not there: the most that a server takes is its framework's.
pub(crate) fn serve(by: By, handle: &Handle, mut setup: Setup, service: HandlerService) -> Server {
    let _entered = handle.enter();
    let (reporter, reports) = mpsc::channel();
    let listener = setup.listen();
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let addr = listener.local_addr().unwrap();
    let service = service.config(setup.config).on_error(move |error| drop(reporter.send(Reported::from(error))));
    let connections = service.connections();
    let (stop, (end, ended)) = (Arc::new(Notify::new()), mpsc::channel());
    let (stopped, waiting) = (stop.clone(), connections.clone());
    handle.spawn(async move {
        match by {
            By::Axum => {
                let app =
                    Router::new().fallback_service(service).layer(map_response(async |response| hanging_up(response)));
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, app)
                    .with_graceful_shutdown(async move { stopped.notified().await })
                    .await
                    .unwrap();
            }
            By::Hyper1 | By::Hyper2 => tokio::select! {
                () = accept(by, listener, service) => {}
                () = stopped.notified() => {}
            },
        }
        waiting.shutdown(Duration::MAX).await;
        // Nobody may care.
        let _ = end.send(());
    });
    let counted = connections.clone();
    let handle = handle.clone();
    let (drained, drainer, stopping) = (connections.clone(), handle.clone(), stop.clone());
    let drain = move |over, grace| {
        let dropped = drainer.block_on(drained.drain(over, grace));
        // When this is told it closes what is left.
        stopping.notify_one();
        dropped
    };
    let shutdown = move |grace| {
        stop.notify_one();
        handle.block_on(connections.shutdown(grace))
    };
    let addr = if by == By::Hyper2 { hide(addr) } else { addr };
    let connections = Arc::new(move || counted.connections());
    Server { addr, reports, logs: None, shutdown: Arc::new(shutdown), drain: Arc::new(drain), connections, ended }
}

/// The tests' peers read an answer to the end of its connection.
fn hanging_up<B>(mut response: Response<B>) -> Response<B> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS && response.version() != Version::HTTP_2 {
        let upgrade = response.headers().contains_key(CONNECTION);
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static(if upgrade { "close, Upgrade" } else { "close" }));
    }
    response
}

async fn accept(by: By, listener: TcpListener, service: HandlerService) {
    while let Ok((stream, peer)) = listener.accept().await {
        let service = service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(PeerAddr(peer));
            let answer = service.clone().call(request);
            async move { answer.await.map(hanging_up) }
        });
        let io = TokioIo::new(stream);
        // What goes wrong with HTTP is seen by the peer.
        tokio::spawn(async move {
            if by == By::Hyper1 {
                let server = http1::Builder::new();
                drop(server.serve_connection(io, service).with_upgrades().await);
            } else {
                let mut server = http2::Builder::new(TokioExecutor::new());
                drop(server.enable_connect_protocol().serve_connection(io, service).await);
            }
        });
    }
}

/// Puts a relay in front of a server that speaks HTTP/2 alone. It ends when it finds that nobody listens any more.
fn hide(addr: SocketAddr) -> SocketAddr {
    let listener = runtime().block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let hidden = listener.local_addr().unwrap();
    runtime().spawn(async move {
        while let Ok((plain, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect(addr).await else { break };
            runtime().spawn(relay(plain, server));
        }
    });
    hidden
}

/// Asks on a peer's behalf, and then passes bytes on.
async fn relay(mut plain: TcpStream, server: TcpStream) -> io::Result<()> {
    plain.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let Some((head, behind)) = read_head(&mut plain).await? else { return Ok(()) };
    let (request, key) = translated(&head);
    let mut sender = connected(server).await?;
    let connect = request.method() == Method::CONNECT;
    let (response, mut to_server) = sender.send_request(request, !connect).map_err(io::Error::other)?;
    let response = match response.await {
        Ok(response) => response,
        Err(_) => return plain.set_zero_linger(),
    };
    let (parts, mut from_server) = response.into_parts();
    let accepted = connect && parts.status == StatusCode::OK;
    plain.write_all(&head_of(&parts, key.as_deref().filter(|_| accepted))).await?;
    let (mut from_plain, mut to_plain) = plain.into_split();
    if !accepted {
        return to_peer(&mut from_server, &mut to_plain).await;
    }
    let to_server = async {
        let result = to_server_of(behind, &mut from_plain, &mut to_server).await;
        if result.is_err() {
            to_server.send_reset(Reason::CANCEL);
        }
        result
    };
    let result = tokio::try_join!(to_server, to_peer(&mut from_server, &mut to_plain));
    if result.is_err() {
        // It ends as abruptly there.
        let plain = from_plain.reunite(to_plain).map_err(io::Error::other)?;
        plain.set_zero_linger()?;
    }
    Ok(())
}

/// Reads up to the blank line, and returns what has come behind it.
async fn read_head(plain: &mut TcpStream) -> io::Result<Option<(String, Vec<u8>)>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let behind = bytes.split_off(end + 4);
            return Ok(String::from_utf8(bytes).ok().map(|head| (head, behind)));
        }
        if plain.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

/// The same request over HTTP/2, and the key, which it does not have.
fn translated(head: &str) -> (Request<()>, Option<String>) {
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let (mut headers, mut host, mut key, mut upgrades) = (HeaderMap::new(), "localhost", None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "host" => host = value,
            "sec-websocket-key" => key = Some(value.to_string()),
            "upgrade" => upgrades = true,
            // RFC 9113 §8.2.2: they are of one connection.
            "connection" | "keep-alive" => {}
            name => {
                headers.append(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
            }
        }
    }
    let mut request = Request::new(());
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = format!("http://{host}{target}").parse().unwrap();
    *request.method_mut() = method.parse().unwrap();
    *request.headers_mut() = headers;
    if upgrades && method == "GET" {
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from_static("websocket"));
    }
    (request, key)
}

/// Connects, and waits until the server's SETTINGS say that it takes extended `CONNECT`s.
async fn connected(server: TcpStream) -> io::Result<SendRequest<Bytes>> {
    // A peer that reads slowly leaves many small messages unread here, and h2 would take that for an attack.
    let handshake = h2::client::Builder::new().data_frame_budget(usize::MAX).handshake(server);
    let (sender, mut connection) = handshake.await.map_err(io::Error::other)?;
    let mut pings = connection.ping_pong().expect("they are taken once");
    // How it ends is seen by its streams.
    runtime().spawn(async move { drop(connection.await) });
    // What answers a PING comes behind the SETTINGS.
    pings.ping(h2::Ping::opaque()).await.map_err(io::Error::other)?;
    let sender = sender.ready().await.map_err(io::Error::other)?;
    assert!(sender.is_extended_connect_protocol_enabled(), "SETTINGS_ENABLE_CONNECT_PROTOCOL is missing");
    Ok(sender)
}

/// The head of the answer over HTTP/1.1: a 101 if the key says so.
fn head_of(parts: &http::response::Parts, key: Option<&str>) -> Vec<u8> {
    let mut head = match key {
        Some(key) => format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
            derive_accept_key(key.as_bytes())
        ),
        None => format!("HTTP/1.1 {}\r\nConnection: close\r\n", parts.status),
    }
    .into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

async fn to_server_of(behind: Vec<u8>, plain: &mut OwnedReadHalf, server: &mut SendStream<Bytes>) -> io::Result<()> {
    let mut bytes = Bytes::from(behind);
    loop {
        while !bytes.is_empty() {
            server.reserve_capacity(bytes.len());
            let capacity = poll_fn(|cx| server.poll_capacity(cx)).await;
            let capacity = capacity.ok_or(ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
            server.send_data(bytes.split_to(capacity.min(bytes.len())), false).map_err(io::Error::other)?;
        }
        let mut buffer = Vec::with_capacity(16 * 1024);
        if plain.read_buf(&mut buffer).await? == 0 {
            return server.send_data(Bytes::new(), true).map_err(io::Error::other);
        }
        bytes = buffer.into();
    }
}

async fn to_peer(server: &mut RecvStream, plain: &mut OwnedWriteHalf) -> io::Result<()> {
    while let Some(bytes) = server.data().await {
        let bytes = bytes.map_err(io::Error::other)?;
        plain.write_all(&bytes).await?;
        // What the peer does not read is not asked for.
        server.flow_control().release_capacity(bytes.len()).map_err(io::Error::other)?;
    }
    plain.shutdown().await
}
