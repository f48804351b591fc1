//! TLS that is built in: `wss://` and `Server::tls`, over TCP.

use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bellwire::{ClosedBy, ConnectError, Target, TlsError};
use bellwire::{ServerError, tokio as backend};
use bellwire_tests::{PATIENCE, Trust, echo};

use crate::within;

/// Starts an echo server over TLS. Its errors come out of the channel.
async fn server(tls: impl Into<bellwire::ServerTls>) -> (String, mpsc::Receiver<String>, backend::ServerHandle) {
    let (sender, errors) = mpsc::channel();
    let server = backend::Server::bind("127.0.0.1:0").await.unwrap().tls(tls);
    let server = server.on_error(move |error: &ServerError| sender.send(error.to_string()).unwrap_or_default());
    let (port, handle) = (server.local_addr().unwrap().port(), server.handle());
    tokio::spawn(server.run(|_| bellwire::Response::websocket(echo())));
    (format!("wss://localhost:{port}/"), errors, handle)
}

#[tokio::test]
async fn messages_of_all_sizes_come_back() {
    let trust = Trust::shared();
    let (url, _errors, handle) = server(trust.server()).await;
    let target = Target::new(&url).unwrap().tls(trust.client());
    let (mut messages, _) = within(backend::connect_stream(target)).await.unwrap();
    for size in [0, 1, 125, 126, 4096, 16 * 1024, 65_536, 1024 * 1024] {
        let payload = vec![7; size];
        within(messages.send(payload.clone())).await.unwrap();
        assert_eq!(within(messages.recv()).await.unwrap().unwrap(), *payload, "{size}");
    }
    let closed = within(messages.close()).await;
    assert!(closed.clean && closed.by == ClosedBy::Local, "{closed:?}");
    assert_eq!(within(handle.shutdown(Duration::from_secs(1))).await, 0);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_an_error_on_both_sides() {
    let (url, errors, _handle) = server(Trust::new().server()).await;
    let target = Target::new(&url).unwrap().tls(Trust::shared().client());
    let error = within(backend::connect_stream(target)).await.unwrap_err();
    assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_))), "{error:?}");
    let told = within(tokio::task::spawn_blocking(move || errors.recv_timeout(PATIENCE))).await.unwrap().unwrap();
    assert!(told.contains("TLS") && told.contains("127.0.0.1"), "{told}");
}

#[tokio::test]
async fn native_tls_speaks_with_rustls() {
    let trust = Trust::shared();
    let root = native_tls::Certificate::from_pem(trust.root_pem().as_bytes()).unwrap();
    let client = native_tls::TlsConnector::builder().add_root_certificate(root).disable_built_in_roots(true).build();
    let shown = trust.certify(&["localhost"]);
    let identity =
        native_tls::Identity::from_pkcs8(shown.certificate_pem.as_bytes(), shown.key_pem.as_bytes()).unwrap();
    let acceptor = native_tls::TlsAcceptor::new(identity).unwrap();
    let native: bellwire::ServerTls = acceptor.into();
    let rustls: bellwire::ServerTls = Arc::clone(&trust.server()).into();
    let clients: [bellwire::ClientTls; 2] = [client.unwrap().into(), trust.client().into()];
    for tls in [native, rustls] {
        let (url, _errors, _handle) = server(tls).await;
        for client in &clients {
            let target = Target::new(&url).unwrap().tls(client.clone());
            let (mut messages, _) = within(backend::connect_stream(target)).await.unwrap();
            within(messages.send(vec![1; 300_000])).await.unwrap();
            assert_eq!(within(messages.recv()).await.unwrap().unwrap(), *vec![1; 300_000]);
            assert!(within(messages.close()).await.clean);
        }
    }
}
