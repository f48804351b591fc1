//! What the tests share: applications on free ports, and those who ask.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use bellwire_core::{Config, MessageStream, Request, Role, Target, is_upgrade_request, listener, stream};
use bellwire_hyper::axum::{Connections, WebSocketUpgrade};
use bytes::Bytes;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// So long that nobody runs into it.
pub(crate) const GRACE: Duration = Duration::from_secs(60);

/// Serves on a free port.
pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    addr
}

/// Connections that tell nobody what is refused.
pub(crate) fn quiet() -> Connections {
    Connections::new().on_error(|_| ())
}

pub(crate) fn target(addr: SocketAddr, path: &str) -> Target {
    Target::new(format!("ws://{addr}{path}")).unwrap()
}

/// A request by hand, and all that comes back until the server has nothing more to say.
pub(crate) async fn ask(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("{}\r\nConnection: close\r\n\r\n", head.replace('\n', "\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

pub(crate) async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.listener(listener().on_message(|socket, message| socket.send(message)))
}

/// What a router of axum answers to a request by hand.
pub(crate) async fn status_and_text(addr: SocketAddr, head: &str) -> (u16, String) {
    let answer = ask(addr, head).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), text.into())
}

pub(crate) const UPGRADE: &str = "HTTP/1.1\nHost: h\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

pub(crate) fn echoing(request: &Request) -> bellwire_core::Response {
    if !is_upgrade_request(request) {
        return bellwire_core::Response::text(format!("{} {}", request.method(), request.path()));
    }
    bellwire_core::Response::websocket(listener().on_message(|socket, message| socket.send(message)))
        .header("Set-Cookie", "seen=1")
}

pub(crate) async fn returned() -> bellwire_core::Response {
    echoing(&Request::upgrade("/"))
}

pub(crate) async fn is_echoed(addr: SocketAddr, path: &str) -> bellwire_core::proto::client::Response {
    let (mut messages, response) = bellwire_tokio::connect_stream(target(addr, path)).await.unwrap();
    messages.send(path).await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), path);
    assert!(messages.close().await.clean);
    response
}

/// Opens a connection of HTTP/2, and asks for what is in `request`.
pub(crate) async fn ask_over_http_2(addr: SocketAddr, request: http::request::Builder) -> http::Response<Incoming> {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // Extended CONNECT is known to be spoken when the server's SETTINGS are here: with the answer to something else.
    let ping = http::Request::head(format!("http://{addr}/nowhere")).body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(ping).await.unwrap();
    sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
}

pub(crate) fn extended_connect(addr: SocketAddr, path: &str) -> http::request::Builder {
    http::Request::connect(format!("http://{addr}{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("Sec-WebSocket-Version", "13")
}

/// Opens a WebSocket in a connection of HTTP/2.
pub(crate) async fn talk_over_http_2(addr: SocketAddr, path: &str) -> MessageStream {
    let mut response = ask_over_http_2(addr, extended_connect(addr, path)).await;
    assert_eq!(response.status(), 200, "{path}");
    assert!(!response.headers().contains_key("Sec-WebSocket-Accept"), "{path}");
    let upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let (listener, opened) = stream();
    let talk = bellwire_tokio::upgraded(upgraded, vec![], Role::Client, Config::default(), listener);
    tokio::spawn(talk);
    opened.await.unwrap()
}
