//! A server that wants to see its clients' certificates. With TLS 1.3 a client learns of a refusal after its handshake.

use std::sync::Arc;
use std::thread;

use bellwire::{ClientTls, ConnectError, Response, ServerTls, Target, TlsError, blocking, tokio as backend};
use bellwire_tests::{PATIENCE, Trust, echo};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::within;

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(Trust::shared().root_pem().as_bytes()).unwrap()).unwrap();
    roots
}

fn server() -> ServerTls {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider.clone()).build().unwrap();
    let shown = Trust::shared().certify(&["localhost"]);
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(verifier);
    builder.with_single_cert(vec![shown.certificate], shown.key).unwrap().into()
}

/// Without a certificate, with one that is not trusted, and with one that is.
fn clients() -> [(ClientTls, bool); 4] {
    let with = |trust: &Trust| -> ClientTls {
        let shown = trust.certify(&["somebody"]);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots());
        builder.with_client_auth_cert(vec![shown.certificate], shown.key).unwrap().into()
    };
    let root = native_tls::Certificate::from_pem(Trust::shared().root_pem().as_bytes()).unwrap();
    let native = native_tls::TlsConnector::builder().add_root_certificate(root).disable_built_in_roots(true).build();
    [
        (Trust::shared().client().into(), false),
        (with(&Trust::new()), false),
        (native.unwrap().into(), false),
        (with(Trust::shared()), true),
    ]
}

fn check<T: std::fmt::Debug>(result: Result<T, ConnectError>, is_trusted: bool) {
    match result {
        Ok(_) => assert!(is_trusted),
        Err(error) => {
            assert!(matches!(error, ConnectError::Tls(TlsError::Protocol(_))), "{error:?}");
            assert!(!error.is_retryable() && !is_trusted, "{error}");
        }
    }
}

#[tokio::test]
async fn a_client_that_is_not_trusted_is_told_so() {
    let server = backend::Server::bind("127.0.0.1:0").await.unwrap().on_error(|_| ()).tls(server());
    let url = format!("wss://localhost:{}/", server.local_addr().unwrap().port());
    tokio::spawn(server.run(|_| Response::websocket(echo())));
    for (tls, is_trusted) in clients() {
        check(within(backend::connect_stream(Target::new(&url).unwrap().tls(tls))).await, is_trusted);
    }
}

#[test]
fn a_client_that_is_not_trusted_is_told_so_on_threads() {
    let server = blocking::Server::bind("127.0.0.1:0").unwrap().on_error(|_| ()).tls(server());
    let (url, handle) = (format!("wss://localhost:{}/", server.local_addr().unwrap().port()), server.handle());
    let running = thread::spawn(move || server.run(|_| Response::websocket(echo())));
    for (tls, is_trusted) in clients() {
        check(blocking::connect_stream(Target::new(&url).unwrap().tls(tls)), is_trusted);
    }
    handle.shutdown(PATIENCE);
    running.join().unwrap().unwrap();
}
