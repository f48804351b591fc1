//! WebSockets in applications of axum, with clients of bellwire, and requests written by hand.

use std::future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::SERVER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, any, get, on};
use axum::{Extension, Router};
use bellwire_core::{
    AsyncResponse, CloseCode, Config, MessageStream, Request, Role, Target, async_listener, is_upgrade_request,
    listener, stream, stream_listener,
};
use bellwire_hyper::axum::{Connections, PeerAddr, Rejection, WebSocketUpgrade};
use bellwire_hyper::tower::{service, service_async};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower::{Layer, ServiceExt};
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

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
    let service = service(echoing).on_error(|_| ());
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

/// What bad input gets, as the guide has it.
#[tokio::test]
async fn what_asks_in_a_wrong_way_is_told_what_is_wrong() {
    async fn twice(first: WebSocketUpgrade, second: Result<WebSocketUpgrade, Rejection>) -> Response {
        drop(first);
        second.map(drop).into_response()
    }
    async fn in_vain(upgrade: WebSocketUpgrade) -> Response {
        upgrade.respond(bellwire_core::Response::new(401).with_body("Who are you?"))
    }
    let app = Router::new()
        .route("/", any(echo))
        .route("/get", get(echo))
        .route("/twice", any(twice))
        .route("/in-vain", any(in_vain))
        .route("/returned", any(returned))
        .layer(quiet());
    let addr = serve(app).await;
    let without = |line: &str| UPGRADE.replace(line, "");
    for (head, status, text) in [
        (format!("POST / {UPGRADE}"), 405, "Method not allowed: use GET, HEAD or OPTIONS"),
        (format!("HEAD / {UPGRADE}"), 405, ""),
        (format!("POST /get {UPGRADE}"), 405, ""),
        (format!("POST /returned {UPGRADE}"), 405, "Method not allowed: use GET, HEAD or OPTIONS"),
        (format!("GET / {}", UPGRADE.replace("HTTP/1.1", "HTTP/1.0")), 426, "HTTP/1.0 has no upgrades"),
        (format!("GET /returned {}", UPGRADE.replace("HTTP/1.1", "HTTP/1.0")), 426, "HTTP/1.0 has no upgrades"),
        (format!("GET / {}", without("\nUpgrade: websocket")), 426, "This is a WebSocket endpoint"),
        (format!("GET / {}", UPGRADE.replace("13", "8")), 426, "version"),
        (format!("GET / {}", without("\nSec-WebSocket-Version: 13")), 426, "version"),
        (format!("GET / {}", UPGRADE.replace("dGhl", "")), 400, "Sec-WebSocket-Key"),
        (format!("GET / {UPGRADE}\nSec-WebSocket-Protocol: a, a"), 400, "Sec-WebSocket-Protocol"),
        (format!("GET / {UPGRADE}\nContent-Length: 1"), 400, "must not have a body"),
        (format!("GET /returned {UPGRADE}\nContent-Length: 1"), 400, "must not have a body"),
        (format!("GET / {}", without("\nHost: h")), 400, "Host"),
        (format!("GET / {UPGRADE}\nOrigin: https://evil.example"), 403, "https://evil.example"),
        (format!("GET /twice {UPGRADE}"), 500, "upgrade once"),
        (format!("GET /in-vain {UPGRADE}"), 401, "Who are you?"),
    ] {
        let (status_, text_) = status_and_text(addr, &head).await;
        assert!(status_ == status && text_.contains(text), "{head}: {status_} {text_}");
    }
}

#[tokio::test]
async fn without_the_server_of_hyper_there_is_no_upgrade() {
    let mut request = http::Request::get("/").header("Host", "h");
    for line in UPGRADE.lines().skip(2) {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let app = Router::new().route("/", any(echo)).layer(quiet());
    let response = app.oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 500);
    let text = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    assert!(text.starts_with(b"This request cannot be upgraded: it has no hyper::upgrade::OnUpgrade"), "{text:?}");
}

