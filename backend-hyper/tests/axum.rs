//! WebSockets in applications of axum, with clients of bellwire, and requests written by hand.

use std::future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use bellwire_core::{
    AsyncResponse, CloseCode, Config, Request, Target, async_listener, is_upgrade_request, listener, stream_listener,
};
use bellwire_hyper::axum::{Connections, WebSocketUpgrade};
use bellwire_hyper::tower::service_async;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::util::MapResponseLayer;

/// So long that nobody runs into it.
const GRACE: Duration = Duration::from_secs(60);

/// Serves on a free port.
async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.unwrap() });
    addr
}

/// Connections that tell nobody what is refused.
fn quiet() -> Connections {
    Connections::new().on_error(|_| ())
}

fn target(addr: SocketAddr, path: &str) -> Target {
    Target::new(format!("ws://{addr}{path}")).unwrap()
}

/// A request by hand, and all that comes back until the server has nothing more to say.
async fn ask(addr: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!("{}\r\nConnection: close\r\n\r\n", head.replace('\n', "\r\n"));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.listener(listener().on_message(|socket, message| socket.send(message)))
}

#[tokio::test]
async fn a_listener_and_a_stream_talk_with_what_the_application_has() {
    async fn greet(State(greeting): State<&'static str>, upgrade: WebSocketUpgrade) -> Response {
        let peer = upgrade.request().peer_addr();
        upgrade.protocols(["mqtt"]).on_upgrade(move |mut messages| async move {
            assert_eq!(messages.socket().peer_addr(), peer);
            messages.send(format!("{greeting} {}", peer.unwrap())).await
        })
    }
    let app = Router::new().route("/echo", any(echo)).route("/greet", any(greet)).with_state("hello");
    let addr = serve(app).await;

    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/echo")).await.unwrap();
    messages.send("one").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), "one");
    assert!(messages.close().await.clean);

    let offering = target(addr, "/greet").protocol("soap").unwrap().protocol("mqtt").unwrap();
    let (mut messages, response) = bellwire_tokio::connect_stream(offering).await.unwrap();
    assert_eq!(response.protocol(), Some("mqtt"));
    let greeting = messages.recv().await.unwrap().unwrap();
    assert!(greeting.as_text().unwrap().starts_with("hello 127.0.0.1:"), "{greeting:?}");
    assert!(messages.recv().await.is_none());
}

#[tokio::test]
async fn a_request_that_asks_for_none_is_refused_or_is_a_page() {
    async fn page_or_echo(upgrade: Option<WebSocketUpgrade>) -> Response {
        match upgrade {
            Some(upgrade) => echo(upgrade).await,
            None => "a page".into_response(),
        }
    }
    let app = Router::new().route("/", any(echo)).route("/page", any(page_or_echo));
    let addr = serve(app.layer(Extension(quiet()))).await;

    let answer = ask(addr, "GET / HTTP/1.1\nHost: h").await;
    assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
    assert!(answer.contains("\r\nupgrade: websocket\r\n"), "{answer}");
    assert!(answer.ends_with("connect with a WebSocket client, which sends Upgrade: websocket\n"), "{answer}");

    let answer = ask(addr, "GET /page HTTP/1.1\nHost: h").await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\na page"), "{answer}");
    let answer = ask(addr, "GET /page HTTP/1.1\nHost: h\nUpgrade: websocket").await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("Connection lacks the token Upgrade"), "{answer}");
    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/page")).await.unwrap();
    assert!(messages.close().await.clean);
}

/// What a router of axum answers to a request by hand.
async fn status_and_text(addr: SocketAddr, head: &str) -> (u16, String) {
    let answer = ask(addr, head).await;
    let (head, text) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), text.into())
}

const UPGRADE: &str = "HTTP/1.1\nHost: h\nUpgrade: websocket\nConnection: Upgrade\nSec-WebSocket-Version: 13\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

fn echoing(request: &Request) -> bellwire_core::Response {
    if !is_upgrade_request(request) {
        return bellwire_core::Response::text(format!("{} {}", request.method(), request.path()));
    }
    bellwire_core::Response::websocket(listener().on_message(|socket, message| socket.send(message)))
        .header("Set-Cookie", "seen=1")
}

