//! The extractor: what it lets in, and what it tells those whom it does not.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Extension, Router};
use bellwire_hyper::axum::{Rejection, WebSocketUpgrade};
use tower::ServiceExt;

use crate::helpers::{UPGRADE, ask, echo, quiet, returned, serve, status_and_text, target};

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

/// By its extractor, and by the response that is returned.
#[tokio::test]
async fn what_is_upgraded_twice_is_told_so_at_once() {
    async fn both(upgrade: WebSocketUpgrade) -> bellwire_core::Response {
        let response = upgrade.listener(bellwire_core::listener());
        // It is not what is returned.
        tokio::spawn(async move {
            let _kept = response;
            std::future::pending::<()>().await;
        });
        returned().await
    }
    /// Only looks at the request.
    async fn looks(upgrade: WebSocketUpgrade) -> bellwire_core::Response {
        assert_eq!(upgrade.request().path(), "/looks");
        returned().await
    }
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connections = quiet().on_error(move |error| tell.send(error.to_string()).unwrap());
    let app = Router::new().route("/both", any(both)).route("/looks", any(looks)).layer(connections.clone());
    // Connections within connections: those that are next to the handler complete its response.
    let addr = serve(app.layer(quiet())).await;
    let (status, text) = status_and_text(addr, &format!("GET /both {UPGRADE}")).await;
    assert!(status == 500 && text.contains("upgraded twice"), "{status} {text}");
    assert!(told.recv().await.unwrap().contains("upgraded twice"));
    let (mut messages, _) = bellwire_tokio::connect_stream(target(addr, "/looks")).await.unwrap();
    assert!(messages.close().await.clean);
    assert_eq!(connections.connections(), 0);
}

#[tokio::test]
async fn without_the_server_of_hyper_there_is_no_upgrade() {
    let app = Router::new().route("/", any(echo)).route("/returned", any(returned)).layer(quiet());
    for path in ["/", "/returned"] {
        let mut request = http::Request::get(path).header("Host", "h");
        for line in UPGRADE.lines().skip(2) {
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let response = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 500, "{path}");
        let text = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        assert!(text.starts_with(b"This request cannot be upgraded: it has no hyper::upgrade::OnUpgrade"), "{text:?}");
    }
}
