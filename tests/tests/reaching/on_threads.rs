//! The same on threads, with either library for TLS.

use std::sync::mpsc;
use std::thread;

use bellwire::blocking::{Server, connect_stream};
use bellwire::{ClientTls, ConnectError, Response, ServerTls, Target, TlsError};
use bellwire_tests::{PATIENCE, Trust, echo};

/// What each library makes of the same certificates.
fn ends() -> ([ClientTls; 2], [ServerTls; 2]) {
    let trust = Trust::shared();
    let root = native_tls::Certificate::from_pem(trust.root_pem().as_bytes()).unwrap();
    let client = native_tls::TlsConnector::builder().add_root_certificate(root).disable_built_in_roots(true).build();
    let shown = trust.certify(&["localhost"]);
    let identity =
        native_tls::Identity::from_pkcs8(shown.certificate_pem.as_bytes(), shown.key_pem.as_bytes()).unwrap();
    let server = native_tls::TlsAcceptor::new(identity).unwrap();
    ([client.unwrap().into(), trust.client().into()], [server.into(), trust.server().into()])
}

#[test]
fn native_tls_speaks_with_rustls_on_threads() {
    let (clients, servers) = ends();
    for server in servers {
        let server = Server::bind("127.0.0.1:0").unwrap().tls(server).on_error(|error| panic!("{error}"));
        let (url, handle) = (format!("wss://localhost:{}/", server.local_addr().unwrap().port()), server.handle());
        let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
        for client in &clients {
            let (mut messages, _) = connect_stream(Target::new(&url).unwrap().tls(client.clone())).unwrap();
            // More than fits in between, both ways at once.
            for size in [1, 300_000, 1_000_000] {
                messages.socket().send(vec![1; size]).unwrap();
                assert!(messages.recv_timeout(PATIENCE).unwrap().unwrap() == vec![1; size], "{size}");
            }
            assert!(messages.close().clean);
        }
        assert_eq!(handle.shutdown(PATIENCE), 0);
        running.join().unwrap().unwrap();
    }
}

#[test]
fn native_tls_trusts_nobody_else_on_threads() {
    let (clients, _) = ends();
    let (sender, told) = mpsc::channel();
    let server = Server::bind("127.0.0.1:0").unwrap().tls(Trust::new().server());
    let server = server.on_error(move |error| sender.send(error.to_string()).unwrap());
    let (url, handle) = (format!("wss://localhost:{}/", server.local_addr().unwrap().port()), server.handle());
    let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
    for client in clients {
        let error = connect_stream(Target::new(&url).unwrap().tls(client)).unwrap_err();
        assert!(matches!(error, ConnectError::Tls(TlsError::Certificate(_) | TlsError::Protocol(_))), "{error:?}");
        assert!(told.recv_timeout(PATIENCE).unwrap().starts_with("no TLS with 127.0.0.1:"));
    }
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}