#[tokio::test]
async fn what_layers_do_reaches_a_web_socket_and_does_not_end_it() {
    async fn who(Extension(user): Extension<String>, jar: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
        let cookie = jar["Cookie"].to_str().unwrap().to_string();
        assert_eq!(upgrade.request().cookie("session"), Some("f00d"));
        upgrade.on_upgrade(move |mut messages| async move { messages.send(format!("{user} {cookie}")).await })
    }
    let app = Router::new()
        .route("/", any(who))
        .route("/returned", any(returned))
        .layer(quiet())
        .layer(MapRequestLayer::new(|mut request: axum::extract::Request| {
            request.extensions_mut().insert(String::from("Jane"));
            request
        }))
        .layer((TraceLayer::new_for_http(), CompressionLayer::new()))
        .layer(TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, GRACE))
        .layer(SetResponseHeaderLayer::overriding(SERVER, HeaderValue::from_static("layered")));
    let addr = serve(app).await;
    let target = target(addr, "/").header("Cookie", "session=f00d").unwrap();
    let (mut messages, response) = bellwire_tokio::connect_stream(target).await.unwrap();
    assert_eq!(response.headers().value("Server").as_deref(), Some("layered"));
    assert_eq!(messages.recv().await.unwrap().unwrap(), "Jane session=f00d");
    assert!(messages.recv().await.is_none());
    is_echoed(addr, "/returned").await;
}

#[tokio::test]
async fn a_layer_that_puts_another_answer_in_the_place_of_a_101_ends_the_web_socket() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connections = Connections::new().on_error(move |error| tell.send(error.to_string()).unwrap());
    let app = Router::new()
        .route("/", any(echo))
        .route("/returned", any(returned))
        .layer(connections)
        .layer(MapResponseLayer::new(|_: Response| (StatusCode::IM_A_TEAPOT, "no").into_response()));
    let addr = serve(app).await;
    for path in ["/", "/returned"] {
        assert_eq!(status_and_text(addr, &format!("GET {path} {UPGRADE}")).await, (418, "no".into()));
        let told = told.recv().await.unwrap();
        assert!(told.contains("the 101 was not sent: another answer was"), "{told}");
    }
}

#[tokio::test]
async fn a_layer_between_handler_and_connections_leaves_its_headers_and_not_its_compression() {
    let app = Router::new()
        .route("/", any(returned))
        .route_layer((
            CompressionLayer::new(),
            SetResponseHeaderLayer::overriding(SERVER, HeaderValue::from_static("inner")),
        ))
        .layer(quiet());
    let addr = serve(app).await;
    let refused = ask(addr, &format!("GET / {UPGRADE}\nAccept-Encoding: gzip\nOrigin: https://evil.example")).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("\r\nserver: inner\r\n"), "{refused}");
    assert!(!refused.contains("encoding: gzip") && refused.contains("\r\n\r\nOrigin not allowed"), "{refused}");
    is_echoed(addr, "/").await;
}