async fn returned() -> bellwire_core::Response {
    echoing(&Request::upgrade("/"))
}

async fn is_echoed(addr: SocketAddr, path: &str) -> bellwire_core::proto::client::Response {
    let (mut messages, response) = bellwire_tokio::connect_stream(target(addr, path)).await.unwrap();
    messages.send(path).await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), path);
    assert!(messages.close().await.clean);
    response
}

#[tokio::test]
async fn a_handler_returns_a_listener_and_a_layer_opens_the_web_socket() {
    async fn streamed() -> AsyncResponse {
        AsyncResponse::websocket(stream_listener(|mut messages| async move {
            while let Some(message) = messages.recv().await {
                messages.send(message?).await?;
            }
            Ok::<_, bellwire_core::StreamError>(())
        }))
    }
    async fn page() -> bellwire_core::Response {
        bellwire_core::Response::html("<p>hello").with_status(203).header("X-Page", "1")
    }
    let connections = quiet();
    let app = Router::new()
        .route("/returned", any(returned))
        .route("/streamed", any(streamed))
        .route("/extracted", any(echo))
        .route("/page", any(page))
        .route_layer(MapResponseLayer::new(|mut response: Response| {
            response.headers_mut().append("Set-Cookie", HeaderValue::from_static("layer=1"));
            response
        }))
        .layer(connections.clone());
    let addr = serve(app).await;

    let response = is_echoed(addr, "/returned").await;
    let cookies: Vec<_> = response.headers().texts("Set-Cookie").collect();
    assert_eq!(cookies, ["layer=1", "seen=1"]);
    assert!(!response.headers().contains("Content-Type") && !response.headers().contains("Content-Length"));
    is_echoed(addr, "/streamed").await;
    is_echoed(addr, "/extracted").await;

    let answer = ask(addr, "GET /page HTTP/1.1\nHost: h").await;
    assert!(answer.starts_with("HTTP/1.1 203 ") && answer.ends_with("\r\n\r\n<p>hello"), "{answer}");
    assert!(answer.contains("\r\nx-page: 1\r\n") && answer.contains("\r\nset-cookie: layer=1\r\n"), "{answer}");
    // Its headers tell why.
    assert_eq!(status_and_text(addr, "GET /returned HTTP/1.1\nHost: h").await.0, 426);
    let crossing = format!("GET /returned {UPGRADE}\nOrigin: https://other.example");
    let (status, text) = status_and_text(addr, &crossing).await;
    assert!((status, text.contains("https://other.example")) == (403, true), "{status} {text}");

    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/returned")).await.unwrap();
    messages.send("here").await.unwrap();
    messages.recv().await.unwrap().unwrap();
    assert_eq!(connections.connections(), 1);
    connections.close_all();
    assert!(messages.recv().await.is_none());
    assert_eq!(messages.closed().unwrap().code, CloseCode::GOING_AWAY);
    assert_eq!(status_and_text(addr, &format!("GET /returned {UPGRADE}")).await.0, 503);
}

#[tokio::test]
async fn without_the_layer_a_handler_that_returns_a_listener_is_a_500_that_names_it() {
    let addr = serve(Router::new().route("/", any(returned))).await;
    let (status, text) = status_and_text(addr, &format!("GET / {UPGRADE}")).await;
    assert!(status == 500 && text.contains(".layer(bellwire::axum::Connections::new())"), "{status} {text}");
}

#[tokio::test]
async fn a_mistake_in_a_header_is_told_to_the_owner_and_not_to_the_client() {
    async fn mistaken() -> bellwire_core::Response {
        bellwire_core::Response::text("secret").header("X Y", "z")
    }
    let (tell, told) = std::sync::mpsc::channel();
    let connections = Connections::new().on_error(move |error| tell.send(error.to_string()).unwrap());
    let addr = serve(Router::new().route("/", any(mistaken)).layer(connections)).await;
    let answer = status_and_text(addr, "GET / HTTP/1.1\nHost: h").await;
    assert_eq!(answer, (500, "Internal Server Error\n".into()));
    let told = told.recv().unwrap();
    assert!(told.contains("X Y"), "{told}");
}

