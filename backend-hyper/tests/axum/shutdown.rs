//! The end of an application.

use std::time::Duration;

use axum::Router;
use axum::routing::any;
use bellwire_core::CloseCode;
use tokio::net::TcpListener;

use crate::helpers::{GRACE, echo, quiet, talk_over_http_2, target};

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

#[tokio::test]
async fn a_drain_after_the_signal_tells_the_peers_of_a_restart_one_by_one_and_serve_returns() {
    let connections = quiet();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let app = Router::new().route("/", any(echo)).layer(connections.clone());
    let (signal, signalled) = tokio::sync::oneshot::channel::<()>();
    let over = Duration::from_millis(300);
    let end = connections.clone().drain_after(async { signalled.await.unwrap() }, over, GRACE);
    let served = tokio::spawn(async move { axum::serve(listener, app).with_graceful_shutdown(end).await });

    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(bellwire_tokio::connect_stream(target(addr, "/")).await.unwrap().0);
    }
    signal.send(()).unwrap();
    for mut messages in clients {
        assert!(messages.recv().await.is_none());
        let closed = messages.closed().unwrap();
        assert_eq!((closed.code, closed.clean), (CloseCode::SERVICE_RESTART, true));
    }
    served.await.unwrap().unwrap();
    assert_eq!(connections.connections(), 0);
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
