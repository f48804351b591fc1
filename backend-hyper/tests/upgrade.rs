//! Upgrades on servers of hyper, with clients of bellwire.

use std::convert::Infallible;
use std::net::SocketAddr;

use bellwire_core::{CloseCode, Config, listener};
use bellwire_hyper::{Body, Connections, WebSocketUpgrade};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

async fn echo(connections: Connections, mut request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    request.extensions_mut().insert(connections);
    Ok(match WebSocketUpgrade::from_request(&mut request) {
        Ok(upgrade) => upgrade
            .protocols(["mqtt"])
            .config(Config::default())
            .listener(listener().on_message(|socket, message| socket.send(message))),
        Err(rejection) => rejection.to_response(),
    })
}

/// Serves on a free port.
async fn serve(connections: Connections) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let connections = connections.clone();
            tokio::spawn(async move {
                let service = service_fn(move |request| echo(connections.clone(), request));
                let mut server = auto::Builder::new(TokioExecutor::new());
                server.http2().enable_connect_protocol();
                server.serve_connection_with_upgrades(TokioIo::new(stream), service).await.unwrap();
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_client_over_http_1_is_echoed_and_told_of_the_end() {
    let connections = Connections::new().on_error(|error| panic!("{error}"));
    let addr = serve(connections.clone()).await;
    let target = bellwire_core::Target::new(format!("ws://{addr}/")).unwrap().protocol("mqtt").unwrap();
    let (mut messages, response) = bellwire_tokio::connect_stream(target).await.unwrap();
    assert_eq!(response.protocol(), Some("mqtt"));
    messages.send("hello").await.unwrap();
    assert_eq!(messages.recv().await.unwrap().unwrap(), "hello");
    assert_eq!(connections.connections(), 1);
    let ended = tokio::spawn(async move { connections.shutdown(std::time::Duration::from_secs(5)).await });
    assert!(messages.recv().await.is_none());
    assert_eq!(messages.closed().unwrap().code, CloseCode::GOING_AWAY);
    assert_eq!(ended.await.unwrap(), 0);
}