#[tokio::test]
async fn a_whole_handler_is_mounted_at_a_path_in_a_nest_and_as_what_is_left() {
    let service = bellwire_hyper::tower::service(echoing).on_error(|_| ());
    let connections = service.connections();
    let app = Router::new()
        .route_service("/at", service.clone())
        .nest_service("/under", service.clone())
        .fallback_service(service);
    let addr = serve(app).await;
    for path in ["/at", "/under/it", "/elsewhere"] {
        is_echoed(addr, path).await;
    }
    // A router that nests takes the prefix away.
    for (asked, seen) in [("/at", "/at"), ("/under/it", "/it"), ("/under", "/"), ("/elsewhere?x", "/elsewhere")] {
        let answer = status_and_text(addr, &format!("GET {asked} HTTP/1.1\nHost: h")).await;
        assert_eq!(answer, (200, format!("GET {seen}")), "{asked}");
    }
    let answer = ask(addr, "HEAD /at HTTP/1.1\nHost: h").await;
    assert!(answer.contains("\r\ncontent-length: 8\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let answer = ask(addr, "POST /at HTTP/1.1\nHost: h\nContent-Length: 0").await;
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.contains("\r\nallow: GET, HEAD, OPTIONS\r\n"), "{answer}");
    let (status, text) = status_and_text(addr, "GET /at HTTP/1.1\nHost: h\nContent-Length: 1\n\nx").await;
    assert!(status == 400 && text.contains("body"), "{status} {text}");

    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/at")).await.unwrap();
    messages.send("here").await.unwrap();
    messages.recv().await.unwrap().unwrap();
    assert_eq!(connections.connections(), 1);
    let ended = tokio::spawn(async move { connections.shutdown(GRACE).await });
    assert!(messages.recv().await.is_none());
    assert_eq!((messages.closed().unwrap().code, ended.await.unwrap()), (CloseCode::GOING_AWAY, 0));
    assert_eq!(status_and_text(addr, "GET /at HTTP/1.1\nHost: h").await.0, 503);
}

#[tokio::test]
async fn a_service_with_an_asynchronous_handler_joins_the_connections_of_others() {
    let connections = quiet();
    let service = service_async(|request| async move {
        match request.path() {
            "/late" => future::pending().await,
            "/fails" => Err("out of order"),
            _ => Ok(AsyncResponse::websocket(
                async_listener().on_message(async |socket, message| socket.send_and_wait(message).await),
            )),
        }
    });
    let config = Config::default().handler_timeout(Duration::from_millis(10));
    let service = service.config(config).on_error(|_| ()).join(&connections);
    let addr = serve(Router::new().fallback_service(service)).await;
    is_echoed(addr, "/").await;
    assert_eq!(status_and_text(addr, "GET /late HTTP/1.1\nHost: h").await.0, 503);
    let answer = status_and_text(addr, "GET /fails HTTP/1.1\nHost: h").await;
    assert_eq!(answer, (500, "Internal Server Error\n".into()));
    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/")).await.unwrap();
    messages.send("here").await.unwrap();
    messages.recv().await.unwrap().unwrap();
    connections.close_all();
    assert!(messages.recv().await.is_none());
    assert_eq!(messages.closed().unwrap().code, CloseCode::GOING_AWAY);
}

#[tokio::test]
async fn the_signal_of_a_graceful_shutdown_reaches_the_peers_and_serve_returns() {
    let connections = quiet();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/", any(echo)).layer(connections.clone());
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let end = connections.clone().shutdown_after(async { signalled.await.unwrap() }, GRACE);
    let served = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(end).await });

    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/")).await.unwrap();
    messages.send("here").await.unwrap();
    messages.recv().await.unwrap().unwrap();
    signal.send(()).unwrap();
    assert!(messages.recv().await.is_none());
    let closed = messages.closed().unwrap();
    assert_eq!((closed.code, closed.clean), (CloseCode::GOING_AWAY, true));
    served.await.unwrap().unwrap();
    assert_eq!(connections.connections(), 0);
}
