//! An application on a socket: in the clear by axum's own server, with TLS by hyper-util's, which axum's is made of.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::serve::ListenerExt;
use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::BoxError;

/// How much a WebSocket over HTTP/2 may be sent ahead of what is read of it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How long a client has for TLS's handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long answers that are on their way have when the program ends. The WebSockets have ended by then.
const GRACE: Duration = Duration::from_secs(5);

/// Serves in the clear, until `end` is ready.
pub(crate) async fn clear(
    listener: TcpListener,
    app: Router,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(without_delay);
    axum::serve(listener, app).with_graceful_shutdown(end).await
}

/// Serves with TLS, until `end` is ready.
pub(crate) async fn tls(listener: TcpListener, tls: TlsAcceptor, app: Router, end: impl Future<Output = ()>) {
    let clients = GracefulShutdown::new();
    let mut end = pin!(end);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // What axum's own server does for `ConnectInfo`.
                    let app = app.clone().layer(Extension(ConnectInfo(peer)));
                    tokio::spawn(client(stream, tls.clone(), app, clients.watcher()));
                }
                // Too many open files, for one: others may end.
                Err(error) => {
                    eprintln!("accept: {error}");
                    sleep(Duration::from_millis(100)).await;
                }
            },
            () = &mut end => break,
        }
    }
    drop(listener);
    let _ = timeout(GRACE, clients.shutdown()).await;
}

/// Or what is small waits for the acknowledgement of what was sent before: messages over HTTP/2, and its flow control.
fn without_delay(stream: &mut TcpStream) {
    // If the client has left already, it is the next to be seen.
    let _ = stream.set_nodelay(true);
}

async fn client(mut stream: TcpStream, tls: TlsAcceptor, app: Router, watcher: Watcher) {
    without_delay(&mut stream);
    let Ok(Ok(stream)) = timeout(HANDSHAKE, tls.accept(stream)).await else { return };
    let mut server = auto::Builder::new(TokioExecutor::new());
    // WebSockets over HTTP/2 are asked for by an extended CONNECT (RFC 8441), which a server has to offer.
    // One that is not read must not keep the others of its connection waiting: their window is larger than its own.
    server
        .http2()
        .enable_connect_protocol()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(16 * STREAM_WINDOW);
    let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), TowerToHyperService::new(app));
    // An error is a client that has left in the middle of something.
    let _ = watcher.watch(connection).await;
}

/// Reads what a server shows: its certificate, with those that it needs, and its private key, in PEM.
pub(crate) fn acceptor(cert: &str, key: &str) -> Result<TlsAcceptor, BoxError> {
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| format!("{cert}: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{key}: {error}"))?;
    Ok(TlsAcceptor::from(Arc::new(config(chain, key)?)))
}

/// Clients may choose HTTP/2.
pub(crate) fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
