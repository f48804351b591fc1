//! `Connections` as a layer, handlers that return responses, and the layers of others.

use std::convert::Infallible;

use axum::http::header::SERVER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Router};
use bellwire_core::{AsyncResponse, CloseCode, stream_listener};
use bellwire_hyper::axum::{Connections, WebSocketUpgrade};
use tower::util::{MapRequestLayer, MapResponseLayer};
use tower::{Layer, Service};
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_http::timeout::{ResponseBodyTimeoutLayer, TimeoutLayer};
use tower_http::trace::TraceLayer;

use crate::helpers::{GRACE, UPGRADE, ask, echo, is_echoed, quiet, returned, serve, status_and_text, target};

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

/// hyper drops a body of a 101 that does not say that it is empty, and nobody sees that it was sent.
#[tokio::test]
async fn a_layer_that_hides_the_end_of_bodies_is_named_to_the_owner() {
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let connections = Connections::new().on_error(move |error| tell.send(error.to_string()).unwrap());
    let app = Router::new().route("/", any(echo)).layer(connections).layer(ResponseBodyTimeoutLayer::new(GRACE));
    let answer = ask(serve(app).await, &format!("GET / {UPGRADE}")).await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    let told = told.recv().await.unwrap();
    assert!(told.contains("a middleware's body keeps is_end_stream from the one inside of it"), "{told}");
}

#[tokio::test]
async fn what_is_kept_of_a_request_is_not_printed() {
    let request =
        http::Request::get("/?token=secret").header("Upgrade", "websocket").header("Cookie", "session=secret");
    let request = request.extension(hyper::upgrade::on(http::Request::new(())));
    let page = tower::service_fn(|_| std::future::ready(Ok::<_, Infallible>("a page")));
    let response = quiet().layer(page).call(request.body(()).unwrap());
    let printed = format!("{response:?}");
    assert!(!printed.contains("secret"), "{printed}");
}
