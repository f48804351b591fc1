//! A proxy that is spoken to over TLS: CONNECT in TLS, and TLS in that.

use std::net::SocketAddr;
use std::sync::Arc;

use bellwire::proto::client::{HandshakeError, Phase, ProxyError};
use bellwire::{ConnectError, Proxy, ServerTls, Target, TlsError, tokio as backend};
use bellwire_tests::{Trust, echo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::within;

/// Starts a proxy that takes this request line, and leads to where it says.
async fn proxy(trust: &Trust) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(trust.server());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tls.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let host = head.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap();
                assert!(head.contains("Proxy-Authorization: Basic YTpi\r\n"), "{head}");
                let mut server = TcpStream::connect(host).await.unwrap();
                tls.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut tls, &mut server).await;
            });
        }
    });
    addr
}

async fn server(tls: Option<ServerTls>) -> String {
    let server = backend::Server::bind("127.0.0.1:0").await.unwrap().on_error(|_| ());
    let scheme = if tls.is_some() { "wss" } else { "ws" };
    let server = match tls {
        Some(tls) => server.tls(tls),
        None => server,
    };
    let port = server.local_addr().unwrap().port();
    tokio::spawn(server.run(|_| bellwire::Response::websocket(echo())));
    format!("{scheme}://localhost:{port}/")
}

#[tokio::test]
async fn messages_pass_through_tls_in_tls_and_through_tls_alone() {
    let trust = Trust::shared();
    let proxy = Proxy::new(format!("https://a:b@localhost:{}", proxy(trust).await.port())).unwrap();
    for tls in [None, Some(trust.server().into())] {
        let target = Target::new(server(tls).await).unwrap().tls(trust.client()).proxy(proxy.clone());
        let (mut messages, _) = within(backend::connect_stream(target)).await.unwrap();
        for size in [1, 70_000, 1_000_000] {
            within(messages.send(vec![3; size])).await.unwrap();
            assert_eq!(within(messages.recv()).await.unwrap().unwrap(), *vec![3; size]);
        }
        assert!(within(messages.close()).await.clean);
    }
}

/// As many do, it says nothing of its end: no `close_notify`.
#[tokio::test]
async fn a_proxy_that_leaves_is_an_end_like_any_other() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::new(format!("https://localhost:{}", listener.local_addr().unwrap().port())).unwrap();
    let acceptor = TlsAcceptor::from(Trust::shared().server());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            let _ = tls.read(&mut [0; 4096]).await;
            tls.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await.unwrap();
            let _ = tls.read(&mut [0; 4096]).await;
        }
    });
    for url in ["wss://localhost:1/", "ws://localhost:1/"] {
        let target = || Target::new(url).unwrap().tls(Trust::shared().client()).proxy(proxy.clone());
        let on_threads = tokio::task::spawn_blocking({
            let target = target();
            move || bellwire::blocking::connect_stream(target).unwrap_err()
        });
        for error in [within(backend::connect_stream(target())).await.unwrap_err(), within(on_threads).await.unwrap()] {
            let is_end = match &error {
                ConnectError::Tls(TlsError::Eof) => url.starts_with("wss"),
                ConnectError::Handshake(HandshakeError::Eof) => url.starts_with("ws:"),
                _ => false,
            };
            assert!(is_end && error.is_retryable(), "{url} {error:?}");
        }
    }
}

#[test]
fn a_proxy_that_leaves_within_its_tls_may_be_there_later() {
    assert!(ConnectError::Proxy(ProxyError::Tls(TlsError::Eof)).is_retryable());
    assert!(!ConnectError::Proxy(ProxyError::Tls(TlsError::NotTls)).is_retryable());
}

#[tokio::test]
async fn each_side_has_its_own_certificate() {
    let (ours, theirs) = (Trust::shared(), Trust::new());
    let foreign = Proxy::new(format!("https://a:b@localhost:{}", proxy(&theirs).await.port())).unwrap();
    let url = server(Some(ours.server().into())).await;
    let target = || Target::new(&url).unwrap().tls(Arc::clone(&ours.client()));
    let error = within(backend::connect_stream(target().proxy(foreign.clone()))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Proxy(ProxyError::Tls(TlsError::Certificate(_)))), "{error:?}");
    let trusted = foreign.tls(theirs.client());
    assert!(within(backend::connect_stream(target().proxy(trusted.clone()))).await.is_ok());
    let error = within(backend::connect_stream(target().tls(theirs.client()).proxy(trusted))).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_proxy_that_stalls_is_what_took_too_long() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for scheme in ["https", "http", "socks5h"] {
        let proxy = Proxy::new(format!("{scheme}://localhost:{port}")).unwrap();
        let target = Target::new("ws://localhost:1/").unwrap().tls(Trust::shared().client()).proxy(proxy);
        let error = backend::connect_stream(target).await.unwrap_err();
        assert!(matches!(error, ConnectError::Timeout(Phase::Proxy)), "{scheme}: {error:?}");
        assert!(error.to_string().contains("proxy"), "{error}");
    }
}
