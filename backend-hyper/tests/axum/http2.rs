//! WebSockets over HTTP/2.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{MethodFilter, any, get, on};
use bellwire_hyper::tower::service;
use http_body_util::BodyExt;
use hyper::ext::Protocol;

use crate::helpers::{ask_over_http_2, echo, echoing, extended_connect, quiet, returned, serve, talk_over_http_2};

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