/// Opens a connection of HTTP/2, and asks for what is in `request`.
async fn ask_over_http_2(addr: SocketAddr, request: http::request::Builder) -> http::Response<Incoming> {
    let stream = TokioIo::new(TcpStream::connect(addr).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // Extended CONNECT is known to be spoken when the server's SETTINGS are here: with the answer to something else.
    let ping = http::Request::head(format!("http://{addr}/nowhere")).body(Empty::<Bytes>::new()).unwrap();
    sender.send_request(ping).await.unwrap();
    sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap()
}

fn extended_connect(addr: SocketAddr, path: &str) -> http::request::Builder {
    http::Request::connect(format!("http://{addr}{path}"))
        .extension(Protocol::from_static("websocket"))
        .header("Sec-WebSocket-Version", "13")
}

/// Opens a WebSocket in a connection of HTTP/2.
async fn talk_over_http_2(addr: SocketAddr, path: &str) -> MessageStream {
    let mut response = ask_over_http_2(addr, extended_connect(addr, path)).await;
    assert_eq!(response.status(), 200, "{path}");
    assert!(!response.headers().contains_key("Sec-WebSocket-Accept"), "{path}");
    let upgraded = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
    let (listener, opened) = stream();
    let talk = bellwire_tokio::upgraded(upgraded, vec![], Role::Client, Config::default(), listener);
    tokio::spawn(talk);
    opened.await.unwrap()
}

#[tokio::test]
async fn any_speaks_http_2_and_get_does_not() {
    let app = Router::new()
        .route("/any", any(echo))
        .route("/get", get(echo))
        .route("/connect", on(MethodFilter::CONNECT, echo))
        .route("/returned", any(returned))
        .route_service("/service", service(echoing).on_error(|_| ()))
        .route_service("/page", service(|_: &_| bellwire_core::Response::text("a page")))
        .layer(quiet());
    let addr = serve(app).await;
    for path in ["/any", "/connect", "/returned", "/service"] {
        let mut messages = talk_over_http_2(addr, path).await;
        messages.send(path).await.unwrap();
        assert_eq!(messages.recv().await.unwrap().unwrap(), path);
        assert!(messages.close().await.clean);
    }
    let origin = |request: http::request::Builder| request.header("Origin", "https://evil.example");
    let other = |path| extended_connect(addr, path).extension(Protocol::from_static("connect-udp"));
    for (request, status, text) in [
        (extended_connect(addr, "/get"), 405, ""),
        (origin(extended_connect(addr, "/any")), 403, "https://evil.example"),
        (origin(extended_connect(addr, "/returned")), 403, "https://evil.example"),
        (other("/any"), 501, "websocket"),
        (other("/service"), 501, "websocket"),
        // A 200 would be taken for a WebSocket.
        (extended_connect(addr, "/page"), 404, "There is no WebSocket here"),
        (http::Request::get(format!("http://{addr}/any")), 405, "CONNECT"),
        (http::Request::get(format!("http://{addr}/returned")), 405, "CONNECT"),
        (http::Request::get(format!("http://{addr}/service")), 200, "GET /service"),
    ] {
        let asked = format!("{request:?}");
        let response = ask_over_http_2(addr, request).await;
        assert_eq!(response.status(), status, "{asked}");
        assert!(
            !response.headers().contains_key("Upgrade") && !response.headers().contains_key("Connection"),
            "{asked}"
        );
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(String::from_utf8_lossy(&body).contains(text), "{asked}: {body:?}");
    }
    let response = ask_over_http_2(addr, http::Request::head(format!("http://{addr}/service"))).await;
    assert_eq!(
        (response.status(), response.headers()["Content-Length"].as_bytes()),
        (StatusCode::OK, b"13".as_slice())
    );
}

#[tokio::test]
async fn the_signal_reaches_a_web_socket_over_http_2_and_serve_returns() {
    let connections = quiet();
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = port.local_addr().unwrap();
    let app = Router::new().route("/", any(echo)).layer(connections.clone());
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let end = connections.shutdown_after(async { signalled.await.unwrap() }, GRACE);
    let served = tokio::spawn(async move { axum::serve(port, app).with_graceful_shutdown(end).await });

    let mut messages = talk_over_http_2(addr, "/").await;
    messages.send("here").await.unwrap();
    messages.recv().await.unwrap().unwrap();
    signal.send(()).unwrap();
    assert!(messages.recv().await.is_none());
    let closed = messages.closed().unwrap();
    assert_eq!((closed.code, closed.clean), (CloseCode::GOING_AWAY, true));
    drop(messages);
    served.await.unwrap().unwrap();
}

#[tokio::test]
async fn hyper_serves_a_handler_without_a_router() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |request: &Request| {
        tell.send(request.peer_addr()).unwrap();
        echoing(request)
    };
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = port.local_addr().unwrap();
    let service = service(handler);
    tokio::spawn(async move {
        while let Ok((stream, peer)) = port.accept().await {
            let of_peer = MapRequestLayer::new(move |mut request: http::Request<Incoming>| {
                request.extensions_mut().insert(PeerAddr(peer));
                request
            });
            let service = TowerToHyperService::new(of_peer.layer(service.clone()));
            let mut server = auto::Builder::new(TokioExecutor::new());
            server.http2().enable_connect_protocol();
            let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            tokio::spawn(connection);
        }
    });
    is_echoed(addr, "/one").await;
    let mut messages = talk_over_http_2(addr, "/two").await;
    messages.send("two").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), "two");
    // The third is what was asked to see the server's SETTINGS.
    for _ in 0..3 {
        assert_eq!(told.recv().await.unwrap().unwrap().ip(), addr.ip());
    }
}
