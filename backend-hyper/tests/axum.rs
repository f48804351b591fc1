//! WebSockets in applications of axum, with clients of bellwire, and requests written by hand.

use std::net::SocketAddr;

use axum::Extension;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use bellwire_core::{Target, listener};
use bellwire_hyper::axum::{Connections, WebSocketUpgrade};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

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
