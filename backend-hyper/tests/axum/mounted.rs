//! Whole handlers as services: in a router, and without one.

use std::future;
use std::time::Duration;

use axum::Router;
use bellwire_core::{AsyncResponse, CloseCode, Config, Request, async_listener};
use bellwire_hyper::axum::PeerAddr;
use bellwire_hyper::tower::{service, service_async};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::Layer;
use tower::util::MapRequestLayer;

use crate::helpers::{GRACE, ask, echoing, is_echoed, quiet, serve, status_and_text, talk_over_http_2, target};

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
