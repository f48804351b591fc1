//! Each recipe with bellwire's client, with a page beside the WebSocket, and with a page of another site.

use std::net::SocketAddr;

use bellwire::tokio::connect_stream;
use bellwire::{CloseCode, Target};
use bellwire_frameworks as frameworks;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn ask(addr: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn is_at_home(addr: SocketAddr) {
    let target = Target::new(format!("ws://{addr}/ws")).unwrap();
    let (mut messages, _) = connect_stream(target.clone()).await.unwrap();
    let large = "x".repeat(300_000);
    for message in ["hello", &large, "bye"] {
        messages.send(message).await.unwrap();
    }
    for message in ["hello", &large, "bye"] {
        assert!(messages.recv().await.unwrap().unwrap() == message);
    }
    let closed = messages.close().await;
    assert_eq!((closed.code, closed.clean), (CloseCode::NORMAL, true));

    let other_site = target.header("Origin", "https://evil.example").unwrap();
    let refused = connect_stream(other_site).await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
    assert!(ask(addr, "/").await.ends_with("\r\n\r\na page"));
    let answer = ask(addr, "/ws").await;
    assert!(answer.starts_with("HTTP/1.1 426 ") && answer.contains("This is a WebSocket endpoint"), "{answer}");
}

async fn port() -> (TcpListener, SocketAddr) {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = port.local_addr().unwrap();
    (port, addr)
}

#[tokio::test]
async fn warp() {
    let (port, addr) = port().await;
    tokio::spawn(frameworks::warp::serve(port));
    is_at_home(addr).await;
}

#[tokio::test]
async fn poem() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    port.set_nonblocking(true).unwrap();
    let addr = port.local_addr().unwrap();
    let acceptor = poem::listener::TcpAcceptor::from_std(port).unwrap();
    tokio::spawn(poem::Server::new_with_acceptor(acceptor).run(frameworks::poem::app()));
    is_at_home(addr).await;
}

#[actix_web::test]
async fn actix() {
    let app = || actix_web::App::new().configure(frameworks::actix::app);
    let server = actix_web::HttpServer::new(app).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
    let addr = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    is_at_home(addr).await;
    handle.stop(false).await;
}
